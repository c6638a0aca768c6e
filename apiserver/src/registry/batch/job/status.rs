//! What a status write may say of a Job. Others than our own controller may run Jobs (`managedBy`): whoever reads them can
//! still rely on how they end.
//!
//! A fault that was there before is not held against a write that does not touch it.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};

use super::{indexes, is_indexed, is_true};
use crate::registry::check;
use crate::registry::path::Path;

/// The conditions that say how a Job ends.
#[derive(Clone, Copy, PartialEq)]
struct End {
    complete: bool,
    failed: bool,
    failure_target: bool,
    success_criteria_met: bool,
}

impl End {
    fn of(status: &JobStatus) -> Self {
        let has = |type_| is_true(status.conditions.as_ref(), type_);
        Self {
            complete: has("Complete"),
            failed: has("Failed"),
            failure_target: has("FailureTarget"),
            success_criteria_met: has("SuccessCriteriaMet"),
        }
    }
    fn is_finished(self) -> bool {
        self.complete || self.failed
    }
}

/// A status as it should be, and as it is.
struct Change<'a> {
    spec: &'a JobSpec,
    new: &'a JobStatus,
    old: &'a JobStatus,
    end: End,
    was: End,
    /// Whether it became finished, or unfinished.
    ends: bool,
}

pub(super) fn validate(new: &Job, old: &Job, problems: &mut Problems) {
    let (no_spec, no_status) = (JobSpec::default(), JobStatus::default());
    let spec = new.spec.as_ref().unwrap_or(&no_spec);
    let (new, old) = (new.status.as_ref().unwrap_or(&no_status), old.status.as_ref().unwrap_or(&no_status));
    let (end, was) = (End::of(new), End::of(old));
    let change = Change { spec, new, old, end, was, ends: end.is_finished() != was.is_finished() };
    let at = Path::root("status");
    counts(&change, &at, problems);
    uncounted(&change, &at.field("uncountedTerminatedPods"), problems);
    conditions(&change, &at.field("conditions"), problems);
    times(&change, &at, problems);
    completed_indexes(&change, &at.field("completedIndexes"), problems);
    failed_indexes(&change, &at.field("failedIndexes"), problems);
}

fn counts(change: &Change<'_>, at: &Path<'_>, problems: &mut Problems) {
    let Change { spec, new, old, .. } = change;
    let counts = [
        ("active", new.active),
        ("succeeded", new.succeeded),
        ("failed", new.failed),
        ("ready", new.ready),
        ("terminating", new.terminating),
    ];
    for (field, count) in counts {
        check::not_negative(problems, &at.field(field), count);
    }
    let n = |count: Option<i32>| count.unwrap_or(0);
    let is_finished = change.end.is_finished();
    let active_changed = n(new.active) != n(old.active);
    if (change.ends || active_changed) && is_finished && n(new.active) > 0 {
        problems.invalid(at.field("active"), new.active, "active>0 is invalid for finished job");
    }
    if (change.ends || new.terminating != old.terminating) && is_finished && n(new.terminating) > 0 {
        problems.invalid(at.field("terminating"), new.terminating, "terminating>0 is invalid for finished job");
    }
    if (active_changed || new.ready != old.ready) && new.ready.is_some_and(|ready| ready > n(new.active)) {
        problems.invalid(at.field("ready"), new.ready, "cannot set more ready pods than active");
    }
    if n(new.failed) < n(old.failed) {
        problems.invalid(at.field("failed"), n(new.failed), "cannot decrease the failed counter");
    }
    // An indexed Job whose pods all run at once can be made smaller.
    let can_shrink = is_indexed(spec) && spec.completions == spec.parallelism;
    if n(new.succeeded) < n(old.succeeded) && !can_shrink {
        problems.invalid(at.field("succeeded"), n(new.succeeded), "cannot decrease the succeeded counter");
    }
}

/// Pods that have ended and are in no count yet: each once.
fn uncounted(change: &Change<'_>, at: &Path<'_>, problems: &mut Problems) {
    let Some(pods) = &change.new.uncounted_terminated_pods else { return };
    let mut seen = HashSet::new();
    for (field, uids) in [("succeeded", &pods.succeeded), ("failed", &pods.failed)] {
        let list = at.field(field);
        for (i, uid) in uids.iter().flatten().enumerate() {
            if uid.is_empty() {
                problems.invalid(list.index(i), uid, "must not be empty");
            } else if !seen.insert(uid) {
                problems.duplicate(list.index(i), uid);
            }
        }
    }
    let changed = change.new.uncounted_terminated_pods != change.old.uncounted_terminated_pods;
    let none = |uids: &Option<Vec<String>>| uids.as_ref().is_none_or(|uids| uids.is_empty());
    if (change.ends || changed) && change.end.is_finished() && !(none(&pods.succeeded) && none(&pods.failed)) {
        problems.invalid(at, pods, "must be empty for finished job");
    }
}

