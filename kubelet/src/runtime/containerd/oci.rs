//! The OCI runtime specs of sandboxes and containers, from the port's specs. Pure.
//!
//! <https://github.com/opencontainers/runtime-spec/blob/main/config.md>

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use oci_spec::runtime::{
    Linux, LinuxCapabilities, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxNamespace, LinuxNamespaceType as Ns,
    LinuxPids, LinuxResources, LinuxSeccomp, Mount as OciMount, Process, Root, Spec, User as OciUser,
};

use super::capabilities;
use super::record::SandboxRecord;
use super::shared::Shared;
use super::user::Identity;
use crate::runtime::{BadSpec, ContainerSpec, Network, Propagation, Resources, SandboxSpec};

/// containerd's runc shim runs all containers that name the same group in one process.
const SHIM_GROUP: &str = "io.containerd.runc.v2.group";
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Least likely of a pod's processes to be chosen when memory runs out: without it the pod is nothing.
const SANDBOX_OOM_SCORE_ADJ: i32 = -998;
const CPU_SHARES_MIN: u64 = 2;
/// What no container sees: facts about the node, and things by which to learn of others on it. As upstream and Docker have them.
pub(super) const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the host lets us do.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// `oom_score_adj` may not be set below this (see [`crate::runtime::Resources`]).
    pub(super) oom_score_adj_min: i32,
    /// Capabilities there are to give, as `CHOWN`.
    pub(super) capabilities: BTreeSet<String>,
    /// [`MASKED_PATHS`], and the files that each processor has for the same reason.
    pub(super) masked_paths: Vec<String>,
}

/// What a container's spec needs to know besides its own wishes.
pub(super) struct Surroundings<'a> {
    pub(super) host: &'a Host,
    pub(super) sandbox_id: &'a str,
    pub(super) sandbox: &'a SandboxRecord,
    /// Of the process whose pid namespace is joined: the sandbox's pause process, or a container's that is looked into.
    pub(super) pid_of: Option<u32>,
    pub(super) shared: &'a Shared,
    pub(super) identity: Identity,
    pub(super) capabilities: LinuxCapabilities,
    pub(super) seccomp: Option<LinuxSeccomp>,
    pub(super) cgroup: &'a str,
    /// Device nodes with their numbers: those asked for and, for a privileged container, all of the host's.
    pub(super) devices: Vec<oci_spec::runtime::LinuxDevice>,
}

/// The pause process, in the namespaces that the sandbox holds and a pid namespace of its own.
pub(super) fn sandbox(spec: &SandboxSpec, id: &str, shared: &Shared, host: &Host) -> Spec {
    let mut process = Process::default();
    process.set_args(Some(vec!["/pause".into()])).set_env(None).set_rlimits(None).set_no_new_privileges(Some(true));
    process
        .set_capabilities(Some(capabilities::none()))
        .set_oom_score_adj(Some(SANDBOX_OOM_SCORE_ADJ.max(host.oom_score_adj_min)));

    let mut namespaces = vec![namespace(Ns::Mount, None), namespace(Ns::Pid, None)];
    namespaces.extend(held_namespaces(&spec.network, spec.host_ipc, shared));
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(CPU_SHARES_MIN));
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(vec![all_devices(false)])).set_cpu(Some(cpu));
    let mut linux = Linux::default();
    linux.set_namespaces(Some(namespaces)).set_resources(Some(resources)).set_devices(None);
    linux.set_cgroups_path(Some(format!("{}/{id}", spec.cgroup_parent).into()));

    let mut whole = Spec::default();
    whole.set_process(Some(process)).set_root(Some(root(true))).set_hostname(None).set_linux(Some(linux));
    whole.set_mounts(Some(vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=64k"]),
    ]));
    whole.set_annotations(Some(HashMap::from([(SHIM_GROUP.into(), id.into())])));
    whole
}

