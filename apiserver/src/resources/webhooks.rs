//! The cluster's webhooks and policies, as the cache has them, and where the Services are that webhooks name.

pub(crate) mod endpoint;

use std::sync::Arc;

use corten_api::ApiError;
use corten_api::selector::Selector;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;

use self::endpoint::Placed;
use super::place::Place;
use super::{Authorized, Resources};
use crate::admission::asking::{self, Operation};
use crate::admission::compiled::Look;
use crate::admission::matching;
use crate::admission::policy;
use crate::admission::policy::index::{Index as Policies, Stored};
use crate::admission::webhook::index::Index;
use crate::admission::webhook::{Configurations, State, Webhooks};
use crate::cache::{FieldTerms, Filter, Snapshot};
use crate::registry::ApiResource;
use crate::registry::admissionregistration::{
    GROUP, mutatingadmissionpolicy, mutatingadmissionpolicybinding, mutatingwebhookconfiguration,
    validatingadmissionpolicy, validatingadmissionpolicybinding, validatingwebhookconfiguration,
};
use crate::registry::apiregistration::routes::{Server, ServiceState};
use crate::view::Objects;
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
    /// As new as the cache is. `None`: no policy is put to use.
    pub(super) async fn policy_index(&self) -> Option<Arc<Policies>> {
        let snapshot = |plural| Some(self.inner.cache.kind(plural)?.snapshot(0));
        let look = || {
            let mutating_bindings = snapshot(mutatingadmissionpolicybinding::PLURAL)?;
            let validating_bindings = snapshot(validatingadmissionpolicybinding::PLURAL)?;
            if mutating_bindings.items.is_empty() && validating_bindings.items.is_empty() {
                return None;
            }
            let mutating = snapshot(mutatingadmissionpolicy::PLURAL)?;
            let validating = snapshot(validatingadmissionpolicy::PLURAL)?;
            Some(SeenPolicies { mutating, mutating_bindings, validating, validating_bindings })
        };
        let index = self.inner.policies.index(look).await?;
        (!index.is_empty()).then_some(index)
    }

    /// Who may be asked about a write of this resource. `None`: nobody is.
    pub(super) async fn hooks_about(&self, resource: &Arc<ApiResource>, subresource: &str) -> Option<Hooks> {
        let webhooks = match asking::is_exempt_from_webhooks(resource) {
            true => None,
            false => self.webhook_index().await,
        };
        let policies = match asking::is_exempt_from_policies(resource) {
            true => None,
            false => self.policy_index().await,
        };
        if webhooks.is_none() && policies.is_none() {
            return None;
        }
        Some(Hooks { webhooks, policies, resources: matching::equivalents(self.registry(), resource, subresource) })
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
        let (placed, _) = self.placed(namespace, name, port)?;
        let candidates = placed
            .candidates(port, rand::random())
            .ok_or_else(|| ApiError::unavailable(format!("no service port {port} found for service {name:?}")))?;
        if candidates.is_empty() {
            return Err(ApiError::unavailable(format!("no endpoints available for service {name:?}")));
        }
        Ok(candidates)
    }

    /// Where a Service is, and by how many slices that is told.
    fn placed(&self, namespace: &str, name: &str, port: u16) -> Result<(Arc<Placed>, usize), ApiError> {
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
        Ok((placed, slices.len()))
    }

    /// What there is of a Service that answers for group versions.
    pub(crate) fn service_state(&self, server: &Server) -> ServiceState {
        let Server { namespace, service: name, port, .. } = server;
        let objects: &dyn Objects = self;
        let Some(service) = objects.find::<Service>("", "services", namespace, name) else {
            return ServiceState::NoService;
        };
        // Where the others are is found out by asking.
        if !endpoint::is_cluster_ip(&service) {
            return ServiceState::There;
        }
        let Some(port_name) = endpoint::port_name(&service, *port) else { return ServiceState::NoPort };
        match self.placed(namespace, name, *port) {
            Ok((_, 0)) => ServiceState::NoSlices,
            Ok((placed, _)) if placed.candidates(*port, 0).is_none_or(|found| found.is_empty()) => {
                ServiceState::NoEndpoints { port_name: port_name.to_owned() }
            }
            // Where that cannot be told, who connects will.
            Ok(_) | Err(_) => ServiceState::There,
        }
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
    webhooks: Option<Arc<Index>>,
    policies: Option<Arc<Policies>>,
    /// The resource, and those that are its equivalents.
    resources: Vec<Arc<ApiResource>>,
}

impl Hooks {
    /// Those that are about this.
    pub(super) fn about(&self, operation: Operation, subresource: &str) -> Others<'_> {
        let (webhooks, policies) = (self.webhooks.as_deref(), self.policies.as_deref());
        let concern = policies.map(|index| index.concerns(operation, &self.resources, subresource)).unwrap_or_default();
        Others {
            webhooks: webhooks.filter(|index| index.concerns(operation, &self.resources, subresource)),
            mutating: policies.filter(|_| concern.mutating && operation != Operation::Delete),
            validating: policies.filter(|_| concern.validating),
        }
    }
}

/// Who is about a write beside the server's own plugins.
#[derive(Clone, Copy, Default)]
pub(super) struct Others<'a> {
    pub(super) webhooks: Option<&'a Index>,
    pub(super) mutating: Option<&'a Policies>,
    pub(super) validating: Option<&'a Policies>,
}

impl Others<'_> {
    pub(super) fn is_nobody(&self) -> bool {
        !self.change() && self.validating.is_none()
    }
    /// Whether one may change the object, or must not be asked twice for nothing.
    pub(super) fn change(&self) -> bool {
        self.webhooks.is_some() || self.mutating.is_some()
    }
    /// Whether somebody is asked who is not here.
    pub(super) fn are_elsewhere(&self) -> bool {
        self.webhooks.is_some()
    }
}

/// Both kinds of configurations.
struct Seen {
    mutating: Snapshot,
    validating: Snapshot,
}

impl Look for Seen {
    type State = State;
    type Read = Configurations;

    fn state(&self) -> State {
        [state(&self.mutating), state(&self.validating)]
    }
    fn bytes(&self) -> usize {
        weight([&self.mutating, &self.validating])
    }
    fn read(&self) -> Configurations {
        (all(&self.mutating), all(&self.validating))
    }
}

/// Policies of both kinds, and those who put them to use.
struct SeenPolicies {
    mutating: Snapshot,
    mutating_bindings: Snapshot,
    validating: Snapshot,
    validating_bindings: Snapshot,
}

impl SeenPolicies {
    fn all(&self) -> [&Snapshot; 4] {
        [&self.mutating, &self.mutating_bindings, &self.validating, &self.validating_bindings]
    }
}

impl Look for SeenPolicies {
    type State = policy::State;
    type Read = Stored;

    fn state(&self) -> policy::State {
        self.all().map(state)
    }
    fn bytes(&self) -> usize {
        weight(self.all())
    }
    fn read(&self) -> Stored {
        Stored {
            mutating: all(&self.mutating),
            mutating_bindings: all(&self.mutating_bindings),
            validating: all(&self.validating),
            validating_bindings: all(&self.validating_bindings),
        }
    }
}

fn weight<const N: usize>(of: [&Snapshot; N]) -> usize {
    of.iter().flat_map(|of| &of.items).map(|row| row.0.weight()).sum()
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
