//! Persistent volumes and their claims: bound to each other, and let go.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/>

pub mod claims;
pub mod index;
pub mod matching;
pub mod step;
#[cfg(test)]
mod testing;
pub mod volumes;

use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use corten_api::k8s_openapi::api::storage::v1::StorageClass;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, Next};

use crate::caches::Shared;
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::pods::{ByClaim, SeenPod};
use index::{ByClaimOrClass, ByVolumeOrClass, meant_for, named, of_class, of_default_class};
use matching::{claim_spec, class_of_claim, volume_spec};
use step::{Said, Write};

/// Gives claims their volumes.
pub fn claims(setup: &Setup) -> Loop {
    let (claims, volumes) = (setup.caches.of::<PersistentVolumeClaim>(), setup.caches.of::<PersistentVolume>());
    let (of_volumes, of_classes) = (claims.clone(), claims.clone());
    Controller::new(setup)
        .reconciles(&claims)
        .watches(&volumes, move |change| concerned_by_volume(&of_volumes, change))
        .watches(&setup.caches.of::<StorageClass>(), move |change| {
            let Some(key) = change.key() else { return Vec::new() };
            // It may have become the default.
            let waiting = [of_class(&key.name), of_default_class()];
            waiting.iter().flat_map(|value| of_classes.everywhere::<ByVolumeOrClass>(value)).map(|c| c.key()).collect()
        })
        .watches(&setup.caches.of::<SeenPod>(), |change| match change {
            Change::Set { old, new, .. } if old.is_none_or(|old| old.node != new.node) => claims_of(new),
            _ => Vec::new(),
        })
        .run(|context, key| async move { sync_claim(&context, &key).await })
}

/// Keeps the phase of volumes, and releases those whose claims are gone.
pub fn volumes(setup: &Setup) -> Loop {
    let (claims, volumes) = (setup.caches.of::<PersistentVolumeClaim>(), setup.caches.of::<PersistentVolume>());
    let meant = volumes.clone();
    Controller::new(setup)
        .reconciles(&volumes)
        .watches(&claims, move |change| {
            let claim = match change {
                Change::Set { new, .. } => new,
                Change::Removed { old, .. } => old,
                Change::Synced => return Vec::new(),
            };
            let mut found: Vec<Key> =
                claim_spec(claim).volume_name.iter().map(|name| Key::cluster(name.as_str())).collect();
            found
                .extend(meant.everywhere::<ByClaimOrClass>(&meant_for(&claim.key())).iter().map(|volume| volume.key()));
            found
        })
        .run(|context, key| async move { sync_volume(&context, &key).await })
}

fn claims_of(pod: &SeenPod) -> Vec<Key> {
    pod.claims.iter().map(|claim| Key::new(pod.key.namespace.as_str(), claim.name.as_str())).collect()
}

/// The claims that name the volume, that it names, and that it may do for now.
fn concerned_by_volume(claims: &Shared<PersistentVolumeClaim>, change: &Change<'_, PersistentVolume>) -> Vec<Key> {
    let (key, old, new) = match change {
        Change::Set { key, old, new } => (*key, *old, Some(*new)),
        Change::Removed { key, old } => (*key, Some(*old), None),
        Change::Synced => return Vec::new(),
    };
    let meant = [old, new].into_iter().flatten().filter_map(|volume| {
        let claimed = volume_spec(volume).claim_ref.as_ref()?;
        Some(Key::new(claimed.namespace.clone()?, claimed.name.clone()?))
    });
    let mut found: Vec<Key> = meant.collect();
    found.extend(claims.everywhere::<ByVolumeOrClass>(&named(&key.name)).iter().map(|claim| claim.key()));
    if let Some(free) = new.filter(|volume| volume_spec(volume).claim_ref.is_none()) {
        let volumes = [Arc::clone(free)];
        let class = matching::class_of_volume(free);
        // One that wants the default class takes a volume without a class, too.
        let classes = [Some(of_class(class)), class.is_empty().then(of_default_class)];
        let waiting = classes.into_iter().flatten().flat_map(|value| claims.everywhere::<ByVolumeOrClass>(&value));
        found.extend(waiting.filter(|claim| matching::find(claim, &volumes, false).is_some()).map(|claim| claim.key()));
    }
    found
}

