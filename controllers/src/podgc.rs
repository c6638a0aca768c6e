//! Pods that nobody else will ever clean up: their node is gone, they never had one, or there are too many ended ones.

pub mod decide;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time};
use corten_api::{ApiError, Key, Reason};
use corten_client::{Change, Next, Patch, WorkQueue, run_workers};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use tracing::info;

use crate::context::{Context, same_uid};
use crate::pods::SeenPod;
use decide::{Observed, TERMINATED_MAX, Why};

const WORKERS: usize = 1;
/// Changes of many pods at once are looked at once.
const GATHER: Duration = Duration::from_secs(1);

struct Controller {
    context: Context,
    /// When we first missed each node that a pod names.
    missed: Mutex<BTreeMap<String, Timestamp>>,
}

/// Its queue has one item, which stands for all pods.
pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let (own, nodes) = (queue.clone(), context.caches.nodes.clone());
    context.caches.pods.subscribe(move |change| {
        if let Change::Set { new, .. } = change {
            let lost = match &new.node {
                Some(node) => nodes.get(&Key::cluster(node.as_str())).is_none(),
                None => new.deleting.is_some(),
            };
            if lost || new.is_terminal() {
                own.add_after((), GATHER);
            }
        }
    });
    let own = queue.clone();
    context.caches.nodes.subscribe(move |change| {
        if matches!(change, Change::Removed { .. }) {
            own.add(());
        }
    });
    let stop = context.stop.clone();
    let controller = Arc::new(Controller { context, missed: Mutex::default() });
    run_workers("podgc", &queue, WORKERS, &stop, move |()| {
        let controller = Arc::clone(&controller);
        async move { controller.sync().await }
    })
    .await;
}

impl Controller {
    async fn sync(&self) -> Result<Next, ApiError> {
        let now = Timestamp::now();
        let pods = self.context.caches.pods.list();
        let missed = self.missed_nodes(&pods, now);
        let (mut gone_nodes, next) = decide::settled(missed.into_iter(), now);
        let candidates: Vec<String> = gone_nodes.iter().cloned().collect();
        for node in candidates {
            if self.is_there(&node).await? {
                gone_nodes.remove(&node);
            }
        }
        let seen = Observed { pods: &pods, terminated_max: TERMINATED_MAX, gone_nodes: &gone_nodes };
        for (pod, why) in decide::decide(&seen) {
            self.delete(&pod, why).await?;
        }
        let wait = next.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
        Ok(wait.map_or(Next::Done, Next::After))
    }

    fn missed_nodes(&self, pods: &[Arc<SeenPod>], now: Timestamp) -> BTreeMap<String, Timestamp> {
        let mut missed = self.missed.lock();
        let mut still = BTreeMap::new();
        for node in pods.iter().filter_map(|p| p.node.as_ref()) {
            if self.context.caches.nodes.get(&Key::cluster(node.as_str())).is_none() {
                still.insert(node.clone(), missed.get(node).copied().unwrap_or(now));
            }
        }
        missed.clone_from(&still);
        still
    }

    /// Asks the apiserver: a cache that is behind must not cost a node its pods.
    async fn is_there(&self, node: &str) -> Result<bool, ApiError> {
        match self.context.client.get::<Node>(&Key::cluster(node)).await {
            Ok(_) => Ok(true),
            Err(err) if err.is(Reason::NotFound) => Ok(false),
            Err(err) => Err(err),
        }
    }

    async fn delete(&self, pod: &SeenPod, why: Why) -> Result<(), ApiError> {
        info!(pod = %pod.key, ?why, "deleting");
        if why == Why::Orphaned && !pod.is_terminal() {
            let condition = PodCondition {
                type_: "DisruptionTarget".into(),
                status: "True".into(),
                reason: Some("DeletionByPodGC".into()),
                message: Some("PodGC: node no longer exists".into()),
                last_transition_time: Some(Time(Timestamp::now())),
                ..PodCondition::default()
            };
            let body = json!({"metadata": {"uid": pod.uid}, "status": {"phase": "Failed", "conditions": [condition]}});
            match self.context.client.patch::<Pod>(&pod.key, "status", Patch::Strategic(body)).await {
                Ok(_) => {}
                Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => return Ok(()),
                Err(err) => return Err(err),
            }
        }
        // No kubelet will confirm an orderly end, so there is none.
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: same_uid(&pod.uid),
            ..DeleteOptions::default()
        };
        match self.context.client.delete::<Pod>(&pod.key, &options).await {
            Err(err) if !err.is(Reason::NotFound) && !err.is(Reason::Conflict) => Err(err),
            _ => {
                let gone = |p: &SeenPod| p.uid != pod.uid;
                self.context.seen_gone(&self.context.caches.pods, &pod.key, gone).await;
                Ok(())
            }
        }
    }
}
