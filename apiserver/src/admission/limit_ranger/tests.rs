//! What LimitRanges give, and what they forbid.

use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use super::*;
use crate::registry::check::testing::defaulted;

/// A range with these items, its own defaults filled in.
fn range(items: Value) -> LimitRange {
    defaulted(&json!({"spec": {"limits": items}}).to_string())
}
fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}
fn container(name: &str, requests: Value, limits: Value) -> Value {
    json!({"name": name, "resources": {"requests": requests, "limits": limits}})
}
fn broken(item: Value, spec: Value) -> Vec<String> {
    bounds::pod(&pod(spec), items(&range(json!([item]))))
}

#[test]
fn containers_get_what_they_do_not_say() {
    let range = range(json!([{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"},
        "defaultRequest": {"cpu": "500m"}}, {"type": "Pod", "max": {"cpu": "4"}}]));
    let spec = json!({"containers": [{"name": "a"}, container("b", json!({"memory": "1Mi"}), json!({"cpu": "2"}))],
        "initContainers": [{"name": "i"}]});
    let mut filled = pod(spec);
    filled.status = Some(Default::default());
    fill::pod(&mut filled, items(&range));
    let json = serde_json::to_value(&filled).unwrap();
    let (a, b) = (&json["spec"]["containers"][0]["resources"], &json["spec"]["containers"][1]["resources"]);
    assert_eq!(a, &json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}));
    assert_eq!(b, &json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Mi"}}));
    assert_eq!(
        json["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, memory request for container a; cpu, memory limit for container a; cpu request for container b; memory limit for container b; cpu, memory request for init container i; cpu, memory limit for init container i"
    );
    assert_eq!(json["status"]["qosClass"], "Burstable", "as it was before, it was BestEffort");
    let once = filled.clone();
    fill::pod(&mut filled, items(&range));
    assert_eq!(filled, once, "doing so twice changes nothing");
}

#[test]
fn who_says_all_gets_nothing() {
    let given = range(json!([{"type": "Container", "default": {"cpu": "1"}}]));
    let mut full = pod(json!({"containers": [container("a", json!({"cpu": "1"}), json!({"cpu": "2"}))]}));
    let before = full.clone();
    fill::pod(&mut full, items(&given));
    fill::pod(&mut full, items(&range(json!([{"type": "Pod", "max": {"cpu": "1"}}]))));
    assert_eq!(full, before);
}

#[test]
fn bounds_of_containers() {
    let min = json!({"type": "Container", "min": {"cpu": "100m"}});
    let max = json!({"type": "Container", "max": {"cpu": "1"}});
    let ratio = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}});
    let one = |requests: Value, limits: Value| json!({"containers": [container("a", requests, limits)]});
    let cpu = |amount: &str| json!({"cpu": amount});
    let none = json!({});
    let cases = [
        (&min, one(cpu("100m"), cpu("200m")), ""),
        (&min, one(none.clone(), cpu("1")), "minimum cpu usage per Container is 100m.  No request is specified"),
        (&min, one(cpu("50m"), none.clone()), "minimum cpu usage per Container is 100m, but request is 50m"),
        (&min, one(cpu("100m"), cpu("50m")), "minimum cpu usage per Container is 100m, but limit is 50m"),
        (&max, one(none.clone(), cpu("1000m")), ""),
        (&max, one(cpu("500m"), none.clone()), "maximum cpu usage per Container is 1.  No limit is specified"),
        (&max, one(cpu("500m"), cpu("2")), "maximum cpu usage per Container is 1, but limit is 2"),
        (&max, one(cpu("2"), cpu("1")), "maximum cpu usage per Container is 1, but request is 2"),
        (&ratio, one(cpu("500m"), cpu("1")), ""),
        (
            &ratio,
            one(cpu("0"), cpu("1")),
            "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
        ),
        (
            &ratio,
            one(cpu("1"), none),
            "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
        ),
        (
            &ratio,
            one(cpu("300m"), cpu("1")),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.333333",
        ),
    ];
    for (item, spec, expected) in cases {
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_eq!(broken(item.clone(), spec.clone()), expected, "{spec}");
    }
    let both = json!({"containers": [container("a", cpu("1m"), json!({}))], "initContainers": [container("i", cpu("1m"), json!({}))]});
    assert_eq!(broken(min, both), ["minimum cpu usage per Container is 100m, but request is 1m"], "said once");
}

#[test]
fn bounds_of_pods_are_of_the_sum() {
    let max = json!({"type": "Pod", "max": {"memory": "1Gi"}});
    let limited = |memory: &str| container("a", json!({}), json!({"memory": memory}));
    assert!(broken(max.clone(), json!({"containers": [limited("512Mi"), limited("512Mi")]})).is_empty());
    assert_eq!(
        broken(max.clone(), json!({"containers": [limited("512Mi"), limited("513Mi")]})),
        ["maximum memory usage per Pod is 1Gi, but limit is 1025Mi"]
    );
    let whole = json!({"containers": [limited("2Gi")], "resources": {"limits": {"memory": "1Gi"}}});
    assert!(broken(max, whole).is_empty(), "what the pod is given as a whole counts");
}

#[test]
fn bounds_of_claims() {
    let range = range(json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "10Gi"}},
        {"type": "Container", "min": {"cpu": "1"}}]));
    let found = |requests: Value| {
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({"metadata": {}, "spec": {"resources": {"requests": requests}}})).unwrap();
        bounds::claim(&claim, items(&range))
    };
    assert!(found(json!({"storage": "10Gi"})).is_empty());
    assert_eq!(
        found(json!({"storage": "1Mi"})),
        ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"]
    );
    assert_eq!(
        found(json!({"storage": "11Gi"})),
        ["maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 11Gi"]
    );
    assert_eq!(
        found(json!({})),
        [
            "minimum storage usage per PersistentVolumeClaim is 1Gi.  No request is specified",
            "maximum storage usage per PersistentVolumeClaim is 10Gi.  No request is specified",
        ]
    );
}
