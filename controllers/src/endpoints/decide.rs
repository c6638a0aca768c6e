//! The Endpoints object that a Service should have.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#endpoints>

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServiceSpec,
};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::backends::{self, Backend, HEADLESS_LABEL, Port};
use crate::pods::{Labels, SeenPod};

const MANAGED_BY_LABEL: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses in one object; those beyond are left to EndpointSlices.
const ADDRESSES_MAX: usize = 1000;

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub service: Option<&'a Service>,
    /// The pods that it selects.
    pub pods: &'a [Arc<SeenPod>],
    pub existing: Option<&'a Endpoints>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Keep,
    Create(Endpoints),
    Update(Endpoints),
    Delete { uid: String },
}

pub fn decide(seen: &Observed<'_>) -> Action {
    let Some(service) = seen.service.filter(|s| !s.is_deleting()) else {
        // Without its Service, what we made has no meaning; what others made is theirs.
        let ours = |e: &&Endpoints| e.label(MANAGED_BY_LABEL) == Some(MANAGER) && !e.is_deleting();
        let orphan = seen.existing.filter(ours);
        return orphan.map_or(Action::Keep, |e| Action::Delete { uid: e.uid().to_owned() });
    };
    let Some(spec) = service.spec.as_ref().filter(|_| backends::selected_labels(service).is_some()) else {
        return Action::Keep;
    };
    let (subsets, truncated) = subsets(service, spec, seen.pods);
    let labels = labels(service, spec);
    let Some(old) = seen.existing else {
        let metadata = ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        };
        return Action::Create(with(Endpoints { metadata, subsets: None }, subsets, labels, truncated));
    };
    let new = with(old.clone(), subsets, labels, truncated);
    let lists = |e: &Endpoints| e.subsets.clone().unwrap_or_default();
    if new.metadata == old.metadata && lists(&new) == lists(old) { Action::Keep } else { Action::Update(new) }
}

fn with(mut endpoints: Endpoints, subsets: Vec<EndpointSubset>, labels: Labels, truncated: bool) -> Endpoints {
    endpoints.metadata.labels = Some(labels);
    if truncated {
        let annotations = endpoints.metadata.annotations.get_or_insert_default();
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    } else if let Some(annotations) = &mut endpoints.metadata.annotations {
        annotations.remove(OVER_CAPACITY);
        if annotations.is_empty() {
            endpoints.metadata.annotations = None;
        }
    }
    endpoints.subsets = (!subsets.is_empty()).then_some(subsets);
    endpoints
}

fn labels(service: &Service, spec: &ServiceSpec) -> Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS_LABEL);
    if backends::is_headless(spec) {
        labels.insert(HEADLESS_LABEL.into(), String::new());
    }
    labels.insert(MANAGED_BY_LABEL.into(), MANAGER.into());
    labels
}

/// Addresses by the ports they have, in a fixed order, and whether some had to be left out.
fn subsets(service: &Service, spec: &ServiceSpec, pods: &[Arc<SeenPod>]) -> (Vec<EndpointSubset>, bool) {
    let publish_not_ready = spec.publish_not_ready_addresses == Some(true);
    // This form has room for one family only.
    let Some(family) = backends::families(spec).into_iter().next() else { return (Vec::new(), false) };
    let mut found = backends::backends(service, family, pods);
    found.retain(|b| publish_not_ready || !b.terminating());
    // A headless Service may do without ports; else there is nothing to say of a pod that has none of them.
    let needs_port = !backends::is_headless(spec) || spec.ports.iter().flatten().count() > 0;
    found.retain(|b| !b.ports.is_empty() || !needs_port);
    // Ready ones are the last to be left out.
    found.sort_by_key(|b| !b.serving());
    let truncated = found.len() > ADDRESSES_MAX;
    found.truncate(ADDRESSES_MAX);

    let mut groups: BTreeMap<Vec<Port>, EndpointSubset> = BTreeMap::new();
    for backend in found {
        let ready = backend.serving() || publish_not_ready;
        let address = address(&backend);
        let subset = groups.entry(backend.ports).or_default();
        let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(address);
    }
    let finished = groups.into_iter().map(|(ports, mut subset)| {
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses].into_iter().flatten() {
            list.sort_by(|a, b| a.ip.cmp(&b.ip));
        }
        subset.ports = (!ports.is_empty()).then(|| ports.iter().map(wire_port).collect());
        subset
    });
    (finished.collect(), truncated)
}

fn address(backend: &Backend<'_>) -> EndpointAddress {
    EndpointAddress {
        ip: backend.ip.to_owned(),
        hostname: backend.hostname.map(str::to_owned),
        node_name: backend.pod.node.clone(),
        target_ref: Some(backend.target()),
    }
}

fn wire_port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: (!port.name.is_empty()).then(|| port.name.clone()),
        port: port.number,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
