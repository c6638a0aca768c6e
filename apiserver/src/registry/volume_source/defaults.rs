//! What a source gets where its author said nothing.

use k8s_openapi::api::core::v1::{AzureDiskVolumeSource, HostPathVolumeSource};

use crate::registry::defaults::fill;

pub fn host_path(host: &mut HostPathVolumeSource) {
    host.type_.get_or_insert_default();
}
pub fn iscsi(interface: &mut Option<String>) {
    fill(interface, "default");
}
pub fn rbd(pool: &mut Option<String>, user: &mut Option<String>, keyring: &mut Option<String>) {
    fill(pool, "rbd");
    fill(user, "admin");
    fill(keyring, "/etc/ceph/keyring");
}
pub fn azure_disk(disk: &mut AzureDiskVolumeSource) {
    disk.caching_mode.get_or_insert_with(|| "ReadWrite".into());
    disk.fs_type.get_or_insert_with(|| "ext4".into());
    disk.read_only.get_or_insert(false);
    disk.kind.get_or_insert_with(|| "Shared".into());
}
pub fn scale_io(storage_mode: &mut Option<String>, fs_type: &mut Option<String>) {
    fill(storage_mode, "ThinProvisioned");
    fill(fs_type, "xfs");
}
