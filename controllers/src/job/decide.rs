//! What becomes of a Job: how it ends, what its status says, which pods are let go, made or deleted.
//!
//! A pod that ended is counted in three steps, so that whoever is stopped between two of them counts none twice and forgets
//! none: its uid is written to `status.uncountedTerminatedPods`; then its finalizer is taken away; then, where no pod with a
//! finalizer has that uid, the uid becomes one more in `succeeded` or `failed`.

use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::batch::v1::{Job, JobStatus};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use jiff::{SignedDuration, Timestamp};

use super::backoff::Backoff;
use super::conditions;
use super::end::End;
use super::scale::Scale;
use super::track;
use super::view::View;
use crate::pods::SeenPod;

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub now: Timestamp,
    pub job: &'a Job,
    /// The pods that it owns, as new as the last of them that was made, deleted or let go.
    pub pods: &'a [Arc<SeenPod>],
    pub backoff: Backoff,
}

/// Done in the order of the fields: each rests on what was written before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What to write, if it says anything new.
    pub status: Option<JobStatus>,
    /// What this status says that it did not before, for events.
    pub news: Vec<News>,
    /// These are in the status, or are not to be counted: their finalizers can go.
    pub untrack: Vec<Arc<SeenPod>>,
    pub scale: Scale,
    pub backoff: Backoff,
    /// When to look again though nothing has changed.
    pub wake_after: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Suspended,
    Resumed,
    Completed { too_many: bool },
    Failed { reason: String, message: String },
}

/// For a Job that has not finished.
pub fn decide(seen: &Observed<'_>) -> Decision {
    let Some(view) = View::of(seen) else { return Decision::default() };
    let mut status = view.status.clone();
    let mut news = Vec::new();
    if status.start_time.is_none() && !view.is_suspended() {
        status.start_time = Some(Time(seen.now));
    }
    let end = End::of(&view, &status);
    let untrack = track::track(&view, &mut status, end.as_ref());
    let (scale, wait) = match &end {
        Some(end) => {
            news.extend(end.tell(&view, &mut status));
            (view.stop(&untrack), None)
        }
        None if view.is_deleting() => (Scale::Keep, None),
        None => {
            news.extend(suspend(&view, &mut status));
            view.scale()
        }
    };
    let deadline = if end.is_none() { deadline_in(&view, &status) } else { None };
    let status = track::tidy(status);
    Decision {
        status: (!track::says_the_same(&view.status, &status)).then_some(status),
        news,
        untrack,
        scale,
        backoff: view.backoff,
        wake_after: wait.into_iter().chain(deadline).min(),
    }
}

/// The Suspended condition. Who goes on after a pause has all its time again: the start is forgotten meanwhile, as that of a
/// Job that runs may not be changed.
fn suspend(view: &View<'_>, status: &mut JobStatus) -> Option<News> {
    let now = view.seen.now;
    let list = status.conditions.get_or_insert_default();
    if view.is_suspended() {
        status.start_time = None;
        let suspended = conditions::new(conditions::SUSPENDED, "True", "JobSuspended", "Job suspended", now);
        return conditions::ensure(list, suspended).then_some(News::Suspended);
    }
    let resumed = conditions::new(conditions::SUSPENDED, "False", "JobResumed", "Job resumed", now);
    conditions::ensure(list, resumed).then_some(News::Resumed)
}

/// How long until its activeDeadlineSeconds are over.
pub(super) fn deadline_in(view: &View<'_>, status: &JobStatus) -> Option<Duration> {
    let (secs, start) = (view.spec.active_deadline_seconds?, status.start_time.as_ref()?.0);
    let end = start.checked_add(SignedDuration::from_secs(secs)).unwrap_or(Timestamp::MAX);
    let left = end.duration_since(view.seen.now).max(SignedDuration::ZERO);
    Duration::try_from(left).ok().filter(|_| !view.is_suspended())
}

#[cfg(test)]
mod tests;
