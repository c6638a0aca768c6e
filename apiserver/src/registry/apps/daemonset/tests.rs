//! DaemonSets: defaults, validation, the count of template changes, status, columns.

use serde_json::{Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{
    created, defaulted, found_on_create, found_on_status, found_on_write, prepare, row,
};

/// A good DaemonSet, with `changes` merged into it.
fn set(changes: Value) -> String {
    let mut set = json!({
        "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        }
    });
    json_patch::merge(&mut set, &changes);
    set.to_string()
}
fn spec(changes: Value) -> String {
    set(json!({ "spec": changes }))
}
fn rolling(unavailable: Value, surge: Value) -> String {
    spec(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}}))
}
fn annotated(generation: &str) -> String {
    set(json!({"metadata": {"annotations": {TEMPLATE_GENERATION: generation}}}))
}

#[test]
fn defaults() {
    let of = |changes| defaulted::<DaemonSet>(&spec(changes)).spec;
    let plain = of(json!({}));
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
    assert_eq!((json!(plain.update_strategy), plain.revision_history_limit), (rolling, Some(10)));
    assert_eq!(plain.template.spec.unwrap().restart_policy.as_deref(), Some("Always"));
    let on_delete = json!({"type": "OnDelete"});
    assert_eq!(json!(of(json!({"updateStrategy": on_delete})).update_strategy), on_delete);
}

#[test]
fn good_daemonsets() {
    let cases = [
        spec(json!({})),
        spec(json!({"updateStrategy": {"type": "OnDelete"}, "minReadySeconds": 0, "revisionHistoryLimit": 0})),
        rolling(json!("100%"), json!("0%")),
        rolling(json!(0), json!("10%")),
        annotated("7"),
    ];
    for json in cases {
        assert_eq!(found_on_create::<DaemonSet>(&json), Vec::<String>::new(), "{json}");
    }
}

#[test]
fn bad_daemonsets() {
    let negative = "must be greater than or equal to 0";
    let mismatch =
        r#"spec.template.metadata.labels: Invalid value: {"app":"agent"}: `selector` does not match template `labels`"#;
    let at = "spec.updateStrategy.rollingUpdate";
    let cases = [
        (spec(json!({"selector": null})), vec![mismatch.to_owned()]),
        (spec(json!({"selector": {"matchLabels": {"app": "other"}}})), vec![mismatch.into()]),
        (
            spec(json!({"selector": {"matchLabels": {"app": null}}})),
            vec![r#"spec.selector: Invalid value: {"matchLabels":{}}: empty selector is invalid for daemonset"#.into()],
        ),
        (
            spec(json!({"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}})),
            vec![
                r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#.into(),
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported".into(),
            ],
        ),
        (
            spec(json!({"minReadySeconds": -1, "revisionHistoryLimit": -2})),
            vec![
                format!("spec.minReadySeconds: Invalid value: -1: {negative}"),
                format!("spec.revisionHistoryLimit: Invalid value: -2: {negative}"),
            ],
        ),
        (
            spec(json!({"updateStrategy": {"type": "Odd"}})),
            vec![r#"spec.updateStrategy: Unsupported value: {"type":"Odd"}: supported values: "RollingUpdate", "OnDelete""#.into()],
        ),
        (rolling(json!(0), json!(0)), vec![format!("{at}.maxUnavailable: Required value: cannot be 0 when maxSurge is 0")]),
        (
            rolling(json!(1), json!("5%")),
            vec![format!(r#"{at}.maxSurge: Invalid value: "5%": may not be set when maxUnavailable is non-zero"#)],
        ),
        (
            rolling(json!(0), json!("101%")),
            vec![format!(r#"{at}.maxSurge: Invalid value: "101%": must not be greater than 100%"#)],
        ),
        (rolling(json!(-1), json!(0)), vec![format!("{at}.maxUnavailable: Invalid value: -1: {negative}")]),
        (
            annotated("many"),
            vec![r#"metadata.annotations[deprecated.daemonset.template.generation]: Invalid value: "many": must be an integer"#.into()],
        ),
        (
            spec(json!({"template": {"spec": {"containers": []}}})),
            vec!["spec.template.spec.containers: Required value".into()],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(found_on_create::<DaemonSet>(&json), expected, "{json}");
    }
}

#[test]
fn changes_of_the_template_are_counted() {
    let count = |set: &DaemonSet| set.metadata.annotations.as_ref().unwrap()[TEMPLATE_GENERATION].clone();
    for (given, expected) in [("-1", "1"), ("0", "1"), ("7", "7"), ("many", "many")] {
        assert_eq!(count(&created(&annotated(given))), expected, "{given}");
    }
    let old: DaemonSet = created(&spec(json!({})));
    assert_eq!(count(&old), "1");
    let cases = [
        ("nothing changes", annotated("9"), "1"),
        ("how pods are replaced", spec(json!({"minReadySeconds": 5})), "1"),
        ("the pods", spec(json!({"template": {"metadata": {"labels": {"a": "b"}}}})), "2"),
    ];
    for (why, json, expected) in cases {
        let mut new: DaemonSet = defaulted(&json);
        prepare(Strategy::Update(&old), &mut new);
        assert_eq!(count(&new), expected, "{why}");
    }
    let mut new: DaemonSet = defaulted(&annotated("9"));
    prepare(Strategy::Status(&old), &mut new);
    assert_eq!(count(&new), "1", "a status");
}

#[test]
fn the_selector_stays() {
    let old: DaemonSet = created(&spec(json!({})));
    let more = json!({"matchLabels": {"app": "agent", "a": "b"}});
    let json = spec(json!({"selector": more, "template": {"metadata": {"labels": {"a": "b"}}}}));
    let expected = r#"spec.selector: Invalid value: {"matchLabels":{"a":"b","app":"agent"}}: field is immutable"#;
    assert_eq!(found_on_write(&old, &json), [expected]);
    assert_eq!(found_on_write(&old, &rolling(json!(0), json!(1))), Vec::<String>::new());
}

#[test]
fn no_count_of_a_status_is_negative() {
    let counts = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "observedGeneration",
        "collisionCount",
    ];
    for count in counts {
        let with = |n: i32| json!({"status": {count: n}}).to_string();
        let expected = format!("status.{count}: Invalid value: -1: must be greater than or equal to 0");
        assert_eq!(found_on_status::<DaemonSet>("{}", &with(-1)), [expected]);
        assert_eq!(found_on_status::<DaemonSet>("{}", &with(1)), Vec::<String>::new());
    }
    let collisions = |n: i32| json!({"status": {"collisionCount": n}}).to_string();
    let found = found_on_status::<DaemonSet>(&collisions(2), &collisions(1));
    assert_eq!(found, ["status.collisionCount: Invalid value: 1: cannot be decremented"]);
}

#[test]
fn columns() {
    let json = set(json!({
        "spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}},
        "status": {"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3,
            "updatedNumberScheduled": 2, "numberAvailable": 1}
    }));
    assert_eq!(row::<DaemonSet>(&json, 0), "agent|5|4|3|2|1|a=b|<unknown>|c|i|app=agent");
}
