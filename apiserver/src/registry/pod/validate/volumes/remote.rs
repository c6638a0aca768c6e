//! Volumes that a node attaches or reaches over the network.

use corten_api::Problems;
use k8s_openapi::api::core::v1::Volume;

use crate::registry::path::Path;
use crate::registry::volume_source::{self, csi, disks, iscsi, required, shares};

pub(super) fn validate(volume: &Volume, at: &Path<'_>, problems: &mut Problems) {
    of_clouds(volume, at, problems);
    of_networks(volume, at, problems);
    if let Some(flex) = &volume.flex_volume {
        volume_source::flex(&flex.driver, flex.options.as_ref(), &at.field("flexVolume"), problems);
    }
    if let Some(csi) = &volume.csi {
        csi::of_pod(csi, &at.field("csi"), problems);
    }
}

fn of_clouds(volume: &Volume, at: &Path<'_>, problems: &mut Problems) {
    if let Some(disk) = &volume.gce_persistent_disk {
        disks::partitioned(("pdName", &disk.pd_name), disk.partition, &at.field("gcePersistentDisk"), problems);
    }
    if let Some(disk) = &volume.aws_elastic_block_store {
        let at = at.field("awsElasticBlockStore");
        disks::partitioned(("volumeID", &disk.volume_id), disk.partition, &at, problems);
    }
    if let Some(disk) = &volume.azure_disk {
        disks::azure(disk, &at.field("azureDisk"), problems);
    }
    if let Some(file) = &volume.azure_file {
        let fields = [("secretName", file.secret_name.as_str()), ("shareName", file.share_name.as_str())];
        required(&fields, &at.field("azureFile"), problems);
    }
    if let Some(disk) = &volume.vsphere_volume {
        required(&[("volumePath", &disk.volume_path)], &at.field("vsphereVolume"), problems);
    }
    if let Some(disk) = &volume.photon_persistent_disk {
        required(&[("pdID", &disk.pd_id)], &at.field("photonPersistentDisk"), problems);
    }
    if let Some(disk) = &volume.portworx_volume {
        required(&[("volumeID", &disk.volume_id)], &at.field("portworxVolume"), problems);
    }
    if let Some(disk) = &volume.cinder {
        let at = at.field("cinder");
        required(&[("volumeID", &disk.volume_id)], &at, problems);
        if let Some(secret) = &disk.secret_ref {
            required(&[("name", &secret.name)], &at.field("secretRef"), problems);
        }
    }
}

fn of_networks(volume: &Volume, at: &Path<'_>, problems: &mut Problems) {
    if let Some(nfs) = &volume.nfs {
        shares::nfs(nfs, &at.field("nfs"), problems);
    }
    if let Some(gluster) = &volume.glusterfs {
        let fields = [("endpoints", gluster.endpoints.as_str()), ("path", gluster.path.as_str())];
        required(&fields, &at.field("glusterfs"), problems);
    }
    if let Some(flocker) = &volume.flocker {
        shares::flocker(flocker, &at.field("flocker"), problems);
    }
    if let Some(rbd) = &volume.rbd {
        shares::ceph(&rbd.monitors, Some(&rbd.image), &at.field("rbd"), problems);
    }
    if let Some(ceph) = &volume.cephfs {
        shares::ceph(&ceph.monitors, None, &at.field("cephfs"), problems);
    }
    if let Some(quobyte) = &volume.quobyte {
        shares::quobyte(quobyte, &at.field("quobyte"), problems);
    }
    if let Some(iscsi) = &volume.iscsi {
        iscsi::of_pod(iscsi, &volume.name, &at.field("iscsi"), problems);
    }
    if let Some(fc) = &volume.fc {
        disks::fibre_channel(fc, &at.field("fc"), problems);
    }
    if let Some(io) = &volume.scale_io {
        shares::scale_io(&io.gateway, &io.system, io.volume_name.as_ref(), &at.field("scaleIO"), problems);
    }
    if let Some(os) = &volume.storageos {
        let at = at.field("storageos");
        shares::storage_os(os.volume_name.as_ref(), os.volume_namespace.as_ref(), &at, problems);
        if let Some(secret) = &os.secret_ref {
            required(&[("name", &secret.name)], &at.field("secretRef"), problems);
        }
    }
}
