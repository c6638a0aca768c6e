//! Bodies in Kubernetes' protobuf become JSON. kubectl from 1.32 on writes them (`create`, `auth can-i`, `drain`).
//!
//! Envelope: <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>. What the messages hold
//! is in the schema. Answers in protobuf are written by `encode/protobuf.rs`.

pub mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corten_api::ApiError;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::value::Budget;
use super::{DecodeError, MAX_NESTING};
use crate::schema::{Alternative, Around, Field, Node, Scalar, Shape, builtin, json_schema};
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

/// A body in JSON, with the kind that its envelope names. Zeros that are written are there.
pub fn decode(bytes: &[u8]) -> Result<Vec<u8>, ProtobufError> {
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
    // DeleteOptions are written in the version of whatever is deleted.
    let of = match kind.as_str() {
        "DeleteOptions" => builtin().named("meta.v1.DeleteOptions"),
        _ => builtin().kind(&api_version, &kind),
    };
    let Some(of) = of else { return Err(ProtobufError::UnknownKind { api_version, kind }) };
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    message((of, Around::NONE), raw, &mut object, (0, &Budget::default()))?;
    Ok(Value::Object(object).to_string().into_bytes())
}

/// How deep a message stands, and what the whole may still take.
type Bounds<'b> = (usize, &'b Budget);

/// A struct, and which message within it is read: its own, or that of a struct that Go embeds, whose fields JSON has in the outer
/// object.
type Message<'s> = (Shape<'s>, Around);

fn message(
    (of, around): Message<'_>,
    bytes: &[u8],
    into: &mut Map<String, Value>,
    (depth, budget): Bounds<'_>,
) -> Result<(), ProtobufError> {
    if depth > MAX_NESTING {
        return Err(ProtobufError::TooDeep);
    }
    budget.take(OBJECT_BYTES)?;
    let below = (depth + 1, budget);
    let Some(known) = of.as_struct() else { return Ok(()) };
    for part in Fields(bytes) {
        let (number, wire) = part?;
        // Numbers that no table has are a newer client's; upstream drops them too.
        let Ok(number) = u16::try_from(number) else { continue };
        if let Some(field) = known.numbered(around, number) {
            budget.take(FIELD_BYTES)?;
            add((field, of.of(field)), wire, into, below)?;
        } else if let (Some(within), WireValue::Bytes(inner)) = (known.embedded(around, number), wire) {
            message((of, within), inner, into, below)?;
        }
    }
    Ok(())
}

/// Adds what `wire` holds to the field: its value, an item of its list, or an entry of its map.
fn add(
    (field, of): (&Field, Shape<'_>),
    wire: WireValue<'_>,
    into: &mut Map<String, Value>,
    bounds: Bounds<'_>,
) -> Result<(), ProtobufError> {
    let name = &*field.name;
    match (of.node(), of.element()) {
        (Node::List(_), Some(items)) => {
            let added = match (items.node(), wire) {
                (Node::Scalar(Scalar::Int32 | Scalar::Int64), WireValue::Bytes(packed)) => {
                    // A number is a byte of the text at least, and a value in the list.
                    bounds.1.take(packed.len() * size_of::<Value>())?;
                    wire::packed(packed)?.into_iter().map(Value::from).collect()
                }
                (_, wire) => vec![value(name, items, wire, bounds)?],
            };
            if let Value::Array(list) = into.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                list.extend(added);
            }
        }
        (Node::Map(_), Some(values)) => {
            let WireValue::Bytes(pair) = wire else { return Err(bad(name, "a map entry is no message")) };
            let (key, value) = entry(name, values, pair, bounds)?;
            if let Value::Object(map) = into.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                map.insert(key, value);
            }
        }
        _ => {
            into.insert(name.into(), value(name, of, wire, bounds)?);
        }
    }
    Ok(())
}

fn entry(name: &str, values: Shape<'_>, pair: &[u8], bounds: Bounds<'_>) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut found) = (String::new(), None);
    for part in Fields(pair) {
        match part? {
            (1, WireValue::Bytes(text)) => key = utf8(name, text)?,
            (2, wire) => found = Some(value(name, values, wire, bounds)?),
            _ => {}
        }
    }
    // A zero value is not written: what an empty message or text would be.
    let empty = || match values.node() {
        Node::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool) => value(name, values, WireValue::Varint(0), bounds),
        _ => value(name, values, WireValue::Bytes(&[]), bounds),
    };
    Ok((key, found.map_or_else(empty, Ok)?))
}

