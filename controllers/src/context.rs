//! What every controller is given, and how it waits until it sees what it wrote itself.

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Cache, CancellationToken, Client, Recorder};

use crate::caches::Caches;
use crate::children::UnderWay;
use crate::width::Width;

/// Cheap to clone. Lives as long as this instance leads.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub recorder: Recorder,
    pub caches: Caches,
    pub stop: CancellationToken,
    /// How many writes of all controllers are under way at once.
    pub width: Width,
    /// As `client`, for writes that go out by `width`: it hears of each 429 at once, becomes narrower, and sends again.
    pub prompt: Client,
    pub under_way: UnderWay,
}

impl Context {
    pub fn new(client: Client, recorder: Recorder, caches: Caches, stop: CancellationToken) -> Self {
        let prompt = client.without_busy_retries();
        Self { client, prompt, recorder, caches, stop, width: Width::default(), under_way: UnderWay::default() }
    }

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

    /// Deletes the object if it still is the one with this uid. Returns the revision of the deletion, or of its
    /// beginning. `None`: it was not there any more.
    pub async fn delete<K: Object>(&self, key: &Key, uid: &str) -> Result<Option<i64>, ApiError> {
        let options = DeleteOptions { preconditions: same_uid(uid), ..DeleteOptions::default() };
        self.delete_with::<K>(key, uid, &options).await
    }

    /// As [`Self::delete`], with options that have the uid as a precondition.
    pub async fn delete_with<K: Object>(
        &self,
        key: &Key,
        uid: &str,
        options: &DeleteOptions,
    ) -> Result<Option<i64>, ApiError> {
        match self.width.send(|| self.prompt.delete::<K>(key, options)).await {
            Ok(revision) => Ok(Some(revision)),
            Err(err) if err.is(Reason::NotFound) => Ok(None),
            // Another of its name, or too many writers at once. Who took the second for the first would wait for ever
            // until the object is gone from its cache.
            Err(err) if err.is(Reason::Conflict) => match self.client.get::<K>(key).await {
                Ok(live) if live.uid() == uid => Err(err),
                Err(unknown) if !unknown.is(Reason::NotFound) => Err(unknown),
                _ => Ok(None),
            },
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
