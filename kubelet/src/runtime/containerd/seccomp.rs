//! Which syscalls a container may make: the runtime's default, or a profile of the node's. Pure but for reading a profile.
//!
//! <https://kubernetes.io/docs/reference/node/seccomp/>

mod table;

use std::path::Path;

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompOperator as Operator, LinuxSyscall,
};

use self::table::{ANYBODY, BY_ARCHITECTURE, BY_CAPABILITY, FAMILIES, FAMILIES_BELOW, NAMESPACE_FLAGS, PERSONALITIES};
use crate::runtime::{BadSpec, RuntimeError, Seccomp, Security};

/// Larger files are no profiles.
const PROFILE_MAX_BYTES: u64 = 1024 * 1024;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The filter of a container that has these capabilities; `None`: it may make any syscall.
pub(super) fn of(security: &Security, has: &Capabilities) -> Result<Option<LinuxSeccomp>, RuntimeError> {
    match &security.seccomp {
        _ if security.privileged => Ok(None),
        Seccomp::Unconfined => Ok(None),
        Seccomp::RuntimeDefault => runtime_default(has).map(Some),
        Seccomp::Profile(path) => Ok(Some(read(path)?)),
    }
}

/// `RuntimeDefault`: what the table names, as far as the container has the capability for it, and nothing else.
fn runtime_default(has: &Capabilities) -> Result<LinuxSeccomp, RuntimeError> {
    let of_machine =
        BY_ARCHITECTURE.iter().filter(|(arch, _)| *arch == std::env::consts::ARCH).map(|(_, names)| *names);
    let of_holder = BY_CAPABILITY.iter().filter(|(capability, _)| has.contains(capability)).map(|(_, names)| *names);
    let names = [ANYBODY].into_iter().chain(of_machine).chain(of_holder).flat_map(str::split_whitespace);
    let mut rules = vec![rule(names, Action::ScmpActAllow)];
    for personality in PERSONALITIES {
        rules.push(allow_if("personality", compare(Operator::ScmpCmpEq, personality, 0)?));
    }
    rules.push(allow_if("socket", compare(Operator::ScmpCmpLt, FAMILIES_BELOW, 0)?));
    for family in FAMILIES {
        rules.push(allow_if("socket", compare(Operator::ScmpCmpEq, family, 0)?));
    }
    if !has.contains(&Capability::SysAdmin) {
        rules.push(allow_if("clone", compare(Operator::ScmpCmpMaskedEq, NAMESPACE_FLAGS, 0)?));
        // Its flags are behind a pointer, which a filter cannot follow; libraries then try `clone`.
        let mut refused = rule(["clone3"], Action::ScmpActErrno);
        refused.set_errno_ret(Some(ENOSYS));
        rules.push(refused);
    }
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActErrno).set_default_errno_ret(Some(EPERM));
    profile.set_architectures(architectures()).set_syscalls(Some(rules));
    Ok(profile)
}

fn rule<'a>(names: impl IntoIterator<Item = &'a str>, action: Action) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.into_iter().map(str::to_owned).collect());
    rule.set_action(action);
    rule
}

fn allow_if(name: &str, first_argument: LinuxSeccompArg) -> LinuxSyscall {
    let mut rule = rule([name], Action::ScmpActAllow);
    rule.set_args(Some(vec![first_argument]));
    rule
}

/// The first argument against a value; with a mask, the value is the mask and `masked` what must be left.
fn compare(operator: Operator, value: u64, masked: u64) -> Result<LinuxSeccompArg, RuntimeError> {
    let arg = LinuxSeccompArgBuilder::default().index(0_usize).value(value).value_two(masked).op(operator).build();
    arg.map_err(RuntimeError::internal("making the default seccomp profile"))
}

/// Programs of an architecture that is not named would be killed.
fn architectures() -> Option<Vec<Arch>> {
    match std::env::consts::ARCH {
        "x86_64" => Some(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]),
        "aarch64" => Some(vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm]),
        "riscv64" => Some(vec![Arch::ScmpArchRiscv64]),
        _ => None,
    }
}

