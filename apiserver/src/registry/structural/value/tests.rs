//! Each keyword, in upstream's words.

use super::super::testing::schema;
use super::*;

fn found(of: Value, value: Value) -> Vec<String> {
    found_after(of, value, None)
}
fn found_after(of: Value, value: Value, old: Option<Value>) -> Vec<String> {
    let mut problems = Problems::default();
    check(&value, old.as_ref(), &schema(of), "", &mut problems);
    problems.causes().iter().map(ToString::to_string).collect()
}
/// Of a field `f`.
fn of_field(of: Value, value: Value) -> Vec<String> {
    found(json!({"type": "object", "properties": {"f": of}}), json!({"f": value}))
}

#[test]
fn every_keyword_has_its_words() {
    let cases: &[(Value, Value, &str)] = &[
        (
            json!({"type": "integer"}),
            json!("1"),
            r#"f: Invalid value: "string": f in body must be of type integer: "string""#,
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            r#"f: Invalid value: "number": f in body must be of type integer: "number""#,
        ),
        (json!({"type": "integer"}), json!(1.0), ""),
        (json!({"type": "number"}), json!(1), ""),
        (
            json!({"type": "string"}),
            json!(null),
            r#"f: Invalid value: "null": f in body must be of type string: "null""#,
        ),
        (json!({"type": "string", "nullable": true}), json!(null), ""),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            r#"f: Invalid value: "boolean": f in body must be of type integer,string: "boolean""#,
        ),
        (json!({"x-kubernetes-int-or-string": true}), json!("25%"), ""),
        (json!({"type": "string", "maxLength": 2}), json!("abc"), "f: Too long: may not be more than 2 bytes"),
        (json!({"type": "string", "maxLength": 2}), json!("\u{df}\u{df}"), ""),
        (
            json!({"type": "string", "minLength": 2}),
            json!("a"),
            r#"f: Invalid value: "a": f in body should be at least 2 chars long"#,
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            r#"f: Invalid value: "b": f in body should match '^a+$'"#,
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            r#"f: Unsupported value: "c": supported values: "a", "b""#,
        ),
        (json!({"type": "integer", "enum": [1, 2]}), json!(1.0), ""),
        (
            json!({"type": "integer", "maximum": 10}),
            json!(11),
            "f: Invalid value: 11: f in body should be less than or equal to 10",
        ),
        (
            json!({"type": "integer", "maximum": 10, "exclusiveMaximum": true}),
            json!(10),
            "f: Invalid value: 10: f in body should be less than 10",
        ),
        (
            json!({"type": "number", "minimum": 0.5}),
            json!(0.25),
            "f: Invalid value: 0.25: f in body should be greater than or equal to 0.5",
        ),
        (
            json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
            json!(1),
            "f: Invalid value: 1: f in body should be greater than 1",
        ),
        (
            json!({"type": "integer", "multipleOf": 3}),
            json!(7),
            "f: Invalid value: 7: f in body should be a multiple of 3",
        ),
        (json!({"type": "number", "multipleOf": 0.1}), json!(0.3), ""),
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            "f: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            json!([]),
            "f: Invalid value: 0: f in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!(["a", 1]),
            r#"f[1]: Invalid value: "integer": f[1] in body must be of type string: "integer""#,
        ),
        (json!({"type": "object", "maxProperties": 0}), json!({"a": 1}), "f: Too many: 1: must have at most 0 items"),
        (
            json!({"type": "object", "minProperties": 1}),
            json!({}),
            "f: Invalid value: 0: f in body should have at least 1 properties",
        ),
        (json!({"type": "object", "required": ["a"]}), json!({}), "f.a: Required value"),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"a": 1}),
            r#"f.a: Invalid value: "integer": f.a in body must be of type string: "integer""#,
        ),
        (
            json!({"type": "object", "additionalProperties": false}),
            json!({"a": 1}),
            r#"f: Invalid value: "a": f.a in body is a forbidden property"#,
        ),
        (
            json!({"type": "string", "format": "ipv4"}),
            json!("1.2.3"),
            r#"f: Invalid value: "1.2.3": f in body must be of type ipv4: "1.2.3""#,
        ),
        (json!({"type": "string", "format": "of nobody"}), json!("x"), ""),
        (
            json!({"type": "string", "pattern": "("}),
            json!("b"),
            r#"f: Invalid value: "b": f in body should match '(, but pattern is invalid: unclosed group'"#,
        ),
    ];
    for (of, value, expected) in cases {
        assert_eq!(of_field(of.clone(), value.clone()).join("; "), *expected, "{of} {value}");
    }
}

