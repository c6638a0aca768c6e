//! Approving and denying requests takes the verb `approve` for their signer.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{GROUP, REQUESTS, is_allowed};
use crate::admission::{AdmissionRequest, Refusal};

pub(crate) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if !request.is(GROUP, REQUESTS) || request.target.subresource != "approval" {
        return Ok(());
    }
    // The signer that is stored, not one that the writer would rather have.
    let Some(old) = request.old::<CertificateSigningRequest>() else { return Ok(()) };
    let signer = &old.spec.signer_name;
    if is_allowed(request, "approve", signer) {
        return Ok(());
    }
    Err(request.forbidden(format!("user not permitted to approve requests with signerName {signer:?}")))
}
