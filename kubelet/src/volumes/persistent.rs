//! Persistent volumes: where one is on this node, if it is here. Local volumes and hostPath ones.
//!
//! <https://kubernetes.io/docs/concepts/storage/volumes/#local>

use std::io;
use std::path::Path;

use corten_api::Object as _;
use corten_api::node::selector;
use k8s_openapi::api::core::v1::{LocalVolumeSource, PersistentVolumeSpec, PodSecurityContext};

use super::ownership::{Policy, give_tree_to_group};
use super::walk::WalkError;
use super::{Cause, VolumePath, host_path, io_error};
use crate::beneath::Dir;
use crate::node_facts::NodeFacts;
use crate::sources::Bound;

/// Where the volume is. `read_only`: what the pod asked for.
pub(super) fn path_of(bound: &Bound, node: &NodeFacts, read_only: bool) -> Result<VolumePath, Cause> {
    let name = bound.volume.name();
    let Some(spec) = &bound.volume.spec else {
        return Err(Cause::Unsupported { kind: "persistentVolume without a spec" });
    };
    let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    // The data of a node-local volume are on its node alone: elsewhere the pod would find an empty directory.
    if !required.is_none_or(|terms| selector::matches(terms, &node.name, |key| node.label(key))) {
        return Err(Cause::ElsewhereThanHere { volume: name.to_owned() });
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(Cause::Unsupported { kind: "persistentVolume with volumeMode Block" });
    }
    if spec.mount_options.iter().flatten().next().is_some() {
        return Err(Cause::MountOptions);
    }
    let path = match (&spec.local, &spec.host_path) {
        (Some(local), _) => local_path(local)?.to_owned(),
        (None, Some(host)) => host_path::check(host)?,
        (None, None) => return Err(Cause::Unsupported { kind: kind_of(spec) }),
    };
    Ok(VolumePath { path, read_only })
}

/// Gives a local volume to the pod's group. A hostPath is the administrator's, whose modes nobody changes.
pub(super) fn give_to_group(bound: &Bound, at: &VolumePath, context: &PodSecurityContext) -> Result<(), Cause> {
    let is_local = bound.volume.spec.as_ref().is_some_and(|spec| spec.local.is_some());
    let Some(gid) = context.fs_group.filter(|_| is_local && !at.read_only) else { return Ok(()) };
    let gid = u32::try_from(gid).map_err(|_| Cause::FsGroup)?;
    let policy = match context.fs_group_change_policy.as_deref() {
        Some("OnRootMismatch") => Policy::OnRootMismatch,
        _ => Policy::Always,
    };
    let root = Dir::open(&at.path).map_err(io_error("cannot open", &at.path))?;
    give_tree_to_group(root, gid, policy).map_err(|err| match err {
        WalkError::Io(source) => io_error("cannot give to fsGroup", &at.path)(source),
        WalkError::TooDeep | WalkError::Restless => Cause::Tree { path: at.path.clone(), why: err.to_string() },
    })
}

fn local_path(local: &LocalVolumeSource) -> Result<&Path, Cause> {
    let path = Path::new(&local.path);
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(path),
        Ok(_) => Err(Cause::Unsupported { kind: "local persistentVolume whose path is no directory" }),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Err(Cause::NoPath { path: local.path.clone() }),
        Err(err) => Err(io_error("cannot look at", path)(err)),
    }
}

/// What sort of a volume it is that we do not mount, for the message.
fn kind_of(spec: &PersistentVolumeSpec) -> &'static str {
    let kinds = [
        (spec.csi.is_some(), "csi"),
        (spec.nfs.is_some(), "nfs"),
        (spec.iscsi.is_some(), "iscsi"),
        (spec.fc.is_some(), "fc"),
        (spec.flex_volume.is_some(), "flexVolume"),
    ];
    kinds.iter().find(|(is, _)| *is).map_or("unknown", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn bound(spec: Value) -> Bound {
        let volume = serde_json::from_value(json!({"metadata": {"name": "v"}, "spec": spec})).unwrap();
        Bound { claim: Arc::default(), volume: Arc::new(volume) }
    }

    #[test]
    fn a_volume_is_where_it_says_if_it_is_on_this_node() {
        let held = tempfile::tempdir().unwrap();
        let dir = held.path().display().to_string();
        std::fs::write(held.path().join("file"), "x").unwrap();
        let on = |node: &str| {
            let is = json!([{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]);
            json!({"required": {"nodeSelectorTerms": [{"matchExpressions": is}]}})
        };
        let (new, file, gone) = (format!("{dir}/new"), format!("{dir}/file"), format!("{dir}/gone"));
        let cases = [
            ("local", json!({"local": {"path": dir}, "nodeAffinity": on("n1")}), dir.as_str()),
            ("anywhere", json!({"local": {"path": dir}}), dir.as_str()),
            (
                "another node's",
                json!({"local": {"path": dir}, "nodeAffinity": on("n2")}),
                "NodeAffinity check failed for volume \"v\" : no matching NodeSelectorTerms",
            ),
            ("made", json!({"hostPath": {"path": new, "type": "DirectoryOrCreate"}}), new.as_str()),
            ("nothing there", json!({"local": {"path": gone}}), &format!("path \"{gone}\" does not exist")),
            (
                "no directory",
                json!({"local": {"path": file}}),
                "volumes of type local persistentVolume whose path is no directory are not supported by this node",
            ),
            (
                "csi",
                json!({"csi": {"driver": "d", "volumeHandle": "h"}}),
                "volumes of type csi are not supported by this node",
            ),
            (
                "a device",
                json!({"local": {"path": dir}, "volumeMode": "Block"}),
                "volumes of type persistentVolume with volumeMode Block are not supported by this node",
            ),
            (
                "options",
                json!({"local": {"path": dir}, "mountOptions": ["noexec"]}),
                "Mount options are not supported for this volume type",
            ),
        ];
        let node = NodeFacts { name: "n1".into(), ..NodeFacts::default() };
        for (why, spec, expected) in cases {
            let got = path_of(&bound(spec), &node, false);
            assert_eq!(got.map_or_else(|err| err.to_string(), |at| at.path.display().to_string()), expected, "{why}");
        }
    }
}
