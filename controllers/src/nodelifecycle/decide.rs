//! What a node's silence, conditions and flags mean for its conditions, its taints and its pods.
//!
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>

use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::node::{self, NOT_READY_TAINT, UNREACHABLE_TAINT, UNSCHEDULABLE_TAINT, taints};
use corten_api::{Object, conditions};
use jiff::{SignedDuration, Timestamp};

/// A node that has not been heard of for this long is lost.
pub const GRACE: SignedDuration = SignedDuration::from_secs(50);
/// One that has never been heard of has this long to come up.
pub const STARTUP_GRACE: SignedDuration = SignedDuration::from_secs(60);
const READY: &str = "Ready";
/// Conditions that only the kubelet knows; without it they are Unknown.
const REPORTED: &[&str] = &[READY, "MemoryPressure", "DiskPressure", "PIDPressure"];
/// Taints that keep pods away while a condition is True.
const PRESSURES: &[(&str, &str)] = &[
    ("MemoryPressure", node::MEMORY_PRESSURE_TAINT),
    ("DiskPressure", node::DISK_PRESSURE_TAINT),
    ("PIDPressure", node::PID_PRESSURE_TAINT),
    ("NetworkUnavailable", node::NETWORK_UNAVAILABLE_TAINT),
];
const NO_SCHEDULE: &str = "NoSchedule";
pub(super) const NO_EXECUTE: &str = "NoExecute";

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub now: Timestamp,
    pub node: &'a Node,
    /// When we last saw its Lease or its status change, by our own clock: nodes' clocks may be wrong.
    pub heard: Timestamp,
    /// Nothing was heard since the machine was looked at, and it did not answer: it is lost before its grace is over.
    pub is_silent: bool,
    /// From when on a lost node's pods may be evicted; `None`: not now (see [`super::zones`]).
    pub evict_from: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The conditions to be written, if any.
    pub conditions: Option<Vec<NodeCondition>>,
    /// All of the node's taints, if they have to be written.
    pub taints: Option<Vec<Taint>>,
    /// The node is newly tainted so that pods leave.
    pub begins_eviction: bool,
    pub wake_after: Option<Duration>,
}

pub fn decide(seen: &Observed<'_>) -> Decision {
    if seen.node.is_deleting() {
        return Decision::default();
    }
    let before = seen.node.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let lost_at = seen.heard.saturating_add(if before.is_empty() { STARTUP_GRACE } else { GRACE });
    let lost_at = lost_at.unwrap_or(Timestamp::MAX);
    let is_lost = seen.is_silent || lost_at <= seen.now;
    let after = if is_lost { unknown(seen, &before) } else { before.clone() };
    let (wanted, postponed) = wanted_taints(seen, &after);
    let had = taints(seen.node);
    let leaves = |list: &[Taint]| list.iter().any(is_eviction);
    let wake_at = [(!is_lost).then_some(lost_at), postponed].into_iter().flatten().min();
    Decision {
        begins_eviction: leaves(&wanted) && !leaves(had),
        conditions: (after != before).then_some(after),
        taints: (!same(&wanted, had)).then_some(wanted),
        wake_after: wake_at.and_then(|at| Duration::try_from(at.duration_since(seen.now)).ok()),
    }
}

fn status<'a>(list: &'a [NodeCondition], kind: &str) -> Option<&'a str> {
    list.iter().find(|c| c.type_ == kind).map(|c| c.status.as_str())
}

/// The conditions of a node that is silent.
fn unknown(seen: &Observed<'_>, before: &[NodeCondition]) -> Vec<NodeCondition> {
    let mut list = before.to_vec();
    let now = Time(seen.now);
    for kind in REPORTED {
        let old = list.iter().find(|c| c.type_ == *kind).cloned();
        let (reason, message) = match &old {
            Some(old) if old.status == "Unknown" => continue,
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        let new = NodeCondition {
            type_: (*kind).into(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: old.map_or_else(|| seen.node.created().cloned(), |old| old.last_heartbeat_time),
            last_transition_time: None,
        };
        conditions::set(&mut list, new, &now);
    }
    list
}

/// The node's taints as they should be, and when to look again if a taint has to wait.
fn wanted_taints(seen: &Observed<'_>, list: &[NodeCondition]) -> (Vec<Taint>, Option<Timestamp>) {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    let mut postponed = None;
    // A node that is new and has said nothing yet is not ready either.
    let unready = match status(list, READY) {
        Some("True") => None,
        Some("Unknown") => Some(UNREACHABLE_TAINT),
        _ => Some(NOT_READY_TAINT),
    };
    if let Some(key) = unready {
        wanted.push((key, NO_SCHEDULE));
        let has_one = taints(seen.node).iter().any(is_eviction);
        match seen.evict_from {
            // A new node has no pods that could leave.
            _ if status(list, READY).is_none() => {}
            _ if has_one => wanted.push((key, NO_EXECUTE)),
            Some(from) if from <= seen.now => wanted.push((key, NO_EXECUTE)),
            later => postponed = later,
        }
    }
    let pressed = PRESSURES.iter().filter(|(kind, _)| status(list, kind) == Some("True"));
    wanted.extend(pressed.map(|(_, taint)| (*taint, NO_SCHEDULE)));
    if seen.node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE_TAINT, NO_SCHEDULE));
    }
    let had = taints(seen.node);
    let mut result: Vec<Taint> = had.iter().filter(|t| !is_ours(t)).cloned().collect();
    for taint in result.iter_mut().filter(|t| t.effect == NO_EXECUTE) {
        // tolerationSeconds count from somewhere, and it must be written down.
        taint.time_added.get_or_insert(Time(seen.now));
    }
    for (key, effect) in wanted {
        let kept = had.iter().find(|t| t.key == key && t.effect == effect).cloned();
        let time_added = Some(Time(seen.now));
        result.push(kept.unwrap_or(Taint { key: key.into(), effect: effect.into(), value: None, time_added }));
    }
    (result, postponed)
}

/// Taints that follow from what we see here; all others are their users'.
fn is_ours(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    let by_state = [NOT_READY_TAINT, UNREACHABLE_TAINT, UNSCHEDULABLE_TAINT].contains(&key);
    is_eviction(taint)
        || taint.effect == NO_SCHEDULE && (by_state || PRESSURES.iter().any(|(_, pressure)| *pressure == key))
}

pub(super) fn is_eviction(taint: &Taint) -> bool {
    taint.effect == NO_EXECUTE && (taint.key == NOT_READY_TAINT || taint.key == UNREACHABLE_TAINT)
}

/// The order of taints has no meaning.
fn same(a: &[Taint], b: &[Taint]) -> bool {
    a.len() == b.len() && a.iter().all(|t| b.contains(t))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
