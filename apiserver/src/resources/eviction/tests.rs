//! Evictions as tables: which pod, guarded by what, and what becomes of both.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

const THEN: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-01T00:10:00Z";

fn time(text: &str) -> Time {
    Time(text.parse().unwrap())
}
/// Of the application `web`.
fn pod(phase: &str, ready: &str) -> Pod {
    let status = json!({"phase": phase, "conditions": [{"type": "Ready", "status": ready}]});
    let pod = json!({"metadata": {"name": "web-1", "labels": {"app": "web"}}, "status": status});
    serde_json::from_value(pod).unwrap()
}
fn condition(status: &str, reason: &str, message: &str) -> Value {
    json!({"type": "DisruptionAllowed", "status": status, "reason": reason, "message": message, "lastTransitionTime": THEN})
}
/// A budget that guards `web`, has two ready pods, needs one of them, and has observed what is wanted of it.
fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    let merged = |mut base: Value, with: Value| {
        base.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        base
    };
    let spec = merged(json!({"selector": {"matchLabels": {"app": "web"}}}), spec);
    let counts = json!({"observedGeneration": 2, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1});
    let metadata = json!({"name": "b", "generation": 2});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": merged(counts, status)})).unwrap()
}
/// "nothing", "a disruption", or the refusal: its code and words.
fn outcome(pod: &Pod, budgets: &[PodDisruptionBudget]) -> String {
    match cost(pod, budgets, |_| true, &time(NOW)) {
        Ok(Cost::Nothing) => "nothing".into(),
        Ok(Cost::Disruption { .. }) => "a disruption".into(),
        Err(err) => {
            let details = err.status().details.as_ref();
            let cause = details.and_then(|d| d.causes.as_ref()?.first());
            assert!(cause.is_none_or(|c| c.reason.as_deref() == Some("DisruptionBudget")), "{err:?}");
            let why = cause.and_then(|c| c.message.clone()).unwrap_or_default();
            format!("{} {}|{why}", err.code(), err.message())
        }
    }
}

#[test]
fn who_guards_a_pod() {
    let none = json!({});
    let selecting = |selector: Value| budget(json!({ "selector": selector }), json!({}));
    let malformed = json!({"matchExpressions": [{"key": "app", "operator": "In"}]});
    for (why, budgets, expected) in [
        ("nobody", vec![], "nothing"),
        ("its own", vec![budget(none.clone(), json!({}))], "a disruption"),
        ("one of all pods", vec![selecting(json!({}))], "a disruption"),
        ("one of no pods", vec![selecting(Value::Null)], "nothing"),
        ("one of other pods", vec![selecting(json!({"matchLabels": {"app": "db"}}))], "nothing"),
        ("one of nobody knows which", vec![selecting(malformed)], "nothing"),
        (
            "two",
            vec![budget(none.clone(), json!({})), selecting(json!({}))],
            "500 This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.|",
        ),
    ] {
        assert_eq!(outcome(&pod("Running", "True"), &budgets), expected, "{why}");
    }
}

#[test]
fn a_pod_that_serves_nobody_costs_nothing() {
    let full = || vec![budget(json!({}), json!({"disruptionsAllowed": 0}))];
    let mut deleted = pod("Running", "True");
    deleted.metadata.deletion_timestamp = Some(time(NOW));
    for (why, pod) in [
        ("it has not begun", pod("Pending", "False")),
        ("it has ended well", pod("Succeeded", "False")),
        ("it has ended badly", pod("Failed", "False")),
        ("it is going already", deleted),
    ] {
        assert_eq!(outcome(&pod, &full()), "nothing", "{why}");
    }
    let two = [full().remove(0), full().remove(0)];
    assert_eq!(outcome(&pod("Pending", "False"), &two), "nothing", "however many guard it");
}

#[test]
fn an_unready_pod_goes_where_that_does_not_disturb() {
    let needs = |current: i32, desired: i32| json!({"disruptionsAllowed": 0, "currentHealthy": current, "desiredHealthy": desired});
    let refused = |desired: i32, current: i32| {
        format!("429 {VIOLATES}|The disruption budget b needs {desired} healthy pods and has {current} currently")
    };
    for (why, policy, status, expected) in [
        ("enough others are ready", Value::Null, needs(2, 2), "nothing".to_owned()),
        ("said explicitly", json!("IfHealthyBudget"), needs(2, 2), "nothing".to_owned()),
        ("too few are", Value::Null, needs(1, 2), refused(2, 1)),
        ("nothing is known of others", Value::Null, needs(0, 0), refused(0, 0)),
        ("too few are, but it may always go", json!("AlwaysAllow"), needs(1, 2), "nothing".to_owned()),
        ("a policy of a later version", json!("Odd"), needs(1, 2), refused(2, 1)),
    ] {
        let guards = [budget(json!({"unhealthyPodEvictionPolicy": policy}), status)];
        assert_eq!(outcome(&pod("Running", "False"), &guards), expected, "{why}");
    }
    let guards = [budget(json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}), needs(2, 2))];
    assert_eq!(outcome(&pod("Running", "True"), &guards), refused(2, 2), "a ready one is guarded all the same");
}

