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
use corten_api::selector::{Matcher, Selector};
use corten_api::{ApiError, Key, Object};
use corten_client::{Change, EventType, Next};
use jiff::Timestamp;
use tracing::warn;

use crate::adopt::{self, Settled, Target, decide::Candidate, decide::Claim};
use crate::caches::{Caches, Selects, owner_key, selector_of};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use crate::pods::{Labels, SeenPod};
use decide::Observed;

pub fn controller(setup: &Setup) -> Loop {
    let deployments = setup.caches.of::<Deployment>();
    let caches = setup.caches.clone();
    Controller::new(setup)
        .reconciles(&deployments)
        .watches(&setup.caches.of::<ReplicaSet>(), maps::owner_or_adopters(&deployments))
        .watches(&setup.caches.of::<SeenPod>(), move |change| waiting_for_end(&caches, change))
        .run(|context, key| async move { Deployments { context }.sync(&key).await })
}

pub(crate) struct Deployments {
    pub(crate) context: Context,
}

impl Selects for Deployment {
    fn selects_by(&self) -> Option<Selector> {
        Selector::from_label_selector(Some(&self.spec.selector)).ok()
    }
}

impl Deployments {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let caches = &self.context.caches;
        let Some(deployment) = caches.of::<Deployment>().get(key) else { return Ok(Next::Done) };
        let Some(selector) = self.usable_selector(&deployment) else { return Ok(Next::Done) };
        let nearby = caches.of::<ReplicaSet>().claimable_by(&key.namespace, deployment.uid());
        let claim = claim(&deployment, &selector, &nearby);
        let (sets, targets) =
            (caches.of::<ReplicaSet>(), claim.map(|s| Target { key: s.key(), uid: s.uid().to_owned() }));
        let again = match adopt::settle::<_, ReplicaSet, _>(&self.context, &sets, &*deployment, &targets).await? {
            Settled::Wait => return Ok(Next::Done),
            Settled::GoOn(again) => again,
        };
        let seen = Observed {
            now: Timestamp::now(),
            running_pods: self.running_pods(&deployment, &claim.owned),
            deployment,
            sets: claim.owned,
        };
        let decision = decide::decide(&seen);
        Ok(adopt::sooner(self.apply(&seen, decision).await?, again))
    }

    /// A selector that selects all or is invalid would take others' pods: such a Deployment does nothing.
    fn usable_selector(&self, deployment: &Deployment) -> Option<Arc<Matcher>> {
        let Some(selector) = selector_of(&self.context.caches.of::<Deployment>(), deployment) else {
            if let Err(err) = Selector::from_label_selector(Some(&deployment.spec.selector)) {
                warn!(deployment = %deployment.key(), %err, "its selector cannot be used");
            }
            return None;
        };
        if selector.is_everything() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.context.recorder.event(&deployment.reference(), EventType::Warning, "SelectingAll", message);
            return None;
        }
        Some(selector)
    }

    /// Pods that have not ended, by the uid of their ReplicaSet. Only Recreate waits for the end of pods, so only then
    /// are they counted.
    fn running_pods(&self, deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> BTreeMap<String, usize> {
        if !decide::recreates(deployment) {
            return BTreeMap::new();
        }
        let running = |set: &Arc<ReplicaSet>| {
            let pods = self.context.caches.of::<SeenPod>().controlled_by(set.namespace(), set.uid());
            (set.uid().to_owned(), pods.iter().filter(|p| !p.is_terminal()).count())
        };
        sets.iter().map(running).collect()
    }
}

/// Which of the ReplicaSets nearby are its own, and which should become so or cease to be.
pub fn claim(deployment: &Deployment, selector: &Matcher, nearby: &[Arc<ReplicaSet>]) -> Claim<Arc<ReplicaSet>> {
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

/// A pod has ended or gone: the Recreate Deployment above it may have waited for that.
fn waiting_for_end(caches: &Caches, change: &Change<'_, SeenPod>) -> Option<Key> {
    let pod = match change {
        Change::Set { new, .. } if new.is_terminal() => new,
        Change::Removed { old, .. } => old,
        _ => return None,
    };
    let set = owner_key::<ReplicaSet>(&pod.key.namespace, pod.controller())?;
    let set = caches.of::<ReplicaSet>().get(&set)?;
    let key = owner_key::<Deployment>(set.namespace(), set.controller())?;
    let deployment = caches.of::<Deployment>().get(&key)?;
    decide::recreates(&deployment).then_some(key)
}
