//! PersistentVolume: a piece of storage in the cluster, bound to one claim at a time.

pub mod defaults;
pub mod secrets;
pub mod update;
pub mod validate;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, PersistentVolumeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::path::Path;
use super::warnings::Warnings;
use super::{Cell, Column, Kind, WriteContext, access_modes, cells, quantities, resource_names, storage_class_name};

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Capacity", "How much it holds"),
    cells::text("Access Modes", "How it can be mounted"),
    cells::text("Reclaim Policy", "What becomes of it when its claim is gone"),
    cells::text("Status", "Available, bound to a claim, or released by it"),
    cells::text("Claim", "The claim that it is bound to"),
    cells::text("StorageClass", "Its class"),
    cells::text("VolumeAttributesClass", "The class of its changeable attributes"),
    cells::text("Reason", "Why it is in this status"),
    cells::AGE,
    cells::wide("VolumeMode", "With a file system, or raw"),
];

impl Kind for PersistentVolume {
    const SINGULAR: &'static str = "persistentvolume";
    const SHORT_NAMES: &'static [&'static str] = &["pv"];
    const STORE_PREFIX: &'static str = "persistentvolumes";
    const DELETE_RETURNS_OBJECT: bool = true;
    const SUBRESOURCES: &'static [&'static str] = &["status"];

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        self.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".into());
        defaults::spec(self.spec.get_or_insert_default());
    }
    fn prepare_create(&mut self, context: &WriteContext<'_>) {
        self.status = Some(PersistentVolumeStatus {
            phase: Some("Pending".into()),
            last_phase_transition_time: Some(context.now.clone()),
            ..PersistentVolumeStatus::default()
        });
    }
    fn prepare_status(&mut self, old: &Self, context: &WriteContext<'_>) {
        let none = PersistentVolumeStatus::default();
        let old = old.status.as_ref().unwrap_or(&none);
        date_phase(self.status.get_or_insert_default(), old, &context.now);
    }
    fn validate(&self, problems: &mut Problems) {
        validate::volume(self, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        update::validate(self, old, problems);
    }
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let mut warnings = Warnings::default();
        warnings.annotation(&self.metadata, storage_class_name::ANNOTATION, storage_class_name::ANNOTATION_WHY);
        let why = r#"deprecated since v1.31; use "mountOptions" attribute instead"#;
        warnings.annotation(&self.metadata, "volume.beta.kubernetes.io/mount-options", why);
        if let Some(spec) = &self.spec {
            spec_warnings(spec, &Path::root("spec"), &mut warnings);
        }
        warnings.into_vec()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let (no_spec, no_status) = (PersistentVolumeSpec::default(), PersistentVolumeStatus::default());
        let (spec, status) = (self.spec.as_ref().unwrap_or(&no_spec), self.status.as_ref().unwrap_or(&no_status));
        let deleting = self.metadata.deletion_timestamp.is_some();
        let phase = if deleting { Some("Terminating") } else { status.phase.as_deref() };
        let claim = spec.claim_ref.as_ref().map(|claim| {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("{}/{}", part(&claim.namespace), part(&claim.name))
        });
        vec![
            cells::name(&self.metadata),
            Cell::text(quantities::shown(spec.capacity.as_ref(), resource_names::STORAGE)),
            Cell::text(access_modes::text(spec.access_modes.as_ref())),
            Cell::text_or(spec.persistent_volume_reclaim_policy.as_deref(), ""),
            Cell::text_or(phase, ""),
            Cell::text(claim.unwrap_or_default()),
            Cell::text_or(storage_class_name::of(&self.metadata, spec.storage_class_name.as_ref()), ""),
            Cell::text_or(spec.volume_attributes_class_name.as_deref(), cells::UNSET),
            Cell::text_or(status.reason.as_deref(), ""),
            cells::age(&self.metadata, now_secs),
            Cell::text_or(spec.volume_mode.as_deref(), cells::UNSET),
        ]
    }
}

/// When the phase changed last, unless its writer says so.
fn date_phase(status: &mut PersistentVolumeStatus, old: &PersistentVolumeStatus, now: &Time) {
    let given = &mut status.last_phase_transition_time;
    if status.phase == old.phase {
        *given = given.take().or(old.last_phase_transition_time.clone());
    } else if given.is_none() || *given == old.last_phase_transition_time {
        *given = Some(now.clone());
    }
}

/// Where a volume's spec stands.
const SPEC: Path<'_> = Path::root("spec");

fn spec_warnings(spec: &PersistentVolumeSpec, at: &Path<'_>, warnings: &mut Warnings) {
    if spec.persistent_volume_reclaim_policy.as_deref() == Some("Recycle") {
        let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        warnings.push(&at.field("persistentVolumeReclaimPolicy"), why);
    }
    let list = at.field("nodeAffinity");
    let list = list.field("required");
    let list = list.field("nodeSelectorTerms");
    let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    for (i, term) in required.iter().flat_map(|required| &required.node_selector_terms).enumerate() {
        warnings.node_selector_term(&list.index(i), term, false);
    }
    for (is_there, field, why) in [
        (spec.cephfs.is_some(), "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        (
            spec.photon_persistent_disk.is_some(),
            "photonPersistentDisk",
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        (spec.scale_io.is_some(), "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        (spec.storageos.is_some(), "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        (spec.glusterfs.is_some(), "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        (spec.rbd.is_some(), "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if is_there {
            warnings.push(&at.field(field), why);
        }
    }
}

#[cfg(test)]
mod tests;
