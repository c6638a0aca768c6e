//! Defaults of a pod's volumes: file modes, and an empty directory where no source is given.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, ProjectedVolumeSource, Volume};

use crate::registry::defaults::fill;
use crate::registry::{persistentvolumeclaim, volume_source};

/// 0644, which JSON can only say in decimal.
pub const FILE_MODE: i32 = 0o644;
const TOKEN_SECS: i64 = 3600;

pub(super) fn volume(volume: &mut Volume) {
    let nameless = Volume { name: volume.name.clone(), ..Volume::default() };
    if *volume == nameless {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(map) = &mut volume.config_map {
        map.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(FILE_MODE);
        downward.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(projected) = &mut volume.projected {
        default_projected(projected);
    }
    if let Some(template) = volume.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut()) {
        persistentvolumeclaim::defaults::spec(&mut template.spec);
    }
    shared_sources(volume);
    if let Some(image) = &mut volume.image {
        fill(&mut image.pull_policy, super::pull_policy(image.reference.as_deref().unwrap_or_default()));
    }
    if let Some(size) = volume.empty_dir.as_mut().and_then(|e| e.size_limit.as_mut())
        && let Ok(parsed) = corten_api::quantity::Quantity::from_wire(size)
    {
        *size = parsed.to_wire();
    }
}

/// Of the sources that PersistentVolumes have too.
fn shared_sources(volume: &mut Volume) {
    use volume_source::defaults;
    if let Some(host) = &mut volume.host_path {
        defaults::host_path(host);
    }
    if let Some(rbd) = &mut volume.rbd {
        defaults::rbd(&mut rbd.pool, &mut rbd.user, &mut rbd.keyring);
    }
    if let Some(iscsi) = &mut volume.iscsi {
        defaults::iscsi(&mut iscsi.iscsi_interface);
    }
    if let Some(disk) = &mut volume.azure_disk {
        defaults::azure_disk(disk);
    }
    if let Some(scale_io) = &mut volume.scale_io {
        defaults::scale_io(&mut scale_io.storage_mode, &mut scale_io.fs_type);
    }
}

fn default_projected(projected: &mut ProjectedVolumeSource) {
    projected.default_mode.get_or_insert(FILE_MODE);
    for source in projected.sources.iter_mut().flatten() {
        if let Some(token) = &mut source.service_account_token {
            token.expiration_seconds.get_or_insert(TOKEN_SECS);
        }
        for file in source.downward_api.iter_mut().filter_map(|d| d.items.as_mut()).flatten() {
            downward_file(file);
        }
    }
}

fn downward_file(file: &mut DownwardAPIVolumeFile) {
    if let Some(field) = &mut file.field_ref {
        fill(&mut field.api_version, "v1");
    }
    if let Some(resource) = &mut file.resource_field_ref {
        resource.divisor.get_or_insert_with(|| k8s_openapi::apimachinery::pkg::api::resource::Quantity("0".into()));
    }
}
