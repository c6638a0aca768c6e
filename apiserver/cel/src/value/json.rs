//! JSON as values, by its schema or without one, and values as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map as JsonMap, Value as Json};

use super::{Fields, Key, List, Map, Text, Value, brief, map_of};
use crate::error::EvalError;
use crate::limits::Run;
use crate::schema::{ListKind, Schema, Shape};
use crate::strfmt;

static ATOMIC: ListKind = ListKind::Atomic;

impl<'a> Value<'a> {
    /// By what its schema says it is.
    pub fn of(json: &'a Json, schema: &'a Schema) -> Result<Self, EvalError> {
        Self::read(json, schema, &mut Run::outside())
    }
    pub(crate) fn read(json: &'a Json, schema: &'a Schema, run: &mut Run<'_>) -> Result<Self, EvalError> {
        let wrong = |wanted: &str| {
            let found = kind_of(json);
            Err(EvalError::InvalidData(format!("expected {wanted}, got {found}")))
        };
        if json.is_null() {
            let refused = || EvalError::InvalidData("got null for schema with nullable=false".into());
            return if schema.nullable { Ok(Self::Null) } else { Err(refused()) };
        }
        Ok(match (&schema.shape, json) {
            (Shape::Object(_) | Shape::Map(_), Json::Object(object)) => match map_of(object, schema) {
                Some(map) => Self::Map(map),
                None => return wrong("a map for the provided schema with type=object"),
            },
            (Shape::List { items: of, order }, Json::Array(items)) => {
                Self::List(List::Json { items, schema: Some(of), kind: order })
            }
            (Shape::String | Shape::IntOrString, Json::String(text)) => Self::String(Text::Borrowed(text)),
            (Shape::Bytes, Json::String(text)) => {
                run.allocate(text.len())?;
                let why = |e| EvalError::InvalidData(format!("byte formatted string: {e}"));
                Self::Bytes(strfmt::bytes(text).map_err(why)?.into())
            }
            (Shape::Date, Json::String(text)) => Self::Timestamp(date(text)?),
            (Shape::DateTime, Json::String(text)) => {
                let refused = || {
                    let text = brief(text);
                    EvalError::function(format!(
                        "Invalid date-time formatted string {text}: cannot parse {text:?} as RFC 3339"
                    ))
                };
                Self::Timestamp(strfmt::date_time(time_text(text)?).ok_or_else(refused)?)
            }
            (Shape::Duration, Json::String(text)) => {
                let why = |e| EvalError::function(format!("Invalid duration {}: {e}", brief(text)));
                Self::Duration(strfmt::duration(time_text(text)?).map_err(why)?)
            }
            (Shape::Double, Json::Number(number)) => match number.as_f64() {
                Some(value) => Self::Double(value),
                None => return wrong("float"),
            },
            (Shape::Int | Shape::IntOrString, Json::Number(number)) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => return wrong("int"),
            },
            (Shape::Bool, Json::Bool(value)) => Self::Bool(*value),
            (Shape::Object(_) | Shape::Map(_), _) => return wrong("a map for the provided schema with type=object"),
            (Shape::List { .. }, _) => return wrong("an array for the provided schema with type=array"),
            (Shape::IntOrString, _) => return wrong("XIntOrString value to be either a string or integer"),
            (Shape::Int, _) => return wrong("int"),
            (Shape::Double, _) => return wrong("float"),
            (Shape::Bool, _) => return wrong("bool"),
            (Shape::String | Shape::Bytes | Shape::Date | Shape::DateTime | Shape::Duration, _) => {
                return wrong("string");
            }
        })
    }
    /// As it looks: whole numbers are ints, others doubles.
    pub fn dynamic(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Self::Int(value),
                (None, Some(value)) => Self::Uint(value),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::String(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json { items, schema: None, kind: &ATOMIC }),
            Json::Object(object) => Self::Map(Map::Json { object, fields: Fields::Unknown }),
        }
    }
    /// As JSON has it. What JSON has no form of (types, addresses, none) is refused, and what would be too large.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        self.json(&mut Run::outside())
    }
    /// The same, of no more memory than is left, in bytes: what one expression has made may name the same large value often.
    pub fn to_json_within(&self, left: &mut usize) -> Result<Json, EvalError> {
        let mut run = Run::outside_within(*left);
        let json = self.json(&mut run)?;
        *left = run.memory_left();
        Ok(json)
    }
    fn json(&self, run: &mut Run<'_>) -> Result<Json, EvalError> {
        run.step()?;
        run.allocate(size_of::<Json>())?;
        let unsupported = || EvalError::conversion(self.type_of().name(), "JSON");
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => Json::from(*value),
            Self::String(text) => Json::String(copied(text, run)?),
            Self::Bytes(bytes) => {
                run.allocate(bytes.len().saturating_mul(4) / 3)?;
                Json::String(STANDARD.encode(bytes))
            }
            Self::Duration(nanos) => Json::String(crate::time::duration_text(*nanos)),
            Self::Timestamp(at) => Json::String(at.to_string()),
            Self::List(List::Json { items, .. }) => Json::Array(copied_items(items, run)?),
            Self::List(List::Made { items, .. }) => {
                Json::Array(items.iter().map(|item| item.json(run)).collect::<Result<_, _>>()?)
            }
            Self::Map(Map::Json { object, .. }) => Json::Object(copied_object(object, run)?),
            Self::Map(Map::Made { entries, .. }) => {
                let named = entries.iter().map(|(key, (_, value))| match key {
                    Key::String(name) => Ok((copied(name, run)?, value.json(run)?)),
                    Key::Bool(_) | Key::Int(_) => Err(EvalError::BadKey("JSON's keys are strings".into())),
                });
                Json::Object(named.collect::<Result<_, _>>()?)
            }
            Self::Struct(made) => {
                let named = made.fields.iter().map(|(name, value)| Ok((copied(name, run)?, value.json(run)?)));
                Json::Object(named.collect::<Result<_, EvalError>>()?)
            }
            Self::Optional(Some(value)) => value.json(run)?,
            Self::Optional(None) | Self::Type(_) | Self::Opaque(_) => return Err(unsupported()),
        })
    }
}

