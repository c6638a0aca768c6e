//! The finalizer of volumes: none goes while it is bound to a claim.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection>

use corten_api::k8s_openapi::api::core::v1::PersistentVolume;
use corten_api::{ApiError, Key};
use corten_client::Next;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::pvcprotection::decide::decide;
use crate::pvcprotection::finalizer;

const FINALIZER: &str = "kubernetes.io/pv-protection";
const BOUND: &str = "Bound";

pub fn controller(setup: &Setup) -> Loop {
    Controller::new(setup)
        .reconciles(&setup.caches.of::<PersistentVolume>())
        .run(|context, key| async move { sync(&context, &key).await })
}

async fn sync(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let Some(volume) = context.caches.of::<PersistentVolume>().get(key) else { return Ok(Next::Done) };
    let is_used = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(BOUND);
    finalizer(context, &*volume, FINALIZER, decide(&volume.metadata, FINALIZER, is_used)).await
}
