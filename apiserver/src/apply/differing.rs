//! Two texts of one object without what both say alike: all that a comparison has to look at.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Two objects as values, without the fields, at any depth but not within lists, that their texts say alike. To compare these
/// ([`compare`](super::compare::compare)) finds what it would find of the whole objects.
///
/// Costs a look over both texts, one more over what is around a difference for each step to it, and the values of what differs.
pub fn differing(old: &str, new: &str) -> Result<(Value, Value), serde_json::Error> {
    if !old.starts_with('{') || !new.starts_with('{') {
        return Ok((serde_json::from_str(old)?, serde_json::from_str(new)?));
    }
    let (mut before, mut after) = (Map::new(), Map::new());
    let (was, is): (Level<'_>, Level<'_>) = (serde_json::from_str(old)?, serde_json::from_str(new)?);
    let (mut was, mut is) = (was.0.into_iter().peekable(), is.0.into_iter().peekable());
    loop {
        let order = match (was.peek(), is.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok((Value::Object(before), Value::Object(after))),
        };
        let old = if order.is_le() { was.next() } else { None };
        let new = if order.is_ge() { is.next() } else { None };
        match (old, new) {
            (Some((name, old)), Some((_, new))) => {
                if old.get() != new.get() {
                    let (old, new) = differing(old.get(), new.get())?;
                    before.insert(name.0.to_string(), old);
                    after.insert(name.0.into_owned(), new);
                }
            }
            (Some((name, old)), None) => drop(before.insert(name.0.into_owned(), value(old)?)),
            (None, Some((name, new))) => drop(after.insert(name.0.into_owned(), value(new)?)),
            (None, None) => {}
        }
    }
}

fn value(text: &RawValue) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text.get())
}

#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

/// An object's fields by name. Of one that stands there twice the last counts.
struct Level<'t>(Vec<(Name<'t>, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Level<'t> {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Level<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Level<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                let in_order = |one: &(Name<'_>, _), next: &(Name<'_>, _)| one.0 < next.0;
                if !fields.is_sorted_by(in_order) {
                    fields.reverse();
                    fields.sort_by(|(one, _), (other, _): &(Name<'_>, _)| one.cmp(other));
                    fields.dedup_by(|(next, _), (first, _)| next == first);
                }
                Ok(Level(fields))
            }
        }
        de.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests;
