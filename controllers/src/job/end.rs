//! How a Job ends: which of the ways comes first, and how it is told in two steps (`FailureTarget`, then `Failed`;
//! `SuccessCriteriaMet`, then `Complete`).

use corten_api::k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{self, COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET};
use super::decide::{News, deadline_in};
use super::failure_policy::Verdict;
use super::view::View;
use super::{spec, success_policy};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub fails: bool,
    reason: String,
    message: String,
}

impl End {
    /// What was decided before stands. A Job may meet several of these at once: the order is upstream's.
    pub(super) fn of(view: &View<'_>, status: &JobStatus) -> Option<Self> {
        decided(view)
            .or_else(|| by_policy(view))
            .or_else(|| by_limits(view, status))
            .or_else(|| by_indexes(view))
            .or_else(|| by_success_policy(view))
            .or_else(|| by_completions(view))
    }

    fn fails(reason: &str, message: impl Into<String>) -> Option<Self> {
        Some(Self { fails: true, reason: reason.into(), message: message.into() })
    }
    fn succeeds(reason: &str, message: impl Into<String>) -> Option<Self> {
        Some(Self { fails: false, reason: reason.into(), message: message.into() })
    }

    /// Writes the first step to the status, and the second once no pod runs or is held and all are counted.
    pub(super) fn tell(&self, view: &View<'_>, status: &mut JobStatus) -> Option<News> {
        let now = view.seen.now;
        let (target, done) = if self.fails { (FAILURE_TARGET, FAILED) } else { (SUCCESS_CRITERIA_MET, COMPLETE) };
        let condition = |kind| conditions::new(kind, "True", &self.reason, &self.message, now);
        let list = status.conditions.get_or_insert_default();
        if !list.iter().any(|c| c.type_ == target && c.status == "True") {
            conditions::ensure(list, condition(target));
        }
        let uncounted = status.uncounted_terminated_pods.iter();
        let mut uncounted = uncounted.flat_map(|pods| pods.succeeded.iter().chain(&pods.failed).flatten());
        let is_held = view.pods.iter().any(|pod| pod.is_tracked());
        if is_held || !view.active.is_empty() || view.terminating > 0 || uncounted.next().is_some() {
            return None;
        }
        conditions::ensure(list, condition(done));
        // One that ends while it is suspended has to have started all the same.
        status.start_time.get_or_insert(Time(now));
        if self.fails {
            return Some(News::Failed { reason: self.reason.clone(), message: self.message.clone() });
        }
        status.completion_time = Some(Time(now));
        let too_many = view.spec.completions.is_some_and(|wanted| status.succeeded.unwrap_or(0) > wanted);
        Some(News::Completed { too_many })
    }
}

fn decided(view: &View<'_>) -> Option<End> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let end = |fails, c: &JobCondition| End { fails, reason: text(&c.reason), message: text(&c.message) };
    let is_set = |kind| conditions::is_set(view.seen.job, kind);
    let succeeds = is_set(SUCCESS_CRITERIA_MET).map(|met| end(false, met));
    succeeds.or_else(|| is_set(FAILURE_TARGET).map(|target| end(true, target)))
}

fn by_policy(view: &View<'_>) -> Option<End> {
    view.spec.pod_failure_policy.as_ref()?;
    let failed = view.pods.iter().filter(|pod| view.is_failed(pod));
    let message = failed.map(|pod| view.verdict(pod)).find_map(|verdict| match verdict {
        Verdict::FailJob(message) => Some(message),
        _ => None,
    });
    End::fails("PodFailurePolicy", message?)
}

fn by_limits(view: &View<'_>, status: &JobStatus) -> Option<End> {
    if view.failed > spec::backoff_limit(view.spec) || has_restarted_too_often(view) {
        return End::fails("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if deadline_in(view, status).is_some_and(|left| left.is_zero()) {
        return End::fails("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    None
}

/// Where containers are started again within their pods, their restarts are the failures.
fn has_restarted_too_often(view: &View<'_>) -> bool {
    let policy = view.spec.template.spec.as_ref().and_then(|pod| pod.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let running = view.pods.iter().filter(|pod| !pod.is_terminal()).filter_map(|pod| pod.of_job.as_ref());
    let restarts = running.fold(0_i32, |sum, of_job| sum.saturating_add(of_job.restarts));
    restarts >= spec::backoff_limit(view.spec).max(1)
}

fn by_indexes(view: &View<'_>) -> Option<End> {
    let indexing = view.indexing.as_ref()?;
    let failed = indexing.failed.as_ref()?.total();
    if view.spec.max_failed_indexes.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return End::fails("MaxFailedIndexesExceeded", message);
    }
    if failed > 0 && failed + indexing.completed.total() >= indexing.completions {
        return End::fails("FailedIndexes", "Job has failed indexes");
    }
    None
}

fn by_success_policy(view: &View<'_>) -> Option<End> {
    let indexing = view.indexing.as_ref()?;
    let met = success_policy::met(view.spec.success_policy.as_ref(), indexing.completions, &indexing.completed);
    End::succeeds("SuccessPolicy", met?)
}

/// Without a number of completions one success is enough, once the other pods have ended, too.
fn by_completions(view: &View<'_>) -> Option<End> {
    let enough = view.succeeded >= view.spec.completions.unwrap_or(1);
    if !enough || !view.active.is_empty() {
        return None;
    }
    End::succeeds("CompletionsReached", "Reached expected number of succeeded pods")
}
