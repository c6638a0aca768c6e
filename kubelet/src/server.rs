//! The kubelet's own server on 10250: gRPC for the apiserver, plain HTTPS for those who watch the node.

use std::path::PathBuf;

/// A container of a pod as the server needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    pub name: String,
    /// The newest container of this name; `None` while none was made.
    pub current: Option<Instance>,
    /// The one before it, while it is kept.
    pub previous: Option<Instance>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The runtime's id.
    pub id: String,
    pub running: bool,
    pub log_path: PathBuf,
}

/// A pod of this node as the server needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// `None`: the host network.
    pub netns: Option<PathBuf>,
    /// All kinds: init, main, ephemeral. The first main one is the default.
    pub containers: Vec<ContainerView>,
    pub default_container: String,
}

/// The pods of this node, kept by the pod workers. Answers come from memory: the calls do no I/O.
pub trait Pods: Send + Sync {
    /// A pod by name. Static pods are found by their mirror's name. With a `uid` that is not empty, only that pod.
    fn find(&self, namespace: &str, name: &str, uid: &str) -> Option<PodView>;

    /// All pods, for statistics.
    fn all(&self) -> Vec<PodView>;

    /// A v1 PodList as JSON, for `/pods`.
    fn pod_list_json(&self) -> Vec<u8>;
}
