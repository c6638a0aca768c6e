//! The pod network port: a network namespace with an address for every pod that has its own.

pub mod address;
pub mod bridge;
pub mod fake;
mod links;
pub mod netns;

#[cfg(test)]
mod contract;

use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use ipnet::IpNet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    pub uid: String,
    pub namespace: String,
    pub name: String,
}

/// A pod's place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub pod_uid: String,
    /// Path that holds the namespace open, whatever runs in it.
    pub netns: PathBuf,
    /// `status.podIPs`, the first one is `podIP`. Never empty.
    pub addresses: Vec<IpAddr>,
}

/// Pods' network namespaces and addresses. Host ports (`containerPort.hostPort`) are not its business: the proxy maps
/// them. Pods of the host network never come here.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// The range that addresses come from; the first address is the bridge's own. May be set again with the same value.
    /// A change takes effect for pods that come later.
    async fn set_pod_cidr(&self, pod_cidr: IpNet) -> Result<(), NetworkError>;

    /// Makes the pod's namespace with a loopback, an address and a default route. For a pod that has one already,
    /// also from before a restart, this returns it unchanged.
    async fn attach(&self, pod: &PodRef) -> Result<Attachment, NetworkError>;

    /// Takes the namespace and its address away. For a pod without one this is a success.
    async fn detach(&self, pod_uid: &str) -> Result<(), NetworkError>;

    /// Every attachment that exists, also from before a restart.
    async fn list(&self) -> Result<Vec<Attachment>, NetworkError>;

    /// Whether `attach` can work: the node's Ready condition says why not.
    async fn ready(&self) -> Result<(), NetworkError>;
}

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("the node has no podCIDR yet: the controllers assign it; see `kubectl get node -o yaml`")]
    NoPodCidr,
    #[error("all addresses of podCIDR {pod_cidr} are in use")]
    Exhausted { pod_cidr: IpNet },
    #[error("podCIDR {pod_cidr} cannot be used: {why}")]
    BadPodCidr { pod_cidr: IpNet, why: &'static str },
    #[error("{doing}")]
    Netlink {
        doing: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("CNI plugin {plugin} failed: {why}")]
    Cni { plugin: String, why: String },
}
