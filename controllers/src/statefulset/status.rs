//! What a StatefulSet reports, and what its update strategy comes to.

use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetStatus};
use corten_api::rollout::{Round, scaled};
use jiff::Timestamp;

use super::identity;
use crate::history;
use crate::pods::SeenPod;

/// Whether pods are replaced without being asked to.
pub fn is_rolling(set: &StatefulSet) -> bool {
    let strategy = set.spec.update_strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
}

fn rolling(set: &StatefulSet) -> Option<&RollingUpdateStatefulSetStrategy> {
    set.spec.update_strategy.as_ref()?.rolling_update.as_ref()
}

/// The first ordinal that gets the new revision.
pub fn first_to_update(set: &StatefulSet) -> i32 {
    let partition = rolling(set).and_then(|rolling| rolling.partition).unwrap_or(0);
    identity::start(set).saturating_add(partition)
}

/// How many pods may be unavailable while pods are replaced: one, where nothing is said or a percentage comes to none.
pub fn max_unavailable(set: &StatefulSet) -> usize {
    let replicas = set.spec.replicas.unwrap_or(1);
    let max = rolling(set).and_then(|rolling| scaled(rolling.max_unavailable.as_ref()?, replicas, Round::Down));
    max.and_then(|max| usize::try_from(max).ok()).unwrap_or(1).max(1)
}

/// The status as it should be, if it is not. `revisions`: names of the one before and of the new one.
pub fn changed(
    set: &StatefulSet,
    pods: &[Arc<SeenPod>],
    revisions: (&str, &str),
    now: Timestamp,
) -> Option<Box<StatefulSetStatus>> {
    let status = status(set, pods, revisions, now);
    (set.status.as_ref() != Some(&status)).then(|| Box::new(status))
}

fn status(
    set: &StatefulSet,
    pods: &[Arc<SeenPod>],
    (current, update): (&str, &str),
    now: Timestamp,
) -> StatefulSetStatus {
    let count =
        |of: &dyn Fn(&SeenPod) -> bool| i32::try_from(pods.iter().filter(|pod| of(pod)).count()).unwrap_or(i32::MAX);
    let min_ready_secs = set.spec.min_ready_seconds.unwrap_or(0);
    let of = |pod: &SeenPod, revision: &str| pod.deleting.is_none() && history::of_pod(&pod.labels) == revision;
    let (replicas, ready) = (count(&|_| true), count(&SeenPod::is_running_and_ready));
    let updated = count(&|pod| of(pod, update));
    let wanted = set.spec.replicas.unwrap_or(1);
    // All pods are of the new revision: it is the one before of whatever comes next.
    let complete = is_rolling(set) && [updated, ready, replicas].iter().all(|count| *count == wanted);
    let current = if complete { update } else { current };
    let old = set.status.as_ref();
    // Zeros are left out as the apiserver leaves them out, or the status would differ for ever.
    let some = |count: i32| (count != 0).then_some(count);
    StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas,
        ready_replicas: some(ready),
        available_replicas: Some(count(&|pod| pod.is_running_and_ready() && pod.is_available(min_ready_secs, now))),
        current_replicas: some(count(&|pod| of(pod, current))),
        updated_replicas: some(updated),
        current_revision: Some(current.to_owned()),
        update_revision: Some(update.to_owned()),
        collision_count: Some(old.and_then(|old| old.collision_count).unwrap_or(0)),
        conditions: old.and_then(|old| old.conditions.clone()),
    }
}

/// The status with one collision more: the name of the new revision is another's.
pub fn collided(set: &StatefulSet) -> StatefulSetStatus {
    let mut status = set.status.clone().unwrap_or_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
    status.available_replicas.get_or_insert(0);
    status
}
