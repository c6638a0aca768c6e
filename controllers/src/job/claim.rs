//! A Job's pods by its selector: an orphan that it adopts is held until it is counted, one that it releases is let go.

use corten_api::k8s_openapi::api::batch::v1::Job;
use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::{ApiError, Object};
use corten_client::{Cache, Next, Patch};
use serde_json::{Value, json};

use crate::adopt::decide::Claim;
use crate::adopt::{Outcome, Settled, Target, may_adopt};
use crate::context::Context;
use crate::pods::SeenPod;
use crate::pods::of_job::TRACKING_FINALIZER;

/// The uid makes a patch fail if the pod was replaced meanwhile by another of its name.
fn adopted(job: &Job, target: &Target) -> Value {
    let owners = [job.controller_reference()];
    json!({"metadata": {"uid": target.uid, "ownerReferences": owners, "finalizers": [TRACKING_FINALIZER]}})
}
fn released(job: &Job, target: &Target) -> Value {
    json!({"metadata": {
        "uid": target.uid,
        "ownerReferences": [{"$patch": "delete", "uid": job.uid()}],
        "$deleteFromPrimitiveList/finalizers": [TRACKING_FINALIZER],
    }})
}

/// Does what was decided. Returns once `cache` shows it.
pub(super) async fn settle(
    context: &Context,
    cache: &Cache<SeenPod>,
    job: &Job,
    claim: &Claim<Target>,
) -> Result<Settled, ApiError> {
    if claim.is_settled() {
        return Ok(Settled::GoOn(Next::Done));
    }
    let mut outcome = Outcome::of(job, context.under_way.refused_claims());
    let release = outcome.due(&claim.release).into_iter();
    let mut bodies: Vec<_> = release.map(|target| (target, released(job, target))).collect();
    let adopt = outcome.due(&claim.adopt);
    if !adopt.is_empty() && may_adopt(&context.client, job).await? {
        bodies.extend(adopt.into_iter().map(|target| (target, adopted(job, target))));
    }
    for (target, body) in bodies {
        let written = context.client.patch::<Pod>(&target.key, "", Patch::Strategic(body)).await;
        outcome.note(target, written.map(|pod| pod.revision()));
    }
    context.caught_up(cache, outcome.revision()).await;
    outcome.settled()
}
