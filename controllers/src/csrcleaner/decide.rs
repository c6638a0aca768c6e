//! How long a request for a certificate is kept.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#request-signing-process>

use std::time::Duration;

use corten_api::Object;
use corten_api::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use jiff::{SignedDuration, Timestamp};
use x509_parser::pem::parse_x509_pem;

use crate::certificates::{self, APPROVED, DENIED, FAILED};

/// Who asked has had the time to read the answer.
const ANSWERED: SignedDuration = SignedDuration::from_hours(1);
/// Nobody has answered, and nobody will.
const UNANSWERED: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Delete,
    /// Look again after this time; `None`: it stays as long as it is as it is.
    Keep(Option<Duration>),
}

pub fn decide(csr: &CertificateSigningRequest, now: Timestamp) -> Action {
    if csr.is_deleting() {
        return Action::Keep(None);
    }
    let Some(until) = kept_until(csr) else { return Action::Keep(None) };
    // A moment later than that, as upstream does.
    if until < now {
        return Action::Delete;
    }
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO);
    Action::Keep(Some(wait.saturating_add(Duration::from_millis(1))))
}

fn kept_until(csr: &CertificateSigningRequest) -> Option<Timestamp> {
    if certificates::conditions(csr).is_empty() {
        return after(csr.created().map(|at| at.0), UNANSWERED);
    }
    let certificate = certificates::certificate(csr);
    // Who decides so without saying when keeps it for good.
    let said = |kind| certificates::condition(csr, kind).map(|c| c.last_update_time.as_ref().map(|at| at.0));
    let approved = said(APPROVED).and_then(|at| after(at, if certificate.is_some() { ANSWERED } else { UNANSWERED }));
    let expired = certificate.filter(|_| said(APPROVED).is_some()).and_then(expires);
    let refused = [DENIED, FAILED].into_iter().filter_map(|kind| after(said(kind)?, ANSWERED));
    approved.into_iter().chain(expired).chain(refused).min()
}

fn after(at: Option<Timestamp>, kept: SignedDuration) -> Option<Timestamp> {
    Some(at?.checked_add(kept).unwrap_or(Timestamp::MAX))
}

/// When the first certificate of this PEM expires.
fn expires(pem: &[u8]) -> Option<Timestamp> {
    let (_, block) = parse_x509_pem(pem).ok()?;
    let certificate = block.parse_x509().ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use corten_api::k8s_openapi::ByteString;
    use corten_api::k8s_openapi::api::certificates::v1::CertificateSigningRequestStatus;
    use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::certificates::testing;

    const NOW: i64 = 10_000_000;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }
    /// Created and decided so long ago.
    fn csr(created: i64, decided: Option<(&str, i64)>, certificate: Option<&str>) -> CertificateSigningRequest {
        let kinds: Vec<&str> = decided.iter().map(|(kind, _)| *kind).collect();
        let mut csr = testing::csr("s", "jane", &[], &kinds, "");
        csr.metadata.creation_timestamp = Some(Time(at(NOW - created)));
        let status: &mut CertificateSigningRequestStatus = csr.status.as_mut().unwrap();
        status.certificate = certificate.map(|pem| ByteString(pem.as_bytes().to_vec()));
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_update_time = decided.map(|(_, ago)| Time(at(NOW - ago)));
        }
        csr
    }

    #[test]
    fn kept_table() {
        const HOUR: i64 = 3600;
        let keep = |secs: u64| Action::Keep(Some(Duration::from_secs(secs) + Duration::from_millis(1)));
        // Of January 1970: 1970-04-26 is NOW.
        let expired = {
            let mut params = CertificateParams::default();
            (params.not_before, params.not_after) = (date_time_ymd(1970, 1, 1), date_time_ymd(1970, 1, 31));
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        let cases = [
            ("new", csr(0, None, None), keep(86_400)),
            ("nobody looks at it", csr(23 * HOUR, None, None), keep(3_600)),
            ("to the second", csr(24 * HOUR, None, None), keep(0)),
            ("nobody has looked at it", csr(24 * HOUR + 1, None, None), Action::Delete),
            ("approved, not signed yet", csr(99 * HOUR, Some((APPROVED, 23 * HOUR)), None), keep(3_600)),
            ("nobody signs it", csr(99 * HOUR, Some((APPROVED, 25 * HOUR)), None), Action::Delete),
            ("signed", csr(99 * HOUR, Some((APPROVED, HOUR / 2)), Some("x")), keep(1_800)),
            ("read by now", csr(99 * HOUR, Some((APPROVED, 2 * HOUR)), Some("x")), Action::Delete),
            ("it has expired before", csr(HOUR, Some((APPROVED, 1)), Some(&expired)), Action::Delete),
            ("denied", csr(99 * HOUR, Some((DENIED, HOUR / 2)), None), keep(1_800)),
            ("denied long ago", csr(99 * HOUR, Some((DENIED, 2 * HOUR)), None), Action::Delete),
            ("failed long ago", csr(99 * HOUR, Some((FAILED, 2 * HOUR)), None), Action::Delete),
            ("a condition of somebody else", csr(99 * HOUR, Some(("Seen", 99 * HOUR)), None), Action::Keep(None)),
        ];
        for (why, csr, expected) in cases {
            assert_eq!(decide(&csr, at(NOW)), expected, "{why}");
        }
        let mut timeless = csr(99 * HOUR, Some((DENIED, 2 * HOUR)), None);
        timeless.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].last_update_time = None;
        assert_eq!(decide(&timeless, at(NOW)), Action::Keep(None), "nobody knows when");
    }
}
