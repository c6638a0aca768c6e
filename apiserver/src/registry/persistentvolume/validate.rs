//! Whether a volume's description makes sense.
//!
//! Rules: <https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/persistent-volume-v1/>.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec};

use super::SPEC;
use crate::registry::path::Path;
use crate::registry::volume_source::{self, Secret, csi, disks, iscsi, shares};
use crate::registry::{access_modes, check, node_selector, quantities, resource_names};

const RECLAIM_POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];
/// Options for `mount`, before there was a field for them.
const MOUNT_OPTIONS_ANNOTATION: &str = "volume.beta.kubernetes.io/mount-options";

pub fn volume(volume: &PersistentVolume, problems: &mut Problems) {
    let none = PersistentVolumeSpec::default();
    let spec = volume.spec.as_ref().unwrap_or(&none);
    access_modes::validate(spec.access_modes.as_ref(), "", &SPEC.field("accessModes"), problems);
    capacity(spec, &SPEC.field("capacity"), problems);
    let policy = spec.persistent_volume_reclaim_policy.as_ref();
    check::optional_word(problems, &SPEC.field("persistentVolumeReclaimPolicy"), policy, RECLAIM_POLICIES);
    node_affinity(spec, check::is_new(&volume.metadata), &SPEC.field("nodeAffinity"), problems);
    source(spec, volume.metadata.name.as_deref().unwrap_or_default(), &SPEC, problems);
    root_of_a_host(spec, problems);
    if let Some(class) = spec.storage_class_name.as_ref().filter(|class| !class.is_empty()) {
        check::dns_subdomain(problems, &SPEC.field("storageClassName"), class);
    }
    access_modes::volume_mode(spec.volume_mode.as_ref(), &SPEC.field("volumeMode"), problems);
    attributes_class(spec, problems);
    mount_options(volume, spec, problems);
}

fn capacity(spec: &PersistentVolumeSpec, at: &Path<'_>, problems: &mut Problems) {
    let none = quantities::Wires::new();
    let capacity = spec.capacity.as_ref().unwrap_or(&none);
    if capacity.is_empty() {
        problems.required(at, "");
    }
    if capacity.len() != 1 || !capacity.contains_key(resource_names::STORAGE) {
        problems.unsupported(at, capacity, &[resource_names::STORAGE]);
    }
    for (name, wire) in capacity {
        let at = at.key(name);
        if let Some(quantity) = quantities::well_formed(problems, &at, wire) {
            quantities::basic(problems, &at, quantity);
            quantities::positive(problems, &at, quantity);
        }
    }
}

fn node_affinity(spec: &PersistentVolumeSpec, is_new: bool, at: &Path<'_>, problems: &mut Problems) {
    let Some(affinity) = &spec.node_affinity else { return };
    let at = at.field("required");
    match &affinity.required {
        None => problems.required(at, "must specify required node constraints"),
        Some(selector) => {
            node_selector::validate(selector, &at, problems);
            if is_new {
                node_selector::label_values(selector, &at, problems);
            }
        }
    }
}

/// What a Recycle would empty: not the whole of a host.
fn root_of_a_host(spec: &PersistentVolumeSpec, problems: &mut Problems) {
    let is_root = |path: &str| path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "."));
    let recycled = spec.persistent_volume_reclaim_policy.as_deref() == Some("Recycle");
    if recycled && spec.host_path.as_ref().is_some_and(|host| is_root(&host.path)) {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        problems.forbidden(SPEC.field("persistentVolumeReclaimPolicy"), why);
    }
}

fn attributes_class(spec: &PersistentVolumeSpec, problems: &mut Problems) {
    let Some(class) = &spec.volume_attributes_class_name else { return };
    let at = SPEC.field("volumeAttributesClassName");
    if class.is_empty() {
        problems.required(at, "an empty string is disallowed");
    } else {
        check::dns_subdomain(problems, &at, class);
    }
    if spec.csi.is_none() {
        problems.required(SPEC.field("csi"), "has to be specified when using volumeAttributesClassName");
    }
}

