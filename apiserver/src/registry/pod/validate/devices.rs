//! Volumes that a container gets as raw devices.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::core::v1::Container;

use super::Around;
use crate::registry::path::Path;

pub(super) fn validate(container: &Container, around: &Around<'_>, list: &Path<'_>, problems: &mut Problems) {
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    if devices.is_empty() {
        return;
    }
    let mounts = || container.volume_mounts.iter().flatten();
    let mounted: HashSet<&str> = mounts().map(|mount| mount.name.as_str()).collect();
    let mounted_at: HashSet<&str> = mounts().map(|mount| mount.mount_path.as_str()).collect();
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for (i, device) in devices.iter().enumerate() {
        let at = list.index(i);
        let (name, name_at) = (device.name.as_str(), at.field("name"));
        match around.volumes.get(name) {
            _ if name.is_empty() => problems.required(name_at, ""),
            None => problems.not_found(name_at, name),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                problems.invalid(name_at, name, why);
            }
            Some(_) => {}
        }
        if !name.is_empty() && !names.insert(name) {
            problems.invalid(name_at, name, "must be unique");
        }
        if mounted.contains(name) {
            problems.invalid(name_at, name, "must not already exist in volumeMounts");
        }
        let (path, path_at) = (device.device_path.as_str(), at.field("devicePath"));
        if path.is_empty() {
            problems.required(path_at, "");
            continue;
        }
        if path.split('/').any(|part| part == "..") {
            problems.invalid(path_at, path, "can not contain backsteps ('..')");
        }
        if !paths.insert(path) {
            problems.invalid(path_at, path, "must be unique");
        }
        if mounted_at.contains(path) {
            problems.invalid(path_at, path, "must not already exist as a path in volumeMounts");
        }
    }
}
