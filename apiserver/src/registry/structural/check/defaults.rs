//! Whether the defaults of a schema are values of it. None stands below `additionalProperties`.

use corten_api::Problems;
use serde_json::Value;

use super::super::{Structural, embedded, prune, value};
use crate::registry::path::Path;

pub(super) fn check(of: &Structural, at: &Path<'_>, problems: &mut Problems) {
    if let Some(default) = &of.default {
        one(default, of, &at.field("default"), problems);
    }
    if let Some(items) = &of.items {
        check(items, &at.field("items"), problems);
    }
    for (name, property) in of.properties.iter() {
        check(property, &at.field("properties").key(name), problems);
    }
}

fn one(default: &Value, of: &Structural, at: &Path<'_>, problems: &mut Problems) {
    let mut pruned = default.clone();
    if !prune::prune_value(&mut pruned, of).is_empty() {
        problems.invalid(at, default, "must not have unknown fields");
    }
    // What it says of its type and metadata, too, where it is an object of its own.
    let (mut normal, mut unknown) = (default.clone(), Vec::new());
    if let Err(why) = embedded::normalize_value(&mut normal, of, &mut unknown) {
        return problems.invalid(at, default, &why);
    }
    let mut found = Problems::default();
    embedded::validate_value(&normal, of, at, &mut found);
    if !found.is_empty() {
        return problems.append(found);
    }
    value::check(default, None, of, &at.to_string(), problems);
}
