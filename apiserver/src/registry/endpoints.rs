//! Endpoints: the older list of the addresses behind a Service.

use std::net::IpAddr;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, Endpoints};

use super::defaults::fill;
use super::path::Path;
use super::{Cell, Column, Kind, cells, check};

const COLUMNS: &[Column] = &[cells::NAME, cells::text("Endpoints", "Addresses and ports that are ready"), cells::AGE];

impl Kind for Endpoints {
    const SINGULAR: &'static str = "endpoints";
    const SHORT_NAMES: &'static [&'static str] = &["ep"];
    const STORE_PREFIX: &'static str = "services/endpoints";
    const CREATE_ON_UPDATE: bool = true;
    const DEPRECATION: Option<&'static str> =
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");

    strategy!();
    fn fill_defaults(&mut self) {
        let ports = self.subsets.iter_mut().flatten().filter_map(|s| s.ports.as_mut()).flatten();
        ports.for_each(|port| fill(&mut port.protocol, "TCP"));
    }
    fn validate(&self, problems: &mut Problems) {
        let list = Path::root("subsets");
        for (i, subset) in self.subsets.iter().flatten().enumerate() {
            let at = list.index(i);
            let ready = subset.addresses.as_deref().unwrap_or_default();
            let unready = subset.not_ready_addresses.as_deref().unwrap_or_default();
            if ready.is_empty() && unready.is_empty() {
                problems.required(at, "must specify `addresses` or `notReadyAddresses`");
            }
            for (field, addresses) in [("addresses", ready), ("notReadyAddresses", unready)] {
                let list = at.field(field);
                for (j, address) in addresses.iter().enumerate() {
                    validate_address(address, &list.index(j), problems);
                }
            }
            let ports = subset.ports.as_deref().unwrap_or_default();
            let list = at.field("ports");
            for (j, port) in ports.iter().enumerate() {
                validate_port(port, ports.len() > 1, &list.index(j), problems);
            }
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        vec![
            cells::name(&self.metadata),
            cells::cut_list(shown_endpoints(self), cells::NONE),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

fn shown_endpoints(endpoints: &Endpoints) -> impl Iterator<Item = String> {
    endpoints.subsets.iter().flatten().flat_map(|subset| {
        let ports = subset.ports.as_deref().unwrap_or_default();
        let addresses = subset.addresses.as_deref().unwrap_or_default();
        let mut shown = Vec::new();
        if ports.is_empty() {
            shown.extend(addresses.iter().map(|a| a.ip.clone()));
        }
        for port in ports {
            shown.extend(addresses.iter().map(|a| match a.ip.parse() {
                Ok(IpAddr::V6(ip)) => format!("[{ip}]:{}", port.port),
                _ => format!("{}:{}", a.ip, port.port),
            }));
        }
        shown
    })
}

fn validate_address(address: &EndpointAddress, at: &Path<'_>, problems: &mut Problems) {
    if let Some(hostname) = address.hostname.as_ref().filter(|h| !h.is_empty()) {
        check::dns_label(problems, &at.field("hostname"), hostname);
    }
    if let Some(node) = &address.node_name {
        check::dns_subdomain(problems, &at.field("nodeName"), node);
    }
    endpoint_ip(&address.ip, &at.field("ip"), problems);
}

/// An address where an endpoint may be: not of the machine itself, nor of the link, nor of a group.
pub fn endpoint_ip(text: &str, at: &Path<'_>, problems: &mut Problems) {
    let Some(ip) = check::ip(problems, at, text) else { return };
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let link_local_multicast = match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] == 0xff02,
    };
    for (is_so, why) in [
        (ip.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)"),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (link_local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ] {
        if is_so {
            problems.invalid(at, text, why);
        }
    }
}

fn validate_port(port: &EndpointPort, name_required: bool, at: &Path<'_>, problems: &mut Problems) {
    match check::text(port.name.as_ref()) {
        "" if name_required => problems.required(at.field("name"), ""),
        "" => {}
        name => check::dns_label(problems, &at.field("name"), name),
    }
    check::port_number(problems, &at.field("port"), port.port);
    check::word(problems, &at.field("protocol"), port.protocol.as_ref(), check::PROTOCOLS);
    if let Some(app) = &port.app_protocol {
        check::qualified_name(problems, &at.field("appProtocol"), app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, row};

    #[test]
    fn bad_endpoints() {
        let cases = [
            (r#"{"subsets":[{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"port":80}]}]}"#, vec![]),
            (
                r#"{"subsets":[{}]}"#,
                vec!["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
            ),
            (
                r#"{"subsets":[{"addresses":[{"ip":"127.0.0.1"}],"ports":[{"port":0}]}]}"#,
                vec![
                    r#"subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#,
                    "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                ],
            ),
            (
                r#"{"subsets":[{"notReadyAddresses":[{"ip":"10.0.0.1"}],"ports":[{"port":1},{"port":2,"name":"b"}]}]}"#,
                vec!["subsets[0].ports[0].name: Required value"],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<Endpoints>(json), expected, "{json}");
        }
    }

    #[test]
    fn columns() {
        let json = r#"{"metadata":{"name":"e"},"subsets":[{"addresses":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}],"ports":[{"port":80},{"port":81}]}]}"#;
        assert_eq!(row::<Endpoints>(json, 0), "e|10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more...|<unknown>");
        assert_eq!(row::<Endpoints>("{}", 0), "|<none>|<unknown>");
    }
}
