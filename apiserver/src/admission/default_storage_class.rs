//! A claim that names no class gets the default one, if there is one.
//!
//! <https://kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass>

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;

use super::default_class::newest_marked;
use super::{AdmissionRequest, Refusal};
use crate::registry::storage::storageclass;
use crate::registry::storage_class_name;
use crate::request::Verb;

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
    let classes = request.list::<StorageClass>("storage.k8s.io", "storageclasses", "");
    let default = newest_marked(classes, storageclass::is_default);
    if let (Some(class), Some(claim)) = (default, request.object_mut::<PersistentVolumeClaim>()) {
        claim.spec.get_or_insert_default().storage_class_name = Some(class);
    }
    Ok(())
}
