//! Whether what is claimed makes sense: of claims, and of the templates of claims in pods.
//!
//! Rules: <https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/persistent-volume-claim-v1/>.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, PersistentVolumeClaimTemplate};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::data_source;
use crate::registry::path::Path;
use crate::registry::quantities::{self, well_formed};
use crate::registry::{access_modes, check, resource_names};

/// `is_new`: whether it is held to the newest rules. What they are about cannot change later.
pub fn spec(spec: &PersistentVolumeClaimSpec, is_new: bool, at: &Path<'_>, problems: &mut Problems) {
    let modes_at = at.field("accessModes");
    access_modes::validate(spec.access_modes.as_ref(), "at least 1 access mode is required", &modes_at, problems);
    if let Some(selector) = spec.selector.as_ref().filter(|_| is_new) {
        check::label_selector(problems, &at.field("selector"), selector);
    }
    resources(spec, &at.field("resources"), problems);
    if let Some(class) = spec.storage_class_name.as_ref().filter(|class| !class.is_empty()) {
        check::dns_subdomain(problems, &at.field("storageClassName"), class);
    }
    access_modes::volume_mode(spec.volume_mode.as_ref(), &at.field("volumeMode"), problems);
    data_source::validate(spec, is_new, at, problems);
    if let Some(class) = spec.volume_attributes_class_name.as_ref().filter(|class| !class.is_empty()) {
        check::dns_subdomain(problems, &at.field("volumeAttributesClassName"), class);
    }
}

fn resources(spec: &PersistentVolumeClaimSpec, at: &Path<'_>, problems: &mut Problems) {
    let (limits, requests) = spec.resources.as_ref().map_or((None, None), |r| (r.limits.as_ref(), r.requests.as_ref()));
    quantities::all_well_formed(problems, &at.field("limits"), limits);
    for (name, wire) in requests.into_iter().flatten().filter(|(name, _)| *name != resource_names::STORAGE) {
        well_formed(problems, &at.field("requests").key(name), wire);
    }
    let storage_at = at.key(resource_names::STORAGE);
    match requests.and_then(|requests| requests.get(resource_names::STORAGE)) {
        None => problems.required(storage_at, ""),
        Some(wire) => {
            if let Some(quantity) = well_formed(problems, &storage_at, wire) {
                quantities::positive(problems, &storage_at, quantity);
            }
        }
    }
}

/// A template's claims get labels and annotations from it, and nothing else.
pub fn template(template: &PersistentVolumeClaimTemplate, at: &Path<'_>, problems: &mut Problems) {
    if let Some(meta) = &template.metadata {
        template_meta(meta, &at.field("metadata"), problems);
    }
    spec(&template.spec, true, &at.field("spec"), problems);
}

fn template_meta(meta: &ObjectMeta, at: &Path<'_>, problems: &mut Problems) {
    check::annotations(problems, &at.field("annotations"), meta.annotations.as_ref());
    check::labels(problems, &at.field("labels"), meta.labels.as_ref());
    for (field, is_set) in [
        ("name", meta.name.is_some()),
        ("generateName", meta.generate_name.is_some()),
        ("namespace", meta.namespace.is_some()),
        ("selfLink", meta.self_link.is_some()),
        ("uid", meta.uid.is_some()),
        ("resourceVersion", meta.resource_version.is_some()),
        ("generation", meta.generation.is_some()),
        ("creationTimestamp", meta.creation_timestamp.is_some()),
        ("deletionTimestamp", meta.deletion_timestamp.is_some()),
        ("deletionGracePeriodSeconds", meta.deletion_grace_period_seconds.is_some()),
        ("ownerReferences", meta.owner_references.is_some()),
        ("finalizers", meta.finalizers.is_some()),
        ("managedFields", meta.managed_fields.is_some()),
    ] {
        if is_set {
            problems.forbidden(at.field(field), "cannot be set");
        }
    }
}
