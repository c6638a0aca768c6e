//! JSON read along its shape, written as protobuf while it is read: no value tree stands between.
//!
//! What is not there is not written, and null is not there: to a reader both are zero. What is there is written, zero or not, so
//! that an empty object stays one.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::wire::{Begun, Writer};
use crate::schema::{Alternative, Field, Node, Scalar, Shape, Struct, json_schema};

/// The fields of one message, without a tag or length of its own.
pub(super) struct Fields<'s, 'o> {
    pub(super) of: Shape<'s>,
    pub(super) out: &'o mut Writer,
}

impl<'de> DeserializeSeed<'de> for Fields<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Some(known) = self.of.as_struct() else { return Err(A::Error::custom("the type is no struct")) };
        while let Some(field) = object.next_key_seed(FieldOf(known))? {
            let Some(field) = field.filter(|field| field.number != 0) else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            // A struct that Go embeds is a message: it may come in parts, which readers merge.
            let mut around: Vec<_> = field.around.numbers().map(|number| self.out.begin(number)).collect();
            object.next_value_seed(Value::of_field(field, self.of, self.out))?;
            while let Some(message) = around.pop() {
                self.out.end(message);
            }
        }
        Ok(())
    }
}

/// A key of an object, looked up.
struct FieldOf<'s>(&'s Struct);

impl<'de, 's> DeserializeSeed<'de> for FieldOf<'s> {
    type Value = Option<&'s Field>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'s> Visitor<'_> for FieldOf<'s> {
    type Value = Option<&'s Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name))
    }
}

/// A key of a map: begins the entry in the field `number`, and is its first field.
struct Key<'o> {
    number: u16,
    out: &'o mut Writer,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Begun;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Begun, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Begun;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map's key")
    }
    fn visit_str<E>(self, key: &str) -> Result<Begun, E> {
        let entry = self.out.begin(self.number);
        self.out.bytes(1, key.as_bytes());
        Ok(entry)
    }
}

/// What stands in the field `number` of the message that is written: one value, or each of a list or map.
struct Value<'s, 'o> {
    number: u16,
    of: Shape<'s>,
    /// In a list even null takes a place.
    is_item: bool,
    out: &'o mut Writer,
}

