//! The cluster's webhooks, as the cache has their configurations, and where the Services are that they name.

mod endpoint;

use std::sync::Arc;

use corten_api::selector::Selector;
use corten_api::{ApiError, Object};
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;

use super::place::Place;
use super::{Authorized, Resources};
use crate::admission::webhook::index::Index;
use crate::admission::webhook::{self, Configurations, Look, Operation, Resolve, State, Webhooks, matching};
use crate::cache::{FieldTerms, Filter, Snapshot};
use crate::registry::ApiResource;
use crate::registry::admissionregistration::{GROUP, mutatingwebhookconfiguration, validatingwebhookconfiguration};
use crate::view::Objects;

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

impl Resources {
    pub(super) fn webhooks(&self) -> &Webhooks {
        &self.inner.webhooks
    }

    /// Registers what is counted of them.
    pub fn count_webhooks(&self, registry: &mut prometheus_client::registry::Registry) {
        self.webhooks().register(registry);
    }

    /// As new as the cache is. `None`: nobody is asked.
    pub(super) async fn webhook_index(&self) -> Option<Arc<Index>> {
        let snapshot = |plural| Some(self.inner.cache.kind(plural)?.snapshot(0));
        let look = || {
            let mutating = snapshot(mutatingwebhookconfiguration::PLURAL)?;
            Some(Seen { mutating, validating: snapshot(validatingwebhookconfiguration::PLURAL)? })
        };
        let index = self.webhooks().index(look).await?;
        (!index.is_empty()).then_some(index)
    }
    /// Who may be asked about a write of this resource. `None`: nobody is.
    pub(super) async fn hooks_about(&self, resource: &Arc<ApiResource>, subresource: &str) -> Option<Hooks> {
        if webhook::is_exempt(resource) {
            return None;
        }
        let index = self.webhook_index().await?;
        Some(Hooks { index, resources: matching::equivalents(self.registry(), resource, subresource) })
    }
    /// The same, for what `may` allows.
    pub(super) async fn hooks_of<V>(&self, may: &Authorized<V>, place: &Place<'_>) -> Option<Hooks> {
        match may.asks_webhooks() {
            true => self.hooks_about(&place.resource, &may.target().subresource).await,
            false => None,
        }
    }

    fn slices_of(&self, namespace: &str, service: &str) -> Result<Vec<EndpointSlice>, ApiError> {
        let labels = Selector::parse(&format!("{SERVICE_NAME_LABEL}={service}"));
        let labels = labels.map_err(|err| ApiError::bad_request(err.to_string()))?;
        let place = self.builtin("discovery.k8s.io", "v1", "endpointslices")?;
        let of_service = Filter::new(namespace, labels, FieldTerms::default());
        let snapshot = place.cached.snapshot(self.inner.cache.revision());
        let read = |json: bytes::Bytes| serde_json::from_slice(&json).map_err(ApiError::internal);
        of_service.select(&snapshot, "").map(|item| read(item.object())).collect()
    }

    fn endpoint_of(&self, namespace: &str, name: &str, port: u16) -> Result<String, ApiError> {
        let objects: &dyn Objects = self;
        let service = objects.find::<Service>("", "services", namespace, name);
        let service = service.ok_or_else(|| ApiError::unavailable(format!("service {name:?} not found")))?;
        if let Some(name) = endpoint::external_name(&service) {
            return Ok(format!("{name}:{port}"));
        }
        let port = endpoint::port_name(&service, port).ok_or_else(|| {
            ApiError::unavailable(format!("no service port {port} found for service {:?}", service.name()))
        })?;
        let slices = self.slices_of(namespace, name)?;
        let chosen = endpoint::choose(&slices, port, endpoint::family(&service), rand::random());
        let none = || ApiError::unavailable(format!("no endpoints available for service {name:?}"));
        chosen.map(|address| address.to_string()).ok_or_else(none)
    }
}

impl Resolve for Resources {
    /// One of the Service's endpoints, and not its ClusterIP: a master need not be a node.
    fn resolve<'a>(
        &'a self,
        namespace: &'a str,
        service: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<String, ApiError>> {
        async move { self.endpoint_of(namespace, service, port) }.boxed()
    }
}

/// Who may be asked about one write, from its beginning to its end: whoever is configured meanwhile is asked about the next.
#[derive(Clone, Debug)]
pub(super) struct Hooks {
    index: Arc<Index>,
    /// The resource, and those that are its equivalents.
    resources: Vec<Arc<ApiResource>>,
}

impl Hooks {
    /// `None`: none is about this.
    pub(super) fn about(&self, operation: Operation, subresource: &str) -> Option<&Index> {
        self.index.concerns(operation, &self.resources, subresource).then_some(&*self.index)
    }
}

/// Both kinds of configurations.
struct Seen {
    mutating: Snapshot,
    validating: Snapshot,
}

impl Look for Seen {
    fn state(&self) -> State {
        [state(&self.mutating), state(&self.validating)]
    }
    fn bytes(&self) -> usize {
        [&self.mutating, &self.validating].iter().flat_map(|of| &of.items).map(|row| row.0.weight()).sum()
    }
    fn read(&self) -> Configurations {
        (all(&self.mutating), all(&self.validating))
    }
}

/// With both equal no object can have come, gone or changed: a change has a revision of its own, and a removal leaves one less.
fn state(of: &Snapshot) -> (usize, i64) {
    (of.items.len(), of.items.iter().map(|row| row.0.revision).max().unwrap_or(0))
}

/// What the store holds was valid when it was written; what no longer parses is told of and asks nobody.
fn all<K: DeserializeOwned>(of: &Snapshot) -> Vec<K> {
    let read = |json: bytes::Bytes| serde_json::from_slice(&json);
    let items = of.items.iter().filter_map(|row| {
        let read = read(row.0.object());
        read.inspect_err(|err| tracing::error!(%err, "{} of {GROUP} cannot be read: it is not asked", row.0.name()))
            .ok()
    });
    items.collect()
}
