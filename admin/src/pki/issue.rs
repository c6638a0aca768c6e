//! Makes keys and certificates: ECDSA P-256, SHA-256, signed in this process.
use std::path::Path;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

use super::plan::{Authority, CertPlan, Usage};
use super::{AUTHORITY_VALID_DAYS, LEAF_VALID_DAYS, PkiError};

/// A certificate and its private key, both PEM.
pub(super) struct PemPair {
    pub(super) cert: String,
    pub(super) key: String,
}

pub(super) fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|source| PkiError::Key { source })
}

pub(super) fn key_from_pem(pem: &str, path: &Path) -> Result<KeyPair, PkiError> {
    KeyPair::from_pem(pem).map_err(|_| PkiError::NotPem { what: "private key", path: path.into() })
}

pub(super) fn authority(authority: Authority, now: Timestamp) -> Result<PemPair, PkiError> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    subject(&mut params, authority.common_name(), None);
    validity(&mut params, now, AUTHORITY_VALID_DAYS);
    let key = new_key()?;
    let cert = params.self_signed(&key).map_err(|source| issue_error(authority.file_stem(), &[], source))?;
    Ok(PemPair { cert: cert.pem(), key: key.serialize_pem() })
}

pub(super) fn leaf(
    plan: &CertPlan,
    authority_pem: &str,
    authority_key: KeyPair,
    now: Timestamp,
) -> Result<PemPair, PkiError> {
    let failed = |source| issue_error(&plan.file_stem, &plan.sans, source);
    let mut params = CertificateParams::new(plan.sans.clone()).map_err(failed)?;
    subject(&mut params, &plan.common_name, plan.organization.as_deref());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match plan.usage {
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, now, LEAF_VALID_DAYS);
    let key = new_key()?;
    let issuer = Issuer::from_ca_cert_pem(authority_pem, authority_key).map_err(failed)?;
    let cert = params.signed_by(&key, &issuer).map_err(failed)?;
    Ok(PemPair { cert: cert.pem(), key: key.serialize_pem() })
}

fn subject(params: &mut CertificateParams, common_name: &str, organization: Option<&str>) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);
}

/// From yesterday, so that a node whose clock is behind still believes it.
fn validity(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let date = |at: Timestamp| {
        let date = at.to_zoned(TimeZone::UTC).date();
        // A jiff month and day are 1..=12 and 1..=31: the conversions to u8 lose nothing.
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = date(now - 24.hours());
    params.not_after = date(now + (days * 24).hours());
}

fn issue_error(name: &str, sans: &[String], source: rcgen::Error) -> PkiError {
    PkiError::Issue { name: name.to_owned(), san: sans.to_vec(), source }
}
