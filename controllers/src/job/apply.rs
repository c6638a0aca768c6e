//! Does what was decided for a Job, in the order that lets it be stopped between any two writes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::batch::v1::{Job, JobStatus};
use corten_api::{ApiError, Object};
use corten_client::{EventType, Next};

use super::decide::{Decision, News};
use super::pod::{name_base, pod_of};
use super::scale::{NewPod, Scale};
use super::untrack::{Since, untrack};
use super::{Jobs, conditions};
use crate::children::{Owner, wake};
use crate::context::is_terminating_namespace;
use crate::intents::Ask;
use crate::pod_events;
use crate::pods::SeenPod;
use crate::replicas::decide::batches;

impl Jobs {
    /// The status goes first: it names the pods that are let go then. Pods that are counted are deleted at last.
    pub(super) async fn apply(&self, job: &Arc<Job>, decision: Decision) -> Result<Next, ApiError> {
        if let Some(status) = decision.status {
            self.write_status(job, status).await?;
        }
        self.backoffs.set(job, decision.backoff);
        decision.news.into_iter().for_each(|news| self.tell(job, news));
        untrack(&self.context, &decision.untrack, Since::Anything).await?;
        let held = match &decision.scale {
            Scale::Create(pods) => self.children.held_back(&Owner::of(&**job), pods.len()),
            Scale::Keep | Scale::DeleteSurplus(_) | Scale::Stop(_) => None,
        };
        let scaled = match decision.scale {
            Scale::Keep => Ok(()),
            Scale::Create(_) if held.is_some() => Ok(()),
            Scale::Create(pods) => self.create(job, pods).await,
            Scale::DeleteSurplus(pods) => {
                untrack(&self.context, &pods, Since::Nothing).await?;
                self.delete(job, &pods).await
            }
            Scale::Stop(pods) => self.delete(job, &pods).await,
        };
        match scaled {
            Err(err) if is_terminating_namespace(&err) => Ok(Next::Done),
            Err(err) => Err(err),
            // What was let go can be counted.
            Ok(()) if !decision.untrack.is_empty() => Ok(Next::After(Duration::ZERO)),
            Ok(()) => Ok(wake(decision.wake_after, held.as_ref()).map_or(Next::Done, Next::After)),
        }
    }

    /// Only over the one that was decided on: any other has to be decided on again.
    async fn write_status(&self, job: &Job, status: JobStatus) -> Result<(), ApiError> {
        let written = self.context.client.update_status(&Job { status: Some(status), ..job.clone() }).await?;
        self.context.caught_up(&self.jobs, written.revision()).await;
        Ok(())
    }

    /// Slow start: a batch is tried only if the one before, half its size, was made whole.
    async fn create(&self, job: &Arc<Job>, pods: Vec<NewPod>) -> Result<(), ApiError> {
        let parent = Owner::of(&**job);
        let mut left = pods.into_iter();
        for batch in batches(left.len()) {
            let mut names = BTreeSet::new();
            let mut ask = |what: NewPod| {
                let base = name_base(job.name(), what.index);
                let name = self.children.fresh_name(&parent, &self.pods, &base, &names);
                names.insert(name.clone());
                Ask::Create { name, what }
            };
            let asks = left.by_ref().take(batch).map(&mut ask).collect();
            let sent = self.children.send(&self.context, &parent, asks, |name, new| pod_of(job, name, new)).await;
            pod_events::tell(&self.context.recorder, &job.reference(), &sent)?;
        }
        Ok(())
    }

    /// One that fails keeps no other from going.
    async fn delete(&self, job: &Arc<Job>, pods: &[Arc<SeenPod>]) -> Result<(), ApiError> {
        let ask = |pod: &Arc<SeenPod>| Ask::Delete { name: pod.key.name.clone(), uid: pod.uid.clone() };
        let asks = pods.iter().map(ask).collect();
        let parent = Owner::of(&**job);
        let sent = self.children.send(&self.context, &parent, asks, |name, new| pod_of(job, name, new)).await;
        pod_events::tell(&self.context.recorder, &job.reference(), &sent)
    }

    fn tell(&self, job: &Job, news: News) {
        let say =
            |kind, reason: &str, message: &str| self.context.recorder.event(&job.reference(), kind, reason, message);
        match news {
            News::Suspended => say(EventType::Normal, conditions::SUSPENDED, "Job suspended"),
            News::Resumed => say(EventType::Normal, "Resumed", "Job resumed"),
            News::Failed { reason, message } => say(EventType::Warning, &reason, &message),
            News::Completed { too_many } => {
                if too_many {
                    let message = "Too many succeeded pods running after completion count reached";
                    say(EventType::Warning, "TooManySucceededPods", message);
                }
                say(EventType::Normal, "Completed", "Job completed");
            }
        }
    }
}
