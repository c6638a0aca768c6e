//! What may change in a claim: its volume, once; how much it asks for and the class of its attributes, once it is bound.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::data_source;
use crate::registry::path::Path;
use crate::registry::resource_names::STORAGE;
use crate::registry::{check, difference, quantities, storage_class_name};

const IMMUTABLE: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

pub fn validate(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim, problems: &mut Problems) {
    let (no_spec, no_status) = (PersistentVolumeClaimSpec::default(), PersistentVolumeClaimStatus::default());
    let (new_spec, old_spec) = (new.spec.as_ref().unwrap_or(&no_spec), old.spec.as_ref().unwrap_or(&no_spec));
    let status = new.status.as_ref().unwrap_or(&no_status);
    let class = class_change((&new.metadata, new_spec), (&old.metadata, old_spec));
    if class != ClassChange::FromAnnotation {
        annotation(&new.metadata, &old.metadata, problems);
    }
    // What is left once the changeable fields are equal must be equal too.
    let (masked, mut old_masked) = (masked(new_spec, old_spec, class, is_bound(status)), old_spec.clone());
    data_source::copy(&mut old_masked);
    if masked != old_masked {
        problems.forbidden("spec", &format!("{IMMUTABLE}\n{}", difference::fields(&masked, &old_masked)));
    }
    size(new_spec, old_spec, status, problems);
    check::immutable(problems, &Path::root("volumeMode"), &new_spec.volume_mode, &old_spec.volume_mode);
    attributes_class(new_spec, old_spec, old.status.as_ref().unwrap_or(&no_status), problems);
}

fn is_bound(status: &PersistentVolumeClaimStatus) -> bool {
    status.phase.as_deref() == Some("Bound")
}

/// How a claim may come to a class that it had no field for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClassChange {
    /// The annotation's class moves to the field.
    FromAnnotation,
    /// It had none.
    FromNothing,
    /// None, or one that is not allowed.
    Other,
}

fn class_change(
    (new_meta, new): (&ObjectMeta, &PersistentVolumeClaimSpec),
    (old_meta, old): (&ObjectMeta, &PersistentVolumeClaimSpec),
) -> ClassChange {
    let Some(class) = new.storage_class_name.as_deref().filter(|_| old.storage_class_name.is_none()) else {
        return ClassChange::Other;
    };
    let annotation = storage_class_name::annotated;
    match annotation(old_meta) {
        None => ClassChange::FromNothing,
        Some(was) if was != class => ClassChange::Other,
        Some(was) if annotation(new_meta).is_none_or(|is| is == was) => ClassChange::FromAnnotation,
        Some(_) => ClassChange::FromNothing,
    }
}

fn annotation(new: &ObjectMeta, old: &ObjectMeta, problems: &mut Problems) {
    let value = |meta| storage_class_name::annotated(meta).unwrap_or_default();
    if value(new) != value(old) {
        let at = Path::root("metadata.annotations");
        problems.invalid(at.field(storage_class_name::ANNOTATION), value(new), check::IMMUTABLE);
    }
}

/// The new spec, with what may change set to what it was.
fn masked(
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    class: ClassChange,
    bound: bool,
) -> PersistentVolumeClaimSpec {
    let mut masked = new.clone();
    if check::text(old.volume_name.as_ref()).is_empty() {
        masked.volume_name.clone_from(&old.volume_name);
    }
    if class != ClassChange::Other {
        masked.storage_class_name = None;
    }
    if bound {
        let storage = old.resources.as_ref().and_then(|r| r.requests.as_ref()?.get(STORAGE));
        let requests = masked.resources.as_mut().and_then(|r| r.requests.as_mut());
        if let (Some(requests), Some(storage)) = (requests, storage) {
            requests.insert(STORAGE.into(), storage.clone());
        }
        masked.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
    }
    masked
}

/// A claim may ask for less than it did only after an expansion has failed, and never for less than it has.
fn size(
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    status: &PersistentVolumeClaimStatus,
    problems: &mut Problems,
) {
    let asked = |spec: &PersistentVolumeClaimSpec| {
        quantities::get(spec.resources.as_ref().and_then(|r| r.requests.as_ref()), STORAGE).unwrap_or_default()
    };
    let has = quantities::get(status.capacity.as_ref(), STORAGE).unwrap_or_default();
    if asked(new) < asked(old) && asked(new) <= has {
        let at = Path::root("spec.resources.requests");
        problems.forbidden(at.field(STORAGE), "field can not be less than status.capacity");
    }
}

/// Once a class of attributes has been applied, there is one.
fn attributes_class(
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    old_status: &PersistentVolumeClaimStatus,
    problems: &mut Problems,
) {
    let class = &new.volume_attributes_class_name;
    if *class == old.volume_attributes_class_name || old_status.current_volume_attributes_class_name.is_none() {
        return;
    }
    let to = match class.as_deref() {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return,
    };
    let why = format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil");
    problems.forbidden(Path::root("spec").field("volumeAttributesClassName"), &why);
}
