//! Pods and claims stay within the bounds of their namespace's LimitRanges; containers that say nothing get defaults.
//!
//! <https://kubernetes.io/docs/concepts/policy/limit-range/>

mod bounds;
mod fill;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod};

use super::{AdmissionRequest, Refusal};
use crate::request::Verb;

/// Gives what the ranges of the namespace give to who says nothing.
pub(super) fn fill(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    let Some(ranges) = ranges(request) else { return Ok(()) };
    if let Some(pod) = request.object_mut::<Pod>() {
        ranges.iter().for_each(|range| fill::pod(pod, items(range)));
    }
    Ok(())
}

/// Holds what came of it against their bounds. All defaults first: what one range gives must please the others too.
pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    fill(request)?;
    let Some(ranges) = ranges(request) else { return Ok(()) };
    for range in &ranges {
        let found = match (request.object::<Pod>(), request.object::<PersistentVolumeClaim>()) {
            (Some(pod), _) => bounds::pod(pod, items(range)),
            (_, Some(claim)) => bounds::claim(claim, items(range)),
            _ => Vec::new(),
        };
        match found.as_slice() {
            [] => {}
            [one] => return Err(request.forbidden(one)),
            many => return Err(request.forbidden(format!("[{}]", many.join(", ")))),
        }
    }
    Ok(())
}

/// `None`: the write is none that they are about.
fn ranges(request: &AdmissionRequest<'_>) -> Option<Vec<LimitRange>> {
    let (is_pod, is_claim) = (request.is("", "pods"), request.is("", "persistentvolumeclaims"));
    let concerned = match (request.target.subresource.as_str(), request.verb) {
        ("", Verb::Create) => is_pod || is_claim,
        // Of a pod that is there, resources change in one way only.
        ("", Verb::Update) => is_claim,
        ("resize", Verb::Update) => is_pod,
        _ => false,
    };
    let deleting = request.old.is_some_and(|old| old.meta().deletion_timestamp.is_some());
    (concerned && !deleting).then(|| request.list("", "limitranges", &request.target.namespace))
}

fn items(range: &LimitRange) -> &[LimitRangeItem] {
    range.spec.as_ref().map(|spec| spec.limits.as_slice()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