pub(super) fn container(spec: &ContainerSpec, around: &Surroundings<'_>) -> Result<Spec, BadSpec> {
    let process = process(spec, around)?;
    let mut linux = Linux::default();
    linux.set_seccomp(around.seccomp.clone());
    linux.set_namespaces(Some(container_namespaces(around)));
    linux.set_cgroups_path(Some(around.cgroup.into())).set_devices(Some(around.devices.clone()));
    linux.set_resources(Some(resources(spec)));
    linux.set_rootfs_propagation(rootfs_propagation(spec));
    let (masked, readonly) = match spec.security.privileged || spec.security.unmasked_proc {
        true => (None, None),
        false => (Some(around.host.masked_paths.clone()), Some(READONLY_PATHS.map(str::to_owned).into())),
    };
    linux.set_masked_paths(masked).set_readonly_paths(readonly);
    let mut whole = Spec::default();
    whole.set_process(Some(process)).set_root(Some(root(spec.security.read_only_root)));
    // The name belongs to the sandbox's UTS namespace, which is joined.
    whole.set_hostname(None).set_linux(Some(linux)).set_mounts(Some(mounts(spec, around)));
    whole.set_annotations(Some(HashMap::from([(SHIM_GROUP.into(), around.sandbox_id.into())])));
    Ok(whole)
}

/// What runs: the pod's command and args, or the image's, by Kubernetes' rules.
pub(super) fn arguments(spec: &ContainerSpec) -> Result<Vec<String>, BadSpec> {
    let image = &spec.image.config;
    let (head, tail) = match (spec.command.is_empty(), spec.args.is_empty()) {
        (true, true) => (&image.entrypoint, &image.cmd),
        (true, false) => (&image.entrypoint, &spec.args),
        (false, _) => (&spec.command, &spec.args),
    };
    let all: Vec<String> = head.iter().chain(tail).cloned().collect();
    if all.is_empty() {
        return Err(BadSpec::NoCommand);
    }
    Ok(all)
}

fn process(spec: &ContainerSpec, around: &Surroundings<'_>) -> Result<Process, BadSpec> {
    let mut user = OciUser::default();
    user.set_uid(around.identity.uid).set_gid(around.identity.gid);
    user.set_additional_gids(Some(around.identity.additional_gids.clone()));
    let image_dir = spec.image.config.working_dir.clone().filter(|d| !d.is_empty());
    let cwd = spec.working_dir.clone().filter(|d| !d.is_empty()).or(image_dir).unwrap_or_else(|| "/".into());
    let mut process = Process::default();
    process.set_args(Some(arguments(spec)?)).set_env(Some(environment(spec, around))).set_cwd(cwd.into());
    process
        .set_user(user)
        .set_capabilities(Some(around.capabilities.clone()))
        .set_rlimits(None)
        .set_terminal(Some(spec.tty));
    process.set_no_new_privileges(Some(spec.security.no_new_privileges));
    let oom_score_adj = spec.resources.oom_score_adj.map(|adj| adj.max(around.host.oom_score_adj_min));
    process.set_oom_score_adj(oom_score_adj);
    Ok(process)
}

/// The image's variables, then ours, then the pod's: the last of a name wins, in the place of the first.
fn environment(spec: &ContainerSpec, around: &Surroundings<'_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    // An image may bring many: each is looked up, not searched for.
    let mut places: HashMap<String, usize> = HashMap::new();
    let tty = spec.tty.then(|| "TERM=xterm".to_owned());
    let hostname = Some(&around.sandbox.hostname).filter(|h| !h.is_empty()).map(|h| format!("HOSTNAME={h}"));
    let pods = spec.env.iter().map(|(name, value)| format!("{name}={value}"));
    let ours = [DEFAULT_PATH.to_owned()].into_iter().chain(tty).chain(hostname);
    for entry in ours.chain(spec.image.config.env.iter().cloned()).chain(pods) {
        let name = entry.split('=').next().unwrap_or_default();
        match places.get(name) {
            Some(place) => all[*place] = entry,
            None => {
                places.insert(name.to_owned(), all.len());
                all.push(entry);
            }
        }
    }
    all
}

