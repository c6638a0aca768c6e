//! Whether what somebody wrote is a structural schema that is served, told in upstream's words.
//!
//! - this: what a schema may say at all, and how its parts go together
//! - [`invariants`]: what makes it structural
//! - [`defaults`]: whether its defaults are values of it, and keep its rules
//!
//! Rules in CEL (`x-kubernetes-validations`) are judged where all else is good, by [`rules`].

mod defaults;
mod invariants;

use corten_api::Problems;
use corten_cel::{Budget, RUNTIME_BUDGET};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::{PatternJudge, SchemaError, SchemaType, Structural, is_known_format, rules};
use crate::registry::path::Path;

const META: [&str; 3] = ["metadata", "kind", "apiVersion"];
/// What may stand at the root where the status has a subresource of its own, as upstream names it.
const AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

/// What all versions of a definition may use together while they are judged.
pub struct Allowance {
    patterns: PatternJudge,
    /// For the rules of defaults.
    rules: Budget<'static>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { patterns: PatternJudge::default(), rules: Budget::new(RUNTIME_BUDGET) }
    }
}

/// Looks through the schema at `at` of a version.
pub fn check(
    schema: &JSONSchemaProps,
    has_status: bool,
    allowance: &mut Allowance,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let before = problems.causes().len();
    if has_status {
        root_of_status(schema, at, problems);
    }
    if schema.nullable == Some(true) {
        problems.forbidden(at.field("nullable"), "nullable cannot be true at the root");
    }
    let mut found = Problems::default();
    match Structural::of(schema) {
        // What is not supported is told of below, where it stands.
        Err(SchemaError::Unsupported(_)) => {}
        Ok(structural) => {
            invariants::check(schema, &mut allowance.patterns, at, &mut found);
            if found.is_empty() {
                defaults::check(&structural, at, &mut found);
            }
        }
    }
    problems.append(found);
    Look { problems, forbids_defaults: None, is_meta: false }.look(schema, true, at);
    if problems.causes().len() == before {
        rules::judge::judge(schema, at, problems);
    }
    if problems.causes().len() == before {
        defaults::ask_rules(schema, true, at, &mut allowance.rules, problems);
    }
}

/// Formats that nobody knows, once each: their author is told that they are not checked.
pub fn unknown_formats(schema: &JSONSchemaProps, found: &mut Vec<String>) {
    if let Some(format) = &schema.format
        && schema.type_.as_deref() == Some("string")
        && !format.is_empty()
        && !is_known_format(format)
        && !found.contains(format)
    {
        found.push(format.clone());
    }
    each_part(schema, &mut |part| unknown_formats(part, found));
}

/// All schemas that stand in a schema.
fn each_part(schema: &JSONSchemaProps, then: &mut dyn FnMut(&JSONSchemaProps)) {
    let lists = [&schema.all_of, &schema.any_of, &schema.one_of];
    lists.into_iter().flatten().flatten().for_each(&mut *then);
    schema.properties.iter().flatten().for_each(|(_, part)| then(part));
    if let Some(not) = &schema.not {
        then(not);
    }
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => then(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter().for_each(&mut *then),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        then(values);
    }
}

fn root_of_status(schema: &JSONSchemaProps, at: &Path<'_>, problems: &mut Problems) {
    if schema.type_.as_deref().is_some_and(|kind| kind != "object") {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        problems.invalid(at.field("type"), &schema.type_, why);
    }
    let is_empty = |list: &Option<Vec<JSONSchemaProps>>| list.as_ref().is_none_or(Vec::is_empty);
    let others = [
        schema.ref_path.is_some(),
        schema.id.is_some(),
        schema.schema.is_some(),
        schema.additional_items.is_some(),
        schema.additional_properties.is_some(),
        !is_empty(&schema.all_of),
        !is_empty(&schema.any_of),
        !is_empty(&schema.one_of),
        schema.not.is_some(),
        schema.default.is_some(),
        schema.definitions.is_some(),
        schema.dependencies.is_some(),
        schema.pattern_properties.is_some(),
        schema.enum_.is_some(),
        schema.max_properties.is_some(),
        schema.min_properties.is_some(),
        schema.nullable == Some(true),
        schema.x_kubernetes_embedded_resource == Some(true),
        schema.x_kubernetes_int_or_string == Some(true),
        schema.x_kubernetes_list_map_keys.is_some(),
        schema.x_kubernetes_list_type.is_some(),
        schema.x_kubernetes_map_type.is_some(),
    ];
    if others.contains(&true) {
        let why =
            format!("only {AT_ROOT} fields are allowed at the root of the schema if the status subresource is enabled");
        problems.invalid(at, schema, &why);
    }
}

