//! Whether a pod's request makes sense, and whether a signer's answer is one.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use corten_api::{Problems, names};
use k8s_openapi::api::certificates::v1::{
    PodCertificateRequest, PodCertificateRequestSpec, PodCertificateRequestStatus,
};
use k8s_openapi::jiff::Timestamp;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{DENIED, FAILED, ISSUED, conditions, ending, issued};
use crate::registry::certificates::{pkcs10, signer};
use crate::registry::path::Path;
use crate::registry::{check, conditions as statuses};

const UID_BYTES_MAX: usize = 128;
const REQUEST_BYTES_MAX: usize = 10 * 1024;
/// All keys and values together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
const EXPIRATION_SECS_MIN: i32 = 60 * 60;
/// 91 days; Kubernetes' own signers give one day at most.
const EXPIRATION_SECS_MAX: i32 = 91 * 24 * 60 * 60;
const KUBERNETES_EXPIRATION_SECS_MAX: i32 = 24 * 60 * 60;
const NOT_PREFIXED: &str = "must be a domain-prefixed key (such as \"acme.io/foo\")";
const OMITTED: &str = "<value omitted>";
/// RFC 5480: P-256, P-384 and P-521.
const CURVES: &[&str] = &["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];

pub(super) fn spec(spec: &PodCertificateRequestSpec, problems: &mut Problems) {
    let at = Path::root("spec");
    signer::validate(&spec.signer_name, &at.field("signerName"), problems);
    for (field, name) in
        [("podName", &spec.pod_name), ("serviceAccountName", &spec.service_account_name), ("nodeName", &spec.node_name)]
    {
        check::dns_subdomain(problems, &at.field(field), name);
    }
    for (field, uid) in
        [("podUID", &spec.pod_uid), ("serviceAccountUID", &spec.service_account_uid), ("nodeUID", &spec.node_uid)]
    {
        if uid.is_empty() {
            problems.invalid(at.field(field), uid, "must not be empty");
        }
        if uid.len() > UID_BYTES_MAX {
            problems.too_long(at.field(field), UID_BYTES_MAX);
        }
    }
    user_annotations(spec.unverified_user_annotations.as_ref(), &at.field("unverifiedUserAnnotations"), problems);
    expiration(spec, &at.field("maxExpirationSeconds"), problems);
    request(&spec.stub_pkc_s10_request.0, &at.field("stubPKCS10Request"), problems);
}

/// They are the signer's to understand, but each must say whose it is.
pub fn user_annotations(annotations: Option<&BTreeMap<String, String>>, at: &Path<'_>, problems: &mut Problems) {
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        if !names::is_qualified_name(&key.to_ascii_lowercase()) {
            problems.invalid(at, key, names::QUALIFIED_NAME_WHY);
        } else if !key.contains('/') {
            problems.invalid(at, key, NOT_PREFIXED);
        }
        bytes += key.len() + value.len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        problems.too_long(at, ANNOTATIONS_BYTES_MAX);
    }
}

fn expiration(spec: &PodCertificateRequestSpec, at: &Path<'_>, problems: &mut Problems) {
    let Some(secs) = spec.max_expiration_seconds else { return problems.required(at, "must be set") };
    let range = expiration_secs(&spec.signer_name);
    if !range.contains(&secs) {
        problems.invalid(at, secs, &format!("must be in the range [{}, {}]", range.start(), range.end()));
    }
}

/// For how long, at most, a certificate of this signer can be asked for.
pub fn expiration_secs(signer: &str) -> RangeInclusive<i32> {
    let own = signer::is_kubernetes(signer);
    EXPIRATION_SECS_MIN..=if own { KUBERNETES_EXPIRATION_SECS_MAX } else { EXPIRATION_SECS_MAX }
}

fn request(der: &[u8], at: &Path<'_>, problems: &mut Problems) {
    if der.is_empty() {
        return problems.required(at, "");
    }
    if der.len() > REQUEST_BYTES_MAX {
        return problems.too_long(at, REQUEST_BYTES_MAX);
    }
    let Ok(request) = pkcs10::parse(der) else {
        return problems.invalid(at, OMITTED, "must be a valid PKCS#10 CSR");
    };
    key(&request.certification_request_info.subject_pki, at, problems);
    if let Err(err) = pkcs10::check_signature(&request) {
        problems.invalid(at, OMITTED, &format!("could not verify CSR signature: {err}"));
    }
}

pub(super) fn key(key: &SubjectPublicKeyInfo<'_>, at: &Path<'_>, problems: &mut Problems) {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let bits = rsa.key_size();
            if !matches!(bits, 3072 | 4096) {
                let why = "RSA keys must have modulus size 3072 or 4096";
                problems.invalid(at, format!("{bits}-bit modulus"), why);
            }
        }
        Ok(PublicKey::EC(_)) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
            if !CURVES.contains(&curve.as_str()) {
                let why = "elliptic public keys must use curve P256, P384, or P521";
                problems.invalid(at, format!("curve {curve}"), why);
            }
        }
        _ if key.algorithm.algorithm.to_id_string() == "1.3.101.112" => {}
        _ => {
            let why = "unknown public key type; supported types are Ed25519, ECDSA, and RSA";
            problems.invalid(at, OMITTED, why);
        }
    }
}

/// An answer ends the request for good: with a certificate, or with a reason why there is none.
pub(super) fn status(
    new: &PodCertificateRequest,
    old: &PodCertificateRequest,
    now: Timestamp,
    problems: &mut Problems,
) {
    let at = Path::root("status");
    let faults = problems.causes().len();
    answers(new, &at.field("conditions"), problems);
    // What else may stand in the status depends on the conditions.
    if problems.causes().len() > faults {
        return;
    }
    let none = PodCertificateRequestStatus::default();
    let (status, before) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let rest =
        |status: &PodCertificateRequestStatus| PodCertificateRequestStatus { conditions: None, ..status.clone() };
    let unchanged = conditions(new) == conditions(old) && rest(status) == rest(before);
    match (ending(conditions(old)), ending(conditions(new))) {
        (Some(_), _) if !unchanged => {
            let why = "immutable after PodCertificateRequest is issued, denied, or failed";
            problems.invalid(at, OMITTED, why);
        }
        (None, Some(ISSUED)) => issued::validate(new, status, now, problems),
        (None, Some(_)) if rest(status) != none => {
            let why = "non-condition status fields must be empty when denying or failing the PodCertificateRequest";
            problems.invalid(at, OMITTED, why);
        }
        (None, None) if !unchanged => {
            let why = r#"status is immutable unless transitioning to "Issued", "Denied", or "Failed""#;
            problems.invalid(at, OMITTED, why);
        }
        _ => {}
    }
}

fn answers(request: &PodCertificateRequest, list: &Path<'_>, problems: &mut Problems) {
    let mut known = 0;
    for (i, condition) in conditions(request).iter().enumerate() {
        let at = list.index(i);
        if !matches!(condition.type_.as_str(), ISSUED | DENIED | FAILED) {
            problems.unsupported(at.field("type"), &condition.type_, &[DENIED, FAILED, ISSUED]);
            continue;
        }
        known += 1;
        if known > 1 {
            let why = r#"There may be at most one condition with type "Issued", "Denied", or "Failed""#;
            problems.invalid(at.field("type"), &condition.type_, why);
        }
        if condition.status != "True" {
            problems.unsupported(at.field("status"), &condition.status, &["True"]);
        }
    }
    statuses::validate(conditions(request), list, problems);
}
