//! What becomes of a CronJob: which of its Jobs are forgotten, deleted or replaced, and whether one is made now.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use corten_api::Object;
use corten_api::cron::{self, Schedule};
use corten_api::k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job, JobTemplateSpec};
use corten_api::k8s_openapi::api::core::v1::ObjectReference;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use corten_client::EventType;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::history;
use super::schedule::{self, NoTimes};
use crate::job::conditions::{self, COMPLETE};

/// Annotation of a Job: the time that it was made for, in the CronJob's time zone.
pub const SCHEDULED_TIMESTAMP: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
const FORBID: &str = "Forbid";
const REPLACE: &str = "Replace";
const ALREADY_ACTIVE: &str = "Not starting job because prior execution is running and concurrency policy is Forbid";
const TOO_MANY: &str = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
const DOCS: &str = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/";

/// Everything the decision may look at.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub now: Timestamp,
    pub cron: &'a CronJob,
    /// The Jobs that it controls.
    pub jobs: &'a [Arc<Job>],
    /// Uids of Jobs that its status has as active, and that are not there: the apiserver said so.
    pub missing: &'a BTreeSet<String>,
}

/// An event about the CronJob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

/// A Job whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    pub at: Timestamp,
    pub job: Job,
    /// These still run, and have to go first.
    pub replaces: Vec<Arc<Job>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Finished, and more than are to be kept.
    pub delete: Vec<Arc<Job>>,
    pub start: Option<Start>,
    /// Without what `start` adds to it.
    pub status: CronJobStatus,
    pub news: Vec<News>,
    pub wake_after: Option<Duration>,
}

pub fn decide(seen: &Observed<'_>) -> Decision {
    let mut decision = Decision {
        delete: history::surplus(seen.cron, seen.jobs),
        start: None,
        status: seen.cron.status.clone().unwrap_or_default(),
        news: Vec::new(),
        wake_after: None,
    };
    forget(seen, &mut decision);
    if !seen.cron.is_deleting()
        && let Some((schedule, zone)) = timing(&seen.cron.spec, &mut decision.news)
    {
        start(seen, &schedule, &zone, &mut decision);
    }
    decision
}

/// Jobs that have finished or gone are active no more.
fn forget(seen: &Observed<'_>, decision: &mut Decision) {
    let Decision { status, news, .. } = decision;
    let active = status.active.get_or_insert_default();
    for job in seen.jobs {
        let listed = active.iter().any(|r| r.uid.as_deref() == Some(job.uid()));
        let Some(end) = conditions::finished(job) else {
            if !listed {
                let message = format!("Saw a job that the controller did not create or forgot: {}", job.name());
                news.push(News::warning("UnexpectedJob", message));
            }
            continue;
        };
        if listed {
            active.retain(|r| r.uid.as_deref() != Some(job.uid()));
            let message = format!("Saw completed job: {}, condition: {}", job.name(), end.type_);
            news.push(News::normal("SawCompletedJob", message));
        }
        if end.type_ == COMPLETE {
            let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
            let last = status.last_successful_time.take();
            status.last_successful_time = completed.into_iter().chain(last).max_by_key(|time| time.0);
        }
    }
    let is_missing = |r: &ObjectReference| r.uid.as_ref().is_some_and(|uid| seen.missing.contains(uid));
    for gone in active.iter().filter(|r| is_missing(r)) {
        let name = gone.name.as_deref().unwrap_or_default();
        news.push(News::normal("MissingJob", format!("Active job went missing: {name}")));
    }
    active.retain(|r| !is_missing(r));
    status.active = status.active.take().filter(|active| !active.is_empty());
}

/// `None`: it is suspended or cannot be understood; an edit of the CronJob brings us back.
fn timing(spec: &CronJobSpec, news: &mut Vec<News>) -> Option<(Schedule, TimeZone)> {
    let zone = match &spec.time_zone {
        None => TimeZone::UTC,
        Some(name) => match cron::time_zone(name) {
            Some(zone) => zone,
            None => {
                let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
                news.push(News::warning("UnknownTimeZone", message));
                return None;
            }
        },
    };
    if spec.suspend == Some(true) {
        return None;
    }
    if spec.schedule.contains("TZ") {
        let used = format!("CRON_TZ or TZ used in schedule {:?} is not officially supported", spec.schedule);
        news.push(News::warning("UnsupportedSchedule", format!("{used}, see {DOCS} for more details")));
    }
    match Schedule::parse(&spec.schedule) {
        Ok(schedule) => Some((schedule, zone)),
        Err(err) => {
            let message = format!("unparseable schedule: {:?} : {err}", spec.schedule);
            news.push(News::warning("UnparseableSchedule", message));
            None
        }
    }
}

