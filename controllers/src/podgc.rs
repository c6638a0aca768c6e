//! Pods that nobody else will ever clean up: their node is gone or shut down, they never had one, or there are too many ended
//! ones.

pub mod decide;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time};
use corten_api::{ApiError, Key, Reason};
use corten_client::{Cache, Change, Next, Patch};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::context::{Context, same_uid};
use crate::controller::{Controller, Loop, Setup};
use crate::pods::SeenPod;
use crate::width::WIDTH_MAX;
use decide::{Observed, TERMINATED_MAX, Why};

const WORKERS: usize = 1;
/// Changes of many pods at once are looked at once.
const GATHER: Duration = Duration::from_secs(1);
/// When what could not be done is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(20);

struct PodGc {
    context: Context,
    /// When we first missed each node that a pod names.
    missed: Arc<Mutex<BTreeMap<String, Timestamp>>>,
}

/// It has one item, which stands for all pods.
pub fn controller(setup: &Setup) -> Loop {
    let (pods, nodes) = (setup.caches.of::<SeenPod>(), setup.caches.of::<Node>());
    let missed = Arc::default();
    let seen = nodes.clone();
    Controller::new(setup)
        .workers(WORKERS)
        .watches_after(&pods, GATHER, move |change| may_be_left(change, &seen).then_some(()))
        .watches(&nodes, |change| leaves_pods(change).then_some(()))
        .run(move |context, ()| {
            let this = PodGc { context, missed: Arc::clone(&missed) };
            async move { this.sync().await }
        })
}

/// Nobody else may clean up after this pod.
fn may_be_left(change: &Change<'_, SeenPod>, nodes: &Cache<Node>) -> bool {
    let Change::Set { new: pod, .. } = change else { return false };
    let lost = match &pod.node {
        Some(node) => match nodes.get(&Key::cluster(node.as_str())) {
            Some(node) => pod.deleting.is_some() && decide::is_out_of_service(&node),
            None => true,
        },
        None => pod.deleting.is_some(),
    };
    lost || pod.is_terminal()
}

/// The node is gone, or is shut down now.
fn leaves_pods(change: &Change<'_, Node>) -> bool {
    match change {
        Change::Set { old, new, .. } => {
            decide::is_out_of_service(new) && !old.is_some_and(|old| decide::is_out_of_service(old))
        }
        Change::Removed { .. } => true,
        Change::Synced => false,
    }
}

impl PodGc {
    async fn sync(&self) -> Result<Next, ApiError> {
        let now = Timestamp::now();
        let pods = self.context.caches.of::<SeenPod>().list();
        let missed = self.missed_nodes(&pods, now);
        let (candidates, next) = decide::settled(missed.into_iter(), now);
        let (gone_nodes, unknown) = self.really_gone(candidates).await;
        let out_of_service = self.out_of_service(&pods);
        let seen = Observed {
            pods: &pods,
            terminated_max: TERMINATED_MAX,
            gone_nodes: &gone_nodes,
            out_of_service: &out_of_service,
        };
        let failed = self.delete_all(decide::decide(&seen)).await;
        let wait = next.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
        // Not with the back-off of a failed item: one pod that cannot be deleted would hold up all others with it.
        let again = (failed || unknown).then_some(RETRY_AFTER);
        Ok(wait.into_iter().chain(again).min().map_or(Next::Done, Next::After))
    }

    /// Which of these nodes the apiserver does not have either, and whether some could not be asked for.
    async fn really_gone(&self, candidates: BTreeSet<String>) -> (BTreeSet<String>, bool) {
        let ask = |node: String| async move {
            let there = self.is_there(&node).await;
            (node, there)
        };
        let (mut gone, mut unknown) = (BTreeSet::new(), false);
        let mut asked = stream::iter(candidates.into_iter().map(ask)).buffer_unordered(WIDTH_MAX);
        while let Some((node, there)) = asked.next().await {
            match there {
                Ok(true) => {}
                Ok(false) => drop(gone.insert(node)),
                Err(err) => {
                    warn!(node, %err, "cannot ask whether the node is there; its pods wait");
                    unknown = true;
                }
            }
        }
        (gone, unknown)
    }

