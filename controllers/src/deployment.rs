//! Deployments: ReplicaSets come, grow, shrink and go, so that pods move to a new template step by step.

pub mod apply;
pub mod decide;
pub mod patches;
pub mod revision;
pub mod rolling;
pub mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use corten_api::selector::Selector;
use corten_api::{ApiError, Key, Object};
use corten_client::{Change, EventType, Next, WorkQueue, run_workers};
use jiff::Timestamp;
use tracing::warn;

use crate::adopt::{self, Target, decide::Candidate, decide::Claim};
use crate::caches::owner_key;
use crate::context::Context;
use crate::pods::{Labels, SeenPod};
use crate::replicas::QueueChanges;
use decide::Observed;

const WORKERS: usize = 5;

/// Keeps all Deployments moving while this instance leads.
pub async fn run(context: Context) {
    let queue = WorkQueue::new();
    let own = queue.clone();
    context.caches.deployments.subscribe(move |change| own.extend_from(change));
    let (sets_queue, reader) = (queue.clone(), context.clone());
    context.caches.replica_sets.subscribe(move |change| {
        for key in concerned(&reader, change) {
            sets_queue.add(key);
        }
    });
    let (pods_queue, reader) = (queue.clone(), context.clone());
    context.caches.pods.subscribe(move |change| {
        if let Some(key) = waiting_for_end(&reader, change) {
            pods_queue.add(key);
        }
    });
    let stop = context.stop.clone();
    let controller = Arc::new(Controller { context });
    run_workers("deployment", &queue, WORKERS, &stop, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.sync(&key).await }
    })
    .await;
}

pub(crate) struct Controller {
    pub(crate) context: Context,
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let caches = &self.context.caches;
        let Some(deployment) = caches.deployments.get(key) else { return Ok(Next::Done) };
        let Some(selector) = self.usable_selector(&deployment) else { return Ok(Next::Done) };
        let nearby = caches.replica_sets.claimable_by(&key.namespace, deployment.uid());
        let claim = claim(&deployment, &selector, &nearby);
        if !claim.is_settled() {
            let targets = claim.map(|s| Target { key: s.key(), uid: s.uid().to_owned() });
            let revision = adopt::apply::<Deployment, ReplicaSet>(&self.context.client, &deployment, &targets).await?;
            self.context.caught_up(&caches.replica_sets, revision).await;
            return Ok(Next::Done);
        }
        let seen = Observed {
            now: Timestamp::now(),
            running_pods: self.running_pods(&deployment, &claim.owned),
            deployment,
            sets: claim.owned,
        };
        let decision = decide::decide(&seen);
        self.apply(&seen, decision).await
    }

    /// A selector that selects all or is invalid would take others' pods: such a Deployment does nothing.
    fn usable_selector(&self, deployment: &Deployment) -> Option<Selector> {
        match Selector::from_label_selector(Some(&deployment.spec.selector)) {
            Ok(selector) if !selector.is_everything() => Some(selector),
            Ok(_) => {
                let message = "This deployment is selecting all pods. A non-empty selector is required.";
                self.context.recorder.event(&deployment.reference(), EventType::Warning, "SelectingAll", message);
                None
            }
            Err(err) => {
                warn!(deployment = %deployment.key(), %err, "its selector cannot be used");
                None
            }
        }
    }

    /// Pods that have not ended, by the uid of their ReplicaSet. Only Recreate waits for the end of pods, so only then
    /// are they counted.
    fn running_pods(&self, deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> BTreeMap<String, usize> {
        if !decide::recreates(deployment) {
            return BTreeMap::new();
        }
        let running = |set: &Arc<ReplicaSet>| {
            let pods = self.context.caches.pods.controlled_by(set.namespace(), set.uid());
            (set.uid().to_owned(), pods.iter().filter(|p| !p.is_terminal()).count())
        };
        sets.iter().map(running).collect()
    }
}

/// Which of the ReplicaSets nearby are its own, and which should become so or cease to be.
pub fn claim(deployment: &Deployment, selector: &Selector, nearby: &[Arc<ReplicaSet>]) -> Claim<Arc<ReplicaSet>> {
    static NO_LABELS: Labels = Labels::new();
    let candidates = nearby.iter().map(|set| Candidate {
        target: Arc::clone(set),
        labels: set.metadata.labels.as_ref().unwrap_or(&NO_LABELS),
        controller: set.controller().map(|o| o.uid.as_str()),
        deleting: set.is_deleting(),
        terminal: false,
        mirror: false,
    });
    adopt::decide::claim(deployment.uid(), deployment.is_deleting(), selector, candidates)
}

/// Deployments that a ReplicaSet's change may concern.
fn concerned(context: &Context, change: &Change<'_, ReplicaSet>) -> Vec<Key> {
    let (old, new) = match change {
        Change::Set { old, new, .. } => (*old, Some(*new)),
        Change::Removed { old, .. } => (Some(*old), None),
        Change::Synced => (None, None),
    };
    let owner = |set: &Arc<ReplicaSet>| owner_key::<Deployment>(set.namespace(), set.controller());
    let mut found: Vec<Key> = [old, new].into_iter().flatten().filter_map(owner).collect();
    if let Some(orphan) = new.filter(|set| set.controller().is_none()) {
        let selects = |d: &Arc<Deployment>| {
            let selector = Selector::from_label_selector(Some(&d.spec.selector));
            selector.is_ok_and(|s| s.matches_opt(orphan.metadata.labels.as_ref()))
        };
        let nearby = context.caches.deployments.in_namespace(orphan.namespace());
        found.extend(nearby.iter().filter(|d| selects(d)).map(|d| d.key()));
    }
    found.dedup();
    found
}

/// A pod has ended or gone: the Recreate Deployment above it may have waited for that.
fn waiting_for_end(context: &Context, change: &Change<'_, SeenPod>) -> Option<Key> {
    let pod = match change {
        Change::Set { new, .. } if new.is_terminal() => new,
        Change::Removed { old, .. } => old,
        _ => return None,
    };
    let set = owner_key::<ReplicaSet>(&pod.key.namespace, pod.controller())?;
    let set = context.caches.replica_sets.get(&set)?;
    let key = owner_key::<Deployment>(set.namespace(), set.controller())?;
    let deployment = context.caches.deployments.get(&key)?;
    decide::recreates(&deployment).then_some(key)
}
