//! Bodies in Kubernetes' protobuf become JSON. kubectl from 1.32 on writes them (`create`, `auth can-i`, `drain`).
//!
//! Envelope: <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>. What the messages hold
//! is data, in `messages.txt`. Answers are JSON: clients that write protobuf read both.

pub mod wire;

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corten_api::ApiError;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::MAX_NESTING;
use super::typed::{Budget, DecodeError};
use wire::{Fields, WireError, WireValue};

pub const MEDIA: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    NoMagic,
    #[error("the body names no kind")]
    NoKind,
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind { api_version: String, kind: String },
    #[error("proto: {0}")]
    Wire(#[from] WireError),
    #[error("proto: messages are nested more than {MAX_NESTING} deep")]
    TooDeep,
    #[error("proto: {field}: {why}")]
    Value { field: String, why: String },
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl From<ProtobufError> for ApiError {
    fn from(err: ProtobufError) -> Self {
        match err {
            ProtobufError::Decode(err) => err.into(),
            err => Self::bad_request(err.to_string()),
        }
    }
}

/// What a message takes as a JSON object, and a field in it: the smallest node of a map has room for eleven entries.
const OBJECT_BYTES: usize = 11 * FIELD_BYTES;
const FIELD_BYTES: usize = size_of::<String>() + size_of::<Value>();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    One,
    Repeated,
    Map,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    number: u32,
    /// Empty: the message's own fields stand in the outer object.
    name: &'static str,
    shape: Shape,
    zero_is_absent: bool,
    kind: &'static str,
}

static MESSAGES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let lines = include_str!("protobuf/messages.txt").lines().filter(|l| !l.starts_with('#'));
    let message = |line: &'static str| {
        let mut words = line.split(' ');
        Some((words.next()?, words.filter_map(field).collect()))
    };
    lines.filter_map(message).collect()
});

fn field(text: &'static str) -> Option<Field> {
    let mut parts = text.splitn(3, ':');
    let (number, name, kind) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let (zero_is_absent, kind) = kind.strip_prefix('!').map_or((false, kind), |k| (true, k));
    let (shape, kind) = match kind.as_bytes().first()? {
        b'*' => (Shape::Repeated, &kind[1..]),
        b'%' => (Shape::Map, &kind[1..]),
        _ => (Shape::One, kind),
    };
    Some(Field { number, name, shape, zero_is_absent, kind })
}

/// A body in JSON, with its kind as its envelope names it.
#[derive(Debug)]
pub struct Decoded {
    pub api_version: String,
    pub kind: String,
    pub json: Vec<u8>,
}

pub fn decode(bytes: &[u8]) -> Result<Decoded, ProtobufError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields(body) {
        match field? {
            (1, WireValue::Bytes(meta)) => {
                for field in Fields(meta) {
                    match field? {
                        (1, WireValue::Bytes(text)) => api_version = utf8("apiVersion", text)?,
                        (2, WireValue::Bytes(text)) => kind = utf8("kind", text)?,
                        _ => {}
                    }
                }
            }
            (2, WireValue::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    if kind.is_empty() {
        return Err(ProtobufError::NoKind);
    }
    let name = message_name(&api_version, &kind);
    let Some((name, _)) = MESSAGES.get_key_value(name.as_str()) else {
        return Err(ProtobufError::UnknownKind { api_version, kind });
    };
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.clone().into());
    object.insert("kind".into(), kind.clone().into());
    message(name, raw, &mut object, (0, &Budget::default()))?;
    Ok(Decoded { api_version, kind, json: Value::Object(object).to_string().into_bytes() })
}

/// `apps/v1` and `Deployment` are `apps.v1.Deployment`: packages are named by a group's first word.
fn message_name(api_version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        // Written in the version of whatever is deleted.
        return "meta.v1.DeleteOptions".to_owned();
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    format!("{}.{version}.{kind}", group.split('.').next().unwrap_or_default())
}

/// How deep a message stands, and what the whole may still take.
type Bounds<'b> = (usize, &'b Budget);

fn message(name: &str, bytes: &[u8], into: &mut Map<String, Value>, bounds: Bounds<'_>) -> Result<(), ProtobufError> {
    let (depth, budget) = bounds;
    if depth > MAX_NESTING {
        return Err(ProtobufError::TooDeep);
    }
    budget.take(OBJECT_BYTES)?;
    let below = (depth + 1, budget);
    let known = MESSAGES.get(name).map(Vec::as_slice).unwrap_or_default();
    for field in Fields(bytes) {
        let (number, wire) = field?;
        // A field that we do not know is a newer client's; upstream drops it too.
        let Some(field) = known.iter().find(|f| f.number == number) else { continue };
        budget.take(FIELD_BYTES)?;
        match (field.shape, wire) {
            (Shape::One, WireValue::Bytes(inner)) if field.name.is_empty() => {
                message(field.kind, inner, into, below)?;
            }
            (Shape::One, wire) => {
                let value = value(field, wire, bounds)?;
                if !(field.zero_is_absent && is_zero(&value)) {
                    into.insert(field.name.into(), value);
                }
            }
            (Shape::Repeated, WireValue::Bytes(packed)) if field.kind == "i" => {
                // A number is a byte of the text at least, and a value in the list.
                budget.take(packed.len() * size_of::<Value>())?;
                let numbers = wire::packed(packed)?.into_iter().map(Value::from);
                push(into, field, numbers);
            }
            (Shape::Repeated, wire) => {
                let value = value(field, wire, bounds)?;
                push(into, field, [value]);
            }
            (Shape::Map, WireValue::Bytes(pair)) => {
                let (key, value) = entry(field, pair, bounds)?;
                let map = into.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(key, value);
                }
            }
            (Shape::Map, _) => return Err(bad(field, "a map entry is no message")),
        }
    }
    Ok(())
}

