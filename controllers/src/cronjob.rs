//! CronJobs: a Job each time that a schedule says.

mod apply;
pub mod decide;
mod history;
pub mod schedule;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::batch::v1::{CronJob, Job};
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, Next};
use jiff::Timestamp;

use crate::caches::Shared;
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use decide::Observed;

/// Makes Jobs at the times of all CronJobs.
pub fn controller(setup: &Setup) -> Loop {
    let (crons, jobs) = (setup.caches.of::<CronJob>(), setup.caches.of::<Job>());
    let controller = Controller::new(setup);
    let later = controller.queue();
    controller
        .watches(&crons, move |change| match rescheduled(change, Timestamp::now()) {
            Some((key, wait)) => {
                later.add_after(key, wait);
                None
            }
            None => maps::own(change),
        })
        .watches(&jobs, maps::owner::<CronJob, _>)
        .run(move |context, key| {
            let this = CronJobs { context, crons: crons.clone(), jobs: jobs.clone() };
            async move { this.sync(&key).await }
        })
}

/// One that gets other times waits for the next of them: those that would have come before are not made up for.
fn rescheduled(change: &Change<'_, CronJob>, now: Timestamp) -> Option<(Key, Duration)> {
    let Change::Set { key, old: Some(old), new } = change else { return None };
    let timing = |cron: &CronJob| (cron.spec.schedule.clone(), cron.spec.time_zone.clone());
    if timing(old) == timing(new) {
        return None;
    }
    Some(((*key).clone(), decide::wait(new, now)?))
}

struct CronJobs {
    context: Context,
    crons: Shared<CronJob>,
    jobs: Shared<Job>,
}

impl CronJobs {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(cron) = self.crons.get(key) else { return Ok(Next::Done) };
        let jobs = self.jobs.controlled_by(&key.namespace, cron.uid());
        let missing = self.missing(&cron, &jobs).await?;
        let seen = Observed { now: Timestamp::now(), cron: &cron, jobs: &jobs, missing: &missing };
        let decision = decide::decide(&seen);
        self.apply(&cron, decision).await
    }

    /// Active Jobs that are not there. Asks the apiserver, not the cache: a Job that is forgotten is not waited for.
    async fn missing(&self, cron: &CronJob, jobs: &[Arc<Job>]) -> Result<BTreeSet<String>, ApiError> {
        let active = cron.status.as_ref().and_then(|status| status.active.as_ref());
        let mut missing = BTreeSet::new();
        for (name, uid) in active.into_iter().flatten().filter_map(|r| Some((r.name.as_ref()?, r.uid.as_ref()?))) {
            if jobs.iter().any(|job| job.uid() == uid) {
                continue;
            }
            match self.context.client.get::<Job>(&Key::new(cron.namespace(), name.as_str())).await {
                Ok(live) if live.uid() == uid => {}
                Ok(_) => drop(missing.insert(uid.clone())),
                Err(err) if err.is(Reason::NotFound) => drop(missing.insert(uid.clone())),
                Err(err) => return Err(err),
            }
        }
        Ok(missing)
    }
}
