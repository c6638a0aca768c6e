//! A Job and its pods, counted and sorted for decisions.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::batch::v1::{JobSpec, JobStatus};

use super::backoff::Backoff;
use super::decide::Observed;
use super::failure_policy::{self, Verdict};
use super::indexes::Indexes;
use super::spec;
use crate::pods::{Phase, SeenPod};

pub(super) struct View<'a> {
    pub seen: &'a Observed<'a>,
    pub spec: &'a JobSpec,
    /// As it is.
    pub status: JobStatus,
    /// In the order of their indexes.
    pub pods: Vec<&'a Arc<SeenPod>>,
    pub active: Vec<&'a Arc<SeenPod>>,
    /// On their way out, and still running.
    pub terminating: i32,
    pub ready: i32,
    /// Uids of pods that the status names as ended, but does not count yet.
    pub uncounted: Uncounted,
    pub indexing: Option<Indexing<'a>>,
    /// With those that the status does not know of yet.
    pub succeeded: i32,
    pub failed: i32,
    pub backoff: Backoff,
}

/// Of a status.
#[derive(Clone, Debug, Default)]
pub(super) struct Uncounted {
    pub succeeded: HashSet<String>,
    pub failed: HashSet<String>,
}

/// The indexes of an Indexed Job.
pub(super) struct Indexing<'a> {
    pub completions: i32,
    /// What the status says.
    pub completed_before: Indexes,
    pub completed: Indexes,
    /// With backoffLimitPerIndex only.
    pub failed: Option<Indexes>,
    /// The last failed pod of each index that is to be tried again. It stays until its successor, which inherits its counts,
    /// is made.
    pub to_replace: BTreeMap<i32, &'a Arc<SeenPod>>,
}

impl<'a> View<'a> {
    /// `None`: it asks for nothing.
    pub(super) fn of(seen: &'a Observed<'a>) -> Option<Self> {
        let spec = seen.job.spec.as_ref()?;
        let status = seen.job.status.clone().unwrap_or_default();
        let mut pods: Vec<_> = seen.pods.iter().collect();
        pods.sort_by_key(|pod| pod.completion_index());
        let active: Vec<_> = pods.iter().copied().filter(|pod| pod.is_active()).collect();
        let terminating = pods.iter().filter(|pod| pod.deleting.is_some() && !pod.is_terminal()).count();
        let mut view = Self {
            seen,
            spec,
            ready: count(active.iter().filter(|pod| pod.is_ready()).count()),
            terminating: count(terminating),
            uncounted: Uncounted::of(&status),
            indexing: None,
            succeeded: 0,
            failed: 0,
            backoff: seen.backoff,
            status,
            pods,
            active,
        };
        view.indexing = view.indexing();
        view.count();
        Some(view)
    }

    /// Ended pods that the status does not know of yet, and the sums with them.
    fn count(&mut self) {
        let is_new = |pod: &&SeenPod, known: &HashSet<String>| {
            pod.is_tracked() && !known.contains(&pod.uid) && self.has_right_index(pod)
        };
        let all = || self.pods.iter().map(|pod| &***pod);
        let succeeded = all().filter(|pod| pod.phase == Phase::Succeeded && is_new(pod, &self.uncounted.succeeded));
        let succeeded: Vec<&SeenPod> = succeeded.collect();
        let failed = all().filter(|pod| self.is_failed(pod) && is_new(pod, &self.uncounted.failed));
        let failed: Vec<&SeenPod> = failed.collect();
        let of_policy = failed.iter().filter(|pod| self.verdict(pod) != Verdict::Ignore).count();
        let succeeded_before = self.status.succeeded.unwrap_or(0) + count(self.uncounted.succeeded.len());
        let failed_before = self.status.failed.unwrap_or(0) + count(self.uncounted.failed.len());
        self.backoff = self.seen.backoff.after(&succeeded, &failed);
        self.failed = failed_before + count(of_policy);
        self.succeeded = match &self.indexing {
            Some(indexing) => indexing.completed.total(),
            None => succeeded_before + count(succeeded.len()),
        };
    }

