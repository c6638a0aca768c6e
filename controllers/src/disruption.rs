//! PodDisruptionBudgets: how many of a workload's pods evictions may take now; and pods that were to be disrupted and were not.

pub mod decide;
pub mod expected;
pub mod scales;
pub mod stale;

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use corten_api::k8s_openapi::api::core::v1::{Pod, ReplicationController};
use corten_api::k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use corten_api::selector::Selector;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, Next, Patch};
use jiff::Timestamp;
use tracing::info;

use crate::caches::{Selects, Shared, selected_by, selecting};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use crate::pods::SeenPod;
use decide::{Observed, decide};
use scales::{HasScale, Scales};

/// Of how many pods of a budget it is looked at whether others guard them, too.
const SHARED_LOOKED_AT_MAX: usize = 10;

impl Selects for PodDisruptionBudget {
    fn selects_by(&self) -> Option<Selector> {
        // A selector that cannot be read selects nothing.
        Selector::from_label_selector(self.spec.as_ref()?.selector.as_ref()).ok()
    }
}

/// Keeps the status of every budget.
pub fn controller(setup: &Setup) -> Loop {
    let caches = &setup.caches;
    let (budgets, scales) = (caches.of::<PodDisruptionBudget>(), Scales::new(setup));
    let guarding = maps::selectors::<PodDisruptionBudget, SeenPod>(&budgets);
    Controller::new(setup)
        .reconciles(&budgets)
        .watches(&caches.of::<SeenPod>(), move |change| if counts(change) { guarding(change) } else { Vec::new() })
        .watches(&caches.of::<ReplicaSet>(), scaled(&budgets))
        .watches(&caches.of::<Deployment>(), scaled(&budgets))
        .watches(&caches.of::<StatefulSet>(), scaled(&budgets))
        .watches(&caches.of::<ReplicationController>(), scaled(&budgets))
        .run(move |context, key| {
            let scales = scales.clone();
            async move { sync(&context, &scales, &key).await }
        })
}

/// Takes back what pods say of a disruption that does not come. Its items are pods.
pub fn stale_pods(setup: &Setup) -> Loop {
    Controller::new(setup)
        .workers(1)
        .watches(&setup.caches.of::<SeenPod>(), |change| match change {
            Change::Set { key, new, .. } if new.disruption_target_since.is_some() => Some((*key).clone()),
            _ => None,
        })
        .run(|context, key| async move { take_back(&context, &key).await })
}

/// Whether a budget may count the pod in another way now.
fn counts(change: &Change<'_, SeenPod>) -> bool {
    let Change::Set { old: Some(old), new, .. } = change else { return true };
    let seen =
        |pod: &SeenPod| (pod.deleting.is_some(), pod.is_ready(), pod.controller().map(|owner| owner.uid.clone()));
    old.uid != new.uid || old.labels != new.labels || seen(old) != seen(new)
}

/// The budgets of the pods that an object has replicas of, when it comes, goes, or has another number of them.
fn scaled<K: HasScale>(
    budgets: &Shared<PodDisruptionBudget>,
) -> impl Fn(&Change<'_, K>) -> Vec<Key> + Send + Sync + use<K> {
    let budgets = budgets.clone();
    move |change| {
        let object = match change {
            Change::Set { old: Some(old), new, .. }
                if old.replicas() == new.replicas() && old.controller() == new.controller() =>
            {
                return Vec::new();
            }
            Change::Set { new, .. } => new,
            Change::Removed { old, .. } => old,
            Change::Synced => return Vec::new(),
        };
        let Some(labels) = object.pod_labels() else { return Vec::new() };
        selecting(&budgets, object.namespace(), labels).iter().map(|budget| budget.key()).collect()
    }
}

async fn sync(context: &Context, scales: &Scales, key: &Key) -> Result<Next, ApiError> {
    let Some(budget) = context.caches.of::<PodDisruptionBudget>().get(key) else { return Ok(Next::Done) };
    let pods = match selected_by(&context.caches.of::<PodDisruptionBudget>(), key) {
        Some(selector) => Ok(context.caches.of::<SeenPod>().selected(&key.namespace, &selector)),
        // It selects nothing, or in a way that cannot be read.
        None => Selector::from_label_selector(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()))
            .map(|_| Vec::new()),
    };
    let controllers = match &pods {
        Ok(pods) if expected::counts_scales(&budget) => scales.of_all(&context.client, pods).await,
        _ => BTreeMap::new(),
    };
    let shared = pods.as_ref().map(|pods| shared(context, pods)).unwrap_or_default();
    let pods = pods.as_deref();
    let seen = Observed { now: Timestamp::now(), budget: &budget, pods, controllers: &controllers, shared: &shared };
    let decision = decide(&seen);
    for said in decision.events {
        context.recorder.event(&said.about, said.kind, said.reason, said.message);
    }
    if let Some(status) = decision.status {
        write(context, &budget, status).await?;
    }
    decision.failed.map_or(Ok(()), Err)?;
    Ok(decision.wake_after.map_or(Next::Done, Next::After))
}

