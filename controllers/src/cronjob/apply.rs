//! Does what was decided for a CronJob. A Job's name says its time: one that was made before anybody could say so is found.

use std::sync::Arc;

use corten_api::k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use corten_api::{ApiError, Object, Reason};
use corten_client::{EventType, Next};
use tracing::warn;

use super::CronJobs;
use super::decide::{Decision, Start, started};
use crate::context::{is_terminating_namespace, same_uid};

impl CronJobs {
    pub(super) async fn apply(&self, cron: &Arc<CronJob>, decision: Decision) -> Result<Next, ApiError> {
        for news in &decision.news {
            self.say(cron, news.kind, news.reason, news.message.clone());
        }
        for job in &decision.delete {
            // One that cannot be deleted now is still too many at the next look.
            if let Err(err) = self.delete(cron, job).await {
                warn!(job = %job.key(), %err, "cannot delete a finished Job; again at the next look");
            }
        }
        let (status, started) = match decision.start {
            Some(start) => match self.start(cron, decision.status.clone(), start).await {
                Ok(status) => (status, Ok(())),
                Err(err) => (decision.status, Err(err)),
            },
            None => (decision.status, Ok(())),
        };
        self.write_status(cron, status).await?;
        match started {
            Err(err) if is_terminating_namespace(&err) => Ok(Next::Done),
            Err(err) => Err(err),
            Ok(()) => Ok(decision.wake_after.map_or(Next::Done, Next::After)),
        }
    }

    /// Returns the status with the Job in it.
    async fn start(&self, cron: &CronJob, status: CronJobStatus, start: Start) -> Result<CronJobStatus, ApiError> {
        for job in &start.replaces {
            self.delete(cron, job).await?;
        }
        let job = match self.context.client.create(&start.job).await {
            Ok(made) => {
                self.say(cron, EventType::Normal, "SuccessfulCreate", format!("Created job {}", made.name()));
                made
            }
            Err(err) if err.is(Reason::AlreadyExists) => {
                let there: Job = self.context.client.get(&start.job.key()).await?;
                if !there.is_controlled_by(cron.uid()) {
                    // Somebody else has made one of this name, which stands for this time.
                    return Ok(status);
                }
                there
            }
            Err(err) => {
                if !is_terminating_namespace(&err) {
                    self.say(cron, EventType::Warning, "FailedCreate", format!("Error creating job: {err}"));
                }
                return Err(err);
            }
        };
        self.context.caught_up(&self.jobs, job.revision()).await;
        Ok(started(status, start.at, &job, &start.replaces))
    }

    /// With its pods.
    async fn delete(&self, cron: &CronJob, job: &Arc<Job>) -> Result<(), ApiError> {
        let options = DeleteOptions {
            propagation_policy: Some("Background".into()),
            preconditions: same_uid(job.uid()),
            ..DeleteOptions::default()
        };
        if let Err(err) = self.context.delete_with::<Job>(&job.key(), job.uid(), &options).await {
            self.say(cron, EventType::Warning, "FailedDelete", format!("Deleted job: {err}"));
            return Err(err);
        }
        self.say(cron, EventType::Normal, "SuccessfulDelete", format!("Deleted job {}", job.name()));
        let gone = |seen: &Job| seen.uid() != job.uid() || seen.is_deleting();
        self.context.seen_gone(&self.jobs, &job.key(), gone).await;
        Ok(())
    }

    /// Only over the one that was decided on: any other has to be decided on again.
    async fn write_status(&self, cron: &CronJob, status: CronJobStatus) -> Result<(), ApiError> {
        let mut old = cron.status.clone().unwrap_or_default();
        old.active = old.active.filter(|active| !active.is_empty());
        if old == status {
            return Ok(());
        }
        let written = self.context.client.update_status(&CronJob { status: Some(status), ..cron.clone() }).await?;
        self.context.caught_up(&self.crons, written.revision()).await;
        Ok(())
    }

    fn say(&self, cron: &CronJob, kind: EventType, reason: &str, message: String) {
        self.context.recorder.event(&cron.reference(), kind, reason, message);
    }
}
