//! Block devices that a node attaches: of clouds and hypervisors, and of storage networks.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{AzureDiskVolumeSource, FCVolumeSource};

use super::required;
use crate::registry::check;
use crate::registry::path::Path;

const CACHING_MODES: &[&str] = &["None", "ReadOnly", "ReadWrite"];
const AZURE_KINDS: &[&str] = &["Dedicated", "Managed", "Shared"];
const MANAGED_URI: &str =
    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
const BLOB_URI: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";

/// A disk with a name in its cloud, and a partition of it: 0 for the whole. `name`: the field, and what it says.
pub fn partitioned(name: (&str, &str), partition: Option<i32>, at: &Path<'_>, problems: &mut Problems) {
    required(&[name], at, problems);
    if let Some(partition) = partition.filter(|n| !(0..=255).contains(n)) {
        problems.invalid(at.field("partition"), partition, "must be between 1 and 255, inclusive");
    }
}

pub fn fibre_channel(fc: &FCVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    let count = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
    match (count(&fc.target_wwns), count(&fc.wwids)) {
        (0, 0) => {
            problems.required(at.field("targetWWNs"), "must specify either targetWWNs or wwids, but not both");
        }
        (0, _) | (_, 0) => {}
        _ => {
            let why = "targetWWNs and wwids can not be specified simultaneously";
            problems.invalid(at.field("targetWWNs"), &fc.target_wwns, why);
        }
    }
    match fc.lun {
        _ if count(&fc.target_wwns) == 0 => {}
        None => problems.required(at.field("lun"), "lun is required if targetWWNs is specified"),
        Some(lun) if !(0..=255).contains(&lun) => {
            problems.invalid(at.field("lun"), lun, "must be between 0 and 255, inclusive");
        }
        Some(_) => {}
    }
}

pub fn azure(disk: &AzureDiskVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    required(&[("diskName", &disk.disk_name), ("diskURI", &disk.disk_uri)], at, problems);
    check::optional_word(problems, &at.field("cachingMode"), disk.caching_mode.as_ref(), CACHING_MODES);
    check::optional_word(problems, &at.field("kind"), disk.kind.as_ref(), AZURE_KINDS);
    let (good, shape) = match disk.kind.as_deref() {
        None => return,
        Some("Managed") => (disk.disk_uri.starts_with("/subscriptions/"), MANAGED_URI),
        Some(_) => (disk.disk_uri.starts_with("https://"), BLOB_URI),
    };
    if !good {
        problems.unsupported(at.field("diskURI"), &disk.disk_uri, &[shape]);
    }
}