fn copied(text: &str, run: &mut Run<'_>) -> Result<String, EvalError> {
    run.allocate(text.len())?;
    Ok(text.to_owned())
}

fn copied_json(json: &Json, run: &mut Run<'_>) -> Result<Json, EvalError> {
    run.step()?;
    run.allocate(size_of::<Json>())?;
    Ok(match json {
        Json::String(text) => Json::String(copied(text, run)?),
        Json::Array(items) => Json::Array(copied_items(items, run)?),
        Json::Object(object) => Json::Object(copied_object(object, run)?),
        Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
    })
}

fn copied_items(items: &[Json], run: &mut Run<'_>) -> Result<Vec<Json>, EvalError> {
    items.iter().map(|item| copied_json(item, run)).collect()
}

fn copied_object(object: &JsonMap<String, Json>, run: &mut Run<'_>) -> Result<JsonMap<String, Json>, EvalError> {
    object.iter().map(|(name, value)| Ok((copied(name, run)?, copied_json(value, run)?))).collect()
}

/// No time has a longer text, and a long one is not gone through.
fn time_text(text: &str) -> Result<&str, EvalError> {
    const MAX: usize = 1024;
    if text.len() > MAX {
        return Err(EvalError::function(format!("Invalid date-time or duration formatted string {}", brief(text))));
    }
    Ok(text)
}

fn date(text: &str) -> Result<Timestamp, EvalError> {
    let refused = || EvalError::function(format!("Invalid date formatted string {text}"));
    if !strfmt::is_date(time_text(text)?) {
        return Err(refused());
    }
    let date = text.parse::<Date>().and_then(|date| date.to_zoned(TimeZone::UTC));
    date.map(|zoned| zoned.timestamp()).map_err(|_| refused())
}

/// As messages of upstream call it.
fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_i64() || number.is_u64() => "int64",
        Json::Number(_) => "float64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}
