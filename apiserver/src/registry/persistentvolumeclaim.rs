//! PersistentVolumeClaim: storage that a user asks for; a volume is bound to it, or made for it.

pub mod data_source;
pub mod defaults;
pub mod status;
pub mod update;
pub mod validate;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus};

use super::path::Path;
use super::warnings::Warnings;
use super::{
    Cell, Column, Kind, WriteContext, access_modes, cells, check, quantities, resource_names, storage_class_name,
};

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Status", "Pending, bound to a volume, or its volume is lost"),
    cells::text("Volume", "The volume that it is bound to"),
    cells::text("Capacity", "How much that volume holds"),
    cells::text("Access Modes", "How that volume can be mounted"),
    cells::text("StorageClass", "The class of storage that it wants"),
    cells::text("VolumeAttributesClass", "The class of changeable attributes that it wants"),
    cells::AGE,
    cells::wide("VolumeMode", "With a file system, or raw"),
];

impl Kind for PersistentVolumeClaim {
    const SINGULAR: &'static str = "persistentvolumeclaim";
    const SHORT_NAMES: &'static [&'static str] = &["pvc"];
    const STORE_PREFIX: &'static str = "persistentvolumeclaims";
    const DELETE_RETURNS_OBJECT: bool = true;
    const SUBRESOURCES: &'static [&'static str] = &["status"];

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        defaults::spec(self.spec.get_or_insert_default());
        defaults::status(self.status.get_or_insert_default());
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        self.status = Some(PersistentVolumeClaimStatus {
            phase: Some("Pending".into()),
            ..PersistentVolumeClaimStatus::default()
        });
        data_source::settle(self.spec.get_or_insert_default(), None);
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        data_source::settle(self.spec.get_or_insert_default(), old.spec.as_ref());
    }
    fn prepare_status(&mut self, old: &Self, _: &WriteContext<'_>) {
        status::drop_unserved(self.status.get_or_insert_default(), old.status.as_ref());
    }
    fn validate(&self, problems: &mut Problems) {
        let none = PersistentVolumeClaimSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&none);
        validate::spec(spec, check::is_new(&self.metadata), &Path::root("spec"), problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        update::validate(self, old, problems);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        if let Some(status) = &self.status {
            status::validate(status, problems);
        }
    }
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let mut warnings = Warnings::default();
        warnings.annotation(&self.metadata, storage_class_name::ANNOTATION, storage_class_name::ANNOTATION_WHY);
        if let Some(spec) = &self.spec {
            warnings.claim_spec(&Path::root("spec"), spec);
        }
        warnings.into_vec()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let (no_spec, no_status) = (PersistentVolumeClaimSpec::default(), PersistentVolumeClaimStatus::default());
        let (spec, status) = (self.spec.as_ref().unwrap_or(&no_spec), self.status.as_ref().unwrap_or(&no_status));
        let deleting = self.metadata.deletion_timestamp.is_some();
        let phase = if deleting { Some("Terminating") } else { status.phase.as_deref() };
        let bound = spec.volume_name.as_ref().is_some_and(|name| !name.is_empty());
        // What it has, and only once it has anything; not what it asks for.
        let has = |text: String| Cell::text(if bound { text } else { String::new() });
        vec![
            cells::name(&self.metadata),
            Cell::text_or(phase, ""),
            Cell::text_or(spec.volume_name.as_deref(), ""),
            has(quantities::shown(status.capacity.as_ref(), resource_names::STORAGE)),
            has(access_modes::text(status.access_modes.as_ref())),
            Cell::text_or(storage_class_name::of(&self.metadata, spec.storage_class_name.as_ref()), ""),
            Cell::text_or(spec.volume_attributes_class_name.as_deref(), cells::UNSET),
            cells::age(&self.metadata, now_secs),
            Cell::text_or(spec.volume_mode.as_deref(), cells::UNSET),
        ]
    }
}

#[cfg(test)]
mod tests;
