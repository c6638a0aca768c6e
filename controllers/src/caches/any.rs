//! Caches of whatever kind, seen alike: how far they are, and the metadata of what is in them.

use corten_api::Key;
use corten_client::{CancellationToken, Change};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Kept, Shared};
use crate::metadata::SeenMeta;

/// How far a cache has seen.
pub trait Progress: Send + Sync {
    fn revision(&self) -> i64;
    /// How many objects are in it.
    fn objects(&self) -> usize;
    fn reached(&self, revision: i64) -> BoxFuture<'_, ()>;
    /// As `reached`, and asks to be told however little happens: see [`corten_client::Cache::catch_up`].
    fn catch_up(&self, revision: i64) -> BoxFuture<'_, ()>;
}

impl<T: Send + Sync + 'static> Progress for Shared<T> {
    fn revision(&self) -> i64 {
        self.cache.revision()
    }
    fn objects(&self) -> usize {
        self.cache.len()
    }
    fn reached(&self, revision: i64) -> BoxFuture<'_, ()> {
        self.cache.reached(revision).boxed()
    }
    fn catch_up(&self, revision: i64) -> BoxFuture<'_, ()> {
        self.cache.catch_up(revision).boxed()
    }
}

/// A change of an object's metadata: its key, what it was, and what it is (`None`: it is gone).
pub type Tell = Box<dyn FnMut(&Key, Option<SeenMeta>, Option<SeenMeta>) + Send>;

/// Any cache, seen as one of metadata.
pub trait MetaCache: Progress {
    fn get(&self, key: &Key) -> Option<SeenMeta>;
    fn in_namespace(&self, namespace: &str) -> Vec<SeenMeta>;
    fn all(&self) -> Vec<SeenMeta>;
    /// Tells of what is here, then of every change until `owner` is cancelled.
    fn subscribe(&self, owner: &CancellationToken, tell: Tell);
}

impl<T: Kept> MetaCache for Shared<T> {
    fn get(&self, key: &Key) -> Option<SeenMeta> {
        self.cache.get(key).map(|object| object.meta())
    }
    fn in_namespace(&self, namespace: &str) -> Vec<SeenMeta> {
        self.cache.in_namespace(namespace).iter().map(|object| object.meta()).collect()
    }
    fn all(&self) -> Vec<SeenMeta> {
        self.cache.list().iter().map(|object| object.meta()).collect()
    }
    fn subscribe(&self, owner: &CancellationToken, mut tell: Tell) {
        self.owned_by(owner).subscribe(move |change| match change {
            Change::Set { key, old, new } => tell(key, old.map(|o| o.meta()), Some(new.meta())),
            Change::Removed { key, old } => tell(key, Some(old.meta()), None),
            Change::Synced => {}
        });
    }
}
