//! When entries are renewed unread.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::apply::testing::set;

fn entry(manager: &str, operation: &str, second: i64, fields: &str) -> ManagedFieldsEntry {
    let entry = json!({
        "manager": manager, "operation": operation, "apiVersion": "v1",
        "time": Timestamp::from_second(second).unwrap().to_string(),
        "fieldsType": "FieldsV1", "fieldsV1": serde_json::from_str::<Value>(fields).unwrap(),
    });
    serde_json::from_value(entry).unwrap()
}
fn changed(set_fields: &str, removed: &str) -> Changed {
    Changed { set: set(set_fields), removed: set(removed) }
}
fn author(manager: &str) -> Author<'_> {
    Author { manager, subresource: "", now: Timestamp::from_millisecond(9_500).unwrap() }
}

#[test]
fn typed_entries_are_read_and_written_as_those_of_json_are() {
    let mut status = entry("kubelet", "Update", 5, r#"{"f:a":{}}"#);
    status.subresource = Some("status".into());
    let mut timeless = entry("", "Update", 0, r#"{"f:a":{".":{},"f:b":{}}}"#);
    (timeless.time, timeless.manager) = (None, None);
    let entries = vec![entry("z", "Apply", 7, r#"{"f:a":{}}"#), timeless, status];
    let list = serde_json::to_value(&entries).unwrap();
    let managers = Managers::of_entries(&entries).unwrap();
    assert_eq!(managers, Managers::read(&list).unwrap());
    assert_eq!(managers.to_entries(), entries);
    assert_eq!(managers.to_value(), Some(list));
    type Spoil = fn(&mut ManagedFieldsEntry);
    let spoilt: [Spoil; 5] = [
        |entry| entry.operation = None,
        |entry| entry.api_version = None,
        |entry| entry.fields_type = None,
        |entry| entry.fields_type = Some("FieldsV2".into()),
        |entry| entry.fields_v1 = Some(FieldsV1(json!(1))),
    ];
    for spoil in spoilt {
        let mut bad = entry("x", "Update", 1, "{}");
        spoil(&mut bad);
        let list = json!([bad]);
        assert_eq!(Managers::of_entries(&[bad]).unwrap_err(), Managers::read(&list).unwrap_err(), "{list}");
    }
}

#[test]
fn only_who_owned_all_that_changed_alone_is_renewed_unread() {
    let one = r#"{"f:a":{},"f:m":{".":{},"f:x":{}},"f:l":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}}}"#;
    let other = r#"{"f:o":{},"f:m":{"f:y":{}}}"#;
    let image = r#"{"f:l":{"k:{\"name\":\"c\"}":{"f:image":{}}}}"#;
    for (why, set, removed, renewed) in [
        ("a field of its own", r#"{"f:a":{}}"#, "{}", true),
        ("some", r#"{"f:a":{},"f:m":{"f:x":{}}}"#, "{}", true),
        ("in an item of a list", image, "{}", true),
        ("a field of nobody's", r#"{"f:b":{}}"#, "{}", false),
        ("beside a field of its own", r#"{"f:a":{},"f:m":{"f:z":{}}}"#, "{}", false),
        ("what a field of its own is in", r#"{"f:l":{}}"#, "{}", false),
        ("another's", r#"{"f:o":{}}"#, "{}", false),
        ("a map that both are in", r#"{"f:m":{}}"#, "{}", false),
        ("one goes", r#"{"f:a":{}}"#, r#"{"f:m":{"f:x":{}}}"#, false),
        ("another's goes", r#"{"f:a":{}}"#, r#"{"f:o":{}}"#, false),
        ("nobody's goes", r#"{"f:a":{}}"#, r#"{"f:c":{"f:d":{}}}"#, true),
        ("an item that may be one of these", r#"{"f:a":{}}"#, r#"{"f:l":{"k:{\"name\":\"d\"}":{}}}"#, false),
    ] {
        let before = vec![entry("one", "Update", 1, one), entry("two", "Update", 2, other)];
        let mut entries = before.clone();
        let did = renew(&mut entries, &changed(set, removed), "v1", &author("one"));
        assert_eq!(did, renewed, "{why}");
        let expected = if renewed { vec![before[1].clone(), entry("one", "Update", 9, one)] } else { before };
        assert_eq!(entries, expected, "{why}: to the second, and in order");
    }
}

#[test]
fn entries_that_are_not_as_we_write_them_are_read() {
    let own = || entry("one", "Update", 1, r#"{"f:a":{}}"#);
    let other = |change: fn(&mut ManagedFieldsEntry)| {
        let mut other = entry("two", "Update", 1, r#"{"f:b":{}}"#);
        change(&mut other);
        vec![own(), other]
    };
    for (why, mut entries, renewed) in [
        ("as we do", other(|_| {}), true),
        ("an applier's", other(|entry| entry.operation = Some("Apply".into())), true),
        ("of another version", other(|entry| entry.api_version = Some("v2".into())), false),
        ("of another sort", other(|entry| entry.fields_type = Some("FieldsV2".into())), false),
        ("of an operation that is none", other(|entry| entry.operation = None), false),
        ("one manager twice", vec![own(), own()], false),
        ("nobody's", Vec::new(), false),
        ("too many", (0..11).map(|n| entry(&format!("m{n}"), "Update", 1, "{}")).chain([own()]).collect(), false),
    ] {
        assert_eq!(renew(&mut entries, &changed(r#"{"f:a":{}}"#, "{}"), "v1", &author("one")), renewed, "{why}");
    }
}
