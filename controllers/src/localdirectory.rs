//! The provisioner `corten.io/local-directory`: volumes that are directories on the node of their first consumer.
//!
//! A claim that waited for its pod names that pod's node once the scheduler has chosen it; then a PersistentVolume is made, and the
//! kubelet of that node makes the directory when it first mounts it. Before it does, it puts its finalizer on the volume; when the
//! claim is gone the volume is deleted here, and the kubelet takes its finalizer off after the directory is gone. So no volume
//! goes while there is a directory of it, whoever is stopped when, but on a node that is itself gone.
//! <https://kubernetes.io/docs/concepts/storage/dynamic-provisioning/>

pub mod claims;
pub mod class;
pub mod volumes;

use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use corten_api::k8s_openapi::api::storage::v1::StorageClass;
use corten_api::volumes::LOCAL_DIRECTORY;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, EventType, Next};

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::persistentvolume::index::{self, ByVolumeOrClass};
use crate::persistentvolume::matching::{claim_spec, class_of_claim, is_bound_to};

/// Makes volumes for claims, and the StorageClass of a cluster that never had it.
pub fn claims(setup: &Setup) -> Loop {
    let caches = &setup.caches;
    let claims = caches.of::<PersistentVolumeClaim>();
    // What is decided on is known before the first decision.
    drop((caches.of::<PersistentVolume>(), caches.of::<Node>()));
    let of_class = claims.clone();
    Controller::new(setup)
        .watches(&claims, |change| match change {
            Change::Set { key, new, .. } if claims::is_ours(new) => Some((*key).clone()),
            _ => None,
        })
        .watches(&caches.of::<StorageClass>(), move |change| match change {
            Change::Set { key, .. } => {
                let waiting = of_class.everywhere::<ByVolumeOrClass>(&index::of_class(&key.name));
                waiting.iter().filter(|claim| claims::is_ours(claim)).map(|claim| claim.key()).collect()
            }
            _ => Vec::new(),
        })
        .watches(&caches.of::<PersistentVolume>(), |change| match change {
            // A claim that was not bound to it yet wants another.
            Change::Removed { old, .. } if volumes::is_ours(old) => volumes::claim_of(old),
            _ => None,
        })
        .beside(class::made)
        .run(|context, key| async move { sync_claim(&context, &key).await })
}

/// Deletes volumes whose claims are gone.
pub fn volumes(setup: &Setup) -> Loop {
    let caches = &setup.caches;
    let of_nodes = caches.of::<PersistentVolume>();
    Controller::new(setup)
        .watches(&caches.of::<PersistentVolume>(), |change| match change {
            Change::Set { key, new, .. } if volumes::is_ours(new) => Some((*key).clone()),
            _ => None,
        })
        .watches(&caches.of::<Node>(), move |change| match change {
            // The directories of a node are gone with it. It costs a look at all volumes, once for each node that goes.
            Change::Removed { key, .. } => {
                let all = of_nodes.list();
                all.iter()
                    .filter(|volume| volumes::node_of(volume) == Some(key.name.as_str()))
                    .map(|v| v.key())
                    .collect()
            }
            _ => Vec::new(),
        })
        .run(|context, key| async move { sync_volume(&context, &key).await })
}

