//! Between versions: only `apiVersion` changes, and each has what its own schema knows. An object is read by the schema of the
//! version that it was stored in, which may be another one than is stored now.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::object::Type;
use crate::registry::LocalConversion;
use crate::registry::structural::{Structural, fill, prune};

/// How objects begin that say their version first.
const FIRST: &[u8] = br#"{"apiVersion":""#;

/// A version and its schema.
pub(super) type Version = (Arc<Type>, Arc<Structural>);

/// All versions of a kind, served or not: objects may be stored in each.
#[derive(Debug)]
pub(super) struct Versions {
    pub(super) all: Vec<Version>,
    /// In which objects are stored now.
    pub(super) stored: Version,
}

impl Versions {
    /// The version that an object was stored in. One that the definition has no more is read by the one that is stored now.
    fn of(&self, object: &Map<String, Value>) -> &Version {
        let named = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        self.all.iter().find(|(of, _)| of.api_version == named).unwrap_or(&self.stored)
    }
}

impl Versions {
    /// Whether a stored object is of another version than that in which objects are stored now.
    pub(super) fn is_other(&self, stored: &[u8]) -> bool {
        self.all.len() > 1 && !says(stored, &self.stored.0.api_version)
    }
}

/// Whether an object says that it is of this version. One that says nothing is of any.
pub(super) fn says(json: &[u8], api_version: &str) -> bool {
    said(json).is_none_or(|said| said == api_version)
}

/// The version that an object says that it is of. Most say it before all else, and nothing more of them is looked at.
pub(super) fn said(json: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned<'j> {
        #[serde(borrow)]
        api_version: Cow<'j, str>,
    }
    let first = || {
        let rest = json.strip_prefix(FIRST)?;
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let is_whole = rest[end..].starts_with(b"\",");
        str::from_utf8(&rest[..end]).ok().filter(|_| is_whole)
    };
    first()
        .map(Cow::Borrowed)
        .or_else(|| serde_json::from_slice::<Versioned<'_>>(json).ok().map(|object| object.api_version))
}

/// `None` for a kind of one version, which is stored as it is served.
pub(super) fn local(served: Version, versions: &Versions) -> Option<LocalConversion> {
    let stored = versions.stored.clone();
    (versions.all.len() > 1).then(|| LocalConversion {
        from_stored: Arc::new(move |json| converted(json, &served, false)),
        to_stored: Arc::new(move |json| converted(json, &stored, true)),
    })
}

/// `with_defaults`: what is stored has those of the version that it is stored in. Who reads sees these, and none of the version that he
/// reads in, as upstream has it.
fn converted(json: &[u8], to: &Version, with_defaults: bool) -> Result<Vec<u8>, serde_json::Error> {
    if is_of(json, &to.0.api_version) {
        return Ok(json.to_vec());
    }
    fitted(serde_json::from_slice(json)?, to, with_defaults)
}

/// An object as one of a version, whichever it was of.
pub(super) fn fitted(
    mut object: Map<String, Value>,
    (of, schema): &Version,
    with_defaults: bool,
) -> Result<Vec<u8>, serde_json::Error> {
    object.insert("apiVersion".into(), of.api_version.as_str().into());
    prune::prune(&mut object, schema);
    if with_defaults {
        fill::fill(&mut object, schema, fill::WRITE_BYTES_MAX)
            .map_err(<serde_json::Error as serde::ser::Error>::custom)?;
    }
    serde_json::to_vec(&object)
}

/// Whether an object says that it is of this version, and nothing before that: as most are written.
fn is_of(json: &[u8], api_version: &str) -> bool {
    let rest = json.strip_prefix(FIRST).and_then(|rest| rest.strip_prefix(api_version.as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(br#"","#))
}

/// What was stored, as it would be stored and read today; `None`: it is that already, or no object. One that defaults would make
/// much of gets none.
pub(super) fn mended(stored: &[u8], versions: &Versions) -> Option<Vec<u8>> {
    let (mut object, schema, mut is_changed) = pruned(stored, versions)?;
    match fill::fill(&mut object, schema, fill::READ_BYTES_MAX) {
        Ok(is_filled) => is_changed |= is_filled,
        // Some are filled in by now.
        Err(_) => (object, _, is_changed) = pruned(stored, versions)?,
    }
    if is_changed { serde_json::to_vec(&object).ok() } else { None }
}

/// With the schema that it is read by; tells whether anything has changed, too.
fn pruned<'v>(stored: &[u8], versions: &'v Versions) -> Option<(Map<String, Value>, &'v Structural, bool)> {
    let mut object: Map<String, Value> = serde_json::from_slice(stored).ok()?;
    let (of, schema) = versions.of(&object);
    let is_of_version = object.get("apiVersion").and_then(Value::as_str) == Some(&of.api_version);
    if !is_of_version {
        object.insert("apiVersion".into(), of.api_version.as_str().into());
    }
    let is_pruned = !prune::prune(&mut object, schema).is_empty();
    Some((object, schema, is_pruned || !is_of_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_says_its_version_first_or_somewhere_or_nowhere() {
        for (json, expected) in [
            (r#"{"apiVersion":"a/v1","kind":"Tab","#, Some("a/v1")),
            (r#"{"apiVersion":"a/v1"}"#, Some("a/v1")),
            (r#"{"apiVersion":"a\/v1","kind":"Tab"}"#, Some("a/v1")),
            (r#"{"kind":"Tab","apiVersion":"a/v1"}"#, Some("a/v1")),
            (r#"{ "apiVersion": "a/v1" }"#, Some("a/v1")),
            (r#"{"apiVersion":"a/v1"#, None),
            (r#"{"apiVersion":1,"kind":"Tab"}"#, None),
            (r#"{"kind":"Tab"}"#, None),
        ] {
            assert_eq!(said(json.as_bytes()).as_deref(), expected, "{json}");
        }
        assert!(says(b"{}", "a/v1") && says(br#"{"apiVersion":"a/v1","#, "a/v1"));
        assert!(!says(br#"{"apiVersion":"a/v1","#, "a/v"));
    }
}
