//! JSON becomes objects as Kubernetes clients expect it to, within a bound for what the objects hold in memory.
//!
//! - Each item of a list, and each resource of a map, is paid for by its size before it is read. A body of 3 MiB can name a
//!   million empty containers, and a container takes over a kilobyte.
//! - A field that is missing or `null` has its zero value, whatever its type: only validation may object.
//! - Fields that the type does not have are told of, by their paths.

mod access;
mod path;
#[cfg(test)]
mod tests;
mod visitor;

use std::cell::{Cell, RefCell};

use corten_api::{ApiError, Reason};
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};

use super::path_text;
use path::Path;
use visitor::{Reading, Zero};

/// What the lists and maps of one body may hold. An object that fits into the store stays far below.
pub const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;
/// Fields told of for one body; the first ones are enough to mend it.
const MAX_UNKNOWN_FIELDS: usize = 100;
/// Go's zero time, which is how upstream reads a time that is not there.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
/// The types' crate has a default for every required field but these, which are times: (struct, field).
const TIMES_WITHOUT_DEFAULT: &[(&str, &str)] =
    &[("Condition", "lastTransitionTime"), ("EventSeries", "lastObservedTime")];

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("Request entity too large: its lists and maps would take more than {MAX_HELD_BYTES} bytes of memory")]
    TooLarge,
}

impl From<DecodeError> for ApiError {
    fn from(err: DecodeError) -> Self {
        match err {
            DecodeError::Json(err) => Self::bad_request(err.to_string()),
            DecodeError::TooLarge => Self::new(Reason::RequestEntityTooLarge, DecodeError::TooLarge.to_string()),
        }
    }
}

/// Reads a whole text. `unknown` gets the paths of fields that `T` does not have, as users write them.
pub fn decode<T: DeserializeOwned>(json: &[u8], unknown: &mut Vec<String>) -> Result<T, DecodeError> {
    let budget = Budget::default();
    let read = budget.decode(json);
    unknown.append(&mut budget.unknown.take());
    read
}

/// Any JSON, within the same bound: a small object as a value takes eighty times its text.
pub fn value(json: &[u8]) -> Result<serde_json::Value, DecodeError> {
    decode(json, &mut Vec::new())
}

/// What one body has taken so far, and what it had that nobody knows.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<usize>,
    spent: Cell<bool>,
    unknown: RefCell<Vec<String>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: Cell::new(MAX_HELD_BYTES), spent: Cell::new(false), unknown: RefCell::default() }
    }
}

impl Budget {
    /// Reads a whole text that is a part of the body.
    fn decode<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T, DecodeError> {
        let mut json = serde_json::Deserializer::from_slice(json);
        let read = T::deserialize(Typed::new(&mut json, self)).and_then(|object| json.end().map(|()| object));
        match read {
            Ok(object) => Ok(object),
            Err(_) if self.is_spent() => Err(DecodeError::TooLarge),
            Err(err) => Err(err.into()),
        }
    }
    pub(super) fn value(&self, json: &[u8]) -> Result<serde_json::Value, DecodeError> {
        self.decode(json)
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
    fn note_unknown(&self, path: &Path<'_>) {
        let mut unknown = self.unknown.borrow_mut();
        if unknown.len() < MAX_UNKNOWN_FIELDS {
            unknown.push(path_text(path));
        }
    }
}

/// A deserializer that does all of the above to what `inner` reads. `inner` must describe itself, as JSON and YAML do.
pub(super) struct Typed<'s, D> {
    inner: D,
    budget: &'s Budget,
    path: Path<'s>,
    /// The text that stands for nothing here.
    zero_text: &'static str,
}

impl<'s, D> Typed<'s, D> {
    pub(super) fn new(inner: D, budget: &'s Budget) -> Self {
        Self::at(inner, budget, Path::Root)
    }
    fn at(inner: D, budget: &'s Budget, path: Path<'s>) -> Self {
        Self { inner, budget, path, zero_text: "" }
    }
    fn reading<V>(&self, visitor: V, zero: Zero) -> Reading<'s, V> {
        Reading { visitor, budget: self.budget, path: self.path, zero, is_struct: false, time_field: None }
    }
}

macro_rules! with_zero {
    ($($method:ident => $zero:expr),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let reading = self.reading(visitor, $zero);
            self.inner.deserialize_any(reading)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Typed<'_, D> {
    type Error = D::Error;

    with_zero! {
        deserialize_bool => Zero::Bool,
        deserialize_i8 => Zero::Number, deserialize_i16 => Zero::Number, deserialize_i32 => Zero::Number,
        deserialize_i64 => Zero::Number, deserialize_u8 => Zero::Number, deserialize_u16 => Zero::Number,
        deserialize_u32 => Zero::Number, deserialize_u64 => Zero::Number, deserialize_f32 => Zero::Number,
        deserialize_f64 => Zero::Number,
        deserialize_seq => Zero::List,
        deserialize_map => Zero::Map,
        deserialize_unit => Zero::Null,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let zero = if self.zero_text.is_empty() { Zero::Null } else { Zero::Text(self.zero_text) };
        let reading = self.reading(visitor, zero);
        self.inner.deserialize_any(reading)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let reading = self.reading(visitor, Zero::Text(self.zero_text));
        self.inner.deserialize_any(reading)
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_str(visitor)
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_str(visitor)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_str(visitor)
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_str(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let reading = self.reading(visitor, Zero::Null);
        self.inner.deserialize_option(reading)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        let zero = match name {
            "Time" | "MicroTime" => ZERO_TIME,
            "Quantity" => "0",
            _ => "",
        };
        let reading = self.reading(visitor, Zero::Text(zero));
        self.inner.deserialize_newtype_struct(name, reading)
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let time_field = TIMES_WITHOUT_DEFAULT.iter().find(|(of, _)| *of == name).map(|(_, field)| *field);
        let reading = Reading { is_struct: true, time_field, ..self.reading(visitor, Zero::Map) };
        self.inner.deserialize_any(reading)
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_unit(visitor)
    }
    /// The types have no enums but those that tell their variants by what stands there.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, visitor)
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_identifier(visitor)
    }
    /// What is read over is what the type does not have.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.budget.note_unknown(&self.path);
        self.inner.deserialize_ignored_any(visitor)
    }
}
