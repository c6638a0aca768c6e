//! Whether what a webhook gives back is the object that it was given, in the version that it was asked for. Pure.
//!
//! Of metadata it may change labels and annotations; all else of it is as it was, whatever the webhook says.

use std::collections::BTreeMap;

use corten_api::Problems;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::TOLD_BYTES_MAX;
use super::review::type_name;
use crate::bounded_text::bounded;
use crate::registry::check;
use crate::registry::path::Path;

const METADATA: &str = "metadata";
/// So much of what is no object is told.
const SHOWN_BYTES_MAX: usize = 256;

/// Why an object does not count as converted.
#[derive(Debug, PartialEq)]
pub(super) enum Flaw {
    NotAnObject(String),
    /// It is no object of what was asked for.
    OtherType(String),
    /// It is another object.
    Other(String),
    Metadata(String),
}

/// The type of an object, as Go writes it, from its JSON: `example.com/v1, Kind=Tab`.
pub(super) fn type_of(object: &[u8]) -> String {
    let (api_version, kind) = said(object);
    type_name(&api_version, &kind)
}

/// The version that an object says that it is of: `v1`.
pub(super) fn version_of(object: &[u8]) -> String {
    let api_version = said(object).0;
    api_version.rsplit('/').next().unwrap_or_default().to_owned()
}

fn said(object: &[u8]) -> (String, String) {
    #[derive(serde::Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Said {
        api_version: String,
        kind: String,
    }
    let Said { api_version, kind } = serde_json::from_slice(object).unwrap_or_default();
    (api_version, kind)
}

impl Flaw {
    /// In upstream's words. `of`: the type of what was to be converted; `index`: of how many this is which.
    pub(super) fn told(&self, of: &str, index: usize, count: usize) -> String {
        let webhook = format!("conversion webhook for {of}");
        let told = |why: &String| bounded(why, TOLD_BYTES_MAX);
        match (self, count) {
            (Self::OtherType(why), 1) => format!("{webhook} returned invalid object at index 0: {}", told(why)),
            (Self::Other(why), 1) => format!("{webhook} returned invalid object: {}", told(why)),
            (Self::Metadata(why), 1) => format!("{webhook} returned invalid metadata: {}", told(why)),
            (Self::Metadata(why), _) => {
                format!("{webhook} returned invalid metadata in object at index {index}: {}", told(why))
            }
            (Self::NotAnObject(why) | Self::OtherType(why) | Self::Other(why), _) => {
                format!("{webhook} returned invalid converted object at index {index}: {}", told(why))
            }
        }
    }
}

/// The object, with the metadata that it has. `to`: the version that was asked for.
pub(super) fn judged(original: &[u8], converted: &RawValue, to: &str) -> Result<Map<String, Value>, Flaw> {
    #[derive(serde::Deserialize)]
    struct Original {
        #[serde(default)]
        kind: String,
        #[serde(default)]
        metadata: Value,
    }
    let original: Original = serde_json::from_slice(original).map_err(|err| Flaw::Metadata(err.to_string()))?;
    let mut new = object(converted)?;
    let text = |field: &str| new.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version != to {
        return Err(Flaw::OtherType(format!("invalid groupVersion (expected {to}, received {version})")));
    }
    if kind != original.kind {
        return Err(Flaw::OtherType(format!("invalid kind (expected {}, received {kind})", original.kind)));
    }
    let given = new.get(METADATA);
    for (field, called) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let of = |metadata: Option<&Value>| {
            metadata.and_then(|metadata| metadata.get(field)?.as_str()).unwrap_or_default().to_owned()
        };
        let (before, after) = (of(Some(&original.metadata)), of(given));
        if before != after {
            return Err(Flaw::Other(format!("must have the same {called}: {before} != {after}")));
        }
    }
    let metadata = restored(original.metadata, new.get(METADATA))?;
    new.insert(METADATA.into(), Value::Object(metadata));
    Ok(new)
}

fn object(converted: &RawValue) -> Result<Map<String, Value>, Flaw> {
    let json = converted.get();
    match serde_json::from_str(json) {
        Ok(Value::Object(object)) if object.get("kind").and_then(Value::as_str).is_none_or(str::is_empty) => {
            Err(Flaw::NotAnObject(format!("Object 'Kind' is missing in '{}'", bounded(json, SHOWN_BYTES_MAX))))
        }
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Err(Flaw::NotAnObject("unexpected end of JSON input".into())),
        Ok(other) => Err(Flaw::NotAnObject(format!("json: cannot unmarshal {} into an object", go_type(&other)))),
        Err(err) => Err(Flaw::NotAnObject(err.to_string())),
    }
}

/// The metadata that the object had, with the labels and annotations that it is given.
fn restored(original: Value, given: Option<&Value>) -> Result<Map<String, Value>, Flaw> {
    let flaw = |why: String| Err(Flaw::Metadata(why));
    let given = match given {
        None => return flaw("missing metadata in converted object".into()),
        Some(Value::Object(given)) => given,
        Some(other) => return flaw(format!("invalid metadata of type {} in converted object", go_type(other))),
    };
    let mut metadata = match original {
        Value::Null => Map::new(),
        Value::Object(metadata) => metadata,
        other => return flaw(format!("invalid metadata of type {} in input object", go_type(&other))),
    };
    for field in ["labels", "annotations"] {
        let texts = match given.get(field) {
            None | Some(Value::Null) => {
                metadata.remove(field);
                continue;
            }
            Some(Value::Object(texts)) => texts,
            Some(other) => {
                return flaw(format!("invalid metadata.{field} of type {} in converted object", go_type(other)));
            }
        };
        for (key, value) in texts {
            if !value.is_string() {
                let what = go_type(value);
                return flaw(format!("metadata.{field}[{key}] must be a string, but is {what} in converted object"));
            }
        }
        // What nobody has changed was good enough when it was written.
        if metadata.get(field).and_then(Value::as_object) != Some(texts) {
            good(field, texts)?;
            metadata.insert(field.into(), Value::Object(texts.clone()));
        }
    }
    Ok(metadata)
}

