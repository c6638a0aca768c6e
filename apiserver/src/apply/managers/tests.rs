//! Managed fields: read, written, put together.

use serde_json::json;

use super::*;
use crate::apply::testing::{named, set};

fn entry(manager: &str, operation: &str, api_version: &str, second: i64, fields: &str) -> Value {
    json!({
        "manager": manager, "operation": operation, "apiVersion": api_version,
        "time": Timestamp::from_second(second).unwrap().to_string(),
        "fieldsType": "FieldsV1", "fieldsV1": serde_json::from_str::<Value>(fields).unwrap(),
    })
}
fn update(manager: &str, api_version: &str, second: i64, fields: &[&str]) -> Value {
    let fields: Map<String, Value> = fields.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
    entry(manager, "Update", api_version, second, &Value::Object(fields).to_string())
}
fn again(list: &Value) -> Value {
    Managers::read(list).unwrap().to_value().unwrap_or_default()
}

#[test]
fn entries_are_written_as_they_were_read() {
    let a = r#"{"f:a":{}}"#;
    let mut status = entry("kubelet", "Update", "v1", 5, a);
    status["subresource"] = json!("status");
    let mut timeless = entry("x", "Update", "v1", 0, a);
    timeless.as_object_mut().unwrap().remove("time");
    let list = json!([
        entry("z", "Apply", "apps/v1", 1, a),
        entry("a", "Apply", "apps/v1", 2, a),
        entry("b", "Apply", "v1", 2, a),
        timeless,
        entry("kubelet", "Update", "v1", 5, a),
        status,
        entry("kubelet", "Update", "v2", 5, a),
        entry("aaa", "Update", "v1", 6, a),
    ]);
    assert_eq!(again(&list), list, "appliers first, then by time, name, version and subresource");
    let mut reversed = list.clone();
    reversed.as_array_mut().unwrap().reverse();
    assert_eq!(again(&reversed), list);
    assert_eq!(Managers::read(&Value::Null).unwrap(), Managers::default());
    assert_eq!(Managers::read(&json!([])).unwrap().to_value(), None);
}

