//! Lets pods go that are counted, or that nobody will count: takes the Job's finalizer away.

use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::{ApiError, Object, Reason};
use corten_client::Patch;
use futures::future::join_all;
use serde_json::json;

use crate::context::Context;
use crate::pods::SeenPod;
use crate::pods::of_job::TRACKING_FINALIZER;

/// What may have become of a pod since it was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Anything,
    /// One that ended meanwhile has to be counted.
    Nothing,
}

/// Side by side; one that fails keeps no other from going. Returns once the cache shows those that were let go: who decided
/// on it earlier would count them twice.
pub(super) async fn untrack(context: &Context, pods: &[Arc<SeenPod>], since: Since) -> Result<(), ApiError> {
    let held = pods.iter().filter(|pod| pod.is_tracked());
    let all = join_all(held.map(|pod| one(context, pod, since))).await;
    let cache = &context.caches.of::<SeenPod>();
    let revision = all.iter().filter_map(|done| done.as_ref().ok()).copied().max().unwrap_or(0);
    context.caught_up(cache, revision).await;
    all.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
}

/// Returns the revision of it; 0 for a pod of which the cache has seen that it is not there any more.
async fn one(context: &Context, pod: &Arc<SeenPod>, since: Since) -> Result<i64, ApiError> {
    let mut body = json!({"metadata": {"uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING_FINALIZER]}});
    if since == Since::Nothing {
        body["metadata"]["resourceVersion"] = pod.revision.to_string().into();
    }
    let patch = || context.prompt.patch::<Pod>(&pod.key, "", Patch::Strategic(body.clone()));
    match context.width.send(patch).await {
        Ok(patched) => Ok(patched.revision()),
        Err(err) if err.is(Reason::NotFound) => {
            let cache = &context.caches.of::<SeenPod>();
            context.seen_gone(cache, &pod.key, |seen: &SeenPod| seen.uid != pod.uid).await;
            Ok(0)
        }
        Err(err) => Err(err),
    }
}
