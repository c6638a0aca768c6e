//! Configurations that are not of their type, in upstream's words.

use serde_json::json;

use super::*;
use crate::apply::testing::{kind_shape, named};

fn told(spec: &Value) -> String {
    Mismatches::of(named("Spec"), spec).to_string()
}

#[test]
fn configurations_that_are_of_their_type() {
    for spec in [
        json!(null),
        json!({}),
        json!({"number": 1.5, "text": "", "flag": false, "pointer": null, "size": 1, "time": "x", "raw": [{"a": [null]}]}),
        json!({"labels": {"a": null}, "maps": {"x": {"inner": {"inner": {}}}}, "nested": {"a": {}}, "frozen": {}}),
        json!({"args": ["a", null, "a"], "set": ["a", "b"], "list": [{"name": "a"}, {"name": "b"}], "shares": {"a": ["x"]}}),
        json!({"ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}, {"protocol": "UDP"}]}),
    ] {
        assert!(Mismatches::of(named("Spec"), &spec).is_empty(), "{spec}: {}", told(&spec));
    }
    assert!(Mismatches::of(None, &json!({"any": [1, {}]})).is_empty());
}

#[test]
fn mismatches_are_told_in_upstreams_words() {
    for (spec, expected) in [
        (json!([]), "expected map, got &{[]}"),
        (json!({"foo": 1}), ".foo: field not declared in schema"),
        (json!({"part": {"foo": 1}}), ".part.foo: field not declared in schema"),
        (json!({"part": "a"}), ".part: expected map, got &{a}"),
        (json!({"labels": ["a"]}), r#".labels: expected map, got &{["a"]}"#),
        (json!({"labels": {"a": 1}}), ".labels.a: expected string, got &value.valueUnstructured{Value:1}"),
        (json!({"text": true}), ".text: expected string, got &value.valueUnstructured{Value:true}"),
        (json!({"number": "1"}), ".number: expected numeric (int or float), got string"),
        (json!({"pointer": {}}), ".pointer: expected numeric (int or float), got map[string]interface {}"),
        (json!({"flag": "true"}), ".flag: expected boolean, got &{true}"),
        (json!({"size": []}), ".size: expected any scalar, got &{[]}"),
        (json!({"list": {}}), ".list: expected list, got &{{}}"),
        (json!({"args": "a"}), ".args: expected list, got &{a}"),
        (json!({"args": [1]}), ".args[0]: expected string, got &value.valueUnstructured{Value:1}"),
        (
            json!({"list": [{"name": "a", "number": "1"}]}),
            r#".list[name="a"].number: expected numeric (int or float), got string"#,
        ),
        (
            json!({"list": [{"name": "a"}, {}]}),
            r#".list: element 1: associative list with keys has an element that omits all key fields ["name"] (and doesn't have default values for any key fields)"#,
        ),
        (json!({"list": [null]}), ".list: element 0: associative list with keys may not have a null element"),
        (json!({"list": [1]}), ".list: element 0: associative list with keys may not have non-map elements"),
        (
            json!({"list": [{"name": []}]}),
            ".list: element 0: associative list with keys has an element whose key field \"name\" is not a scalar",
        ),
        (json!({"set": [{}]}), ".set: element 0: associative list without keys has an element that's a map type"),
        (json!({"set": [[]]}), ".set: element 0: not supported: associative list with lists as elements"),
        (
            json!({"set": [null]}),
            ".set: element 0: associative list without keys has an element that's an explicit null",
        ),
        (json!({"set": ["a", "b", "a"]}), r#".set: duplicate entries for key [="a"]"#),
        (json!({"list": [{"name": "a"}, {"name": "a"}]}), r#".list: duplicate entries for key [name="a"]"#),
        (
            json!({"ports": [{"port": 80}, {"port": 80, "protocol": "TCP"}]}),
            r#".ports: duplicate entries for key [port=80,protocol="TCP"]"#,
        ),
        (
            json!({"foo": 1, "number": "1"}),
            "errors:\n  .foo: field not declared in schema\n  .number: expected numeric (int or float), got string",
        ),
    ] {
        assert_eq!(told(&spec), expected, "{spec}");
    }
}

#[test]
fn a_field_of_a_deployment_that_is_none() {
    let deployment = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "imagee": "x"}]}}}});
    let found = Mismatches::of(kind_shape("apps/v1", "Deployment"), &deployment);
    assert_eq!(found.to_string(), r#".spec.template.spec.containers[name="web"].imagee: field not declared in schema"#);
}

#[test]
fn a_hundred_mismatches_are_told_and_long_ones_are_cut() {
    let many: serde_json::Map<String, Value> = (0..150).map(|n| (format!("{n:03}"), json!(1))).collect();
    let shown = told(&many.into());
    assert!(shown.ends_with("\n  .099: field not declared in schema\n  and 50 more"), "{shown}");
    let name = "x".repeat(1 << 20);
    assert!(told(&json!({ &name: 1 })).len() < 2000);
    assert!(told(&json!({"labels": {"a": [&name]}})).len() < 3000);
}
