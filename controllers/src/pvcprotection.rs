//! Which claims pods use. None goes while a pod does, which its finalizer holds up; and its condition `Unused` says since when
//! no pod has wanted it.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection>, and
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#unused-pvc-tracking>.

pub mod decide;
pub mod unused;

use corten_api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, Next};
use jiff::Timestamp;
use tracing::info;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::pods::{ByClaim, SeenPod};
use decide::{Action, decide, uses};

const FINALIZER: &str = "kubernetes.io/pvc-protection";

pub fn controller(setup: &Setup) -> Loop {
    Controller::new(setup)
        .reconciles(&setup.caches.of::<PersistentVolumeClaim>())
        .watches(&setup.caches.of::<SeenPod>(), |change| match change {
            Change::Removed { old, .. } => claims_of(old),
            Change::Set { old: None, new, .. } => claims_of(new),
            // One that has ended, or is shut down, may have let go of its claims.
            Change::Set { old: Some(old), new, .. } => {
                let is_shut_down = |pod: &SeenPod| pod.deletion_grace_secs == Some(0);
                let is_done = is_shut_down(new) && !is_shut_down(old) || new.is_terminal() && !old.is_terminal();
                if is_done || old.uid != new.uid { claims_of(old) } else { Vec::new() }
            }
            Change::Synced => Vec::new(),
        })
        .run(|context, key| async move { sync(&context, &key).await })
}

fn claims_of(pod: &SeenPod) -> Vec<Key> {
    pod.claims.iter().map(|claim| Key::new(pod.key.namespace.as_str(), claim.name.as_str())).collect()
}

async fn sync(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let Some(claim) = context.caches.of::<PersistentVolumeClaim>().get(key) else { return Ok(Next::Done) };
    let users = context.caches.of::<SeenPod>().with::<ByClaim>(&key.namespace, &key.name);
    let is_used = users.iter().any(|pod| uses(pod, &claim));
    let mut action = decide(&claim.metadata, FINALIZER, is_used);
    // The cache may not have a pod that began before the claim was deleted: its data would go from under it.
    if action == Action::Remove && is_used_after_all(context, &claim).await? {
        action = Action::Keep;
    }
    if action != Action::Keep {
        // What changed comes back as an event, which asks for the next look.
        return finalizer(context, &*claim, FINALIZER, action).await;
    }
    let is_wanted = users.iter().any(|pod| unused::wants(pod, &claim));
    match unused::told(&claim, is_wanted, &Time(Timestamp::now())) {
        Some(status) => tell(context, &claim, status).await,
        None => Ok(Next::Done),
    }
}

async fn tell(
    context: &Context,
    claim: &PersistentVolumeClaim,
    status: PersistentVolumeClaimStatus,
) -> Result<Next, ApiError> {
    let changed = PersistentVolumeClaim { status: Some(status), ..claim.clone() };
    match context.client.update_status(&changed).await {
        Ok(written) => {
            context.caught_up(&context.caches.of::<PersistentVolumeClaim>(), written.revision()).await;
            Ok(Next::Done)
        }
        // Somebody else wrote it, or it is gone: its newer form comes by watch and asks for the next look.
        Err(err) if err.is(Reason::Conflict) || err.is(Reason::NotFound) => Ok(Next::Done),
        Err(err) => Err(err),
    }
}

async fn is_used_after_all(context: &Context, claim: &PersistentVolumeClaim) -> Result<bool, ApiError> {
    let is_user = |pod: Pod| uses(&SeenPod::of(pod), claim);
    let pods = context.client.list_reduced(Some(claim.namespace()), "", is_user).await?;
    Ok(pods.items.contains(&true))
}

/// Puts the finalizer on or takes it off, if the object is as it was seen.
pub async fn finalizer<K: Object>(
    context: &Context,
    object: &K,
    finalizer: &str,
    action: Action,
) -> Result<Next, ApiError> {
    let mut changed = object.clone();
    let finalizers = changed.metadata_mut().finalizers.get_or_insert_default();
    match action {
        Action::Keep => return Ok(Next::Done),
        Action::Add => finalizers.push(finalizer.to_owned()),
        Action::Remove => finalizers.retain(|f| f != finalizer),
    }
    match context.client.update(&changed).await {
        Ok(written) => {
            info!(kind = K::KIND, object = %object.key(), ?action, "the finalizer that protects it");
            let cache = context.caches.of::<K>();
            if action == Action::Remove {
                // It may be gone by that.
                context
                    .seen_gone(&cache, &object.key(), |seen: &K| {
                        seen.uid() != object.uid() || seen.revision() > object.revision()
                    })
                    .await;
            } else {
                context.caught_up(&cache, written.revision()).await;
            }
            Ok(Next::Done)
        }
        Err(err) if err.is(Reason::NotFound) => Ok(Next::Done),
        Err(err) => Err(err),
    }
}