async fn sync_claim(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let caches = &context.caches;
    let (volumes, classes) = (caches.of::<PersistentVolume>(), caches.of::<StorageClass>());
    let Some(claim) = caches.of::<PersistentVolumeClaim>().get(key) else { return Ok(Next::Done) };
    let class_name = class_of_claim(&claim);
    let class = class_name.and_then(|name| classes.get(&Key::cluster(name)));
    let all = classes.list();
    let volume_name = claim_spec(&claim).volume_name.as_deref().unwrap_or_default();
    let mut candidates = volumes.everywhere::<ByClaimOrClass>(&meant_for(key));
    candidates.extend(volumes.everywhere::<ByClaimOrClass>(&of_class(class_name.unwrap_or_default())));
    let pods = caches.of::<SeenPod>().with::<ByClaim>(&key.namespace, &key.name);
    let waiting = pods.iter().filter(|pod| !pod.is_terminal() && pod.node.is_none());
    let decision = claims::decide(&claims::Observed {
        claim: &claim,
        class: class.as_deref(),
        default_class: claims::default_class(&all),
        named: volumes.get(&Key::cluster(volume_name)).as_ref(),
        volumes: &candidates,
        waiting_pods: &waiting.map(|pod| pod.key.name.clone()).collect::<Vec<_>>(),
    });
    apply(context, decision.write, decision.events).await
}

async fn sync_volume(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let Some(volume) = context.caches.of::<PersistentVolume>().get(key) else { return Ok(Next::Done) };
    let claim = claim_of(context, &volume).await?;
    let decision = volumes::decide(&volumes::Observed { volume: &volume, claim: claim.as_ref() });
    apply(context, decision.write, decision.events).await
}

/// The claim that the volume names. That there is none is asked of the apiserver: what is released may be deleted.
async fn claim_of(
    context: &Context,
    volume: &PersistentVolume,
) -> Result<Option<Arc<PersistentVolumeClaim>>, ApiError> {
    let Some(claimed) = &volume_spec(volume).claim_ref else { return Ok(None) };
    let uid = claimed.uid.as_deref().unwrap_or_default();
    let key = Key::new(claimed.namespace.clone().unwrap_or_default(), claimed.name.clone().unwrap_or_default());
    let is_it = |claim: &Arc<PersistentVolumeClaim>| claim.uid() == uid;
    if let Some(claim) = context.caches.of::<PersistentVolumeClaim>().get(&key).filter(is_it) {
        return Ok(Some(claim));
    }
    if uid.is_empty() || volumes::is_released(volume) {
        return Ok(None);
    }
    match context.client.get::<PersistentVolumeClaim>(&key).await {
        Ok(claim) => Ok(Some(Arc::new(claim)).filter(is_it)),
        Err(err) if err.is(Reason::NotFound) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Each write is refused if the object is not as it was seen: no volume is given to two claims.
async fn apply(context: &Context, write: Option<Write>, events: Vec<Said>) -> Result<Next, ApiError> {
    let done = match &write {
        None => Ok(()),
        Some(Write::Volume(volume)) => seen(context, context.client.update(volume).await).await,
        Some(Write::VolumeStatus(volume)) => seen(context, context.client.update_status(volume).await).await,
        Some(Write::Claim(claim)) => seen(context, context.client.update(claim).await).await,
        Some(Write::ClaimStatus(claim)) => seen(context, context.client.update_status(claim).await).await,
    };
    match done {
        Ok(()) => {}
        Err(err) if err.is(Reason::NotFound) => return Ok(Next::Done),
        Err(err) => return Err(err),
    }
    for Said { about, kind, reason, message } in events {
        context.recorder.event(&about, kind, reason, message);
    }
    Ok(Next::Done)
}

/// Waits until the cache shows what was written.
async fn seen<K: Object>(context: &Context, written: Result<K, ApiError>) -> Result<(), ApiError> {
    context.caught_up(&context.caches.of::<K>(), written?.revision()).await;
    Ok(())
}
