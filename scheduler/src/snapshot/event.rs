//! What happens in the cluster, as far as a waiting pod may be helped by it. An event carries what it is about, so that a
//! queueing hint can say no.

use std::sync::Arc;

use corten_api::Key;

use super::NodeSpec;
use crate::pod::PodClass;

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    NodeAdded(Arc<NodeSpec>),
    NodeUpdated {
        old: Arc<NodeSpec>,
        new: Arc<NodeSpec>,
    },
    NodeRemoved(Arc<NodeSpec>),
    /// A pod has got a node, or is assumed to have.
    PodAdded(AssignedPod),
    /// A pod that has a node changed: its labels, what it takes, or that it is deleted.
    PodUpdated {
        old: AssignedPod,
        new: AssignedPod,
    },
    /// A pod takes nothing of its node any more, or leaves the place that was kept for it.
    PodRemoved(AssignedPod),
    /// The labels of a namespace changed.
    NamespaceUpdated(String),
    /// It came, went, got its volume, or lost it.
    ClaimChanged(Key),
    /// `classes`: its StorageClass, and the one that it had: claims of both may have waited for it.
    VolumeChanged {
        name: String,
        classes: Vec<String>,
    },
    StorageClassChanged(String),
    /// How many volumes a node can have changed; `grew`: of some driver it can have more than before.
    VolumeLimitsChanged {
        grew: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct AssignedPod {
    pub class: Arc<PodClass>,
    pub node: Arc<NodeSpec>,
}

impl Event {
    /// By what upstream's metrics and logs name it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NodeAdded(_) => "NodeAdd",
            Self::NodeUpdated { old, new } if old.allocatable != new.allocatable => "NodeUpdateNodeAllocatable",
            Self::NodeUpdated { old, new } if old.labels != new.labels => "NodeUpdateNodeLabel",
            // A node that is cordoned counts as one with a taint.
            Self::NodeUpdated { old, new } if old.taints != new.taints || old.unschedulable != new.unschedulable => {
                "NodeUpdateNodeTaint"
            }
            Self::NodeUpdated { .. } => "NodeUpdate",
            Self::NodeRemoved(_) => "NodeDelete",
            Self::PodAdded(_) => "AssignedPodAdd",
            Self::PodUpdated { .. } => "AssignedPodUpdate",
            Self::PodRemoved(_) => "AssignedPodDelete",
            Self::NamespaceUpdated(_) => "NamespaceUpdate",
            Self::ClaimChanged(_) => "PersistentVolumeClaimUpdate",
            Self::VolumeChanged { .. } => "PersistentVolumeUpdate",
            Self::StorageClassChanged(_) => "StorageClassUpdate",
            Self::VolumeLimitsChanged { .. } => "CSINodeUpdate",
        }
    }
}