#[test]
fn a_refusal_says_what_could_change_it() {
    let many: BTreeMap<String, &str> = (0..=DISRUPTED_PODS_MAX).map(|n| (n.to_string(), NOW)).collect();
    let none = |extra: Value| {
        let mut status = json!({"disruptionsAllowed": 0, "currentHealthy": 3});
        status.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        status
    };
    let says = |condition: Value| none(json!({ "conditions": [condition] }));
    let forbidden = |why: &str| format!("403 poddisruptionbudget.policy \"b\" is forbidden: {why}|");
    let not_now = "The disruption budget b does not allow evicting pods currently";
    for (status, expected) in [
        (
            json!({"observedGeneration": 1}),
            format!("429 {VIOLATES}|The disruption budget b is still being processed by the server."),
        ),
        (
            json!({"disruptionsAllowed": -1}),
            format!(
                "{}{not_now}: pdb disruptions allowed is negative",
                forbidden("pdb disruptions allowed is negative")
            ),
        ),
        (
            json!({ "disruptedPods": many }),
            format!(
                "{}{not_now}: too many pending evictions not confirmed by PDB controller",
                forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller")
            ),
        ),
        (
            none(json!({"currentHealthy": 1})),
            format!("429 {VIOLATES}|The disruption budget b needs 1 healthy pods and has 1 currently"),
        ),
        (none(json!({})), format!("429 {VIOLATES}|{not_now}")),
        (
            none(json!({"currentHealthy": 1, "conditions": [condition("False", "SyncFailed", "no scale")]})),
            format!("429 {VIOLATES}|{not_now} because it failed sync: no scale"),
        ),
        (
            says(condition("False", "InsufficientPods", "wait")),
            format!("429 {VIOLATES}|{not_now} (InsufficientPods): wait"),
        ),
        (says(condition("False", "InsufficientPods", "")), format!("429 {VIOLATES}|{not_now}")),
        (says(condition("True", "SufficientPods", "x")), format!("429 {VIOLATES}|{not_now}")),
    ] {
        assert_eq!(outcome(&pod("Running", "True"), &[budget(json!({}), status)]), expected);
    }
    let retry = |status: Value| {
        let refused = cost(&pod("Running", "True"), &[budget(json!({}), status)], |_| true, &time(NOW)).unwrap_err();
        refused.status().details.as_ref().unwrap().retry_after_seconds
    };
    assert_eq!(retry(json!({"observedGeneration": 1})), Some(10));
    assert_eq!(retry(none(json!({}))), None, "who knows when");
}

#[test]
fn a_disruption_is_taken_from_the_budget() {
    let after = |status: Value| {
        let guards = [budget(json!({}), status)];
        match cost(&pod("Running", "True"), &guards, |name| name != "gone", &time(NOW)).unwrap() {
            Cost::Disruption { budget, status } => {
                assert_eq!(*budget, guards[0]);
                serde_json::to_value(*status).unwrap()
            }
            Cost::Nothing => panic!("it is guarded"),
        }
    };
    let first = after(json!({"disruptionsAllowed": 2, "disruptedPods": {"web-0": THEN}}));
    assert_eq!(first["disruptionsAllowed"], 1);
    assert_eq!(first["disruptedPods"], json!({"web-0": THEN, "web-1": NOW}));
    assert_eq!((&first["conditions"], &first["currentHealthy"]), (&Value::Null, &json!(2)), "nothing else changes");
    let noted = after(json!({"disruptedPods": {"web-0": THEN, "gone": THEN}}))["disruptedPods"].clone();
    assert_eq!(noted, json!({"web-0": THEN, "web-1": NOW}), "of pods that are gone nothing is noted");

    let insufficient = |since: &str| {
        json!([{"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
            "observedGeneration": 2, "lastTransitionTime": since}])
    };
    let last = after(json!({}));
    assert_eq!((&last["disruptionsAllowed"], &last["conditions"]), (&json!(0), &insufficient(NOW)));
    let allowed = condition("True", "SufficientPods", "x");
    assert_eq!(after(json!({"conditions": [allowed]}))["conditions"], insufficient(NOW));
    let forbidden = condition("False", "SyncFailed", "");
    assert_eq!(after(json!({"conditions": [forbidden]}))["conditions"], insufficient(THEN), "since it was so");
}
