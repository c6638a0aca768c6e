//! Which pods a Job makes and which it deletes.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::backoff;
use super::failure_policy::Verdict;
use super::indexes::Indexes;
use super::spec;
use super::view::{Indexing, View, count};
use crate::pods::SeenPod;

/// The most pods one decision makes or deletes; the next event brings the rest.
pub const BURST_PODS: usize = 500;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Scale {
    #[default]
    Keep,
    Create(Vec<NewPod>),
    /// More than are wanted: they count for nothing, so their finalizers go first.
    DeleteSurplus(Vec<Arc<SeenPod>>),
    /// The Job ends: they are counted already.
    Stop(Vec<Arc<SeenPod>>),
}

/// What tells a Job's pods apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPod {
    pub index: Option<i32>,
    /// How many pods of its index failed before it.
    pub failures: i32,
    pub ignored_failures: i32,
}

impl View<'_> {
    /// One or the other: who deletes makes none, so that the next decision knows what is left. With it comes when to look
    /// again, if pods are to be made later.
    pub(super) fn scale(&self) -> (Scale, Option<Duration>) {
        let (active, wanted) = (count(self.active.len()), self.wanted());
        let mut surplus = self.surplus(usize::try_from(active - wanted).unwrap_or(0));
        if !surplus.is_empty() {
            surplus.truncate(BURST_PODS);
            return (Scale::DeleteSurplus(surplus), None);
        }
        let leaving = if spec::replaces_failed_only(self.spec) { self.terminating } else { 0 };
        let missing = usize::try_from(wanted - active - leaving).unwrap_or(0).min(BURST_PODS);
        if missing == 0 {
            return (Scale::Keep, None);
        }
        // With a limit of their own, indexes wait each for themselves.
        if self.spec.backoff_limit_per_index.is_none()
            && let Some(wait) = self.backoff.left(self.seen.now)
        {
            return (Scale::Keep, Some(wait));
        }
        match &self.indexing {
            Some(indexing) => self.create_indexed(indexing, missing),
            None => (Scale::Create(vec![NewPod::default(); missing]), None),
        }
    }

    /// The pods of a Job that ends. Those that are not counted yet wait until they are.
    pub(super) fn stop(&self, untrack: &[Arc<SeenPod>]) -> Scale {
        let is_counted = |pod: &Arc<SeenPod>| !pod.is_tracked() || untrack.iter().any(|other| Arc::ptr_eq(other, pod));
        let stopped = self.active.iter().copied().filter(|pod| is_counted(pod)).take(BURST_PODS);
        let stopped: Vec<_> = stopped.map(Arc::clone).collect();
        if stopped.is_empty() { Scale::Keep } else { Scale::Stop(stopped) }
    }

    fn wanted(&self) -> i32 {
        let parallelism = spec::parallelism(self.spec);
        match self.spec.completions {
            _ if self.is_suspended() => 0,
            Some(completions) => (completions - self.succeeded).clamp(0, parallelism.max(0)),
            // One has succeeded: the others may end as they are.
            None if self.succeeded > 0 => count(self.active.len()),
            None => parallelism,
        }
    }

    /// At least so many of the active pods, and all that can do nothing for an Indexed Job.
    fn surplus(&self, at_least: usize) -> Vec<Arc<SeenPod>> {
        let mut ranked: Vec<&Arc<SeenPod>> = self.active.clone();
        ranked.sort_by_cached_key(|pod| rank(pod));
        let (mut useless, mut useful) = (Vec::new(), ranked);
        if self.indexing.is_some() {
            // Of several with one index the last in the ranking stays.
            let mut taken = std::collections::HashSet::new();
            let is_useful: Vec<bool> = useful
                .iter()
                .rev()
                .map(|pod| self.has_right_index(pod) && taken.insert(pod.completion_index()))
                .collect();
            let mut is_useful = is_useful.into_iter().rev();
            (useful, useless) = useful.into_iter().partition(|_| is_useful.next() == Some(true));
        }
        let more = at_least.saturating_sub(useless.len());
        useless.into_iter().chain(useful.into_iter().take(more)).map(Arc::clone).collect()
    }

    fn create_indexed(&self, indexing: &Indexing<'_>, missing: usize) -> (Scale, Option<Duration>) {
        let at_work =
            |pods: &mut dyn Iterator<Item = &&Arc<SeenPod>>| Indexes::of(pods.filter_map(|p| p.completion_index()));
        let mut taken = indexing.completed.union(&at_work(&mut self.active.iter()));
        if spec::replaces_failed_only(self.spec) {
            let leaving = self.pods.iter().filter(|pod| pod.deleting.is_some() && !pod.is_terminal());
            taken = taken.union(&at_work(&mut leaving.into_iter()));
        }
        taken = indexing.failed.as_ref().map_or(taken.clone(), |failed| taken.union(failed));
        let (mut pods, mut wait) = (Vec::new(), None::<Duration>);
        for index in taken.first_missing(missing, indexing.completions) {
            let before = indexing.to_replace.get(&index);
            match before.and_then(|failed| backoff::left_of_index(failed, self.seen.now)) {
                Some(left) => wait = Some(wait.map_or(left, |wait| wait.min(left))),
                None => pods.push(self.new_pod(index, before.map(|pod| &***pod))),
            }
        }
        (if pods.is_empty() { Scale::Keep } else { Scale::Create(pods) }, wait)
    }

    /// It inherits the counts of the one that it replaces.
    fn new_pod(&self, index: i32, before: Option<&SeenPod>) -> NewPod {
        let Some((failed, of_job)) = before.and_then(|pod| Some((pod, pod.of_job.as_ref()?))) else {
            return NewPod { index: Some(index), ..NewPod::default() };
        };
        let ignored = i32::from(self.verdict(failed) == Verdict::Ignore);
        NewPod {
            index: Some(index),
            failures: of_job.index_failures.saturating_add(1 - ignored),
            ignored_failures: of_job.index_ignored_failures.saturating_add(ignored),
        }
    }
}

/// Smaller goes first: what is furthest from doing anything. Before all, pods that nobody would count.
fn rank(pod: &SeenPod) -> impl Ord {
    (
        pod.is_tracked(),
        pod.node.is_some(),
        pod.phase,
        pod.is_ready(),
        Reverse(pod.ready_since),
        Reverse(pod.restarts),
        Reverse(pod.created),
        pod.uid.clone(),
    )
}