/// The first of these pods that several budgets guard. Mostly they all have the same labels.
fn shared(context: &Context, pods: &[Arc<SeenPod>]) -> Vec<(Arc<SeenPod>, Vec<String>)> {
    let budgets = context.caches.of::<PodDisruptionBudget>();
    let of = |pod: &Arc<SeenPod>| {
        let guards = selecting(&budgets, &pod.key.namespace, &pod.labels);
        let names: Vec<String> = guards.iter().map(|budget| budget.name().to_owned()).collect();
        (names.len() > 1).then(|| (Arc::clone(pod), names))
    };
    pods.iter().take(SHARED_LOOKED_AT_MAX).filter_map(of).collect()
}

/// Only if the budget is as it was seen: an eviction that was allowed meanwhile has taken from what is allowed, and is not
/// in what was counted.
async fn write(
    context: &Context,
    budget: &Arc<PodDisruptionBudget>,
    status: PodDisruptionBudgetStatus,
) -> Result<(), ApiError> {
    let changed = PodDisruptionBudget { status: Some(status), ..PodDisruptionBudget::clone(budget) };
    match context.client.update_status(&changed).await {
        Ok(written) => context.caught_up(&context.caches.of::<PodDisruptionBudget>(), written.revision()).await,
        Err(err) if err.is(Reason::NotFound) => {}
        Err(err) => return Err(err),
    }
    Ok(())
}

async fn take_back(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let cache = context.caches.of::<SeenPod>();
    let wait = cache.get(key).and_then(|pod| stale::stale_in(&pod, Timestamp::now()));
    match wait {
        None => return Ok(Next::Done),
        Some(wait) if !wait.is_zero() => return Ok(Next::After(wait)),
        Some(_) => {}
    }
    // As it is, not as it was: somebody may have begun to disrupt it since.
    let pod = match context.client.get::<Pod>(key).await {
        Ok(pod) => pod,
        Err(err) if err.is(Reason::NotFound) => return Ok(Next::Done),
        Err(err) => return Err(err),
    };
    let now = Timestamp::now();
    match stale::stale_in(&SeenPod::of(pod.clone()), now) {
        None => return Ok(Next::Done),
        Some(wait) if !wait.is_zero() => return Ok(Next::After(wait)),
        Some(_) => {}
    }
    match context.client.patch::<Pod>(key, "status", Patch::Strategic(stale::no_longer(&pod, now))).await {
        Ok(written) => {
            info!(pod = %key, "was to be disrupted and was not: its condition says so no more");
            context.caught_up(&cache, written.revision()).await;
        }
        Err(err) if err.is(Reason::NotFound) => {}
        Err(err) => return Err(err),
    }
    Ok(Next::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_budget_counts_asks_for_a_look() {
        let key = Key::new("shop", "p");
        let ready = || SeenPod { uid: "u".into(), ready_since: Some(Timestamp::UNIX_EPOCH), ..SeenPod::default() };
        let cases = [
            (
                "nothing that counts",
                SeenPod { revision: 9, ips: vec!["10.0.0.1".into()], restarts: 3, ..ready() },
                false,
            ),
            ("since when it is ready", SeenPod { ready_since: Some(Timestamp::MAX), ..ready() }, false),
            ("it is not ready any more", SeenPod { ready_since: None, ..ready() }, true),
            ("it goes", SeenPod { deleting: Some(Timestamp::UNIX_EPOCH), ..ready() }, true),
            ("other budgets guard it", SeenPod { labels: [("a".into(), "b".into())].into(), ..ready() }, true),
            ("another of its name", SeenPod { uid: "v".into(), ..ready() }, true),
        ];
        let old = Arc::new(ready());
        for (why, new, expected) in cases {
            let new = Arc::new(new);
            assert_eq!(counts(&Change::Set { key: &key, old: Some(&old), new: &new }), expected, "{why}");
        }
        assert!(counts(&Change::Set { key: &key, old: None, new: &old }), "it came");
        assert!(counts(&Change::Removed { key: &key, old: &old }), "it is gone");
    }
}
