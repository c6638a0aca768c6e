//! Lists and maps: each item is paid for before it is read, and knows its path.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::path::Path;
use super::{Budget, Typed, ZERO_TIME};

/// Entries that the smallest node of a map has room for, used or not.
const MAP_NODE_ENTRIES: usize = 11;
/// A map that grows keeps its nodes about half full.
const MAP_SPARE: usize = 2;

/// Reads what is below, wherever it stands.
struct Below<'s, T> {
    seed: T,
    budget: &'s Budget,
    path: Path<'s>,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Below<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        self.seed.deserialize(Typed::at(inner, self.budget, self.path))
    }
}

pub(super) struct Items<'s, A> {
    inner: A,
    budget: &'s Budget,
    path: Path<'s>,
    index: usize,
}

impl<'s, A> Items<'s, A> {
    pub(super) fn new(inner: A, budget: &'s Budget, path: Path<'s>) -> Self {
        Self { inner, budget, path, index: 0 }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.budget.pay(size_of::<T::Value>())?;
        let path = Path::Index(&self.path, self.index);
        self.index += 1;
        self.inner.next_element_seed(Below { seed, budget: self.budget, path })
    }
    // No size hint: a list grows as it is read and paid for.
}

pub(super) struct Entries<'s, A> {
    inner: A,
    budget: &'s Budget,
    path: Path<'s>,
    is_struct: bool,
    /// Still to come, or to be made up.
    time_field: Option<&'static str>,
    key: String,
    entries: usize,
    /// The value asked for next is the made-up one.
    made_up: bool,
}

impl<'s, A> Entries<'s, A> {
    pub(super) fn new(
        inner: A,
        budget: &'s Budget,
        path: Path<'s>,
        is_struct: bool,
        time_field: Option<&'static str>,
    ) -> Self {
        Self { inner, budget, path, is_struct, time_field, key: String::new(), entries: 0, made_up: false }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.key.clear();
        if self.inner.next_key_seed(KeyInto(&mut self.key))?.is_none() {
            let Some(field) = self.time_field.take() else { return Ok(None) };
            self.made_up = true;
            return seed.deserialize(StrDeserializer::new(field)).map(Some);
        }
        self.time_field.take_if(|field| *field == self.key);
        if !self.is_struct {
            self.budget.pay(self.key.len() + MAP_SPARE * size_of::<K::Value>())?;
        }
        seed.deserialize(StrDeserializer::new(&self.key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        if self.made_up {
            return seed.deserialize(ZeroTime(PhantomData));
        }
        if !self.is_struct {
            let resource = size_of::<T::Value>() + size_of::<String>();
            let node = if self.entries == 0 { MAP_NODE_ENTRIES * resource } else { 0 };
            self.budget.pay(node + MAP_SPARE * size_of::<T::Value>())?;
        }
        self.entries += 1;
        let path = Path::Key(&self.path, &self.key);
        self.inner.next_value_seed(Below { seed, budget: self.budget, path })
    }
}

/// Copies a key, so that it can be told of.
struct KeyInto<'k>(&'k mut String);

impl<'de> DeserializeSeed<'de> for KeyInto<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<(), D::Error> {
        inner.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyInto<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        self.0.push_str(key);
        Ok(())
    }
}

/// A time that is not there.
struct ZeroTime<E>(PhantomData<E>);

impl<'de, E: Error> Deserializer<'de> for ZeroTime<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_str(ZERO_TIME)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(IntoDeserializer::<E>::into_deserializer(ZERO_TIME))
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_some(self)
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
