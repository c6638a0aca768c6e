//! Whether a request for a certificate makes sense, and what may still be written to it.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};

use super::{APPROVED, DENIED, FAILED};
use crate::registry::certificates::{self, pem, pkcs10, signer};
use crate::registry::path::Path;
use crate::registry::{check, conditions as statuses};

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const EXPIRATION_SECS_MIN: i32 = 600;
const CONDITIONS: Path<'static> = Path::root("status.conditions");
const CERTIFICATE: Path<'static> = Path::root("status.certificate");

pub(super) fn spec(spec: &CertificateSigningRequestSpec, problems: &mut Problems) {
    let at = Path::root("spec");
    if let Err(err) = request(&spec.request.0) {
        problems.invalid(at.field("request"), "<value omitted>", &err.to_string());
    }
    let usages = spec.usages.as_deref().unwrap_or_default();
    let list = at.field("usages");
    if usages.is_empty() {
        problems.required(list, "");
    }
    let mut seen = HashSet::new();
    for (i, usage) in usages.iter().enumerate() {
        check::optional_word(problems, &list.index(i), Some(usage), USAGES);
        if !seen.insert(usage) {
            problems.duplicate(list.index(i), usage);
        }
    }
    let signer_at = at.field("signerName");
    if spec.signer_name == LEGACY_SIGNER {
        problems.invalid(signer_at, LEGACY_SIGNER, "the legacy signerName is not allowed via this API version");
    } else {
        signer::validate(&spec.signer_name, &signer_at, problems);
    }
    if let Some(secs) = spec.expiration_seconds.filter(|secs| *secs < EXPIRATION_SECS_MIN) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        problems.invalid(at.field("expirationSeconds"), secs, why);
    }
}

fn request(pem: &[u8]) -> Result<(), pkcs10::RequestError> {
    pkcs10::check_signature(&pkcs10::parse(&pkcs10::from_pem(pem)?)?)
}

pub(super) fn conditions(conditions: &[CertificateSigningRequestCondition], problems: &mut Problems) {
    let mut seen = HashSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = CONDITIONS.index(i);
        let kind = condition.type_.as_str();
        if kind.is_empty() {
            problems.required(at.field("type"), "");
        }
        let known = if matches!(kind, APPROVED | DENIED | FAILED) { &["True"][..] } else { statuses::STATUSES };
        check::word(problems, &at.field("status"), Some(&condition.status), known);
        if (kind == APPROVED && seen.contains(DENIED)) || (kind == DENIED && seen.contains(APPROVED)) {
            problems.invalid(CONDITIONS, kind, "Approved and Denied conditions are mutually exclusive");
        }
        if !seen.insert(kind) {
            problems.duplicate(at.field("type"), kind);
        }
    }
}

/// `pem` may be empty: nothing is signed yet.
pub(super) fn certificate(pem: &[u8], problems: &mut Problems) {
    if pem.is_empty() {
        return;
    }
    let mut bad = |why: &str| problems.invalid(CERTIFICATE, "<certificate data>", why);
    let blocks = match pem::blocks(pem) {
        Ok(blocks) => blocks,
        Err(err) => return bad(&err.to_string()),
    };
    if blocks.is_empty() {
        bad("must contain at least one CERTIFICATE PEM block");
    }
    for block in &blocks {
        if block.label != certificates::CERTIFICATE {
            bad(&format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        } else if block.has_headers {
            bad("no PEM block headers are permitted");
        } else if block.contents.is_empty() {
            bad("found CERTIFICATE PEM block containing 0 certificates");
        } else if certificates::certificate(&block.contents).is_none() {
            bad("x509: malformed certificate");
        }
    }
}

/// Approved, Denied and Failed are for good.
pub(super) fn kept(
    new: &[CertificateSigningRequestCondition],
    old: &[CertificateSigningRequestCondition],
    problems: &mut Problems,
) {
    for kind in [APPROVED, DENIED, FAILED] {
        if of(new, kind).count() < of(old, kind).count() {
            problems.forbidden(CONDITIONS, &format!("updates may not remove a condition of type {kind:?}"));
        }
    }
}

/// A write to the status: it approves nothing, and a certificate is written once.
pub(super) fn status(new: &CertificateSigningRequest, old: &CertificateSigningRequest, problems: &mut Problems) {
    let (new_conditions, old_conditions) = (super::conditions(new), super::conditions(old));
    conditions(new_conditions, problems);
    kept(new_conditions, old_conditions, problems);
    for kind in [APPROVED, DENIED] {
        let (now, before) = (of(new_conditions, kind).count(), of(old_conditions, kind).count());
        if now > before {
            problems.forbidden(CONDITIONS, &format!("updates may not add a condition of type {kind:?}"));
        } else if now == before && !of(new_conditions, kind).eq(of(old_conditions, kind)) {
            problems.forbidden(CONDITIONS, &format!("updates may not modify a condition of type {kind:?}"));
        }
    }
    let (now, before) = (super::certificate(new), super::certificate(old));
    if now != before {
        certificate(now, problems);
        if !before.is_empty() {
            problems.forbidden(CERTIFICATE, "updates may not modify existing certificate content");
        }
    }
}

fn of<'a>(
    conditions: &'a [CertificateSigningRequestCondition],
    kind: &str,
) -> impl Iterator<Item = &'a CertificateSigningRequestCondition> {
    conditions.iter().filter(move |condition| condition.type_ == kind)
}
