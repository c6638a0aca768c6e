//! Defaults: what is not said is as the schema has it.

use serde_json::{Map, Value};

use super::Structural;

/// Of the defaults that a write fills in: an object that is larger could not be stored.
pub const WRITE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Of those that are filled in when an object is read that was stored without: all objects of a kind are kept as they are read.
pub const READ_BYTES_MAX: usize = 64 * 1024;
/// About what a value takes beside its texts.
const VALUE_BYTES: usize = 32;

/// An object has not got all its defaults.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the defaults that its schema fills in take more than {bytes_max} bytes")]
pub struct TooLarge {
    bytes_max: usize,
}

/// Fills in defaults, of so many bytes at most. A null that may not be one counts as nothing said: it goes, or gives way to the
/// default. Tells whether anything has changed.
pub fn fill(object: &mut Map<String, Value>, of: &Structural, bytes_max: usize) -> Result<bool, TooLarge> {
    let mut filling = Filling { bytes_max, left: bytes_max, is_changed: false };
    filling.fields(object, of)?;
    Ok(filling.is_changed)
}

struct Filling {
    bytes_max: usize,
    left: usize,
    is_changed: bool,
}

impl Filling {
    fn value(&mut self, value: &mut Value, of: &Structural) -> Result<(), TooLarge> {
        match value {
            Value::Object(object) => self.fields(object, of),
            Value::Array(items) => {
                let Some(of) = &of.items else { return Ok(()) };
                items.iter_mut().try_for_each(|item| {
                    self.put_default(item, of)?;
                    self.value(item, of)
                })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn fields(&mut self, object: &mut Map<String, Value>, of: &Structural) -> Result<(), TooLarge> {
        let before = object.len();
        object.retain(|name, value| {
            let is_void = |of: &Structural| value.is_null() && !of.nullable && of.default.is_none();
            !of.child(name).is_some_and(is_void)
        });
        self.is_changed |= object.len() != before;
        for (name, property) in of.properties.iter() {
            if let Some(default) = property.default.as_ref().filter(|_| !object.contains_key(name)) {
                object.insert(name.to_owned(), self.copy(default, name.len())?);
            }
        }
        for (name, there) in object {
            if let Some(of) = of.child(name) {
                self.put_default(there, of)?;
                self.value(there, of)?;
            }
        }
        Ok(())
    }

    /// In the place of a null that may not be one.
    fn put_default(&mut self, value: &mut Value, of: &Structural) -> Result<(), TooLarge> {
        if let (true, false, Some(default)) = (value.is_null(), of.nullable, &of.default) {
            *value = self.copy(default, 0)?;
        }
        Ok(())
    }

    fn copy(&mut self, default: &Value, name_bytes: usize) -> Result<Value, TooLarge> {
        let left = self.left.checked_sub(bytes(default) + name_bytes);
        self.left = left.ok_or(TooLarge { bytes_max: self.bytes_max })?;
        self.is_changed = true;
        Ok(default.clone())
    }
}

fn bytes(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    VALUE_BYTES + inner
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
            assert_eq!(fill(object.as_object_mut().unwrap(), &of, READ_BYTES_MAX), Ok(true), "{why}");
            assert_eq!(object, filled, "{why}");
            assert_eq!(fill(object.as_object_mut().unwrap(), &of, READ_BYTES_MAX), Ok(false), "{why}");
        }
    }

    #[test]
    fn defaults_that_make_much_of_little_are_not_filled_in() {
        let large = "x".repeat(10_000);
        let item = json!({"type": "object", "properties": {"a": {"type": "string", "default": large}}});
        let of = schema(json!({"type": "object", "properties": {"list": {"type": "array", "items": item}}}));
        let with = |n: usize| json!({"list": vec![json!({}); n]}).as_object().unwrap().clone();
        assert_eq!(fill(&mut with(6), &of, READ_BYTES_MAX), Ok(true));
        assert_eq!(fill(&mut with(7), &of, READ_BYTES_MAX), Err(TooLarge { bytes_max: READ_BYTES_MAX }));
        assert_eq!(fill(&mut with(100_000), &of, WRITE_BYTES_MAX), Err(TooLarge { bytes_max: WRITE_BYTES_MAX }));
        // Each level makes ten of one.
        let deep = (0..12).fold(json!({"type": "string", "default": "x"}), |inner, n| {
            let default: Vec<Value> = if n == 0 { Vec::new() } else { vec![json!({}); 10] };
            let items = json!({"type": "object", "properties": {"a": inner}});
            json!({"type": "array", "default": default, "items": items})
        });
        let of = schema(json!({"type": "object", "properties": {"a": deep}}));
        assert!(fill(&mut Map::new(), &of, WRITE_BYTES_MAX).is_err());
    }
}
