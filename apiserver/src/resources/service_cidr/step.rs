//! What is to be done about one ServiceCIDR: it is kept from going while addresses of it are held, and said to be ready. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

pub(super) const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
pub(super) const READY: &str = "Ready";
const TERMINATING: &str = "Terminating";
const IS_READY: &str = "Kubernetes Service CIDR is ready";
const IS_HELD: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
/// From the deletion to the end: every apiserver knows by then that it gives out no more addresses of it.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// The next write, of which each leads to another look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    AddFinalizer,
    RemoveFinalizer,
    Say(Said),
    Rest,
}

/// The condition [`READY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

const SAID_READY: Said = Said { status: "True", reason: "", message: IS_READY };
const SAID_HELD: Said = Said { status: "False", reason: TERMINATING, message: IS_HELD };

/// `held`: the addresses of Services.
pub(super) fn step(of: &ServiceCIDR, all: &[ServiceCIDR], held: &[IpAddr], now: Timestamp) -> Step {
    let has_finalizer = of.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    let say = |said: Said| if has(of, said) { Step::Rest } else { Step::Say(said) };
    match &of.metadata.deletion_timestamp {
        None if !has_finalizer => Step::AddFinalizer,
        None => say(SAID_READY),
        Some(_) if !has_finalizer => Step::Rest,
        Some(_) if !can_go(of, all, held) => say(SAID_HELD),
        Some(since) if now.duration_since(since.0) < GRACE => Step::Rest,
        Some(_) => Step::RemoveFinalizer,
    }
}

/// The ranges that addresses may be taken from.
pub(super) fn ready(all: &[ServiceCIDR]) -> impl Iterator<Item = IpNet> {
    all.iter().filter(|cidr| is_ready(cidr)).flat_map(ranges)
}

fn is_ready(of: &ServiceCIDR) -> bool {
    let mut conditions = of.status.iter().flat_map(|status| &status.conditions).flatten();
    of.metadata.deletion_timestamp.is_none() && conditions.any(|c| c.type_ == READY && c.status == "True")
}

fn has(of: &ServiceCIDR, said: Said) -> bool {
    let mut conditions = of.status.iter().flat_map(|status| &status.conditions).flatten();
    let is_said = |status: &str, reason: &str, message: &str| {
        (status, reason, message) == (said.status, said.reason, said.message)
    };
    conditions.any(|c| c.type_ == READY && is_said(&c.status, &c.reason, &c.message))
}

fn ranges(of: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    let texts = of.spec.iter().flat_map(|spec| &spec.cidrs).flatten();
    texts.filter_map(|text| text.parse().ok())
}

/// Whether every address that is held lies in another range, too, that stays.
fn can_go(of: &ServiceCIDR, all: &[ServiceCIDR], held: &[IpAddr]) -> bool {
    let stays =
        |other: &&ServiceCIDR| other.metadata.name != of.metadata.name && other.metadata.deletion_timestamp.is_none();
    let others: Vec<IpNet> = all.iter().filter(stays).flat_map(ranges).collect();
    let own: Vec<IpNet> = ranges(of).collect();
    let is_own = |ip: &&IpAddr| own.iter().any(|range| range.contains(*ip));
    held.iter().filter(is_own).all(|ip| others.iter().any(|range| range.contains(ip)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cidr(name: &str, range: &str, more: Value) -> ServiceCIDR {
        let mut object = json!({"metadata": {"name": name, "finalizers": [FINALIZER]}, "spec": {"cidrs": [range]}});
        for (key, value) in more.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }
    fn said(mut of: ServiceCIDR, said: Said) -> ServiceCIDR {
        let condition = json!({"type": READY, "status": said.status, "reason": said.reason, "message": said.message,
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        of.status = Some(serde_json::from_value(json!({"conditions": [condition]})).unwrap());
        of
    }

    type Case = (&'static str, ServiceCIDR, Vec<ServiceCIDR>, &'static [&'static str], Step);

    #[test]
    fn it_is_ready_until_it_goes_and_goes_when_nobody_needs_it() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let (small, large) = ("10.0.0.0/24", "10.0.0.0/16");
        let going = |secs: u32| json!({"deletionTimestamp": format!("2026-01-01T00:00:{secs:02}Z")});
        let none = json!({});
        let cases: [Case; 10] = [
            ("new", cidr("a", small, json!({"finalizers": []})), vec![], &[], Step::AddFinalizer),
            ("kept", cidr("a", small, none.clone()), vec![], &[], Step::Say(SAID_READY)),
            ("ready", said(cidr("a", small, none.clone()), SAID_READY), vec![], &[], Step::Rest),
            ("going, in use", cidr("a", small, going(0)), vec![], &["10.0.0.1"], Step::Say(SAID_HELD)),
            ("and said so", said(cidr("a", small, going(0)), SAID_HELD), vec![], &["10.0.0.1"], Step::Rest),
            ("going, others are in use", cidr("a", small, going(0)), vec![], &["10.0.1.1"], Step::RemoveFinalizer),
            ("too soon", cidr("a", small, going(55)), vec![], &[], Step::Rest),
            (
                "another has the address",
                cidr("a", small, going(0)),
                vec![cidr("b", large, none)],
                &["10.0.0.1"],
                Step::RemoveFinalizer,
            ),
            (
                "another that goes, too",
                cidr("a", small, going(0)),
                vec![cidr("b", large, going(0))],
                &["10.0.0.1"],
                Step::Say(SAID_HELD),
            ),
            (
                "gone for us",
                cidr("a", small, json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/y"]})),
                vec![],
                &[],
                Step::Rest,
            ),
        ];
        for (why, of, others, held, expected) in cases {
            let held: Vec<IpAddr> = held.iter().map(|ip| ip.parse().unwrap()).collect();
            let all: Vec<ServiceCIDR> = others.into_iter().chain([of.clone()]).collect();
            assert_eq!(step(&of, &all, &held, now), expected, "{why}");
        }
    }

    #[test]
    fn addresses_come_from_what_is_ready() {
        let all = [
            said(cidr("a", "10.0.0.0/24", json!({})), SAID_READY),
            cidr("b", "10.0.1.0/24", json!({})),
            said(cidr("c", "10.0.2.0/24", json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})), SAID_READY),
        ];
        assert_eq!(ready(&all).map(|range| range.to_string()).collect::<Vec<_>>(), ["10.0.0.0/24"]);
    }
}