#[test]
fn who_applies_is_one_manager_in_all_versions() {
    let (a, b) = (r#"{"f:a":{}}"#, r#"{"f:b":{}}"#);
    let list = json!([entry("x", "Apply", "v1", 1, a), entry("x", "Apply", "v2", 2, b)]);
    assert_eq!(again(&list), json!([entry("x", "Apply", "v2", 2, b)]), "the last entry counts");
    let list = json!([entry("x", "Update", "v1", 1, a), entry("x", "Update", "v2", 2, b)]);
    assert_eq!(again(&list), list);
}

#[test]
fn times_are_kept_to_the_second() {
    let mut list = json!([entry("x", "Apply", "v1", 1, "{}")]);
    list[0]["time"] = json!("2026-01-02T03:04:05.678+01:00");
    assert_eq!(again(&list)[0]["time"], "2026-01-02T02:04:05Z");
}

#[test]
fn what_is_no_list_of_managers_is_refused_in_upstreams_words() {
    let with = |field: &str, value: Value| {
        let mut entry = entry("x", "Apply", "v1", 1, "{}");
        entry[field] = value;
        json!([update("y", "v1", 1, &[]), entry])
    };
    for (list, expected) in [
        (json!({}), "managedFields must be a list of entries"),
        (json!([{}]), "operation must be `Apply` or `Update`"),
        (json!([1]), "operation must be `Apply` or `Update`"),
        (with("operation", json!("update")), "operation must be `Apply` or `Update`"),
        (with("apiVersion", json!("")), "apiVersion must not be empty"),
        (with("fieldsType", json!(null)), "missing fieldsType in managed fields entry 1"),
        (with("fieldsType", json!("FieldsV2")), "invalid fieldsType \"FieldsV2\" in managed fields entry 1"),
        (with("time", json!("now")), "invalid time \"now\" in managed fields entry 1"),
        (with("fieldsV1", json!({"x": {}})), "error decoding set: key must be 2 characters long: \"x\""),
        (with("fieldsV1", json!({"f:x": 1})), "error decoding set: fields are objects within objects, not a number"),
    ] {
        assert_eq!(Managers::read(&list).unwrap_err().to_string(), expected, "{list}");
    }
}

#[test]
fn the_oldest_updates_are_put_together() {
    let numbered = |range: std::ops::RangeInclusive<usize>, version: &str| -> Vec<Value> {
        range.map(|n| update(&format!("m{n:02}"), version, n as i64, &[&format!("f{n:02}")])).collect()
    };
    let ancient = |version: &str, second: i64, fields: &[&str]| update("ancient-changes", version, second, fields);
    let cases = [
        ("as many as are kept", numbered(1..=10, "v1"), numbered(1..=10, "v1")),
        (
            "one more",
            numbered(1..=11, "v1"),
            [vec![ancient("v1", 2, &["f01", "f02"])], numbered(3..=11, "v1")].concat(),
        ),
        (
            "three more",
            numbered(1..=13, "v1"),
            [vec![ancient("v1", 4, &["f01", "f02", "f03", "f04"])], numbered(5..=13, "v1")].concat(),
        ),
        (
            "with what was put together before",
            [vec![ancient("v1", 2, &["a"])], numbered(3..=12, "v1")].concat(),
            [vec![ancient("v1", 3, &["a", "f03"])], numbered(4..=12, "v1")].concat(),
        ),
        (
            "one of another version stays apart until there are two",
            [numbered(1..=1, "v2"), numbered(2..=12, "v1")].concat(),
            [numbered(1..=1, "v2"), vec![ancient("v1", 4, &["f02", "f03", "f04"])], numbered(5..=12, "v1")].concat(),
        ),
        (
            "two versions",
            [numbered(1..=1, "v2"), numbered(2..=2, "v1"), numbered(3..=3, "v2"), numbered(4..=12, "v1")].concat(),
            [vec![ancient("v2", 3, &["f01", "f03"]), ancient("v1", 4, &["f02", "f04"])], numbered(5..=12, "v1")]
                .concat(),
        ),
        (
            "somebody older than what was put together",
            [numbered(1..=1, "v1"), vec![ancient("v1", 2, &["a"])], numbered(3..=11, "v1")].concat(),
            [vec![ancient("v1", 2, &["a", "f01"])], numbered(3..=11, "v1")].concat(),
        ),
        (
            "as many versions as there are entries",
            (1..=12).map(|n| update("m", &format!("v{n}"), n, &["f"])).collect(),
            (1..=12).map(|n| update("m", &format!("v{n}"), n, &["f"])).collect(),
        ),
    ];
    for (why, list, expected) in cases {
        let mut managers = Managers::read(&Value::Array(list)).unwrap();
        managers.cap();
        assert_eq!(managers.to_value(), Some(Value::Array(expected)), "{why}");
        let capped = managers.clone();
        managers.cap();
        assert_eq!(managers, capped, "{why}: twice is once");
    }
    let mut appliers = (0..20).map(|n| entry(&n.to_string(), "Apply", "v1", n, r#"{"f:a":{}}"#)).collect::<Vec<_>>();
    appliers.extend(numbered(1..=10, "v1"));
    let mut managers = Managers::read(&Value::Array(appliers)).unwrap();
    managers.cap();
    assert_eq!(managers.iter().count(), 30, "who applies is always told apart");
}

#[test]
fn names_of_managers_as_conflicts_tell_them() {
    assert_eq!(Manager::applier("", "").to_string(), r#""unknown""#);
    assert_eq!(Manager::updater("a", "apps/v1", "scale").to_string(), r#""a" with subresource "scale" using apps/v1"#);
    assert_eq!(Manager::applier("a", "").api_version, "");
}

#[test]
fn an_entry_that_owns_nothing_goes() {
    let list = json!([
        entry("a", "Apply", "example.com/v1", 1, "{}"),
        entry("b", "Apply", "example.com/v1", 1, r#"{"f:spec":{"f:whole":{"f:a":{}}}}"#),
        entry("c", "Apply", "example.com/v0", 1, r#"{"f:spec":{}}"#),
    ]);
    let mut managers = Managers::read(&list).unwrap();
    let of = ObjectType::plain("example.com/v1", "Thing", named("Thing"));
    managers.fit(&of, &json!({}));
    let left: Vec<(&str, &FieldSet)> = managers.iter().map(|(m, owned)| (m.name.as_str(), &owned.fields)).collect();
    assert_eq!(left, [("b", &set(r#"{"f:spec":{"f:whole":{}}}"#))], "nor does one of a version that is no more stay");
    managers.put(Manager::applier("b", ""), Owned::new("example.com/v1", None, FieldSet::default()));
    assert!(managers.is_empty());
}

#[test]
fn what_nobody_owns() {
    let mut fields = set(
        r#"{"f:apiVersion":{},"f:kind":{},"f:metadata":{".":{},"f:creationTimestamp":{},"f:generation":{},"f:labels":{".":{},"f:a":{}},"f:managedFields":{},"f:name":{},"f:namespace":{},"f:ownerReferences":{},"f:resourceVersion":{},"f:selfLink":{},"f:uid":{}},"f:spec":{".":{}}}"#,
    );
    strip(&mut fields);
    let expected = r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}},"f:ownerReferences":{}},"f:spec":{}}"#;
    assert_eq!(fields.to_fields_v1_text(), expected);
}
