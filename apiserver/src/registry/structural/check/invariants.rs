//! What makes a schema structural: every field that a value may have is declared, with its type, outside of `allOf`, `anyOf`,
//! `oneOf` and `not`; these say nothing but what values must be.

use corten_api::Problems;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::super::pattern::{Judge, Refused};
use super::items_of;
use crate::registry::path::Path;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

pub(super) fn check(schema: &JSONSchemaProps, patterns: &mut Judge, at: &Path<'_>, problems: &mut Problems) {
    structure(schema, Level::Root, patterns, at, problems);
    Complete { problems }.junctors(schema, Some(schema), at, at);
}

fn structure(schema: &JSONSchemaProps, level: Level, patterns: &mut Judge, at: &Path<'_>, problems: &mut Problems) {
    let kind = schema.type_.as_deref().unwrap_or_default();
    let is = |mark: Option<bool>| mark == Some(true);
    let (embedded, preserves) =
        (is(schema.x_kubernetes_embedded_resource), is(schema.x_kubernetes_preserve_unknown_fields));
    let int_or_string = is(schema.x_kubernetes_int_or_string);
    if kind == "array" && items_of(schema).is_none() {
        problems.required(at.field("items"), "must be specified");
    }
    if let Some(items) = items_of(schema) {
        structure(items, Level::Item, patterns, &at.field("items"), problems);
    }
    for (name, property) in schema.properties.iter().flatten() {
        structure(property, Level::Field, patterns, &at.field("properties").key(name), problems);
    }
    if let Some(additional) = &schema.additional_properties {
        let at = at.field("additionalProperties");
        if level == Level::Root {
            problems.forbidden(at, "must not be used at the root");
        }
        if let JSONSchemaPropsOrBool::Schema(values) = additional {
            structure(values, Level::Field, patterns, &at, problems);
        }
        if embedded {
            problems.forbidden(at, "must not be used if x-kubernetes-embedded-resource is set");
        }
    }
    for (mark, is_set) in
        [("x-kubernetes-preserve-unknown-fields", preserves), ("x-kubernetes-embedded-resource", embedded)]
    {
        if int_or_string && is_set {
            problems.invalid(at.field(mark), true, "must be false if x-kubernetes-int-or-string is true");
        }
    }
    let any_of_is_types = is_int_or_string(schema.any_of.as_deref());
    let first_is_types = schema.all_of.as_deref().and_then(<[_]>::first);
    let first_is_types = first_is_types.is_some_and(|first| is_int_or_string(first.any_of.as_deref()));
    let skips = Skips { any_of: any_of_is_types, first: first_is_types };
    values(schema, skips, patterns, at, problems);

    let (type_at, embedded_why) = (at.field("type"), "must be object if x-kubernetes-embedded-resource is true");
    match kind {
        "" if embedded => problems.required(type_at, embedded_why),
        "" if !int_or_string && !preserves => problems.required(
            type_at,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        ),
        kind if embedded && kind != "object" => problems.invalid(type_at, kind, embedded_why),
        _ => {}
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        problems.invalid(type_at, kind, "must be object at the root");
    }
    meta(schema, level, embedded, at, problems);
    let has_properties = schema.properties.as_ref().is_some_and(|all| !all.is_empty());
    if embedded && !preserves && !has_properties {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        problems.required(at.field("properties"), why);
    }
}

