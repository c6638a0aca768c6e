//! Which syscalls a container may make: the runtime's default, or a profile of the node's. Pure but for reading a profile.
//!
//! <https://kubernetes.io/docs/reference/node/seccomp/>

use std::path::Path;

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};

use crate::runtime::{RuntimeError, Seccomp, Security};

/// Larger files are no profiles.
const PROFILE_MAX_BYTES: u64 = 1024 * 1024;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// What nobody in a container needs: old, broken, or about the node as a whole.
const NEVER: &[&str] = &[
    "_sysctl",
    "add_key",
    "create_module",
    "get_kernel_syms",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "keyctl",
    "nfsservctl",
    "pivot_root",
    "query_module",
    "request_key",
    "stime",
    "sysfs",
    "uselib",
    "userfaultfd",
    "ustat",
    "vm86",
    "vm86old",
];

/// What only who has one of the capabilities may ask for.
const WITH_CAPABILITY: &[(&[Capability], &[&str])] = &[
    (&[Capability::SysAdmin, Capability::Bpf], &["bpf"]),
    (&[Capability::SysAdmin, Capability::Perfmon], &["perf_event_open"]),
    (&[Capability::SysAdmin, Capability::Syslog], &["syslog"]),
    (
        &[Capability::SysAdmin],
        &[
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "swapoff",
            "swapon",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    (&[Capability::DacReadSearch], &["open_by_handle_at"]),
    (&[Capability::SysBoot], &["kexec_file_load", "kexec_load", "reboot"]),
    (&[Capability::SysModule], &["delete_module", "finit_module", "init_module"]),
    (&[Capability::SysNice], &["get_mempolicy", "mbind", "move_pages", "set_mempolicy", "set_mempolicy_home_node"]),
    (&[Capability::SysPacct], &["acct"]),
    (&[Capability::SysPtrace], &["kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev"]),
    (&[Capability::SysRawio], &["ioperm", "iopl"]),
    (&[Capability::SysTime], &["clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "settimeofday"]),
    (&[Capability::SysTtyConfig], &["vhangup"]),
];

/// `clone` with any of these makes a namespace: mount, cgroup, uts, ipc, user, pid, net.
const NEW_NAMESPACE_FLAGS: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];

/// The filter of a container that has these capabilities; `None`: it may make any syscall.
pub(super) fn of(security: &Security, has: &Capabilities) -> Result<Option<LinuxSeccomp>, RuntimeError> {
    match &security.seccomp {
        _ if security.privileged => Ok(None),
        Seccomp::Unconfined => Ok(None),
        Seccomp::RuntimeDefault => runtime_default(has).map(Some),
        Seccomp::Profile(path) => read(path).map(Some),
    }
}

/// `RuntimeDefault`: all but what the lists above say, as far as the container has not been given the capability for it.
fn runtime_default(has: &Capabilities) -> Result<LinuxSeccomp, RuntimeError> {
    let may = |capabilities: &[Capability]| capabilities.iter().any(|c| has.contains(c));
    let refused = WITH_CAPABILITY.iter().filter(|(with, _)| !may(with)).flat_map(|(_, names)| names.iter());
    let mut rules = vec![refuse(NEVER.iter().chain(refused).copied(), EPERM)];
    if !may(&[Capability::SysAdmin]) {
        for flag in NEW_NAMESPACE_FLAGS {
            let mut rule = refuse(["clone"], EPERM);
            rule.set_args(Some(vec![has_flag(flag)?]));
            rules.push(rule);
        }
        // Its flags are behind a pointer, which a filter cannot follow; libraries then try `clone`.
        rules.push(refuse(["clone3"], ENOSYS));
    }
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActAllow).set_architectures(architectures()).set_syscalls(Some(rules));
    Ok(profile)
}

fn refuse<'a>(names: impl IntoIterator<Item = &'a str>, errno: u32) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.into_iter().map(str::to_owned).collect());
    rule.set_action(Action::ScmpActErrno).set_errno_ret(Some(errno));
    rule
}

/// The first argument has this bit.
fn has_flag(flag: u64) -> Result<LinuxSeccompArg, RuntimeError> {
    let arg = LinuxSeccompArgBuilder::default().index(0_usize).value(flag).value_two(flag);
    let arg = arg.op(LinuxSeccompOperator::ScmpCmpMaskedEq).build();
    arg.map_err(|err| RuntimeError::BadSpec(format!("the default seccomp profile cannot be made: {err}")))
}

/// Programs of an architecture that is not named would be killed.
fn architectures() -> Option<Vec<Arch>> {
    match std::env::consts::ARCH {
        "x86_64" => Some(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]),
        "aarch64" => Some(vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm]),
        _ => None,
    }
}

/// `Localhost`: a profile in the OCI's form, as upstream's runtimes read it.
fn read(path: &Path) -> Result<LinuxSeccomp, RuntimeError> {
    let bad = |why: String| RuntimeError::BadSpec(format!("cannot load seccomp profile {}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|err| bad(err.to_string()))?.len();
    if length > PROFILE_MAX_BYTES {
        return Err(bad(format!("it is larger than {PROFILE_MAX_BYTES} bytes")));
    }
    let text = std::fs::read(path).map_err(|err| bad(err.to_string()))?;
    serde_json::from_slice(&text).map_err(|err| bad(err.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(has: &[Capability]) -> Vec<String> {
        let profile = runtime_default(&has.iter().cloned().collect()).unwrap();
        profile.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect()
    }

    #[test]
    fn a_capability_opens_its_syscalls() {
        let cases: [(&str, &[Capability], &str, bool); 8] = [
            ("nobody mounts", &[], "mount", true),
            ("but who administers", &[Capability::SysAdmin], "mount", false),
            ("keys are the node's", &[Capability::SysAdmin], "keyctl", true),
            ("one of two will do", &[Capability::Bpf], "bpf", false),
            ("another does not", &[Capability::SysTime], "bpf", true),
            ("the clock", &[Capability::SysTime], "clock_settime", false),
            ("new namespaces", &[], "clone3", true),
            ("ordinary work", &[], "openat", false),
        ];
        for (why, has, name, expected) in cases {
            assert_eq!(refused(has).iter().any(|n| n == name), expected, "{why}");
        }
    }

    #[test]
    fn privileged_containers_have_no_filter() {
        let security = Security { privileged: true, seccomp: Seccomp::RuntimeDefault, ..Security::default() };
        assert_eq!(of(&security, &Capabilities::new()).unwrap(), None);
    }

    #[test]
    fn a_profile_that_cannot_be_used_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.json");
        let look = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let security = Security { seccomp: Seccomp::Profile(path.clone()), ..Security::default() };
            of(&security, &Capabilities::new()).map(|profile| profile.is_some()).map_err(|err| err.to_string())
        };
        assert!(look(None).unwrap_err().contains("cannot load seccomp profile"));
        assert!(look(Some("{}")).is_err());
        let good = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#;
        assert_eq!(look(Some(good)), Ok(true));
    }
}
