//! EndpointSlice: some of the addresses behind a Service, all of one family.

use std::collections::HashSet;
use std::net::IpAddr;

use corten_api::Problems;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::path::Path;
use super::{Cell, Column, Kind, cells, check, endpoints};

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
const UNSET: &str = "<unset>";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("AddressType", "IPv4, IPv6 or FQDN"),
    cells::text("Ports", "Ports that each endpoint serves"),
    cells::text("Endpoints", "Addresses of the endpoints"),
    cells::AGE,
];

impl Kind for EndpointSlice {
    const SINGULAR: &'static str = "endpointslice";
    const STORE_PREFIX: &'static str = "endpointslices";
    const HAS_GENERATION: bool = true;

    fn fill_defaults(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".into());
        }
    }
    fn spec_changed(&self, old: &Self) -> bool {
        self.endpoints != old.endpoints
            || self.ports != old.ports
            || self.address_type != old.address_type
            || self.metadata.labels != old.metadata.labels
    }
    fn validate(&self, problems: &mut Problems) {
        check::word(problems, &Path::root("addressType"), Some(&self.address_type), ADDRESS_TYPES);
        validate_endpoints(self, problems);
        validate_ports(self, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("addressType"), &self.address_type, &old.address_type);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let ports = self.ports.iter().flatten().map(|port| match port.port {
            Some(number) => number.to_string(),
            None => port.name.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "*".into()),
        });
        let addresses = self.endpoints.iter().flatten().flat_map(|e| e.addresses.iter().cloned());
        vec![
            cells::name(&self.metadata),
            Cell::text(self.address_type.clone()),
            cells::cut_list(ports, UNSET),
            cells::cut_list(addresses, UNSET),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

fn validate_endpoints(slice: &EndpointSlice, problems: &mut Problems) {
    let list = Path::root("endpoints");
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > ENDPOINTS_MAX {
        problems.too_many(list, endpoints.len(), ENDPOINTS_MAX);
        return;
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        validate_endpoint(endpoint, &slice.address_type, &list.index(i), problems);
    }
}

fn validate_ports(slice: &EndpointSlice, problems: &mut Problems) {
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

fn validate_endpoint(endpoint: &Endpoint, address_type: &str, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("addresses");
    match endpoint.addresses.len() {
        0 => problems.required(list, "must contain at least 1 address"),
        n if n > ADDRESSES_MAX => problems.too_many(list, n, ADDRESSES_MAX),
        _ => {}
    }
    for (i, address) in endpoint.addresses.iter().enumerate() {
        let at = list.index(i);
        match (address_type, address.parse::<IpAddr>()) {
            ("FQDN", _) => check::dns_subdomain(problems, &at, address),
            ("IPv4", Ok(IpAddr::V6(_))) => problems.invalid(at, address, "must be a valid IPv4 address"),
            ("IPv6", Ok(IpAddr::V4(_))) => problems.invalid(at, address, "must be a valid IPv6 address"),
            _ => endpoints::endpoint_ip(address, &at, problems),
        }
    }
    if let Some(node) = &endpoint.node_name {
        check::dns_subdomain(problems, &at.field("nodeName"), node);
    }
    if let Some(hostname) = &endpoint.hostname {
        check::dns_label(problems, &at.field("hostname"), hostname);
    }
    check::labels(problems, &at.field("deprecatedTopology"), endpoint.deprecated_topology.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, found_on_update, row};

    #[test]
    fn bad_slices() {
        let cases = [
            (r#"{"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":80}]}"#, vec![]),
            (r#"{"addressType":""}"#, vec!["addressType: Required value"]),
            (
                r#"{"addressType":"IPv4","endpoints":[{"addresses":["fd00::1"]},{"addresses":[]}]}"#,
                vec![
                    r#"endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address"#,
                    "endpoints[1].addresses: Required value: must contain at least 1 address",
                ],
            ),
            (
                r#"{"addressType":"IPv4","ports":[{"port":80},{"port":81}]}"#,
                vec![r#"ports[1].name: Duplicate value: """#],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<EndpointSlice>(json), expected, "{json}");
        }
        let changed = found_on_update::<EndpointSlice>(r#"{"addressType":"IPv4"}"#, r#"{"addressType":"IPv6"}"#);
        assert_eq!(changed, [r#"addressType: Invalid value: "IPv6": field is immutable"#]);
    }

    #[test]
    fn columns() {
        let json = r#"{"metadata":{"name":"s"},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":80},{"name":"x"},{}]}"#;
        assert_eq!(row::<EndpointSlice>(json, 0), "s|IPv4|80,x,*|10.0.0.1|<unknown>");
    }
}
