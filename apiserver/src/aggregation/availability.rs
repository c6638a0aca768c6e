//! Whether a server answers for a group version: what is found, in upstream's words, and whether that is written. Pure.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use crate::registry::apiregistration::apiservice::{Availability, available};
use crate::registry::apiregistration::routes::{Server, ServiceState};
use crate::registry::check;

const FAILED: &str = "FailedDiscoveryCheck";
/// Two servers that find otherwise change what is said at most so often.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// One that answers is looked at again then.
const AGAIN_WELL: Duration = Duration::from_secs(30);
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// What is to be said where nobody can be asked.
pub fn of_service(server: &Server, state: &ServiceState) -> Option<Availability> {
    let Server { namespace, service, port, .. } = server;
    let (reason, message) = match state {
        ServiceState::There => return None,
        ServiceState::NoService => ("ServiceNotFound", format!("service/{service} in {namespace:?} is not present")),
        ServiceState::NoPort => {
            ("ServicePortError", format!("service/{service} in {namespace:?} is not listening on port {port}"))
        }
        ServiceState::NoSlices => {
            ("EndpointsNotFound", format!("cannot find endpointslices for service/{service} in {namespace:?}"))
        }
        ServiceState::NoEndpoints { port_name } => {
            let lacks = format!("have no addresses with port name {port_name:?}");
            ("MissingEndpoints", format!("endpointslices for service/{service} in {namespace:?} {lacks}"))
        }
    };
    Some(Availability { status: "False", reason, message })
}

/// `why`: the last question's failure, if all have failed.
pub fn of_discovery(why: Option<String>) -> Availability {
    match why {
        None => Availability { status: "True", reason: "Passed", message: "all checks passed".into() },
        Some(message) => Availability { status: "False", reason: FAILED, message },
    }
}

/// What a look has found of an APIService, for the next.
#[derive(Clone, Debug)]
pub struct Before {
    pub found: Availability,
    /// When this server last wrote what it had found.
    pub said_at: Option<Timestamp>,
}

/// Whether what was found is to be said. Where other servers say otherwise, who has just seen a change speaks; who has not waits
/// until theirs has stood for a while.
pub fn is_news(stored: &APIService, found: &Availability, before: Option<&Before>, now: Timestamp) -> bool {
    let Some(said) = available(stored) else { return true };
    if said.status == found.status {
        let is_other = check::text(said.reason.as_ref()) != found.reason;
        return is_other || check::text(said.message.as_ref()) != found.message && may_say_why(found, before, now);
    }
    let is_change = before.is_none_or(|before| before.found.status != found.status);
    let since = said.last_transition_time.as_ref().map(|time| now.duration_since(time.0));
    is_change || since.is_none_or(|since| since >= SETTLED_AFTER)
}

/// Another message alone: what a failed question names may be another endpoint each time, for each of several servers.
fn may_say_why(found: &Availability, before: Option<&Before>, now: Timestamp) -> bool {
    let said_at = before.and_then(|before| before.said_at);
    found.reason != FAILED || said_at.is_none_or(|at| now.duration_since(at) >= SETTLED_AFTER)
}

/// When to look again. `failures`: looks in a row that found nobody.
pub fn again(failures: u32) -> Duration {
    match failures {
        0 => AGAIN_WELL,
        n => (AGAIN_MIN * 2_u32.saturating_pow(n.saturating_sub(1).min(8))).min(AGAIN_MAX),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::registry::apiregistration::apiservice;

    fn server() -> Server {
        Server { namespace: "n".into(), service: "s".into(), port: 443, ca_bundle: Vec::new(), is_insecure: false }
    }

    #[test]
    fn what_is_said_of_a_service() {
        let said = |state: ServiceState| of_service(&server(), &state).map(|a| (a.status, a.reason, a.message));
        let cases = [
            (ServiceState::NoService, "ServiceNotFound", r#"service/s in "n" is not present"#),
            (ServiceState::NoPort, "ServicePortError", r#"service/s in "n" is not listening on port 443"#),
            (ServiceState::NoSlices, "EndpointsNotFound", r#"cannot find endpointslices for service/s in "n""#),
            (
                ServiceState::NoEndpoints { port_name: "https".into() },
                "MissingEndpoints",
                r#"endpointslices for service/s in "n" have no addresses with port name "https""#,
            ),
        ];
        for (state, reason, message) in cases {
            assert_eq!(said(state), Some(("False", reason, message.to_owned())));
        }
        assert_eq!(said(ServiceState::There), None);
        assert_eq!(of_discovery(None).reason, "Passed");
        assert_eq!(of_discovery(Some("x".into())).reason, "FailedDiscoveryCheck");
    }

    #[test]
    fn servers_that_find_otherwise_do_not_fight() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let stored = |status: &str, reason: &str, since: &str| -> APIService {
            let message = if status == "True" { "all checks passed" } else { "x" };
            let condition = json!({"type": "Available", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": since});
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [condition]}})).unwrap()
        };
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:50Z");
        let (good, bad) = (of_discovery(None), of_discovery(Some("x".into())));
        let cases = [
            ("nothing is said", APIService::default(), &good, None, true),
            ("it is said", stored("True", "Passed", new), &good, Some(&good), false),
            ("with another reason", stored("False", "MissingEndpoints", new), &bad, Some(&bad), true),
            ("the first look", stored("False", "x", new), &good, None, true),
            ("we have seen a change", stored("False", "x", new), &good, Some(&bad), true),
            ("another has, a moment ago", stored("False", "x", new), &good, Some(&good), false),
            ("another has, and it stands", stored("False", "x", old), &good, Some(&good), true),
        ];
        for (why, stored, found, before, expected) in cases {
            let before = before.map(|found| Before { found: found.clone(), said_at: None });
            assert_eq!(is_news(&stored, found, before.as_ref(), now), expected, "{why}");
        }
    }

    #[test]
    fn another_message_is_said_and_of_failed_questions_not_too_often() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let bad = of_discovery(Some("1".into()));
        let none = of_service(&server(), &ServiceState::NoService).unwrap();
        for (why, found, said_secs_ago, expected) in [
            ("of a Service", &none, Some(0), true),
            ("nothing was said by us", &bad, None, true),
            ("something was, a moment ago", &bad, Some(29), false),
            ("and now it may be again", &bad, Some(30), true),
        ] {
            let condition = json!({"type": "Available", "status": "False", "reason": found.reason, "message": "old",
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let mut stored: APIService =
                serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [condition]}})).unwrap();
            let said_at = said_secs_ago.map(|secs| now - SignedDuration::from_secs(secs));
            let before = Before { found: found.clone(), said_at };
            assert_eq!(is_news(&stored, found, Some(&before), now), expected, "{why}");
            apiservice::set(stored.status.as_mut().unwrap(), found, &Time(now));
            assert!(!is_news(&stored, found, Some(&before), now), "it is said");
        }
    }

    #[test]
    fn who_does_not_answer_is_asked_less_and_less_often() {
        let secs: Vec<u64> = (0..8).map(|failures| again(failures).as_secs()).collect();
        assert_eq!(secs, [30, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(again(u32::MAX).as_secs(), 30);
    }
}
