//! One object as the cache holds it: its bytes as they go over the wire, and what selectors ask about.

use std::cmp::Ordering;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use corten_api::selector::{FieldSelector, Selector};

use super::scan::{Scanned, scan};
use crate::registry::SelectableField;
use crate::resources::EventKind;

const FRAME_END: &[u8] = b"}\n";

/// An object at one revision. Its bytes stand in the frame of the watch event that brought it, so that the object and
/// the event that most watchers get are one allocation.
pub struct Item {
    /// `namespace/name`, or the name alone.
    key: Box<str>,
    pub revision: i64,
    kind: EventKind,
    /// Its deletion has begun.
    deleting: bool,
    frame: Bytes,
    /// By key, each once.
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[Box<str>]>,
}

impl Item {
    /// From what is stored. `key` is the store's, without the prefix of its kind.
    pub(crate) fn new(
        key: &str,
        json: &[u8],
        revision: i64,
        kind: EventKind,
        fields: &[SelectableField],
    ) -> Result<Self, serde_json::Error> {
        let scanned = scan(json, fields)?;
        let frame = framed(kind, json, Some((&scanned, revision)));
        let (deleting, labels, fields) = (scanned.deleting, by_key(scanned.labels), scanned.fields.into());
        Ok(Self { key: key.into(), revision, kind, deleting, frame, labels, fields })
    }
    /// The same object at the revision of its deletion.
    pub(crate) fn deleted(&self, revision: i64, fields: &[SelectableField]) -> Result<Self, serde_json::Error> {
        Self::new(&self.key, &self.object(), revision, EventKind::Deleted, fields)
    }
    /// The same object with other bytes (another version of its kind).
    pub(crate) fn with_object(&self, json: &[u8]) -> Self {
        let (labels, fields) = (self.labels.clone(), self.fields.clone());
        let frame = framed(self.kind, json, None);
        let Self { revision, kind, deleting, .. } = *self;
        Self { key: self.key.clone(), revision, kind, deleting, frame, labels, fields }
    }
    /// The same object as somebody has converted it: its labels and fields may be others.
    pub(crate) fn converted(&self, json: &[u8], fields: &[SelectableField]) -> Result<Self, serde_json::Error> {
        Self::new(&self.key, json, self.revision, self.kind, fields)
    }
    /// An object with nothing but what a bookmark has.
    pub(crate) fn bookmark(json: &[u8], revision: i64, initial_events_end: bool) -> Self {
        let kind = EventKind::Bookmark { initial_events_end };
        let frame = framed(kind, json, None);
        let (labels, fields) = (Box::default(), Box::default());
        Self { key: "".into(), revision, kind, deleting: false, frame, labels, fields }
    }

    pub fn key(&self) -> &str {
        &self.key
    }
    pub fn namespace(&self) -> &str {
        self.key.split_once('/').map_or("", |(namespace, _)| namespace)
    }
    pub fn name(&self) -> &str {
        self.key.split_once('/').map_or(&self.key, |(_, name)| name)
    }
    /// The object's JSON, with its resourceVersion.
    pub fn object(&self) -> Bytes {
        self.frame.slice(frame_start(self.kind).len()..self.frame.len() - FRAME_END.len())
    }
    /// Whether its deletion has begun: it waits for its finalizers.
    pub(crate) fn is_deleting(&self) -> bool {
        self.deleting
    }
    /// How many bytes this item holds, about.
    pub fn weight(&self) -> usize {
        self.frame.len() + size_of::<Self>()
    }
    pub(crate) fn frame(&self, kind: EventKind) -> Bytes {
        if kind == self.kind {
            return self.frame.clone();
        }
        framed(kind, &self.object(), None)
    }
    pub(crate) fn matches(&self, labels: &Selector, selectable: &FieldTerms) -> bool {
        (labels.is_everything() || labels.matches_by(|key| self.label(key))) && selectable.match_item(self)
    }
    /// The value of the kind's selectable field with this index.
    pub(crate) fn field(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", |f| f)
    }
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(key, value)| (&**key, &**value))
    }
    fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(own, _)| (**own).cmp(key)).ok()?;
        self.labels.get(at).map(|(_, value)| &**value)
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.revision)
    }
}

/// In the order of their keys, in which selectors find each by halves: an object may have as many as fit into it, and a selector
/// asks for a thousand. Of a key that is there twice the first counts.
fn by_key(mut labels: Vec<(Box<str>, Box<str>)>) -> Box<[(Box<str>, Box<str>)]> {
    labels.sort_by(|one, other| one.0.cmp(&other.0));
    labels.dedup_by(|later, first| later.0 == first.0);
    labels.into()
}

