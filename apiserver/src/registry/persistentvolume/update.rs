//! What may change in a volume: not where its bytes come from.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, VolumeNodeAffinity};

use super::SPEC;
use crate::registry::path::Path;
use crate::registry::{check, difference, node_selector};

/// Labels of old, and what they are called since.
const RENAMED_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
];

pub fn validate(new: &PersistentVolume, old: &PersistentVolume, problems: &mut Problems) {
    let none = PersistentVolumeSpec::default();
    let (new, old) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    source(new, old, problems);
    check::immutable(problems, &Path::root("volumeMode"), &new.volume_mode, &old.volume_mode);
    match (&new.node_affinity, &old.node_affinity) {
        // It may be told later, once.
        (Some(VolumeNodeAffinity { required: Some(selector) }), None) => {
            let at = SPEC.field("nodeAffinity");
            node_selector::label_values(selector, &at.field("required"), problems);
        }
        (new, Some(old)) if !is_same_place(new.as_ref(), old) => {
            let why = format!("{}, except for updating from beta label to GA", check::IMMUTABLE);
            problems.invalid("nodeAffinity", new, &why);
        }
        _ => {}
    }
    if old.volume_attributes_class_name.is_some() && new.volume_attributes_class_name.is_none() {
        let why = "update from non-nil value to nil is forbidden";
        problems.forbidden(SPEC.field("volumeAttributesClassName"), why);
    }
}

fn source(new: &PersistentVolumeSpec, old: &PersistentVolumeSpec, problems: &mut Problems) {
    let (mut new, old) = (source_of(new), source_of(old));
    // A secret for growing may be told later, once.
    if let (Some(new), Some(old)) = (&mut new.csi, &old.csi)
        && old.controller_expand_secret_ref.is_none()
    {
        new.controller_expand_secret_ref = None;
    }
    if new != old {
        let why =
            format!("spec.persistentvolumesource is immutable after creation\n{}", difference::fields(&new, &old));
        problems.forbidden("spec.persistentvolumesource", &why);
    }
}

/// The spec without all that is no source.
fn source_of(spec: &PersistentVolumeSpec) -> PersistentVolumeSpec {
    PersistentVolumeSpec {
        access_modes: None,
        capacity: None,
        claim_ref: None,
        mount_options: None,
        node_affinity: None,
        persistent_volume_reclaim_policy: None,
        storage_class_name: None,
        volume_attributes_class_name: None,
        volume_mode: None,
        ..spec.clone()
    }
}

/// Whether both mean the same nodes, where a label may have got its newer name.
fn is_same_place(new: Option<&VolumeNodeAffinity>, old: &VolumeNodeAffinity) -> bool {
    let Some(mut new) = new.cloned() else { return false };
    let new_terms = new.required.iter_mut().flat_map(|s| &mut s.node_selector_terms);
    let old_terms = old.required.iter().flat_map(|s| &s.node_selector_terms);
    for (new, old) in new_terms.zip(old_terms) {
        let new = new.match_expressions.iter_mut().flatten().chain(new.match_fields.iter_mut().flatten());
        let old = old.match_expressions.iter().flatten().chain(old.match_fields.iter().flatten());
        for (new, old) in new.zip(old) {
            if RENAMED_LABELS.contains(&(old.key.as_str(), new.key.as_str())) {
                new.key.clone_from(&old.key);
            }
        }
    }
    new == *old
}
