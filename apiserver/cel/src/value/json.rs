//! JSON as values, by its schema or without one, and values as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::{Fields, Key, List, Map, Text, Value, map_of};
use crate::error::EvalError;
use crate::schema::{ListKind, Schema, Shape};

static ATOMIC: ListKind = ListKind::Atomic;

impl<'a> Value<'a> {
    /// By what its schema says it is.
    pub fn of(json: &'a Json, schema: &'a Schema) -> Result<Self, EvalError> {
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
                let bytes =
                    STANDARD.decode(text).map_err(|e| EvalError::InvalidData(format!("byte formatted string: {e}")))?;
                Self::Bytes(bytes.into())
            }
            (Shape::Date, Json::String(text)) => Self::Timestamp(date(text)?),
            (Shape::DateTime, Json::String(text)) => {
                let why = |e| EvalError::Function(format!("Invalid date-time formatted string {text}: {e}"));
                Self::Timestamp(text.parse().map_err(why)?)
            }
            (Shape::Duration, Json::String(text)) => {
                let parsed = crate::time::parse_duration(text);
                Self::Duration(parsed.map_err(|e| EvalError::Function(format!("Invalid duration {text}: {e}")))?)
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
    /// As JSON has it. What JSON has no form of (types, addresses, none) is refused.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        let unsupported = || EvalError::conversion(self.type_of().name(), "JSON");
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => Json::from(*value),
            Self::String(text) => Json::String(text.to_string()),
            Self::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
            Self::Duration(nanos) => Json::String(crate::time::duration_text(*nanos)),
            Self::Timestamp(at) => Json::String(at.to_string()),
            Self::List(List::Json { items, .. }) => Json::Array(items.to_vec()),
            Self::List(list) => Json::Array(list.iter().map(|item| item?.to_json()).collect::<Result<_, _>>()?),
            Self::Map(Map::Json { object, .. }) => Json::Object((*object).clone()),
            Self::Map(Map::Made(entries)) => {
                let named = entries.iter().map(|(key, (_, value))| match key {
                    Key::String(name) => Ok((name.to_string(), value.to_json()?)),
                    Key::Bool(_) | Key::Int(_) => Err(EvalError::BadKey("JSON's keys are strings".into())),
                });
                Json::Object(named.collect::<Result<_, _>>()?)
            }
            Self::Struct(made) => {
                let named = made.fields.iter().map(|(name, value)| Ok((name.to_string(), value.to_json()?)));
                Json::Object(named.collect::<Result<_, EvalError>>()?)
            }
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Optional(None) | Self::Type(_) | Self::Opaque(_) => return Err(unsupported()),
        })
    }
}

fn date(text: &str) -> Result<Timestamp, EvalError> {
    let date = text.parse::<Date>().and_then(|date| date.to_zoned(TimeZone::UTC));
    let why = |e| EvalError::Function(format!("Invalid date formatted string {text}: {e}"));
    date.map(|zoned| zoned.timestamp()).map_err(why)
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
