//! Priorities: what a class puts into pods, which class is the default, which cannot be deleted.

use super::*;

fn class(name: &str, value: i32, policy: &str, is_default: bool) -> Value {
    let mut class = json!({"metadata": {"name": name}, "value": value, "preemptionPolicy": policy});
    if is_default {
        class["globalDefault"] = json!(true);
    }
    class
}
fn bare() -> Value {
    json!({"containers": []})
}
fn spec(fields: Value) -> Value {
    let mut spec = bare();
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec
}

#[test]
fn a_pod_gets_what_its_class_says() {
    const LOWER: &str = "PreemptLowerPriority";
    let classes = [
        ("priorityclasses//high", class("high", 1000, "Never", false)),
        ("priorityclasses//usual", class("usual", 10, LOWER, true)),
        ("priorityclasses//lower", class("lower", 5, "Never", true)),
    ];
    let described = json!({"metadata": {"name": "a"}, "value": 1, "description": r#"not "globalDefault":true"#});
    let named = |name: &str| spec(json!({"priorityClassName": name}));
    /// Why, the classes there are, the pod's spec → name, priority and policy of preemption.
    type Row<'a> = (&'a str, &'a [(&'a str, Value)], Value, (Value, i32, &'a str));
    let cases: [Row<'_>; 8] = [
        ("a class", &classes[..1], named("high"), (json!("high"), 1000, "Never")),
        ("no class in a cluster without a default", &classes[..1], bare(), (Value::Null, 0, LOWER)),
        ("no class: the default", &classes[..2], bare(), (json!("usual"), 10, LOWER)),
        ("two defaults: the lower", &classes[1..], bare(), (json!("lower"), 5, "Never")),
        ("a description is no mark", &[("priorityclasses//a", described)], bare(), (Value::Null, 0, LOWER)),
        (
            "the system's, before there are objects",
            &[],
            named("system-node-critical"),
            (json!("system-node-critical"), 2_000_001_000, LOWER),
        ),
        (
            "the system's, too",
            &[],
            named("system-cluster-critical"),
            (json!("system-cluster-critical"), 2_000_000_000, LOWER),
        ),
        (
            "said the same",
            &classes[1..2],
            spec(json!({"priority": 10, "preemptionPolicy": LOWER})),
            (json!("usual"), 10, LOWER),
        ),
    ];
    for (why, cluster, object, (name, value, policy)) in cases {
        let case = Case { target: "pods default/", object: pod(object), cluster, ..NO_CASE };
        let stored = admitted(case).unwrap();
        let spec = &stored["spec"];
        let expected = (&name, &json!(value), &json!(policy));
        assert_eq!((&spec["priorityClassName"], &spec["priority"], &spec["preemptionPolicy"]), expected, "{why}");
    }
}

#[test]
fn a_pod_does_not_say_its_priority_itself() {
    let cluster = [("priorityclasses//high", class("high", 1000, "Never", false))];
    let cases = [
        (json!({"priorityClassName": "x"}), "no PriorityClass with name x was found"),
        (
            json!({"priority": 5}),
            "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name",
        ),
        (
            json!({"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"}),
            "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name",
        ),
    ];
    for (fields, expected) in cases {
        let case = Case { target: "pods default/", object: pod(spec(fields)), cluster: &cluster, ..NO_CASE };
        assert_eq!(message(case), format!(r#"pods "p" is forbidden: {expected}"#));
    }
}

#[test]
fn an_update_keeps_what_was_computed() {
    let update = Case {
        verb: Verb::Update,
        target: "pods default/p",
        object: pod(bare()),
        old: pod(spec(json!({"priority": 7, "preemptionPolicy": "Never"}))),
        ..NO_CASE
    };
    let stored = admitted(update).unwrap();
    assert_eq!((&stored["spec"]["priority"], &stored["spec"]["preemptionPolicy"]), (&json!(7), &json!("Never")));
}

#[test]
fn one_class_is_the_default() {
    let usual = class("usual", 10, "Never", true);
    let cluster = [("priorityclasses//usual", usual.clone())];
    let write = |verb, target, object, old| Case { verb, target, object, old, cluster: &cluster, ..NO_CASE };
    let other = |is_default| class("other", 1, "Never", is_default);
    let new = |object| write(Verb::Create, "priorityclasses ", object, Value::Null);
    let update = |target, object: Value| write(Verb::Update, target, object.clone(), object);
    let expected = r#"priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"#;
    assert_eq!(message(new(other(true))), expected);
    assert_eq!(message(update("priorityclasses other", other(true))), expected);
    assert!(admitted(new(other(false))).is_ok());
    assert!(admitted(update("priorityclasses usual", usual)).is_ok(), "the default itself");
    assert!(admitted(Case { cluster: &[], ..new(other(true)) }).is_ok(), "the first");
}

#[test]
fn the_systems_classes_are_not_deleted() {
    let delete = |target| Case { verb: Verb::Delete, target, ..NO_CASE };
    assert_eq!(
        message(delete("priorityclasses system-node-critical")),
        r#"priorityclasses.scheduling.k8s.io "system-node-critical" is forbidden: this is a system priority class and cannot be deleted"#
    );
    assert!(admitted(delete("priorityclasses mine")).is_ok());
}
