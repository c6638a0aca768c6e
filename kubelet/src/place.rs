//! What all pod workers of a node share: the ports, the node's names and places, and how much may go on at a time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use corten_api::Object as _;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Semaphore;

use crate::cgroup::{CgroupError, Hierarchy, PodLimits, QOS_LEVELS, Usage, pod_path};
use crate::cluster::Cluster;
use crate::directories::Directories;
use crate::files::ClusterDns;
use crate::images::Images;
use crate::network::PodNetwork;
use crate::node_facts::NodeFacts;
use crate::pod::confinement::Kernel;
use crate::resolv_conf::NodeFile;
use crate::runtime::Runtime;
use crate::sources::Remembered;
use crate::status_writer::StatusWriter;

/// Sandboxes and containers being made at a time. More only makes each of them slower.
pub const STARTS_AT_ONCE: usize = 8;

/// The cgroups of pods; absent in tests.
pub trait PodCgroups: Send + Sync {
    /// Makes the pod's cgroup with its limits, or sets them anew.
    fn ensure(&self, path: &str, limits: &PodLimits) -> Result<(), CgroupError>;
    /// Sets the limits of a cgroup that is there; those that are `None` stay as they are.
    fn set_limits(&self, path: &str, limits: &PodLimits) -> Result<(), CgroupError>;
    /// What all in it use together, and may at most. `None`: it does not exist.
    fn usage(&self, path: &str) -> Option<Usage>;
    fn remove(&self, path: &str) -> Result<(), CgroupError>;
    /// The pods' cgroups that exist: uid and path.
    fn pods(&self, root: &str) -> Vec<(String, String)>;
}

impl PodCgroups for Hierarchy {
    fn ensure(&self, path: &str, limits: &PodLimits) -> Result<(), CgroupError> {
        Self::ensure(self, path)?;
        self.set_limits(path, limits)
    }
    fn set_limits(&self, path: &str, limits: &PodLimits) -> Result<(), CgroupError> {
        Self::set_limits(self, path, limits)
    }
    fn usage(&self, path: &str) -> Option<Usage> {
        Self::usage(self, path)
    }
    fn remove(&self, path: &str) -> Result<(), CgroupError> {
        Self::remove(self, path)
    }
    fn pods(&self, root: &str) -> Vec<(String, String)> {
        let of_level = |qos| {
            let any = pod_path(root, qos, "");
            let level = any.trim_end_matches("/pod").to_owned();
            let uids = self.children(&level).into_iter().filter_map(|name| Some(name.strip_prefix("pod")?.to_owned()));
            uids.map(move |uid| (uid.clone(), format!("{any}{uid}"))).collect::<Vec<_>>()
        };
        QOS_LEVELS.into_iter().flat_map(of_level).collect()
    }
}

/// The node as its pods see it.
#[derive(Clone, Debug)]
pub struct Facts {
    pub node_name: String,
    /// What the node calls itself: the name inside pods of the host network.
    pub node_hostname: String,
    pub addresses: Vec<IpAddr>,
    pub root_dir: PathBuf,
    pub log_dir: PathBuf,
    pub cgroup_root: String,
    pub dns: ClusterDns,
    pub resolv_conf: NodeFile,
    /// cpu in thousandths, all else in whole units.
    pub allocatable: BTreeMap<String, i64>,
    pub kernel: Kernel,
}

pub struct Place {
    pub facts: Facts,
    pub runtime: Arc<dyn Runtime>,
    pub images: Arc<dyn Images>,
    pub network: Arc<dyn PodNetwork>,
    pub cgroups: Option<Arc<dyn PodCgroups>>,
    pub cluster: Arc<dyn Cluster>,
    /// The newest Node.
    pub node: Box<dyn Fn() -> NodeFacts + Send + Sync>,
    /// What pods refer to, as it was last.
    pub sources: Remembered,
    /// Volumes that are directories of this node.
    pub directories: Directories,
    pub statuses: StatusWriter,
    pub starts: Semaphore,
}

impl Place {
    pub fn pods_dir(&self) -> PathBuf {
        self.facts.root_dir.join("pods")
    }
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.pods_dir().join(uid)
    }
    /// `<log-dir>/<namespace>_<name>_<uid>`.
    pub fn pod_log_dir(&self, pod: &Pod) -> PathBuf {
        self.facts.log_dir.join(format!("{}_{}_{}", pod.namespace(), pod.name(), pod.uid()))
    }
    pub fn memory_bytes(&self) -> i64 {
        self.facts.allocatable.get("memory").copied().unwrap_or(0)
    }
}
