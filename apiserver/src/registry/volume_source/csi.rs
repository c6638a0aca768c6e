//! The Container Storage Interface: a driver by name, a volume by its handle, Secrets for each step.
//!
//! <https://kubernetes-csi.github.io/docs/>

use corten_api::{Problems, names};
use k8s_openapi::api::core::v1::{CSIPersistentVolumeSource, CSIVolumeSource};

use super::{Secret, required};
use crate::registry::check;
use crate::registry::path::Path;

const DRIVER_BYTES_MAX: usize = 63;

/// Drivers have names like `csi.example.com`, in any case.
pub fn driver_name(name: &str, at: &Path<'_>, problems: &mut Problems) {
    if name.is_empty() {
        return problems.required(at, "");
    }
    if name.len() > DRIVER_BYTES_MAX {
        problems.too_long(at, DRIVER_BYTES_MAX);
    }
    if !names::is_dns1123_subdomain(&name.to_lowercase()) {
        problems.invalid(at, name, names::DNS1123_SUBDOMAIN_WHY);
    }
}

pub fn of_pod(csi: &CSIVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    driver_name(&csi.driver, &at.field("driver"), problems);
    if let Some(secret) = &csi.node_publish_secret_ref {
        let at = at.field("nodePublishSecretRef");
        match secret.name.as_str() {
            "" => problems.required(at.field("name"), ""),
            name => check::dns_subdomain(problems, &at.field("name"), name),
        }
    }
}

pub fn of_volume(csi: &CSIPersistentVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    driver_name(&csi.driver, &at.field("driver"), problems);
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
    secret.required(at, problems);
    if !secret.name.is_empty() {
        check::dns_subdomain(problems, &at.field("name"), secret.name);
    }
    if !secret.namespace.is_empty() {
        check::dns_label(problems, &at.field("namespace"), secret.namespace);
    }
}
