//! What is refused of a schema, and in which words.

use serde_json::{Value, json};

use super::super::testing::props;
use super::*;

fn found_of(schema: Value, has_status: bool) -> Vec<String> {
    let mut problems = Problems::default();
    let spec = Path::root("spec");
    let at = spec.field("s");
    check(&props(schema), has_status, &mut Allowance::default(), &at, &mut problems);
    let mut told: Vec<String> = problems.causes().iter().map(ToString::to_string).collect();
    told.sort();
    told
}
fn found(schema: Value) -> Vec<String> {
    found_of(schema, false)
}
/// Of a schema for a field `f`.
fn of_field(schema: Value) -> Vec<String> {
    found(json!({"type": "object", "properties": {"f": schema}}))
}

#[test]
fn a_good_schema_is_good() {
    let schema = json!({"type": "object", "required": ["spec"], "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}},
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer", "format": "int32", "minimum": 0, "default": 1},
            "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true},
            "port2": {"allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}], "x-kubernetes-int-or-string": true},
            "choice": {"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "^b"}]},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["p"],
                "items": {"type": "object", "required": ["p"], "properties": {"p": {"type": "integer"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    assert_eq!(found(schema.clone()), Vec::<String>::new());
    assert_eq!(found_of(schema, true), Vec::<String>::new());
}

#[test]
fn what_is_not_structural() {
    let mut wrong = Vec::new();
    for (schema, expected) in [
        (json!({}), vec!["spec.s.properties[f].type: Required value: must not be empty for specified object fields"]),
        (json!({"type": "array"}), vec!["spec.s.properties[f].items: Required value: must be specified"]),
        (
            json!({"type": "array", "items": {}}),
            vec!["spec.s.properties[f].items.type: Required value: must not be empty for specified array items"],
        ),
        (
            json!({"type": "object", "anyOf": [{"type": "object", "properties": {"x": {"minimum": 1}}}]}),
            vec!["spec.s.properties[f].anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            json!({"type": "string", "pattern": "("}),
            vec![
                r#"spec.s.properties[f].pattern: Invalid value: "(": must be a valid regular expression, but isn't: unclosed group"#,
            ],
        ),
        (
            json!({"type": "string", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            vec![
                r#"spec.s.properties[f].type: Invalid value: "string": must be object if x-kubernetes-embedded-resource is true"#,
            ],
        ),
    ] {
        let told = of_field(schema.clone());
        if told != expected {
            wrong.push(format!("{schema}: {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (schema, expected) in [
        (json!({"properties": {}}), "spec.s.type: Required value: must not be empty at the root"),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            r#"spec.s.type: Invalid value: "array": must be object at the root"#,
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            "spec.s.additionalProperties: Forbidden: must not be used at the root",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            "spec.s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
        (
            json!({"type": "object", "nullable": true}),
            "spec.s.nullable: Forbidden: nullable cannot be true at the root",
        ),
    ] {
        assert_eq!(found(schema), [expected]);
    }
}

#[test]
fn what_no_schema_may_say() {
    let mut wrong = Vec::new();
    for (schema, expected) in [
        (json!({"$ref": "#/a"}), &["$ref: Forbidden: $ref is not supported"][..]),
        (
            json!({"type": "object", "definitions": {"a": {}}}),
            &["definitions: Forbidden: definitions is not supported"],
        ),
        (json!({"type": "object", "dependencies": {}}), &["dependencies: Forbidden: dependencies is not supported"]),
        (
            json!({"type": "text"}),
            &[
                r#"type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string""#,
            ],
        ),
        (
            json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}}),
            &[
                "uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            &["additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
        ),
        (
            json!({"type": "object", "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]}),
            &["allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"],
        ),
        (
            json!({"type": "object", "x-kubernetes-validations": [{"rule": ""}]}),
            &["x-kubernetes-validations[0].rule: Required value: rule is not specified"],
        ),
        (
            json!({"type": "string", "x-kubernetes-list-type": "set"}),
            &[r#"type: Invalid value: "string": must be array if x-kubernetes-list-type is specified"#],
        ),
        (
            json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"}),
            &[
                "items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set",
            ],
        ),
        (
            json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
            &["x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"],
        ),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
            &[
                "items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        ),
    ] {
        let told = of_field(schema.clone());
        let mut expected: Vec<String> = expected.iter().map(|words| format!("spec.s.properties[f].{words}")).collect();
        expected.sort();
        if told != expected {
            wrong.push(format!("{schema}: {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn defaults_are_values_of_their_schema() {
    for (schema, expected) in [
        (json!({"type": "string", "default": "a"}), None),
        (
            json!({"type": "string", "default": 1}),
            Some(r#": Invalid value: "integer":  in body must be of type string: "integer""#),
        ),
        (
            json!({"type": "object", "default": {"a": 1}, "properties": {"b": {"type": "string"}}}),
            Some(r#": Invalid value: {"a":1}: must not have unknown fields"#),
        ),
        (
            json!({"type": "object", "default": {"b": 1}, "properties": {"b": {"type": "string"}}}),
            Some(r#".b: Invalid value: "integer": b in body must be of type string: "integer""#),
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
                "default": {"apiVersion": "v1"}}),
            Some(".kind: Required value: must not be empty"),
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
                "default": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": 1}}}),
            Some(
                r#": Invalid value: {"apiVersion":"v1","kind":"Pod","metadata":{"labels":1}}: .metadata: Invalid value: {"labels":1}: "#,
            ),
        ),
        (
            json!({"type": "object", "properties": {"in": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}},
                "default": {"in": {"apiVersion": "v1"}}}),
            Some(".in.kind: Required value: must not be empty"),
        ),
    ] {
        let expected: Vec<String> =
            expected.iter().map(|words| format!("spec.s.properties[f].default{words}")).collect();
        let told = of_field(schema.clone());
        let begins = told.iter().zip(&expected).all(|(told, expected)| told.starts_with(expected));
        assert!(told.len() == expected.len() && begins, "{schema}: {told:?}");
    }
    let top = json!({"type": "object", "properties": {"kind": {"type": "string", "default": "a"}}});
    assert_eq!(found(top), ["spec.s.properties[kind].default: Forbidden: must not be set in top-level kind"]);
}

#[test]
fn defaults_keep_the_rules() {
    let of = |default: Value, rules: Value| {
        of_field(json!({"type": "object", "default": default, "x-kubernetes-validations": rules, "properties": {
            "n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self != 3", "message": "not 3"}]},
            "list": {"type": "array", "maxItems": 5, "items": {"type": "integer"}},
        }}))
    };
    let at = "spec.s.properties[f].default";
    for (why, default, rule, expected) in [
        ("kept", json!({"n": 1}), json!({"rule": "self.n < 5"}), vec![]),
        (
            "broken",
            json!({"n": 7}),
            json!({"rule": "self.n < 5", "message": "small"}),
            vec![format!("{at}: Invalid value: small")],
        ),
        ("further in", json!({"n": 3}), json!({"rule": "true"}), vec![format!("{at}.n: Invalid value: 3: not 3")]),
        (
            "of one that was so before",
            json!({"n": 1}),
            json!({"rule": "self.n > oldSelf.n", "message": "grows"}),
            vec![format!("{at}: Invalid value: grows")],
        ),
        (
            "of one that was not there",
            json!({"n": 1}),
            json!({"rule": "oldSelf.hasValue()", "optionalOldSelf": true, "message": "never made"}),
            vec![format!("{at}: Invalid value: never made")],
        ),
    ] {
        assert_eq!(of(default, json!([rule])), expected, "{why}");
    }
}

#[test]
fn patterns_are_few_and_small() {
    let many = |n: usize| {
        let field = |i: usize| (format!("f{i}"), json!({"type": "string", "pattern": format!("^a{i}$")}));
        let fields: serde_json::Map<String, Value> = (0..n).map(field).collect();
        found(json!({"type": "object", "properties": fields}))
    };
    assert_eq!(many(256), Vec::<String>::new());
    let told = many(600);
    assert!(told.len() == 1 && told[0].contains("at most 256 different patterns"), "{told:?}");
    // Each of these would be refused after the same work.
    let flaws: Vec<Value> = (0..10_000).map(|_| json!({"pattern": r"(\pL{100}){10}"})).collect();
    let told = of_field(json!({"type": "string", "anyOf": flaws}));
    assert!(told[0].contains("must be a valid regular expression"), "{}", told[0]);
}

#[test]
fn with_a_status_of_its_own_the_root_is_plain() {
    let told = found_of(json!({"type": "object", "minProperties": 1}), true);
    assert!(
        told.len() == 1 && told[0].contains("fields are allowed at the root of the schema if the status"),
        "{told:?}"
    );
}

#[test]
fn formats_that_nobody_knows_are_told_of_once() {
    let mut told = Vec::new();
    let field = |format: &str| json!({"type": "string", "format": format});
    let schema = json!({"type": "object", "properties": {"a": field("x"), "b": field("x"), "c": field("uri"), "d": {"type": "integer", "format": "int32"}}});
    unknown_formats(&props(schema), &mut told);
    assert_eq!(told, ["x"]);
}
