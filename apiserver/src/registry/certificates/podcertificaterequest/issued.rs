//! Whether what a signer issued is what was asked for.

use corten_api::Problems;
use k8s_openapi::api::certificates::v1::{PodCertificateRequest, PodCertificateRequestStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use x509_parser::prelude::X509Certificate;

use crate::registry::certificates::{self, pem, pkcs10};
use crate::registry::path::Path;

const CHAIN_BYTES_MAX: usize = 100 * 1024;
const LIFETIME_SECS_MIN: i64 = 60 * 60;
/// How far the signer's clock may be from this server's.
const SKEW_SECS: i64 = 5 * 60;
/// How long a certificate is used at least before it is renewed, and how long it is still good then.
const REFRESH_MARGIN_SECS: i64 = 10 * 60;

pub(super) fn validate(
    request: &PodCertificateRequest,
    status: &PodCertificateRequestStatus,
    now: Timestamp,
    problems: &mut Problems,
) {
    let chain = status.certificate_chain.as_deref().unwrap_or_default();
    let at = Path::root("status");
    let chain_at = at.field("certificateChain");
    if chain.len() > CHAIN_BYTES_MAX {
        return problems.too_long(chain_at, CHAIN_BYTES_MAX);
    }
    let mut bad = |why: &str| problems.invalid(chain_at, "<value omitted>", why);
    let blocks = match pem::blocks(chain.as_bytes()) {
        Ok(blocks) => blocks,
        Err(err) => return bad(&err.to_string()),
    };
    let Some((first, others)) = blocks.split_first() else {
        return bad("issued certificate chain must contain at least one certificate");
    };
    if blocks.iter().any(|block| block.label != certificates::CERTIFICATE) {
        return bad("issued certificate chain must consist entirely of CERTIFICATE PEM blocks");
    }
    let Some(leaf) = certificates::certificate(&first.contents) else {
        return bad("leaf certificate does not parse as valid X.509");
    };
    if others.iter().any(|block| certificates::certificate(&block.contents).is_none()) {
        bad("intermediate certificate does not parse as valid X.509");
    }
    if !is_for(&leaf, &request.spec.stub_pkc_s10_request.0) {
        bad("leaf certificate was not issued to the requested public key");
    }
    let lifetime_secs = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    let max_secs = request.spec.max_expiration_seconds.unwrap_or_default();
    if lifetime_secs < LIFETIME_SECS_MIN {
        bad("leaf certificate lifetime must be >= 1 hour");
    } else if lifetime_secs > max_secs.into() {
        bad(&format!("leaf certificate lifetime must be <= spec.maxExpirationSeconds ({max_secs})"));
    }
    times(status, &leaf, now, &at, problems);
}

/// Whether the certificate is for the key that the request is signed with.
fn is_for(leaf: &X509Certificate<'_>, request: &[u8]) -> bool {
    pkcs10::parse(request)
        .is_ok_and(|request| request.certification_request_info.subject_pki.raw == leaf.public_key().raw)
}

fn times(
    status: &PodCertificateRequestStatus,
    leaf: &X509Certificate<'_>,
    now: Timestamp,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let (from_at, until_at, refresh_at) = (at.field("notBefore"), at.field("notAfter"), at.field("beginRefreshAt"));
    let consistent = "must be present and consistent with the issued certificate";
    let in_range = "must be present and in the range [notbefore+10min, notafter-10min]";
    let mut given = |time: &Option<Time>, at: &Path<'_>, why: &str| {
        if time.is_none() {
            problems.required(at, why);
        }
        time.as_ref().map(|time| time.0)
    };
    let from = given(&status.not_before, &from_at, consistent);
    let until = given(&status.not_after, &until_at, consistent);
    let refresh = given(&status.begin_refresh_at, &refresh_at, in_range);
    let (Some(from), Some(until), Some(refresh)) = (from, until, refresh) else { return };
    let mut bad = |at: &Path<'_>, time: Timestamp, why: &str| problems.invalid(at, Time(time), why);
    let (from_secs, until_secs) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    if from != at_second(from_secs) {
        bad(&from_at, from, "must be set to the NotBefore time encoded in the leaf certificate");
    } else if (from.as_second() - now.as_second()).abs() >= SKEW_SECS {
        bad(&from_at, from, "must be set to within 5 minutes of kube-apiserver's current time");
    }
    if until != at_second(until_secs) {
        bad(&until_at, until, "must be set to the NotAfter time encoded in the leaf certificate");
    }
    if refresh.as_second() < from.as_second() + REFRESH_MARGIN_SECS {
        bad(&refresh_at, refresh, "must be at least 10 minutes after status.notBefore");
    }
    if refresh.as_second() > until.as_second() - REFRESH_MARGIN_SECS {
        bad(&refresh_at, refresh, "must be at least 10 minutes before status.notAfter");
    }
}

/// A certificate's time; those past the calendar's end equal none that can be written.
fn at_second(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).unwrap_or(Timestamp::MIN)
}
