//! A pod's priority: the number behind its class's name.
//!
//! Classes are <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>; PriorityClass objects
//! are not served yet, so only the two that every cluster has are known.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::{AdmissionRequest, Refusal};
use crate::request::Verb;

const SYSTEM_CLASSES: &[(&str, i32)] =
    &[("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
const PREEMPTION: &str = "PreemptLowerPriority";

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if !request.is("", "pods") || !request.is_plain() {
        return Ok(());
    }
    let old = request.old::<Pod>().and_then(|pod| pod.spec.as_ref()).map(|s| (s.priority, s.preemption_policy.clone()));
    let creates = request.verb == Verb::Create;
    let Some(spec) = request.object_mut::<Pod>().and_then(|pod| pod.spec.as_mut()) else { return Ok(()) };
    let why = match old {
        // Whoever updates a pod need not know what was computed for it.
        Some((priority, policy)) => {
            spec.priority = spec.priority.or(priority);
            spec.preemption_policy = spec.preemption_policy.take().or(policy);
            return Ok(());
        }
        None if creates => fill_in(spec),
        None => return Ok(()),
    };
    why.map_err(|why| request.forbidden(why))
}

fn fill_in(spec: &mut PodSpec) -> Result<(), String> {
    let class = spec.priority_class_name.as_deref().unwrap_or_default();
    let priority = match SYSTEM_CLASSES.iter().find(|(name, _)| *name == class) {
        Some((_, value)) => *value,
        None if class.is_empty() => 0,
        None => return Err(format!("no PriorityClass with name {class} was found")),
    };
    if let Some(given) = spec.priority.filter(|given| *given != priority) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {priority} from the given PriorityClass name"
        ));
    }
    spec.priority = Some(priority);
    spec.preemption_policy.get_or_insert_with(|| PREEMPTION.into());
    Ok(())
}
