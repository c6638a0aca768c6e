//! Reads from an object's JSON, in one pass and without building it, what the cache must know of it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::registry::SelectableField;

/// What the cache keeps beside the bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Where the members of `metadata` begin: just behind its brace.
    pub(super) metadata_at: usize,
    pub(super) metadata_empty: bool,
    /// Where the value of an existing `metadata.resourceVersion` stands.
    pub(super) resource_version: Option<Range<usize>>,
    pub(super) labels: Vec<(Box<str>, Box<str>)>,
    /// Whether it says when its deletion began.
    pub(super) deleting: bool,
    /// One for each selectable field of the kind.
    pub(super) fields: Vec<Box<str>>,
}

/// Fails for what is not a JSON object with a `metadata` object.
pub(super) fn scan(json: &[u8], fields: &[SelectableField]) -> Result<Scanned, serde_json::Error> {
    // Of several names for one thing the first has its value.
    let first = fields.iter().enumerate().filter(|(i, f)| !fields[..*i].iter().any(|before| before.is_same_as(f)));
    let places: Vec<(usize, &str)> = first.flat_map(|(i, f)| f.path.split('|').map(move |path| (i, path))).collect();
    let wanted: Vec<Wanted<'_>> = places.iter().enumerate().map(|(index, (_, path))| Wanted { index, path }).collect();
    let mut found: Vec<Option<Box<str>>> = vec![None; places.len()];
    let text = std::str::from_utf8(json).map_err(serde::de::Error::custom)?;
    let mut de = serde_json::Deserializer::from_str(text);
    let meta = Top { wanted: &wanted, found: &mut found, text }.deserialize(&mut de)?;
    let meta = meta.ok_or_else(|| serde::de::Error::missing_field("metadata"))?;
    let metadata_at = meta.first_at.map_or_else(|| metadata_at(text), Ok)?;
    // Of several places of a field the first that is not empty counts.
    let mut values: Vec<Option<Box<str>>> = vec![None; fields.len()];
    for (value, (field, _)) in found.into_iter().zip(&places) {
        let so_far = &mut values[*field];
        if so_far.as_ref().is_none_or(|text| text.is_empty()) {
            *so_far = value.or(so_far.take());
        }
    }
    let values = values.into_iter().zip(fields).map(|(value, f)| value.unwrap_or_else(|| f.absent.as_ref().into()));
    Ok(Scanned {
        metadata_at,
        metadata_empty: meta.empty,
        resource_version: meta.resource_version,
        labels: meta.labels,
        deleting: meta.deleting,
        fields: values.collect(),
    })
}

/// Where the members of `metadata` begin if its first name does not show it.
fn metadata_at(text: &str) -> Result<usize, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Located<'t> {
        #[serde(borrow)]
        metadata: &'t RawValue,
    }
    let Located { metadata } = serde_json::from_str(text)?;
    Ok(place_in(text, metadata.get()).start + 1)
}

/// Where a part that is borrowed from a text stands in it.
fn place_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

#[derive(Clone, Copy)]
struct Wanted<'a> {
    index: usize,
    /// What is left of the dotted path.
    path: &'a str,
}

impl<'a> Wanted<'a> {
    /// What is left of the path below `key`; `None` if it does not lead there.
    fn below(&self, key: &str) -> Option<Self> {
        let rest = self.path.strip_prefix(key)?;
        let path = if rest.is_empty() { rest } else { rest.strip_prefix('.')? };
        Some(Self { index: self.index, path })
    }
}

/// The object: gives what its metadata says, and looks for fields everywhere.
struct Top<'w, 'f, 't> {
    wanted: &'w [Wanted<'w>],
    found: &'f mut [Option<Box<str>>],
    text: &'t str,
}

