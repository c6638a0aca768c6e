//! The one read and write path of all kinds: REST handlers and gRPC services both end here, with a proof that they have asked
//! ([`Authorized`]).
//!
//! What stands open without one tells of no object: which kinds there are and how many of each, whether a target fits its kind,
//! how far the cache has come. Admission and authentication look at objects through traits of their own, from within.

mod account_token;
mod admit;
mod advertise;
mod allocations;
mod api_services;
mod authentication_trust;
mod authorize;
mod body;
mod cluster_view;
mod compaction;
mod converted;
mod create;
mod custom_kinds;
mod delete;
mod encode;
mod event;
mod eviction;
mod fence;
mod identify;
mod looks;
mod managers;
mod meta;
mod options;
mod place;
mod pods;
mod policies;
mod priority_classes;
mod quotas;
mod read;
mod revise;
mod roles;
mod scale;
mod service_cidr;
mod stored;
mod system;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token;
mod turns;
mod update;
mod webhooks;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use authentication_trust::Trust;
pub use authorize::{Allowed, Authorized, AuthorizedPath, Permit, to};
use corten_api::ApiError;
pub use delete::check_options;
pub use event::{Event, EventKind};
pub use fence::Fence;
use futures::stream::BoxStream;
pub use identify::now_secs;
use ipnet::IpNet;
pub use options::{
    Deleted, FieldValidation, ListOptions, Page, ReadAt, WatchFrom, WatchOptions, WriteOptions, Written,
};

pub(crate) use system::target;
use tokio_util::sync::{CancellationToken, DropGuard};
pub(crate) use webhooks::endpoint;

use crate::admission::Chain;
use crate::admission::policy::Policies;
use crate::admission::webhook::Webhooks;
use crate::authn::Tokens;
use crate::authz::Authorizer;
use crate::cache::{Cache, api_error};
use crate::conversion::Conversions;
use crate::registry::{ApiResource, Registry};
use crate::storage::Storage;

/// Batches of events that came together. Ends after its first error; a watcher that falls too far behind gets `Expired`.
pub type WatchStream = BoxStream<'static, Result<Vec<Event>, ApiError>>;

/// What the paths must know about the cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    pub service_cidr: IpNet,
    pub node_ports: RangeInclusive<u16>,
    /// Where clients reach this server: an endpoint of the `kubernetes` Service. `None`: it is not one (tests).
    pub advertise: Option<SocketAddr>,
    pub tokens: Arc<Tokens>,
    /// Who is asked about every write.
    pub admission: Chain,
}

/// Reads and writes of all kinds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resources {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    cache: Arc<Cache>,
    settings: Settings,
    authorizer: Authorizer,
    looks: looks::Looks,
    webhooks: Webhooks,
    /// Where the Services are that they name.
    endpoints: webhooks::endpoint::Kept,
    policies: Policies,
    conversions: Conversions,
    /// To charge a namespace's quotas.
    quotas: turns::Turns<quotas::Latest>,
    /// To evict pods that its budgets guard.
    evictions: turns::Turns<()>,
    drain: CancellationToken,
    told_of_unread_service: AtomicBool,
    /// Ends what runs beside requests.
    _stop: DropGuard,
}

/// Knows the paths without keeping them alive.
#[derive(Clone, Debug)]
pub(crate) struct Weak(std::sync::Weak<Inner>);

impl Weak {
    pub(crate) fn upgrade(&self) -> Option<Resources> {
        Some(Resources { inner: self.0.upgrade()? })
    }
}

impl Resources {
    /// Fills the cache and starts what runs beside it. Returns once reads can be served.
    pub async fn start(storage: Arc<dyn Storage>, registry: Registry, settings: Settings) -> Result<Self, ApiError> {
        let mut custom_kinds = custom_kinds::Kept::stored(&*storage, &registry).await?;
        let cache = Cache::start(storage, &registry).await.map_err(|err| api_error(&err))?;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let authorizer = Authorizer::of_objects(cache.roles().clone());
        let inner = Inner {
            registry,
            cache,
            settings,
            authorizer,
            looks: looks::Looks::default(),
            webhooks: Webhooks::default(),
            endpoints: webhooks::endpoint::Kept::default(),
            policies: Policies::default(),
            conversions: Conversions::default(),
            quotas: turns::Turns::new(quotas::PATIENCE),
            evictions: turns::Turns::new(eviction::PATIENCE),
            drain,
            told_of_unread_service: AtomicBool::new(false),
            _stop: stop.clone().drop_guard(),
        };
        let resources = Self { inner: Arc::new(inner) };
        resources.prepare().await?;
        // All else that definitions want is done beside requests, as soon as that begins.
        resources.serve_missing_kinds(&mut custom_kinds).await;
        resources.run_beside(&stop, custom_kinds);
        Ok(resources)
    }
    /// For tasks that must not keep the server alive.
    pub(crate) fn weak(&self) -> Weak {
        Weak(Arc::downgrade(&self.inner))
    }
    /// The kinds that are served.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }
    /// Serves a kind from now on. Returns once it can be read and written; a kind of the same names gives way.
    pub async fn serve(&self, resource: ApiResource) -> Result<(), ApiError> {
        self.inner.cache.begin(&resource, &self.inner.registry).await?;
        self.inner.registry.put(resource);
        Ok(())
    }
    /// Serves a kind no more, and ends who watches it. What is stored of it stays.
    pub async fn withdraw(&self, resource: &ApiResource) -> Result<(), ApiError> {
        self.inner.registry.remove(resource);
        let shares = |other: &Arc<ApiResource>| other.store_prefix() == resource.store_prefix();
        if self.inner.registry.table().iter().any(shares) {
            return Ok(());
        }
        self.inner.cache.end(resource.store_prefix()).await
    }
    /// The revision the cache has reached.
    pub fn revision(&self) -> i64 {
        self.inner.cache.revision()
    }
    /// Counts what stands in the store and is nothing of the API's.
    pub fn unreadable(&self) -> prometheus_client::metrics::counter::Counter {
        self.inner.cache.unreadable()
    }
    /// Whether the cache follows the store no more, for good.
    pub fn is_dead(&self) -> bool {
        self.inner.cache.is_dead()
    }
    /// Waits until reads are as new as the store is now.
    pub async fn catch_up(&self) -> Result<i64, ApiError> {
        self.inner.cache.catch_up().await
    }
    /// Cancelled when all watches end because the server does.
    pub fn drained(&self) -> CancellationToken {
        self.inner.drain.clone()
    }
    /// Gives every watcher that takes them a last bookmark, and ends all watches. Reads and writes go on.
    pub fn drain(&self) {
        self.inner.drain.cancel();
    }
}
