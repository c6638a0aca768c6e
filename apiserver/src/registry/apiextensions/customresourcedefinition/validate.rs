//! Whether a definition is one, in upstream's words.

use corten_api::{Problems, names as api_names};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionSpec, CustomResourceDefinitionVersion,
};

use super::conditions::{self, ESTABLISHED};
use super::{approval, conversion, names, schemas};
use crate::registry::check;
use crate::registry::path::Path;

const WARNING_BYTES_MAX: usize = 256;
/// Each has a schema that is read, kept and described.
const MAX_VERSIONS: usize = 64;

/// `old`: the definition before. Its schemas are not looked through again, and stay though they might be refused by now.
pub(super) fn definition(
    of: &CustomResourceDefinition,
    old: Option<&CustomResourceDefinition>,
    problems: &mut Problems,
) {
    let wanted = format!("{}.{}", of.spec.names.plural, of.spec.group);
    let name = of.metadata.name.as_deref().unwrap_or_default();
    if name != wanted {
        problems.invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group");
    }
    let versions_before = old.map_or(0, |old| old.spec.versions.len());
    if of.spec.versions.len() > MAX_VERSIONS.max(versions_before) {
        return problems.too_many("spec.versions", of.spec.versions.len(), MAX_VERSIONS);
    }
    spec(&of.spec, problems);
    conversion::check(of, old, problems);
    schemas::check(of, old, problems);
    status(of, problems);
    stored_versions(of, problems);
    if of.spec.preserve_unknown_fields == Some(true) {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        problems.invalid("spec.preserveUnknownFields", true, why);
    }
    approval::check(of, problems);
}

pub(super) fn update(of: &CustomResourceDefinition, old: &CustomResourceDefinition, problems: &mut Problems) {
    let at = Path::root("spec");
    let names_at = at.field("names");
    if conditions::is_true(old, ESTABLISHED) {
        check::immutable(problems, &at.field("scope"), &of.spec.scope, &old.spec.scope);
        check::immutable(problems, &names_at.field("kind"), &of.spec.names.kind, &old.spec.names.kind);
    }
    check::immutable(problems, &at.field("group"), &of.spec.group, &old.spec.group);
    check::immutable(problems, &names_at.field("plural"), &of.spec.names.plural, &old.spec.names.plural);
}

pub(super) fn status(of: &CustomResourceDefinition, problems: &mut Problems) {
    if let Some(accepted) = of.status.as_ref().and_then(|status| status.accepted_names.as_ref()) {
        names::check(accepted, &Path::root("status").field("acceptedNames"), problems);
    }
}

fn spec(of: &CustomResourceDefinitionSpec, problems: &mut Problems) {
    let at = Path::root("spec");
    match of.group.as_str() {
        "" => problems.required(at.field("group"), ""),
        group if !api_names::is_dns1123_subdomain(group) => {
            problems.invalid(at.field("group"), group, api_names::DNS1123_SUBDOMAIN_WHY);
        }
        group if !group.contains('.') => {
            problems.invalid(at.field("group"), group, "should be a domain with at least one dot");
        }
        _ => {}
    }
    match of.scope.as_str() {
        "" => problems.required(at.field("scope"), ""),
        "Cluster" | "Namespaced" => {}
        other => problems.unsupported(at.field("scope"), other, &["Cluster", "Namespaced"]),
    }
    let versions_at = at.field("versions");
    for (index, version) in of.versions.iter().enumerate() {
        let at = versions_at.index(index);
        if !api_names::is_dns1035_label(&version.name) {
            problems.invalid(at.field("name"), &version.name, api_names::DNS1035_LABEL_WHY);
        }
        deprecation(version, &at.field("deprecationWarning"), problems);
        if of.versions[..index].iter().any(|before| before.name == version.name) {
            problems.invalid(versions_at, &version.name, "must contain unique version names");
        }
    }
    if of.versions.iter().filter(|version| version.storage).count() != 1 {
        let all: Vec<&str> = of.versions.iter().map(|version| version.name.as_str()).collect();
        problems.invalid(versions_at, all, "must have exactly one version marked as storage version");
    }
    let names_at = at.field("names");
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    for (field, name) in [
        ("plural", of.names.plural.clone()),
        ("singular", text(&of.names.singular)),
        ("kind", of.names.kind.clone()),
        ("listKind", text(&of.names.list_kind)),
    ] {
        if name.is_empty() {
            problems.required(names_at.field(field), "");
        }
    }
    names::check(&of.names, &names_at, problems);
}

fn deprecation(version: &CustomResourceDefinitionVersion, at: &Path<'_>, problems: &mut Problems) {
    let Some(warning) = &version.deprecation_warning else { return };
    let mut bad = |why: &str| problems.invalid(at, warning, why);
    if version.deprecated != Some(true) {
        return bad("can only be set for deprecated versions");
    }
    if warning.len() > WARNING_BYTES_MAX {
        bad("must be <= 256 characters long");
    }
    if warning.is_empty() {
        bad("must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!("must only contain printable UTF-8 characters; non-printable character found at index {at}");
        bad(&why);
    }
}

fn stored_versions(of: &CustomResourceDefinition, problems: &mut Problems) {
    let at = Path::root("status");
    let at = at.field("storedVersions");
    let stored = of.status.as_ref().and_then(|status| status.stored_versions.as_deref()).unwrap_or_default();
    if stored.is_empty() {
        return problems.invalid(at, stored, "must have at least one stored version");
    }
    if let Some(storage) = of.spec.versions.iter().find(|version| version.storage)
        && !stored.contains(&storage.name)
    {
        problems.invalid(at, stored, &format!("must have the storage version {}", storage.name));
    }
    for (index, name) in stored.iter().enumerate() {
        if !of.spec.versions.iter().any(|version| version.name == *name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            problems.invalid(at.index(index), name, &why);
        }
    }
}
