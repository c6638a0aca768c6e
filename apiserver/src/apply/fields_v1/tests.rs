//! FieldsV1: upstream's own texts, what is refused, and that what is printed reads as what it was.

use corten_fuzz::{Random, run};
use serde_json::json;

use super::*;
use crate::apply::element::{Atom, Path};

fn read(text: &str) -> Result<FieldSet, FieldsV1Error> {
    FieldSet::from_fields_v1(&serde_json::from_str(text).unwrap())
}

#[test]
fn upstreams_texts_are_printed_as_upstream_prints_them() {
    let texts = [
        "{}",
        r#"{"f:aaa":{},"f:aab":{},"f:aac":{},"k:{\"name\":\"first\"}":{},"k:{\"name\":\"second\"}":{},"k:{\"port\":80,\"protocol\":\"tcp\"}":{},"k:{\"port\":443,\"protocol\":\"tcp\"}":{},"k:{\"port\":443,\"protocol\":\"udp\"}":{},"v:1":{},"v:2":{},"v:10":{},"v:\"aa\"":{},"v:\"ab\"":{},"v:true":{},"i:1":{},"i:2":{},"i:10":{}}"#,
        r#"{"f:aaa":{"k:{\"name\":\"second\"}":{"v:3":{"f:aab":{}}},"v:3":{},"v:true":{}},"f:aab":{"f:aaa":{},"f:aaf":{"k:{\"port\":443,\"protocol\":\"udp\"}":{"k:{\"port\":443,\"protocol\":\"tcp\"}":{}}},"k:{\"name\":\"first\"}":{}}}"#,
        r#"{"f:spec":{".":{},"f:apps":{".":{},"k:{\"name\":\" app-💻\"}":{".":{},"f:image":{},"f:ports":{".":{},"k:{\"name\":\"port 🔑\"}":{".":{},"f:name":{}}}}}}}"#,
        r#"{"f:metadata":{"f:annotations":{".":{},"f:a.b/c\"d\\e\u0001\n":{}},"f:finalizers":{".":{},"v:\"x.y/z\\u003c\"":{}}}}"#,
    ];
    for text in texts {
        let fields = read(text).unwrap();
        assert_eq!(fields.to_fields_v1_text(), text);
        assert_eq!(FieldSet::from_fields_v1(&fields.to_fields_v1()).unwrap(), fields);
    }
}

#[test]
fn steps_in_any_order_and_of_later_versions_are_taken() {
    for (why, text, expected) in [
        ("order", r#"{"f:b":{},"f:a":{"v:2":{},"v: 1":{}}}"#, r#"{"f:a":{"v:1":{},"v:2":{}},"f:b":{}}"#),
        ("two texts of one step", r#"{"v:1":{"f:a":{}},"v:1.0":{}}"#, r#"{"v:1":{".":{},"f:a":{}}}"#),
        ("an unknown step, and nothing but one below", r#"{"r:x":[1],"f:a":{"r:y":{}}}"#, r#"{"f:a":{}}"#),
        ("null for an empty object", r#"{"f:a":null}"#, r#"{"f:a":{}}"#),
        (
            "a self of any value, and one of the whole",
            r#"{".":1,"f:a":{".":[],"f:b":{}}}"#,
            r#"{"f:a":{".":{},"f:b":{}}}"#,
        ),
        ("a self alone", r#"{"f:a":{".":{}}}"#, r#"{"f:a":{}}"#),
        ("nothing", "null", "{}"),
    ] {
        assert_eq!(read(text).unwrap().to_fields_v1_text(), expected, "{why}");
    }
}

#[test]
fn what_is_no_set_is_refused() {
    for text in ["[]", "1", r#""f:a""#, "true", r#"{"f:a":1}"#, r#"{"f:a":{"f:b":[]}}"#] {
        assert!(matches!(read(text), Err(FieldsV1Error::NotAnObject(_))), "{text}");
    }
    for text in [r#"{"":{}}"#, r#"{"x":{}}"#, r#"{"f:a":{"a":{}}}"#, r#"{"k:{":{}}"#] {
        assert!(matches!(read(text), Err(FieldsV1Error::Element(_))), "{text}");
    }
}

#[test]
fn sets_are_bounded_in_depth_and_count() {
    let nested = |depth: usize| (1..depth).fold(json!({}), |inside, _| json!({ "f:a": inside }));
    let deepest = FieldSet::from_fields_v1(&nested(MAX_NESTING)).unwrap();
    assert_eq!(deepest.to_fields_v1(), nested(MAX_NESTING));
    assert_eq!(FieldSet::from_fields_v1(&nested(MAX_NESTING + 1)), Err(FieldsV1Error::TooDeep));
    let many =
        |count: usize| json!({"f:data": (0..count).map(|n| (format!("f:{n}"), json!({}))).collect::<Map<_, _>>()});
    assert_eq!(FieldSet::from_fields_v1(&many(MAX_STEPS - 1)).unwrap().len(), MAX_STEPS - 1);
    assert_eq!(FieldSet::from_fields_v1(&many(MAX_STEPS)), Err(FieldsV1Error::TooMany));
}

/// Letters that JSON, Go or a path has to look at twice.
fn random_text(random: &mut Random) -> String {
    let letters =
        ["a", "b", ".", ":", "\"", "\\", "{", "}", "<", "&", "\n", "\u{0}", "\u{2028}", "é", "🚀", "\u{7f}", " "];
    (0..random.below(6)).map(|_| random.pick(&letters).unwrap().to_owned()).collect()
}

fn random_atom(random: &mut Random) -> Atom {
    match random.below(6) {
        0 => Atom::Null,
        1 => Atom::Bool(random.one_in(2)),
        2 => Atom::Number((random.number() as i64).into()),
        3 => Atom::Number(random.number().into()),
        // Such that are read back to the last bit.
        4 => serde_json::Number::from_f64(random.below(1 << 20) as f64 / 64.0).map_or(Atom::Null, Atom::Number),
        _ => Atom::Text(random_text(random).into()),
    }
}

fn random_element(random: &mut Random) -> Element {
    match random.below(6) {
        0 => Element::Value(random_atom(random)),
        1 => Element::Index(random.number() as i64),
        2 => {
            let fields: std::collections::BTreeMap<String, Atom> =
                (0..random.below(4)).map(|_| (random_text(random), random_atom(random))).collect();
            Element::Key(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
        }
        _ => Element::field(&random_text(random)),
    }
}

#[test]
fn what_is_printed_reads_as_what_it_was() {
    run("what_is_printed_reads_as_what_it_was", |random| {
        let paths: Vec<Path> =
            (0..random.below(30)).map(|_| (0..1 + random.below(5)).map(|_| random_element(random)).collect()).collect();
        let fields: FieldSet = paths.into_iter().collect();
        let text = fields.to_fields_v1_text();
        let read = read(&text).unwrap_or_else(|err| panic!("{text}: {err}"));
        assert_eq!(read, fields, "{text}");
        assert_eq!(read.to_fields_v1_text(), text);
        assert_eq!(FieldSet::from_fields_v1(&fields.to_fields_v1()).unwrap(), fields, "{text}");
    });
}
