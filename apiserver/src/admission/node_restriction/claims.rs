//! What a kubelet may write of a claim: how far its volume has grown. All else of it is its owner's and the controllers'.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::admission::AdmissionRequest;
use crate::registry::difference;
use crate::request::Verb;

pub(super) fn on_claim(request: &AdmissionRequest<'_>, node: &str) -> Result<(), String> {
    if request.target.subresource != "status" {
        return Err("may only update PVC status".into());
    }
    if request.verb != Verb::Update {
        return Err(format!("unexpected operation {:?}", request.verb.as_str().to_uppercase()));
    }
    let (new, old) = (request.object::<PersistentVolumeClaim>(), request.old::<PersistentVolumeClaim>());
    let (Some(new), Some(old)) = (new, old) else { return Err("unexpected type".into()) };
    let (new, old) = (but_for_the_kubelets(new), but_for_the_kubelets(old));
    if new == old {
        return Ok(());
    }
    let what = difference::fields(&new, &old);
    Err(format!(
        "node {node:?} is not allowed to update fields other than status.quantity and status.conditions: {what}"
    ))
}

/// The claim without what a kubelet may write, and without what every write sets.
fn but_for_the_kubelets(claim: &PersistentVolumeClaim) -> PersistentVolumeClaim {
    let mut rest = claim.clone();
    rest.metadata.resource_version = None;
    rest.metadata.managed_fields = None;
    let status = rest.status.get_or_insert_default();
    status.capacity = None;
    status.conditions = None;
    status.allocated_resources = None;
    status.allocated_resource_statuses = None;
    rest
}
