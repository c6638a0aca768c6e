//! The node's cgroup tree: `kubepods`, its QoS levels, and a cgroup with limits for every pod. v1 and v2.

mod hierarchy;
mod usage;

use std::path::PathBuf;

use corten_api::pod::Qos;

pub use hierarchy::Hierarchy;
pub use usage::Usage;

/// The cgroup of a pod from the hierarchy's root: what [`crate::runtime::SandboxSpec::cgroup_parent`] takes.
/// `root` is `--cgroup-root`: `/` or `/some/parent`.
pub fn pod_path(root: &str, qos: Qos, pod_uid: &str) -> String {
    format!("{}/pod{pod_uid}", tier_path(root, qos))
}

/// The cgroup that the pods of a QoS class are made in.
pub fn tier_path(root: &str, qos: Qos) -> String {
    let pods = pods_path(root);
    match qos {
        Qos::Guaranteed => pods,
        Qos::Burstable => format!("{pods}/burstable"),
        Qos::BestEffort => format!("{pods}/besteffort"),
    }
}

/// The cgroup of all pods of a node.
pub fn pods_path(root: &str) -> String {
    format!("{}/kubepods", root.trim_end_matches('/'))
}

pub const QOS_LEVELS: [Qos; 3] = [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort];

/// What a pod as a whole may use; `None` means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodLimits {
    /// The sum of requests; 2 where nothing is asked for. See [`cpu_shares`].
    pub cpu_shares: Option<u64>,
    /// Thousandths of a cpu.
    pub cpu_limit_millis: Option<i64>,
    pub memory_limit_bytes: Option<i64>,
    pub pids_limit: Option<i64>,
}

/// cgroup v1 shares for a cpu request: 1024 a cpu, between the kernel's bounds.
pub fn cpu_shares(request_millis: i64) -> u64 {
    const SHARES_MIN: i64 = 2;
    const SHARES_MAX: i64 = 262_144;
    (request_millis.saturating_mul(1024) / 1000).clamp(SHARES_MIN, SHARES_MAX).unsigned_abs()
}

/// Microseconds of cpu in a period of [`CPU_PERIOD_US`] for a cpu limit; at least what the kernel accepts.
pub fn cpu_quota_us(limit_millis: i64) -> i64 {
    const QUOTA_MIN_US: i64 = 1000;
    (limit_millis.saturating_mul(CPU_PERIOD_US) / 1000).max(QUOTA_MIN_US)
}

pub const CPU_PERIOD_US: i64 = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("no cgroup hierarchy is mounted on /sys/fs/cgroup: mount cgroup2 there")]
    NotMounted,
    #[error("{doing} {}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}