#[test]
fn several_schemas() {
    let low_or_high = json!([{"maximum": 1}, {"minimum": 9}]);
    assert!(of_field(json!({"type": "integer", "anyOf": low_or_high}), json!(1)).is_empty());
    assert_eq!(
        of_field(json!({"type": "integer", "anyOf": low_or_high}), json!(5)),
        [
            r#"<nil>: Invalid value: "": "f" must validate at least one schema (anyOf)"#,
            "f: Invalid value: 5: f in body should be less than or equal to 1",
        ]
    );
    assert_eq!(
        of_field(json!({"type": "integer", "oneOf": [{"maximum": 5}, {"minimum": 5}]}), json!(5)),
        [r#"<nil>: Invalid value: "": "f" must validate one and only one schema (oneOf). Found 2 valid alternatives"#]
    );
    let required = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    assert_eq!(
        of_field(required, json!({}))[0],
        r#"<nil>: Invalid value: "": "f" must validate one and only one schema (oneOf). Found none valid"#
    );
    assert_eq!(
        of_field(json!({"type": "integer", "allOf": [{"maximum": 1}, {"minimum": 0}]}), json!(2)),
        [
            "f: Invalid value: 2: f in body should be less than or equal to 1",
            r#"<nil>: Invalid value: "": "f" must validate all the schemas (allOf)"#,
        ]
    );
    assert_eq!(
        of_field(json!({"type": "integer", "not": {"minimum": 1}}), json!(2)),
        [r#"<nil>: Invalid value: "": "f" must not validate the schema (not)"#]
    );
}

#[test]
fn what_is_wrong_at_the_root_has_no_path() {
    let object = json!({"type": "object", "required": ["spec"]});
    assert_eq!(found(object.clone(), json!({})), ["spec: Required value"]);
    assert_eq!(
        found(object.clone(), json!([])),
        [r#"<nil>: Invalid value: "array":  in body must be of type object: "array""#]
    );
    let mut problems = Problems::default();
    let of = schema(json!({"type": "object", "properties": {"n": {"type": "integer"}}}));
    check(&json!({"n": "1"}), None, &of, "status", &mut problems);
    assert_eq!(
        problems.causes()[0].to_string(),
        r#"status.n: Invalid value: "string": n in body must be of type integer: "string""#
    );
}

#[test]
fn whether_a_value_has_the_shape_that_is_wanted() {
    let text = json!({"type": "string", "pattern": "^a", "maxLength": 3, "enum": ["a", "b", "abcd"]});
    let many: Vec<Value> = (0..3000).map(|n| json!({"enum": [n]})).collect();
    let costly = json!({"type": "array", "items": {"type": "integer", "anyOf": many}});
    let patterns = json!({"type": "array", "items": {"type": "string", "pattern": "^a"}});
    for (why, of, value, expected) in [
        ("good", text.clone(), json!("a"), Shape::AsWanted),
        ("a fault that leaves it", text.clone(), json!("b"), Shape::AsWanted),
        ("another type", text.clone(), json!(1), Shape::Otherwise),
        ("too long", text.clone(), json!("abcd"), Shape::Otherwise),
        ("none of those that may be", text, json!("ab"), Shape::Otherwise),
        ("not there", json!({"type": "object", "required": ["a"]}), json!({}), Shape::Otherwise),
        ("not looked at to the end", costly, json!(vec![-1; 20_000]), Shape::Unknown),
        ("all that is wrong is kept", patterns.clone(), json!(vec!["b"; 1000]), Shape::AsWanted),
        ("more is wrong than is kept", patterns.clone(), json!(vec!["b"; 1001]), Shape::Unknown),
        ("more than is told", patterns, json!(vec!["b".repeat(100_000); 50]), Shape::Unknown),
    ] {
        assert_eq!(check(&value, None, &schema(of), "", &mut Problems::default()), expected, "{why}");
    }
}

#[test]
fn what_has_not_changed_is_not_asked_about_again() {
    let of = json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1},
        "b": {"type": "string"},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
    }});
    let old = json!({"a": "long", "b": "x", "list": [{"k": "1", "v": 5}]});
    let after = |new: Value| found_after(of.clone(), new, Some(old.clone())).len();
    assert_eq!(after(json!({"a": "long", "b": "y", "list": [{"k": "0", "v": 0}, {"k": "1", "v": 5}]})), 0);
    assert_eq!(after(json!({"a": "longer", "b": "x", "list": [{"k": "1", "v": 6}]})), 2);
}

