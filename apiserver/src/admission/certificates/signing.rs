//! Issuing certificates, and saying that none will be issued, takes the verb `sign` for the request's signer.

use corten_api::{ApiError, Problems};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, PodCertificateRequest};

use super::{GROUP, REQUESTS, is_allowed};
use crate::admission::{AdmissionRequest, Refusal};

pub(crate) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.target.subresource != "status" {
        Ok(())
    } else if request.is(GROUP, REQUESTS) {
        on_request(request)
    } else if request.is(GROUP, "podcertificaterequests") {
        on_pod_request(request)
    } else {
        Ok(())
    }
}

fn on_request(request: &AdmissionRequest<'_>) -> Result<(), Refusal> {
    let (new, old) = (request.object::<CertificateSigningRequest>(), request.old::<CertificateSigningRequest>());
    let (Some(new), Some(old)) = (new, old) else { return Ok(()) };
    let written = |of: &CertificateSigningRequest| {
        let status = of.status.clone().unwrap_or_default();
        (status.certificate, status.conditions.unwrap_or_default())
    };
    let signer = &old.spec.signer_name;
    if written(new) == written(old) || is_allowed(request, "sign", signer) {
        return Ok(());
    }
    Err(request.forbidden(format!("user not permitted to sign requests with signerName {signer:?}")))
}

fn on_pod_request(request: &AdmissionRequest<'_>) -> Result<(), Refusal> {
    let (new, old) = (request.object::<PodCertificateRequest>(), request.old::<PodCertificateRequest>());
    let (Some(new), Some(old)) = (new, old) else { return Ok(()) };
    let signer = &old.spec.signer_name;
    if new.status == old.status || is_allowed(request, "sign", signer) {
        return Ok(());
    }
    let mut problems = Problems::default();
    let why = format!("User {:?} is not permitted to \"sign\" for signer {signer:?}", request.user.name);
    problems.forbidden("spec.signerName", &why);
    Err(Refusal::Final(ApiError::invalid(GROUP, "PodCertificateRequest", request.name(), problems)))
}
