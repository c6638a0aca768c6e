//! What a volume gets where its author said nothing.

use k8s_openapi::api::core::v1::PersistentVolumeSpec;

use crate::registry::defaults::fill;
use crate::registry::volume_source::defaults;
use crate::registry::{access_modes, quantities};

pub fn spec(spec: &mut PersistentVolumeSpec) {
    fill(&mut spec.persistent_volume_reclaim_policy, "Retain");
    spec.volume_mode.get_or_insert_with(|| access_modes::DEFAULT_VOLUME_MODE.into());
    quantities::canonical(spec.capacity.as_mut());
    if let Some(host) = &mut spec.host_path {
        defaults::host_path(host);
    }
    if let Some(rbd) = &mut spec.rbd {
        defaults::rbd(&mut rbd.pool, &mut rbd.user, &mut rbd.keyring);
    }
    if let Some(iscsi) = &mut spec.iscsi {
        defaults::iscsi(&mut iscsi.iscsi_interface);
    }
    if let Some(disk) = &mut spec.azure_disk {
        defaults::azure_disk(disk);
    }
    if let Some(scale_io) = &mut spec.scale_io {
        defaults::scale_io(&mut scale_io.storage_mode, &mut scale_io.fs_type);
    }
}
