//! What every controller is given, and how it waits until it sees what it wrote itself.

use std::collections::HashSet;
use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Cache, CancellationToken, Client, Recorder};
use parking_lot::Mutex;

use crate::caches::Caches;

/// Cheap to clone. Lives as long as this instance leads.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub recorder: Recorder,
    pub caches: Caches,
    pub stop: CancellationToken,
}

impl Context {
    /// Returns once `cache` has seen `revision`, or when all stops. A controller waits here with its item in hand after
    /// it wrote, so that it never decides on a state older than its own doings: no pod is made twice.
    pub async fn caught_up<T>(&self, cache: &Cache<T>, revision: i64) {
        self.stop.run_until_cancelled(cache.reached(revision)).await;
    }

    /// Returns once `cache` no longer shows this object as it was: `gone` says so of what it shows.
    /// A deletion has no revision of its own to wait for.
    pub async fn seen_gone<T>(&self, cache: &Cache<T>, key: &Key, gone: impl Fn(&T) -> bool) {
        while !self.stop.is_cancelled() {
            // Taken before the look: a change between the two then ends the wait.
            let revision = cache.revision();
            if cache.get(key).is_none_or(|object| gone(&object)) {
                return;
            }
            self.caught_up(cache, revision + 1).await;
        }
    }

    /// Deletes the object if it still is the one with this uid. False: it was not there any more.
    pub async fn delete<K: Object>(&self, key: &Key, uid: &str) -> Result<bool, ApiError> {
        let options = DeleteOptions { preconditions: same_uid(uid), ..DeleteOptions::default() };
        match self.client.delete::<K>(key, &options).await {
            Ok(_) => Ok(true),
            Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => Ok(false),
            Err(err) => Err(err),
        }
    }
}

/// A precondition: only if the object still has this uid.
pub fn same_uid(uid: &str) -> Option<Preconditions> {
    Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None })
}

/// The namespace is being emptied: what cannot be made now never can.
pub fn is_terminating_namespace(err: &ApiError) -> bool {
    let causes = err.status().details.as_ref().and_then(|d| d.causes.as_ref());
    causes.into_iter().flatten().any(|c| c.reason.as_deref() == Some("NamespaceTerminating"))
}

/// Owners whose last creation of a pod got no answer. Such pods have no name that we know, so before the owner decides
/// again its cache must have seen all that was written until now.
#[derive(Clone, Debug, Default)]
pub struct Doubts {
    owners: Arc<Mutex<HashSet<Key>>>,
}

impl Doubts {
    pub fn add(&self, owner: &Key) {
        self.owners.lock().insert(owner.clone());
    }

    pub async fn settle<T>(&self, context: &Context, owner: &Key, pods: &Cache<T>) -> Result<(), ApiError> {
        if !self.owners.lock().contains(owner) {
            return Ok(());
        }
        // A list is read at the newest revision; the selector is there only to keep it short.
        let nothing = format!("metadata.name={}", owner.name);
        let now = context.client.list_selected::<Pod>(owner.namespace_opt(), "", &nothing).await?.revision;
        context.caught_up(pods, now).await;
        self.owners.lock().remove(owner);
        Ok(())
    }
}
