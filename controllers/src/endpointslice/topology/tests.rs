//! Tables of hints: which zone each endpoint is meant for, and why there are none.

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;

fn ratios(text: &str) -> Ratios {
    text.split(' ')
        .filter_map(|p| p.split_once(':'))
        .map(|(zone, ratio)| (zone.into(), ratio.parse().unwrap()))
        .collect()
}

/// `a>b`: an endpoint in zone a that is meant for zone b; `!a`: one that is not ready.
fn slice(name: &str, endpoints: &str) -> EndpointSlice {
    let endpoint = |text: &str| -> Value {
        let (zone, hint) = text.split_once('>').unwrap_or((text, ""));
        let (zone, ready) = zone.strip_prefix('!').map_or((zone, true), |zone| (zone, false));
        let mut endpoint = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}});
        if zone != "-" {
            endpoint["zone"] = json!(zone);
        }
        if !hint.is_empty() {
            endpoint["hints"] = json!({"forZones": [{"name": hint}]});
        }
        endpoint
    };
    EndpointSlice {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        address_type: "IPv4".into(),
        endpoints: serde_json::from_value(endpoints.split_whitespace().map(endpoint).collect()).unwrap(),
        ports: None,
    }
}

/// What [`slice`] reads.
fn text(slice: &EndpointSlice) -> String {
    let endpoint = |endpoint: &Endpoint| {
        let zones = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_ref());
        let hint = zones.map(|zones| format!(">{}", zones[0].name)).unwrap_or_default();
        let not = if is_ready(endpoint) { "" } else { "!" };
        format!("{not}{}{hint}", endpoint.zone.as_deref().unwrap_or("-"))
    };
    slice.endpoints.iter().flatten().map(endpoint).collect::<Vec<_>>().join(" ")
}

fn told_of(actions: &[Action]) -> String {
    let action = |action: &Action| match action {
        Action::Create(slice) => format!("create {}", text(slice)),
        Action::Update(slice) => format!("{} {}", slice.name(), text(slice)),
        Action::Delete { key, .. } => format!("delete {}", key.name),
    };
    actions.iter().map(action).collect::<Vec<_>>().join(", ")
}

fn outcome_of(outcomes: &Outcomes) -> String {
    match &outcomes["IPv4"] {
        Outcome::Hinted(counts) => counts.iter().map(|(zone, n)| format!("{zone}:{n}")).collect::<Vec<_>>().join(" "),
        Outcome::Not { why, .. } => why.to_string(),
    }
}

#[test]
fn new_endpoints_are_shared_out_as_the_cpu_is() {
    let cases = [
        ("each its own zone", "a:0.5 b:0.5", "a a b b", "a>a a>a b>b b>b", "a:2 b:2"),
        ("all in one zone", "a:0.5 b:0.5", "a a a a", "a>b a>b a>a a>a", "a:2 b:2"),
        ("one zone has more CPU", "a:0.8 b:0.2", "a a b b", "a>a a>a b>a b>b", "a:3 b:1"),
        ("too little to be worth a move", "a:0.65 b:0.35", "a a a b b", "a>a a>a a>a b>b b>b", "a:3 b:2"),
        ("a zone without endpoints", "a:0.34 b:0.33 c:0.33", "a a a b b b", "a>c a>a a>a b>c b>b b>b", "a:2 b:2 c:2"),
        ("who is not ready has none", "a:0.5 b:0.5", "!a a b", "!a a>a b>b", "a:1 b:1"),
        (
            "fewer than zones",
            "a:0.4 b:0.3 c:0.3",
            "a b",
            "a b",
            "Insufficient number of endpoints (2 endpoints, 3 zones)",
        ),
        (
            "small zones need one each",
            "a:0.9 b:0.05 c:0.05",
            "a a b",
            "a a b",
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold \
             (3 endpoints, 3 zones)",
        ),
        ("one is nowhere", "a:0.5 b:0.5", "a b a -", "a b a -", "One or more endpoints do not have a zone specified"),
        (
            "nodes say too little",
            "",
            "a b",
            "a b",
            "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes",
        ),
    ];
    for (why, zones, endpoints, expected, outcome) in cases {
        let zones = Some(ratios(zones)).filter(|zones| !zones.is_empty());
        let (actions, outcomes) = hint(&[], zones.as_ref(), vec![Action::Create(slice("", endpoints))]);
        assert_eq!(told_of(&actions), format!("create {expected}"), "{why}");
        assert_eq!(outcome_of(&outcomes), outcome, "{why}");
    }
}

#[test]
fn hints_stay_as_long_as_no_zone_has_too_little_by_them() {
    let cases = [
        ("they are good", "a:0.8 b:0.2", "a>a a>a b>a b>b", "", "a:3 b:1"),
        ("better ones are not worth it", "a:0.72 b:0.28", "a>a a>a b>a b>b", "", "a:3 b:1"),
        ("one zone has too little", "a:0.5 b:0.5", "a>a a>a b>a b>b", "s a>a a>a b>b b>b", "a:2 b:2"),
        ("a zone is gone", "a:0.5 b:0.5", "a>a b>b a>c a>a", "s a>b b>b a>a a>a", "a:2 b:2"),
        ("one has none yet", "a:0.5 b:0.5", "a>a b>b a b>b", "s a>a b>b a>a b>b", "a:2 b:2"),
        ("too few now", "a:0.5 b:0.5", "a>a", "s a", "Insufficient number of endpoints (1 endpoints, 2 zones)"),
    ];
    for (why, zones, before, expected, outcome) in cases {
        let (actions, outcomes) = hint(&[Arc::new(slice("s", before))], Some(&ratios(zones)), Vec::new());
        assert_eq!(told_of(&actions), expected, "{why}");
        assert_eq!(outcome_of(&outcomes), outcome, "{why}");
    }
}

