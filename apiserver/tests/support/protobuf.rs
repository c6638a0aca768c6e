//! Objects as a Go client writes them in protobuf: fields without pointer are there when they are zero too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corten_apiserver::schema::{Alternative, Around, Field, Node, Scalar, Shape, Zero, builtin};
use serde_json::Value;

/// A body with its envelope.
pub(crate) fn body(object: &Value) -> Vec<u8> {
    let (api_version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let shape = builtin().kind(api_version, kind).unwrap();
    let mut meta = Vec::new();
    part(1, api_version.as_bytes(), &mut meta);
    part(2, kind.as_bytes(), &mut meta);
    let mut body = b"k8s\0".to_vec();
    part(1, &meta, &mut body);
    part(2, &message(shape, Around::NONE, object), &mut body);
    body
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
fn part(number: u16, bytes: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
fn number(number: u16, n: u64, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3, out);
    varint(n, out);
}

/// The fields of a struct, or those that it has of an embedded message.
fn message(shape: Shape<'_>, around: Around, value: &Value) -> Vec<u8> {
    let (mut out, of) = (Vec::new(), shape.as_struct().unwrap());
    let depth = around.numbers().count();
    let is_within = |field: &&Field| field.around.numbers().take(depth).eq(around.numbers());
    let embedded = of.fields().iter().filter(is_within).filter_map(|field| field.around.numbers().nth(depth));
    for inner in embedded.collect::<std::collections::BTreeSet<u16>>() {
        part(inner, &message(shape, around.within(inner).unwrap(), value), &mut out);
    }
    for field in of.fields().iter().filter(|field| field.around == around && field.number != 0) {
        let given = value.get(&*field.name).filter(|value| !value.is_null());
        match given {
            Some(given) => add(field, shape.of(field), given, &mut out),
            None if field.zero != Zero::Distinct => zero(field, shape.of(field), &mut out),
            None => {}
        }
    }
    out
}

/// What Go writes of a field that nobody set.
fn zero(field: &Field, of: Shape<'_>, out: &mut Vec<u8>) {
    match of.node() {
        Node::Scalar(Scalar::Bool | Scalar::Int32 | Scalar::Int64) => number(field.number, 0, out),
        Node::Scalar(Scalar::String | Scalar::Quantity | Scalar::IntOrString) => part(field.number, b"", out),
        Node::Struct(_) => part(field.number, &message(of, Around::NONE, &Value::Null), out),
        Node::Scalar(Scalar::Time | Scalar::MicroTime) => part(field.number, b"", out),
        Node::Scalar(_) | Node::List(_) | Node::Map(_) | Node::Any => {}
    }
}

fn add(field: &Field, of: Shape<'_>, value: &Value, out: &mut Vec<u8>) {
    match (of.node(), value) {
        (Node::List(_), Value::Array(items)) => {
            items.iter().for_each(|item| one(field.number, of.element().unwrap(), item, out));
        }
        (Node::Map(_), Value::Object(map)) => {
            for (key, value) in map {
                let mut entry = Vec::new();
                part(1, key.as_bytes(), &mut entry);
                one(2, of.element().unwrap(), value, &mut entry);
                part(field.number, &entry, out);
            }
        }
        _ => one(field.number, of, value, out),
    }
}

/// A schema of a custom kind, or what stands in its place.
fn schema_or(other: Alternative, value: &Value, out: &mut Vec<u8>) {
    let schema =
        |value: &Value| message(builtin().named("apiextensions.v1.JSONSchemaProps").unwrap(), Around::NONE, value);
    match (other, value) {
        (Alternative::Bool, Value::Bool(allows)) => number(1, u64::from(*allows), out),
        (Alternative::Bool, of) => part(2, &schema(of), out),
        (Alternative::Array, Value::Array(all)) => all.iter().for_each(|of| part(2, &schema(of), out)),
        (Alternative::StringArray, Value::Array(all)) => {
            all.iter().for_each(|text| part(2, text.as_str().unwrap().as_bytes(), out));
        }
        (Alternative::Array | Alternative::StringArray, of) => part(1, &schema(of), out),
    }
}

fn one(at: u16, of: Shape<'_>, value: &Value, out: &mut Vec<u8>) {
    let Node::Scalar(scalar) = of.node() else { return part(at, &message(of, Around::NONE, value), out) };
    let mut inner = Vec::new();
    match scalar {
        Scalar::String => return part(at, value.as_str().unwrap().as_bytes(), out),
        Scalar::Bytes => return part(at, &STANDARD.decode(value.as_str().unwrap()).unwrap(), out),
        Scalar::Bool => return number(at, u64::from(value.as_bool().unwrap()), out),
        Scalar::Int32 | Scalar::Int64 => return number(at, value.as_i64().unwrap().cast_unsigned(), out),
        Scalar::Float64 => {
            varint(u64::from(at) << 3 | 1, out);
            return out.extend(value.as_f64().unwrap().to_bits().to_le_bytes());
        }
        Scalar::Time | Scalar::MicroTime => {
            let time: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
            number(1, time.as_second().cast_unsigned(), &mut inner);
            number(2, u64::from(time.subsec_nanosecond().unsigned_abs()), &mut inner);
        }
        Scalar::Quantity => {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            part(1, text.as_bytes(), &mut inner);
        }
        Scalar::IntOrString => {
            number(1, u64::from(value.is_string()), &mut inner);
            number(2, value.as_i64().unwrap_or(0).cast_unsigned(), &mut inner);
            part(3, value.as_str().unwrap_or_default().as_bytes(), &mut inner);
        }
        Scalar::SchemaOr(other) => schema_or(*other, value, &mut inner),
        Scalar::RawExtension | Scalar::FieldsV1 => part(1, value.to_string().as_bytes(), &mut inner),
        Scalar::ExtraValue => {
            value.as_array().unwrap().iter().for_each(|item| part(1, item.as_str().unwrap().as_bytes(), &mut inner));
        }
    }
    part(at, &inner, out);
}