/// A walk over what was written.
struct Look<'p> {
    problems: &'p mut Problems,
    /// Why no default may stand here.
    forbids_defaults: Option<&'p str>,
    /// It is about the type or metadata of an object.
    is_meta: bool,
}

impl Look<'_> {
    fn below(&mut self, schema: &JSONSchemaProps, at: &Path<'_>) {
        self.look(schema, false, at);
    }

    fn look(&mut self, schema: &JSONSchemaProps, is_root: bool, at: &Path<'_>) {
        self.words(schema, at);
        let nothing = std::collections::BTreeMap::new();
        let properties = schema.properties.as_ref().unwrap_or(&nothing);
        if let Some(additional) = &schema.additional_properties {
            if !properties.is_empty() && !matches!(additional, JSONSchemaPropsOrBool::Bool(true)) {
                self.forbidden(at, "additionalProperties", "additionalProperties and properties are mutual exclusive");
            }
            if let JSONSchemaPropsOrBool::Schema(schema) = additional {
                let why = "inside additionalProperties applying to object metadata";
                let forbids = if self.is_meta { Some(why) } else { self.forbids_defaults };
                let mut look = Look { problems: self.problems, forbids_defaults: forbids, is_meta: self.is_meta };
                look.below(schema, &at.field("additionalProperties"));
            }
        }
        let is_object = is_root || schema.x_kubernetes_embedded_resource == Some(true);
        for (name, property) in properties {
            let is_meta = is_object && META.contains(&name.as_str());
            let why = format!("in top-level {name}");
            let forbids = if is_meta && is_root { Some(&*why) } else { self.forbids_defaults };
            let mut look =
                Look { problems: self.problems, forbids_defaults: forbids, is_meta: self.is_meta || is_meta };
            look.below(property, &at.field("properties").key(name));
        }
        if let Some(not) = &schema.not {
            self.below(not, &at.field("not"));
        }
        for (name, list) in [("allOf", &schema.all_of), ("oneOf", &schema.one_of), ("anyOf", &schema.any_of)] {
            for (index, part) in list.iter().flatten().enumerate() {
                self.below(part, &at.field(name).index(index));
            }
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            self.below(items, &at.field("items"));
        }
        self.extensions(schema, at);
        self.list_keys(schema, at);
    }

    fn forbidden(&mut self, at: &Path<'_>, field: &str, why: &str) {
        self.problems.forbidden(at.field(field), why);
    }

    /// What no schema may say.
    fn words(&mut self, schema: &JSONSchemaProps, at: &Path<'_>) {
        let kind = schema.type_.as_deref().unwrap_or_default();
        if !kind.is_empty() && !SchemaType::ALL.contains(&kind) {
            self.problems.unsupported(at.field("type"), kind, &SchemaType::ALL);
        }
        if let (Some(_), Some(why)) = (&schema.default, self.forbids_defaults) {
            self.forbidden(at, "default", &format!("must not be set {why}"));
        }
        let is_some = |map: Option<usize>| map.is_some_and(|len| len > 0);
        for (field, is_there) in [
            ("id", schema.id.as_ref().is_some_and(|id| !id.is_empty())),
            ("additionalItems", schema.additional_items.is_some()),
            ("patternProperties", is_some(schema.pattern_properties.as_ref().map(|all| all.len()))),
            ("definitions", is_some(schema.definitions.as_ref().map(|all| all.len()))),
            ("dependencies", schema.dependencies.is_some()),
            ("$ref", schema.ref_path.is_some()),
        ] {
            if is_there {
                self.forbidden(at, field, &format!("{field} is not supported"));
            }
        }
        if kind == "null" {
            self.forbidden(at, "type", "type cannot be set to null, use nullable as an alternative");
        }
        if matches!(&schema.items, Some(JSONSchemaPropsOrArray::Schemas(all)) if !all.is_empty()) {
            self.forbidden(at, "items", "items must be a schema object and not an array");
        }
        if self.is_meta && schema.x_kubernetes_embedded_resource == Some(true) {
            self.forbidden(at, "x-kubernetes-embedded-resource", "must not be used inside of resource meta");
        }
        if schema.unique_items == Some(true) {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.forbidden(at, "uniqueItems", why);
        }
    }

    fn extensions(&mut self, schema: &JSONSchemaProps, at: &Path<'_>) {
        if schema.x_kubernetes_preserve_unknown_fields == Some(false) {
            let at = at.field("x-kubernetes-preserve-unknown-fields");
            self.problems.invalid(at, false, "must be true or undefined");
        }
        if let Some(map) = &schema.x_kubernetes_map_type {
            self.must_be("object", "x-kubernetes-map-type", schema, at);
            if !matches!(map.as_str(), "atomic" | "granular") {
                self.problems.unsupported(at.field("x-kubernetes-map-type"), map, &["atomic", "granular"]);
            }
        }
        let Some(list) = schema.x_kubernetes_list_type.as_deref() else { return };
        if schema.type_.as_deref() != Some("array") {
            self.must_be("array", "x-kubernetes-list-type", schema, at);
        } else if let ("set", Some(items)) = (list, items_of(schema)) {
            let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let at = at.field("items");
            let (inner_list, inner_map) = (&items.x_kubernetes_list_type, &items.x_kubernetes_map_type);
            match items.type_.as_deref() {
                Some("array") if inner_list.as_deref().is_some_and(|kind| kind != "atomic") => {
                    self.problems.invalid(at.field("x-kubernetes-list-type"), inner_list, why);
                }
                Some("object") if inner_map.as_deref() != Some("atomic") => {
                    self.problems.invalid(at.field("x-kubernetes-map-type"), inner_map, why);
                }
                _ => {}
            }
        }
        if !matches!(list, "atomic" | "set" | "map") {
            self.problems.unsupported(at.field("x-kubernetes-list-type"), list, &["atomic", "set", "map"]);
        }
        if let ("set" | "map", Some(true)) = (list, items_of(schema).map(|items| items.nullable == Some(true))) {
            let why = format!("cannot be nullable when x-kubernetes-list-type is {list}");
            self.problems.forbidden(at.field("items").field("nullable"), &why);
        }
    }

    fn must_be(&mut self, kind: &str, extension: &str, schema: &JSONSchemaProps, at: &Path<'_>) {
        let why = format!("must be {kind} if {extension} is specified");
        match schema.type_.as_deref().unwrap_or_default() {
            "" => self.problems.required(at.field("type"), &why),
            have if have != kind => self.problems.invalid(at.field("type"), have, &why),
            _ => {}
        }
    }

    /// Of a list that is a map.
    fn list_keys(&mut self, schema: &JSONSchemaProps, at: &Path<'_>) {
        let (keys, list) =
            (schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default(), &schema.x_kubernetes_list_type);
        let keys_at = at.field("x-kubernetes-list-map-keys");
        if list.as_deref() != Some("map") {
            if !keys.is_empty() {
                let (at, why) =
                    (at.field("x-kubernetes-list-type"), "must be map if x-kubernetes-list-map-keys is non-empty");
                match list {
                    None => self.problems.required(at, why),
                    Some(list) => self.problems.invalid(at, list, why),
                }
            }
            return;
        }
        if keys.is_empty() {
            self.problems.required(keys_at, "must not be empty if x-kubernetes-list-type is map");
        }
        let items_at = at.field("items");
        let items = match &schema.items {
            None => return self.problems.required(items_at, "must have a schema if x-kubernetes-list-type is map"),
            Some(JSONSchemaPropsOrArray::Schemas(all)) => {
                return self.problems.invalid(
                    items_at,
                    all,
                    "must only have a single schema if x-kubernetes-list-type is map",
                );
            }
            Some(JSONSchemaPropsOrArray::Schema(items)) => items,
        };
        if items.type_.as_deref() != Some("object") {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            return self.problems.invalid(items_at.field("type"), &items.type_, why);
        }
        for (nth, key) in keys.iter().enumerate() {
            if keys[..nth].contains(key) {
                self.problems.invalid(keys_at, keys, "must not contain duplicate entries");
            }
            let Some(property) = items.properties.as_ref().and_then(|all| all.get(key)) else {
                self.problems.invalid(keys_at, keys, "entries must all be names of item properties");
                continue;
            };
            let at = items_at.field("properties");
            let at = at.key(key);
            if matches!(property.type_.as_deref(), Some("array" | "object")) {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                self.problems.invalid(at.field("type"), &items.type_, why);
            }
            let is_required = items.required.iter().flatten().any(|required| required == key);
            let is_listed = "this property is in x-kubernetes-list-map-keys, so it";
            if !is_required && property.default.is_none() {
                self.problems.required(
                    at.field("default"),
                    &format!("{is_listed} must have a default or be a required property"),
                );
            }
            if property.nullable == Some(true) {
                self.problems.forbidden(at.field("nullable"), &format!("{is_listed} cannot be nullable"));
            }
        }
    }
}

fn items_of(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        Some(JSONSchemaPropsOrArray::Schemas(_)) | None => None,
    }
}

#[cfg(test)]
mod tests;
