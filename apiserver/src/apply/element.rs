//! The steps of paths through an object, and their order and text.
//!
//! A step is written in two ways: in FieldsV1 as `f:replicas`, `k:{"name":"web"}`, `v:"x.y/z"`, `i:3`, and in messages as
//! `.replicas`, `[name="web"]`, `[="x.y/z"]`, `[3]`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::{Number, Value};

use super::json::{self, Escape};
use super::told;

/// Fields that tell the items of one list apart. Upstream has no bound; its longest list of keys has four.
const KEY_FIELDS_MAX: usize = 64;

/// One step: which part of a value is meant. In the order that FieldsV1 has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A struct's field, or a map's entry.
    Field(Arc<str>),
    /// The item of a list in which fields of these names, in order, have these values.
    Key(Arc<[(Arc<str>, Atom)]>),
    /// The item of a set that is this value.
    Value(Atom),
    /// The item of a list that stands here, counted from 0.
    Index(i64),
}

/// A value without parts: what items can be told apart by. Numbers are equal if they mean the same: `80` and `80.0`.
#[derive(Clone, Debug)]
pub enum Atom {
    Number(Number),
    Text(Arc<str>),
    Bool(bool),
    Null,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElementError {
    #[error("key must be 2 characters long: {0:?}")]
    Short(String),
    #[error("missing colon: {0:?}")]
    NoColon(String),
    #[error("{text:?} is no path element: {why}")]
    Bad { text: String, why: String },
}

impl Element {
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// Reads a key of FieldsV1. `None`: a sort of step that only a later version knows, which upstream passes over.
    pub fn parse(text: &str) -> Result<Option<Self>, ElementError> {
        let (sort, rest) = match text.as_bytes() {
            // A letter before the colon is of one byte, or it would not be the first.
            [sort, b':', ..] => (*sort, text.get(2..).unwrap_or_default()),
            [_, _, ..] => return Err(ElementError::NoColon(told(text))),
            _ => return Err(ElementError::Short(told(text))),
        };
        let bad = |why: String| ElementError::Bad { text: told(text), why: told(why) };
        Ok(Some(match sort {
            b'f' => Self::Field(rest.into()),
            b'v' => Self::Value(serde_json::from_str(rest).map_err(|err| bad(err.to_string()))?),
            b'i' => Self::Index(rest.parse().map_err(|_| bad("an index is a whole number".into()))?),
            b'k' => {
                let fields: BTreeMap<String, Atom> = serde_json::from_str(rest).map_err(|err| bad(err.to_string()))?;
                if fields.len() > KEY_FIELDS_MAX {
                    return Err(bad(format!("more than {KEY_FIELDS_MAX} fields")));
                }
                Self::Key(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
            }
            _ => return Ok(None),
        }))
    }

    /// Appends the step as a key of FieldsV1, which JSON has yet to escape.
    pub(super) fn push_key(&self, out: &mut String) {
        match self {
            Self::Field(name) => out.extend(["f:", &**name]),
            Self::Value(value) => {
                out.push_str("v:");
                value.push_json(out);
            }
            Self::Index(at) => out.extend(["i:", at.to_string().as_str()]),
            Self::Key(fields) => {
                out.push_str("k:{");
                for (nth, (name, value)) in fields.iter().enumerate() {
                    if nth > 0 {
                        out.push(',');
                    }
                    json::push_text(out, name, Escape::Few);
                    out.push(':');
                    value.push_json(out);
                }
                out.push('}');
            }
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(at) => write!(f, "[{at}]"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (nth, (name, value)) in fields.iter().enumerate() {
                    let comma = if nth > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={value}")?;
                }
                f.write_str("]")
            }
        }
    }
}

impl Atom {
    /// `None` for objects and arrays.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(text.as_str().into()),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }

    fn push_json(&self, out: &mut String) {
        match self {
            Self::Number(number) => json::push_number(out, number),
            Self::Text(text) => json::push_text(out, text, Escape::Html),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Null => out.push_str("null"),
        }
    }

    /// Numbers come before texts, and nothing comes last.
    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Bool(_) => 2,
            Self::Null => 3,
        }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(_) | Self::Bool(_) | Self::Null => {
                let mut text = String::new();
                self.push_json(&mut text);
                f.write_str(&text)
            }
        }
    }
}

impl Ord for Atom {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => compare_numbers(one, other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}
impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Atom {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Atom {}

/// By what they mean, and exactly: whole numbers are not rounded to floats, so that the order stays one.
pub(super) fn compare_numbers(one: &Number, other: &Number) -> Ordering {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    let float = |number: &Number| number.as_f64().unwrap_or_default();
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(one), None) => compare_to_float(one, float(other)),
        (None, Some(other)) => compare_to_float(other, float(one)).reverse(),
        // JSON has no number that is none.
        (None, None) => float(one).partial_cmp(&float(other)).unwrap_or(Ordering::Equal),
    }
}

fn compare_to_float(whole: i128, float: f64) -> Ordering {
    // A float beyond what an i128 holds becomes its last value, which no i64 and no u64 reaches.
    let floor = float.floor();
    let above = if floor < float { Ordering::Less } else { Ordering::Equal };
    whole.cmp(&(floor as i128)).then(above)
}

impl<'de> Deserialize<'de> for Atom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtomVisitor;
        impl Visitor<'_> for AtomVisitor {
            type Value = Atom;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value without parts")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Atom, E> {
                Ok(Atom::Null)
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Atom, E> {
                Ok(Atom::Bool(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Atom, E> {
                Ok(Atom::Number(value.into()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Atom, E> {
                Ok(Atom::Number(value.into()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Atom, E> {
                Number::from_f64(value).map(Atom::Number).ok_or_else(|| E::custom("not a number"))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Atom, E> {
                Ok(Atom::Text(value.into()))
            }
        }
        deserializer.deserialize_any(AtomVisitor)
    }
}

/// Where a field stands in an object. Prints as upstream's messages have it: `.spec.containers[name="web"].image`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Element>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}

impl FromIterator<Element> for Path {
    fn from_iter<I: IntoIterator<Item = Element>>(elements: I) -> Self {
        Self(elements.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