fn push(into: &mut Map<String, Value>, field: &Field, values: impl IntoIterator<Item = Value>) {
    if let Value::Array(list) = into.entry(field.name).or_insert_with(|| Value::Array(Vec::new())) {
        list.extend(values);
    }
}

fn entry(field: &Field, pair: &[u8], bounds: Bounds<'_>) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut found) = (String::new(), None);
    for part in Fields(pair) {
        match part? {
            (1, WireValue::Bytes(text)) => key = utf8(field.name, text)?,
            (2, wire) => found = Some(value(field, wire, bounds)?),
            _ => {}
        }
    }
    let empty = || value(field, WireValue::Bytes(&[]), bounds);
    Ok((key, found.map_or_else(empty, Ok)?))
}

fn value(field: &Field, wire: WireValue<'_>, bounds: Bounds<'_>) -> Result<Value, ProtobufError> {
    let (depth, budget) = bounds;
    Ok(match (field.kind, wire) {
        ("s", WireValue::Bytes(text)) => utf8(field.name, text)?.into(),
        ("y", WireValue::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        ("i", WireValue::Varint(n)) => n.cast_signed().into(),
        ("b", WireValue::Varint(n)) => (n != 0).into(),
        ("f", WireValue::Fixed64(bits)) => f64::from_bits(bits).into(),
        ("@time", WireValue::Bytes(inner)) => time(field, inner, "%Y-%m-%dT%H:%M:%SZ")?,
        ("@microtime", WireValue::Bytes(inner)) => time(field, inner, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
        ("@quantity", WireValue::Bytes(inner)) => match first(inner, 1)? {
            Some(WireValue::Bytes(text)) => utf8(field.name, text)?.into(),
            _ => "0".into(),
        },
        ("@intorstring", WireValue::Bytes(inner)) => match (first(inner, 1)?, first(inner, 2)?, first(inner, 3)?) {
            (Some(WireValue::Varint(1)), _, Some(WireValue::Bytes(text))) => utf8(field.name, text)?.into(),
            (_, Some(WireValue::Varint(n)), _) => n.cast_signed().into(),
            _ => 0.into(),
        },
        ("@items", WireValue::Bytes(inner)) => {
            let mut items = Vec::new();
            for part in Fields(inner) {
                if let (1, WireValue::Bytes(text)) = part? {
                    budget.take(FIELD_BYTES)?;
                    items.push(Value::from(utf8(field.name, text)?));
                }
            }
            items.into()
        }
        ("@raw", WireValue::Bytes(inner)) => match first(inner, 1)? {
            Some(WireValue::Bytes(json)) if !json.is_empty() => raw(field, json, budget)?,
            _ => Value::Null,
        },
        (name, WireValue::Bytes(inner)) if MESSAGES.contains_key(name) => {
            let mut object = Map::new();
            message(name, inner, &mut object, (depth + 1, budget))?;
            Value::Object(object)
        }
        _ => return Err(bad(field, "wrong wire type")),
    })
}

/// JSON inside a message.
fn raw(field: &Field, json: &[u8], budget: &Budget) -> Result<Value, ProtobufError> {
    budget.value(json).map_err(|err| match err {
        DecodeError::Json(err) => bad(field, &err.to_string()),
        DecodeError::TooLarge => err.into(),
    })
}

/// The last field of that number, which is the one that counts.
fn first(bytes: &[u8], number: u32) -> Result<Option<WireValue<'_>>, WireError> {
    let mut found = None;
    for field in Fields(bytes) {
        let (n, value) = field?;
        if n == number {
            found = Some(value);
        }
    }
    Ok(found)
}

fn time(field: &Field, bytes: &[u8], format: &str) -> Result<Value, ProtobufError> {
    let (Some(WireValue::Varint(secs)), nanos) = (first(bytes, 1)?, first(bytes, 2)?) else { return Ok(Value::Null) };
    let nanos = match nanos {
        Some(WireValue::Varint(n)) => i32::try_from(n).map_err(|_| bad(field, "nanoseconds out of range"))?,
        _ => 0,
    };
    // Go's zero time, the year 1, is how "no time" is written.
    const GO_ZERO_SECS: i64 = -62_135_596_800;
    if secs.cast_signed() == GO_ZERO_SECS || (secs == 0 && nanos == 0) {
        return Ok(Value::Null);
    }
    let time = Timestamp::new(secs.cast_signed(), nanos).map_err(|err| bad(field, &err.to_string()))?;
    Ok(time.strftime(format).to_string().into())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn utf8(field: &str, bytes: &[u8]) -> Result<String, ProtobufError> {
    let why = || ProtobufError::Value { field: field.to_owned(), why: "invalid UTF-8".to_owned() };
    String::from_utf8(bytes.to_vec()).map_err(|_| why())
}
fn bad(field: &Field, why: &str) -> ProtobufError {
    ProtobufError::Value { field: field.name.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests;