fn frame_start(kind: EventKind) -> &'static [u8] {
    match kind {
        EventKind::Added => br#"{"type":"ADDED","object":"#,
        EventKind::Modified => br#"{"type":"MODIFIED","object":"#,
        EventKind::Deleted => br#"{"type":"DELETED","object":"#,
        EventKind::Bookmark { .. } => br#"{"type":"BOOKMARK","object":"#,
    }
}

/// `json` in the frame of an event; with `version`, the resourceVersion in its metadata is set to that revision.
fn framed(kind: EventKind, json: &[u8], version: Option<(&Scanned, i64)>) -> Bytes {
    const VERSION_ROOM: usize = 48;
    let start = frame_start(kind);
    let mut out = BytesMut::with_capacity(start.len() + json.len() + VERSION_ROOM + FRAME_END.len());
    out.put_slice(start);
    match version {
        None => out.put_slice(json),
        Some((scanned, revision)) => put_versioned(&mut out, json, scanned, revision),
    }
    out.put_slice(FRAME_END);
    out.freeze()
}

fn put_versioned(out: &mut BytesMut, json: &[u8], scanned: &Scanned, revision: i64) {
    if let Some(at) = &scanned.resource_version {
        out.put_slice(&json[..at.start]);
        out.put_slice(format!("\"{revision}\"").as_bytes());
        out.put_slice(&json[at.end..]);
    } else {
        let comma = if scanned.metadata_empty { "" } else { "," };
        out.put_slice(&json[..scanned.metadata_at]);
        out.put_slice(format!("\"resourceVersion\":\"{revision}\"{comma}").as_bytes());
        out.put_slice(&json[scanned.metadata_at..]);
    }
}

/// Stored JSON with its resourceVersion.
pub(crate) fn with_revision(json: &[u8], revision: i64) -> Result<Bytes, serde_json::Error> {
    let scanned = match metadata_of_ours(json) {
        Some((metadata_at, metadata_empty)) => Scanned { metadata_at, metadata_empty, ..Scanned::default() },
        None => scan(json, &[])?,
    };
    let mut out = BytesMut::with_capacity(json.len() + 48);
    put_versioned(&mut out, json, &scanned, revision);
    Ok(out.freeze())
}

