//! How many pods a ReplicaSet or ReplicationController makes or deletes, which, and what it reports.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::pods::{Labels, SeenPod};

/// The most pods one decision creates or deletes; the next watch event brings the rest.
pub const BURST_PODS: usize = 500;

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub now: Timestamp,
    pub wanted: i32,
    pub generation: i64,
    pub deleting: bool,
    pub min_ready_secs: i32,
    pub template_labels: &'a Labels,
    /// The pods that it owns, ended and terminating ones among them.
    pub pods: &'a [Arc<SeenPod>],
    /// Active pods by node, of all sets with the same owner: where they double up, one goes first.
    pub neighbours: &'a BTreeMap<String, usize>,
}

/// What is reported, but for the conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub replicas: i32,
    pub fully_labeled: i32,
    pub ready: i32,
    pub available: i32,
    pub terminating: i32,
    pub observed_generation: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    Keep,
    Create(usize),
    Delete(Vec<Arc<SeenPod>>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub scale: Scale,
    pub counts: Counts,
    /// When a ready pod becomes available without any event to say so.
    pub wake_after: Option<Duration>,
}

pub fn decide(seen: &Observed<'_>) -> Decision {
    let active: Vec<&Arc<SeenPod>> = seen.pods.iter().filter(|p| p.is_active()).collect();
    Decision { scale: scale(seen, &active), counts: counts(seen, &active), wake_after: wake_after(seen, &active) }
}

fn scale(seen: &Observed<'_>, active: &[&Arc<SeenPod>]) -> Scale {
    let wanted = usize::try_from(seen.wanted).unwrap_or(0);
    if seen.deleting || active.len() == wanted {
        Scale::Keep
    } else if active.len() < wanted {
        Scale::Create((wanted - active.len()).min(BURST_PODS))
    } else {
        let surplus = (active.len() - wanted).min(BURST_PODS);
        Scale::Delete(first_to_go(seen, active, surplus))
    }
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset>
fn first_to_go(seen: &Observed<'_>, active: &[&Arc<SeenPod>], count: usize) -> Vec<Arc<SeenPod>> {
    let mut ranked: Vec<Arc<SeenPod>> = active.iter().map(|p| Arc::clone(p)).collect();
    ranked.sort_by_cached_key(|pod| rank(seen, pod));
    ranked.truncate(count);
    ranked
}

/// Smaller goes first.
type Rank = (bool, crate::pods::Phase, bool, i32, Reverse<usize>, Age, Reverse<i32>, Age, String);

fn rank(seen: &Observed<'_>, pod: &SeenPod) -> Rank {
    let neighbours = pod.node.as_ref().and_then(|n| seen.neighbours.get(n)).copied().unwrap_or(0);
    (
        pod.node.is_some(),
        pod.phase,
        pod.is_ready(),
        pod.deletion_cost,
        Reverse(neighbours),
        age(pod.ready_since, seen.now),
        Reverse(pod.restarts),
        age(pod.created, seen.now),
        pod.uid.clone(),
    )
}

/// The power of two that an age in seconds is in: pods of about one age go in no order that a user could come to
/// rely on, so that a scale-down does not empty the newest zone.
type Age = u32;

fn age(since: Option<Timestamp>, now: Timestamp) -> Age {
    let secs = since.map_or(0, |since| now.as_second().saturating_sub(since.as_second()));
    u64::try_from(secs).unwrap_or(0).checked_ilog2().map_or(0, |log| log + 1)
}

fn counts(seen: &Observed<'_>, active: &[&Arc<SeenPod>]) -> Counts {
    let count =
        |keep: &dyn Fn(&SeenPod) -> bool| i32::try_from(active.iter().filter(|p| keep(p)).count()).unwrap_or(i32::MAX);
    let terminating = seen.pods.iter().filter(|p| p.deleting.is_some() && !p.is_terminal()).count();
    Counts {
        replicas: count(&|_| true),
        fully_labeled: count(&|p| seen.template_labels.iter().all(|(k, v)| p.labels.get(k) == Some(v))),
        ready: count(&SeenPod::is_ready),
        available: count(&|p| p.is_available(seen.min_ready_secs, seen.now)),
        terminating: i32::try_from(terminating).unwrap_or(i32::MAX),
        observed_generation: seen.generation,
    }
}

fn wake_after(seen: &Observed<'_>, active: &[&Arc<SeenPod>]) -> Option<Duration> {
    let due = active.iter().filter_map(|p| p.available_at(seen.min_ready_secs)).filter(|at| *at > seen.now).min()?;
    Duration::try_from(due.duration_since(seen.now)).ok()
}

/// How many to create at once, batch by batch: few at first, so that a quota or a bad template costs few refusals.
pub fn batches(total: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let (mut left, mut size) = (total, 1);
    while left > 0 {
        let now = size.min(left);
        sizes.push(now);
        left -= now;
        size *= 2;
    }
    sizes
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