/// `Localhost`: a profile in the OCI's form, as upstream's runtimes read it.
fn read(path: &Path) -> Result<LinuxSeccomp, BadSpec> {
    let bad = |source| BadSpec::SeccompProfile { path: path.into(), source };
    let length = std::fs::metadata(path).map_err(bad)?.len();
    if length > PROFILE_MAX_BYTES {
        let why = format!("it is larger than {PROFILE_MAX_BYTES} bytes");
        return Err(bad(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why)));
    }
    let text = std::fs::read(path).map_err(bad)?;
    serde_json::from_slice(&text).map_err(|err| bad(err.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a filter does with a syscall and its first argument, as the kernel would apply it.
    fn allows(profile: &LinuxSeccomp, name: &str, argument: u64) -> bool {
        let fits = |arg: &LinuxSeccompArg| match arg.op() {
            Operator::ScmpCmpEq => argument == arg.value(),
            Operator::ScmpCmpLt => argument < arg.value(),
            Operator::ScmpCmpMaskedEq => argument & arg.value() == arg.value_two().unwrap_or(0),
            other => panic!("{other:?} is not used"),
        };
        let named = profile.syscalls().iter().flatten().filter(|rule| rule.names().iter().any(|n| n == name));
        let mut fitting = named.filter(|rule| rule.args().iter().flatten().all(fits)).peekable();
        match fitting.peek() {
            None => profile.default_action() == Action::ScmpActAllow,
            Some(_) => fitting.all(|rule| rule.action() == Action::ScmpActAllow),
        }
    }

    #[test]
    fn what_is_not_known_to_be_harmless_is_refused() {
        const NEWUSER: u64 = 0x1000_0000;
        const ALG: u64 = 38;
        const VSOCK: u64 = 40;
        let cases: [(&str, &[Capability], &str, u64, bool); 22] = [
            ("a syscall of tomorrow", &[Capability::SysAdmin], "brand_new", 0, false),
            ("ordinary work", &[], "openat", 0, true),
            ("nobody mounts", &[], "mount", 0, false),
            ("but who administers", &[Capability::SysAdmin], "mount", 0, true),
            ("keys are the node's", &[Capability::SysAdmin], "keyctl", 0, false),
            ("io_uring escapes filters", &[Capability::SysAdmin], "io_uring_setup", 0, false),
            ("userfaultfd", &[], "userfaultfd", 0, false),
            ("a process starts", &[], "clone", 0x11, true),
            ("a user namespace", &[], "clone", NEWUSER | 0x11, false),
            ("of who administers", &[Capability::SysAdmin], "clone", NEWUSER, true),
            ("flags that cannot be seen", &[], "clone3", 0, false),
            ("of who administers", &[Capability::SysAdmin], "clone3", 0, true),
            ("bpf", &[], "bpf", 0, false),
            ("bpf with its own capability", &[Capability::Bpf], "bpf", 0, true),
            ("with another", &[Capability::SysTime], "bpf", 0, false),
            ("the clock", &[Capability::SysTime], "clock_settime", 0, true),
            ("chroot is among the defaults", &[Capability::SysChroot], "chroot", 0, true),
            ("TCP", &[], "socket", 2, true),
            ("the node's hypervisor", &[], "socket", VSOCK, false),
            ("the kernel's crypto", &[], "socket", ALG, false),
            ("an old persona without randomised addresses", &[], "personality", 0x4_0000, false),
            ("the question which it is", &[], "personality", 0xffff_ffff, true),
        ];
        for (why, has, name, argument, expected) in cases {
            let profile = runtime_default(&has.iter().cloned().collect()).unwrap();
            assert_eq!(allows(&profile, name, argument), expected, "{why}");
        }
    }

    #[test]
    fn the_table_names_each_syscall_once_in_a_row() {
        let rows =
            [ANYBODY].into_iter().chain(BY_ARCHITECTURE.iter().map(|r| r.1)).chain(BY_CAPABILITY.iter().map(|r| r.1));
        for row in rows {
            let names: Vec<&str> = row.split_whitespace().collect();
            let once: std::collections::BTreeSet<&str> = names.iter().copied().collect();
            assert_eq!(once.len(), names.len(), "{row}");
        }
        for conditional in ["socket", "personality", "clone", "clone3"] {
            assert!(!ANYBODY.split_whitespace().any(|name| name == conditional), "{conditional} has conditions");
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
