//! Nobody becomes a master of the cluster by asking for a certificate.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{GROUP, REQUESTS};
use crate::admission::{AdmissionRequest, Refusal};
use crate::authn::MASTERS_GROUP;
use crate::registry::certificates::pkcs10::{self, RequestError};
use crate::request::Verb;

const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

pub(crate) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if !request.is(GROUP, REQUESTS) || !request.is_plain() || request.verb != Verb::Create {
        return Ok(());
    }
    let Some(asked) = request.object::<CertificateSigningRequest>() else { return Ok(()) };
    if asked.spec.signer_name != CLIENT_SIGNER {
        return Ok(());
    }
    match names_masters(&asked.spec.request.0) {
        Ok(false) => Ok(()),
        Ok(true) => {
            let why = format!("use of {CLIENT_SIGNER} signer with {MASTERS_GROUP} group is not allowed");
            Err(request.forbidden(why))
        }
        Err(err) => Err(request.forbidden(format!("failed to parse CSR: {err}"))),
    }
}

fn names_masters(pem: &[u8]) -> Result<bool, RequestError> {
    let der = pkcs10::from_pem(pem)?;
    let request = pkcs10::parse(&der)?;
    Ok(pkcs10::organizations(&request)?.contains(&MASTERS_GROUP))
}
