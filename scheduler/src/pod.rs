//! What the scheduler keeps of a pod: who it is, where it is, and the class that says all else.

pub mod ask;
mod claims;
pub mod class;
pub mod terms;

use std::sync::Arc;

use corten_api::pod;
use corten_api::{Key, Object};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};

pub use ask::{Ask, HostPort};
pub use class::{Classes, PodClass};

/// The reason in the DisruptionTarget condition of a pod that the scheduler removes for another.
pub const PREEMPTED: &str = "PreemptionByScheduler";

/// One pod. What pods that look alike share is in `class`; what only pods without a node have, in `pending`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodInfo {
    pub key: Key,
    pub uid: String,
    /// The node it is bound to.
    pub node: Option<String>,
    /// Succeeded or Failed: takes nothing any more.
    pub terminal: bool,
    pub deleting: bool,
    /// It is deleted to make room for a pod of higher priority.
    pub preempted: bool,
    /// When the kubelet took it on; 0 before.
    pub started_secs: i64,
    pub class: Arc<PodClass>,
    pub pending: Option<Box<Pending>>,
}

/// What is kept of a pod while it has no node. Most pods of a cluster have one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pending {
    pub created_secs: i64,
    /// `metadata.generation`: conditions say which one they are about.
    pub generation: Option<i64>,
    /// The message of its PodScheduled=False condition, so that the same is not written again.
    pub told: Option<String>,
    /// `status.nominatedNodeName`.
    pub nominated: Option<String>,
}

impl PodInfo {
    /// `classes` gives pods that look alike one class.
    pub fn of(pod: &Pod, classes: &Classes) -> Self {
        let node = pod::node_name(pod).map(str::to_owned);
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
        let told = corten_api::conditions::find(conditions, "PodScheduled").filter(|c| c.status == "False");
        let disrupted = corten_api::conditions::find(conditions, "DisruptionTarget");
        let pending = node.is_none().then(|| {
            Box::new(Pending {
                created_secs: pod.created().map_or(0, |t| t.0.as_second()),
                generation: pod.metadata.generation,
                told: told.and_then(|c| c.message.clone()),
                nominated: pod.status.as_ref().and_then(|s| s.nominated_node_name.clone()).filter(|n| !n.is_empty()),
            })
        });
        Self {
            key: pod.key(),
            uid: pod.uid().into(),
            terminal: pod::is_terminal(pod),
            deleting: pod.is_deleting(),
            preempted: disrupted.is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some(PREEMPTED)),
            started_secs: pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map_or(0, |t| t.0.as_second()),
            class: classes.class_of(pod),
            node,
            pending,
        }
    }

    /// Whether it wants a node, whoever is to find it one.
    pub fn is_pending(&self) -> bool {
        self.node.is_none() && !self.terminal && !self.deleting && self.pending.is_some()
    }
    pub fn nominated(&self) -> Option<&str> {
        self.pending.as_deref()?.nominated.as_deref()
    }
    pub fn reference(&self) -> ObjectReference {
        reference(&self.key, &self.uid)
    }
}

/// What events say that they are about.
pub fn reference(key: &Key, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(uid.into()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_open_pods_are_pending() {
        let open = PodInfo { pending: Some(Box::default()), ..PodInfo::default() };
        let cases = [
            ("open", open.clone(), true),
            ("going away", PodInfo { deleting: true, ..open.clone() }, false),
            ("ended before it got a node", PodInfo { terminal: true, ..open.clone() }, false),
            ("bound, whatever is kept of it", PodInfo { node: Some("n1".into()), ..open }, false),
            ("bound", PodInfo { node: Some("n1".into()), ..PodInfo::default() }, false),
        ];
        for (why, pod, expected) in cases {
            assert_eq!(pod.is_pending(), expected, "{why}");
        }
    }

    #[test]
    fn what_is_kept_of_a_pod() {
        let classes = Classes::default();
        let pod = |spec: serde_json::Value, status: serde_json::Value| -> PodInfo {
            let metadata = json!({"name": "a", "namespace": "ns", "uid": "u", "creationTimestamp": "1970-01-01T00:01:00Z",
                "generation": 3});
            let pod = json!({"metadata": metadata, "spec": spec, "status": status});
            PodInfo::of(&serde_json::from_value(pod).unwrap(), &classes)
        };
        let told = json!({"type": "PodScheduled", "status": "False", "message": "no room"});
        let info = pod(json!({"containers": []}), json!({"conditions": [told], "nominatedNodeName": "n7"}));
        assert_eq!((info.key.name.as_str(), info.uid.as_str(), info.node.as_deref()), ("a", "u", None));
        assert_eq!(info.nominated(), Some("n7"));
        let pending = info.pending.as_deref().unwrap();
        assert_eq!((pending.created_secs, pending.generation), (60, Some(3)));
        assert_eq!(pending.told.as_deref(), Some("no room"));
        assert!(!info.preempted && !info.terminal);

        let target = json!({"type": "DisruptionTarget", "status": "True", "reason": PREEMPTED});
        let status = json!({"conditions": [target], "startTime": "1970-01-01T00:02:00Z", "phase": "Running"});
        let bound = pod(json!({"containers": [], "nodeName": "n1"}), status);
        assert_eq!((bound.node.as_deref(), bound.pending.is_none()), (Some("n1"), true), "most pods are bound");
        assert_eq!((bound.preempted, bound.started_secs), (true, 120));
        assert!(Arc::ptr_eq(&info.class, &bound.class), "they look alike");
        let scheduled = json!({"conditions": [{"type": "PodScheduled", "status": "True", "message": "x"}]});
        assert_eq!(pod(json!({"containers": []}), scheduled).pending.unwrap().told, None);
    }
}