#[test]
fn a_schema_that_is_made_to_be_slow_is_given_up() {
    let many: Vec<Value> = (0..3000).map(|n| json!({"enum": [n]})).collect();
    let of = json!({"type": "array", "items": {"type": "integer", "anyOf": many}});
    let told = found(of, json!(vec![-1; 20_000]));
    assert!(told.len() == 1 && told[0].contains("too costly"), "{:?}", told.last());
}

#[test]
fn what_is_kept_of_faults_is_bounded() {
    let long = "n".repeat(100_000);
    let of = json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}});
    let told = found(of, json!({long: vec![1; 100_000]}));
    let bytes: usize = told.iter().map(String::len).sum();
    assert!((1000..=1001).contains(&told.len()) && bytes < 3_000_000, "{} of {bytes} bytes", told.len());
    let many: Vec<String> = (0..2000).map(|n| format!("{n:0>1000}")).collect();
    let of = json!({"type": "array", "items": {"type": "string", "enum": many}});
    let told = found(of, json!(vec!["x"; 2000]));
    let bytes: usize = told.iter().map(String::len).sum();
    assert!(told.len() < 10 && bytes < 8 * 1024 * 1024, "{} of {bytes} bytes", told.len());
    assert!(told.last().unwrap().ends_with("more that are not told"), "{:?}", told.last());
}

#[test]
fn what_alternatives_find_takes_no_room_from_what_is_wrong() {
    let of = json!({"type": "object", "properties": {
        "a": {"type": "array", "items": {"type": "integer", "anyOf": [{"maximum": 0}, {"minimum": 1}]}},
        "b": {"type": "string"},
    }});
    let told = found(of, json!({"a": vec![1; 5000], "b": 1}));
    assert_eq!(told, [r#"b: Invalid value: "integer": b in body must be of type string: "integer""#]);
}

#[test]
fn items_of_a_long_list_are_found_by_their_keys() {
    let of = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "l"],
        "items": {"type": "object", "properties": {"k": {"type": "integer"}, "v": {"type": "integer", "maximum": 1}}}});
    let list = |v: i64| -> Value { (0..100_000).map(|k| json!({"k": k, "v": if k == 7 { v } else { 5 }})).collect() };
    assert!(found_after(of.clone(), list(9), Some(list(5))).len() == 1);
    let bounded = json!({"type": "array", "maxItems": 2, "items": {"type": "string"}});
    assert_eq!(found(bounded, json!(vec![1; 100_000])).len(), 3, "two that are looked at, and that they are too many");
}

#[test]
fn what_is_compared_and_scanned_is_paid_for() {
    let too_costly = |of: Value, value: Value, old: Option<Value>| {
        let told = found_after(of, value, old);
        told.len() == 1 && told[0].contains("too costly")
    };
    // A million bytes are looked at each time.
    let many = |one: Value| json!({"type": "string", "anyOf": vec![one; 100]});
    let text = "a".repeat(1_000_000);
    assert!(too_costly(many(json!({"maxLength": 1})), json!(text), None));
    assert!(too_costly(many(json!({"format": "ipv4"})), json!(text), None));
    assert!(too_costly(json!({"type": "string", "pattern": r"^\pL{15}$"}), json!(text), None));
    assert!(too_costly(many(json!({"enum": [format!("{}b", "a".repeat(999_999))]})), json!(text), None));
    let fields: Map<String, Value> = (0..10_000).map(|n| (format!("f{n}"), json!(n))).collect();
    let part = json!({"properties": {"f0": {"minimum": 1}}});
    assert!(too_costly(json!({"type": "object", "anyOf": vec![part; 3000]}), json!(fields), None));
    let deep = |last: i64| {
        let list: Vec<Value> = (0..200_000).map(Value::from).chain([json!(last)]).collect();
        (0..40).fold(Value::Array(list), |inner, _| Map::from_iter([("a".to_owned(), inner)]).into())
    };
    let of = (0..40).fold(json!({"type": "array"}), |inner, _| json!({"type": "object", "properties": {"a": inner}}));
    assert!(too_costly(of, deep(1), Some(deep(2))));
}

#[test]
fn numbers_print_as_in_go() {
    for (value, text) in [(10.0, "10"), (0.5, "0.5"), (1e21, "1e+21"), (1e-7, "1e-07"), (0.0, "0")] {
        assert_eq!(go_float(value), text);
    }
}
