//! A volume that is attached without a PersistentVolume of its own: only drivers' volumes can be so.

use corten_api::Problems;
use k8s_openapi::api::core::v1::PersistentVolumeSpec;

use crate::registry::path::Path;
use crate::registry::persistentvolume::validate::sources;
use crate::registry::volume_source::csi;
use crate::registry::{access_modes, check};

const INLINE: &str = "may not be specified in the context of inline volumes";

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
    access_modes::validate(spec.access_modes.as_ref(), "", &at.field("accessModes"), problems);
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
        Some(_) if sources(spec).iter().filter(|(_, is_given)| *is_given).count() > 1 => {
            problems.forbidden(csi_at, "may not specify more than 1 volume type")
        }
        Some(csi) => csi::of_volume(csi, &csi_at, problems),
    }
}
