//! Whether a finalizer that keeps what is in use is put on, left, or taken off; and what uses a claim.

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::PersistentVolumeClaim;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::pods::SeenPod;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Keep,
    Add,
    Remove,
}

pub fn decide(meta: &ObjectMeta, finalizer: &str, is_used: bool) -> Action {
    let has = meta.finalizers.iter().flatten().any(|f| f == finalizer);
    match (meta.deletion_timestamp.is_some(), has) {
        (false, false) => Action::Add,
        (true, true) if !is_used => Action::Remove,
        _ => Action::Keep,
    }
}

/// A pod on a node may have the claim's volume mounted, also when it has ended. One without a node never will: no kubelet
/// starts a pod whose claim is being deleted.
pub fn uses(pod: &SeenPod, claim: &PersistentVolumeClaim) -> bool {
    // Its kubelet is done with it, or nobody waits for that: a finalizer that keeps the pod may itself wait for the claim.
    let is_shut_down = pod.deleting.is_some() && pod.deletion_grace_secs == Some(0);
    let uses = |name: &str, ephemeral: bool| {
        name == claim.name() && (!ephemeral || !is_shut_down && claim.is_controlled_by(&pod.uid))
    };
    pod.node.is_some() && pod.claims.iter().any(|used| uses(&used.name, used.ephemeral))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::pods::UsedClaim;

    const FINALIZER: &str = "kubernetes.io/pvc-protection";

    #[test]
    fn finalizers_table() {
        let meta = |deleting: bool, finalizers: &[&str]| -> ObjectMeta {
            let since = deleting.then_some("2026-01-01T00:00:00Z");
            serde_json::from_value(json!({"deletionTimestamp": since, "finalizers": finalizers})).unwrap()
        };
        for (why, meta, is_used, expected) in [
            ("new", meta(false, &["other"]), false, Action::Add),
            ("protected", meta(false, &[FINALIZER]), false, Action::Keep),
            ("deleted, and in use", meta(true, &[FINALIZER]), true, Action::Keep),
            ("deleted, and of no use", meta(true, &["other", FINALIZER]), false, Action::Remove),
            ("it goes: too late to protect it", meta(true, &["other"]), true, Action::Keep),
        ] {
            assert_eq!(decide(&meta, FINALIZER, is_used), expected, "{why}");
        }
    }

    #[test]
    fn uses_table() {
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p-uid", "controller": true});
        let metadata = json!({"name": "c", "namespace": "shop", "ownerReferences": [owner]});
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        let pod = |name: &str, ephemeral| SeenPod {
            uid: "p-uid".into(),
            node: Some("n".into()),
            claims: vec![UsedClaim { name: name.into(), ephemeral }],
            ..SeenPod::default()
        };
        let gone = |grace: i64, pod| SeenPod {
            deleting: Some(Timestamp::UNIX_EPOCH),
            deletion_grace_secs: Some(grace),
            ..pod
        };
        for (why, pod, expected) in [
            ("runs with it", pod("c", false), true),
            ("has ended on its node", SeenPod { phase: crate::pods::Phase::Failed, ..pod("c", false) }, true),
            ("has no node", SeenPod { node: None, ..pod("c", false) }, false),
            ("runs with another", pod("d", false), false),
            ("runs with its own", pod("c", true), true),
            ("of a pod of its name before it", SeenPod { uid: "x".into(), ..pod("c", true) }, false),
            ("ends", gone(30, pod("c", true)), true),
            ("is done, and something else keeps it", gone(0, pod("c", true)), false),
            ("is done, but its claim is not its own", gone(0, pod("c", false)), true),
        ] {
            assert_eq!(uses(&pod, &claim), expected, "{why}");
        }
    }
}
