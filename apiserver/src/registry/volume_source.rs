//! Where a volume's bytes come from: the sources that pods' volumes and PersistentVolumes share.
//!
//! What can be said of one field is said here once; where the two have types of their own, both hand over the fields.
//! <https://kubernetes.io/docs/concepts/storage/volumes/>

pub mod csi;
pub mod defaults;
pub mod disks;
pub mod iscsi;
pub mod shares;

use std::collections::BTreeMap;

use corten_api::Problems;
use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::check;
use super::path::Path;

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// A volume comes from one place. Gives whether it comes from any.
pub fn one_of(given: &[(&str, bool)], at: &Path<'_>, problems: &mut Problems) -> bool {
    let mut fields = given.iter().filter(|(_, is)| *is).map(|(field, _)| *field);
    let any = fields.next().is_some();
    for field in fields {
        problems.forbidden(at.field(field), "may not specify more than 1 volume type");
    }
    any
}

/// Fields that must say something.
pub fn required(fields: &[(&str, &str)], at: &Path<'_>, problems: &mut Problems) {
    for (field, value) in fields {
        if value.is_empty() {
            problems.required(at.field(field), "");
        }
    }
}

pub fn no_backsteps(path: &str, at: &Path<'_>, problems: &mut Problems) {
    if path.split('/').any(|part| part == "..") {
        problems.invalid(at, path, "must not contain '..'");
    }
}

pub fn host_path(host: &HostPathVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    if host.path.is_empty() {
        return problems.required(at.field("path"), "");
    }
    no_backsteps(&host.path, &at.field("path"), problems);
    check::optional_word(problems, &at.field("type"), host.type_.as_ref(), HOST_PATH_TYPES);
}

/// A driver of the node's own, and what it is told. Kubernetes tells it things under its own names.
pub fn flex(driver: &str, options: Option<&BTreeMap<String, String>>, at: &Path<'_>, problems: &mut Problems) {
    required(&[("driver", driver)], at, problems);
    let list = at.field("options");
    for key in options.into_iter().flatten().map(|(key, _)| key) {
        let namespace = key.split_once('/').map_or(key.as_str(), |(namespace, _)| namespace);
        let dotted = format!(".{}", namespace.to_ascii_lowercase());
        if dotted.ends_with(".kubernetes.io") || dotted.ends_with(".k8s.io") {
            problems.invalid(list.key(key), key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

/// A Secret of some namespace, as PersistentVolumes name them.
#[derive(Clone, Copy, Debug)]
pub struct Secret<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
}

impl<'a> Secret<'a> {
    pub fn of(reference: &'a k8s_openapi::api::core::v1::SecretReference) -> Self {
        Self { name: check::text(reference.name.as_ref()), namespace: check::text(reference.namespace.as_ref()) }
    }
    /// Both must be said.
    pub fn required(self, at: &Path<'_>, problems: &mut Problems) {
        required(&[("name", self.name), ("namespace", self.namespace)], at, problems);
    }
}

#[cfg(test)]
mod tests;