/// What may be said of an object's type and metadata.
fn meta(schema: &JSONSchemaProps, level: Level, embedded: bool, at: &Path<'_>, problems: &mut Problems) {
    let Some(properties) = &schema.properties else { return };
    let is_object = level == Level::Root || embedded;
    let at = at.field("properties");
    for (name, wanted, why) in [
        ("kind", "string", "must be string"),
        ("apiVersion", "string", "must be string"),
        ("metadata", "object", "must be object"),
    ] {
        if let Some(property) = properties.get(name).filter(|_| is_object)
            && property.type_.as_deref() != Some(wanted)
        {
            problems.invalid(at.key(name).field("type"), property.type_.as_deref().unwrap_or_default(), why);
        }
    }
    let Some(metadata) = properties.get("metadata").filter(|_| level == Level::Root) else { return };
    let names_alone =
        metadata.properties.iter().flatten().all(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
    let mut rest = metadata.clone();
    (rest.type_, rest.default) = (None, None);
    if names_alone {
        rest.properties = None;
    }
    // What says what values must be is said of the names, too.
    let plain = JSONSchemaProps { properties: rest.properties.clone(), ..JSONSchemaProps::default() };
    if rest.properties.is_some() || rest != plain {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        problems.forbidden(at.key("metadata"), why);
    }
}

/// `[{type: integer}, {type: string}]`: the one place where alternatives may name types.
fn is_int_or_string(alternatives: Option<&[JSONSchemaProps]>) -> bool {
    let of = |name: &str| JSONSchemaProps { type_: Some(name.into()), ..JSONSchemaProps::default() };
    matches!(alternatives, Some([first, second]) if *first == of("integer") && *second == of("string"))
}

/// Alternatives that name types, and may: `anyOf`, and that of the first of `allOf`.
#[derive(Clone, Copy, Default)]
struct Skips {
    any_of: bool,
    first: bool,
}

/// What is said of values.
fn values(schema: &JSONSchemaProps, skips: Skips, patterns: &mut Judge, at: &Path<'_>, problems: &mut Problems) {
    for (name, list) in [("anyOf", &schema.any_of), ("allOf", &schema.all_of), ("oneOf", &schema.one_of)] {
        if name == "anyOf" && skips.any_of {
            continue;
        }
        for (index, part) in list.iter().flatten().enumerate() {
            let skips = Skips { any_of: name == "allOf" && index == 0 && skips.first, first: false };
            nested(part, skips, patterns, &at.field(name).index(index), problems);
        }
    }
    if let Some(not) = &schema.not {
        nested(not, Skips::default(), patterns, &at.field("not"), problems);
    }
    let Some(pattern) = schema.pattern.as_deref().filter(|pattern| !pattern.is_empty()) else { return };
    match patterns.judge(pattern) {
        Ok(()) | Err(Refused::Again) => {}
        Err(Refused::Flaw(why)) => {
            let why = format!("must be a valid regular expression, but isn't: {why}");
            problems.invalid(at.field("pattern"), pattern, &why);
        }
        Err(Refused::Bound(why)) => problems.invalid_unshown(at.field("pattern"), &why),
    }
}

/// A schema that may say nothing but what values must be.
fn nested(schema: &JSONSchemaProps, skips: Skips, patterns: &mut Judge, at: &Path<'_>, problems: &mut Problems) {
    values(schema, skips, patterns, at, problems);
    if let Some(items) = items_of(schema) {
        nested(items, Skips::default(), patterns, &at.field("items"), problems);
    }
    for (name, property) in schema.properties.iter().flatten() {
        nested(property, Skips::default(), patterns, &at.field("properties").key(name), problems);
    }
    let is_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let is = |mark: Option<bool>| mark == Some(true);
    for (field, is_there, what) in [
        ("type", is_text(&schema.type_), "empty"),
        ("additionalProperties", schema.additional_properties.is_some(), "undefined"),
        ("default", schema.default.is_some(), "undefined"),
        ("title", is_text(&schema.title), "empty"),
        ("description", is_text(&schema.description), "empty"),
        ("nullable", is(schema.nullable), "false"),
        ("x-kubernetes-preserve-unknown-fields", is(schema.x_kubernetes_preserve_unknown_fields), "false"),
        ("x-kubernetes-embedded-resource", is(schema.x_kubernetes_embedded_resource), "false"),
        ("x-kubernetes-int-or-string", is(schema.x_kubernetes_int_or_string), "false"),
        (
            "x-kubernetes-list-map-keys",
            schema.x_kubernetes_list_map_keys.as_ref().is_some_and(|keys| !keys.is_empty()),
            "empty",
        ),
        ("x-kubernetes-list-type", schema.x_kubernetes_list_type.is_some(), "undefined"),
        ("x-kubernetes-map-type", schema.x_kubernetes_map_type.is_some(), "undefined"),
        (
            "x-kubernetes-validations",
            schema.x_kubernetes_validations.as_ref().is_some_and(|rules| !rules.is_empty()),
            "empty",
        ),
    ] {
        if is_there {
            problems.forbidden(at.field(field), &format!("must be {what} to be structural"));
        }
    }
    if schema.properties.as_ref().is_some_and(|all| all.contains_key("metadata")) {
        problems.forbidden(at.field("properties").key("metadata"), "must not be specified in a nested context");
    }
}

/// Whether what values must be is said of declared fields alone.
struct Complete<'p> {
    problems: &'p mut Problems,
}

impl Complete<'_> {
    /// `structure`: what is declared at `at`; `said_at`: where something is said of it.
    fn junctors(
        &mut self,
        said: &JSONSchemaProps,
        structure: Option<&JSONSchemaProps>,
        at: &Path<'_>,
        said_at: &Path<'_>,
    ) {
        if let Some(not) = &said.not {
            self.nested(not, structure, at, &said_at.field("not"));
        }
        for (name, list) in [("allOf", &said.all_of), ("anyOf", &said.any_of), ("oneOf", &said.one_of)] {
            for (index, part) in list.iter().flatten().enumerate() {
                self.nested(part, structure, at, &said_at.field(name).index(index));
            }
        }
    }

    fn nested(
        &mut self,
        said: &JSONSchemaProps,
        structure: Option<&JSONSchemaProps>,
        at: &Path<'_>,
        said_at: &Path<'_>,
    ) {
        let Some(structure) = structure else {
            return self.problems.required(at, &format!("because it is defined in {said_at}"));
        };
        self.junctors(said, Some(structure), at, said_at);
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &said.items {
            self.nested(items, items_of(structure), &at.field("items"), &said_at.field("items"));
        }
        for (name, property) in said.properties.iter().flatten() {
            let declared = structure.properties.as_ref().and_then(|all| all.get(name));
            let (at, said_at) = (at.field("properties"), said_at.field("properties"));
            self.nested(property, declared, &at.key(name), &said_at.key(name));
        }
    }
}