fn mount_options(volume: &PersistentVolume, spec: &PersistentVolumeSpec, problems: &mut Problems) {
    let may = spec.gce_persistent_disk.is_some()
        || spec.aws_elastic_block_store.is_some()
        || spec.glusterfs.is_some()
        || spec.nfs.is_some()
        || spec.rbd.is_some()
        || spec.quobyte.is_some()
        || spec.iscsi.is_some()
        || spec.cinder.is_some()
        || spec.cephfs.is_some()
        || spec.azure_file.is_some()
        || spec.vsphere_volume.is_some()
        || spec.azure_disk.is_some()
        || spec.photon_persistent_disk.is_some();
    let given = volume.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(MOUNT_OPTIONS_ANNOTATION));
    if given && !may {
        let at = Path::root("metadata.annotations");
        problems.forbidden(at.field(MOUNT_OPTIONS_ANNOTATION), "may not specify mount options for this volume type");
    }
}

/// `name`: the volume's. Every source that is given is looked at, though only one may be.
fn source(spec: &PersistentVolumeSpec, name: &str, at: &Path<'_>, problems: &mut Problems) {
    if !volume_source::one_of(&sources(spec), at, problems) {
        problems.required(at, "must specify a volume type");
    }
    of_nodes(spec, at, problems);
    of_clouds(spec, at, problems);
    of_networks(spec, name, at, problems);
}

