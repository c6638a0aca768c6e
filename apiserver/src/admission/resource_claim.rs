//! Claims of devices: who gets at devices that others use, and who writes which part of a claim's status.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#admin-access>

use std::collections::{BTreeMap, BTreeSet};

use corten_api::{ApiError, Problems};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, DeviceRequest, ResourceClaim, ResourceClaimConsumerReference, ResourceClaimSpec,
    ResourceClaimStatus, ResourceClaimTemplate,
};

use super::{AdmissionRequest, Refusal};
use crate::authz::{self, Attributes};
use crate::registry::path::Path;
use crate::request::{Target, Verb};

const GROUP: &str = "resource.k8s.io";
const CLAIMS: &str = "resourceclaims";
const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    let mut problems = Problems::default();
    let creates = request.verb == Verb::Create && request.is_plain();
    let kind = if request.is(GROUP, CLAIMS) {
        if creates {
            let claim = request.object::<ResourceClaim>();
            admin_access(request, claim.and_then(|claim| claim.spec.as_ref()), &mut problems);
        } else if request.target.subresource == "status" {
            status(request, &mut problems);
        }
        "ResourceClaim"
    } else if request.is(GROUP, "resourceclaimtemplates") && creates {
        let template = request.object::<ResourceClaimTemplate>();
        admin_access(request, template.and_then(|template| template.spec.as_ref()?.spec.as_ref()), &mut problems);
        "ResourceClaimTemplate"
    } else {
        return Ok(());
    };
    if problems.is_empty() {
        return Ok(());
    }
    Err(Refusal::Final(ApiError::invalid(GROUP, kind, request.name(), problems)))
}

fn admin_access(request: &AdmissionRequest<'_>, spec: Option<&ResourceClaimSpec>, problems: &mut Problems) {
    let requests = spec.and_then(|spec| spec.devices.as_ref()).and_then(|devices| devices.requests.as_deref());
    let wants = |one: &DeviceRequest| one.exactly.as_ref().is_some_and(|exact| exact.admin_access == Some(true));
    if let Some(i) = requests.unwrap_or_default().iter().position(wants) {
        let root = Path::root("spec");
        let devices = root.field("devices");
        let list = devices.field("requests");
        in_admin_namespace(request, &list.index(i).field("adminAccess"), problems);
    }
}

fn in_admin_namespace(request: &AdmissionRequest<'_>, at: &Path<'_>, problems: &mut Problems) {
    let namespace = request.find::<Namespace>("", "namespaces", "", &request.target.namespace);
    let labels = namespace.and_then(|namespace| namespace.metadata.labels).unwrap_or_default();
    if labels.get(ADMIN_LABEL).is_none_or(|value| value != "true") {
        let why =
            format!("admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace");
        problems.forbidden(at, &why);
    }
}

fn status(request: &AdmissionRequest<'_>, problems: &mut Problems) {
    let (new, old) = (request.object::<ResourceClaim>(), request.old::<ResourceClaim>());
    let (Some(new), Some(old)) = (new, old) else { return };
    let none = ResourceClaimStatus::default();
    let (new, old) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let root = Path::root("status");
    // Once it was granted it stays granted: an allocation does not change.
    if let (Some(i), None) = (granted(new), granted(old)) {
        let allocation = root.field("allocation");
        let devices = allocation.field("devices");
        let list = devices.field("results");
        in_admin_namespace(request, &list.index(i).field("adminAccess"), problems);
    }
    if new.allocation != old.allocation || reserved(new) != reserved(old) {
        binding(request, &root.field("allocation"), problems);
    }
    for driver in changed_drivers(devices(new), devices(old)) {
        device_status(request, driver, &root.field("devices"), problems);
    }
}

fn granted(status: &ResourceClaimStatus) -> Option<usize> {
    let results = status.allocation.as_ref()?.devices.as_ref()?.results.as_ref()?;
    results.iter().position(|result| result.admin_access == Some(true))
}
fn reserved(status: &ResourceClaimStatus) -> &[ResourceClaimConsumerReference] {
    status.reserved_for.as_deref().unwrap_or_default()
}
fn devices(status: &ResourceClaimStatus) -> &[AllocatedDeviceStatus] {
    status.devices.as_deref().unwrap_or_default()
}

/// Patches are asked for as updates: admission does not tell them apart.
const VERB: &str = "update";

/// Allocating and reserving are the scheduler's, in the whole cluster.
fn binding(request: &AdmissionRequest<'_>, at: &Path<'_>, problems: &mut Problems) {
    let target = Target {
        subresource: "binding".into(),
        namespace: String::new(),
        name: String::new(),
        ..request.target.clone()
    };
    if request.view.may(request.user, VERB, &target) {
        return;
    }
    let refusal = authz::refusal(request.user, Attributes::Resource { verb: VERB, target: &target }, "");
    let why = format!(
        "changing status.allocation or status.reservedFor requires resource=\"{CLAIMS}/binding\", verb=\"{VERB}\" permission: {refusal}"
    );
    problems.forbidden(at, &why);
}

/// What is told of a device is its driver's. Drivers that may only speak for their own node (`associated-node:update`) are
/// not let in yet: that the token's node is the allocation's has to be seen from the allocation's node selector.
fn device_status(request: &AdmissionRequest<'_>, driver: &str, at: &Path<'_>, problems: &mut Problems) {
    let verb = format!("arbitrary-node:{VERB}");
    let target = Target { subresource: "driver".into(), name: driver.into(), ..request.target.clone() };
    if request.view.may(request.user, &verb, &target) {
        return;
    }
    let refusal = authz::refusal(request.user, Attributes::Resource { verb: &verb, target: &target }, "");
    let why = format!(
        "changing status.devices requires resource=\"{CLAIMS}/driver\", verb=\"[{verb}]\" permission: {refusal}"
    );
    problems.forbidden(at, &why);
}

/// The drivers of all that was added, removed or changed.
fn changed_drivers<'s>(new: &'s [AllocatedDeviceStatus], old: &'s [AllocatedDeviceStatus]) -> BTreeSet<&'s str> {
    let id = |one: &'s AllocatedDeviceStatus| (&one.driver, &one.pool, &one.device, one.share_id.as_deref());
    let mut gone: BTreeMap<_, _> = old.iter().map(|one| (id(one), one)).collect();
    let changed: Vec<_> = new.iter().filter(|one| gone.remove(&id(one)) != Some(*one)).collect();
    changed.into_iter().chain(gone.into_values()).map(|one| one.driver.as_str()).collect()
}

#[cfg(test)]
mod tests;
