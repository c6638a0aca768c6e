//! What becomes of a volume of this provisioner when its claim is gone. Pure.

use corten_api::k8s_openapi::api::core::v1::PersistentVolume;
use corten_api::volumes::{DIRECTORY_FINALIZER, ON_NODE, PROVISIONED_BY};
use corten_api::{Key, Object};

use super::is_our_name;
use crate::persistentvolume::matching::volume_spec;

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Nothing,
    Delete,
    /// The volume without the finalizer of a node that is gone, and its directory with it.
    LetGo(Box<PersistentVolume>),
}

pub fn is_ours(volume: &PersistentVolume) -> bool {
    is_our_name(volume.annotation(PROVISIONED_BY))
}

pub fn node_of(volume: &PersistentVolume) -> Option<&str> {
    volume.annotation(ON_NODE).filter(|_| is_ours(volume))
}

/// The claim that it names.
pub fn claim_of(volume: &PersistentVolume) -> Option<Key> {
    let claimed = volume_spec(volume).claim_ref.as_ref()?;
    Some(Key::new(claimed.namespace.as_deref()?, claimed.name.as_deref()?))
}

/// It is deleted, and waits for its node's kubelet to remove the directory.
pub fn is_held_by_node(volume: &PersistentVolume) -> bool {
    let is_held = volume.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == DIRECTORY_FINALIZER);
    volume.is_deleting() && is_held
}

/// `has_node`: its node is there.
pub fn decide(volume: &PersistentVolume, has_node: bool) -> Step {
    if is_held_by_node(volume) && !has_node {
        let mut freed = volume.clone();
        freed.metadata.finalizers.iter_mut().for_each(|all| all.retain(|finalizer| finalizer != DIRECTORY_FINALIZER));
        return Step::LetGo(Box::new(freed));
    }
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let goes = volume_spec(volume).persistent_volume_reclaim_policy.as_deref() == Some("Delete");
    if phase == Some("Released") && goes && !volume.is_deleting() { Step::Delete } else { Step::Nothing }
}

#[cfg(test)]
mod tests {
    use corten_api::volumes::LOCAL_DIRECTORY;
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_table() {
        let of = |phase: &str, policy: &str, deleting: bool, finalizers: &[&str]| -> PersistentVolume {
            let at = deleting.then_some("2026-01-01T00:00:00Z");
            let annotations = json!({PROVISIONED_BY: LOCAL_DIRECTORY, ON_NODE: "n1"});
            let metadata =
                json!({"name": "v", "deletionTimestamp": at, "finalizers": finalizers, "annotations": annotations});
            let spec = json!({"persistentVolumeReclaimPolicy": policy});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}})).unwrap()
        };
        let held: &[&str] = &["kubernetes.io/pv-protection", DIRECTORY_FINALIZER];
        let cases = [
            ("its claim has it", of("Bound", "Delete", false, held), true, "nothing"),
            ("its claim is gone", of("Released", "Delete", false, held), true, "delete"),
            ("its claim is gone, and it is to stay", of("Released", "Retain", false, held), true, "nothing"),
            ("it goes", of("Released", "Delete", true, held), true, "nothing"),
            ("it goes, and its node is gone", of("Released", "Delete", true, held), false, "free"),
            ("no directory was ever made", of("Released", "Delete", true, &held[..1]), false, "nothing"),
            ("its node is gone, and its claim has it", of("Bound", "Delete", false, held), false, "nothing"),
        ];
        for (why, volume, has_node, expected) in cases {
            let got = match decide(&volume, has_node) {
                Step::Nothing => "nothing",
                Step::Delete => "delete",
                Step::LetGo(freed) => {
                    assert_eq!(
                        freed.metadata.finalizers.as_deref(),
                        Some(&["kubernetes.io/pv-protection".to_owned()][..])
                    );
                    "free"
                }
            };
            assert_eq!(got, expected, "{why}");
        }
    }

    #[test]
    fn a_volume_names_its_claim() {
        let of = |claim_ref: serde_json::Value| -> PersistentVolume {
            let spec = json!({"claimRef": claim_ref});
            serde_json::from_value(json!({"metadata": {"name": "v"}, "spec": spec})).unwrap()
        };
        let named = of(json!({"namespace": "shop", "name": "data", "uid": "c-uid"}));
        assert_eq!(claim_of(&named), Some(Key::new("shop", "data")));
        assert_eq!(claim_of(&of(json!(null))), None);
    }
}
