//! A claim that names no class gets the default one, if there is one.
//!
//! <https://kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass>

use std::cmp::Reverse;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;

use super::{AdmissionRequest, Refusal};
use crate::registry::storage_class_name;
use crate::request::Verb;

const DEFAULT_ANNOTATIONS: &[&str] =
    &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb != Verb::Create || !request.is("", "persistentvolumeclaims") || !request.is_plain() {
        return Ok(());
    }
    let class_of = |claim: &PersistentVolumeClaim| {
        let field = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
        storage_class_name::of(&claim.metadata, field).is_some()
    };
    // No class is wanted by who names the empty one.
    if request.object().is_none_or(class_of) {
        return Ok(());
    }
    let default = default_of(request.list("storage.k8s.io", "storageclasses", ""));
    if let (Some(class), Some(claim)) = (default, request.object_mut::<PersistentVolumeClaim>()) {
        claim.spec.get_or_insert_default().storage_class_name = Some(class);
    }
    Ok(())
}

/// The newest of several, and of those the first by name: who makes another the default need not take it from the old one.
fn default_of(classes: Vec<StorageClass>) -> Option<String> {
    let is_default = |class: &StorageClass| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.is_some_and(|a| DEFAULT_ANNOTATIONS.iter().any(|key| a.get(*key).is_some_and(|v| v == "true")))
    };
    let defaults = classes.into_iter().filter(is_default).map(|class| class.metadata);
    let made = |time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| time.map(|t| t.0);
    let ordered = defaults.map(|meta| (Reverse(made(meta.creation_timestamp)), meta.name.unwrap_or_default()));
    ordered.min().map(|(_, name)| name)
}