/// One value of the field `name`.
fn value(name: &str, of: Shape<'_>, wire: WireValue<'_>, bounds: Bounds<'_>) -> Result<Value, ProtobufError> {
    let (depth, budget) = bounds;
    match (of.node(), wire) {
        (Node::Scalar(Scalar::SchemaOr(other)), WireValue::Bytes(inner)) => schema_or(name, *other, inner, bounds),
        (Node::Scalar(scalar), wire) => self::scalar(name, *scalar, wire, budget),
        (Node::Struct(_), WireValue::Bytes(inner)) => {
            let mut object = Map::new();
            message((of, Around::NONE), inner, &mut object, (depth + 1, budget))?;
            Ok(Value::Object(object))
        }
        _ => Err(bad(name, "wrong wire type")),
    }
}

/// A schema of a custom kind, or what stands in its place.
fn schema_or(name: &str, other: Alternative, inner: &[u8], bounds: Bounds<'_>) -> Result<Value, ProtobufError> {
    let of = json_schema().ok_or_else(|| bad(name, "schemas are not known"))?;
    let (mut schema, mut allows, mut list) = (None, false, Vec::new());
    for part in Fields(inner) {
        match (other, part?) {
            (Alternative::Bool, (1, WireValue::Varint(n))) => allows = n != 0,
            (Alternative::Bool, (2, wire)) | (Alternative::Array | Alternative::StringArray, (1, wire)) => {
                schema = Some(value(name, of, wire, bounds)?);
            }
            (Alternative::Array, (2, wire)) => {
                bounds.1.take(size_of::<Value>())?;
                list.push(value(name, of, wire, bounds)?);
            }
            (Alternative::StringArray, (2, WireValue::Bytes(text))) => {
                bounds.1.take(size_of::<Value>())?;
                list.push(utf8(name, text)?.into());
            }
            _ => {}
        }
    }
    Ok(schema.unwrap_or(if other == Alternative::Bool { allows.into() } else { list.into() }))
}

fn scalar(name: &str, scalar: Scalar, wire: WireValue<'_>, budget: &Budget) -> Result<Value, ProtobufError> {
    Ok(match (scalar, wire) {
        (Scalar::String, WireValue::Bytes(text)) => utf8(name, text)?.into(),
        (Scalar::Bytes, WireValue::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Scalar::Int32 | Scalar::Int64, WireValue::Varint(n)) => n.cast_signed().into(),
        (Scalar::Bool, WireValue::Varint(n)) => (n != 0).into(),
        (Scalar::Float64, WireValue::Fixed64(bits)) => f64::from_bits(bits).into(),
        (Scalar::Time, WireValue::Bytes(inner)) => time(name, inner, "%Y-%m-%dT%H:%M:%SZ")?,
        (Scalar::MicroTime, WireValue::Bytes(inner)) => time(name, inner, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
        (Scalar::Quantity, WireValue::Bytes(inner)) => match first(inner, 1)? {
            Some(WireValue::Bytes(text)) => utf8(name, text)?.into(),
            _ => "0".into(),
        },
        (Scalar::IntOrString, WireValue::Bytes(inner)) => {
            match (first(inner, 1)?, first(inner, 2)?, first(inner, 3)?) {
                (Some(WireValue::Varint(1)), _, Some(WireValue::Bytes(text))) => utf8(name, text)?.into(),
                (_, Some(WireValue::Varint(n)), _) => n.cast_signed().into(),
                _ => 0.into(),
            }
        }
        (Scalar::ExtraValue, WireValue::Bytes(inner)) => {
            let mut items = Vec::new();
            for part in Fields(inner) {
                if let (1, WireValue::Bytes(text)) = part? {
                    budget.take(FIELD_BYTES)?;
                    items.push(Value::from(utf8(name, text)?));
                }
            }
            items.into()
        }
        (Scalar::RawExtension | Scalar::FieldsV1, WireValue::Bytes(inner)) => match first(inner, 1)? {
            Some(WireValue::Bytes(json)) if !json.is_empty() => raw(name, json, budget)?,
            _ => Value::Null,
        },
        _ => return Err(bad(name, "wrong wire type")),
    })
}

/// JSON inside a message.
fn raw(field: &str, json: &[u8], budget: &Budget) -> Result<Value, ProtobufError> {
    budget.value(json).map_err(|err| match err {
        DecodeError::TooLarge => err.into(),
        err => bad(field, &err.to_string()),
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

fn time(field: &str, bytes: &[u8], format: &str) -> Result<Value, ProtobufError> {
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

fn utf8(field: &str, bytes: &[u8]) -> Result<String, ProtobufError> {
    let why = || ProtobufError::Value { field: field.to_owned(), why: "invalid UTF-8".to_owned() };
    String::from_utf8(bytes.to_vec()).map_err(|_| why())
}
fn bad(field: &str, why: &str) -> ProtobufError {
    ProtobufError::Value { field: field.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests;