async fn sync_claim(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let caches = &context.caches;
    let Some(claim) = caches.of::<PersistentVolumeClaim>().get(key).filter(|claim| claims::is_ours(claim)) else {
        return Ok(Next::Done);
    };
    let class = class_of_claim(&claim).and_then(|name| caches.of::<StorageClass>().get(&Key::cluster(name)));
    let node = match claims::selected_node(&claim) {
        Some(name) => node(context, name).await?,
        None => None,
    };
    let volumes = caches.of::<PersistentVolume>();
    let is_made = volumes.get(&Key::cluster(claims::volume_name(&claim))).is_some();
    let step =
        claims::decide(&claims::Observed { claim: &claim, class: class.as_deref(), node: node.as_deref(), is_made });
    let tell =
        |kind, reason: &'static str, message: String| context.recorder.event(&claim.reference(), kind, reason, message);
    match step {
        claims::Step::Nothing => {}
        claims::Step::Refuse(why) => tell(EventType::Warning, "ProvisioningFailed", why),
        claims::Step::Reschedule { without_node, why } => {
            tell(EventType::Warning, "ProvisioningFailed", why);
            match context.client.update(&*without_node).await {
                Ok(written) => context.caught_up(&caches.of::<PersistentVolumeClaim>(), written.revision()).await,
                Err(err) if err.is(Reason::NotFound) => {}
                Err(err) => return Err(err),
            }
        }
        claims::Step::Make(volume) => {
            tell(
                EventType::Normal,
                "Provisioning",
                format!("External provisioner is provisioning volume for claim {:?}", key.to_string()),
            );
            match make(context, &volume, &claim).await {
                Ok(()) => {
                    let message = format!("Successfully provisioned volume {}", volume.name());
                    tell(EventType::Normal, "ProvisioningSucceeded", message);
                }
                Err(err) => {
                    let class = class_of_claim(&claim).unwrap_or_default();
                    let message = format!("failed to provision volume with StorageClass {class:?}: {err}");
                    tell(EventType::Warning, "ProvisioningFailed", message);
                    return Err(err);
                }
            }
        }
    }
    Ok(Next::Done)
}

/// The node of this name. That there is none is asked of the apiserver: the claim would be sent elsewhere.
async fn node(context: &Context, name: &str) -> Result<Option<Arc<Node>>, ApiError> {
    let key = Key::cluster(name);
    if let Some(node) = context.caches.of::<Node>().get(&key) {
        return Ok(Some(node));
    }
    match context.client.get::<Node>(&key).await {
        Ok(node) => Ok(Some(Arc::new(node))),
        Err(err) if err.is(Reason::NotFound) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Its name follows from the claim's uid: none is made twice, also when an answer was lost.
async fn make(context: &Context, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), ApiError> {
    let made = match context.client.create(volume).await {
        Err(err) if err.is(Reason::AlreadyExists) => {
            let there = context.client.get::<PersistentVolume>(&volume.key()).await?;
            if !is_bound_to(&there, claim) {
                return Err(err);
            }
            there
        }
        made => made?,
    };
    context.caught_up(&context.caches.of::<PersistentVolume>(), made.revision()).await;
    Ok(())
}

async fn sync_volume(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let cache = context.caches.of::<PersistentVolume>();
    let Some(volume) = cache.get(key).filter(|volume| volumes::is_ours(volume)) else { return Ok(Next::Done) };
    let asks_for_node = volumes::is_held_by_node(&volume);
    let has_node = match volumes::node_of(&volume).filter(|_| asks_for_node) {
        Some(name) => node(context, name).await?.is_some(),
        None => true,
    };
    match volumes::decide(&volume, has_node) {
        volumes::Step::Nothing => {}
        volumes::Step::Delete => {
            if context.delete::<PersistentVolume>(key, volume.uid()).await?.is_some() {
                context.seen_gone(&cache, key, |seen| seen.is_deleting() || seen.uid() != volume.uid()).await;
            }
        }
        volumes::Step::LetGo(freed) => match context.client.update(&*freed).await {
            Ok(written) => context.caught_up(&cache, written.revision()).await,
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        },
    }
    Ok(Next::Done)
}

/// Whether the claim has a volume, or is told of one.
fn has_volume(claim: &PersistentVolumeClaim) -> bool {
    claim_spec(claim).volume_name.as_deref().is_some_and(|name| !name.is_empty())
}

/// Whether this is our class's name of a provisioner.
fn is_our_name(provisioner: Option<&str>) -> bool {
    provisioner == Some(LOCAL_DIRECTORY)
}
