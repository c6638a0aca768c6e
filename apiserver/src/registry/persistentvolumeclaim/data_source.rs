//! What a new volume is filled from. Two fields say so: the old one knows claims and snapshots of its own namespace, the
//! newer one anything; either is copied to the other.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#volume-populators-and-data-sources>

use corten_api::{Problems, names};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, TypedLocalObjectReference, TypedObjectReference};

use crate::registry::check;
use crate::registry::path::Path;

const CLAIM: &str = "PersistentVolumeClaim";

/// Drops what is not served (sources in other namespaces) and what was never taken in the old field, and copies either
/// field to the other. `old`: the claim as it is.
pub(super) fn settle(spec: &mut PersistentVolumeClaimSpec, old: Option<&PersistentVolumeClaimSpec>) {
    let had_ref = old.is_some_and(|old| old.data_source_ref.is_some());
    if !had_ref && spec.data_source_ref.as_ref().is_some_and(|source| !namespace(source).is_empty()) {
        spec.data_source_ref = None;
    }
    let had_any = had_ref || old.is_some_and(|old| old.data_source.is_some());
    if !had_any && spec.data_source_ref.is_none() {
        spec.data_source.take_if(|source| !is_of_old(source));
    }
    copy(spec);
}

/// Who says one field means the other too.
pub(super) fn copy(spec: &mut PersistentVolumeClaimSpec) {
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(source), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
                namespace: None,
            });
        }
        (None, Some(source)) if namespace(source).is_empty() => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
            });
        }
        _ => {}
    }
}

fn namespace(source: &TypedObjectReference) -> &str {
    check::text(source.namespace.as_ref())
}

/// What the old field was made for. Anything else in it has always been dropped without a word.
fn is_of_old(source: &TypedLocalObjectReference) -> bool {
    let group = check::text(source.api_group.as_ref());
    matches!((source.kind.as_str(), group), (CLAIM, "") | ("VolumeSnapshot", "snapshot.storage.k8s.io"))
}

/// `is_new`: whether groups must be well formed; there are old claims whose are not.
pub(super) fn validate(spec: &PersistentVolumeClaimSpec, is_new: bool, at: &Path<'_>, problems: &mut Problems) {
    if let Some(source) = &spec.data_source {
        let (group, at) = (source.api_group.as_ref(), at.field("dataSource"));
        reference(group, &source.kind, &source.name, is_new, &at, problems);
    }
    let Some(source) = &spec.data_source_ref else { return };
    let ref_at = at.field("dataSourceRef");
    reference(source.api_group.as_ref(), &source.kind, &source.name, is_new, &ref_at, problems);
    if !namespace(source).is_empty() {
        check::dns_label(problems, &ref_at.field("namespace"), namespace(source));
    }
    let Some(local) = &spec.data_source else { return };
    let of_ref = (&source.api_group, &source.kind, &source.name);
    let why = if !namespace(source).is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if (&local.api_group, &local.kind, &local.name) != of_ref {
        "must match dataSourceRef"
    } else {
        return;
    };
    problems.invalid(at, at.field("dataSource").to_string(), why);
}

fn reference(group: Option<&String>, kind: &str, name: &str, is_new: bool, at: &Path<'_>, problems: &mut Problems) {
    for (field, value) in [("name", name), ("kind", kind)] {
        if value.is_empty() {
            problems.required(at.field(field), "");
        }
    }
    match check::text(group) {
        "" if kind != CLAIM => {
            problems.invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
        }
        "" => {}
        group if is_new && !names::is_dns1123_subdomain(group) => {
            check::dns_subdomain(problems, &at.field("apiGroup"), group);
        }
        _ => {}
    }
}
