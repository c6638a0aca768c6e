//! Whether a request for a certificate is signed, and for how long the certificate is good.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers>

use corten_api::k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use jiff::{SignedDuration, Timestamp};

use crate::certificates::kubelet::NotAKubelets;
use crate::certificates::request::{Request, RequestError, parse};
use crate::certificates::signer::Signer;
use crate::certificates::{self, APPROVED, CLIENT_AUTH, DENIED, DIGITAL_SIGNATURE, FAILED, KEY_ENCIPHERMENT, kubelet};

/// Clocks differ: a certificate is good from a while ago on.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// One of a shorter life than this has all of it before it, as the while ago would be much of it.
const SHORT: SignedDuration = SignedDuration::from_hours(8);
/// No certificate lives shorter than this, whatever was asked for.
const MIN: SignedDuration = SignedDuration::from_mins(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not approved, is decided, or is another's.
    Leave,
    /// It is refused for good, with this message.
    Fail(Unsignable),
    /// It is signed; the certificate lives so long.
    Sign { request: Request, life: SignedDuration },
}

/// Why a signer does not sign a request. In upstream's words, which are in its condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsignable {
    #[error(transparent)]
    Kubelet(#[from] NotAKubelets),
    #[error("invalid usage for client certificate: {0}")]
    Usage(String),
    #[error("missing required usage for client certificate: {CLIENT_AUTH}")]
    NoClientAuth,
}

/// `longest`: the life of a certificate for which nothing shorter is asked.
pub fn decide(
    csr: &CertificateSigningRequest,
    signer: Signer,
    longest: SignedDuration,
) -> Result<Action, RequestError> {
    let has = |kind| certificates::condition(csr, kind).is_some();
    let is_open = has(APPROVED) && !has(DENIED) && !has(FAILED) && certificates::certificate(csr).is_none();
    if !is_open || csr.spec.signer_name != signer.name() {
        return Ok(Action::Leave);
    }
    let request = parse(&csr.spec.request.0)?;
    Ok(match check(signer, &request, certificates::usages(csr)) {
        Err(why) => Action::Fail(why),
        Ok(()) => Action::Sign { request, life: life(csr.spec.expiration_seconds, longest) },
    })
}

fn check(signer: Signer, request: &Request, usages: &[String]) -> Result<(), Unsignable> {
    match signer {
        Signer::KubeletServing => Ok(kubelet::check_serving(request, usages)?),
        Signer::KubeletClient => Ok(kubelet::check_client(request, usages)?),
        Signer::KubeApiserverClient => check_client_usages(usages),
        // No restrictions: it is no authority for anything of Kubernetes' own.
        Signer::LegacyUnknown => Ok(()),
    }
}

