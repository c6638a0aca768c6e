//! What an EndpointSlice may say.

use std::collections::HashSet;
use std::net::IpAddr;

use corten_api::Problems;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, EndpointSlice};

use crate::registry::path::Path;
use crate::registry::{check, endpoints};

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const TOPOLOGY_LABELS_MAX: usize = 16;
/// Of zones, and of nodes.
const HINTS_MAX: usize = 8;
const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];

pub(super) fn address_type(slice: &EndpointSlice, problems: &mut Problems) {
    check::word(problems, &Path::root("addressType"), Some(&slice.address_type), ADDRESS_TYPES);
}

pub(super) fn endpoints(slice: &EndpointSlice, problems: &mut Problems) {
    let list = Path::root("endpoints");
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > ENDPOINTS_MAX {
        problems.too_many(list, endpoints.len(), ENDPOINTS_MAX);
        return;
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        endpoint_of(endpoint, &slice.address_type, &list.index(i), problems);
    }
}

pub(super) fn ports(slice: &EndpointSlice, problems: &mut Problems) {
    let list = Path::root("ports");
    let ports = slice.ports.as_deref().unwrap_or_default();
    if ports.len() > PORTS_MAX {
        problems.too_many(list, ports.len(), PORTS_MAX);
        return;
    }
    let mut names = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = list.index(i);
        let name = check::text(port.name.as_ref());
        if !name.is_empty() {
            check::dns_label(problems, &at.field("name"), name);
        }
        if !names.insert(name) {
            problems.duplicate(at.field("name"), name);
        }
        check::word(problems, &at.field("protocol"), port.protocol.as_ref(), check::PROTOCOLS);
        if let Some(app) = &port.app_protocol {
            check::qualified_name(problems, &at.field("appProtocol"), app);
        }
    }
}

fn endpoint_of(endpoint: &Endpoint, address_type: &str, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("addresses");
    match endpoint.addresses.len() {
        0 => problems.required(list, "must contain at least 1 address"),
        n if n > ADDRESSES_MAX => problems.too_many(list, n, ADDRESSES_MAX),
        _ => {}
    }
    for (i, address) in endpoint.addresses.iter().enumerate() {
        let (family, at) = (address.parse::<IpAddr>(), list.index(i));
        match (address_type, family) {
            ("FQDN", _) => check::fully_qualified(problems, &at, address),
            ("IPv4", Ok(IpAddr::V6(_))) => problems.invalid(list, address, "must be an IPv4 address"),
            ("IPv6", Ok(IpAddr::V4(_))) => problems.invalid(list, address, "must be an IPv6 address"),
            ("IPv6", Ok(ip)) if ip.to_string() != *address => {
                problems.invalid(at, address, &format!("must be in canonical form ({:?})", ip.to_string()));
            }
            _ => endpoints::endpoint_ip(address, &at, problems),
        }
    }
    if let Some(node) = &endpoint.node_name {
        check::dns_subdomain(problems, &at.field("nodeName"), node);
    }
    if let Some(hostname) = &endpoint.hostname {
        check::dns_label(problems, &at.field("hostname"), hostname);
    }
    let topology = endpoint.deprecated_topology.as_ref();
    let at_topology = at.field("deprecatedTopology");
    match topology.map_or(0, |topology| topology.len()) {
        n if n > TOPOLOGY_LABELS_MAX => problems.too_many(at_topology, n, TOPOLOGY_LABELS_MAX),
        _ => check::labels(problems, &at_topology, topology),
    }
    if let Some(hints) = &endpoint.hints {
        hints_of(hints, &at.field("hints"), problems);
    }
}

fn hints_of(hints: &EndpointHints, at: &Path<'_>, problems: &mut Problems) {
    let zones: Vec<&String> = hints.for_zones.iter().flatten().map(|zone| &zone.name).collect();
    named(&zones, &at.field("forZones"), check::label_value, problems);
    let nodes: Vec<&String> = hints.for_nodes.iter().flatten().map(|node| &node.name).collect();
    named(&nodes, &at.field("forNodes"), check::dns_subdomain, problems);
}

fn named(names: &[&String], at: &Path<'_>, check: fn(&mut Problems, &Path<'_>, &str), problems: &mut Problems) {
    if names.len() > HINTS_MAX {
        return problems.too_many(at, names.len(), HINTS_MAX);
    }
    let mut seen = HashSet::new();
    for (i, name) in names.iter().enumerate() {
        let item = at.index(i);
        let at = item.field("name");
        if !seen.insert(name) {
            problems.duplicate(at, name);
        }
        check(problems, &at, name);
    }
}
