//! What may be said of each version, or of all alike: where upstream tells of it.
//!
//! Upstream keeps what all versions say alike once, for the whole definition, and tells of it there: `spec.validation` instead of
//! `spec.versions[0].schema`.

use corten_api::Problems;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionVersion,
    CustomResourceSubresourceScale, CustomResourceSubresources, JSONSchemaProps, SelectableField,
};

use crate::registry::path::Path;
use crate::registry::structural::check::Allowance;
use crate::registry::structural::{self, SchemaType, Structural};

/// Each is a cell of all rows.
const MAX_COLUMNS: usize = 64;
const MAX_SELECTABLE_FIELDS: usize = 8;
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 9] =
    ["binary", "byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

pub(super) fn schema(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

fn has_status(version: &CustomResourceDefinitionVersion) -> bool {
    version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some())
}

pub(super) fn unknown_formats(of: &CustomResourceDefinition) -> Vec<String> {
    let mut found = Vec::new();
    of.spec
        .versions
        .iter()
        .filter_map(schema)
        .for_each(|schema| structural::check::unknown_formats(schema, &mut found));
    found
}

/// Calls `check` once at the name that upstream has for what all say alike, or for each version.
fn each<T: PartialEq>(
    versions: &[CustomResourceDefinitionVersion],
    (shared, own): (&str, &str),
    of: impl Fn(&CustomResourceDefinitionVersion) -> &T,
    mut check: impl FnMut(&T, &CustomResourceDefinitionVersion, bool, &Path<'_>),
) {
    let spec = Path::root("spec");
    let Some(first) = versions.first() else { return };
    if versions.iter().all(|version| of(version) == of(first)) {
        return check(of(first), first, true, &spec.field(shared));
    }
    for (index, version) in versions.iter().enumerate() {
        check(of(version), version, false, &spec.field("versions").index(index).field(own));
    }
}

/// `old`: the definition before, whose schemas have been judged.
pub(super) fn check(of: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>, problems: &mut Problems) {
    let versions = &of.spec.versions;
    let before = old.map(|old| old.spec.versions.as_slice()).unwrap_or_default();
    let all = Path::root("spec");
    let all = all.field("versions");
    for (index, version) in versions.iter().enumerate() {
        if schema(version).is_none() {
            problems.required(all.index(index).field("schema").field("openAPIV3Schema"), "");
        }
    }
    let any_has_status = versions.iter().any(has_status);
    let mut allowance = Allowance::default();
    each(
        versions,
        ("validation", "schema"),
        |version| &version.schema,
        |_, version, shared, at| {
            let with_status = if shared { any_has_status } else { has_status(version) };
            // One that has a status of its own may say less.
            let is_old = |old: &CustomResourceDefinitionVersion| {
                old.schema == version.schema && (has_status(old) || !with_status)
            };
            if let Some(schema) = schema(version).filter(|_| !before.iter().any(is_old)) {
                let at = at.field("openAPIV3Schema");
                structural::check::check(schema, with_status, &mut allowance, &at, problems);
            }
        },
    );
    each(
        versions,
        ("subresources", "subresources"),
        |version| &version.subresources,
        |subresources: &Option<CustomResourceSubresources>, _, _, at| {
            if let Some(scale) = subresources.as_ref().and_then(|subresources| subresources.scale.as_ref()) {
                check_scale(scale, at, problems);
            }
        },
    );
    each(
        versions,
        ("additionalPrinterColumns", "additionalPrinterColumns"),
        |version| &version.additional_printer_columns,
        |columns, version, _, at| {
            let count = columns.as_ref().map_or(0, Vec::len);
            let is_old = |old: &CustomResourceDefinitionVersion| {
                old.additional_printer_columns == version.additional_printer_columns
            };
            if count > MAX_COLUMNS && !before.iter().any(is_old) {
                return problems.too_many(at, count, MAX_COLUMNS);
            }
            for (index, column) in columns.iter().flatten().enumerate() {
                check_column(column, &at.index(index), problems);
            }
        },
    );
    each(
        versions,
        ("selectableFields", "selectableFields"),
        |version| &version.selectable_fields,
        |fields, version, _, at| {
            if let Some(fields) = fields.as_deref().filter(|fields| !fields.is_empty()) {
                check_selectable(fields, schema(version), at, problems);
            }
        },
    );
}

fn check_scale(scale: &CustomResourceSubresourceScale, at: &Path<'_>, problems: &mut Problems) {
    for (field, path, roots, why) in [
        (
            "scale.specReplicasPath",
            Some(&scale.spec_replicas_path),
            &[".spec."][..],
            "should be a json path under .spec",
        ),
        (
            "scale.statusReplicasPath",
            Some(&scale.status_replicas_path),
            &[".status."],
            "should be a json path under .status",
        ),
        (
            "scale.labelSelectorPath",
            scale.label_selector_path.as_ref().filter(|path| !path.is_empty()),
            &[".spec.", ".status."],
            "should be a json path under either .spec or .status",
        ),
    ] {
        let at = at.field(field);
        match path.map(String::as_str) {
            None => {}
            Some("") => problems.required(at, ""),
            Some(path) if !path.starts_with('.') => {
                problems.invalid(at, path, "must be a simple json path starting with .")
            }
            Some(path) if !roots.iter().any(|root| path.starts_with(root)) => problems.invalid(at, path, why),
            Some(_) => {}
        }
    }
}

fn check_column(column: &CustomResourceColumnDefinition, at: &Path<'_>, problems: &mut Problems) {
    if column.name.is_empty() {
        problems.required(at.field("name"), "");
    }
    let known = format!("must be one of {}", COLUMN_TYPES.join(","));
    match column.type_.as_str() {
        "" => problems.required(at.field("type"), &known),
        kind if !COLUMN_TYPES.contains(&kind) => problems.invalid(at.field("type"), kind, &known),
        _ => {}
    }
    if let Some(format) =
        column.format.as_deref().filter(|format| !format.is_empty() && !COLUMN_FORMATS.contains(format))
    {
        problems.invalid(at.field("format"), format, &format!("must be one of {}", COLUMN_FORMATS.join(",")));
    }
    match column.json_path.as_str() {
        "" => problems.required(at.field("JSONPath"), ""),
        path if !path.starts_with('.') => {
            problems.invalid(at.field("JSONPath"), path, "must be a simple json path starting with .");
        }
        _ => {}
    }
}

fn check_selectable(
    fields: &[SelectableField],
    schema: Option<&JSONSchemaProps>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    // A schema that is none is told of as such.
    let Some(Ok(schema)) = schema.map(Structural::of) else { return };
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let (at, path) = (at.index(index), field.json_path.as_str());
        let at = at.field("jsonPath");
        if path.is_empty() {
            problems.required(at, "");
            continue;
        }
        let Some(found) = field_at(path, &schema) else {
            problems.invalid(at, path, "is an invalid path: does not refer to a valid field");
            continue;
        };
        if path.split('.').nth(1) == Some("metadata") {
            problems.invalid(at, path, "must not point to fields in metadata");
        }
        if !matches!(found.kind, Some(SchemaType::String | SchemaType::Boolean | SchemaType::Integer)) {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            problems.invalid(at, path, why);
        }
        if seen.contains(&path) {
            problems.duplicate(at, path);
        } else {
            seen.push(path);
        }
    }
    if seen.len() > MAX_SELECTABLE_FIELDS {
        problems.too_many(at, seen.len(), MAX_SELECTABLE_FIELDS);
    }
}

/// The schema of what a path like `.spec.color` leads to, through declared fields alone.
fn field_at<'s>(path: &str, schema: &'s Structural) -> Option<&'s Structural> {
    let steps = path.strip_prefix('.')?.split('.');
    steps.into_iter().try_fold(schema, |at, step| at.properties.get(step))
}
