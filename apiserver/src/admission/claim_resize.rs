//! A claim may ask for more only once it has a volume, and where its class says that volumes of it can grow.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims>

use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;

use super::{AdmissionRequest, Refusal};
use crate::registry::{quantities, resource_names, storage_class_name};
use crate::request::Verb;

const NOT_BOUND: &str = "Only bound persistent volume claims can be expanded";
const NOT_EXPANDABLE: &str =
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.verb != Verb::Update || !request.is("", "persistentvolumeclaims") || !request.is_plain() {
        return Ok(());
    }
    let (Some(new), Some(old)) = (request.object::<PersistentVolumeClaim>(), request.old::<PersistentVolumeClaim>())
    else {
        return Ok(());
    };
    if asked(new) <= asked(old) {
        return Ok(());
    }
    if old.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
        return Err(request.forbidden(NOT_BOUND));
    }
    let may = match (class(new), class(old)) {
        (Some(new), Some(old)) if !new.is_empty() && new == old => {
            let class = request.find::<StorageClass>("storage.k8s.io", "storageclasses", "", new);
            class.is_some_and(|class| class.allow_volume_expansion == Some(true))
        }
        _ => false,
    };
    if may { Ok(()) } else { Err(request.forbidden(NOT_EXPANDABLE)) }
}

fn asked(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    quantities::get(resources.and_then(|r| r.requests.as_ref()), resource_names::STORAGE).unwrap_or_default()
}

fn class(claim: &PersistentVolumeClaim) -> Option<&str> {
    storage_class_name::of(&claim.metadata, claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref()))
}