fn life(asked_secs: Option<i32>, longest: SignedDuration) -> SignedDuration {
    match asked_secs.map(|secs| SignedDuration::from_secs(secs.into())) {
        Some(asked) if asked <= longest => asked.max(MIN),
        _ => longest,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signer has expired: NotAfter={0}")]
pub struct Expired(pub Timestamp);

/// From when until when a certificate of this life is good. None outlives its signer's.
pub fn validity(
    now: Timestamp,
    life: SignedDuration,
    signer_until: Timestamp,
) -> Result<(Timestamp, Timestamp), Expired> {
    if now >= signer_until {
        return Err(Expired(signer_until));
    }
    let from = now.checked_sub(BACKDATE).unwrap_or(Timestamp::MIN);
    let begins = if life < SHORT { now } else { from };
    let until = begins.checked_add(life).unwrap_or(Timestamp::MAX);
    Ok((from, until.min(signer_until)))
}

/// A user's certificate is for being known, and for nothing else.
fn check_client_usages(usages: &[String]) -> Result<(), Unsignable> {
    let known = [CLIENT_AUTH, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT];
    if let Some(other) = usages.iter().find(|usage| !known.contains(&usage.as_str())) {
        return Err(Unsignable::Usage(other.clone()));
    }
    let has_auth = usages.iter().any(|usage| usage == CLIENT_AUTH);
    if has_auth { Ok(()) } else { Err(Unsignable::NoClientAuth) }
}

/// The request, refused for good.
pub fn failed(csr: &CertificateSigningRequest, why: &Unsignable, now: Timestamp) -> CertificateSigningRequest {
    let mut csr = csr.clone();
    csr.status.get_or_insert_default().conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: FAILED.into(),
        status: "True".into(),
        reason: Some("SignerValidationFailure".into()),
        message: Some(why.to_string()),
        last_update_time: Some(Time(now)),
        ..CertificateSigningRequestCondition::default()
    });
    csr
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::testing::{Wanted, csr, pem};
    use crate::certificates::{KUBELET_SERVING, LEGACY_UNKNOWN};

    const YEAR: SignedDuration = SignedDuration::from_hours(8760);

    fn shown(action: Action) -> String {
        match action {
            Action::Leave => "leave".into(),
            Action::Fail(why) => why.to_string(),
            Action::Sign { request, life } => format!("sign {} for {} h", request.common_names[0], life.as_hours()),
        }
    }

    #[test]
    fn signing_table() {
        let jane = pem(&Wanted { name: "jane", groups: &["dev"], ..Wanted::default() });
        let node = pem(&Wanted { name: "system:node:n1", groups: &["system:nodes"], ..Wanted::default() });
        let serving =
            pem(&Wanted { name: "system:node:n1", groups: &["system:nodes"], ips: &["10.0.0.1"], ..Wanted::default() });
        let client = [CLIENT_AUTH, DIGITAL_SIGNATURE];
        let server = ["server auth", DIGITAL_SIGNATURE];
        let approved = [APPROVED];
        let (user, kubelet) = (Signer::KubeApiserverClient, Signer::KubeletClient);
        let no_org = "subject organization is not system:nodes";
        let cases = [
            ("a user's", user, csr(user.name(), "jane", &client, &approved, &jane), "sign jane for 8760 h"),
            ("not approved", user, csr(user.name(), "jane", &client, &[], &jane), "leave"),
            ("denied", user, csr(user.name(), "jane", &client, &[DENIED], &jane), "leave"),
            ("failed", user, csr(user.name(), "jane", &client, &[APPROVED, FAILED], &jane), "leave"),
            ("another signer's", user, csr(kubelet.name(), "jane", &client, &approved, &jane), "leave"),
            ("a stranger's", user, csr("example.org/me", "jane", &client, &approved, &jane), "leave"),
            (
                "a user's server",
                user,
                csr(user.name(), "jane", &["client auth", "server auth"], &approved, &jane),
                "invalid usage for client certificate: server auth",
            ),
            (
                "a user's who is not known by it",
                user,
                csr(user.name(), "jane", &[DIGITAL_SIGNATURE], &approved, &jane),
                "missing required usage for client certificate: client auth",
            ),
            (
                "a kubelet's",
                kubelet,
                csr(kubelet.name(), "b", &client, &approved, &node),
                "sign system:node:n1 for 8760 h",
            ),
            ("jane's as a kubelet's", kubelet, csr(kubelet.name(), "b", &client, &approved, &jane), no_org),
            (
                "a kubelet's server",
                Signer::KubeletServing,
                csr(KUBELET_SERVING, "b", &server, &approved, &serving),
                "sign system:node:n1 for 8760 h",
            ),
            (
                "a server without an address",
                Signer::KubeletServing,
                csr(KUBELET_SERVING, "b", &server, &approved, &node),
                "DNS or IP subjectAltName is required",
            ),
            (
                "anything goes",
                Signer::LegacyUnknown,
                csr(LEGACY_UNKNOWN, "b", &["any"], &approved, &jane),
                "sign jane for 8760 h",
            ),
        ];
        for (why, signer, csr, expected) in cases {
            assert_eq!(shown(decide(&csr, signer, YEAR).unwrap()), expected, "{why}");
        }
        let garbage = csr(user.name(), "jane", &client, &approved, "x");
        assert_eq!(decide(&garbage, user, YEAR), Err(RequestError::NotARequest));
        let failed = failed(&garbage, &Unsignable::NoClientAuth, Timestamp::UNIX_EPOCH);
        assert_eq!(shown(decide(&failed, user, YEAR).unwrap()), "leave", "once is enough");
    }

    #[test]
    fn lives_table() {
        let hours = SignedDuration::from_hours;
        for (why, asked, expected) in [
            ("nothing is asked", None, hours(24)),
            ("shorter", Some(7_200), hours(2)),
            ("longer than may be", Some(90_000), hours(24)),
            ("too short to be of use", Some(1), MIN),
            ("less than nothing", Some(-1), MIN),
        ] {
            assert_eq!(life(asked, hours(24)), expected, "{why}");
        }
        let at = |secs: i64| Timestamp::from_second(secs).unwrap();
        let now = 1_000_000;
        for (why, life, signer_until, expected) in [
            ("long: of a while ago on", hours(10), 9_000_000, Ok((now - 300, now - 300 + 36_000))),
            ("short: all of it is before it", hours(1), 9_000_000, Ok((now - 300, now + 3_600))),
            ("the signer ends first", hours(10), now + 60, Ok((now - 300, now + 60))),
            ("the signer has ended", hours(10), now, Err(Expired(at(now)))),
        ] {
            let expected = expected.map(|(from, until)| (at(from), at(until)));
            assert_eq!(validity(at(now), life, at(signer_until)), expected, "{why}");
        }
    }
}
