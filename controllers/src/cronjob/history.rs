//! How many finished Jobs of a CronJob are kept: the newest, those that succeeded and those that failed each for themselves.

use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::batch::v1::{CronJob, Job};
use jiff::Timestamp;

use crate::job::conditions::{self, COMPLETE, FAILED};

pub(super) fn surplus(cron: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let spec = &cron.spec;
    let of = |end: &str, limit: Option<i32>| {
        let Some(limit) = limit.map(|limit| usize::try_from(limit).unwrap_or(0)) else { return Vec::new() };
        let ended = |job: &&Arc<Job>| conditions::finished(job).is_some_and(|c| c.type_ == end);
        let mut ended: Vec<_> = jobs.iter().filter(ended).cloned().collect();
        ended.sort_by_cached_key(age);
        ended.truncate(ended.len().saturating_sub(limit));
        ended.retain(|job| !job.is_deleting());
        ended
    };
    let succeeded = of(COMPLETE, spec.successful_jobs_history_limit);
    succeeded.into_iter().chain(of(FAILED, spec.failed_jobs_history_limit)).collect()
}

/// The oldest is smallest. One that never started counts as new.
fn age(job: &Arc<Job>) -> (bool, Option<Timestamp>, String) {
    let start = job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    (start.is_none(), start, job.name().to_owned())
}
