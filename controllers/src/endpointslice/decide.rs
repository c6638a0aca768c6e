//! Which EndpointSlices a Service should have, with as few writes as may be to those it has.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{Service, ServiceSpec};
use corten_api::k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::{Key, Object};

use super::topology;
use crate::backends::{self, Backend, Family, HEADLESS_LABEL, Port};
use crate::pods::{Labels, SeenPod};

pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Endpoints in one slice; more go into another.
pub const ENDPOINTS_MAX: usize = 100;

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub service: &'a Service,
    /// The pods that it selects.
    pub pods: &'a [Arc<SeenPod>],
    /// The slices that we made for it.
    pub slices: &'a [Arc<EndpointSlice>],
    /// The nodes of these pods that are there, and their zones.
    pub nodes: &'a BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Create(EndpointSlice),
    Update(EndpointSlice),
    Delete { key: Key, uid: String },
}

/// Of a Service that asks for hints by [`topology`], endpoints keep the hints that they have.
pub fn decide(seen: &Observed<'_>) -> Vec<Action> {
    let Some(spec) = &seen.service.spec else { return Vec::new() };
    let mut spare: Vec<&Arc<EndpointSlice>> = seen.slices.iter().collect();
    let mut plan = Plan::default();
    for family in backends::families(spec) {
        for (ports, endpoints) in groups(seen, spec, family) {
            let fits = |s: &&Arc<EndpointSlice>| s.address_type == family.address_type() && ports_of(s) == ports;
            let (mine, rest) = spare.into_iter().partition::<Vec<_>, _>(fits);
            spare = rest;
            plan.place(seen.service, family, &ports, endpoints, mine);
        }
    }
    plan.finish(seen.service, spare)
}

type Groups = BTreeMap<Vec<Port>, Vec<Endpoint>>;

/// Endpoints by the ports they have. Pods differ in these only where a targetPort is a name; one that has no such port is
/// still there, for DNS and for whoever reads slices, in a slice without that port.
fn groups(seen: &Observed<'_>, spec: &ServiceSpec, family: Family) -> Groups {
    let mut groups = Groups::new();
    let publish_not_ready = spec.publish_not_ready_addresses == Some(true);
    // Nobody on a node that is gone answers, whatever the pod's status still says.
    let is_there = |backend: &Backend<'_>| backend.pod.node.as_ref().is_none_or(|node| seen.nodes.contains_key(node));
    let carried = topology::is_auto(seen.service).then(|| carried(seen.slices, family));
    let found = backends::backends(seen.service, family, seen.pods).into_iter();
    for mut backend in found.filter(|backend| publish_not_ready || is_there(backend)) {
        let ports = std::mem::take(&mut backend.ports);
        let mut endpoint = endpoint(&backend, publish_not_ready, seen.nodes);
        endpoint.hints = match &carried {
            Some(carried) => carried.get(pod_uid(&endpoint).as_str()).map(|hints| (*hints).clone()),
            None => hints(spec.traffic_distribution.as_deref(), &endpoint),
        };
        groups.entry(ports).or_default().push(endpoint);
    }
    if groups.is_empty() {
        // An empty slice says: seen, and nobody there.
        groups.insert(Vec::new(), Vec::new());
    }
    groups
}

fn endpoint(backend: &Backend<'_>, publish_not_ready: bool, nodes: &BTreeMap<String, Option<String>>) -> Endpoint {
    let (serving, terminating) = (backend.serving(), backend.terminating());
    Endpoint {
        addresses: vec![backend.ip.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publish_not_ready || serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: backend.hostname.map(str::to_owned),
        node_name: backend.pod.node.clone(),
        target_ref: Some(backend.target()),
        zone: backend.pod.node.as_ref().and_then(|node| nodes.get(node)).cloned().flatten(),
        ..Endpoint::default()
    }
}

/// The hints that endpoints have, by the uid of their pod. They are judged once it is known which slices change otherwise.
fn carried(slices: &[Arc<EndpointSlice>], family: Family) -> BTreeMap<&str, &EndpointHints> {
    fn hint(endpoint: &Endpoint) -> Option<(&str, &EndpointHints)> {
        Some((endpoint.target_ref.as_ref()?.uid.as_deref()?, endpoint.hints.as_ref()?))
    }
    let mine = slices.iter().filter(|slice| slice.address_type == family.address_type());
    mine.flat_map(|slice| slice.endpoints.iter().flatten()).filter_map(hint).collect()
}

/// For whom an endpoint is meant, where the Service's traffic is to stay near. An endpoint that takes none has no hints.
fn hints(distribution: Option<&str>, endpoint: &Endpoint) -> Option<EndpointHints> {
    let is_ready = endpoint.conditions.as_ref().is_some_and(|c| c.ready == Some(true));
    let zones = || endpoint.zone.clone().map(|name| vec![ForZone { name }]);
    let hints = match distribution.filter(|_| is_ready)? {
        "PreferClose" | "PreferSameZone" => EndpointHints { for_zones: zones(), for_nodes: None },
        // The zone is for nodes that have no endpoint of their own.
        "PreferSameNode" => {
            let for_nodes = endpoint.node_name.clone().map(|name| vec![ForNode { name }]);
            EndpointHints { for_zones: zones(), for_nodes }
        }
        _ => return None,
    };
    (hints.for_zones.is_some() || hints.for_nodes.is_some()).then_some(hints)
}

pub(crate) fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let port = |p: &EndpointPort| Port {
        name: p.name.clone().unwrap_or_default(),
        protocol: p.protocol.clone().unwrap_or_else(|| "TCP".into()),
        number: p.port.unwrap_or(0),
        app_protocol: p.app_protocol.clone(),
    };
    let mut ports: Vec<Port> = slice.ports.iter().flatten().map(port).collect();
    ports.sort();
    ports
}