#[test]
fn slices_that_stay_count_for_those_that_are_written() {
    let stays = Arc::new(slice("s", "a>a a>a b>b"));
    let zones = ratios("a:0.5 b:0.5");
    let (actions, outcomes) = hint(&[Arc::clone(&stays)], Some(&zones), vec![Action::Create(slice("", "a a a"))]);
    assert_eq!((told_of(&actions), outcome_of(&outcomes)), ("create a>b a>b a>a".into(), "a:3 b:3".into()));
    // One that goes is no more.
    let gone = Action::Delete { key: stays.key(), uid: String::new() };
    let (actions, outcomes) = hint(&[stays], Some(&zones), vec![Action::Create(slice("", "a b")), gone]);
    assert_eq!((told_of(&actions), outcome_of(&outcomes)), ("create a>a b>b, delete s".into(), "a:1 b:1".into()));
}

#[test]
fn what_is_outdated_by_other_nodes() {
    let hinted =
        |counts: &[(&str, usize)]| Outcome::Hinted(counts.iter().map(|(zone, n)| ((*zone).into(), *n)).collect());
    let not = |endpoints, why| Outcome::Not { endpoints, why };
    let few = Why::FewerThanZones { endpoints: 2, zones: 3 };
    let cases = [
        ("as before", hinted(&[("a", 2), ("b", 2)]), "a:0.5 b:0.5", false),
        ("within what may be overloaded", hinted(&[("a", 5), ("b", 5)]), "a:0.55 b:0.45", false),
        ("overloaded", hinted(&[("a", 5), ("b", 5)]), "a:0.7 b:0.3", true),
        ("a new zone", hinted(&[("a", 2), ("b", 2)]), "a:0.4 b:0.4 c:0.2", true),
        ("nodes say too little", hinted(&[("a", 2), ("b", 2)]), "", true),
        ("nodes say enough now", not(4, Why::NodesSayTooLittle), "a:0.5 b:0.5", true),
        ("still not", not(4, Why::NodesSayTooLittle), "", false),
        ("still too few", not(2, few.clone()), "a:0.4 b:0.3 c:0.3", false),
        ("enough for fewer zones", not(2, few), "a:0.5 b:0.5", true),
    ];
    for (why, outcome, zones, expected) in cases {
        let zones = Some(ratios(zones)).filter(|zones| !zones.is_empty());
        assert_eq!(outcome.is_outdated(zones.as_ref()), expected, "{why}");
    }
}

#[test]
fn events_tell_of_what_has_become_otherwise() {
    let hinted: Outcomes = [("IPv4".to_owned(), Outcome::Hinted(ZoneCounts::new()))].into();
    let not = |why| -> Outcomes { [("IPv4".to_owned(), Outcome::Not { endpoints: 0, why })].into() };
    let (nowhere, nodes) = (not(Why::EndpointWithoutZone), not(Why::NodesSayTooLittle));
    let cases = [
        (
            Outcomes::new(),
            hinted.clone(),
            "TopologyAwareHintsEnabled Topology Aware Hints has been enabled, addressType: IPv4",
        ),
        (hinted.clone(), hinted.clone(), ""),
        (
            hinted.clone(),
            nowhere.clone(),
            "TopologyAwareHintsDisabled One or more endpoints do not have a zone specified, addressType: IPv4",
        ),
        (nowhere.clone(), nowhere.clone(), ""),
        (
            nowhere.clone(),
            nodes,
            "TopologyAwareHintsDisabled Insufficient Node information: allocatable CPU or zone not specified on one or more \
             nodes, addressType: IPv4",
        ),
        (
            hinted,
            Outcomes::new(),
            "TopologyAwareHintsDisabled Topology Aware Hints has been disabled, addressType: IPv4",
        ),
        (nowhere, Outcomes::new(), ""),
    ];
    for (before, now, expected) in cases {
        let said: Vec<String> =
            told(&before, &now).into_iter().map(|(_, reason, said)| format!("{reason} {said}")).collect();
        assert_eq!(said.join("; "), expected);
    }
}

#[test]
fn the_older_annotation_comes_first() {
    let service = |annotations: Value| -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "annotations": annotations}})).unwrap()
    };
    let (mode, old) = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints");
    let cases = [
        (json!({}), false),
        (json!({mode: "Auto"}), true),
        (json!({mode: "auto"}), true),
        (json!({mode: "Disabled"}), false),
        (json!({old: "Auto"}), true),
        (json!({old: "Disabled", mode: "Auto"}), false),
    ];
    for (annotations, expected) in cases {
        assert_eq!(is_auto(&service(annotations.clone())), expected, "{annotations}");
    }
}