impl<'de> DeserializeSeed<'de> for Top<'_, '_, '_> {
    type Value = Option<Meta>;
    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Self::Value, D::Error> {
        de.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_, '_> {
    type Value = Option<Meta>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an API object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut metadata = None;
        while let Some(Word(key)) = map.next_key()? {
            if key == "metadata" {
                let inside: Vec<Wanted<'_>> = self.wanted.iter().filter_map(|w| w.below("metadata")).collect();
                let seed = Metadata { wanted: &inside, found: &mut *self.found, text: self.text };
                metadata = Some(map.next_value_seed(seed)?);
            } else {
                step(&key, self.wanted, self.found, &mut map)?;
            }
        }
        Ok(metadata)
    }
}

/// Takes the value of `key`: down into it where wanted fields lie, past it where none do.
fn step<'de, A: MapAccess<'de>>(
    key: &str,
    wanted: &[Wanted<'_>],
    found: &mut [Option<Box<str>>],
    map: &mut A,
) -> Result<(), A::Error> {
    let deeper: Vec<Wanted<'_>> = wanted.iter().filter_map(|w| w.below(key)).collect();
    if deeper.is_empty() {
        return map.next_value::<IgnoredAny>().map(drop);
    }
    map.next_value_seed(Below { wanted: &deeper, found })
}

/// A value with wanted fields in it, or a wanted value itself.
struct Below<'w, 'f> {
    wanted: &'w [Wanted<'w>],
    found: &'f mut [Option<Box<str>>],
}

