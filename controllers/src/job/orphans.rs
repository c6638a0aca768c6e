//! Pods that a Job holds and never will let go: theirs is gone or finished, or they have none. Their finalizer is taken away,
//! or they could never be deleted.

use std::sync::Arc;

use corten_api::k8s_openapi::api::batch::v1::Job;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, Next};

use super::untrack::{Since, untrack};
use super::{conditions, spec};
use crate::caches::{Shared, owner_key};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::pods::SeenPod;

/// Its items are pods.
pub fn controller(setup: &Setup) -> Loop {
    let (pods, jobs) = (setup.caches.of::<SeenPod>(), setup.caches.of::<Job>());
    let (of_pods, of_jobs) = (jobs.clone(), pods.clone());
    Controller::new(setup)
        .watches(&pods, move |change| match change {
            Change::Set { key, new, .. } if is_orphan(new, &of_pods) => Some((*key).clone()),
            _ => None,
        })
        .watches(&jobs, move |change| left_by(change, &of_jobs))
        .run(move |context, key| {
            let (pods, jobs) = (pods.clone(), jobs.clone());
            async move { sync(&context, &pods, &jobs, &key).await }
        })
}

async fn sync(context: &Context, pods: &Shared<SeenPod>, jobs: &Shared<Job>, key: &Key) -> Result<Next, ApiError> {
    let Some(pod) = pods.get(key).filter(|pod| is_orphan(pod, jobs)) else { return Ok(Next::Done) };
    if let Some(job) = owner_key::<Job>(&key.namespace, pod.controller()) {
        // A cache that is behind must not make a pod go uncounted.
        match context.client.get::<Job>(&job).await {
            Ok(live) if holds(&live, &pod) => return Ok(Next::Done),
            Ok(_) => {}
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        }
    }
    untrack(context, &[pod], Since::Anything).await?;
    Ok(Next::Done)
}

/// Whether it is held, and no Job will count it. Another controller's pods are not ours to let go.
fn is_orphan(pod: &SeenPod, jobs: &Shared<Job>) -> bool {
    if !pod.is_tracked() {
        return false;
    }
    match owner_key::<Job>(&pod.key.namespace, pod.controller()) {
        Some(job) => !jobs.get(&job).is_some_and(|job| holds(&job, pod)),
        None => pod.controller().is_none(),
    }
}

/// The Job is the pod's, and will let it go itself, or another manager of it will.
fn holds(job: &Job, pod: &SeenPod) -> bool {
    let by_others = job.spec.as_ref().is_some_and(spec::is_managed_by_others);
    pod.is_controlled_by(job.uid()) && (by_others || !conditions::is_finished(job))
}

/// The pods that a Job leaves behind. Costs as many as it has.
fn left_by(change: &Change<'_, Job>, pods: &Shared<SeenPod>) -> Vec<Key> {
    let job: &Arc<Job> = match change {
        Change::Removed { old, .. } => old,
        Change::Set { old, new, .. }
            if conditions::is_finished(new) && !old.is_some_and(|job| conditions::is_finished(job)) =>
        {
            new
        }
        _ => return Vec::new(),
    };
    let left = pods.controlled_by(job.namespace(), job.uid());
    left.iter().filter(|pod| pod.is_tracked()).map(|pod| pod.key.clone()).collect()
}