/// A rule of conditions: whether it is asked, whether it is broken, and what it says.
type Rule = (bool, bool, &'static str);

fn conditions(change: &Change<'_>, at: &Path<'_>, problems: &mut Problems) {
    let rules = ends(change).into_iter().chain(ways_back(change));
    for (_, _, why) in rules.filter(|(is_asked, is_broken, _)| *is_asked && *is_broken) {
        problems.invalid_unshown(at, why);
    }
}

/// A Job ends in one way, and says beforehand in which.
fn ends(change: &Change<'_>) -> [Rule; 7] {
    let Change { spec, end, was, .. } = change;
    let completes = end.complete != was.complete;
    let fails = end.failed != was.failed;
    let is_met = end.success_criteria_met;
    [
        (completes || fails, end.complete && end.failed, "cannot set Complete=True and Failed=true conditions"),
        (
            completes || end.failure_target != was.failure_target,
            end.complete && end.failure_target,
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            fails || change.new.failed_indexes != change.old.failed_indexes,
            end.failed && !end.failure_target,
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            completes || is_met != was.success_criteria_met,
            end.complete && !is_met,
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (true, is_met && end.failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (true, is_met && end.failure_target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
        (
            spec.success_policy.is_some(),
            end.complete && !is_met,
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ),
    ]
}

/// What has ended stays so.
fn ways_back(change: &Change<'_>) -> [Rule; 5] {
    let Change { end, was, .. } = change;
    [
        (was.failed, !end.failed, "cannot disable the terminal Failed=True condition"),
        (was.complete, !end.complete, "cannot disable the terminal Complete=True condition"),
        (was.failure_target, !end.failure_target, "cannot disable the terminal FailureTarget=True condition"),
        (was.success_criteria_met, !end.success_criteria_met, "cannot disable the SuccessCriteriaMet=True condition"),
        (
            was.complete,
            !was.success_criteria_met && end.success_criteria_met,
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
        ),
    ]
}

fn times(change: &Change<'_>, at: &Path<'_>, problems: &mut Problems) {
    let Change { spec, new, old, end, was, .. } = change;
    let (start_at, completion_at) = (at.field("startTime"), at.field("completionTime"));
    let start_changed = new.start_time != old.start_time;
    let completion_changed = new.completion_time != old.completion_time;
    if end.complete != was.complete || completion_changed {
        if new.completion_time.is_some() && !end.complete {
            let why = "cannot set completionTime when there is no Complete=True condition";
            problems.invalid(completion_at, &new.completion_time, why);
        }
        if new.completion_time.is_none() && end.complete {
            problems.required(completion_at, "completionTime is required for Complete jobs");
        }
    }
    if let (Some(start), Some(completion)) = (&new.start_time, &new.completion_time)
        && (start_changed || completion_changed)
        && completion.0 < start.0
    {
        problems.invalid(completion_at, completion, "must be equal to or after `startTime`");
    }
    if completion_changed && new.completion_time.is_some() && old.completion_time.is_some() {
        problems.invalid(completion_at, &new.completion_time, check::IMMUTABLE);
    }
    let is_suspended = spec.suspend == Some(true);
    // Such a Job is complete before it starts.
    let needs_no_start = is_suspended && spec.completions == Some(0);
    if (change.ends || start_changed) && !needs_no_start && new.start_time.is_none() && end.is_finished() {
        problems.required(start_at, "startTime is required for finished job");
    }
    if start_changed && old.start_time.is_some() && !is_suspended {
        problems.required(start_at, "startTime cannot be removed for unsuspended job");
    }
}

fn completed_indexes(change: &Change<'_>, at: &Path<'_>, problems: &mut Problems) {
    let text = check::text(change.new.completed_indexes.as_ref());
    if text == check::text(change.old.completed_indexes.as_ref()) {
        return;
    }
    if let Some(Err(err)) = change.spec.completions.map(|completions| indexes::count(text, completions)) {
        problems.invalid(at, text, &format!("error parsing completedIndexes: {err}"));
    }
    if !text.is_empty() && !is_indexed(change.spec) {
        problems.invalid(at, text, "cannot set non-empty completedIndexes when non-indexed completion mode");
    }
}

fn failed_indexes(change: &Change<'_>, at: &Path<'_>, problems: &mut Problems) {
    let Change { spec, new, old, .. } = change;
    let Some(text) = &new.failed_indexes else { return };
    let completed = check::text(new.completed_indexes.as_ref());
    let failed_changed = new.failed_indexes != old.failed_indexes;
    let completed_changed = completed != check::text(old.completed_indexes.as_ref());
    if failed_changed && spec.backoff_limit_per_index.is_none() {
        problems.invalid(at, text, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
    let Some(completions) = spec.completions else { return };
    if failed_changed
        && spec.backoff_limit_per_index.is_some()
        && let Err(err) = indexes::count(text, completions)
    {
        problems.invalid(at, text, &format!("error parsing failedIndexes: {err}"));
    }
    if (failed_changed || completed_changed)
        && let Some(index) = indexes::overlap(completed, text, completions)
    {
        problems.invalid(at, text, &format!("failedIndexes and completedIndexes overlap at index: {index}"));
    }
}

#[cfg(test)]
mod tests;
