//! Every object the store has, in memory: what reads are served from.
//!
//! One watch on the whole store feeds all [`KindCache`]s in revision order, so "has the cache reached revision R" is one
//! number for all kinds. A read that must be as new as the store asks for the store's revision ([`newest`], one request
//! for all who wait), waits until the cache is there, and reads the kind's. A change wakes the watchers that may want it
//! ([`interest`]) and no others; each reads the recent changes ([`ring`]) at its own pace, and who falls off the ring's
//! end must list again.

mod feed;
mod filter;
mod forgotten;
mod graph;
mod interest;
mod item;
mod kind_cache;
mod newest;
mod replay;
mod ring;
mod roles;
mod scan;
mod shelves;
mod snapshot;
#[cfg(test)]
mod tests;
mod unreadable;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use corten_api::{ApiError, Reason};
pub(crate) use filter::Filter;
use forgotten::Forgotten;
pub(crate) use forgotten::{COMPACTION, told as forgotten_before};
pub use item::Item;
pub(crate) use item::{ByKey, FieldTerms, with_revision};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;
pub(crate) use kind_cache::KindCache;
use newest::Newest;
use prometheus_client::metrics::counter::Counter;
use shelves::Shelves;
pub(crate) use snapshot::Snapshot;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use unreadable::Unreadable;
pub(crate) use watcher::{Ask, Shown, Watcher, WatcherOptions};

use crate::authz::rbac::Index;
use crate::registry::custom::CustomKind;
use crate::registry::{ApiResource, Registry, SelectableField};
use crate::storage::{Storage, StorageError};

/// All keys of the API stand under this.
pub(crate) const ROOT: &str = "/registry/";
/// Reserved node ports stand here: not a kind of the API, yet cached as one.
pub(crate) const NODE_PORTS: &str = "corten/nodeports";
/// Who leads by each Lease that is a lock (`resources/fence.rs`): not a kind of the API, yet on a shelf.
pub(crate) const FENCES: &str = "corten/fences";
/// What guards the counts of each namespace that has quotas (`resources/quotas.rs`): likewise.
pub(crate) const QUOTAS: &str = "corten/quotas";
/// Kinds that come or go and wait for the feed; who brings more waits with them.
const ORDERS_MAX: usize = 16;
/// How long a read waits for a revision that the cache has not reached; upstream waits as long.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(3);

/// All kinds' caches, and how far they are.
#[derive(Debug)]
pub(crate) struct Cache {
    shelves: Shelves,
    /// The roles and bindings of all that `revision` says; newer, if at all, never older.
    roles: Arc<ArcSwap<Index>>,
    /// To the feed, which alone changes which shelves there are.
    orders: mpsc::Sender<feed::Order>,
    revision: watch::Sender<i64>,
    newest: Newest,
    unreadable: Arc<Unreadable>,
    forgotten: Forgotten,
    stalls: watch::Sender<u64>,
    storage: Arc<dyn Storage>,
    /// Cancelled when the feed has ended, which it never does by itself.
    feed_ended: CancellationToken,
    /// Ends the feed with the cache.
    _stop: DropGuard,
}

