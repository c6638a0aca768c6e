//! Who may approve and sign requests for certificates, and attest to whom a cluster trusts: whom the roles allow this for the
//! signer in question.

pub(super) mod approval;
pub(super) mod attest;
pub(super) mod signing;
pub(super) mod subject;

use super::AdmissionRequest;

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";

/// For this signer, or for all of its domain.
fn is_allowed(request: &AdmissionRequest<'_>, verb: &str, signer: &str) -> bool {
    let allowed = |name: &str| request.allowed(verb, GROUP, "signers", name);
    let domain = signer.split('/').next().unwrap_or_default();
    allowed(signer) || allowed(&format!("{domain}/*"))
}

#[cfg(test)]
mod tests;
