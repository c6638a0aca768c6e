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
    /// Ends this controller, which finishes what it has in hand.
    pub stop: CancellationToken,
    /// Ends with the term: what is in hand is dropped once no write is under way.
    pub term: CancellationToken,
    /// How many writes of all controllers are under way at once.
    pub width: Width,
    /// As `client`, for writes that go out by `width`: it hears of each 429 at once, becomes narrower, and sends again.
    pub prompt: Client,
    pub under_way: UnderWay,
}

impl Context {
    /// Of a term that ends with `term`.
    pub fn new(client: Client, recorder: Recorder, caches: Caches, term: CancellationToken) -> Self {
        let (prompt, stop) = (client.without_busy_retries(), term.clone());
        Self { client, prompt, recorder, caches, stop, term, width: Width::default(), under_way: UnderWay::default() }
    }

    /// Returns once `cache` has seen `revision`. A controller waits here with its item in hand after it wrote, so that it
    /// never decides on a state older than its own doings: no pod is made twice. If the term ends first it does not return,
    /// and the item goes with the term.
    pub async fn caught_up<T>(&self, cache: &Cache<T>, revision: i64) {
        let _is_there = self.reached(cache, revision).await;
    }

    /// As [`Self::caught_up`]. False: the cache was this controller's own and has ended with it, so nothing more is decided.
    async fn reached<T>(&self, cache: &Cache<T>, revision: i64) -> bool {
        let reached = cache.reached_or_stopped(revision).await;
        if !reached && self.term.is_cancelled() {
            std::future::pending::<()>().await;
        }
        reached
    }

    /// Returns once `cache` no longer shows this object as it was: `gone` says so of what it shows.
    /// A deletion has no revision of its own to wait for.
    pub async fn seen_gone<T>(&self, cache: &Cache<T>, key: &Key, gone: impl Fn(&T) -> bool) {
        loop {
            // Taken before the look: a change between the two then ends the wait.
            let revision = cache.revision();
            if cache.get(key).is_none_or(|object| gone(&object)) || !self.reached(cache, revision + 1).await {
                return;
            }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use corten_api::k8s_openapi::api::core::v1::Pod;

    use super::*;
    use crate::children::Owner;
    use crate::pods::SeenPod;

    const LONG: Duration = Duration::from_secs(3600);

    async fn ends(wait: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(LONG, wait).await.is_ok()
    }

    /// A decision after such a wait would be on a cache that does not show what was written before it.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_cache_does_not_go_on_when_the_term_ends() {
        let term = CancellationToken::new();
        let client = Client::over(tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy());
        let recorder = Recorder::new(&client, "test", "");
        let context = Context::new(client.clone(), recorder, Caches::new(&client, &term), term.clone());
        // Of which nobody writes any more.
        let cache = Cache::<SeenPod>::default();
        assert!(ends(context.caught_up(&cache, 7)).await, "a controller's own, which has ended with it");
        term.cancel();
        assert!(!ends(context.caught_up(&cache, 7)).await, "a write");
        let owner = Owner { key: Key::new("ns", "a"), uid: "u".into(), generation: 0, deleting: false };
        let children = context.under_way.of::<()>("test");
        children.saw(&owner, 7);
        let settled = async {
            children.settle(&context, &owner, &cache, |_, ()| Pod::default()).await.unwrap();
        };
        assert!(!ends(settled).await, "the writes of an owner's children");
    }
}