/// The sources in the order in which the first counts, and whether each is given.
pub fn sources(spec: &PersistentVolumeSpec) -> [(&'static str, bool); 22] {
    [
        ("hostPath", spec.host_path.is_some()),
        ("gcePersistentDisk", spec.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", spec.aws_elastic_block_store.is_some()),
        ("glusterfs", spec.glusterfs.is_some()),
        ("flocker", spec.flocker.is_some()),
        ("nfs", spec.nfs.is_some()),
        ("rbd", spec.rbd.is_some()),
        ("quobyte", spec.quobyte.is_some()),
        ("cephfs", spec.cephfs.is_some()),
        ("iscsi", spec.iscsi.is_some()),
        ("cinder", spec.cinder.is_some()),
        ("fc", spec.fc.is_some()),
        ("flexVolume", spec.flex_volume.is_some()),
        ("azureFile", spec.azure_file.is_some()),
        ("vsphereVolume", spec.vsphere_volume.is_some()),
        ("photonPersistentDisk", spec.photon_persistent_disk.is_some()),
        ("portworxVolume", spec.portworx_volume.is_some()),
        ("azureDisk", spec.azure_disk.is_some()),
        ("scaleIO", spec.scale_io.is_some()),
        ("local", spec.local.is_some()),
        ("storageos", spec.storageos.is_some()),
        ("csi", spec.csi.is_some()),
    ]
}

/// What is on nodes, or brought there by their own programs.
fn of_nodes(spec: &PersistentVolumeSpec, at: &Path<'_>, problems: &mut Problems) {
    if let Some(host) = &spec.host_path {
        volume_source::host_path(host, &at.field("hostPath"), problems);
    }
    if let Some(local) = &spec.local {
        let path_at = at.field("local");
        let path_at = path_at.field("path");
        match local.path.as_str() {
            "" => problems.required(path_at, ""),
            path => volume_source::no_backsteps(path, &path_at, problems),
        }
        if spec.node_affinity.is_none() {
            problems.required(at.field("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if let Some(flex) = &spec.flex_volume {
        volume_source::flex(&flex.driver, flex.options.as_ref(), &at.field("flexVolume"), problems);
    }
    if let Some(csi) = &spec.csi {
        csi::of_volume(csi, &at.field("csi"), problems);
    }
}

fn of_clouds(spec: &PersistentVolumeSpec, at: &Path<'_>, problems: &mut Problems) {
    if let Some(disk) = &spec.gce_persistent_disk {
        disks::partitioned(("pdName", &disk.pd_name), disk.partition, &at.field("gcePersistentDisk"), problems);
    }
    if let Some(disk) = &spec.aws_elastic_block_store {
        let at = at.field("awsElasticBlockStore");
        disks::partitioned(("volumeID", &disk.volume_id), disk.partition, &at, problems);
    }
    if let Some(disk) = &spec.azure_disk {
        disks::azure(disk, &at.field("azureDisk"), problems);
    }
    if let Some(file) = &spec.azure_file {
        let at = at.field("azureFile");
        let fields = [("secretName", file.secret_name.as_str()), ("shareName", file.share_name.as_str())];
        volume_source::required(&fields, &at, problems);
        if file.secret_namespace.as_ref().is_some_and(String::is_empty) {
            problems.required(at.field("secretNamespace"), "");
        }
    }
    if let Some(disk) = &spec.vsphere_volume {
        volume_source::required(&[("volumePath", &disk.volume_path)], &at.field("vsphereVolume"), problems);
    }
    if let Some(disk) = &spec.photon_persistent_disk {
        volume_source::required(&[("pdID", &disk.pd_id)], &at.field("photonPersistentDisk"), problems);
    }
    if let Some(disk) = &spec.cinder {
        let at = at.field("cinder");
        volume_source::required(&[("volumeID", &disk.volume_id)], &at, problems);
        if let Some(secret) = &disk.secret_ref {
            Secret::of(secret).required(&at.field("secretRef"), problems);
        }
    }
    if let Some(disk) = &spec.portworx_volume {
        volume_source::required(&[("volumeID", &disk.volume_id)], &at.field("portworxVolume"), problems);
    }
}

fn of_networks(spec: &PersistentVolumeSpec, name: &str, at: &Path<'_>, problems: &mut Problems) {
    if let Some(nfs) = &spec.nfs {
        shares::nfs(nfs, &at.field("nfs"), problems);
    }
    if let Some(gluster) = &spec.glusterfs {
        let at = at.field("glusterfs");
        let fields = [("endpoints", gluster.endpoints.as_str()), ("path", gluster.path.as_str())];
        volume_source::required(&fields, &at, problems);
        let namespace_at = at.field("endpointsNamespace");
        match gluster.endpoints_namespace.as_deref() {
            None => {}
            Some("") => {
                let why = "if the endpointnamespace is set, it must be a valid namespace name";
                problems.invalid(namespace_at, "", why);
            }
            Some(namespace) => check::dns_label(problems, &namespace_at, namespace),
        }
    }
    if let Some(flocker) = &spec.flocker {
        shares::flocker(flocker, &at.field("flocker"), problems);
    }
    if let Some(rbd) = &spec.rbd {
        shares::ceph(&rbd.monitors, Some(&rbd.image), &at.field("rbd"), problems);
    }
    if let Some(ceph) = &spec.cephfs {
        shares::ceph(&ceph.monitors, None, &at.field("cephfs"), problems);
    }
    if let Some(quobyte) = &spec.quobyte {
        shares::quobyte(quobyte, &at.field("quobyte"), problems);
    }
    if let Some(iscsi) = &spec.iscsi {
        iscsi::of_volume(iscsi, name, &at.field("iscsi"), problems);
    }
    if let Some(fc) = &spec.fc {
        disks::fibre_channel(fc, &at.field("fc"), problems);
    }
    if let Some(io) = &spec.scale_io {
        shares::scale_io(&io.gateway, &io.system, io.volume_name.as_ref(), &at.field("scaleIO"), problems);
    }
    if let Some(os) = &spec.storageos {
        let at = at.field("storageos");
        shares::storage_os(os.volume_name.as_ref(), os.volume_namespace.as_ref(), &at, problems);
        if let Some(secret) = &os.secret_ref {
            let (name, namespace) = (check::text(secret.name.as_ref()), check::text(secret.namespace.as_ref()));
            Secret { name, namespace }.required(&at.field("secretRef"), problems);
        }
    }
}
