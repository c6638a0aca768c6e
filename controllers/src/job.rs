//! Jobs: pods that run until so many of them have succeeded, each counted once.

mod apply;
pub mod backoff;
mod claim;
pub mod conditions;
pub mod decide;
mod end;
pub mod failure_policy;
pub mod indexes;
pub mod orphans;
pub mod pod;
pub mod scale;
pub mod spec;
pub mod success_policy;
pub mod track;
mod untrack;
mod view;

use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::batch::v1::{Job, JobSpec};
use corten_api::selector::{Matcher, Selector};
use corten_api::{ApiError, Key, Object};
use corten_client::{Change, EventType, Next};
use jiff::Timestamp;
use tracing::warn;

use crate::adopt::{self, Settled, Target};
use crate::caches::{Selects, Shared, selector_of};
use crate::children::{Children, Owner};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup, maps};
use crate::pods::SeenPod;
use crate::quotas::come_back_with_room;
use crate::replicas::candidate;
use backoff::Backoffs;
use decide::Observed;
use pod::pod_of;
use scale::NewPod;

/// Pods end one by one, and are counted together.
const GATHER: Duration = Duration::from_secs(1);

impl Selects for Job {
    fn selects_by(&self) -> Option<Selector> {
        let selector = Selector::from_label_selector(self.spec.as_ref()?.selector.as_ref()).ok()?;
        (!selector.is_everything()).then_some(selector)
    }
}

/// Runs all Jobs that no other controller says it manages.
pub fn controller(setup: &Setup) -> Loop {
    let (name, jobs, pods) = (setup.name, setup.caches.of::<Job>(), setup.caches.of::<SeenPod>());
    let backoffs = Backoffs::default();
    come_back_with_room::<NewPod>(setup, Controller::new(setup))
        .watches(&jobs, wanted_anew)
        .watches_after(&jobs, GATHER, maps::own)
        .watches_after(&pods, GATHER, maps::owner_or_adopters(&jobs))
        .run(move |context, key| {
            let (jobs, pods, backoffs) = (jobs.clone(), pods.clone(), backoffs.clone());
            let children = context.under_way.of(name);
            let this = Jobs { context, jobs, pods, children, backoffs };
            async move { this.sync(&key).await }
        })
}

/// It came, went, or asks for something else. What only its status says, which is our own doing, has time.
fn wanted_anew(change: &Change<'_, Job>) -> Option<Key> {
    match change {
        Change::Set { key, old, new } => {
            let is_new = old.is_none_or(|old| old.metadata.generation != new.metadata.generation);
            (is_new || new.is_deleting()).then(|| (*key).clone())
        }
        Change::Removed { key, .. } => Some((*key).clone()),
        Change::Synced => None,
    }
}

struct Jobs {
    context: Context,
    jobs: Shared<Job>,
    pods: Shared<SeenPod>,
    /// What is under way of the pods of each Job.
    children: Children<NewPod>,
    backoffs: Backoffs,
}

impl Jobs {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let unfinished = self.jobs.get(key).filter(|job| !conditions::is_finished(job));
        let Some(job) = unfinished else {
            self.forget(key);
            return Ok(Next::Done);
        };
        let Some(spec) = job.spec.as_ref().filter(|spec| !spec::is_managed_by_others(spec)) else {
            self.forget(key);
            return Ok(Next::Done);
        };
        if self.usable_selector(&job, spec).is_none() {
            return Ok(Next::Done);
        }
        let owner = Owner::of(&*job);
        self.children.settle(&self.context, &owner, &self.pods, |name, new| pod_of(&job, name, new)).await?;
        // After the wait: it may be another by now, of which we hear.
        let Some(selector) = selector_of(&self.jobs, &*job) else { return Ok(Next::Done) };
        let nearby = self.pods.claimable(&key.namespace, job.uid(), &selector);
        let claim = adopt::decide::claim(job.uid(), job.is_deleting(), &selector, nearby.iter().map(candidate));
        let targets = claim.map(|pod| Target { key: pod.key.clone(), uid: pod.uid.clone() });
        let again = match claim::settle(&self.context, &self.pods, &job, &targets).await? {
            Settled::Wait => return Ok(Next::After(Duration::ZERO)),
            Settled::GoOn(again) => again,
        };
        let backoff = self.backoffs.get(&job);
        let seen = Observed { now: Timestamp::now(), job: &job, pods: &claim.owned, backoff };
        let decision = decide::decide(&seen);
        Ok(adopt::sooner(self.apply(&job, decision).await?, again))
    }

    /// `None`: nothing can be done about the Job until it is edited, which brings us back.
    fn usable_selector(&self, job: &Job, spec: &JobSpec) -> Option<Arc<Matcher>> {
        if !spec::is_known_mode(spec) {
            let message = "Skipped Job sync because completion mode is unknown";
            self.context.recorder.event(&job.reference(), EventType::Warning, "UnknownCompletionMode", message);
            return None;
        }
        let selector = selector_of(&self.jobs, job);
        if selector.is_none() && job.selects_by().is_none() {
            warn!(job = %job.key(), "its selector cannot be used: it selects all pods, or is invalid");
        }
        selector
    }

    fn forget(&self, key: &Key) {
        self.children.forget(key);
        self.backoffs.forget(key);
    }
}
