//! Whether an emptyDir has outgrown its sizeLimit: then the pod is evicted.
//!
//! <https://kubernetes.io/docs/concepts/storage/volumes/#emptydir>

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::Pod;

/// Directories deeper than this are not looked into.
const DEPTH_MAX: usize = 64;
/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;

/// The message of the eviction, if a limit is exceeded. A tmpfs keeps its limit by itself.
pub fn exceeded(pod: &Pod, pod_dir: &Path) -> Option<String> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    for volume in volumes {
        let Some(empty) = volume.empty_dir.as_ref().filter(|e| e.medium.as_deref() != Some("Memory")) else { continue };
        let Some(limit) = empty.size_limit.as_ref() else { continue };
        let bytes = Quantity::from_wire(limit).ok().and_then(|q| u64::try_from(q.units()).ok());
        let used = usage(&pod_dir.join("volumes").join(&volume.name), DEPTH_MAX);
        if bytes.is_some_and(|bytes| bytes > 0 && used > bytes) {
            return Some(format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}. ", volume.name, limit.0));
        }
    }
    None
}

/// Bytes on disk below `path`. What vanishes or cannot be read meanwhile counts as nothing.
fn usage(path: &Path, depth: usize) -> u64 {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    let own = meta.blocks() * BLOCK_BYTES;
    if !meta.is_dir() || depth == 0 {
        return own;
    }
    let Ok(entries) = std::fs::read_dir(path) else { return own };
    entries.flatten().map(|entry| usage(&entry.path(), depth - 1)).fold(own, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PodSpec, Volume};
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

    use super::*;

    #[test]
    fn an_outgrown_volume_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("volumes/v")).unwrap();
        let source = EmptyDirVolumeSource { size_limit: Some(Wire("1Mi".into())), ..Default::default() };
        let volume = Volume { name: "v".into(), empty_dir: Some(source), ..Default::default() };
        let pod =
            Pod { spec: Some(PodSpec { volumes: Some(vec![volume]), ..Default::default() }), ..Default::default() };
        assert_eq!(exceeded(&pod, dir.path()), None);
        std::fs::write(dir.path().join("volumes/v/big"), vec![1; 2 << 20]).unwrap();
        let message = exceeded(&pod, dir.path()).unwrap();
        assert_eq!(message, "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
    }
}
