//! EndpointSlice: some of the addresses behind a Service, all of one family.

mod validate;

use std::collections::{BTreeMap, HashSet};

use corten_api::{Problems, names};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::path::Path;
use super::{Cell, Column, Kind, WriteContext, cells, check};

const UNSET: &str = "<unset>";
/// Where older clients wrote the node's name.
const HOSTNAME: &str = "kubernetes.io/hostname";

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

    strategy!();
    fn fill_defaults(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".into());
        }
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        drop_topology(self, &HashSet::new());
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        if self.endpoints != old.endpoints {
            let of = |topology: &Option<BTreeMap<String, String>>| topology.as_ref()?.get(HOSTNAME).cloned();
            let nodes = old.endpoints.iter().flatten().filter_map(|endpoint| of(&endpoint.deprecated_topology));
            drop_topology(self, &nodes.collect());
        }
    }
    fn spec_changed(&self, old: &Self) -> bool {
        self.endpoints != old.endpoints
            || self.ports != old.ports
            || self.address_type != old.address_type
            || self.metadata.labels != old.metadata.labels
    }
    fn validate(&self, problems: &mut Problems) {
        validate::address_type(self, problems);
        validate::ports(self, problems);
        if check::is_new(&self.metadata) {
            validate::endpoints(self, problems);
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        // What stands there was good once.
        if self.endpoints != old.endpoints {
            validate::endpoints(self, problems);
        }
        check::immutable(problems, &Path::root("addressType"), &self.address_type, &old.address_type);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let is_deprecated = old.is_none() && self.address_type == "FQDN";
        is_deprecated.then(|| "spec.addressType: FQDN endpoints are deprecated".to_owned()).into_iter().collect()
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

/// The field is not written by this version. A node that it named before stays known by its own field.
fn drop_topology(slice: &mut EndpointSlice, nodes: &HashSet<String>) {
    for endpoint in slice.endpoints.iter_mut().flatten() {
        let named = endpoint.deprecated_topology.take().and_then(|mut topology| topology.remove(HOSTNAME));
        let named = named.filter(|name| nodes.contains(name) && names::is_dns1123_subdomain(name));
        endpoint.node_name = endpoint.node_name.take().or(named);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::Strategy;
    use crate::registry::check::testing::{found, found_on_update, prepare, row};

    #[test]
    fn bad_slices() {
        let cases = [
            (r#"{"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":80}]}"#, vec![]),
            (r#"{"addressType":""}"#, vec!["addressType: Required value"]),
            (
                r#"{"addressType":"IPv4","endpoints":[{"addresses":["fd00::1"]},{"addresses":[]}]}"#,
                vec![
                    r#"endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address"#,
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
    fn hints_and_addresses() {
        let slice = |kind: &str, endpoint: Value| {
            found::<EndpointSlice>(&json!({"addressType": kind, "endpoints": [endpoint]}).to_string())
        };
        let hint = |hints| slice("IPv4", json!({"addresses": ["10.0.0.1"], "hints": hints}));
        let zones = |n: usize| (0..n).map(|i| json!({"name": format!("z{i}")})).collect::<Vec<_>>();
        assert!(hint(json!({"forZones": zones(8), "forNodes": zones(8)})).is_empty());
        for (hints, expected) in [
            (json!({"forZones": zones(9)}), "forZones: Too many: 9: must have at most 8 items"),
            (json!({"forNodes": zones(9)}), "forNodes: Too many: 9: must have at most 8 items"),
            (json!({"forZones": [{"name": "a"}, {"name": "a"}]}), r#"forZones[1].name: Duplicate value: "a""#),
            (json!({"forNodes": [{"name": "a"}, {"name": "a"}]}), r#"forNodes[1].name: Duplicate value: "a""#),
            (json!({"forZones": [{"name": "a b"}]}), r#"forZones[0].name: Invalid value: "a b": a valid label"#),
            (json!({"forNodes": [{"name": "A"}]}), r#"forNodes[0].name: Invalid value: "A": a lowercase RFC"#),
        ] {
            let problems = hint(hints);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
        }
        for (kind, address, expected) in [
            ("FQDN", "a.example.", ""),
            ("FQDN", "a", "should be a domain with at least two segments separated by dots"),
            ("FQDN", "", "Required value"),
            ("IPv6", "fd00::1", ""),
            ("IPv6", "FD00::0001", r#"must be in canonical form ("fd00::1")"#),
            ("IPv6", "10.0.0.1", "must be an IPv6 address"),
            ("IPv4", "fd00::1", "must be an IPv4 address"),
        ] {
            let problems = slice(kind, json!({"addresses": [address]}));
            let is_so =
                if expected.is_empty() { problems.is_empty() } else { problems.iter().any(|p| p.ends_with(expected)) };
            assert!(is_so, "{kind} {address}: {problems:?}");
        }
    }

    #[test]
    fn the_old_topology_is_not_written() {
        let with = |endpoint: &str| format!(r#"{{"addressType":"IPv4","endpoints":[{endpoint}]}}"#);
        let topology = r#"{"addresses":["10.0.0.1"],"deprecatedTopology":{"kubernetes.io/hostname":"n1"}}"#;
        let mut new: EndpointSlice = serde_json::from_str(&with(topology)).unwrap();
        let old = new.clone();
        prepare(Strategy::Update(&old), &mut new);
        assert_eq!(new, old, "nothing is changed");
        new.endpoints.as_mut().unwrap()[0].hostname = Some("a".into());
        prepare(Strategy::Update(&old), &mut new);
        let endpoint = &new.endpoints.as_ref().unwrap()[0];
        assert_eq!((endpoint.node_name.as_deref(), &endpoint.deprecated_topology), (Some("n1"), &None));
        let mut made = old.clone();
        prepare(Strategy::Create, &mut made);
        let endpoint = &made.endpoints.as_ref().unwrap()[0];
        assert_eq!((endpoint.node_name.as_deref(), &endpoint.deprecated_topology), (None, &None), "nobody knew it");
    }

    #[test]
    fn columns() {
        let json = r#"{"metadata":{"name":"s"},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":80},{"name":"x"},{}]}"#;
        assert_eq!(row::<EndpointSlice>(json, 0), "s|IPv4|80,x,*|10.0.0.1|<unknown>");
    }
}
