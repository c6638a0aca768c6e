//! A container's environment: names, and where values come from.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ResourceFieldSelector,
};

use super::Around;
use crate::registry::check;
use crate::registry::path::Path;
use crate::registry::volume_source::no_backsteps;

/// What of the pod an environment variable can be. Sorted, as they are listed when another is asked for.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What of a container's resources can be shown to it.
const CONTAINER_RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const ONE_AT_A_TIME: &str = "may not have more than one field specified at a time";

pub(super) fn validate(container: &Container, around: &Around<'_>, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("env");
    for (i, var) in container.env.iter().flatten().enumerate() {
        one(var, around, &list.index(i), problems);
    }
    let list = at.field("envFrom");
    for (i, source) in container.env_from.iter().flatten().enumerate() {
        from(source, &list.index(i), problems);
    }
}

fn one(var: &EnvVar, around: &Around<'_>, at: &Path<'_>, problems: &mut Problems) {
    match var.name.as_str() {
        "" => problems.required(at.field("name"), ""),
        name => check::env_var_name(problems, &at.field("name"), name),
    }
    let Some(source) = &var.value_from else { return };
    let at = at.field("valueFrom");
    let given = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
        source.file_key_ref.is_some(),
    ];
    match given.iter().filter(|g| **g).count() {
        0 => {
            let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            problems.invalid(at, "", why);
        }
        1 if !check::text(var.value.as_ref()).is_empty() => {
            problems.invalid(at, "", "may not be specified when `value` is not empty");
        }
        1 => {}
        _ => problems.invalid(at, "", ONE_AT_A_TIME),
    }
    references(source, around, &at, problems);
}

fn references(source: &EnvVarSource, around: &Around<'_>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(field) = &source.field_ref {
        field_path(&field.field_path, POD_FIELDS, &at.field("fieldRef").field("fieldPath"), problems);
    }
    if let Some(resource) = &source.resource_field_ref {
        resource_field(resource, false, &at.field("resourceFieldRef"), problems);
    }
    let keys = [
        ("configMapKeyRef", source.config_map_key_ref.as_ref().map(|r| (&r.name, &r.key))),
        ("secretKeyRef", source.secret_key_ref.as_ref().map(|r| (&r.name, &r.key))),
    ];
    for (field, reference) in keys {
        let Some((name, key)) = reference else { continue };
        let at = at.field(field);
        if name.is_empty() {
            problems.required(at.field("name"), "");
        }
        match key.as_str() {
            "" => problems.required(at.field("key"), ""),
            key => check::config_key(problems, &at.field("key"), key),
        }
    }
    if let Some(file) = &source.file_key_ref {
        file_key(file, around, &at.field("fileKeyRef"), problems);
    }
}

/// What an init container has written down for the others.
fn file_key(file: &FileKeySelector, around: &Around<'_>, at: &Path<'_>, problems: &mut Problems) {
    match file.key.as_str() {
        "" => problems.required(at.field("key"), ""),
        key => check::env_var_name(problems, &at.field("key"), key),
    }
    let volume_at = at.field("volumeName");
    match file.volume_name.as_str() {
        "" => problems.required(volume_at, ""),
        name => check::dns_label(problems, &volume_at, name),
    }
    match file.path.as_str() {
        "" => problems.required(at.field("path"), ""),
        path => no_backsteps(path, &at.field("path"), problems),
    }
    match around.volumes.get(file.volume_name.as_str()) {
        None => problems.not_found(volume_at, &file.volume_name),
        Some(volume) if volume.empty_dir.is_none() => {
            problems.invalid(volume_at, &file.volume_name, "referenced volume must be of type emptyDir");
        }
        Some(_) => {}
    }
}

/// A path into the pod: one of `known`, or one label or annotation (`metadata.labels['app']`).
pub(super) fn field_path(path: &str, known: &[&str], at: &Path<'_>, problems: &mut Problems) {
    if path.is_empty() {
        return problems.required(at, "");
    }
    let subscript = path.strip_suffix("']").and_then(|start| start.split_once("['"));
    match subscript {
        Some(("metadata.labels" | "metadata.annotations", key)) => {
            let lower = key.to_ascii_lowercase();
            check::qualified_name(problems, at, if path.starts_with("metadata.annotations") { &lower } else { key });
        }
        Some(_) => problems.invalid(at, path, "does not support subscript"),
        None if known.contains(&path) => {}
        None => problems.unsupported(at, path, known),
    }
}

/// In a volume, a resource must say of which container.
pub(super) fn resource_field(
    resource: &ResourceFieldSelector,
    in_volume: bool,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    if in_volume && check::text(resource.container_name.as_ref()).is_empty() {
        problems.required(at.field("containerName"), "");
    }
    let name = resource.resource.as_str();
    let huge = |n: &str| n.starts_with("limits.hugepages-") || n.starts_with("requests.hugepages-");
    if name.is_empty() {
        problems.required(at.field("resource"), "");
    } else if !CONTAINER_RESOURCES.contains(&name) && !huge(name) {
        problems.unsupported(at.field("resource"), name, CONTAINER_RESOURCES);
    }
    let divisor = resource.divisor.as_ref().map_or("0", |d| d.0.as_str());
    let supported: &[&str] = match name.split_once('.').map(|(_, of)| of) {
        Some("cpu") => &["0", "1m", "1"],
        Some("memory" | "ephemeral-storage") => {
            &["0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"]
        }
        _ => return,
    };
    if !supported.contains(&divisor) {
        let of = name.split_once('.').map_or("", |(_, of)| of);
        let why = format!("only divisor's values {} are supported with the {of} resource", supported[1..].join(", "));
        problems.invalid(at.field("divisor"), divisor, &why);
    }
}

fn from(source: &EnvFromSource, at: &Path<'_>, problems: &mut Problems) {
    if let Some(prefix) = source.prefix.as_ref().filter(|p| !p.is_empty()) {
        check::env_var_name(problems, &at.field("prefix"), prefix);
    }
    match (&source.config_map_ref, &source.secret_ref) {
        (None, None) => problems.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"),
        (Some(_), Some(_)) => problems.invalid(at, "", ONE_AT_A_TIME),
        (Some(map), None) if map.name.is_empty() => problems.required(at.field("configMapRef").field("name"), ""),
        (None, Some(secret)) if secret.name.is_empty() => problems.required(at.field("secretRef").field("name"), ""),
        _ => {}
    }
}
