//! What a DaemonSet reports, and what its update strategy comes to.

use corten_api::k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use corten_api::rollout::{Round, scaled};

use super::rolling::Bounds;

/// Nodes, but for their availability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Should run a pod.
    pub desired: i32,
    /// Should run one, and do.
    pub current: i32,
    /// Should not run one, and do.
    pub misscheduled: i32,
    pub ready: i32,
    pub available: i32,
    pub updated: i32,
}

/// Whether pods are replaced without being asked to.
pub fn is_rolling(set: &DaemonSet) -> bool {
    let strategy = set.spec.update_strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
}

/// On how many of `desired` nodes an update goes on at once.
pub fn bounds(set: &DaemonSet, desired: usize) -> Bounds {
    if !is_rolling(set) {
        return Bounds::default();
    }
    let rolling = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.clone());
    let rolling = rolling.unwrap_or_default();
    let total = i32::try_from(desired).unwrap_or(i32::MAX);
    let count = |value: Option<_>| value.and_then(|value| scaled(&value, total, Round::Up)).unwrap_or(0);
    let (surge, unavailable) = (count(rolling.max_surge), count(rolling.max_unavailable));
    let [surge, unavailable] = [surge, unavailable].map(|count| usize::try_from(count).unwrap_or(0));
    // An update that may do neither would never end.
    let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
    Bounds { surge, unavailable }
}

/// The status as it should be, if it is not.
pub fn changed(set: &DaemonSet, counts: &Counts) -> Option<Box<DaemonSetStatus>> {
    // Zeros are left out as the apiserver leaves them out, or the status would differ for ever.
    let some = |count: i32| (count != 0).then_some(count);
    let old = set.status.as_ref();
    let status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        desired_number_scheduled: counts.desired,
        current_number_scheduled: counts.current,
        number_misscheduled: counts.misscheduled,
        number_ready: counts.ready,
        updated_number_scheduled: some(counts.updated),
        number_available: some(counts.available),
        number_unavailable: some(counts.desired - counts.available),
        collision_count: old.and_then(|old| old.collision_count),
        conditions: old.and_then(|old| old.conditions.clone()),
    };
    (old != Some(&status)).then(|| Box::new(status))
}

/// The status with one collision more: the name of the new revision is another's.
pub fn collided(set: &DaemonSet) -> DaemonSetStatus {
    let mut status = set.status.clone().unwrap_or_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
    status
}
