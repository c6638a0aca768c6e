//! Which of a Service's endpoints is asked. Pure.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// The name that the Service stands for, if it is of that type.
pub(super) fn external_name(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() == Some("ExternalName"))?;
    spec.external_name.as_deref()
}

/// The name of the Service's port of this number.
pub(super) fn port_name(service: &Service, number: u16) -> Option<&str> {
    let mut ports = service.spec.as_ref()?.ports.iter().flatten();
    let port = ports.find(|port| port.port == i32::from(number))?;
    Some(port.name.as_deref().unwrap_or_default())
}

/// The family that the Service prefers; empty: none.
pub(super) fn family(service: &Service) -> &str {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    families.and_then(|all| all.first()).map_or("", String::as_str)
}

/// One that is ready: of the preferred family if there are, and of these the one that `turn` says.
pub(super) fn choose(slices: &[EndpointSlice], port: &str, family: &str, turn: u32) -> Option<SocketAddr> {
    let mut ready = Vec::new();
    for slice in slices {
        let port = slice.ports.iter().flatten().find(|one| one.name.as_deref().unwrap_or_default() == port);
        let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        let is_preferred = family.is_empty() || slice.address_type == family;
        for endpoint in slice.endpoints.iter().flatten() {
            let is_ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            let address = endpoint.addresses.first().filter(|_| is_ready).and_then(|ip| ip.parse().ok());
            ready.extend(address.map(|ip| (is_preferred, SocketAddr::new(ip, port))));
        }
    }
    if ready.iter().any(|(is_preferred, _)| *is_preferred) {
        ready.retain(|(is_preferred, _)| *is_preferred);
    }
    let turn = turn as usize % ready.len().max(1);
    ready.get(turn).map(|(_, address)| *address)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_ready_endpoint_of_the_port_is_chosen() {
        let slice = |family: &str, port: Value, endpoints: Value| -> EndpointSlice {
            let json =
                json!({"metadata": {"name": "s"}, "addressType": family, "ports": [port], "endpoints": endpoints});
            serde_json::from_value(json).unwrap()
        };
        let https = json!({"name": "https", "port": 8443});
        let v4 = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}, {"addresses": ["10.0.0.2"]},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false}}]);
        let slices = [
            slice("IPv6", https.clone(), json!([{"addresses": ["fd00::1"]}])),
            slice("IPv4", https, v4),
            slice("IPv4", json!({"name": "other", "port": 1}), json!([{"addresses": ["10.0.0.9"]}])),
            slice("FQDN", json!({"name": "https", "port": 1}), json!([{"addresses": ["a.b"]}])),
        ];
        let chosen = |port: &str, family: &str, turn| choose(&slices, port, family, turn).map(|a| a.to_string());
        assert_eq!(chosen("https", "IPv4", 0).as_deref(), Some("10.0.0.1:8443"));
        assert_eq!(chosen("https", "IPv4", 3).as_deref(), Some("10.0.0.2:8443"));
        assert_eq!(chosen("https", "IPv6", 7).as_deref(), Some("[fd00::1]:8443"));
        assert_eq!(chosen("https", "", 1).as_deref(), Some("10.0.0.1:8443"));
        assert_eq!(chosen("other", "IPv6", 0).as_deref(), Some("10.0.0.9:1"), "better than none");
        assert_eq!(chosen("none", "", 0), None);
    }

    #[test]
    fn a_service_has_ports_and_may_stand_for_a_name() {
        let service = |spec: Value| -> Service { serde_json::from_value(json!({ "spec": spec })).unwrap() };
        let own = service(json!({"ports": [{"port": 443}, {"name": "b", "port": 8443}], "ipFamilies": ["IPv6"]}));
        assert_eq!([443, 8443, 1].map(|port| port_name(&own, port)), [Some(""), Some("b"), None]);
        assert_eq!((family(&own), external_name(&own)), ("IPv6", None));
        let other = service(json!({"type": "ExternalName", "externalName": "a.b"}));
        assert_eq!((family(&other), external_name(&other)), ("", Some("a.b")));
    }
}
