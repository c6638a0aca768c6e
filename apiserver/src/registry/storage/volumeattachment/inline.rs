//! A volume that is attached without a PersistentVolume of its own: only drivers' volumes can be so.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{CSIPersistentVolumeSource, PersistentVolumeSpec, SecretReference};

use crate::registry::check;
use crate::registry::path::Path;

const INLINE: &str = "may not be specified in the context of inline volumes";
const POD_ONLY: &str = "ReadWriteOncePod";
const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", POD_ONLY];
/// Fields of the spec that are no sources.
const NO_SOURCES: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

pub(super) fn validate(spec: &PersistentVolumeSpec, at: &Path<'_>, problems: &mut Problems) {
    let out_of_place = [
        ("claimRef", spec.claim_ref.is_some()),
        ("capacity", spec.capacity.as_ref().is_some_and(|c| !c.is_empty())),
        ("nodeAffinity", spec.node_affinity.is_some()),
        ("storageClassName", !check::text(spec.storage_class_name.as_ref()).is_empty()),
    ];
    for (field, _) in out_of_place.iter().filter(|(_, is_there)| *is_there) {
        problems.forbidden(at.field(field), INLINE);
    }
    access_modes(spec.access_modes.as_deref().unwrap_or_default(), &at.field("accessModes"), problems);
    if !matches!(check::text(spec.persistent_volume_reclaim_policy.as_ref()), "" | "Retain") {
        let why = "may only be Retain in the context of inline volumes";
        problems.forbidden(at.field("persistentVolumeReclaimPolicy"), why);
    }
    if spec.volume_mode.as_ref().is_some_and(|mode| mode != "Filesystem") {
        let why = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        problems.forbidden(at.field("volumeMode"), why);
    }
    let csi_at = at.field("csi");
    match &spec.csi {
        None => problems.required(csi_at, "has to be specified in the context of inline volumes"),
        Some(_) if sources(spec) > 1 => problems.forbidden(csi_at, "may not specify more than 1 volume type"),
        Some(csi) => driver(csi, &csi_at, problems),
    }
}

fn access_modes(modes: &[String], at: &Path<'_>, problems: &mut Problems) {
    if modes.is_empty() {
        problems.required(at, "");
    }
    for mode in modes {
        check::optional_word(problems, at, Some(mode), ACCESS_MODES);
    }
    let known = || modes.iter().filter(|mode| ACCESS_MODES.contains(&mode.as_str()));
    if known().any(|mode| mode == POD_ONLY) && known().any(|mode| mode != POD_ONLY) {
        problems.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

fn sources(spec: &PersistentVolumeSpec) -> usize {
    let json = serde_json::to_value(spec).unwrap_or_default();
    let fields = json.as_object().into_iter().flatten();
    fields.filter(|(field, _)| !NO_SOURCES.contains(&field.as_str())).count()
}

fn driver(csi: &CSIPersistentVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    check::csi_driver_name(problems, &at.field("driver"), &csi.driver);
    if csi.volume_handle.is_empty() {
        problems.required(at.field("volumeHandle"), "");
    }
    let secrets = [
        ("controllerPublishSecretRef", &csi.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &csi.controller_expand_secret_ref),
        ("nodePublishSecretRef", &csi.node_publish_secret_ref),
        ("nodeExpandSecretRef", &csi.node_expand_secret_ref),
    ];
    for (field, of) in secrets {
        if let Some(of) = of {
            secret(of, &at.field(field), problems);
        }
    }
}

fn secret(of: &SecretReference, at: &Path<'_>, problems: &mut Problems) {
    match check::text(of.name.as_ref()) {
        "" => problems.required(at.field("name"), ""),
        name => check::dns_subdomain(problems, &at.field("name"), name),
    }
    match check::text(of.namespace.as_ref()) {
        "" => problems.required(at.field("namespace"), ""),
        namespace => check::dns_label(problems, &at.field("namespace"), namespace),
    }
}
