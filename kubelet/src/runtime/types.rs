//! The plain data that crosses the runtime port: what a sandbox and a container should be, and what exists.

use bytes::Bytes;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::sync::mpsc;

use crate::cgroup::Usage;
use crate::images::ImageHandle;

/// Where a pod's containers send their packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The node's own network namespace (`hostNetwork: true`).
    Host,
    /// A namespace of the pod's own, held open at this path (see [`crate::network::PodNetwork::attach`]).
    Pod { netns: PathBuf },
}

/// What the containers of a pod share. Its id is made from `pod_uid` and `attempt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSpec {
    pub pod_uid: String,
    pub namespace: String,
    pub name: String,
    /// 0 for a pod's first sandbox, one more for each that replaced a dead one.
    pub attempt: u32,
    /// Name in the pod's UTS namespace; with [`Network::Host`] it is ignored: the node's name is kept.
    pub hostname: String,
    pub network: Network,
    pub host_pid: bool,
    pub host_ipc: bool,
    /// All containers live in one pid namespace; pause is pid 1 and reaps.
    pub share_process_namespace: bool,
    /// The pod's cgroup from the hierarchy's root, such as `/kubepods/burstable/pod<uid>` (see [`crate::cgroup`]).
    /// The sandbox and every container get a child of it.
    pub cgroup_parent: String,
    /// Namespaced sysctls, dots or slashes as the user wrote them.
    pub sysctls: BTreeMap<String, String>,
    /// Kept with the sandbox and returned by `list`. A key and its value together may be 4 KiB.
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    #[default]
    None,
    HostToContainer,
    Bidirectional,
}

/// A file or directory of the node, seen in the container. `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, the termination
/// message file and volumes all come as mounts; the runtime adds only `/proc`, `/dev`, `/sys` and their like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub read_only: bool,
    pub propagation: Propagation,
}

/// Who the process is. `None` means: what the image says, else root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// `fsGroup` and `supplementalGroups`.
    pub additional_gids: Vec<u32>,
    /// `supplementalGroupsPolicy: Strict`: the groups that the image's `/etc/group` gives the user are not added.
    pub strict_groups: bool,
}

/// Limits of one container, in the kernel's units; `None` means unlimited (or the kernel's default).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// cgroup v1 shares (2..=262144); turned into a v2 weight where needed.
    pub cpu_shares: Option<u64>,
    /// Microseconds of cpu per period.
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    pub memory_limit_bytes: Option<i64>,
    pub pids_limit: Option<i64>,
    /// -1000..=1000; raised to what this process may set where it lacks CAP_SYS_RESOURCE.
    pub oom_score_adj: Option<i32>,
}

/// What the process may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    pub privileged: bool,
    /// Names with or without `CAP_`, or `ALL`.
    pub capabilities_add: Vec<String>,
    pub capabilities_drop: Vec<String>,
    pub read_only_root: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
    pub seccomp: Seccomp,
}

/// Which syscalls a process may make; a privileged one makes any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    #[default]
    Unconfined,
    RuntimeDefault,
    /// A profile on the node, in the OCI's JSON.
    Profile(PathBuf),
}

/// One container. Its id is made from the pod's uid, `name` and `attempt`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSpec {
    pub name: String,
    /// How often a container of this name was made before in this pod: the restart count.
    pub attempt: u32,
    pub image: ImageHandle,
    /// The pod's `command` (replaces the image's entrypoint *and* cmd), with variables already expanded.
    pub command: Vec<String>,
    /// The pod's `args` (replaces the image's cmd).
    pub args: Vec<String>,
    /// Added to the image's environment; a name given here wins.
    pub env: Vec<(String, String)>,
    /// `None`: the image's.
    pub working_dir: Option<String>,
    pub mounts: Vec<Mount>,
    pub user: User,
    pub security: Security,
    pub resources: Resources,
    pub tty: bool,
    pub stdin: bool,
    /// `stdinOnce`: standard input is closed when the first attached client leaves.
    pub stdin_once: bool,
    /// Where the container's output goes, in CRI log format. Its directory is made if it is missing.
    pub log_path: PathBuf,
    /// Kept with the container and returned by `list`. A key and its value together may be 4 KiB.
    pub labels: BTreeMap<String, String>,
    /// A running container of the pod whose pid namespace is this one's too, where they do not share one anyway.
    pub target: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, not started.
    Created,
    Running {
        pid: u32,
        started_at: Timestamp,
    },
    Exited(Exit),
}

/// How a container or sandbox ended. A signal `n` shows as exit code 128 + n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub exit_code: i32,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub oom_killed: bool,
    /// Nobody saw the end (the node crashed): the code is 255, the end is when it was noticed.
    pub unseen: bool,
}

/// A sandbox that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    pub id: String,
    pub pod_uid: String,
    pub namespace: String,
    pub name: String,
    pub attempt: u32,
    pub network: Network,
    pub cgroup_parent: String,
    /// What it holds is there: containers can be made in it.
    pub is_up: bool,
    pub created_at: Timestamp,
    pub labels: BTreeMap<String, String>,
}

/// A container that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub sandbox_id: String,
    pub pod_uid: String,
    pub namespace: String,
    pub pod_name: String,
    pub name: String,
    pub attempt: u32,
    /// The reference it was made from, and the id of what that meant then.
    pub image: String,
    pub image_id: String,
    pub log_path: PathBuf,
    pub state: State,
    pub created_at: Timestamp,
    pub labels: BTreeMap<String, String>,
}

/// Everything of ours that the runtime holds, running or not, however many kubelets came and went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub sandboxes: Vec<Sandbox>,
    pub containers: Vec<Container>,
}

/// What happened in the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    ContainerExited {
        pod_uid: String,
        container_id: String,
        exit: Exit,
    },
    SandboxExited {
        pod_uid: String,
        sandbox_id: String,
        at: Timestamp,
    },
    /// Events may have been missed (the runtime was away, or this reader was slow): compare with `list`.
    Resync,
}

/// A command to run inside a running container, as the container's user, with its environment and working directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// A process one can talk to. Dropping `input` closes its standard input; dropping `output` kills an exec'd process and
/// leaves an attached container alone.
#[derive(Debug)]
pub struct Session {
    pub input: mpsc::Sender<SessionInput>,
    pub output: mpsc::Receiver<SessionOutput>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionInput {
    Stdin(Bytes),
    CloseStdin,
    Resize { width: u32, height: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOutput {
    Stdout(Bytes),
    Stderr(Bytes),
    /// The last message. A session that ends without it lost the runtime.
    Exited(i32),
}

/// How a command that was run to its end (or to its timeout) went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecResult {
    pub exit_code: i32,
    /// Standard output and error mixed, cut at [`EXEC_OUTPUT_MAX_BYTES`].
    pub output: Vec<u8>,
}

/// What `exec_sync` keeps of a command's output.
pub const EXEC_OUTPUT_MAX_BYTES: usize = 16 * 1024;
/// Messages that wait between a session's process and its reader.
pub const SESSION_QUEUE: usize = 16;

/// What a container has used, read from its cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub container_id: String,
    /// `None`: it was started before our time and not listed yet.
    pub started_at: Option<Timestamp>,
    pub usage: Usage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Such as `containerd`.
    pub name: String,
    pub version: String,
}
