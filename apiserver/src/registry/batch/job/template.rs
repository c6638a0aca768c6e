//! What may change in the pods of a Job while none runs: where they are scheduled, what they ask for, how they are marked.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/#mutable-scheduling-directives>

use corten_api::Problems;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Affinity, PodSpec, PodTemplateSpec};

use super::is_true;
use crate::registry::check;
use crate::registry::path::Path;

pub(super) fn validate_update(new: &JobSpec, old: &Job, at: &Path<'_>, problems: &mut Problems) {
    let Some(was) = &old.spec else { return };
    if !is_suspended(old, was) {
        return check::immutable(problems, at, &new.template, &was.template);
    }
    let mut expected = was.template.clone();
    take_changeable(&mut expected, &new.template);
    check::immutable(problems, &at.field("metadata"), &new.template.metadata, &expected.metadata);
    check::immutable(problems, &at.field("spec"), &new.template.spec, &expected.spec);
}

/// Whether no pod was made from the template that is still there: none ever, or all are on their way out.
fn is_suspended(job: &Job, spec: &JobSpec) -> bool {
    let status = job.status.as_ref();
    let never_started = status.is_none_or(|s| s.start_time.is_none());
    let is_told = is_true(status.and_then(|s| s.conditions.as_ref()), "Suspended");
    let active = status.and_then(|s| s.active).unwrap_or(0);
    spec.suspend == Some(true) && active == 0 && (never_started || is_told)
}

/// Sets what may change to what it is now.
fn take_changeable(template: &mut PodTemplateSpec, new: &PodTemplateSpec) {
    let (labels, annotations) = new.metadata.clone().map(|meta| (meta.labels, meta.annotations)).unwrap_or_default();
    if let Some(meta) = &mut template.metadata {
        (meta.labels, meta.annotations) = (labels, annotations);
    }
    let (Some(pod), Some(new)) = (&mut template.spec, &new.spec) else { return };
    pod.affinity = affinity(pod.affinity.take(), new.affinity.as_ref());
    pod.node_selector.clone_from(&new.node_selector);
    pod.tolerations.clone_from(&new.tolerations);
    pod.scheduling_gates.clone_from(&new.scheduling_gates);
    take_resources(pod, new);
}

/// Only what is said of nodes may change. An affinity that says nothing else may go, too.
fn affinity(old: Option<Affinity>, new: Option<&Affinity>) -> Option<Affinity> {
    let mut affinity = old.unwrap_or_default();
    affinity.node_affinity = new.and_then(|new| new.node_affinity.clone());
    (new.is_some() || affinity != Affinity::default()).then_some(affinity)
}

fn take_resources(pod: &mut PodSpec, new: &PodSpec) {
    let containers = pod.containers.iter_mut().zip(&new.containers);
    let init_containers = pod.init_containers.iter_mut().flatten().zip(new.init_containers.iter().flatten());
    for (container, new) in containers.chain(init_containers) {
        container.resources.clone_from(&new.resources);
    }
}
