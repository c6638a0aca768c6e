//! Quotas: what is said of bad ones, what may change, how they are shown.

use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::{Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{self, defaulted, found_on_update, prepare, row, texts};

fn quota(spec: Value) -> String {
    json!({"metadata": {"name": "q"}, "spec": spec}).to_string()
}
fn found(spec: Value) -> Vec<String> {
    testing::found::<ResourceQuota>(&quota(spec))
}

#[test]
fn bad_amounts() {
    let hard = |name: &str, amount: &str| json!({"hard": {name: amount}});
    let cases = [
        (hard("pods", "10"), vec![]),
        (hard("requests.memory", "1.5Gi"), vec![]),
        (hard("requests.x.com/gpu", "4"), vec![]),
        (hard("count/jobs.batch", "4"), vec![]),
        (hard("gold.storageclass.storage.k8s.io/requests.storage", "1Gi"), vec![]),
        (
            hard("disk", "1"),
            vec![
                r#"spec.hard[disk]: Invalid value: "disk": must be a standard resource type or fully qualified"#,
                r#"spec.hard[disk]: Invalid value: "disk": must be a standard resource for quota"#,
            ],
        ),
        (
            hard("pods", "-1500m"),
            vec![
                r#"spec.hard[pods]: Invalid value: "-1500m": must be greater than or equal to 0"#,
                r#"spec.hard[pods]: Invalid value: "-1500m": must be an integer"#,
            ],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(found(spec.clone()), expected, "{spec}");
    }
    let wrong = found(hard("pods", "many"));
    assert!(wrong.len() == 1 && wrong[0].starts_with("spec.hard[pods]: Invalid value"), "{wrong:?}");
}

#[test]
fn bad_scopes() {
    let scoped = |scopes: Value, hard: &str| json!({"scopes": scopes, "hard": {hard: "1"}});
    let cases = [
        (scoped(json!(["Terminating", "NotBestEffort"]), "requests.cpu"), vec![]),
        (scoped(json!(["BestEffort"]), "pods"), vec![]),
        (scoped(json!(["BestEffort"]), "count/jobs.batch"), vec![]),
        (
            scoped(json!(["Odd", "Strange"]), "pods"),
            vec![r#"spec.scopes: Invalid value: ["Odd","Strange"]: unsupported scope"#],
        ),
        (
            scoped(json!(["BestEffort"]), "cpu"),
            vec![r#"spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource"#],
        ),
        (
            scoped(json!(["VolumeAttributesClass"]), "pods"),
            vec![r#"spec.scopes: Invalid value: ["VolumeAttributesClass"]: unsupported scope applied to resource"#],
        ),
        (
            scoped(json!(["Terminating", "NotTerminating"]), "pods"),
            vec![r#"spec.scopes: Invalid value: ["Terminating","NotTerminating"]: conflicting scopes"#],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(found(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn bad_selectors() {
    const AT: &str = "spec.scopeSelector.matchExpressions";
    let selecting = |expressions: Value, hard: &str| json!({"scopeSelector": {"matchExpressions": expressions}, "hard": {hard: "1"}});
    let one = |scope: &str, operator: &str, values: Value| json!([{"scopeName": scope, "operator": operator, "values": values}]);
    let none = json!([]);
    let exists = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let cases = [
        (selecting(one("PriorityClass", "In", json!(["high"])), "pods"), vec![]),
        (selecting(one("CrossNamespacePodAffinity", "Exists", none.clone()), "pods"), vec![]),
        (selecting(one("VolumeAttributesClass", "NotIn", json!(["x"])), "requests.storage"), vec![]),
        (
            selecting(one("Odd", "Exists", none.clone()), "pods"),
            vec![format!(r#"{AT}.scopeName: Invalid value: "Odd": unsupported scope"#)],
        ),
        (
            selecting(one("Terminating", "In", json!(["x"])), "pods"),
            vec![format!(r#"{AT}.operator: Invalid value: "In": {exists}"#)],
        ),
        (
            selecting(one("PriorityClass", "NotIn", none.clone()), "pods"),
            vec![format!(
                "{AT}.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            )],
        ),
        (
            selecting(one("PriorityClass", "DoesNotExist", json!(["x"])), "pods"),
            vec![format!(
                r#"{AT}.values: Invalid value: ["x"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"#
            )],
        ),
        (
            selecting(one("PriorityClass", "Is", none.clone()), "pods"),
            vec![format!(r#"{AT}.operator: Invalid value: "Is": not a valid selector operator"#)],
        ),
        (
            selecting(one("BestEffort", "Exists", none.clone()), "cpu"),
            vec![format!(
                r#"{AT}: Invalid value: {{"matchExpressions":[{{"operator":"Exists","scopeName":"BestEffort","values":[]}}]}}: unsupported scope applied to resource"#
            )],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(found(spec.clone()), expected, "{spec}");
    }
    let opposites = json!([{"scopeName": "BestEffort", "operator": "Exists"}, {"scopeName": "NotBestEffort", "operator": "Exists"}]);
    let conflict = found(selecting(opposites, "pods"));
    assert!(conflict.len() == 1 && conflict[0].ends_with(": conflicting scopes"), "{conflict:?}");
}

#[test]
fn long_lists_are_looked_at_in_time_that_grows_with_them() {
    let began = std::time::Instant::now();
    let scopes: Vec<String> = (0..60_000).map(|n| format!("s{n}")).chain(["BestEffort".to_owned()]).collect();
    let hard: serde_json::Map<String, Value> =
        (0..60_000).map(|n| (format!("count/r{n}"), json!("1"))).chain([("cpu".to_owned(), json!("1"))]).collect();
    let expressions: Vec<Value> = scopes.iter().map(|s| json!({"scopeName": s, "operator": "Exists"})).collect();
    let spec = json!({"scopes": scopes, "hard": hard, "scopeSelector": {"matchExpressions": expressions}});
    assert!(!found(spec).is_empty());
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_quota_keeps_its_scopes() {
    let scoped = |scopes: Value| quota(json!({"scopes": scopes, "hard": {"pods": "1"}}));
    let changed = |old: Value, new: Value| found_on_update::<ResourceQuota>(&scoped(old), &scoped(new));
    assert!(changed(json!(["Terminating"]), json!(["Terminating", "Terminating"])).is_empty());
    assert_eq!(
        changed(json!(["Terminating"]), json!(["NotTerminating"])),
        [r#"spec.scopes: Invalid value: ["NotTerminating"]: field is immutable"#]
    );
    assert_eq!(changed(json!(["Terminating"]), json!([])), ["spec.scopes: Invalid value: []: field is immutable"]);
}

#[test]
fn each_half_keeps_the_other() {
    let json = json!({"spec": {"hard": {"cpu": "0.5"}}, "status": {"hard": {"cpu": "1"}, "used": {"cpu": "-1"}}});
    let both: ResourceQuota = defaulted(&json.to_string());
    let hard = |quota: &ResourceQuota| quota.spec.clone().unwrap().hard.unwrap()["cpu"].0.clone();
    assert_eq!(hard(&both), "500m");
    let mut new = both.clone();
    prepare(Strategy::Create, &mut new);
    assert_eq!(new.status, Some(Default::default()));
    let old = new.clone();
    new = both.clone();
    prepare(Strategy::Update(&old), &mut new);
    assert_eq!(new.status, old.status);
    let other: ResourceQuota = defaulted(&quota(json!({"hard": {"cpu": "9"}})));
    new = both.clone();
    prepare(Strategy::Status(&other), &mut new);
    assert_eq!((hard(&new), &new.status), ("9".to_owned(), &both.status));
    let mut problems = Problems::default();
    new.validate_status(&other, &mut problems);
    assert_eq!(texts(&problems), [r#"status.used[cpu]: Invalid value: "-1": must be greater than or equal to 0"#]);
}

#[test]
fn columns() {
    let json = r#"{"metadata":{"name":"q"},"status":{"hard":{"pods":"10","requests.cpu":"1","limits.cpu":"2"},
        "used":{"pods":"3","limits.cpu":"500m"}}}"#;
    assert_eq!(row::<ResourceQuota>(json, 0), "q|pods: 3/10, requests.cpu: 0/1|limits.cpu: 500m/2|<unknown>");
}
