//! Any JSON as a value, within a bound for what it holds in memory: a small object takes eighty times its text.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::text::{ENTRY_BYTES, OBJECT_BYTES, SPARE};
use super::{DecodeError, MAX_HELD_BYTES};

/// What one body has taken so far.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<usize>,
    spent: Cell<bool>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: Cell::new(MAX_HELD_BYTES), spent: Cell::new(false) }
    }
}

impl Budget {
    /// Reads a whole text, which may be a part of the body.
    pub(super) fn value(&self, json: &[u8]) -> Result<Value, DecodeError> {
        let mut json = serde_json::Deserializer::from_slice(json);
        let read = self.read(&mut json).and_then(|value| json.end().map(|()| value));
        read.map_err(|err| if self.is_spent() { DecodeError::TooLarge } else { err.into() })
    }
    pub(super) fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<Value, D::Error> {
        Within(self).deserialize(from)
    }
    pub(super) fn is_spent(&self) -> bool {
        self.spent.get()
    }
    pub(super) fn take(&self, bytes: usize) -> Result<(), DecodeError> {
        let left = self.left.get().checked_sub(bytes);
        self.spent.set(self.spent.get() || left.is_none());
        self.left.set(left.unwrap_or(0));
        left.map(drop).ok_or(DecodeError::TooLarge)
    }
    fn pay<E: Error>(&self, bytes: usize) -> Result<(), E> {
        self.take(bytes).map_err(E::custom)
    }
}

struct Within<'b>(&'b Budget);

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }
    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(b.into())
    }
    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }
    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }
    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Number::from_f64(n).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }
    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        self.deserialize(inner)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        // A list grows as it is read and paid for.
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Within(self.0))? {
            self.0.pay(size_of::<Value>())?;
            list.push(item);
        }
        Ok(list.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let room = if map.is_empty() { OBJECT_BYTES } else { SPARE * ENTRY_BYTES };
            self.0.pay(room + key.len())?;
            map.insert(key, entries.next_value_seed(Within(self.0))?);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_json_keeps_its_nulls() {
        let read = Budget::default().value(br#"{"a":null,"b":[null,1,-2,1.5,"x",true],"a":{}}"#).unwrap();
        assert_eq!(read, json!({"a": {}, "b": [null, 1, -2, 1.5, "x", true]}));
    }

    #[test]
    fn what_a_value_holds_is_bounded_by_bytes_not_by_its_text() {
        let maps = format!("[{}]", vec![r#"{"":0}"#; 400_000].join(","));
        assert!(matches!(Budget::default().value(maps.as_bytes()), Err(DecodeError::TooLarge)));
        // What fits into the store fits in here.
        let keys: String = (0..100_000).map(|n| format!(r#""k{n}":"","#)).collect();
        Budget::default().value(format!(r#"{{"data":{{{keys}"a":""}}}}"#).as_bytes()).unwrap();
    }
}
