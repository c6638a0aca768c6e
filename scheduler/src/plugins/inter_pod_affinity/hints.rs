//! What could help a pod that no node took because of the pods there.

use super::is_about;
use crate::framework::Hint;
use crate::pod::PodClass;
use crate::snapshot::Snapshot;
use crate::snapshot::event::{AssignedPod, Event};

pub(super) fn hint(snapshot: &Snapshot, class: &PodClass, event: &Event) -> Hint {
    let affinity = &class.affinity;
    let is_wanted = |pod: &AssignedPod| {
        !affinity.required.is_empty() && affinity.required.iter().all(|t| is_about(snapshot, t, &pod.class))
    };
    // Either of them minded the other.
    let is_minded = |pod: &AssignedPod| {
        affinity.anti.iter().any(|t| is_about(snapshot, t, &pod.class))
            || pod.class.affinity.anti.iter().any(|t| is_about(snapshot, t, class))
    };
    match event {
        Event::PodAdded(pod) => Hint::when(is_wanted(pod)),
        // Where none is left that the pod wants near, it may be the first of its own kind.
        Event::PodRemoved(pod) => Hint::when(is_minded(pod) || is_wanted(pod)),
        Event::PodUpdated { old, new } => {
            Hint::when(is_wanted(old) != is_wanted(new) || is_minded(old) && !is_minded(new))
        }
        Event::NodeAdded(_) | Event::NodeRemoved(_) => Hint::Queue,
        // It may be in another domain now, of its own pods or of those that mind it.
        Event::NodeUpdated { old, new } => Hint::when(old.labels != new.labels),
        // Terms may be about pods of other namespaces than before.
        Event::NamespaceUpdated(_) => Hint::Queue,
        Event::ClaimChanged(_)
        | Event::VolumeChanged { .. }
        | Event::StorageClassChanged(_)
        | Event::VolumeLimitsChanged { .. } => Hint::Skip,
    }
}
