//! Quantities that are written as numbers: `cpu: 1` means `cpu: "1"`.
//!
//! The types' crate takes quantities as text only. A body that does not decode for a number's sake is read again with
//! the numbers at quantities' places made text; bodies without such numbers pay nothing.

use serde_json::{Map, Value};

/// Fields that map resources' names to quantities.
const LISTS: &[&str] = &["limits", "requests", "overhead", "capacity", "allocatable", "allocatedResources"];
/// Fields that are quantities themselves.
const SINGLE: &[&str] = &["sizeLimit", "divisor"];
/// Where, in an object, quantities are. What is elsewhere (data, annotations) is its author's own.
const PARTS: &[&str] = &["spec", "status", "template"];

/// The body with text for numbers; `None` if that changes nothing.
pub(super) fn as_text(json: &[u8]) -> Option<Vec<u8>> {
    let mut object: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let mut changed = false;
    for part in PARTS {
        if let Some(part) = object.get_mut(*part) {
            walk(part, &mut changed);
        }
    }
    changed.then(|| serde_json::to_vec(&object).ok()).flatten()
}

fn walk(value: &mut Value, changed: &mut bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, changed)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Object(list) if LISTS.contains(&name.as_str()) => {
                        list.values_mut().for_each(|quantity| quote(quantity, changed));
                    }
                    quantity @ Value::Number(_) if SINGLE.contains(&name.as_str()) => quote(quantity, changed),
                    other => walk(other, changed),
                }
            }
        }
        _ => {}
    }
}

fn quote(quantity: &mut Value, changed: &mut bool) {
    if let Value::Number(number) = quantity {
        *quantity = Value::String(number.to_string());
        *changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_text_where_quantities_are() {
        let json =
            br#"{"data":{"limits":{"a":1}},"spec":{"containers":[{"resources":{"limits":{"cpu":1,"memory":"1Gi"}}}],
            "volumes":[{"emptyDir":{"sizeLimit":1024}}],"replicas":3}}"#;
        let text: Value = serde_json::from_slice(&as_text(json).unwrap()).unwrap();
        assert_eq!(text.pointer("/spec/containers/0/resources/limits/cpu").unwrap(), "1");
        assert_eq!(text.pointer("/spec/volumes/0/emptyDir/sizeLimit").unwrap(), "1024");
        assert_eq!((text["spec"]["replicas"].as_i64(), text["data"]["limits"]["a"].as_i64()), (Some(3), Some(1)));
        assert_eq!(as_text(br#"{"spec":{"replicas":3}}"#), None);
    }
}