impl Below<'_, '_> {
    fn take(self, value: &str) {
        for w in self.wanted.iter().filter(|w| w.path.is_empty()) {
            self.found[w.index] = Some(value.into());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Below<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<(), D::Error> {
        de.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Below<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Word(key)) = map.next_key()? {
            step(&key, self.wanted, self.found, &mut map)?;
        }
        Ok(())
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
    fn visit_str<E>(self, v: &str) -> Result<(), E> {
        self.take(v);
        Ok(())
    }
    fn visit_bool<E>(self, v: bool) -> Result<(), E> {
        self.take(if v { "true" } else { "false" });
        Ok(())
    }
    fn visit_i64<E>(self, v: i64) -> Result<(), E> {
        self.take(&v.to_string());
        Ok(())
    }
    fn visit_u64<E>(self, v: u64) -> Result<(), E> {
        self.take(&v.to_string());
        Ok(())
    }
    fn visit_f64<E>(self, v: f64) -> Result<(), E> {
        self.take(&v.to_string());
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// What is to be known of an object's metadata.
#[derive(Default)]
struct Meta {
    empty: bool,
    /// Where its first member stands, if that can be seen from its name.
    first_at: Option<usize>,
    resource_version: Option<Range<usize>>,
    labels: Vec<(Box<str>, Box<str>)>,
    deleting: bool,
}

struct Metadata<'w, 'f, 't> {
    wanted: &'w [Wanted<'w>],
    found: &'f mut [Option<Box<str>>],
    text: &'t str,
}

impl<'de> DeserializeSeed<'de> for Metadata<'_, '_, '_> {
    type Value = Meta;
    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Meta, D::Error> {
        de.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_, '_, '_> {
    type Value = Meta;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectMeta")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meta, A::Error> {
        let mut meta = Meta { empty: true, ..Meta::default() };
        while let Some(Word(key)) = map.next_key()? {
            if std::mem::take(&mut meta.empty)
                && let Cow::Borrowed(name) = key
            {
                // Its quote stands before it.
                meta.first_at = Some(place_in(self.text, name).start - 1);
            }
            match &*key {
                "resourceVersion" => {
                    let raw: &RawValue = map.next_value()?;
                    meta.resource_version = Some(place_in(self.text, raw.get()));
                }
                "deletionTimestamp" => meta.deleting = map.next_value::<Option<IgnoredAny>>()?.is_some(),
                "labels" => meta.labels = map.next_value::<Option<LabelList>>()?.unwrap_or_default().0,
                _ => step(&key, self.wanted, self.found, &mut map)?,
            }
        }
        Ok(meta)
    }
}

#[derive(Default)]
struct LabelList(Vec<(Box<str>, Box<str>)>);

impl<'de> serde::Deserialize<'de> for LabelList {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Labels;
        impl<'de> Visitor<'de> for Labels {
            type Value = LabelList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LabelList, A::Error> {
                let mut list = Vec::with_capacity(map.size_hint().unwrap_or(0));
                while let Some((Word(key), Word(value))) = map.next_entry()? {
                    list.push((key.into(), value.into()));
                }
                Ok(LabelList(list))
            }
        }
        de.deserialize_map(Labels)
    }
}

/// A string, borrowed where it has no escapes.
struct Word<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct WordVisitor;
        impl<'de> Visitor<'de> for WordVisitor {
            type Value = Word<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Word<'de>, E> {
                Ok(Word(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Word<'de>, E> {
                Ok(Word(Cow::Owned(v.to_owned())))
            }
        }
        de.deserialize_str(WordVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[SelectableField] = &[
        SelectableField::new("spec.nodeName", "spec.nodeName", ""),
        SelectableField::new("status.phase", "status.phase", "Unknown"),
        SelectableField::new("spec.hostNetwork", "spec.hostNetwork", "false"),
        SelectableField::new("type", "type", ""),
        SelectableField::new("name", "metadata.name", ""),
    ];

    #[test]
    fn finds_fields_labels_and_where_metadata_begins() {
        let json = r#"{"kind":"Pod","data":{"a":"\"metadata\":{"},"type":"T","metadata":{"name":"x","labels":{"a":"1","b\u0041":"2"},"resourceVersion":"7"},"spec":{"containers":[{"nodeName":"no"}],"nodeName":"n1","hostNetwork":true},"status":null}"#;
        let got = scan(json.as_bytes(), FIELDS).unwrap();
        assert!(json[..got.metadata_at].ends_with(r#""type":"T","metadata":{"#));
        assert_eq!(&json[got.resource_version.unwrap()], r#""7""#);
        assert_eq!(got.labels, [("a".into(), "1".into()), ("bA".into(), "2".into())]);
        let fields: Vec<&str> = got.fields.iter().map(|f| &**f).collect();
        assert_eq!(fields, ["n1", "Unknown", "true", "T", "x"]);
    }

    #[test]
    fn metadata_begins_at_its_first_member() {
        for json in [
            r#"{"metadata":{"name":"x"}}"#,
            r#"{"metadata": { "name":"x"}}"#,
            r#"{"metadata":{"n\u0061me":"x"},"spec":{}}"#,
            r#"{"spec":{"metadata":{}},"metadata":{}}"#,
        ] {
            let at = scan(json.as_bytes(), FIELDS).unwrap().metadata_at;
            let before = json[..at].trim_end();
            assert!(before.ends_with(r#""metadata":{"#) || before.ends_with(r#""metadata": {"#), "{json} {at}");
            assert!(json[at..].starts_with(['"', '}']) || json[..at].ends_with('{'), "{json} {at}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for bad in ["", "[]", "{}", r#"{"metadata":1}"#, r#"{"metadata":{"#, "null"] {
            assert!(scan(bad.as_bytes(), FIELDS).is_err(), "{bad}");
        }
        assert!(scan(br#"{"metadata":{}}"#, FIELDS).unwrap().metadata_empty);
        for (json, deleting) in [
            (r#"{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}"#, true),
            (r#"{"metadata":{"deletionTimestamp":null}}"#, false),
            (r#"{"metadata":{},"deletionTimestamp":"2026-01-01T00:00:00Z"}"#, false),
        ] {
            assert_eq!(scan(json.as_bytes(), FIELDS).unwrap().deleting, deleting, "{json}");
        }
        assert!(scan(b"{\"metadata\":{\"name\":\"\xff\"}}", FIELDS).is_err(), "no text");
    }
}
