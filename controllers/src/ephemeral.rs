//! Claims for the ephemeral volumes of pods: made for the pod, and gone with it.
//!
//! <https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes>

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, EventType, Next};

use crate::context::{Context, is_terminating_namespace};
use crate::controller::{Controller, Loop, Setup};
use crate::pods::{ByClaim, SeenPod};

/// Its items are pods.
pub fn controller(setup: &Setup) -> Loop {
    let pods = setup.caches.of::<SeenPod>();
    let users = pods.clone();
    Controller::new(setup)
        .watches(&pods, |change| match change {
            // Its volumes never change.
            Change::Set { old, new, .. } if old.is_none_or(|old| old.uid != new.uid) && lacks(new) => {
                Some(new.key.clone())
            }
            _ => None,
        })
        .watches(&setup.caches.of::<PersistentVolumeClaim>(), move |change| match change {
            Change::Removed { key, .. } => {
                let users = users.with::<ByClaim>(&key.namespace, &key.name);
                users.iter().filter(|pod| lacks(pod)).map(|pod| pod.key.clone()).collect()
            }
            _ => Vec::new(),
        })
        .run(|context, key| async move { sync(&context, &key).await })
}

/// Whether it needs claims of its own, and is not about to go.
fn lacks(pod: &SeenPod) -> bool {
    pod.deleting.is_none() && pod.claims.iter().any(|claim| claim.ephemeral)
}

async fn sync(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let Some(seen) = context.caches.of::<SeenPod>().get(key).filter(|pod| lacks(pod)) else { return Ok(Next::Done) };
    // What the claims are to be only the pod itself says, which is not kept.
    let pod = match context.client.get::<Pod>(key).await {
        Ok(pod) if pod.uid() == seen.uid && !pod.is_deleting() => pod,
        Ok(_) => return Ok(Next::Done),
        Err(err) if err.is(Reason::NotFound) => return Ok(Next::Done),
        Err(err) => return Err(err),
    };
    for volume in pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten() {
        let Some(wanted) = decide::wanted(&pod, volume) else { continue };
        match ensure(context, &pod, &wanted).await {
            Ok(()) => {}
            Err(err) if is_terminating_namespace(&err) => return Ok(Next::Done),
            Err(err) => {
                let message = format!("ephemeral volume {}: {err}", volume.name);
                context.recorder.event(&pod.reference(), EventType::Warning, "FailedBinding", message);
                return Err(err);
            }
        }
    }
    Ok(Next::Done)
}

async fn ensure(context: &Context, pod: &Pod, wanted: &PersistentVolumeClaim) -> Result<(), ApiError> {
    let cache = context.caches.of::<PersistentVolumeClaim>();
    let refused =
        |err: decide::NotOurs| ApiError::conflict("", "persistentvolumeclaims", wanted.name(), &err.to_string());
    if let Some(claim) = cache.get(&wanted.key()) {
        return decide::check(pod, &claim).map_err(refused);
    }
    match context.client.create(wanted).await {
        Ok(made) => {
            context.caught_up(&cache, made.revision()).await;
            Ok(())
        }
        // By an earlier try whose answer was lost, perhaps.
        Err(err) if err.is(Reason::AlreadyExists) => {
            let there = context.client.get::<PersistentVolumeClaim>(&wanted.key()).await?;
            decide::check(pod, &there).map_err(refused)
        }
        Err(err) => Err(err),
    }
}
