//! The Container Storage Interface: a driver by name, a volume by its handle, Secrets for each step.
//!
//! <https://kubernetes-csi.github.io/docs/>

use corten_api::Problems;
use k8s_openapi::api::core::v1::{CSIPersistentVolumeSource, CSIVolumeSource};

use super::{Secret, required};
use crate::registry::check;
use crate::registry::path::Path;

pub fn of_pod(csi: &CSIVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    check::csi_driver_name(problems, &at.field("driver"), &csi.driver);
    if let Some(secret) = &csi.node_publish_secret_ref {
        let at = at.field("nodePublishSecretRef");
        match secret.name.as_str() {
            "" => problems.required(at.field("name"), ""),
            name => check::dns_subdomain(problems, &at.field("name"), name),
        }
    }
}

pub fn of_volume(csi: &CSIPersistentVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    check::csi_driver_name(problems, &at.field("driver"), &csi.driver);
    required(&[("volumeHandle", &csi.volume_handle)], at, problems);
    // Stage secrets were never checked, and there are volumes with half of one.
    for (field, reference) in [
        ("controllerPublishSecretRef", &csi.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &csi.controller_expand_secret_ref),
        ("nodePublishSecretRef", &csi.node_publish_secret_ref),
        ("nodeExpandSecretRef", &csi.node_expand_secret_ref),
    ] {
        if let Some(reference) = reference {
            secret(Secret::of(reference), &at.field(field), problems);
        }
    }
}

fn secret(secret: Secret<'_>, at: &Path<'_>, problems: &mut Problems) {
    match secret.name {
        "" => problems.required(at.field("name"), ""),
        name => check::dns_subdomain(problems, &at.field("name"), name),
    }
    match secret.namespace {
        "" => problems.required(at.field("namespace"), ""),
        namespace => check::dns_label(problems, &at.field("namespace"), namespace),
    }
}
