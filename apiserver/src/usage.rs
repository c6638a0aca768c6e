//! What nodes and pods use now: metrics.k8s.io, answered by the apiserver itself out of what kubelets measure.
//!
//! [`collector`] asks every kubelet each few seconds, but only while somebody asks for what it finds. What a cpu does is a
//! difference: [`samples`] keeps the last two points of everything and says nothing of what it has seen only once. [`objects`]
//! shows it as upstream's metrics-server does. Nothing is stored, and each apiserver measures for itself.
//!
//! <https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/>.

pub mod collector;
pub mod lookup;
pub mod objects;
pub mod samples;
pub mod summary;

use crate::registry::questions::{USAGE_GROUP, USAGE_VERSION};
use crate::request::Target;

pub const GROUP: &str = USAGE_GROUP;
pub const VERSION: &str = USAGE_VERSION;
/// What may be done with them.
pub const VERBS: &[&str] = &["get", "list"];

/// A kind of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nodes,
    Pods,
}

pub const KINDS: [Kind; 2] = [Kind::Nodes, Kind::Pods];

impl Kind {
    /// Upstream's, which are those of the core.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
        }
    }
    pub fn name(self) -> &'static str {
        match self {
            Self::Nodes => "NodeMetrics",
            Self::Pods => "PodMetrics",
        }
    }
    pub fn namespaced(self) -> bool {
        self == Self::Pods
    }
}

/// The kind that a request is about, if it is about one of these.
pub fn find(target: &Target) -> Option<Kind> {
    let is_meant = target.group == GROUP && target.version == VERSION && target.subresource.is_empty();
    let kind = KINDS.into_iter().find(|kind| is_meant && kind.plural() == target.resource)?;
    let fits = match kind {
        Kind::Nodes => target.namespace.is_empty(),
        Kind::Pods => target.name.is_empty() || !target.namespace.is_empty(),
    };
    fits.then_some(kind)
}
