//! Defaults: what is not said is as the schema has it.

use serde_json::{Map, Value};

use super::Structural;

/// Fills in defaults. A null that may not be one counts as nothing said: it goes, or gives way to the default. Tells whether anything
/// has changed.
pub fn fill(object: &mut Map<String, Value>, of: &Structural) -> bool {
    let mut is_changed = false;
    fields(object, of, &mut is_changed);
    is_changed
}

fn value(value: &mut Value, of: &Structural, is_changed: &mut bool) {
    match value {
        Value::Object(object) => fields(object, of, is_changed),
        Value::Array(items) => {
            let Some(of) = &of.items else { return };
            for item in items {
                *is_changed |= put_default(item, of);
                self::value(item, of, is_changed);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fields(object: &mut Map<String, Value>, of: &Structural, is_changed: &mut bool) {
    let before = object.len();
    object.retain(|name, value| {
        let is_void = |of: &Structural| value.is_null() && !of.nullable && of.default.is_none();
        !of.child(name).is_some_and(is_void)
    });
    *is_changed |= object.len() != before;
    for (name, property) in of.properties.iter() {
        if let Some(default) = property.default.as_ref().filter(|_| !object.contains_key(name)) {
            object.insert(name.to_owned(), default.clone());
            *is_changed = true;
        }
    }
    for (name, there) in object {
        if let Some(of) = of.child(name) {
            *is_changed |= put_default(there, of);
            value(there, of, is_changed);
        }
    }
}

/// In the place of a null that may not be one.
fn put_default(value: &mut Value, of: &Structural) -> bool {
    let (true, false, Some(default)) = (value.is_null(), of.nullable, &of.default) else { return false };
    *value = default.clone();
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::schema;
    use super::*;

    #[test]
    fn defaults_come_where_nothing_is_said() {
        let of = schema(json!({"type": "object", "properties": {
            "a": {"type": "string", "default": "A"},
            "b": {"type": "object", "properties": {"c": {"type": "integer", "default": 1}}},
            "d": {"type": "object", "default": {}, "properties": {"e": {"type": "string", "default": "E"}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string", "default": "X"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"y": {"type": "string", "default": "Y"}}}},
            "may": {"type": "string", "nullable": true, "default": "M"},
            "bare": {"type": "string"},
        }}));
        for (why, given, filled) in [
            ("nothing", json!({}), json!({"a": "A", "d": {"e": "E"}, "may": "M"})),
            (
                "inside of what is there, in lists and maps",
                json!({"b": {}, "list": [{}, {"x": "1"}], "map": {"k": {}}}),
                json!({"a": "A", "b": {"c": 1}, "d": {"e": "E"}, "list": [{"x": "X"}, {"x": "1"}], "map": {"k": {"y": "Y"}}, "may": "M"}),
            ),
            (
                "a null that may not be one",
                json!({"a": null, "bare": null, "may": null, "d": {"e": "1"}}),
                json!({"a": "A", "may": null, "d": {"e": "1"}}),
            ),
        ] {
            let mut object = given;
            assert!(fill(object.as_object_mut().unwrap(), &of), "{why}");
            assert_eq!(object, filled, "{why}");
            assert!(!fill(object.as_object_mut().unwrap(), &of), "{why}");
        }
    }
}
