//! Finished Jobs that have said how long they may stay.

pub mod decide;

use corten_api::k8s_openapi::api::batch::v1::Job;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::Next;
use jiff::Timestamp;

use crate::caches::Shared;
use crate::context::{Context, same_uid};
use crate::controller::{Controller, Loop, Setup};
use decide::{Decision, decide};

/// Deletes Jobs, with their pods, when their time is over.
pub fn controller(setup: &Setup) -> Loop {
    let jobs = setup.caches.of::<Job>();
    Controller::new(setup).reconciles(&jobs).run(move |context, key| {
        let jobs = jobs.clone();
        async move { sync(&context, &jobs, &key).await }
    })
}

async fn sync(context: &Context, jobs: &Shared<Job>, key: &Key) -> Result<Next, ApiError> {
    let Some(job) = jobs.get(key) else { return Ok(Next::Done) };
    match decide(&job, Timestamp::now()) {
        Decision::Keep => return Ok(Next::Done),
        Decision::KeepFor(time) => return Ok(Next::After(time)),
        Decision::Delete => {}
    }
    // It may have been given more time than the cache knows of.
    let live = match context.client.get::<Job>(key).await {
        Ok(live) => live,
        Err(err) if err.is(Reason::NotFound) => return Ok(Next::Done),
        Err(err) => return Err(err),
    };
    match decide(&live, Timestamp::now()) {
        Decision::Keep => return Ok(Next::Done),
        Decision::KeepFor(time) => return Ok(Next::After(time)),
        Decision::Delete => {}
    }
    let options = DeleteOptions {
        propagation_policy: Some("Foreground".into()),
        preconditions: same_uid(live.uid()),
        ..DeleteOptions::default()
    };
    context.delete_with::<Job>(key, live.uid(), &options).await?;
    Ok(Next::Done)
}
