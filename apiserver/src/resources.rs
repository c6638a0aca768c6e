//! The one read and write path of all kinds: REST handlers and gRPC services both end here.

mod event;
mod options;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use corten_api::ApiError;
pub use event::{Event, EventKind};
use futures::stream::BoxStream;
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
pub use options::{
    Deleted, FieldValidation, ListOptions, Page, ReadAt, WatchFrom, WatchOptions, WriteOptions, Written,
};

use crate::patch;
use crate::registry::Registry;
use crate::request::{Target, User};
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
}

/// Reads and writes of all kinds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resources {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
}

impl Resources {
    /// Fills the cache and starts what runs beside it. Returns once reads can be served.
    pub async fn start(storage: Arc<dyn Storage>, registry: Registry, settings: Settings) -> Result<Self, ApiError> {
        drop((storage, settings));
        Ok(Self { inner: Arc::new(Inner { registry }) })
    }
    /// The kinds that are served.
    pub fn entries(&self) -> &Registry {
        &self.inner.registry
    }
    /// The revision the cache has reached.
    pub fn revision(&self) -> i64 {
        0
    }
    /// Gives every watcher that takes them a last bookmark, and ends all watches. Reads and writes go on.
    pub fn drain(&self) {}

    /// One object; with subresource `scale`, its Scale.
    pub async fn get(&self, target: &Target, _at: ReadAt) -> Result<Bytes, ApiError> {
        Err(not_yet(target))
    }
    pub async fn list(&self, target: &Target, _options: ListOptions) -> Result<Page, ApiError> {
        Err(not_yet(target))
    }
    pub async fn watch(&self, target: &Target, _options: WatchOptions) -> Result<WatchStream, ApiError> {
        Err(not_yet(target))
    }
    /// `target.name` is empty, or names the object whose subresource is created (binding, eviction).
    pub async fn create(
        &self,
        _user: &User,
        target: &Target,
        _json: Bytes,
        _options: WriteOptions,
    ) -> Result<Written, ApiError> {
        Err(not_yet(target))
    }
    /// Also `status`, `scale`, `finalize`, `ephemeralcontainers`.
    pub async fn update(
        &self,
        _user: &User,
        target: &Target,
        _json: Bytes,
        _options: WriteOptions,
    ) -> Result<Written, ApiError> {
        Err(not_yet(target))
    }
    pub async fn patch(
        &self,
        _user: &User,
        target: &Target,
        _kind: patch::Kind,
        _body: Bytes,
        _options: WriteOptions,
    ) -> Result<Written, ApiError> {
        Err(not_yet(target))
    }
    pub async fn delete(
        &self,
        _user: &User,
        target: &Target,
        _how: DeleteOptions,
        _options: WriteOptions,
    ) -> Result<Deleted, ApiError> {
        Err(not_yet(target))
    }
    /// The deleted objects, as they were.
    pub async fn delete_collection(
        &self,
        _user: &User,
        target: &Target,
        _which: ListOptions,
        _how: DeleteOptions,
        _options: WriteOptions,
    ) -> Result<Page, ApiError> {
        Err(not_yet(target))
    }
}

fn not_yet(target: &Target) -> ApiError {
    ApiError::unavailable(format!("{} are not served yet", target.resource))
}
