//! VolumeAttachment: the wish to have a volume on a node, and what the driver's attacher says of it.

mod inline;

use corten_api::Problems;
use k8s_openapi::api::storage::v1::{VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec, VolumeError};

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check};

/// All that a driver says of an attached volume, keys and values.
const METADATA_BYTES_MAX: usize = 256 * 1024;
const MESSAGE_BYTES_MAX: usize = 1024;
const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Attacher", "The driver that attaches it"),
    cells::text("PV", "The volume"),
    cells::text("Node", "Where it is to be"),
    cells::boolean("Attached", "Whether it is there"),
    cells::AGE,
];

impl Kind for VolumeAttachment {
    const SINGULAR: &'static str = "volumeattachment";
    const STORE_PREFIX: &'static str = "volumeattachments";
    const DELETE_RETURNS_OBJECT: bool = true;
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const UNCONDITIONAL_UPDATE: bool = false;
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    fn validate(&self, problems: &mut Problems) {
        let VolumeAttachmentSpec { attacher, node_name, source } = &self.spec;
        let at = Path::root("spec");
        check::csi_driver_name(problems, &at.field("attacher"), attacher);
        validate_source(source, &at.field("source"), problems);
        check::dns_subdomain(problems, &at.field("nodeName"), node_name);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("spec"), &self.spec, &old.spec);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let Some(status) = &self.status else { return };
        let at = Path::root("status");
        let bytes: usize =
            status.attachment_metadata.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > METADATA_BYTES_MAX {
            problems.too_long(at.field("attachmentMetadata"), METADATA_BYTES_MAX);
        }
        for (field, error) in [("attachError", &status.attach_error), ("detachError", &status.detach_error)] {
            if let Some(error) = error {
                validate_error(error, &at.field(field), problems);
            }
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let VolumeAttachmentSpec { attacher, node_name, source } = &self.spec;
        vec![
            cells::name(&self.metadata),
            Cell::text_or(Some(attacher), ""),
            Cell::text_or(source.persistent_volume_name.as_deref(), ""),
            Cell::text_or(Some(node_name), ""),
            Cell::boolean(self.status.as_ref().is_some_and(|status| status.attached)),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

fn validate_source(source: &VolumeAttachmentSource, at: &Path<'_>, problems: &mut Problems) {
    match (&source.persistent_volume_name, &source.inline_volume_spec) {
        (None, None) => problems.required(at, ONE_SOURCE),
        (Some(_), Some(_)) => problems.forbidden(at, ONE_SOURCE),
        (Some(name), None) if name.is_empty() => {
            problems.required(at.field("persistentVolumeName"), "must specify non empty persistentVolumeName");
        }
        (Some(name), None) => check::dns_subdomain(problems, &at.field("persistentVolumeName"), name),
        (None, Some(spec)) => inline::validate(spec, &at.field("inlineVolumeSpec"), problems),
    }
}

fn validate_error(error: &VolumeError, at: &Path<'_>, problems: &mut Problems) {
    if error.message.as_ref().is_some_and(|message| message.len() > MESSAGE_BYTES_MAX) {
        problems.too_long(at.field("message"), MESSAGE_BYTES_MAX);
    }
    if let Some(code) = error.error_code.filter(|code| *code < 0) {
        problems.invalid(at.field("errorCode"), code, "must be between 0 and 2147483647, inclusive");
    }
}

#[cfg(test)]
mod tests;
