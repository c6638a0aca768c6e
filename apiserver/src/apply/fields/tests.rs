//! The fields of values of every form.

use serde_json::json;

use super::*;
use crate::apply::testing::{kind_shape, named, set};

#[test]
fn fields_table() {
    let cases = [
        (
            "plain values",
            json!({"number": 1, "text": "a", "flag": false}),
            r#"{"f:flag":{},"f:number":{},"f:text":{}}"#,
        ),
        ("null is said, too", json!({"number": null, "part": null}), r#"{"f:number":{},"f:part":{}}"#),
        ("a quantity, a time", json!({"size": "1Gi", "time": null}), r#"{"f:size":{},"f:time":{}}"#),
        ("a struct is none of its fields", json!({"part": {"name": "a"}}), r#"{"f:part":{"f:name":{}}}"#),
        ("but an empty one is", json!({"part": {}}), r#"{"f:part":{}}"#),
        ("entries of a map", json!({"labels": {"a": "1", "b": ""}}), r#"{"f:labels":{"f:a":{},"f:b":{}}}"#),
        ("an empty map", json!({"labels": {}}), r#"{"f:labels":{}}"#),
        (
            "entries are fields, whatever is in them",
            json!({"maps": {"a": {"name": "x"}, "b": {}}}),
            r#"{"f:maps":{"f:a":{".":{},"f:name":{}},"f:b":{}}}"#,
        ),
        ("maps in maps", json!({"nested": {"a": {"b": "c"}}}), r#"{"f:nested":{"f:a":{".":{},"f:b":{}}}}"#),
        ("an atomic struct", json!({"whole": {"a": "1"}}), r#"{"f:whole":{}}"#),
        ("an empty atomic struct", json!({"whole": {}}), r#"{"f:whole":{}}"#),
        ("an atomic map", json!({"frozen": {"a": "1"}}), r#"{"f:frozen":{}}"#),
        ("an atomic list", json!({"args": ["a", "a"]}), r#"{"f:args":{}}"#),
        ("an empty atomic list", json!({"args": []}), r#"{"f:args":{}}"#),
        ("lists in a map are atomic", json!({"shares": {"a": ["x"]}}), r#"{"f:shares":{"f:a":{}}}"#),
        ("raw values are one", json!({"raw": {"a": {"b": [1]}}}), r#"{"f:raw":{}}"#),
        ("a set", json!({"set": ["b", "a"]}), r#"{"f:set":{"v:\"a\"":{},"v:\"b\"":{}}}"#),
        ("a set of numbers", json!({"numbers": [3.5, 1, 2]}), r#"{"f:numbers":{"v:1":{},"v:2":{},"v:3.5":{}}}"#),
        ("a set of booleans", json!({"bits": [true, false]}), r#"{"f:bits":{"v:false":{},"v:true":{}}}"#),
        ("nothing of an empty set", json!({"set": [], "list": []}), "{}"),
        ("null for a list is said", json!({"set": null}), r#"{"f:set":{}}"#),
        (
            "what is twice in a set is one",
            json!({"set": ["a", "b", "a", "a"]}),
            r#"{"f:set":{"v:\"a\"":{},"v:\"b\"":{}}}"#,
        ),
        (
            "items are fields, and have some",
            json!({"list": [{"name": "b", "number": 1}, {"name": "a", "set": ["x"]}]}),
            r#"{"f:list":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:set":{"v:\"x\"":{}}},"k:{\"name\":\"b\"}":{".":{},"f:name":{},"f:number":{}}}}"#,
        ),
        (
            "what is twice in a list is one, and nobody's parts",
            json!({"list": [{"name": "a", "number": 1}, {"name": "b"}, {"name": "a", "other": 1}]}),
            r#"{"f:list":{"k:{\"name\":\"a\"}":{},"k:{\"name\":\"b\"}":{".":{},"f:name":{}}}}"#,
        ),
        (
            "a key that is not said is its default",
            json!({"ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}]}),
            r#"{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":80,\"protocol\":\"UDP\"}":{".":{},"f:port":{},"f:protocol":{}}}}"#,
        ),
        (
            "a key without a default is left out of the key",
            json!({"ports": [{"protocol": "UDP"}]}),
            r#"{"f:ports":{"k:{\"protocol\":\"UDP\"}":{".":{},"f:protocol":{}}}}"#,
        ),
        (
            "items that cannot be told apart are nobody's",
            json!({"list": [null, 1, {}, {"name": {}}], "set": [null, {}, []]}),
            "{}",
        ),
    ];
    for (why, value, expected) in cases {
        assert_eq!(fields_of(named("Spec"), &value).to_fields_v1_text(), expected, "{why}");
    }
}

#[test]
fn without_a_schema_objects_have_parts_and_nothing_else_has() {
    let value = json!({"a": {"b": {"c": 1}, "d": {}}, "list": [{"name": "x"}], "n": null});
    let expected = r#"{"f:a":{".":{},"f:b":{".":{},"f:c":{}},"f:d":{}},"f:list":{},"f:n":{}}"#;
    assert_eq!(fields_of(None, &value).to_fields_v1_text(), expected);
}

#[test]
fn a_deployment_is_owned_as_upstream_has_it() {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx",
                "args": ["-v"], "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}}}]}}},
    });
    let expected = r#"{"f:apiVersion":{},"f:kind":{},"f:metadata":{"f:labels":{"f:app":{}},"f:name":{}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:args":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"f:resources":{"f:limits":{"f:cpu":{}}}}}}}}}"#;
    assert_eq!(fields_of(kind_shape("apps/v1", "Deployment"), &deployment).to_fields_v1_text(), expected);
}

#[test]
fn structs_are_added_and_nothing_else() {
    let mut fields = set(
        r#"{"f:part":{"f:inner":{"f:name":{}}},"f:labels":{"f:a":{}},"f:maps":{"f:x":{"f:name":{}}},"f:list":{"k:{\"name\":\"a\"}":{"f:always":{"f:name":{}}}},"f:odd":{"f:x":{}},"f:text":{}}"#,
    );
    with_structs(&mut fields, Place::root(named("Spec")));
    let expected = r#"{"f:labels":{".":{},"f:a":{}},"f:list":{".":{},"k:{\"name\":\"a\"}":{"f:always":{".":{},"f:name":{}}}},"f:maps":{".":{},"f:x":{"f:name":{}}},"f:odd":{"f:x":{}},"f:part":{".":{},"f:inner":{".":{},"f:name":{}}},"f:text":{}}"#;
    assert_eq!(fields.to_fields_v1_text(), expected);
}

#[test]
fn what_has_become_atomic_is_owned_as_one() {
    for (why, before, expected) in [
        ("a struct", r#"{"f:whole":{"f:a":{}}}"#, r#"{"f:whole":{}}"#),
        ("a map", r#"{"f:frozen":{".":{},"f:a":{}}}"#, r#"{"f:frozen":{}}"#),
        ("a list", r#"{"f:args":{"v:\"a\"":{},"i:0":{}}}"#, r#"{"f:args":{}}"#),
        ("a raw value", r#"{"f:raw":{"f:a":{"f:b":{}}}}"#, r#"{"f:raw":{}}"#),
        (
            "deep within",
            r#"{"f:shares":{"f:x":{"v:\"a\"":{}}},"f:part":{"f:inner":{"f:name":{}}}}"#,
            r#"{"f:part":{"f:inner":{"f:name":{}}},"f:shares":{"f:x":{}}}"#,
        ),
        (
            "what was atomic and is no more stays as it is",
            r#"{"f:labels":{},"f:list":{}}"#,
            r#"{"f:labels":{},"f:list":{}}"#,
        ),
        ("what is unknown stays", r#"{"f:odd":{"f:x":{}}}"#, r#"{"f:odd":{"f:x":{}}}"#),
    ] {
        let mut fields = set(before);
        fit(&mut fields, Place::root(named("Spec")));
        assert_eq!(fields.to_fields_v1_text(), expected, "{why}");
    }
}
