//! Counts the pods that ended: into the status, out of their finalizers, into the sums.

use std::collections::HashSet;
use std::sync::Arc;

use corten_api::k8s_openapi::api::batch::v1::{JobStatus, UncountedTerminatedPods};

use super::end::End;
use super::failure_policy::Verdict;
use super::view::{View, count};
use crate::pods::{Phase, SeenPod};

/// As many uids as upstream keeps in a status: about 20 kB. The rest of the pods come next time.
pub const UNCOUNTED_MAX: usize = 500;

/// What a pod that is let go is counted as.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Succeeded,
    Failed,
    /// Its index is all that counts.
    Index,
}

/// Brings the counts of the status up to date. Returns the pods whose finalizers may go once it is written.
pub(super) fn track(view: &View<'_>, status: &mut JobStatus, end: Option<&End>) -> Vec<Arc<SeenPod>> {
    settle(view, status);
    let (mut untrack, mut indexes) = (Vec::new(), 0);
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let succeeded = uncounted.succeeded.get_or_insert_default();
    let failed = uncounted.failed.get_or_insert_default();
    for pod in view.pods.iter().filter(|pod| pod.is_tracked() && may_go(view, pod, end)) {
        untrack.push(Arc::clone(pod));
        match outcome(view, pod, end) {
            Some(Outcome::Succeeded) => succeeded.push(pod.uid.clone()),
            Some(Outcome::Failed) => failed.push(pod.uid.clone()),
            Some(Outcome::Index) => indexes += 1,
            None => {}
        }
        if succeeded.len() + failed.len() + indexes >= UNCOUNTED_MAX {
            break;
        }
    }
    if let Some(indexing) = &view.indexing {
        status.completed_indexes = Some(indexing.completed.to_string());
        status.succeeded = Some(indexing.completed.total());
        status.failed_indexes = indexing.failed.as_ref().map(ToString::to_string);
    }
    status.active = Some(count(view.active.len()));
    (status.ready, status.terminating) = (Some(view.ready), Some(view.terminating));
    untrack
}

/// Counts for good those whose finalizers are gone.
fn settle(view: &View<'_>, status: &mut JobStatus) {
    let held: HashSet<&str> = view.pods.iter().filter(|pod| pod.is_tracked()).map(|pod| pod.uid.as_str()).collect();
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let settle = |list: &mut Option<Vec<String>>, sum: &mut Option<i32>| {
        let list = list.get_or_insert_default();
        let before = list.len();
        list.retain(|uid| held.contains(uid.as_str()));
        *sum = Some(sum.unwrap_or(0) + count(before - list.len()));
    };
    settle(&mut uncounted.succeeded, &mut status.succeeded);
    settle(&mut uncounted.failed, &mut status.failed);
}

/// Whether nothing more is expected of a pod.
fn may_go(view: &View<'_>, pod: &Arc<SeenPod>, end: Option<&End>) -> bool {
    if end.is_some() || view.is_deleting() || pod.phase == Phase::Succeeded {
        return true;
    }
    let to_replace = || {
        let index = pod.completion_index()?;
        view.indexing.as_ref()?.to_replace.get(&index)
    };
    view.is_failed(pod) && to_replace().is_none_or(|last| last.uid != pod.uid)
}

/// `None`: it counts for nothing, or is counted already. Of a Job that fails all pods have failed that have not succeeded.
fn outcome(view: &View<'_>, pod: &SeenPod, end: Option<&End>) -> Option<Outcome> {
    if view.uncounted.failed.contains(&pod.uid) || view.uncounted.succeeded.contains(&pod.uid) {
        return None;
    }
    if pod.phase == Phase::Succeeded {
        let Some(indexing) = &view.indexing else { return Some(Outcome::Succeeded) };
        let is_new = pod.completion_index().is_some_and(|index| !indexing.completed_before.has(index));
        return (is_new && view.has_right_index(pod)).then_some(Outcome::Index);
    }
    let fails = view.is_failed(pod) || end.is_some_and(|end| end.fails);
    (fails && view.has_right_index(pod) && view.verdict(pod) != Verdict::Ignore).then_some(Outcome::Failed)
}

/// Whether one need not be written over the other.
pub(super) fn says_the_same(one: &JobStatus, other: &JobStatus) -> bool {
    // That no index has failed is said by an empty text or by none.
    let read = |status: &JobStatus| {
        let failed_indexes = status.failed_indexes.clone().filter(|text| !text.is_empty());
        tidy(JobStatus { failed_indexes, ..status.clone() })
    };
    read(one) == read(other)
}

/// A status as the apiserver keeps it: what says nothing is not there.
pub(super) fn tidy(mut status: JobStatus) -> JobStatus {
    for sum in [&mut status.active, &mut status.succeeded, &mut status.failed] {
        *sum = sum.filter(|n| *n != 0);
    }
    status.ready.get_or_insert(0);
    status.terminating.get_or_insert(0);
    let UncountedTerminatedPods { succeeded, failed } = status.uncounted_terminated_pods.unwrap_or_default();
    let some = |uids: Option<Vec<String>>| uids.filter(|uids| !uids.is_empty());
    let uncounted = UncountedTerminatedPods { succeeded: some(succeeded), failed: some(failed) };
    status.uncounted_terminated_pods = Some(uncounted);
    status.completed_indexes = status.completed_indexes.filter(|text| !text.is_empty());
    status.conditions = status.conditions.filter(|list| !list.is_empty());
    status
}