/// Makes a Job for the last time that has come, unless it was made already, or another still runs. Times before the
/// startingDeadlineSeconds are not looked at.
fn start(seen: &Observed<'_>, schedule: &Schedule, zone: &TimeZone, decision: &mut Decision) {
    let spec = &seen.cron.spec;
    let since = since(seen.cron, seen.now);
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    let earliest = deadline.map(|deadline| seen.now.saturating_sub(deadline).unwrap_or(Timestamp::MIN));
    let missed = match schedule::missed(schedule, zone, earliest.map_or(since, |at| at.max(since)), seen.now) {
        Ok(missed) => missed,
        Err(NoTimes) => {
            let message = format!("invalid schedule: {} : {NoTimes}", spec.schedule);
            return decision.news.push(News::warning("InvalidSchedule", message));
        }
    };
    decision.wake_after = schedule::wait(schedule, zone, since, seen.now);
    let Some(at) = missed.last else { return };
    if missed.are_many() {
        decision.news.push(News::warning("TooManyMissedTimes", TOO_MANY.into()));
    }
    let name = job_name(seen.cron, at);
    let active = decision.status.active.as_deref().unwrap_or_default();
    // There is one Job for a minute, whose name says which: of an interval of seconds nothing is to be done before the next.
    let last = seen.cron.status.as_ref().and_then(|s| s.last_schedule_time.as_ref());
    if last.is_some_and(|last| minute(last.0) == minute(at)) {
        let next_minute = Timestamp::from_second((minute(at) + 1) * 60).unwrap_or(Timestamp::MAX);
        let rest = Duration::try_from(next_minute.duration_since(seen.now)).unwrap_or_default();
        decision.wake_after = decision.wake_after.map(|wake| wake.max(rest));
        return;
    }
    if active.iter().any(|r| r.name.as_deref() == Some(&name)) {
        return;
    }
    let ours = |job: &&Arc<Job>| is_ours(job, seen.cron) && !conditions::is_finished(job) && job.name() != name;
    let running: Vec<_> = seen.jobs.iter().filter(ours).cloned().collect();
    let policy = spec.concurrency_policy.as_deref();
    if policy == Some(FORBID) && !(running.is_empty() && active.is_empty()) {
        return decision.news.push(News::normal("JobAlreadyActive", ALREADY_ACTIVE.into()));
    }
    let replaces = if policy == Some(REPLACE) { running } else { Vec::new() };
    decision.start = Some(Start { at, job: job_at(seen.cron, at, zone), replaces });
}

/// Whether it runs for a time of the CronJob: one that was made before the status could say so does, too. One that somebody made
/// by hand (`kubectl create job --from`) has it for its owner, and neither holds it up nor is replaced.
fn is_ours(job: &Job, cron: &CronJob) -> bool {
    let mut active = cron.status.iter().flat_map(|status| status.active.iter().flatten());
    job.annotation(SCHEDULED_TIMESTAMP).is_some() || active.any(|r| r.uid.as_deref() == Some(job.uid()))
}

/// How long until its next time; `None`: it has none, or cannot be understood.
pub fn wait(cron: &CronJob, now: Timestamp) -> Option<Duration> {
    let (schedule, zone) = timing(&cron.spec, &mut Vec::new())?;
    schedule::wait(&schedule, &zone, since(cron, now), now)
}

/// Up to when all times are dealt with.
fn since(cron: &CronJob, now: Timestamp) -> Timestamp {
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    last.or(cron.created()).map_or(now, |time| time.0)
}

/// By its time, so that none is made twice for one time, whatever was forgotten.
pub fn job_name(cron: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron.name(), minute(at))
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

fn job_at(cron: &CronJob, at: Timestamp, zone: &TimeZone) -> Job {
    let JobTemplateSpec { metadata, spec } = cron.spec.job_template.clone();
    let template = metadata.unwrap_or_default();
    let mut annotations = template.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED_TIMESTAMP.into(), rfc3339(at, zone));
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(cron, at)),
            namespace: cron.metadata.namespace.clone(),
            labels: template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![cron.controller_reference()]),
            ..ObjectMeta::default()
        },
        spec: Some(spec.unwrap_or_default()),
        status: None,
    }
}

fn rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let offset = if local.offset().is_zero() { "Z" } else { "%:z" };
    local.strftime(&format!("%Y-%m-%dT%H:%M:%S{offset}")).to_string()
}

/// The status once the Job of `start` is there.
#[must_use]
pub fn started(mut status: CronJobStatus, at: Timestamp, job: &Job, replaced: &[Arc<Job>]) -> CronJobStatus {
    let active = status.active.get_or_insert_default();
    active.retain(|r| !replaced.iter().any(|job| r.uid.as_deref() == Some(job.uid())));
    active.push(job.reference());
    status.last_schedule_time = Some(Time(at));
    status
}

impl News {
    fn normal(reason: &'static str, message: String) -> Self {
        Self { kind: EventType::Normal, reason, message }
    }
    fn warning(reason: &'static str, message: String) -> Self {
        Self { kind: EventType::Warning, reason, message }
    }
}

#[cfg(test)]
mod tests;
