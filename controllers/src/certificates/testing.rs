//! Requests for certificates, for tests.

use corten_api::k8s_openapi::ByteString;
use corten_api::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

/// Whom a certificate is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    pub name: &'a str,
    /// Two at most: the library has no more names for one type.
    pub groups: &'a [&'a str],
    pub dns: &'a [&'a str],
    pub ips: &'a [&'a str],
}

pub fn pem(wanted: &Wanted<'_>) -> String {
    pem_of(wanted, &KeyPair::generate().unwrap())
}

pub fn pem_of(wanted: &Wanted<'_>, key: &KeyPair) -> String {
    let names: Vec<String> = wanted.dns.iter().chain(wanted.ips).map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, wanted.name);
    let types = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    for (kind, group) in types.into_iter().zip(wanted.groups) {
        subject.push(kind, *group);
    }
    params.distinguished_name = subject;
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// A stored request of `asker`, with these conditions.
pub fn csr(signer: &str, asker: &str, usages: &[&str], conditions: &[&str], pem: &str) -> CertificateSigningRequest {
    let conditions: Vec<_> = conditions.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
    let mut csr: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": "c", "uid": "c-uid", "resourceVersion": "5"},
        "spec": {"signerName": signer, "username": asker, "usages": usages, "request": ""},
        "status": {"conditions": conditions},
    }))
    .unwrap();
    csr.spec.request = ByteString(pem.as_bytes().to_vec());
    csr
}
