//! Writes a node's conditions and taints, and what follows from them for its pods.

use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, PodCondition, Taint};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::{ApiError, Object, Reason, conditions, node};
use corten_client::{EventType, Next, Patch};
use jiff::Timestamp;
use serde_json::json;
use tracing::info;

use super::decide::Decision;
use super::{NodeLifecycle, evict};
use crate::pods::SeenPod;
use crate::sources;

/// Pods that leave a node in one go; the rest follow a second later.
const EVICTED_AT_ONCE_MAX: usize = 50;
const EVICTION_PAUSE: Duration = Duration::from_secs(1);

impl NodeLifecycle {
    pub(super) async fn apply(
        &self,
        node: &Arc<Node>,
        decision: Decision,
        was_ready: Option<bool>,
    ) -> Result<Next, ApiError> {
        if let Some(list) = &decision.conditions {
            info!(node = node.name(), "has fallen silent");
            self.write(node, "status", unknown_patch(node, list)).await?;
            // The rest follows from what the watch brings back.
            return Ok(Next::Done);
        }
        let is_ready = node::is_ready(node);
        if let Some(taints) = &decision.taints {
            // The list is replaced whole, so it must still be the one that was decided on.
            let metadata = json!({"resourceVersion": node.metadata.resource_version});
            if decision.begins_eviction {
                // Before the write: the watch may tell the next one of its turn before we have the answer.
                self.nodes.eviction_began(node.name());
            }
            self.write(node, "", json!({"metadata": metadata, "spec": {"taints": taints}})).await?;
        }
        self.tell(node, was_ready, is_ready);
        // Pods leave also if one could not be marked: it must not keep the others on a lost node.
        let marked = if is_ready { Ok(()) } else { self.mark_pods_not_ready(node).await };
        let taints = decision.taints.as_deref().unwrap_or(node::taints(node));
        let evicted = self.evict(node, taints).await;
        marked?;
        let again = evicted?;
        let wake = [decision.wake_after, again].into_iter().flatten().min();
        Ok(wake.map_or(Next::Done, Next::After))
    }

    async fn write(&self, node: &Node, subresource: &str, body: serde_json::Value) -> Result<(), ApiError> {
        let patch = if subresource.is_empty() { Patch::Merge(body) } else { Patch::Strategic(body) };
        match self.context.client.patch::<Node>(&node.key(), subresource, patch).await {
            Ok(written) => self.context.caught_up(&self.context.caches.of::<Node>(), written.revision()).await,
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => {
                self.nodes.could_not_write(node.name());
                return Err(err);
            }
        }
        Ok(())
    }

    fn tell(&self, node: &Node, was_ready: Option<bool>, is_ready: bool) {
        self.nodes.note_readiness(node);
        if was_ready == Some(true) && !is_ready {
            let message = format!("Node {} status is now: NodeNotReady", node.name());
            self.context.recorder.event(&node.reference(), EventType::Normal, "NodeNotReady", message);
        }
    }

    /// Nobody vouches for pods of a node that is not ready, so they must get no traffic. Only those are marked that
    /// have not said since that they are ready: a kubelet that lives knows better. All are tried; the first error is
    /// returned.
    async fn mark_pods_not_ready(&self, node: &Node) -> Result<(), ApiError> {
        let list = node.status.as_ref().and_then(|s| s.conditions.as_ref());
        let Some(ready) = conditions::find(list, "Ready").filter(|c| c.status != "True") else { return Ok(()) };
        let since = ready.last_transition_time.as_ref().map_or(Timestamp::MAX, |t| t.0);
        let mut all = Ok(());
        for pod in self.nodes.pods_on(node.name()).iter().filter(|p| p.ready_since.is_some_and(|ready| ready <= since))
        {
            let condition = PodCondition {
                type_: "Ready".into(),
                status: "False".into(),
                last_transition_time: Some(Time(Timestamp::now())),
                ..PodCondition::default()
            };
            let body = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}});
            match self.context.client.patch::<Pod>(&pod.key, "status", Patch::Strategic(body)).await {
                Ok(written) => {
                    let about = written.reference();
                    self.context.recorder.event(&about, EventType::Warning, "NodeNotReady", "Node is not ready");
                }
                Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => {}
                Err(err) => all = all.and(Err(err)),
            }
        }
        all
    }

    /// Deletes the pods whose time on this node is over; returns when the next one's is. All are tried; the first error
    /// is returned.
    async fn evict(&self, node: &Node, taints: &[Taint]) -> Result<Option<Duration>, ApiError> {
        if !taints.iter().any(|t| t.effect == "NoExecute") {
            return Ok(None);
        }
        let now = Timestamp::now();
        let mut wake: Option<Duration> = None;
        let mut evicted = 0;
        let mut all = Ok(());
        for pod in self.nodes.pods_on(node.name()).iter().filter(|p| p.is_active() && !p.mirror) {
            let Some(until) = evict::may_stay_until(taints, &pod.tolerations, now) else { continue };
            let left = if until > now {
                Duration::try_from(until.duration_since(now)).unwrap_or(Duration::MAX)
            } else if evicted < EVICTED_AT_ONCE_MAX {
                evicted += 1;
                all = all.and(self.evict_pod(pod).await);
                continue;
            } else {
                EVICTION_PAUSE
            };
            wake = Some(wake.map_or(left, |wake| wake.min(left)));
        }
        all.map(|()| wake)
    }

    async fn evict_pod(&self, pod: &SeenPod) -> Result<(), ApiError> {
        let condition = PodCondition {
            type_: "DisruptionTarget".into(),
            status: "True".into(),
            reason: Some("DeletionByTaintManager".into()),
            message: Some("Taint manager: deleting due to NoExecute taint".into()),
            last_transition_time: Some(Time(Timestamp::now())),
            ..PodCondition::default()
        };
        let body = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}});
        match self.context.client.patch::<Pod>(&pod.key, "status", Patch::Strategic(body)).await {
            Ok(written) => {
                let message = format!("Marking for deletion Pod {}", pod.key);
                let about = written.reference();
                let recorder = self.context.recorder.of(sources::TAINT_EVICTION);
                recorder.event(&about, EventType::Normal, "TaintManagerEviction", message);
            }
            Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => return Ok(()),
            Err(err) => return Err(err),
        }
        self.context.delete::<Pod>(&pod.key, &pod.uid).await?;
        Ok(())
    }
}

/// A node that has just come back has written its status since: then this is a Conflict, and it is looked at again.
fn unknown_patch(node: &Node, list: &[NodeCondition]) -> serde_json::Value {
    json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "status": {"conditions": list}})
}

#[cfg(test)]
mod tests {
    use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    #[test]
    fn conditions_are_written_only_over_the_status_that_was_decided_on() {
        let metadata = ObjectMeta { resource_version: Some("7".into()), ..ObjectMeta::default() };
        let patch = unknown_patch(&Node { metadata, ..Node::default() }, &[]);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
    }
}
