//! The claims of a pod's volumes. Pure.

use corten_api::Object as _;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// The names of the claims that the pod's volumes have; one that is made for the pod alone has its name from both.
/// <https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#persistentvolumeclaim-naming>
pub(super) fn of(pod: &Pod, spec: &PodSpec) -> Vec<String> {
    let volumes = spec.volumes.iter().flatten();
    let names = volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.name(), volume.name)),
        (None, None) => None,
    });
    names.collect()
}
