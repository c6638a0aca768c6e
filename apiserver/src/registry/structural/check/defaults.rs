//! Whether the defaults of a schema are values of it, and keep its rules. None stands below `additionalProperties`.

use corten_api::Problems;
use corten_cel::Budget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
use serde_json::Value;

use super::super::rules::ValidationRules;
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

/// Asks the rules of each default, once all else is good, as of a value that was so before, and as of one that was not there.
/// `is_resource`: the schema's values are objects with a type and metadata. Whether anything is left for others.
pub(super) fn ask_rules(
    schema: &JSONSchemaProps,
    is_resource: bool,
    at: &Path<'_>,
    budget: &mut Budget<'_>,
    problems: &mut Problems,
) -> bool {
    let default = schema.default.as_ref().map(|default| &default.0).filter(|default| !default.is_null());
    if let Some(default) = default
        && let Some(rules) = ValidationRules::of_part(schema, is_resource)
    {
        let (at, mut found) = (at.field("default").to_string(), Problems::default());
        let mut is_left = rules.check_within(budget, (default, Some(default)), &at, &mut found);
        if is_left && found.is_empty() {
            is_left = rules.check_within(budget, (default, None), &at, &mut found);
        }
        problems.append(found);
        if !is_left {
            return false;
        }
    }
    let mut below = |part: &JSONSchemaProps, at: &Path<'_>| {
        ask_rules(part, part.x_kubernetes_embedded_resource == Some(true), at, budget, problems)
    };
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items
        && !below(items, &at.field("items"))
    {
        return false;
    }
    schema.properties.iter().flatten().all(|(name, property)| below(property, &at.field("properties").key(name)))
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
