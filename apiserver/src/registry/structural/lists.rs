//! Items of sets and of lists that are maps: none stands twice.

use std::collections::HashMap;

use corten_api::Problems;
use serde_json::{Map, Value, json};

use super::Structural;
use crate::schema::ListKind;

/// `old`: the object before, whose faults are not asked about again.
pub fn check(object: &Map<String, Value>, old: Option<&Map<String, Value>>, of: &Structural, problems: &mut Problems) {
    let faults = |object: &Map<String, Value>| {
        let mut found = Problems::default();
        fields(object, of, "", &mut found);
        found
    };
    if old.is_some_and(|old| !faults(old).is_empty()) {
        return;
    }
    fields(object, of, "", problems);
}

fn fields(object: &Map<String, Value>, of: &Structural, at: &str, problems: &mut Problems) {
    for (name, there) in object {
        let at = |dotted: bool| match (at.is_empty(), dotted) {
            (true, true) => name.clone(),
            (false, true) => format!("{at}.{name}"),
            (_, false) => format!("{at}[{name}]"),
        };
        if !matches!(there, Value::Object(_) | Value::Array(_)) {
            continue;
        }
        match (of.properties.get(name), of.additional.as_ref().and_then(|additional| additional.schema())) {
            (Some(property), _) => value(there, property, &at(true), problems),
            (None, Some(schema)) => value(there, schema, &at(false), problems),
            (None, None) => {}
        }
    }
}

fn value(there: &Value, of: &Structural, at: &str, problems: &mut Problems) {
    match there {
        Value::Object(object) => fields(object, of, at, problems),
        Value::Array(list) => {
            match &of.list {
                Some(ListKind::Set) => {
                    for index in repeated(list.iter().map(Value::to_string)) {
                        problems.duplicate(format!("{at}[{index}]"), &list[index]);
                    }
                }
                Some(ListKind::Map(keys)) => items(list, keys, at, problems),
                Some(ListKind::Atomic) | None => {}
            }
            if let Some(of) = &of.items {
                for (index, item) in list.iter().enumerate().filter(|(_, item)| item.is_object() || item.is_array()) {
                    value(item, of, &format!("{at}[{index}]"), problems);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn items(list: &[Value], keys: &[std::sync::Arc<str>], at: &str, problems: &mut Problems) {
    if let Some(index) = list.iter().position(|item| !item.is_null() && !item.is_object()) {
        let why = "must be an object for an array of list-type map";
        return problems.invalid(format!("{at}[{index}]"), &list[index], why);
    }
    let key = |item: &Value| -> Value {
        let of = keys.iter().filter_map(|key| Some((key.to_string(), item.get(&**key)?.clone())));
        json!(of.collect::<Map<String, Value>>())
    };
    for index in repeated(list.iter().map(|item| key(item).to_string())) {
        problems.duplicate(format!("{at}[{index}]"), key(&list[index]));
    }
}

/// Where each that stands more than once is seen for the second time.
fn repeated(texts: impl Iterator<Item = String>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut found = Vec::new();
    for (index, text) in texts.enumerate() {
        let times = seen.entry(text).or_default();
        *times += 1;
        if *times == 2 {
            found.push(index);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::schema;
    use super::*;

    fn found(object: Value, old: Option<Value>) -> Vec<String> {
        let of = schema(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                "items": {"type": "object", "properties": {"port": {"type": "integer"}, "protocol": {"type": "string"}}}},
        }}}}));
        let mut problems = Problems::default();
        let old = old.as_ref().and_then(Value::as_object);
        check(object.as_object().unwrap(), old, &of, &mut problems);
        problems.causes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn no_item_stands_twice() {
        let twice = json!({"spec": {"set": [1, 2, 1, 1], "ports": [{"port": 1, "protocol": "TCP", "x": 1}, {"port": 1, "protocol": "TCP"}]}});
        assert_eq!(
            found(twice.clone(), None),
            [r#"spec.ports[1]: Duplicate value: {"port":1,"protocol":"TCP"}"#, "spec.set[2]: Duplicate value: 1",]
        );
        let good =
            json!({"spec": {"set": [1, 2], "ports": [{"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "UDP"}]}});
        assert!(found(good.clone(), None).is_empty());
        assert_eq!(found(twice.clone(), Some(good)).len(), 2);
        assert!(found(twice.clone(), Some(twice)).is_empty(), "who did not make it is not asked");
    }
}
