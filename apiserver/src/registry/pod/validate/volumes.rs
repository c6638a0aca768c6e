//! A pod's volumes: one source each, and the files that are made from it.

mod claims;
mod projected;
mod remote;

use std::collections::HashMap;

use corten_api::Problems;
use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, EmptyDirVolumeSource, KeyToPath, PodSpec, Volume};

use super::{Of, env};
use crate::registry::check;
use crate::registry::path::Path;
use crate::registry::volume_source::{self, no_backsteps, required};

const MODE_MAX: i32 = 0o777;
const MODE_RANGE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
/// What of the pod a file can be.
const POD_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Gives the volumes by name.
pub(super) fn validate<'a>(
    spec: &'a PodSpec,
    of: Of<'_>,
    list: &Path<'_>,
    problems: &mut Problems,
) -> HashMap<&'a str, &'a Volume> {
    let mut by_name = HashMap::new();
    let pod = of.pod_name();
    let made = claims::made_for(pod, spec);
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        let at = list.index(i);
        if volume.name.is_empty() {
            problems.required(at.field("name"), "");
        } else {
            check::dns_label(problems, &at.field("name"), &volume.name);
        }
        if by_name.insert(volume.name.as_str(), volume).is_some() {
            problems.duplicate(at.field("name"), &volume.name);
        }
        if !volume_source::one_of(&given(volume), &at, problems) {
            problems.required(at, "must specify a volume type");
        }
        of_objects(volume, &at, problems);
        of_nodes(volume, &at, problems);
        remote::validate(volume, &at, problems);
        claims::validate(volume, pod, &made, &at, problems);
    }
    by_name
}

/// The sources in the order in which the first counts, and whether each is given.
fn given(volume: &Volume) -> [(&'static str, bool); 30] {
    [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("secret", volume.secret.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephfs", volume.cephfs.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("downwardAPI", volume.downward_api.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("projected", volume.projected.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("csi", volume.csi.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("image", volume.image.is_some()),
    ]
}

/// What is made from objects of the API.
fn of_objects(volume: &Volume, at: &Path<'_>, problems: &mut Problems) {
    if let Some(secret) = &volume.secret {
        let at = at.field("secret");
        required(&[("secretName", check::text(secret.secret_name.as_ref()))], &at, problems);
        mode(secret.default_mode, &at.field("defaultMode"), problems);
        items(secret.items.as_deref(), &at, problems);
    }
    if let Some(map) = &volume.config_map {
        let at = at.field("configMap");
        required(&[("name", &map.name)], &at, problems);
        mode(map.default_mode, &at.field("defaultMode"), problems);
        items(map.items.as_deref(), &at, problems);
    }
    if let Some(downward) = &volume.downward_api {
        let at = at.field("downwardAPI");
        mode(downward.default_mode, &at.field("defaultMode"), problems);
        downward_files(downward.items.as_deref(), &at, problems);
    }
    if let Some(all) = &volume.projected {
        projected::validate(all, &at.field("projected"), problems);
    }
}

/// What the kubelet makes or finds on its node.
fn of_nodes(volume: &Volume, at: &Path<'_>, problems: &mut Problems) {
    if let Some(dir) = &volume.empty_dir {
        empty_dir(dir, &at.field("emptyDir"), problems);
    }
    if let Some(host) = &volume.host_path {
        volume_source::host_path(host, &at.field("hostPath"), problems);
    }
    if let Some(git) = &volume.git_repo {
        let at = at.field("gitRepo");
        required(&[("repository", &git.repository)], &at, problems);
        descending(check::text(git.directory.as_ref()), &at.field("directory"), problems);
    }
    if let Some(image) = &volume.image {
        let at = at.field("image");
        required(&[("reference", check::text(image.reference.as_ref()))], &at, problems);
        let policies = ["Always", "IfNotPresent", "Never"];
        check::optional_word(problems, &at.field("pullPolicy"), image.pull_policy.as_ref(), &policies);
    }
}

fn empty_dir(dir: &EmptyDirVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    let Some(limit) = &dir.size_limit else { return };
    if Quantity::from_wire(limit).map_or(true, Quantity::is_negative) {
        problems.forbidden(at.field("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

fn mode(mode: Option<i32>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(mode) = mode.filter(|m| !(0..=MODE_MAX).contains(m)) {
        problems.invalid(at, mode, MODE_RANGE);
    }
}

/// A path that stays below where it starts.
pub(super) fn descending(path: &str, at: &Path<'_>, problems: &mut Problems) {
    if path.starts_with('/') {
        problems.invalid(at, path, "must be a relative path");
    }
    no_backsteps(path, at, problems);
}

/// A file in a volume that the kubelet writes: names that start with `..` are its own.
fn file_path(path: &str, at: &Path<'_>, problems: &mut Problems) {
    if path.is_empty() {
        return problems.required(at, "");
    }
    descending(path, at, problems);
    if path.starts_with("..") && !path.starts_with("../") {
        problems.invalid(at, path, "must not start with '..'");
    }
}

fn items(items: Option<&[KeyToPath]>, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("items");
    for (i, item) in items.unwrap_or_default().iter().enumerate() {
        let at = list.index(i);
        if item.key.is_empty() {
            problems.required(at.field("key"), "");
        }
        file_path(&item.path, &at.field("path"), problems);
        mode(item.mode, &at.field("mode"), problems);
    }
}

fn downward_files(files: Option<&[DownwardAPIVolumeFile]>, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("items");
    for (i, file) in files.unwrap_or_default().iter().enumerate() {
        let at = list.index(i);
        file_path(&file.path, &at.field("path"), problems);
        match (&file.field_ref, &file.resource_field_ref) {
            (Some(_), Some(_)) => {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                problems.invalid(at, "resource", why);
            }
            (None, None) => problems.required(at, "one of fieldRef and resourceFieldRef is required"),
            (Some(field), None) => {
                env::field_path(&field.field_path, POD_FIELDS, &at.field("fieldRef").field("fieldPath"), problems);
            }
            (None, Some(resource)) => env::resource_field(resource, true, &at.field("resourceFieldRef"), problems),
        }
        mode(file.mode, &at.field("mode"), problems);
    }
}

#[cfg(test)]
mod tests;
