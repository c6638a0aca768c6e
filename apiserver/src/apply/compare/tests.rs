//! Comparisons: of every form, of what Go always writes, and what all of them keep to.

use corten_fuzz::run;
use serde_json::json;

use super::*;
use crate::apply::fields::fields_of;
use crate::apply::testing::{kind_shape, named};
use crate::apply::tests::random::spec;

fn texts(found: &Comparison) -> [String; 3] {
    [&found.added, &found.modified, &found.removed].map(FieldSet::to_fields_v1_text)
}

#[test]
fn comparison_table() {
    let item = |name: &str, number: u32| json!({"name": name, "number": number});
    let cases = [
        ("nothing", json!({}), json!({}), ["{}", "{}", "{}"]),
        ("a value", json!({"number": 1}), json!({"number": 2}), ["{}", r#"{"f:number":{}}"#, "{}"]),
        ("a number written otherwise", json!({"number": 1}), json!({"number": 1.0}), ["{}", "{}", "{}"]),
        (
            "one more, one less",
            json!({"text": "a"}),
            json!({"flag": true}),
            [r#"{"f:flag":{}}"#, "{}", r#"{"f:text":{}}"#],
        ),
        (
            "a struct comes with what is in it",
            json!({}),
            json!({"part": {"inner": {"name": "a"}}}),
            [r#"{"f:part":{".":{},"f:inner":{".":{},"f:name":{}}}}"#, "{}", "{}"],
        ),
        ("an empty struct comes", json!({}), json!({"part": {}}), [r#"{"f:part":{}}"#, "{}", "{}"]),
        ("null is not empty", json!({"part": null}), json!({"part": {}}), ["{}", r#"{"f:part":{}}"#, "{}"]),
        (
            "a struct gets a field",
            json!({"part": {}}),
            json!({"part": {"name": "a"}}),
            [r#"{"f:part":{"f:name":{}}}"#, "{}", "{}"],
        ),
        (
            "a map",
            json!({"labels": {"a": "1", "b": "1", "c": "1"}}),
            json!({"labels": {"b": "2", "c": "1", "d": "1"}}),
            [r#"{"f:labels":{"f:d":{}}}"#, r#"{"f:labels":{"f:b":{}}}"#, r#"{"f:labels":{"f:a":{}}}"#],
        ),
        (
            "a map becomes null: its entries go, it stays",
            json!({"labels": {"a": "1"}}),
            json!({"labels": null}),
            ["{}", "{}", r#"{"f:labels":{"f:a":{}}}"#],
        ),
        (
            "an atomic map",
            json!({"frozen": {"a": "1"}}),
            json!({"frozen": {"b": "1"}}),
            ["{}", r#"{"f:frozen":{}}"#, "{}"],
        ),
        ("an atomic struct goes", json!({"whole": {"a": "1"}}), json!({}), ["{}", "{}", r#"{"f:whole":{}}"#]),
        ("an atomic list", json!({"args": ["a", "b"]}), json!({"args": ["b", "a"]}), ["{}", r#"{"f:args":{}}"#, "{}"]),
        ("a raw value", json!({"raw": {"a": 1}}), json!({"raw": [1]}), ["{}", r#"{"f:raw":{}}"#, "{}"]),
        (
            "a set",
            json!({"set": ["a", "b"]}),
            json!({"set": ["c", "b"]}),
            [r#"{"f:set":{"v:\"c\"":{}}}"#, "{}", r#"{"f:set":{"v:\"a\"":{}}}"#],
        ),
        ("a set in another order", json!({"set": ["a", "b"]}), json!({"set": ["b", "a"]}), ["{}", "{}", "{}"]),
        (
            "a list",
            json!({"list": [item("a", 1), item("b", 1), item("c", 1)]}),
            json!({"list": [item("c", 2), item("d", 1), item("b", 1)]}),
            [
                r#"{"f:list":{"k:{\"name\":\"d\"}":{".":{},"f:always":{},"f:name":{},"f:number":{},"f:time":{}}}}"#,
                r#"{"f:list":{"k:{\"name\":\"c\"}":{"f:number":{}}}}"#,
                r#"{"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:always":{},"f:name":{},"f:number":{},"f:time":{}}}}"#,
            ],
        ),
        (
            "items in their places",
            json!({"list": [item("b", 1), item("a", 1)]}),
            json!({"list": [item("b", 2), {"name": "a"}]}),
            [
                "{}",
                r#"{"f:list":{"k:{\"name\":\"b\"}":{"f:number":{}}}}"#,
                r#"{"f:list":{"k:{\"name\":\"a\"}":{"f:number":{}}}}"#,
            ],
        ),
        (
            "a default that is written",
            json!({"ports": [{"port": 80}]}),
            json!({"ports": [{"port": 80, "protocol": "TCP"}]}),
            [r#"{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{"f:protocol":{}}}}"#, "{}", "{}"],
        ),
        (
            "an empty list comes, and a list gets its first item",
            json!({"set": []}),
            json!({"set": ["a"], "numbers": []}),
            [r#"{"f:numbers":{},"f:set":{"v:\"a\"":{}}}"#, "{}", "{}"],
        ),
        ("a list comes", json!({}), json!({"set": ["a"]}), [r#"{"f:set":{".":{},"v:\"a\"":{}}}"#, "{}", "{}"]),
        (
            "what cannot be told apart is nobody's",
            json!({"list": [null, {}, item("a", 1)]}),
            json!({"list": [null, {"number": 1}, item("a", 2)]}),
            ["{}", r#"{"f:list":{"k:{\"name\":\"a\"}":{"f:number":{}}}}"#, "{}"],
        ),
    ];
    for (why, old, new, expected) in cases {
        assert_eq!(texts(&compare(named("Spec"), &old, &new)), expected, "{why}");
        let [added, modified, removed] = expected;
        assert_eq!(texts(&compare(named("Spec"), &new, &old)), [removed, modified, added], "{why}, back");
    }
}

#[test]
fn items_that_are_there_more_than_once_are_one() {
    let item = |number: u32| json!({"name": "a", "number": number});
    let b = || json!({"name": "b"});
    let all = |fields: &str| format!(r#"{{"f:list":{{"k:{{\"name\":\"a\"}}":{fields}}}}}"#);
    let parts = r#"{".":{},"f:always":{},"f:name":{},"f:number":{},"f:time":{}}"#;
    let nothing = "{}".to_owned();
    for (why, old, new, expected) in [
        (
            "as they were",
            json!([item(1), item(2)]),
            json!([item(1), item(2)]),
            [nothing.clone(), nothing.clone(), nothing.clone()],
        ),
        (
            "one changed",
            json!([item(1), item(2)]),
            json!([item(1), item(3)]),
            [nothing.clone(), all("{}"), nothing.clone()],
        ),
        (
            "one more of them",
            json!([item(1), item(1)]),
            json!([item(1), item(1), item(1)]),
            [nothing.clone(), all("{}"), nothing.clone()],
        ),
        (
            "another moved",
            json!([item(1), b(), item(2)]),
            json!([b(), item(1), item(2)]),
            [nothing.clone(), nothing.clone(), nothing.clone()],
        ),
        ("a second one", json!([item(1)]), json!([item(1), item(2)]), [all("{}"), nothing.clone(), all(parts)]),
        ("two at once", json!([]), json!([item(1), item(2)]), [all("{}"), nothing.clone(), nothing.clone()]),
        ("one of two is left", json!([item(1), item(2)]), json!([item(2)]), [all(parts), nothing.clone(), all("{}")]),
        (
            "none of two is left",
            json!([item(1), item(2), b()]),
            json!([b()]),
            [nothing.clone(), nothing.clone(), all("{}")],
        ),
    ] {
        assert_eq!(texts(&compare(named("Spec"), &json!({"list": old}), &json!({"list": new}))), expected, "{why}");
    }
}

#[test]
fn without_a_schema_a_value_may_change_its_sort() {
    for (why, old, new, expected) in [
        (
            "a text becomes an object",
            json!({"a": "x"}),
            json!({"a": {"b": 1}}),
            [r#"{"f:a":{"f:b":{}}}"#, r#"{"f:a":{}}"#, "{}"],
        ),
        (
            "a list becomes an object",
            json!({"a": [1]}),
            json!({"a": {"b": 1}}),
            [r#"{"f:a":{"f:b":{}}}"#, r#"{"f:a":{}}"#, "{}"],
        ),
        ("null becomes an object", json!({"a": null}), json!({"a": {"b": 1}}), [r#"{"f:a":{"f:b":{}}}"#, "{}", "{}"]),
        ("null becomes an empty object", json!({"a": null}), json!({"a": {}}), ["{}", r#"{"f:a":{}}"#, "{}"]),
        ("a list is one value", json!({"a": [{"b": 1}]}), json!({"a": [{"b": 2}]}), ["{}", r#"{"f:a":{}}"#, "{}"]),
        ("a list becomes a text", json!({"a": [1]}), json!({"a": "1"}), ["{}", r#"{"f:a":{}}"#, "{}"]),
    ] {
        assert_eq!(texts(&compare(None, &old, &new)), expected, "{why}");
        let [added, modified, removed] = expected;
        assert_eq!(texts(&compare(None, &new, &old)), [removed, modified, added], "{why}, back");
    }
}

#[test]
fn what_go_always_writes_is_there_though_nobody_wrote_it() {
    let shape = kind_shape("v1", "Pod");
    let pod = |containers: Value, status: Value| json!({"spec": {"containers": containers}, "status": status});
    for (why, old, new, expected) in [
        (
            "a struct that was not written is no new one",
            json!({}),
            json!({"status": {"phase": "Running"}}),
            [r#"{"f:status":{"f:phase":{}}}"#, "{}", "{}"],
        ),
        ("nor is an empty one", json!({}), json!({"metadata": {}, "spec": {}, "status": {}}), ["{}", "{}", "{}"]),
        (
            "a list that Go writes as null gets its first item",
            json!({}),
            json!({"spec": {"containers": [{"name": "a", "image": "i"}]}}),
            [
                r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:name":{},"f:resources":{}}}}}"#,
                "{}",
                "{}",
            ],
        ),
        (
            "an item goes with all that Go wrote of it",
            pod(json!([{"name": "a"}, {"name": "b"}]), json!({})),
            pod(json!([{"name": "b"}]), json!({})),
            ["{}", "{}", r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:resources":{}}}}}"#],
        ),
        (
            "times without a time are null",
            json!({}),
            json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
            [
                r#"{"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}}}}"#,
                "{}",
                "{}",
            ],
        ),
        (
            "zero is what was there",
            pod(json!([{"name": "a"}]), json!({})),
            pod(json!([{"name": "a", "resources": {}}]), json!({})),
            ["{}", "{}", "{}"],
        ),
        (
            "so is the zero of a quantity and of a text",
            pod(
                json!([{"name": "a", "env": [{"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "x"}}}]}]),
                json!({}),
            ),
            pod(
                json!([{"name": "a", "env": [{"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "x", "divisor": "0"}}}]}]),
                json!({}),
            ),
            ["{}", "{}", "{}"],
        ),
    ] {
        assert_eq!(texts(&compare(shape, &old, &new)), expected, "{why}");
    }
}

#[test]
fn comparisons_keep_their_word() {
    run("comparisons_keep_their_word", |random| {
        let (old, new) = (spec(random), spec(random));
        let there = compare(named("Spec"), &old, &new);
        let back = compare(named("Spec"), &new, &old);
        assert_eq!(
            (&there.added, &there.modified, &there.removed),
            (&back.removed, &back.modified, &back.added),
            "{old} {new}"
        );
        assert!(there.added.intersection(&there.modified).is_empty(), "{old} {new}");
        assert!(there.removed.intersection(&there.modified).is_empty(), "{old} {new}");
        assert_eq!(compare(named("Spec"), &old, &old), Comparison::default(), "{old}");
        // What is made is added, all of it.
        let made = compare(named("Spec"), &json!({}), &new);
        assert!(made.added.contains(&fields_of(named("Spec"), &new)), "{new}");
        assert!(made.modified.is_empty() && made.removed.is_empty(), "{new}");
    });
}

#[test]
fn long_lists_are_compared_in_time_that_grows_with_them() {
    let items =
        |from: usize| (from..from + 20_000).map(|n| json!({"name": n.to_string(), "number": n})).collect::<Vec<_>>();
    let (old, new) = (json!({"list": items(0)}), json!({"list": items(10_000)}));
    let began = std::time::Instant::now();
    let found = compare(named("Spec"), &old, &new);
    assert_eq!((found.added.len(), found.removed.len()), (10_000 * 5, 10_000 * 5));
    let mut reversed = items(0);
    reversed.reverse();
    assert_eq!(compare(named("Spec"), &old, &json!({"list": reversed})), Comparison::default());
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}