impl<'s, 'o> Value<'s, 'o> {
    fn of_field(field: &Field, parent: Shape<'s>, out: &'o mut Writer) -> Self {
        Self { number: field.number, of: parent.of(field), is_item: false, out }
    }
    fn scalar(&self) -> Option<Scalar> {
        if let Node::Scalar(scalar) = self.of.node() { Some(*scalar) } else { None }
    }
    /// A message whose only field is this text.
    fn text(self, text: &[u8]) {
        let message = self.out.begin(self.number);
        self.out.bytes(1, text);
        self.out.end(message);
    }
    fn number<E: Error>(self, value: i64) -> Result<(), E> {
        match self.scalar() {
            Some(Scalar::Int32 | Scalar::Int64) => self.out.int(self.number, value),
            Some(Scalar::Float64) => self.double(value as f64),
            Some(Scalar::Quantity) => self.text(value.to_string().as_bytes()),
            Some(Scalar::IntOrString) => {
                let message = self.out.begin(self.number);
                self.out.int(1, 0);
                self.out.int(2, value);
                self.out.end(message);
            }
            _ => return Err(E::invalid_type(Unexpected::Signed(value), &self)),
        }
        Ok(())
    }
    fn double(self, value: f64) {
        self.out.double(self.number, value);
    }
    fn time<E: Error>(self, text: &str) -> Result<(), E> {
        let time: Timestamp = text.parse().map_err(E::custom)?;
        let message = self.out.begin(self.number);
        self.out.int(1, time.as_second());
        self.out.int(2, time.subsec_nanosecond().into());
        self.out.end(message);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        if !matches!(self.scalar(), Some(Scalar::RawExtension | Scalar::FieldsV1)) {
            return from.deserialize_any(self);
        }
        let json = <&RawValue>::deserialize(from)?.get();
        if json != "null" {
            self.text(json.as_bytes());
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.of.node())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        if self.is_item && matches!(self.of.node(), Node::Struct(_) | Node::Scalar(Scalar::String)) {
            self.out.bytes(self.number, b"");
        }
        Ok(())
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.scalar() {
            Some(Scalar::Bool) => self.out.int(self.number, value.into()),
            Some(Scalar::SchemaOr(Alternative::Bool)) => {
                let message = self.out.begin(self.number);
                self.out.int(1, value.into());
                self.out.end(message);
            }
            _ => return Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
        Ok(())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.number(value),
            Err(_) if self.scalar() == Some(Scalar::Quantity) => {
                self.text(value.to_string().as_bytes());
                Ok(())
            }
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
        }
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.scalar() {
            Some(Scalar::Float64) => self.double(value),
            Some(Scalar::Quantity) => self.text(value.to_string().as_bytes()),
            _ => return Err(E::invalid_type(Unexpected::Float(value), &self)),
        }
        Ok(())
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.scalar() {
            Some(Scalar::String) => self.out.bytes(self.number, text.as_bytes()),
            Some(Scalar::Bytes) => {
                let bytes = STANDARD.decode(text).map_err(E::custom)?;
                self.out.bytes(self.number, &bytes);
            }
            Some(Scalar::Time | Scalar::MicroTime) => return self.time(text),
            Some(Scalar::Quantity) => self.text(text.as_bytes()),
            Some(Scalar::IntOrString) => {
                let message = self.out.begin(self.number);
                self.out.int(1, 1);
                self.out.bytes(3, text.as_bytes());
                self.out.end(message);
            }
            _ => return Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { number, of, out, .. } = self;
        match (of.node(), of.element()) {
            (Node::List(_), Some(items)) => {
                while list.next_element_seed(Value { number, of: items, is_item: true, out: &mut *out })?.is_some() {}
            }
            (Node::Scalar(Scalar::SchemaOr(other)), _) => {
                let message = out.begin(number);
                match json_schema().filter(|_| *other == Alternative::Array) {
                    Some(of) => {
                        while list.next_element_seed(Value { number: 2, of, is_item: true, out: &mut *out })?.is_some()
                        {
                        }
                    }
                    None => {
                        while let Some(text) = list.next_element::<Cow<'_, str>>()? {
                            out.bytes(2, text.as_bytes());
                        }
                    }
                }
                out.end(message);
            }
            (Node::Scalar(Scalar::ExtraValue), _) => {
                let message = out.begin(number);
                while let Some(text) = list.next_element::<Cow<'_, str>>()? {
                    out.bytes(1, text.as_bytes());
                }
                out.end(message);
            }
            _ => return Err(A::Error::invalid_type(Unexpected::Seq, &Value { number, of, is_item: false, out })),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Self { number, of, out, .. } = self;
        match (of.node(), of.element()) {
            (Node::Struct(_), _) => {
                let message = out.begin(number);
                Fields { of, out: &mut *out }.visit_map(object)?;
                out.end(message);
            }
            (Node::Scalar(Scalar::SchemaOr(other)), _) => {
                let schema = json_schema().ok_or_else(|| A::Error::custom("schemas are not known"))?;
                let outer = out.begin(number);
                let message = out.begin(if *other == Alternative::Bool { 2 } else { 1 });
                Fields { of: schema, out: &mut *out }.visit_map(object)?;
                out.end(message);
                out.end(outer);
            }
            (Node::Map(_), Some(values)) => {
                while let Some(entry) = object.next_key_seed(Key { number, out: &mut *out })? {
                    object.next_value_seed(Value { number: 2, of: values, is_item: true, out: &mut *out })?;
                    out.end(entry);
                }
            }
            _ => return Err(A::Error::invalid_type(Unexpected::Map, &Value { number, of, is_item: false, out })),
        }
        Ok(())
    }
}
