//! A bundle that a signer stands behind is written by whom the roles allow the verb `attest` for it.

use k8s_openapi::api::certificates::v1::ClusterTrustBundle;

use super::{GROUP, is_allowed};
use crate::admission::{AdmissionRequest, Refusal};

pub(crate) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if !request.is(GROUP, "clustertrustbundles") {
        return Ok(());
    }
    // Unlike those of requests, a bundle's signer cannot be changed, which validation says.
    let Some(new) = request.object::<ClusterTrustBundle>() else { return Ok(()) };
    let signer = new.spec.signer_name.as_deref().unwrap_or_default();
    let collected = request.old::<ClusterTrustBundle>().is_some_and(|old| is_collected(new, old));
    if signer.is_empty() || collected || is_allowed(request, "attest", signer) {
        return Ok(());
    }
    Err(request.forbidden(format!("user not permitted to attest for signerName {signer:?}")))
}

/// Whether nothing is new but what garbage collection writes.
fn is_collected(new: &ClusterTrustBundle, old: &ClusterTrustBundle) -> bool {
    let mut new = new.clone();
    new.metadata.owner_references.clone_from(&old.metadata.owner_references);
    new.metadata.finalizers.clone_from(&old.metadata.finalizers);
    new.metadata.managed_fields.clone_from(&old.metadata.managed_fields);
    new == *old
}