    fn indexing(&self) -> Option<Indexing<'a>> {
        let completions = spec::indexed_completions(self.spec)?;
        let parse = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), completions);
        let tracked = || self.pods.iter().copied().filter(|pod| pod.is_tracked());
        let below = |pod: &&'a Arc<SeenPod>| pod.completion_index().filter(|index| *index < completions);
        let completed_before = parse(&self.status.completed_indexes);
        let new = tracked().filter(|pod| pod.phase == Phase::Succeeded);
        let completed = completed_before.union(&Indexes::of(new.filter_map(|pod| below(&pod))));
        let failed = self.spec.backoff_limit_per_index.map(|limit| {
            let new = tracked().filter(|pod| self.fails_index(pod, limit));
            parse(&self.status.failed_indexes).union(&Indexes::of(new.filter_map(|pod| below(&pod))))
        });
        let mut to_replace: BTreeMap<i32, &'a Arc<SeenPod>> = BTreeMap::new();
        if let Some(failed) = &failed {
            let active = Indexes::of(self.active.iter().filter_map(below));
            let settled = |index| completed.has(index) || failed.has(index) || active.has(index);
            for pod in tracked().filter(|pod| self.is_failed(pod)) {
                let Some(index) = below(&pod).filter(|index| !settled(*index)) else { continue };
                let last = to_replace.entry(index).or_insert(pod);
                if tries(last) <= tries(pod) && pod.finished() >= last.finished() {
                    *last = pod;
                }
            }
        }
        Some(Indexing { completions, completed_before, completed, failed, to_replace })
    }

    /// An index is given up once as many of its pods have failed as it may lose, and one more.
    fn fails_index(&self, pod: &SeenPod, limit: i32) -> bool {
        let failures = pod.of_job.as_ref().map_or(0, |of_job| of_job.index_failures);
        self.is_failed(pod)
            && match self.verdict(pod) {
                Verdict::FailIndex => true,
                Verdict::Ignore => false,
                Verdict::Count | Verdict::FailJob(_) => failures >= limit,
            }
    }

    pub(super) fn verdict(&self, pod: &SeenPod) -> Verdict {
        failure_policy::verdict(self.spec, pod)
    }

    /// A pod that is deleted may never come to say that it failed: it counts as failed unless its Job says otherwise.
    pub(super) fn is_failed(&self, pod: &SeenPod) -> bool {
        let is_lost = pod.deleting.is_some() && pod.phase != Phase::Succeeded;
        pod.phase == Phase::Failed || is_lost && !spec::replaces_failed_only(self.spec)
    }

    /// The pods of an Indexed Job count only with an index that is to be done.
    pub(super) fn has_right_index(&self, pod: &SeenPod) -> bool {
        match spec::indexed_completions(self.spec) {
            Some(completions) => pod.completion_index().is_some_and(|index| index < completions),
            None => true,
        }
    }

    pub(super) fn is_suspended(&self) -> bool {
        spec::is_suspended(self.spec)
    }
    pub(super) fn is_deleting(&self) -> bool {
        self.seen.job.is_deleting()
    }
}

impl Uncounted {
    fn of(status: &JobStatus) -> Self {
        let uncounted = status.uncounted_terminated_pods.as_ref();
        let set = |list: Option<&Vec<String>>| list.into_iter().flatten().cloned().collect();
        Self {
            succeeded: set(uncounted.and_then(|pods| pods.succeeded.as_ref())),
            failed: set(uncounted.and_then(|pods| pods.failed.as_ref())),
        }
    }
}

/// How many pods of its index failed before it.
fn tries(pod: &SeenPod) -> i32 {
    pod.of_job.as_ref().map_or(0, |of_job| of_job.index_failures.saturating_add(of_job.index_ignored_failures))
}

/// A number of pods as the API has it.
pub(super) fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}
