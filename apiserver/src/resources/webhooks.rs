//! The cluster's webhooks, as the cache has their configurations, and where the Services are that they name.

pub(crate) mod endpoint;

use std::sync::Arc;

use corten_api::ApiError;
use corten_api::selector::Selector;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;

use self::endpoint::Placed;
use super::place::Place;
use super::{Authorized, Resources};
use crate::admission::asking::{self, Operation};
use crate::admission::matching;
use crate::admission::webhook::index::Index;
use crate::admission::webhook::{Configurations, Look, State, Webhooks};
use crate::cache::{FieldTerms, Filter, Snapshot};
use crate::registry::ApiResource;
use crate::registry::admissionregistration::{GROUP, mutatingwebhookconfiguration, validatingwebhookconfiguration};
use crate::webhook::Resolve;

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Of one Service: with more of them none is better than another.
const SLICES_MAX: usize = 100;

impl Resources {
    pub(super) fn webhooks(&self) -> &Webhooks {
        &self.inner.webhooks
    }

    /// Registers what is counted of them.
    pub fn count_webhooks(&self, registry: &mut prometheus_client::registry::Registry) {
        self.webhooks().register(registry);
        self.inner.conversions.register(registry);
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
        if asking::is_exempt(resource) {
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

    /// Where a Service is, as the cache has it now: some to try.
    fn endpoints_of(&self, namespace: &str, name: &str, port: u16) -> Result<Vec<String>, ApiError> {
        let services = &self.builtin("", "v1", "services")?;
        let service = services.cached.get(&services.short_key(namespace, name));
        let service = service.ok_or_else(|| ApiError::unavailable(format!("service {name:?} not found")))?;
        let labels = Selector::parse(&format!("{SERVICE_NAME_LABEL}={name}"));
        let labels = labels.map_err(|err| ApiError::bad_request(err.to_string()))?;
        let slices = &self.builtin("discovery.k8s.io", "v1", "endpointslices")?;
        let of_service = Filter::new(namespace, labels, FieldTerms::default());
        let snapshot = slices.cached.snapshot(self.inner.cache.revision());
        let slices: Vec<_> = of_service.select(&snapshot, "").take(SLICES_MAX).collect();
        let revisions = std::iter::once(service.revision).chain(slices.iter().map(|slice| slice.revision)).collect();
        let placed = self.inner.endpoints.get((namespace, name, port), revisions, || {
            let slices: Result<Vec<EndpointSlice>, _> =
                slices.iter().map(|item| serde_json::from_slice(&item.object())).collect();
            let service = serde_json::from_slice(&service.object()).map_err(ApiError::internal)?;
            Ok::<_, ApiError>(Placed::of(&service, &slices.map_err(ApiError::internal)?, port))
        })?;
        let candidates = placed
            .candidates(port, rand::random())
            .ok_or_else(|| ApiError::unavailable(format!("no service port {port} found for service {name:?}")))?;
        if candidates.is_empty() {
            return Err(ApiError::unavailable(format!("no endpoints available for service {name:?}")));
        }
        Ok(candidates)
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
        async move { Ok(self.endpoints_of(namespace, service, port)?.swap_remove(0)) }.boxed()
    }
    fn candidates<'a>(
        &'a self,
        namespace: &'a str,
        service: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Vec<String>, ApiError>> {
        async move { self.endpoints_of(namespace, service, port) }.boxed()
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