fn good(field: &str, texts: &Map<String, Value>) -> Result<(), Flaw> {
    let texts: BTreeMap<String, String> =
        texts.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    let (root, mut problems) = (Path::root(METADATA), Problems::default());
    match field {
        "labels" => check::labels(&mut problems, &root.field("labels"), Some(&texts)),
        _ => check::annotations(&mut problems, &root.field("annotation"), Some(&texts)),
    }
    let found: Vec<String> = problems.causes().iter().map(ToString::to_string).collect();
    match found.as_slice() {
        [] => Ok(()),
        [one] => Err(Flaw::Metadata(one.clone())),
        all => Err(Flaw::Metadata(format!("[{}]", all.join(", ")))),
    }
}

/// What Go calls the type of a value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OF: &str = "example.com/v1, Kind=Tab";

    fn original() -> Value {
        json!({"apiVersion": "example.com/v1", "kind": "Tab", "spec": {"a": 1}, "metadata": {"name": "x", "namespace": "n",
            "uid": "u", "resourceVersion": "7", "generation": 3, "finalizers": ["a.b/c"], "labels": {"l": "1"},
            "annotations": {"a": "1"}}})
    }
    /// The original in the version asked for, with something else at a JSON pointer.
    fn with(pointer: &str, value: Value) -> Value {
        let mut object = original();
        object["apiVersion"] = json!("example.com/v2");
        match pointer.rsplit_once('/') {
            Some((parent, last)) => object.pointer_mut(parent).unwrap()[last] = value,
            None => object = value,
        }
        object
    }
    fn outcome(converted: &Value) -> Result<Value, Flaw> {
        let raw = serde_json::value::to_raw_value(converted).unwrap();
        judged(original().to_string().as_bytes(), &raw, "example.com/v2").map(Value::Object)
    }

    #[test]
    fn what_is_another_object_does_not_count() {
        let one = |what: &str| format!("conversion webhook for {OF} returned invalid object at index 0: {what}");
        let other = |what: &str| format!("conversion webhook for {OF} returned invalid object: {what}");
        let meta = |what: &str| format!("conversion webhook for {OF} returned invalid metadata: {what}");
        let none =
            |what: &str| format!("conversion webhook for {OF} returned invalid converted object at index 0: {what}");
        let cases = [
            ("nothing", with("", json!(null)), none("unexpected end of JSON input")),
            ("a text", with("", json!("x")), none("json: cannot unmarshal string into an object")),
            ("no kind", with("", json!({"a": 1})), none(r#"Object 'Kind' is missing in '{"a":1}'"#)),
            ("as it was", original(), one("invalid groupVersion (expected example.com/v2, received example.com/v1)")),
            ("another kind", with("/kind", json!("Bat")), one("invalid kind (expected Tab, received Bat)")),
            ("another name", with("/metadata/name", json!("y")), other("must have the same name: x != y")),
            ("no namespace", with("/metadata/namespace", json!(null)), other("must have the same namespace: n != ")),
            ("another uid", with("/metadata/uid", json!("v")), other("must have the same UID: u != v")),
            ("no metadata", with("/metadata", json!(7)), other("must have the same name: x != ")),
            (
                "labels of no shape",
                with("/metadata/labels", json!(["a"])),
                meta("invalid metadata.labels of type []interface {} in converted object"),
            ),
            (
                "a label that is no text",
                with("/metadata/labels", json!({"a": 1})),
                meta("metadata.labels[a] must be a string, but is int64 in converted object"),
            ),
        ];
        for (why, converted, expected) in cases {
            assert_eq!(outcome(&converted).unwrap_err().told(OF, 0, 1), expected, "{why}");
        }
        let bad = outcome(&with("/metadata/labels", json!({"a": "b c"}))).unwrap_err().told(OF, 0, 1);
        assert!(bad.starts_with(&meta(r#"metadata.labels: Invalid value: "b c": "#)), "{bad}");
        let long = "y".repeat(1 << 20);
        for (pointer, value) in [
            ("/metadata/name", json!(long)),
            ("/kind", json!(long)),
            ("/apiVersion", json!(long)),
            ("/metadata/labels", json!({ long.as_str(): 1 })),
        ] {
            let told = outcome(&with(pointer, value)).unwrap_err().told(OF, 0, 1);
            assert!(told.len() < 2 * TOLD_BYTES_MAX && told.ends_with("..."), "{pointer}: {}", told.len());
        }
        let of_many = outcome(&with("/metadata/uid", json!("v"))).unwrap_err().told(OF, 4, 9);
        let expected = "returned invalid converted object at index 4: must have the same UID: u != v";
        assert_eq!(of_many, format!("conversion webhook for {OF} {expected}"));
    }

    #[test]
    fn labels_and_annotations_are_all_of_metadata_that_changes() {
        let mut converted = with("/spec", json!({"b": 2}));
        let metadata = json!({"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "9", "generation": 5,
            "finalizers": [], "deletionTimestamp": "2026-01-01T00:00:00Z", "labels": {"m": "2"}});
        converted["metadata"] = metadata;
        let mut expected = with("/spec", json!({"b": 2}));
        expected["metadata"]["labels"] = json!({"m": "2"});
        expected["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(outcome(&converted).unwrap(), expected);
        assert_eq!((type_of(original().to_string().as_bytes()), version_of(b"{}")), (OF.to_owned(), String::new()));
    }
}
