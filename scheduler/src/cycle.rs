//! One decision: a pod and the snapshot in; a placement, a nomination with its victims, or every node's refusal, out. Pure.

mod choose;
mod explain;
mod preemption;
mod search;
pub mod view;

use corten_api::Key;

use crate::framework::Cycle;
use crate::pod::PodInfo;
use crate::profile::{PluginBits, Profile};
use crate::snapshot::Snapshot;
use preemption::Attempt;
use search::{Only, Search};
use view::{View, Views};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Place {
        node: String,
    },
    /// No node will do now, but this one would without the victims: the pod waits until they are gone.
    Nominate {
        node: String,
        victims: Vec<PodRef>,
        /// Pods of lower priority that were nominated for the node; they no longer are.
        demoted: Vec<PodRef>,
        why: String,
        rejected_by: PluginBits,
    },
    /// No node will do. `why` is for the user; the plugins in `rejected_by` know what could change it.
    Refuse {
        why: String,
        rejected_by: PluginBits,
        /// It was nominated for a node, and that does not help it any more: it is no longer.
        denominate: bool,
        /// Whether it was found out if room could be made for it.
        tried_preemption: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRef {
    pub key: Key,
    pub uid: String,
}

/// Decides. `profile` goes with its number, by which `views` knows it. `tie` chooses between equally good nodes, and where the
/// search begins; give each decision another number.
pub fn decide(
    (number, profile): (usize, &Profile),
    snapshot: &mut Snapshot,
    views: &mut Views,
    pod: &PodInfo,
    tie: usize,
) -> Decision {
    let class = &pod.class;
    if !class.unserved.is_empty() {
        let why = format!("0/{} nodes are available: {}.", snapshot.len(), class.unserved.join(", "));
        // Nothing in the cluster can change it, only its owner can.
        return refusal(why, PluginBits::default());
    }
    snapshot.put_in_order();
    profile.plugins.iter().for_each(|enabled| enabled.plugin.prepare(snapshot, class));
    let snapshot = &*snapshot;
    let only = Only::of(profile, snapshot, class);
    let narrow = only.as_ref().map(|only| View::of(profile, snapshot, class, &only.nodes));
    let view = match &narrow {
        Some(view) => view,
        None => views.refreshed(number, profile, snapshot, class),
    };
    let cycle = Cycle { snapshot, class, inclusion: view.inclusion() };
    if let Some(refused) = refused_everywhere(profile, &cycle) {
        return refused;
    }
    let search = Search::new(profile, cycle, view, only, &pod.key);
    if let Some(node) = search.nominated_node().or_else(|| choose::best(&search, tie)) {
        return Decision::Place { node: node.name().into() };
    }
    refuse(&search, pod, tie)
}

/// Without a look for victims.
fn refusal(why: String, rejected_by: PluginBits) -> Decision {
    Decision::Refuse { why, rejected_by, denominate: false, tried_preemption: false }
}

/// What keeps the pod from every node, whatever the node.
fn refused_everywhere(profile: &Profile, cycle: &Cycle<'_>) -> Option<Decision> {
    let filtering = profile.plugins.iter().enumerate().filter(|(_, enabled)| enabled.filters);
    let refused: Vec<(usize, String)> =
        filtering.filter_map(|(at, enabled)| Some((at, enabled.plugin.pre_filter(cycle).err()?))).collect();
    if refused.is_empty() {
        return None;
    }
    let reasons: Vec<&str> = refused.iter().map(|(_, why)| why.as_str()).collect();
    let why = format!("0/{} nodes are available: {}.", cycle.snapshot.len(), reasons.join(", "));
    let rejected_by = refused.iter().map(|(at, _)| *at).collect();
    Some(refusal(why, rejected_by))
}

/// No node will do: says so, and makes room if that can be.
fn refuse(search: &Search<'_>, pod: &PodInfo, tie: usize) -> Decision {
    let nodes = search.cycle.snapshot.len();
    let refused = search.refused();
    let (mut why, rejected_by) = (refused.tally.message(nodes), refused.plugins);
    if nodes == 0 {
        return refusal(why, search.all_plugins());
    }
    let Some(settings) = &search.profile.preemption else {
        return refusal(why, rejected_by);
    };
    match preemption::attempt(search, settings, &refused, tie) {
        Attempt::Nominate { node, victims } => {
            let lower =
                search.cycle.snapshot.nominations.of_node(&node).filter(|(_, n)| n.class.priority < pod.class.priority);
            let demoted = lower.map(|(key, n)| PodRef { key: key.clone(), uid: n.uid.clone() }).collect();
            Decision::Nominate { node, victims, demoted, why, rejected_by }
        }
        Attempt::NotEligible(text) => {
            why = format!("{why} preemption: {text}");
            Decision::Refuse { why, rejected_by, denominate: false, tried_preemption: true }
        }
        Attempt::NotHelpful(refusals) => {
            why = format!("{why} preemption: {}", refusals.message(nodes));
            // Our own nominations are known before the cluster shows them.
            let denominate = search.nominated_for().is_some() || pod.nominated().is_some();
            Decision::Refuse { why, rejected_by, denominate, tried_preemption: true }
        }
    }
}

#[cfg(test)]
mod tests;
