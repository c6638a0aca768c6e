//! Whether an emptyDir has outgrown its sizeLimit: then the pod is evicted.
//!
//! <https://kubernetes.io/docs/concepts/storage/volumes/#emptydir>

use std::path::Path;

use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::Pod;
use tracing::warn;

use super::usage;
use super::walk::WalkError;

/// The message of the eviction, if a limit is exceeded. A tmpfs keeps its limit by itself. Who makes a volume that cannot be
/// measured has no limit: that is too much, too.
pub fn exceeded(pod: &Pod, pod_dir: &Path) -> Option<String> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    for volume in volumes {
        let Some(empty) = volume.empty_dir.as_ref().filter(|e| e.medium.as_deref() != Some("Memory")) else { continue };
        let Some(limit) = empty.size_limit.as_ref() else { continue };
        let bytes = Quantity::from_wire(limit).ok().and_then(|q| u64::try_from(q.units()).ok());
        let Some(bytes) = bytes.filter(|bytes| *bytes > 0) else { continue };
        match usage::exceeds(&pod_dir.join("volumes").join(&volume.name), bytes) {
            Ok(false) => {}
            Ok(true) => {
                return Some(format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}. ", volume.name, limit.0));
            }
            Err(why @ (WalkError::TooDeep | WalkError::Restless)) => {
                return Some(format!("Usage of EmptyDir volume {:?} cannot be measured: {why}. ", volume.name));
            }
            // It is looked at again.
            Err(WalkError::Io(err)) => warn!(volume = volume.name, %err, "a volume's usage cannot be measured now"),
        }
    }
    None
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