/// Where the metadata of an object begins, and whether it is empty, if its JSON is as our types write it and says no
/// resourceVersion anywhere: that of every write, but for those of Events.
fn metadata_of_ours(json: &[u8]) -> Option<(usize, bool)> {
    let text = std::str::from_utf8(json).ok()?;
    let mut rest = text;
    for name in [r#"{"apiVersion":""#, r#"","kind":""#] {
        let value = rest.strip_prefix(name)?;
        rest = value.get(value.find(['"', '\\'])?..)?;
    }
    let inside = rest.strip_prefix(r#"","metadata":{"#)?;
    (!text.contains(r#""resourceVersion""#)).then(|| (text.len() - inside.len(), inside.starts_with('}')))
}

/// A field selector, made ready for the items of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldTerms(Vec<Term>);

#[derive(Clone, Debug)]
struct Term {
    of: Part,
    value: Box<str>,
    negated: bool,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Name,
    Namespace,
    /// An index into the kind's selectable fields.
    Field(usize),
}

/// Where a field's value is kept; of several names for one thing the first has it.
fn place_of(name: &str, fields: &[SelectableField]) -> Option<usize> {
    let field = fields.iter().find(|field| field.name == name)?;
    fields.iter().position(|first| first.is_same_as(field))
}

impl FieldTerms {
    /// Fails with the name of a field that the kind cannot be selected by.
    pub(crate) fn new(selector: &FieldSelector, fields: &[SelectableField]) -> Result<Self, String> {
        let term = |t: &corten_api::selector::FieldTerm| {
            let of = match t.field.as_str() {
                "metadata.name" => Part::Name,
                "metadata.namespace" => Part::Namespace,
                other => Part::Field(place_of(other, fields).ok_or_else(|| t.field.clone())?),
            };
            Ok(Term { of, value: t.value.as_str().into(), negated: t.negated })
        };
        selector.0.iter().map(term).collect::<Result<_, _>>().map(Self)
    }
    pub(crate) fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn are_of_place(&self) -> bool {
        self.0.iter().all(|term| !matches!(term.of, Part::Field(_)))
    }
    /// Those of its name and namespace alone.
    pub(super) fn of_place(&self) -> Self {
        Self(self.0.iter().filter(|term| !matches!(term.of, Part::Field(_))).cloned().collect())
    }
    /// The name that is asked for, if one is.
    pub(super) fn name(&self) -> Option<&str> {
        self.0.iter().find(|t| !t.negated && matches!(t.of, Part::Name)).map(|t| &*t.value)
    }
    pub(super) fn namespace(&self) -> Option<&str> {
        self.0.iter().find(|t| !t.negated && matches!(t.of, Part::Namespace)).map(|t| &*t.value)
    }
    /// The value that the field with this index must have.
    pub(super) fn equal_to(&self, field: usize) -> Option<&str> {
        self.equalities().find(|(f, _)| *f == field).map(|(_, value)| value)
    }
    /// Some field and the value that it must have.
    pub(super) fn equality(&self) -> Option<(usize, &str)> {
        self.equalities().next()
    }
    fn equalities(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().filter_map(|t| match t.of {
            Part::Field(field) if !t.negated => Some((field, &*t.value)),
            Part::Field(_) | Part::Name | Part::Namespace => None,
        })
    }
    fn match_item(&self, item: &Item) -> bool {
        self.0.iter().all(|t| {
            let value = match t.of {
                Part::Name => item.name(),
                Part::Namespace => item.namespace(),
                Part::Field(i) => item.field(i),
            };
            (value == &*t.value) != t.negated
        })
    }
}

/// An item in the ordered set of its kind: ordered, and found, by key.
#[derive(Clone, Debug)]
pub(crate) struct ByKey(pub(crate) std::sync::Arc<Item>);

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}
impl Eq for ByKey {}
impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}
impl std::borrow::Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_spliced_into_any_object() {
        let cases = [
            (r#"{"metadata":{"name":"a"}}"#, r#"{"metadata":{"resourceVersion":"5","name":"a"}}"#),
            (r#"{"metadata": { } }"#, r#"{"metadata": {"resourceVersion":"5" } }"#),
            (
                r#"{"data":{},"metadata":{"resourceVersion" : "12","name":"a"}}"#,
                r#"{"data":{},"metadata":{"resourceVersion" : "5","name":"a"}}"#,
            ),
        ];
        for (stored, served) in cases {
            let item = Item::new("a", stored.as_bytes(), 5, EventKind::Added, &[]).unwrap();
            assert_eq!(item.object(), served, "{stored}");
            assert_eq!(item.frame(EventKind::Added), format!("{{\"type\":\"ADDED\",\"object\":{served}}}\n"));
            assert_eq!(item.frame(EventKind::Deleted), format!("{{\"type\":\"DELETED\",\"object\":{served}}}\n"));
            assert_eq!(item.deleted(9, &[]).unwrap().object(), served.replace("\"5\"", "\"9\""));
        }
    }

    #[test]
    fn the_answer_to_a_write_has_its_revision() {
        for (written, ours, served) in [
            (
                r#"{"apiVersion":"v1","kind":"A","metadata":{"name":"a"},"x":1}"#,
                true,
                r#"{"resourceVersion":"5","name":"a"},"x":1}"#,
            ),
            (r#"{"apiVersion":"v1","kind":"A","metadata":{}}"#, true, r#"{"resourceVersion":"5"}}"#),
            (r#"{"kind":"A","apiVersion":"v1","metadata":{}}"#, false, r#"{"resourceVersion":"5"}}"#),
            (
                r#"{"apiVersion":"v1","kind":"A","metadata":{"a":1,"resourceVersion":"3"}}"#,
                false,
                r#"{"a":1,"resourceVersion":"5"}}"#,
            ),
            (
                r#"{"apiVersion":"v1","kind":"A","metadata":{},"of":{"resourceVersion":"3"}}"#,
                false,
                r#"{"resourceVersion":"5"},"of":{"resourceVersion":"3"}}"#,
            ),
            (
                r#"{"apiVersion":"v1","kind":"\",\"metadata\":{","metadata":{"name":"a"}}"#,
                false,
                r#"{"resourceVersion":"5","name":"a"}}"#,
            ),
        ] {
            assert_eq!(metadata_of_ours(written.as_bytes()).is_some(), ours, "{written}");
            let answer = with_revision(written.as_bytes(), 5).unwrap();
            assert!(answer.ends_with(served.as_bytes()), "{written}: {answer:?}");
        }
        assert!(with_revision(b"{}", 5).is_err());
    }

    #[test]
    fn labels_are_found_by_halves_in_whatever_order_they_stand() {
        let json = br#"{"metadata":{"labels":{"b":"2","d":"","a":"1","c":"3","b":"4"}}}"#;
        let item = Item::new("a", json, 5, EventKind::Added, &[]).unwrap();
        assert_eq!(item.labels().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("c", "3"), ("d", "")]);
        for (selector, expected) in
            [("a=1,b=2,c=3,d=", true), ("b=4", false), ("d", true), ("e", false), ("!e", true), ("aa!=1", true)]
        {
            let selector = Selector::parse(selector).unwrap();
            assert_eq!(item.matches(&selector, &FieldTerms::default()), expected, "{selector}");
        }
    }

    #[test]
    fn one_event_is_one_allocation() {
        let item = Item::new("a", br#"{"metadata":{}}"#, 5, EventKind::Added, &[]).unwrap();
        assert_eq!(item.frame(EventKind::Added).as_ptr(), item.frame(EventKind::Added).as_ptr());
    }
}
