//! A pod's volumes: one source each, and the files that are made from it.

use std::collections::{HashMap, HashSet};

use corten_api::Problems;
use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, PodSpec, ProjectedVolumeSource,
    Volume, VolumeProjection,
};

use super::env;
use crate::registry::check;
use crate::registry::path::Path;

const MODE_MAX: i32 = 0o777;
const MODE_RANGE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// What of the pod a file can be.
const POD_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const TOKEN_SECS_MIN: i64 = 600;
const TOKEN_SECS_MAX: i64 = 1 << 32;

/// Gives the volumes by name.
pub(super) fn validate<'a>(
    spec: &'a PodSpec,
    list: &Path<'_>,
    problems: &mut Problems,
) -> HashMap<&'a str, &'a Volume> {
    let mut by_name = HashMap::new();
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
        one_source(volume, &at, problems);
        source(volume, &at, problems);
    }
    by_name
}

/// A volume comes from one place. The fields of its JSON are its sources.
fn one_source(volume: &Volume, at: &Path<'_>, problems: &mut Problems) {
    let json = serde_json::to_value(volume).unwrap_or_default();
    let sources = json.as_object().into_iter().flatten().filter(|(field, _)| *field != "name");
    for (field, _) in sources.skip(1) {
        problems.forbidden(at.field(field), "may not specify more than 1 volume type");
    }
}

fn source(volume: &Volume, at: &Path<'_>, problems: &mut Problems) {
    if let Some(dir) = &volume.empty_dir {
        empty_dir(dir, &at.field("emptyDir"), problems);
    }
    if let Some(host) = &volume.host_path {
        host_path(host, &at.field("hostPath"), problems);
    }
    if let Some(secret) = &volume.secret {
        let at = at.field("secret");
        require(check::text(secret.secret_name.as_ref()), &at.field("secretName"), problems);
        mode(secret.default_mode, &at.field("defaultMode"), problems);
        items(secret.items.as_deref(), &at, problems);
    }
    if let Some(map) = &volume.config_map {
        let at = at.field("configMap");
        require(&map.name, &at.field("name"), problems);
        mode(map.default_mode, &at.field("defaultMode"), problems);
        items(map.items.as_deref(), &at, problems);
    }
    if let Some(downward) = &volume.downward_api {
        let at = at.field("downwardAPI");
        mode(downward.default_mode, &at.field("defaultMode"), problems);
        downward_files(downward.items.as_deref(), &at, problems);
    }
    if let Some(all) = &volume.projected {
        projected(all, &at.field("projected"), problems);
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        require(&claim.claim_name, &at.field("persistentVolumeClaim").field("claimName"), problems);
    }
    if let Some(image) = &volume.image {
        let at = at.field("image");
        require(check::text(image.reference.as_ref()), &at.field("reference"), problems);
        let policies = ["Always", "IfNotPresent", "Never"];
        check::optional_word(problems, &at.field("pullPolicy"), image.pull_policy.as_ref(), &policies);
    }
    if let Some(nfs) = &volume.nfs {
        let at = at.field("nfs");
        require(&nfs.server, &at.field("server"), problems);
        require(&nfs.path, &at.field("path"), problems);
        if !nfs.path.is_empty() && !nfs.path.starts_with('/') {
            problems.invalid(at.field("path"), &nfs.path, "must be an absolute path");
        }
    }
}

fn require(value: &str, at: &Path<'_>, problems: &mut Problems) {
    if value.is_empty() {
        problems.required(at, "");
    }
}

fn empty_dir(dir: &EmptyDirVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    let Some(limit) = &dir.size_limit else { return };
    if Quantity::from_wire(limit).map_or(true, Quantity::is_negative) {
        problems.forbidden(at.field("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

fn host_path(host: &HostPathVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    if host.path.is_empty() {
        problems.required(at.field("path"), "");
    } else {
        no_backsteps(&host.path, &at.field("path"), problems);
    }
    check::optional_word(problems, &at.field("type"), host.type_.as_ref(), HOST_PATH_TYPES);
}

fn mode(mode: Option<i32>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(mode) = mode.filter(|m| !(0..=MODE_MAX).contains(m)) {
        problems.invalid(at, mode, MODE_RANGE);
    }
}

fn no_backsteps(path: &str, at: &Path<'_>, problems: &mut Problems) {
    if path.split('/').any(|part| part == "..") {
        problems.invalid(at, path, "must not contain '..'");
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

fn projected(all: &ProjectedVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    mode(all.default_mode, &at.field("defaultMode"), problems);
    let list = at.field("sources");
    let mut paths = HashSet::new();
    for (i, one) in all.sources.iter().flatten().enumerate() {
        let at = list.index(i);
        projection(one, &at, problems);
        for path in projected_paths(one).filter(|p| !p.is_empty()) {
            if !paths.insert(path) {
                problems.invalid(at, path, "conflicting duplicate paths");
            }
        }
    }
}

fn projected_paths(one: &VolumeProjection) -> impl Iterator<Item = &str> {
    let secret = one.secret.iter().filter_map(|s| s.items.as_ref()).flatten().map(|i| i.path.as_str());
    let map = one.config_map.iter().filter_map(|s| s.items.as_ref()).flatten().map(|i| i.path.as_str());
    let downward = one.downward_api.iter().filter_map(|s| s.items.as_ref()).flatten().map(|i| i.path.as_str());
    secret.chain(map).chain(downward).chain(one.service_account_token.iter().map(|t| t.path.as_str()))
}

fn projection(one: &VolumeProjection, at: &Path<'_>, problems: &mut Problems) {
    let given = [
        ("secret", one.secret.is_some()),
        ("configMap", one.config_map.is_some()),
        ("downwardAPI", one.downward_api.is_some()),
        ("serviceAccountToken", one.service_account_token.is_some()),
        ("clusterTrustBundle", one.cluster_trust_bundle.is_some()),
        ("podCertificate", one.pod_certificate.is_some()),
    ];
    let given: Vec<&str> = given.into_iter().filter(|(_, is)| *is).map(|(field, _)| field).collect();
    if given.is_empty() {
        problems.required(at, "must specify a source type");
    }
    for field in given.into_iter().skip(1) {
        problems.forbidden(at.field(field), "may not specify more than 1 volume type per source");
    }
    for (field, source) in [
        ("secret", one.secret.as_ref().map(|s| (&s.name, s.items.as_deref()))),
        ("configMap", one.config_map.as_ref().map(|s| (&s.name, s.items.as_deref()))),
    ] {
        let Some((name, list)) = source else { continue };
        let at = at.field(field);
        if name.is_empty() {
            problems.required(at.field("name"), "");
        }
        items(list, &at, problems);
    }
    if let Some(downward) = &one.downward_api {
        downward_files(downward.items.as_deref(), &at.field("downwardAPI"), problems);
    }
    if let Some(token) = &one.service_account_token {
        let at = at.field("serviceAccountToken");
        file_path(&token.path, &at.field("path"), problems);
        let secs_at = at.field("expirationSeconds");
        match token.expiration_seconds {
            Some(secs) if secs < TOKEN_SECS_MIN => {
                problems.invalid(secs_at, secs, "may not specify a duration less than 10 minutes");
            }
            Some(secs) if secs > TOKEN_SECS_MAX => {
                problems.invalid(secs_at, secs, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
}