impl Cache {
    /// Returns once it holds the store's state.
    pub(crate) async fn start(storage: Arc<dyn Storage>, registry: &Registry) -> Result<Arc<Self>, StorageError> {
        let stop = CancellationToken::new();
        let (unreadable, forgotten) = (Arc::<Unreadable>::default(), Forgotten::default());
        let shelves = Shelves::of(&registry.table(), &unreadable);
        let roles = Arc::<ArcSwap<Index>>::default();
        let newest = Newest::start(storage.clone(), &stop);
        let revision = watch::Sender::new(0);
        let stalls = watch::Sender::new(0);
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (filled, beside) = ((shelves.clone(), roles.clone()), (unreadable.clone(), forgotten.clone()));
        let feed = feed::Feed::new(storage.clone(), filled, ordered, revision.clone(), beside, stalls.clone());
        let after = feed.fill().await?;
        let running = stop.clone();
        let feed_ended = CancellationToken::new();
        let ended = feed_ended.clone().drop_guard();
        tokio::spawn(async move {
            // Dropped however the task ends, also by a panic.
            let _ended = ended;
            tokio::select! {
                () = feed.run(after) => {}
                () = running.cancelled() => {}
            }
        });
        let _stop = stop.drop_guard();
        let cache = Self {
            shelves,
            roles,
            orders,
            revision,
            newest,
            unreadable,
            forgotten,
            stalls,
            storage,
            feed_ended,
            _stop,
        };
        // What was replayed from history must be there before the first reader is.
        let newest = cache.storage.current_revision().await?;
        let mut reached = cache.revision.subscribe();
        let caught_up = tokio::time::timeout(feed::FILL_DEADLINE, reached.wait_for(|r| *r >= newest)).await;
        match caught_up {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => {
                let what = format!("filling the cache up to revision {newest}");
                return Err(StorageError::Unavailable { what, source: None });
            }
        }
        Ok(Arc::new(cache))
    }
    /// By the part of the key behind [`ROOT`]: `pods`, `services/specs`.
    pub(crate) fn kind(&self, store_prefix: &str) -> Option<Arc<KindCache>> {
        self.shelves.get(store_prefix)
    }
    /// What requests are judged by, as it changes.
    pub(crate) fn roles(&self) -> &Arc<ArcSwap<Index>> {
        &self.roles
    }
    /// Keeps what is stored of a kind from now on. Returns once it can be read.
    pub(crate) async fn begin(&self, resource: &ApiResource, registry: &Registry) -> Result<(), ApiError> {
        let store_prefix = resource.store_prefix().to_owned();
        // Other versions of the kind may be selected by more.
        let mut fields = shelves::fields_of(&registry.table(), &store_prefix);
        let new = resource.fields().iter().filter(|new| !fields.iter().any(|f| f.name == new.name)).cloned();
        fields.extend(new.collect::<Vec<_>>());
        let (done, begun) = oneshot::channel();
        self.order(feed::Order::Begin { store_prefix, fields, done }).await?;
        begun.await.map_err(|_| feed_is_gone())?.map_err(|err| api_error(&err))
    }
    /// Keeps what is stored of a custom kind from now on, each object read by the version that it is stored in. It is read beside the
    /// feed, so that no other kind waits. Who watched it before is cut off.
    pub(crate) async fn begin_custom(&self, store_prefix: &str, kind: &CustomKind) -> Result<(), ApiError> {
        let mut fields: Vec<SelectableField> = Vec::new();
        for field in [&kind.stored].into_iter().chain(&kind.served).flat_map(|version| version.fields()) {
            if !fields.iter().any(|known| known.name == field.name) {
                fields.push(field.clone());
            }
        }
        let shelf = Arc::new(KindCache::new(store_prefix, fields, Some(kind.stored.clone()), &self.unreadable));
        shelf.define(kind.served.clone());
        let (done, prepared) = oneshot::channel();
        self.order(feed::Order::Prepare { shelf: shelf.clone(), done }).await?;
        prepared.await.map_err(|_| feed_is_gone())?;
        let listed = self.storage.list(shelf.prefix(), None).await.map_err(|err| api_error(&err))?;
        self.unreadable.keys(listed.unreadable_keys);
        let filled = listed.revision;
        shelf.fill_beside(listed).await;
        self.wait_for(filled).await?;
        let (done, put) = oneshot::channel();
        self.order(feed::Order::Put { shelf, filled, done }).await?;
        put.await.map_err(|_| feed_is_gone())?.map_err(|err| api_error(&err))
    }
    /// A custom kind is served otherwise, and what is stored of it is read as before.
    pub(crate) fn define(&self, store_prefix: &str, kind: &CustomKind) {
        if let Some(shelf) = self.kind(store_prefix) {
            shelf.define(kind.served.clone());
        }
    }
    /// Forgets a kind: nothing of it is served any more. Who watches is cut off.
    pub(crate) async fn end(&self, store_prefix: &str) -> Result<(), ApiError> {
        let (done, ended) = oneshot::channel();
        self.order(feed::Order::End { store_prefix: store_prefix.to_owned(), done }).await?;
        ended.await.map_err(|_| feed_is_gone())
    }
    async fn order(&self, order: feed::Order) -> Result<(), ApiError> {
        self.orders.send(order).await.map_err(|_| feed_is_gone())
    }
    /// Tells when the store has been lost for so long that watches must end.
    fn stalls(&self) -> watch::Receiver<u64> {
        self.stalls.subscribe()
    }
    /// How many keys and values were left out, as they are nothing of the API's.
    pub(crate) fn unreadable(&self) -> Counter {
        self.unreadable.counter()
    }
    /// The oldest revision whose state is known, to the store or to us.
    pub(crate) fn oldest(&self) -> i64 {
        self.forgotten.before()
    }
    /// The revision that all kinds have reached.
    pub(crate) fn revision(&self) -> i64 {
        *self.revision.borrow()
    }
    /// Tells of every change of [`revision`](Self::revision) after this call.
    pub(crate) fn changes(&self) -> watch::Receiver<i64> {
        self.revision.subscribe()
    }
    /// Whether nothing will ever be read from the store again: only a restart of the process helps.
    pub(crate) fn is_dead(&self) -> bool {
        self.feed_ended.is_cancelled()
    }
    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }
    /// Drops snapshots that nobody continued for long, and changes that need not be kept any more.
    pub(crate) fn release(&self) {
        self.shelves.all().iter().for_each(|kind| kind.release());
    }
    /// Waits until the cache is as new as the store was when this was called.
    pub(crate) async fn catch_up(&self) -> Result<i64, ApiError> {
        let revision = self.newest.ask().await?;
        self.wait_for(revision).await?;
        Ok(revision)
    }
    /// Waits until the cache has reached `revision`; not for long, as nobody may ever have made it.
    pub(crate) async fn wait_for(&self, revision: i64) -> Result<(), ApiError> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut reached = self.revision.subscribe();
        match tokio::time::timeout(CATCH_UP_DEADLINE, reached.wait_for(|r| *r >= revision)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(too_large(revision, self.revision())),
        }
    }
}

