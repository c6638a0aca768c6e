//! Judges a certificate that exists: is it the one that is wanted, and does it last?
use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::{Timestamp, ToSpan};
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::RENEW_BEFORE_DAYS;
use super::plan::CertPlan;

/// Why a certificate is kept or issued anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Unreadable,
    NearItsEnd,
    OtherSubject,
    NamesMissing,
    OtherAuthority,
    OtherKey,
}

impl Verdict {
    /// For a person: why it was issued anew.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unreadable => "could not be read",
            Self::NearItsEnd => "was near its end",
            Self::OtherSubject => "was for another user or group",
            Self::NamesMissing => "lacked names or addresses",
            Self::OtherAuthority => "was signed by another authority",
            Self::OtherKey => "was for another key than the one beside it",
        }
    }
}

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub common_name: String,
    pub organization: Option<String>,
    pub sans: BTreeSet<String>,
    pub issuer: String,
    pub not_after: Timestamp,
}

/// Reads the first certificate of a PEM text.
pub fn facts(pem: &str) -> Option<Facts> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let (_, cert) = X509Certificate::from_der(&pem.contents).ok()?;
    let text = |name: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>| {
        name.and_then(|value| value.as_str().ok()).map(str::to_owned)
    };
    Some(Facts {
        common_name: text(cert.subject().iter_common_name().next())?,
        organization: text(cert.subject().iter_organization().next()),
        sans: sans(&cert),
        issuer: text(cert.issuer().iter_common_name().next())?,
        not_after: Timestamp::from_second(cert.validity().not_after.timestamp()).ok()?,
    })
}

/// `authority_pem` is the certificate of the authority that should have signed it.
pub(super) fn judge(pem: &str, authority_pem: &str, plan: &CertPlan, now: Timestamp) -> Verdict {
    let Some(found) = facts(pem) else { return Verdict::Unreadable };
    if !is_signed_by(pem, authority_pem) {
        return Verdict::OtherAuthority;
    }
    if found.common_name != plan.common_name || found.organization != plan.organization {
        return Verdict::OtherSubject;
    }
    if !plan.sans.iter().all(|san| found.sans.contains(san)) {
        return Verdict::NamesMissing;
    }
    if found.not_after < now + (RENEW_BEFORE_DAYS * 24).hours() {
        return Verdict::NearItsEnd;
    }
    Verdict::Good
}

/// Whether a certificate is for this private key. A crash between the writing of the two leaves a pair that is not one.
pub(super) fn fits(pem: &str, key: &KeyPair) -> bool {
    let Ok((_, pem)) = parse_x509_pem(pem.as_bytes()) else { return false };
    let Ok((_, cert)) = X509Certificate::from_der(&pem.contents) else { return false };
    cert.public_key().raw == key.subject_public_key_info()
}

fn is_signed_by(pem: &str, authority_pem: &str) -> bool {
    let (Ok((_, pem)), Ok((_, authority))) = (parse_x509_pem(pem.as_bytes()), parse_x509_pem(authority_pem.as_bytes()))
    else {
        return false;
    };
    let (Ok((_, cert)), Ok((_, authority))) =
        (X509Certificate::from_der(&pem.contents), X509Certificate::from_der(&authority.contents))
    else {
        return false;
    };
    // Two authorities may bear one name (a directory made anew), so the key identifiers decide.
    let key_id = |cert: &X509Certificate<'_>, of_issuer: bool| {
        cert.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) if !of_issuer => Some(id.0.to_vec()),
            x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(id) if of_issuer => {
                id.key_identifier.as_ref().map(|id| id.0.to_vec())
            }
            _ => None,
        })
    };
    cert.issuer() == authority.subject() && key_id(&cert, true) == key_id(&authority, false)
}

fn sans(cert: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(extension)) = cert.subject_alternative_name() else { return BTreeSet::new() };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => ip(bytes).map(|ip| ip.to_string()),
            _ => None,
        })
        .collect()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