fn container_namespaces(around: &Surroundings<'_>) -> Vec<LinuxNamespace> {
    let mut all = vec![namespace(Ns::Mount, None)];
    all.extend(held_namespaces(&around.sandbox.network, around.sandbox.host_ipc, around.shared));
    match (around.sandbox.host_pid, around.pid_of) {
        (true, _) => {}
        (false, Some(pid)) => all.push(namespace(Ns::Pid, Some(format!("/proc/{pid}/ns/pid").into()))),
        (false, None) => all.push(namespace(Ns::Pid, None)),
    }
    all
}

fn held_namespaces(network: &Network, host_ipc: bool, shared: &Shared) -> Vec<LinuxNamespace> {
    let mut all = Vec::new();
    if let Network::Pod { netns } = network {
        all.push(namespace(Ns::Network, Some(netns.clone())));
        all.push(namespace(Ns::Uts, Some(shared.uts())));
    }
    if !host_ipc {
        all.push(namespace(Ns::Ipc, Some(shared.ipc())));
    }
    all
}

fn resources(spec: &ContainerSpec) -> LinuxResources {
    let mut all = limits(&spec.resources);
    all.set_devices(Some(vec![all_devices(spec.security.privileged)]));
    all
}

/// Without devices: those stay as they are while a container runs.
pub(super) fn limits(resources: &Resources) -> LinuxResources {
    let Resources { cpu_shares, cpu_quota_us, cpu_period_us, memory_limit_bytes, pids_limit, oom_score_adj: _ } =
        *resources;
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(cpu_shares).set_quota(cpu_quota_us).set_period(cpu_period_us);
    let mut all = LinuxResources::default();
    all.set_cpu(Some(cpu));
    if let Some(limit) = memory_limit_bytes {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(limit));
        all.set_memory(Some(memory));
    }
    if let Some(limit) = pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        all.set_pids(Some(pids));
    }
    all
}

/// Whether it may use devices at all, besides the few that runc gives every container.
fn all_devices(allow: bool) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow).set_access(Some("rwm".into()));
    rule
}

/// Mounts of a pod can only propagate as far as its root does.
fn rootfs_propagation(spec: &ContainerSpec) -> Option<String> {
    let has = |wanted| spec.mounts.iter().any(|m| m.propagation == wanted);
    if has(Propagation::Bidirectional) {
        Some("rshared".into())
    } else {
        has(Propagation::HostToContainer).then(|| "rslave".into())
    }
}

/// The usual ones, then the pod's; a pod's mount on a usual place replaces it. Outer ones come before inner ones.
fn mounts(spec: &ContainerSpec, around: &Surroundings<'_>) -> Vec<OciMount> {
    let rw = if spec.security.privileged { "rw" } else { "ro" };
    let shm = around.shared.shm().display().to_string();
    let usual = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", rw]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", rw]),
        mount("/dev/shm", "bind", if around.sandbox.host_ipc { "/dev/shm" } else { &shm }, &["rbind", "rw"]),
    ];
    let mut of_pod: Vec<OciMount> = spec.mounts.iter().map(bind).collect();
    of_pod.sort_by_key(|m| m.destination().components().count());
    let replaced = |m: &OciMount| of_pod.iter().any(|p| p.destination() == m.destination());
    usual.into_iter().filter(|m| !replaced(m)).chain(of_pod.clone()).collect()
}

fn bind(m: &crate::runtime::Mount) -> OciMount {
    let propagation = match m.propagation {
        Propagation::None => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    let access = if m.read_only { "ro" } else { "rw" };
    mount(
        &m.container_path.display().to_string(),
        "bind",
        &m.host_path.display().to_string(),
        &["rbind", propagation, access],
    )
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> OciMount {
    let mut mount = OciMount::default();
    mount.set_destination(destination.into()).set_typ(Some(kind.into())).set_source(Some(source.into()));
    mount.set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    mount
}
fn namespace(kind: Ns, path: Option<PathBuf>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path);
    namespace
}
fn root(read_only: bool) -> Root {
    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(Some(read_only));
    root
}

#[cfg(test)]
mod tests;
