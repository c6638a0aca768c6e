//! What a pod asks of its node where its author said nothing of it: the apiserver fills it in, and the kubelet for the pods
//! of its files.
//!
//! <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::{Amounts, is_of_whole_pods, of_containers};
use crate::quantity::{Format, Quantity};

/// Containers request what they are limited to, and so does the pod as a whole.
pub fn requests_from_limits(spec: &mut PodSpec) {
    let inits = spec.init_containers.iter_mut().flatten();
    for resources in spec.containers.iter_mut().chain(inits).filter_map(|c| c.resources.as_mut()) {
        of_container(resources);
    }
    of_pod(spec);
}

/// On the node's own network a container's port is the node's.
pub fn host_ports(spec: &mut PodSpec) {
    if spec.host_network != Some(true) {
        return;
    }
    let inits = spec.init_containers.iter_mut().flatten();
    for port in spec.containers.iter_mut().chain(inits).flat_map(|c| c.ports.iter_mut().flatten()) {
        if port.host_port.unwrap_or(0) == 0 {
            port.host_port = Some(port.container_port);
        }
    }
}

fn of_container(resources: &mut ResourceRequirements) {
    let Some(limits) = resources.limits.as_ref().filter(|l| !l.is_empty()) else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// A pod that limits itself as a whole requests what its containers do, or else its limit. One that only requests something
/// has said what it wants.
fn of_pod(spec: &mut PodSpec) {
    let Some(mut own) = spec.resources.take() else { return };
    let (requests, limits) = of_containers(spec);
    limit_huge_pages(&mut own, &limits);
    if own.limits.as_ref().is_some_and(|limits| !limits.is_empty()) {
        request(&mut own, requests);
    }
    spec.resources = Some(own);
}

/// Huge pages that its containers have, and that a pod says nothing of while it does of other resources, are its limit.
fn limit_huge_pages(own: &mut ResourceRequirements, of_containers: &Amounts) {
    let is_empty = |list: &Option<BTreeMap<String, Wire>>| list.as_ref().is_none_or(BTreeMap::is_empty);
    if is_empty(&own.limits) && is_empty(&own.requests) {
        return;
    }
    for (name, amount) in of_containers.iter().filter(|(name, _)| name.starts_with("hugepages-")) {
        if own.requests.as_ref().is_some_and(|requests| requests.contains_key(name)) {
            continue;
        }
        let limits = own.limits.get_or_insert_default();
        limits.entry(name.clone()).or_insert_with(|| Quantity::from_units(*amount, Format::BinarySi).to_wire());
    }
}

fn request(own: &mut ResourceRequirements, of_containers: Amounts) {
    let mut asked = own.requests.take().unwrap_or_default();
    // Huge pages cannot be overcommitted, so their request is their limit.
    for (name, amount) in of_containers.into_iter().filter(|(name, _)| name == "cpu" || name == "memory") {
        let quantity =
            if name == "cpu" { Quantity::from_millis(amount) } else { Quantity::from_units(amount, Format::BinarySi) };
        asked.entry(name).or_insert_with(|| quantity.to_wire());
    }
    for (name, limit) in own.limits.iter().flatten().filter(|(name, _)| is_of_whole_pods(name)) {
        asked.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    own.requests = (!asked.is_empty()).then_some(asked);
}
