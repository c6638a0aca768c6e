//! What a claim gets where its author said nothing.

use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, PersistentVolumeClaimStatus};

use crate::registry::defaults::fill;
use crate::registry::{access_modes, quantities};

/// What claims get, and the templates of claims in pods.
pub fn spec(spec: &mut PersistentVolumeClaimSpec) {
    spec.volume_mode.get_or_insert_with(|| access_modes::DEFAULT_VOLUME_MODE.into());
    if let Some(resources) = &mut spec.resources {
        quantities::canonical(resources.limits.as_mut());
        quantities::canonical(resources.requests.as_mut());
    }
}

pub fn status(status: &mut PersistentVolumeClaimStatus) {
    fill(&mut status.phase, "Pending");
    quantities::canonical(status.capacity.as_mut());
    quantities::canonical(status.allocated_resources.as_mut());
}
