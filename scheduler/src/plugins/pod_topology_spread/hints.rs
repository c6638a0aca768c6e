//! What could help a pod that no node took because of how its kind is spread.

use crate::framework::Hint;
use crate::pod::PodClass;
use crate::pod::terms::SpreadConstraint;
use crate::snapshot::NodeSpec;
use crate::snapshot::event::{AssignedPod, Event};

pub(super) fn hint(constraints: &[&SpreadConstraint], class: &PodClass, event: &Event) -> Hint {
    let matches = |pod: &AssignedPod, c: &SpreadConstraint| {
        pod.class.namespace == class.namespace && c.pods.matches_labels(&pod.class.labels)
    };
    let counts = |pod: &AssignedPod| constraints.iter().any(|c| matches(pod, c));
    let has_labels = |node: &NodeSpec| constraints.iter().all(|c| node.labels.contains_key(&c.topology_key));
    match event {
        // It may fill the domain with the fewest, or empty one that has too many.
        Event::PodAdded(pod) | Event::PodRemoved(pod) => Hint::when(counts(pod)),
        Event::PodUpdated { old, new } => {
            let differs = constraints.iter().any(|c| matches(old, c) != matches(new, c));
            // The same labels: it is deleted now, and does not count any more.
            Hint::when(differs || old.class.labels == new.class.labels && counts(new))
        }
        // It may be a domain of its own, or have been the one with the fewest.
        Event::NodeAdded(node) | Event::NodeRemoved(node) => Hint::when(has_labels(node)),
        Event::NodeUpdated { old, new } => {
            let value = |node: &NodeSpec, c: &SpreadConstraint| node.labels.get(&c.topology_key).cloned();
            let moved = constraints.iter().any(|c| value(old, c) != value(new, c));
            // Policies count nodes by their labels and taints.
            let differs = moved || old.taints != new.taints || old.labels != new.labels;
            Hint::when((has_labels(old) || has_labels(new)) && differs)
        }
        Event::NamespaceUpdated(_)
        | Event::ClaimChanged(_)
        | Event::VolumeChanged { .. }
        | Event::StorageClassChanged(_)
        | Event::VolumeLimitsChanged { .. } => Hint::Skip,
    }
}