pub(crate) fn wire_ports(ports: &[Port]) -> Vec<EndpointPort> {
    let wire = |p: &Port| EndpointPort {
        name: Some(p.name.clone()),
        port: Some(p.number),
        protocol: Some(p.protocol.clone()),
        app_protocol: p.app_protocol.clone(),
    };
    ports.iter().map(wire).collect()
}

/// A slice that is there, with the endpoints it is to have.
struct Draft {
    slice: Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
    changed: bool,
}

#[derive(Default)]
struct Plan {
    create: Vec<EndpointSlice>,
    update: Vec<EndpointSlice>,
    /// Nothing is left in these.
    empty: Vec<Arc<EndpointSlice>>,
}

impl Plan {
    /// Finds a place for `endpoints` (all with `ports`): where they are, else where there is room, else in new slices.
    fn place(
        &mut self,
        service: &Service,
        family: Family,
        ports: &[Port],
        endpoints: Vec<Endpoint>,
        mine: Vec<&Arc<EndpointSlice>>,
    ) {
        let nobody = endpoints.is_empty();
        let mut left: BTreeMap<String, Endpoint> = endpoints.into_iter().map(|e| (pod_uid(&e), e)).collect();
        let mut drafts: Vec<Draft> = mine.into_iter().map(|slice| keep(service, slice, &mut left)).collect();
        // Those that are written anyhow come first, then the fullest.
        drafts.sort_by_key(|d| (!d.changed, Reverse(d.endpoints.len())));
        let mut left = left.into_values();
        for draft in &mut drafts {
            let before = draft.endpoints.len();
            draft.endpoints.extend(left.by_ref().take(ENDPOINTS_MAX.saturating_sub(before)));
            draft.changed |= draft.endpoints.len() > before;
        }
        let mut has_kept = false;
        for draft in drafts {
            if draft.endpoints.is_empty() && (!nobody || has_kept) {
                self.empty.push(draft.slice);
                continue;
            }
            has_kept = true;
            if draft.changed {
                self.update.push(rewritten(service, &draft.slice, ports, draft.endpoints));
            }
        }
        if nobody && !has_kept {
            self.create.push(new_slice(service, family, ports, Vec::new()));
        }
        let left: Vec<Endpoint> = left.collect();
        self.create.extend(left.chunks(ENDPOINTS_MAX).map(|chunk| new_slice(service, family, ports, chunk.to_vec())));
    }

    /// Slices that are not needed any more take in what needs a new one; the rest go.
    fn finish(mut self, service: &Service, spare: Vec<&Arc<EndpointSlice>>) -> Vec<Action> {
        self.empty.extend(spare.into_iter().cloned());
        let mut actions = Vec::new();
        for new in self.create {
            let same_type = |s: &Arc<EndpointSlice>| s.address_type == new.address_type;
            let Some(at) = self.empty.iter().position(same_type) else {
                actions.push(Action::Create(new));
                continue;
            };
            let old = self.empty.swap_remove(at);
            let ports = ports_of(&new);
            actions.push(Action::Update(rewritten(service, &old, &ports, new.endpoints.unwrap_or_default())));
        }
        actions.extend(self.update.into_iter().map(Action::Update));
        let delete = |s: Arc<EndpointSlice>| Action::Delete { key: s.key(), uid: s.uid().to_owned() };
        actions.extend(self.empty.into_iter().map(delete));
        actions
    }
}

/// What stays in a slice: endpoints that are still wanted, as they are now.
fn keep(service: &Service, slice: &Arc<EndpointSlice>, wanted: &mut BTreeMap<String, Endpoint>) -> Draft {
    let before = slice.endpoints.as_deref().unwrap_or_default();
    let endpoints: Vec<Endpoint> = before.iter().filter_map(|e| wanted.remove(&pod_uid(e))).collect();
    let same_owner = slice.is_controlled_by(service.uid());
    let same_labels = slice.metadata.labels.as_ref() == Some(&labels(service));
    let changed = endpoints != before || !same_labels || !same_owner;
    Draft { slice: Arc::clone(slice), endpoints, changed }
}

fn pod_uid(endpoint: &Endpoint) -> String {
    endpoint.target_ref.as_ref().and_then(|t| t.uid.clone()).unwrap_or_default()
}

fn rewritten(service: &Service, old: &EndpointSlice, ports: &[Port], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let mut slice = old.clone();
    slice.metadata.labels = Some(labels(service));
    slice.metadata.owner_references = Some(vec![service.controller_reference()]);
    slice.ports = Some(wire_ports(ports));
    slice.endpoints = Some(endpoints);
    slice
}

fn new_slice(service: &Service, family: Family, ports: &[Port], endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![service.controller_reference()]),
            ..ObjectMeta::default()
        },
        address_type: family.address_type().into(),
        ports: Some(wire_ports(ports)),
        endpoints: Some(endpoints),
    }
}

/// The Service's own labels, and ours.
fn labels(service: &Service) -> Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS_LABEL);
    if service.spec.as_ref().is_some_and(backends::is_headless) {
        labels.insert(HEADLESS_LABEL.into(), String::new());
    }
    labels.insert(SERVICE_LABEL.into(), service.name().into());
    labels.insert(MANAGED_BY_LABEL.into(), MANAGER.into());
    labels
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
