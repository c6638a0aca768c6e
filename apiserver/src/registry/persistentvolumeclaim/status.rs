//! What controllers, drivers and kubelets say of a claim.

use corten_api::{Problems, names};
use k8s_openapi::api::core::v1::PersistentVolumeClaimStatus;

use crate::registry::path::Path;
use crate::registry::{check, quantities, resource_names};

const RESIZE_STATES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// The health of volumes is not served.
pub(super) fn drop_unserved(new: &mut PersistentVolumeClaimStatus, old: Option<&PersistentVolumeClaimStatus>) {
    if old.is_none_or(|old| old.health_status.is_none()) {
        new.health_status = None;
    }
}

pub(super) fn validate(status: &PersistentVolumeClaimStatus, problems: &mut Problems) {
    let at = Path::root("status");
    let list = at.field("capacity");
    for (name, wire) in status.capacity.iter().flatten() {
        let at = list.key(name);
        if let Some(quantity) = quantities::well_formed(problems, &at, wire) {
            quantities::basic(problems, &at, quantity);
        }
    }
    let list = at.field("allocatedResourceStatuses");
    for (name, state) in status.allocated_resource_statuses.iter().flatten() {
        resource(name, &list, problems);
        if !RESIZE_STATES.contains(&state.as_str()) {
            problems.unsupported(list.key(name), state, RESIZE_STATES);
        }
    }
    let list = at.field("allocatedResources");
    for (name, wire) in status.allocated_resources.iter().flatten() {
        resource(name, &list, problems);
        let at = list.key(name);
        if let Some(quantity) = quantities::well_formed(problems, &at, wire) {
            quantities::basic(problems, &at, quantity);
        }
    }
}

/// Of Kubernetes' own resources a claim has storage only.
fn resource(name: &str, list: &Path<'_>, problems: &mut Problems) {
    if !names::is_qualified_name(name) {
        check::qualified_name(problems, list, name);
    } else if resource_names::is_native(name) && name != resource_names::STORAGE {
        problems.unsupported(list, name, &[resource_names::STORAGE]);
    }
}