/// This cache of a kind has given way to another, or the kind is gone: what it says is not what is so now.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the kind has just been defined otherwise, please try again")]
pub(crate) struct Closed;

impl From<Closed> for ApiError {
    fn from(closed: Closed) -> Self {
        let mut err = ApiError::unavailable(closed.to_string());
        err.details().retry_after_seconds = Some(1);
        err
    }
}

fn feed_is_gone() -> ApiError {
    ApiError::unavailable("the store is not followed any more")
}

fn too_large(wanted: i64, current: i64) -> ApiError {
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let mut err = ApiError::new(Reason::Timeout, message);
    let details = err.details();
    details.retry_after_seconds = Some(1);
    details.causes = Some(vec![StatusCause {
        message: Some("Too large resource version".into()),
        reason: Some("ResourceVersionTooLarge".into()),
        field: None,
    }]);
    err
}

/// The watch cannot begin, or go on, as what comes next is forgotten.
pub(crate) fn too_old(wanted: i64, oldest: i64) -> ApiError {
    ApiError::expired(format!("too old resource version: {wanted} ({oldest})"))
}

/// How the API tells of a store that fails.
pub(crate) fn api_error(err: &StorageError) -> ApiError {
    match err {
        StorageError::Compacted { wanted, oldest } => too_old(*wanted, *oldest),
        StorageError::WentBack { .. } => ApiError::unavailable(err.to_string()),
        // No Retry-After: clients send again what has one, and this may be done.
        StorageError::Unknown { .. } => {
            tracing::warn!(%err, "a write is answered with: nobody knows");
            ApiError::new(Reason::Timeout, format!("Timeout: {err}; look at the object before you try again"))
        }
        StorageError::TooLarge { what, bytes } => ApiError::new(
            Reason::RequestEntityTooLarge,
            format!("etcdserver: request is too large: {what} has {bytes} bytes"),
        ),
        StorageError::Unavailable { what, source } => {
            let cause = source.as_ref().map_or(String::new(), |s| format!(": {s}"));
            tracing::warn!(what, cause, "the store does not answer");
            ApiError::unavailable(format!("the store does not answer: {what}{cause}"))
        }
    }
}
