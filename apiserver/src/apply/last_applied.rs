//! The way from client-side apply, which keeps its configuration in an annotation, to server-side apply.
//!
//! Whoever applied with `kubectl apply` and goes on with `kubectl apply --server-side` meets no conflicts about what the
//! annotation says and is so; and the annotation goes on saying what was applied, for those who go back. Only the manager
//! `kubectl` is treated so.

use serde_json::{Map, Value};

use super::check::Mismatches;
use super::compare::{Comparison, compare};
use super::field_set::FieldSet;
use super::fields::fields_of;
use super::json::escape_html;
use super::object_type::ObjectType;
use crate::decode;

/// Who is treated so.
pub(super) const KUBECTL: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What all annotations of an object may take, as their validation has it.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The fields that the annotation of `live` speaks of and that are as it says: these may be taken over. Empty if there is no
/// annotation, or one of another version or type.
pub(super) fn allowed(of: &ObjectType<'_>, live: &Value) -> FieldSet {
    let applied = annotation(live).filter(|text| {
        // No deeper than a body may be.
        decode::duplicates(text.as_bytes()).is_ok()
    });
    let applied = applied.and_then(|text| decode::value(text.as_bytes()).ok());
    let applied = applied.filter(|applied| applied.get("apiVersion").and_then(Value::as_str) == Some(of.api_version));
    let Some(applied) = applied else { return FieldSet::default() };
    if !Mismatches::of(of.shape, &applied).is_empty() {
        return FieldSet::default();
    }
    let mut fields = fields_of(of.shape, &applied);
    let Comparison { added, modified, removed } = compare(of.shape, &applied, live);
    for changed in [added, modified, removed] {
        fields.subtract(&changed);
    }
    fields
}

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str().filter(|text| !text.is_empty())
}

/// Has the annotation say what was applied, if it is there. It goes if there is no room for it.
pub(super) fn renew(object: &mut Value, configuration: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = configuration.clone();
    if let Some(annotations) = annotations_of(&mut applied) {
        annotations.remove(ANNOTATION);
    }
    let Some(annotations) = annotations_of(object) else { return };
    annotations.insert(ANNOTATION.to_owned(), format!("{}\n", escape_html(&applied.to_string())).into());
    let bytes = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(bytes).sum::<usize>() > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    }
}

fn annotations_of(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()
}

#[cfg(test)]
mod tests;
