//! A type's visitor, with what stands there for nothing, and with the budget and the path for what is below.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::access::{Entries, Items};
use super::path::Path;
use super::{Budget, Typed};

/// What `null` means where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Zero {
    /// Itself: the type knows it, or is any JSON.
    Null,
    Bool,
    Number,
    Text(&'static str),
    List,
    Map,
}

pub(super) struct Reading<'s, V> {
    pub(super) visitor: V,
    pub(super) budget: &'s Budget,
    pub(super) path: Path<'s>,
    pub(super) zero: Zero,
    /// Fields of structs are part of the struct, which is paid for where it stands.
    pub(super) is_struct: bool,
    /// The field that gets Go's zero time if it is not there.
    pub(super) time_field: Option<&'static str>,
}

impl<'s, V> Reading<'s, V> {
    fn entries<A>(&self, inner: A) -> Entries<'s, A> {
        Entries::new(inner, self.budget, self.path, self.is_struct, self.time_field)
    }
}

macro_rules! pass_on {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method<E: Error>(self, v: $type) -> Result<V::Value, E> {
            self.visitor.$method(v)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Reading<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    pass_on! {
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64,
        visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String,
        visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        match self.zero {
            Zero::Null => self.visitor.visit_unit(),
            Zero::Bool => self.visitor.visit_bool(false),
            Zero::Number => self.visitor.visit_u64(0),
            Zero::Text(text) => self.visitor.visit_str(text),
            Zero::List => self.visitor.visit_seq(SeqDeserializer::<_, E>::new(std::iter::empty::<()>())),
            Zero::Map => {
                let entries = self.entries(MapDeserializer::<_, E>::new(std::iter::empty::<((), ())>()));
                self.visitor.visit_map(entries)
            }
        }
    }
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Typed::at(inner, self.budget, self.path))
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let zero_text = if let Zero::Text(text) = self.zero { text } else { "" };
        self.visitor.visit_newtype_struct(Typed { zero_text, ..Typed::at(inner, self.budget, self.path) })
    }
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Items::new(inner, self.budget, self.path))
    }
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let entries = self.entries(inner);
        self.visitor.visit_map(entries)
    }
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(inner)
    }
}
