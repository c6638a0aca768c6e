//! Volumes of whole pods: read-only, in memory, taken down; and those that cannot be had.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Secret};

use super::*;
use crate::runtime::Mount;
use crate::sources::TokenRef;

const NO_NODE: &BTreeMap<String, i64> = &BTreeMap::new();

fn pod(volumes: serde_json::Value, mounts: serde_json::Value) -> Pod {
    let spec = serde_json::json!({
        "containers": [{"name": "c", "volumeMounts": mounts}],
        "initContainers": [{"name": "i", "volumeMounts": mounts}],
        "volumes": volumes,
    });
    serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

fn sources(text: &str) -> Sources {
    let map = ConfigMap { data: Some([("k".to_owned(), text.to_owned())].into()), ..Default::default() };
    let secret = Secret { data: Some([("k".to_owned(), ByteString(text.into()))].into()), ..Default::default() };
    Sources {
        namespace: "default".into(),
        config_maps: [("cfg".to_owned(), Ok(Some(Arc::new(map))))].into(),
        secrets: [("key".to_owned(), Ok(Some(Arc::new(secret))))].into(),
        tokens: [(TokenRef { audience: "vault".into(), life_secs: 3600 }, Ok(text.into()))].into(),
        ..Sources::default()
    }
}

fn all_set_up(pod: &Pod, dir: &Path, text: &str) -> Result<Paths, VolumeError> {
    let downward = Downward { pod, pod_addresses: &[], node_addresses: &[], node_allocatable: NO_NODE };
    set_up(pod, dir, &sources(text), &downward, &NodeFacts::default())
}

/// Only root may mount: elsewhere these tests have nothing to say.
fn may_mount() -> bool {
    nix::unistd::geteuid().is_root()
}

fn made_of(kind: &str) -> serde_json::Value {
    let item = serde_json::json!([{"path": "k", "fieldRef": {"fieldPath": "metadata.name"}}]);
    let mut volume = match kind {
        "configMap" => serde_json::json!({"configMap": {"name": "cfg"}}),
        "secret" => serde_json::json!({"secret": {"secretName": "key"}}),
        "downwardAPI" => serde_json::json!({"downwardAPI": {"items": item}}),
        "projected" => serde_json::json!({"projected": {"sources": [{"configMap": {"name": "cfg"}}]}}),
        "projected token" => {
            let token = serde_json::json!({"serviceAccountToken": {"path": "k", "audience": "vault"}});
            serde_json::json!({"projected": {"sources": [token]}})
        }
        "projected downward" => serde_json::json!({"projected": {"sources": [{"downwardAPI": {"items": item}}]}}),
        _ => serde_json::json!({"emptyDir": {}}),
    };
    volume["name"] = "v".into();
    serde_json::json!([volume])
}

#[test]
fn what_is_made_from_the_api_is_mounted_read_only_whatever_the_mount_says() {
    if !may_mount() {
        return;
    }
    let mounts = serde_json::json!([
        {"name": "v", "mountPath": "/whole"},
        {"name": "v", "mountPath": "/asked", "readOnly": false, "mountPropagation": "Bidirectional"},
        {"name": "v", "mountPath": "/sub", "subPath": "k"},
        {"name": "v", "mountPath": "/expr", "subPathExpr": "k"},
    ]);
    for kind in ["configMap", "secret", "downwardAPI", "projected", "projected downward", "projected token", "emptyDir"]
    {
        let dir = tempfile::tempdir().unwrap();
        let pod = pod(made_of(kind), mounts.clone());
        let paths = all_set_up(&pod, dir.path(), "text").unwrap();
        let spec = pod.spec.as_ref().unwrap();
        let of = |container: &Container| -> Vec<Mount> {
            container_mounts(container, &paths, dir.path(), |text| Ok(text.to_owned())).unwrap()
        };
        let found: Vec<Mount> =
            spec.containers.iter().chain(spec.init_containers.iter().flatten()).flat_map(of).collect();
        tear_down(dir.path()).unwrap();
        assert_eq!(found.len(), 8);
        for mount in found {
            assert_eq!(mount.read_only, kind != "emptyDir", "{kind} at {}", mount.container_path.display());
        }
    }
}

#[test]
fn all_but_config_maps_is_in_memory_and_gone_with_the_pod() {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    if !may_mount() {
        return;
    }
    for (kind, in_memory) in [
        ("configMap", false),
        ("secret", true),
        ("downwardAPI", true),
        ("projected", true),
        ("projected downward", true),
        ("projected token", true),
    ] {
        let held = tempfile::tempdir_in("/var/tmp").unwrap();
        let dir = held.path().join("pod");
        let pod = pod(made_of(kind), serde_json::json!([]));
        let is_tmpfs = || nix::sys::statfs::statfs(&dir.join("volumes/v")).unwrap().filesystem_type().0 == TMPFS_MAGIC;
        let of_disk = nix::sys::statfs::statfs(held.path()).unwrap().filesystem_type().0;
        all_set_up(&pod, &dir, "small").unwrap();
        assert_eq!(is_tmpfs(), in_memory || of_disk == TMPFS_MAGIC, "{kind}");
        // Another kubelet, and contents that the first size had no room for.
        let large = "x".repeat(900 << 10);
        all_set_up(&pod, &dir, &large).unwrap();
        if matches!(kind, "configMap" | "secret" | "projected" | "projected token") {
            assert_eq!(std::fs::read_to_string(dir.join("volumes/v/k")).unwrap(), large, "{kind}");
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounted = mounts.lines().filter(|line| line.contains(dir.to_str().unwrap())).count();
        assert_eq!(mounted, usize::from(in_memory), "{kind}: one for each volume, however often it is set up");
        remove_pod_dir(&dir).unwrap();
        assert!(!dir.exists(), "{kind}");
    }
}

#[test]
fn a_pod_directory_behind_a_link_is_unmounted_before_it_is_removed() {
    if !may_mount() {
        return;
    }
    let held = tempfile::tempdir().unwrap();
    let (real, link, outside) = (held.path().join("real"), held.path().join("link"), held.path().join("outside"));
    std::fs::create_dir(&real).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "x").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let host = serde_json::json!([{"name": "v", "hostPath": {"path": held.path()}}]);
    let mounts = serde_json::json!([{"name": "v", "mountPath": "/sub", "subPath": "outside"}]);
    let (pod, dir) = (pod(host, mounts), link.join("pod"));
    let paths = all_set_up(&pod, &dir, "text").unwrap();
    let spec = pod.spec.as_ref().unwrap();
    container_mounts(&spec.containers[0], &paths, &dir, |text| Ok(text.to_owned())).unwrap();
    remove_pod_dir(&dir).unwrap();
    assert!(outside.join("kept").exists(), "a subPath of the node's is not the pod's to remove");
    assert!(!real.join("pod").exists());
}

#[test]
fn a_volume_that_cannot_be_had_is_said_to_be_so() {
    let of = |volume: serde_json::Value| {
        let held = tempfile::tempdir().unwrap();
        let mut volume = volume;
        if volume.get("name").is_none() {
            volume["name"] = "v".into();
        }
        let made = all_set_up(&pod(serde_json::json!([volume]), serde_json::json!([])), held.path(), "x");
        made.map(drop).map_err(|err| err.to_string())
    };
    let cases = [
        (serde_json::json!({"emptyDir": {"medium": "HugePages"}}), "emptyDir with a medium other than Memory"),
        (serde_json::json!({"emptyDir": {"medium": "HugePages-2Mi"}}), "emptyDir with a medium other than Memory"),
        (serde_json::json!({"persistentVolumeClaim": {"claimName": "c"}}), "persistentVolumeClaim"),
        (serde_json::json!({"image": {"reference": "i"}}), "image"),
        (serde_json::json!({"nfs": {"server": "s", "path": "/"}}), "nfs"),
        (serde_json::json!({"glusterfs": {"endpoints": "e", "path": "p"}}), "unknown"),
        (serde_json::json!({}), "unknown"),
        (serde_json::json!({"name": "../..", "emptyDir": {}}), "must be relative"),
    ];
    for (volume, expected) in cases {
        let got = of(volume.clone());
        assert!(got.as_ref().is_err_and(|err| err.contains(expected)), "{volume}: {got:?}");
    }
}

#[test]
fn a_variable_that_is_missing_in_sub_path_expr_is_an_error() {
    let held = tempfile::tempdir().unwrap();
    let mounts = serde_json::json!([{"name": "v", "mountPath": "/sub", "subPathExpr": "$(GONE)"}]);
    let pod = pod(made_of("emptyDir"), mounts);
    let paths = all_set_up(&pod, held.path(), "text").unwrap();
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let unknown = |text: &str| crate::env::expand_path(text, |_| None);
    let refused = container_mounts(container, &paths, held.path(), unknown).unwrap_err();
    assert_eq!(refused.to_string(), "missing value for \"GONE\"");
    assert_eq!(std::fs::read_dir(held.path().join("volumes/v")).unwrap().count(), 0, "no directory of that name");
}