    /// Side by side, so that none waits for another. Returns whether one failed.
    async fn delete_all(&self, doomed: Vec<(Arc<SeenPod>, Why)>) -> bool {
        let one = |(pod, why): (Arc<SeenPod>, Why)| async move {
            let deleted = self.delete(&pod, why).await;
            (pod, deleted)
        };
        let (mut failed, mut revision) = (false, 0);
        let mut deletions = stream::iter(doomed.into_iter().map(one)).buffer_unordered(WIDTH_MAX);
        while let Some((pod, deleted)) = deletions.next().await {
            match deleted {
                Ok(at) => revision = revision.max(at.unwrap_or(0)),
                Err(err) => {
                    warn!(pod = %pod.key, %err, "cannot delete the pod; again later");
                    failed = true;
                }
            }
        }
        self.context.caught_up(&self.context.caches.of::<SeenPod>(), revision).await;
        failed
    }

    fn missed_nodes(&self, pods: &[Arc<SeenPod>], now: Timestamp) -> BTreeMap<String, Timestamp> {
        let mut missed = self.missed.lock();
        let mut still = BTreeMap::new();
        for node in pods.iter().filter_map(|p| p.node.as_ref()) {
            if self.context.caches.of::<Node>().get(&Key::cluster(node.as_str())).is_none() {
                still.insert(node.clone(), missed.get(node).copied().unwrap_or(now));
            }
        }
        missed.clone_from(&still);
        still
    }

    /// Of the nodes that pods are to leave, those that are shut down.
    fn out_of_service(&self, pods: &[Arc<SeenPod>]) -> BTreeSet<String> {
        let leaving: BTreeSet<&String> =
            pods.iter().filter(|p| p.deleting.is_some()).filter_map(|p| p.node.as_ref()).collect();
        let nodes = &self.context.caches.of::<Node>();
        let is_out = |name: &&String| {
            nodes.get(&Key::cluster(name.as_str())).is_some_and(|node| decide::is_out_of_service(&node))
        };
        leaving.into_iter().filter(is_out).cloned().collect()
    }

    /// Asks the apiserver: a cache that is behind must not cost a node its pods.
    async fn is_there(&self, node: &str) -> Result<bool, ApiError> {
        match self.context.client.get::<Node>(&Key::cluster(node)).await {
            Ok(_) => Ok(true),
            Err(err) if err.is(Reason::NotFound) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Returns the revision of the deletion; `None`: the pod was not there any more.
    async fn delete(&self, pod: &SeenPod, why: Why) -> Result<Option<i64>, ApiError> {
        info!(pod = %pod.key, ?why, "deleting");
        if !pod.is_terminal() {
            // No kubelet will say that it has ended; who waits for it, as a Job, must hear so from somebody.
            let body = failed(pod, why);
            let patch = || self.context.prompt.patch::<Pod>(&pod.key, "status", Patch::Strategic(body.clone()));
            match self.context.width.send(patch).await {
                Ok(_) => {}
                Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => return Ok(None),
                Err(err) => return Err(err),
            }
        }
        // No kubelet will confirm an orderly end, so there is none.
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: same_uid(&pod.uid),
            ..DeleteOptions::default()
        };
        self.context.delete_with::<Pod>(&pod.key, &pod.uid, &options).await
    }
}

/// What makes a pod Failed. That it was disrupted, not that it failed by itself, is said where its node is gone: in all other
/// cases somebody has asked for its end before.
fn failed(pod: &SeenPod, why: Why) -> Value {
    let mut body = json!({"metadata": {"uid": pod.uid}, "status": {"phase": "Failed"}});
    if why == Why::Orphaned {
        let condition = PodCondition {
            type_: "DisruptionTarget".into(),
            status: "True".into(),
            reason: Some("DeletionByPodGC".into()),
            message: Some("PodGC: node no longer exists".into()),
            last_transition_time: Some(Time(Timestamp::now())),
            ..PodCondition::default()
        };
        body["status"]["conditions"] = json!([condition]);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pod_whose_node_is_gone_counts_as_disrupted() {
        let pod = SeenPod { uid: "u".into(), ..SeenPod::default() };
        for why in [Why::Orphaned, Why::OutOfService, Why::Unscheduled] {
            let body = failed(&pod, why);
            assert_eq!(
                (&body["status"]["phase"], &body["metadata"]["uid"]),
                (&json!("Failed"), &json!("u")),
                "{why:?}"
            );
            assert_eq!(body["status"].get("conditions").is_some(), why == Why::Orphaned, "{why:?}");
        }
    }
}
