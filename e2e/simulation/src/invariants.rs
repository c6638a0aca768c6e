//! What no step may do. Each function is shown the cluster after a step, and the step; programs may act on what was true within
//! [`STALE_MAX`](crate::cluster::STALE_MAX), so bounds are those of all versions of that time.

mod jobs;
mod nodes;
mod owners;
mod terms;
#[cfg(test)]
mod tests;
mod workloads;

use crate::cluster::{Cluster, Step};
pub use workloads::COUNT_ANNOTATION;

/// A name, and what says why a step breaks it.
pub type Invariant = (&'static str, fn(&Cluster, &Step) -> Option<String>);

pub const INVARIANTS: &[Invariant] = &[
    ("no more replicas than wanted", workloads::no_more_replicas),
    ("no ReplicaSet twice", workloads::no_set_twice),
    ("never above surge", workloads::never_above_surge),
    ("never below the available minimum because of us", workloads::never_below_minimum),
    ("ordinals within the set", workloads::ordinals),
    ("what users write is not taken back", workloads::no_lost_update),
    ("Jobs count exactly", jobs::exact),
    ("no ended pod goes uncounted", jobs::none_uncounted),
    ("budgets are not broken by evictions", workloads::budgets),
    ("quotas are exact and never overshot", nodes::quotas),
    ("nodes are not overcommitted", nodes::not_overcommitted),
    ("a placed pod stays where it is", nodes::placed_once),
    ("no dependent goes while its owner is there", owners::none_without_cause),
    ("what is orphaned stays", owners::orphans_stay),
    ("finalizers are waited for", owners::finalizers),
    ("uids, generations and creation do not change", owners::identity),
    ("who leads no more writes no more", terms::only_leaders_write),
    ("leases pass on as they must", terms::leases),
];

/// The first that the step breaks, and why.
pub fn broken(cluster: &Cluster, step: &Step) -> Option<(&'static str, String)> {
    INVARIANTS.iter().find_map(|(name, check)| Some((*name, check(cluster, step)?)))
}
