//! No directories of the node; under the restricted level, only volumes that cannot hurt it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;

use crate::admission::pod_security::evaluate::{Check, Violation};
use crate::admission::pod_security::policy::Level;
use crate::admission::pod_security::subject::Subject;
use crate::admission::pod_security::words;

pub(super) const BASELINE: Check =
    Check { id: "hostPathVolumes", level: Level::Baseline, revisions: &[(0, host_paths)], overrides: None };
pub(super) const RESTRICTED: Check = Check {
    id: "restrictedVolumes",
    level: Level::Restricted,
    revisions: &[(0, restricted)],
    overrides: Some("hostPathVolumes"),
};

fn named(names: &[&str]) -> String {
    format!("{} {}", words::plural(names.len(), "volume", "volumes"), words::quoted(names))
}

fn host_paths(subject: &Subject<'_>) -> Option<Violation> {
    let volumes = subject.spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    let bad: Vec<&str> = volumes.map(|volume| volume.name.as_str()).collect();
    (!bad.is_empty()).then(|| Violation { reason: "hostPath volumes", detail: named(&bad) })
}

fn restricted(subject: &Subject<'_>) -> Option<Violation> {
    let bad: Vec<&Volume> = subject.spec.volumes.iter().flatten().filter(|volume| !is_harmless(volume)).collect();
    let kinds: BTreeSet<&str> = bad.iter().map(|volume| kind(volume)).collect();
    (!bad.is_empty()).then(|| {
        let names: Vec<&str> = bad.iter().map(|volume| volume.name.as_str()).collect();
        let use_ = words::plural(bad.len(), "uses", "use");
        let what = words::plural(kinds.len(), "restricted volume type", "restricted volume types");
        let detail = format!("{} {use_} {what} {}", named(&names), words::quoted(kinds));
        Violation { reason: "restricted volume types", detail }
    })
}

fn is_harmless(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}

fn kind(volume: &Volume) -> &'static str {
    let kinds = [
        (volume.host_path.is_some(), "hostPath"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk"),
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore"),
        (volume.git_repo.is_some(), "gitRepo"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.glusterfs.is_some(), "glusterfs"),
        (volume.rbd.is_some(), "rbd"),
        (volume.flex_volume.is_some(), "flexVolume"),
        (volume.cinder.is_some(), "cinder"),
        (volume.cephfs.is_some(), "cephfs"),
        (volume.flocker.is_some(), "flocker"),
        (volume.fc.is_some(), "fc"),
        (volume.azure_file.is_some(), "azureFile"),
        (volume.vsphere_volume.is_some(), "vsphereVolume"),
        (volume.quobyte.is_some(), "quobyte"),
        (volume.azure_disk.is_some(), "azureDisk"),
        (volume.photon_persistent_disk.is_some(), "photonPersistentDisk"),
        (volume.portworx_volume.is_some(), "portworxVolume"),
        (volume.scale_io.is_some(), "scaleIO"),
        (volume.storageos.is_some(), "storageos"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map_or("unknown", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::pod_security::evaluate::testing::said;

    #[test]
    fn table() {
        let volume = |name: &str, kind: &str, source: Value| json!({"name": name, kind: source});
        let host = |name: &str| volume(name, "hostPath", json!({"path": "/"}));
        let nfs = |name: &str| volume(name, "nfs", json!({"server": "s", "path": "/"}));
        let harmless: Vec<Value> = [
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "image",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ]
        .map(|kind| volume(kind, kind, json!({"driver": "d", "claimName": "c"})))
        .to_vec();
        for (volumes, baseline, restricted) in [
            (json!(harmless), "", ""),
            (
                json!([host("a")]),
                r#"hostPath volumes: volume "a""#,
                r#"restricted volume types: volume "a" uses restricted volume type "hostPath""#,
            ),
            (
                json!([nfs("a"), host("b"), host("c")]),
                r#"hostPath volumes: volumes "b", "c""#,
                r#"restricted volume types: volumes "a", "b", "c" use restricted volume types "hostPath", "nfs""#,
            ),
            (
                json!([{"name": "a"}]),
                "",
                r#"restricted volume types: volume "a" uses restricted volume type "unknown""#,
            ),
        ] {
            let spec = json!({ "volumes": volumes });
            assert_eq!(said(&BASELINE, 0, spec.clone()), baseline, "{volumes}");
            assert_eq!(said(&RESTRICTED, 0, spec), restricted, "{volumes}");
        }
    }
}
