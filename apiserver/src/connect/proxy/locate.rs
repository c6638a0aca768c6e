//! Where what a path names is: the address of a pod, of a pod behind a Service, or of a node.
//!
//! Names are never resolved, and only addresses are taken that objects of the API vouch for: an endpoint counts if a pod of its
//! namespace has that address, as whoever writes EndpointSlices may not choose where the apiserver connects to.

use std::net::{IpAddr, SocketAddr};

use corten_api::selector::Selector;
use corten_api::{ApiError, Object};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;

use super::address::{Named, Scheme};
use crate::connect::pod;
use crate::request::Target;
use crate::resources::endpoint::{endpoints, family};
use crate::resources::{Authorized, ListOptions, ReadAt, Resources, to};

/// Endpoints whose pods are looked at before a Service counts as without any.
const TRIED_MAX: usize = 64;
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Which certificate must be shown there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Any: clients cannot say which they expect.
    Anybody,
    /// That of the kubelet of this node, which gets the apiserver's own in turn.
    Kubelet(String),
}

/// Where to connect to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub scheme: Scheme,
    pub address: SocketAddr,
    pub trust: Trust,
}

/// `allows`: which addresses may be connected to.
pub async fn find(
    resources: &Resources,
    may: &Authorized<to::Connect>,
    allows: fn(IpAddr) -> bool,
) -> Result<Location, ApiError> {
    let target = may.target();
    let kind = match target.resource.as_str() {
        "pods" => "pod",
        "services" => "service",
        _ => "node",
    };
    let invalid = || ApiError::bad_request(format!("invalid {kind} request {:?}", target.name));
    let named = Named::parse(&target.name).ok_or_else(invalid)?;
    match kind {
        "pod" => {
            let pod: Pod = read(resources, of_name(target, named.name), ReadAt::Newest).await?;
            Ok(location(named.scheme, address_of_pod(&pod, named, allows)?))
        }
        "service" => service(resources, target, named, allows).await,
        _ => {
            let node: Node = read(resources, of_name(target, named.name), ReadAt::Newest).await?;
            of_node(&node, named, allows)
        }
    }
}

fn location(scheme: Scheme, address: SocketAddr) -> Location {
    Location { scheme, address, trust: Trust::Anybody }
}

/// The object itself, by its name alone.
fn of_name(target: &Target, name: &str) -> Target {
    Target { name: name.to_owned(), subresource: String::new(), ..target.clone() }
}

async fn read<K: DeserializeOwned>(resources: &Resources, target: Target, at: ReadAt) -> Result<K, ApiError> {
    serde_json::from_slice(&resources.get(&Authorized::own(target), at).await?).map_err(ApiError::internal)
}

fn not_allowed() -> ApiError {
    ApiError::bad_request("address not allowed")
}

fn allowed(text: &str, allows: fn(IpAddr) -> bool) -> Result<IpAddr, ApiError> {
    text.parse().ok().filter(|ip| allows(*ip)).ok_or_else(not_allowed)
}

/// `None` for what is no number.
fn number(port: &str) -> Option<Result<u16, ApiError>> {
    if port.is_empty() || !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let parsed = port.parse().ok().filter(|port| *port != 0);
    Some(parsed.ok_or_else(|| ApiError::bad_request(format!("invalid port {port:?}"))))
}

fn address_of_pod(pod: &Pod, named: Named<'_>, allows: fn(IpAddr) -> bool) -> Result<SocketAddr, ApiError> {
    let port = port_of_pod(pod, named)?;
    let status = pod.status.as_ref();
    let first = status.and_then(|s| s.pod_ips.as_ref()?.first()).map(|ip| ip.ip.as_str());
    let ip = first.or_else(|| status?.pod_ip.as_deref()).unwrap_or_default();
    Ok(SocketAddr::new(allowed(ip, allows)?, port))
}

/// The port asked for, or the first one that a container has.
fn port_of_pod(pod: &Pod, named: Named<'_>) -> Result<u16, ApiError> {
    if let Some(number) = number(named.port) {
        return number;
    }
    let mut ports = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|c| c.ports.iter().flatten());
    let found =
        if named.port.is_empty() { ports.next() } else { ports.find(|port| port.name.as_deref() == Some(named.port)) };
    match found.and_then(|port| u16::try_from(port.container_port).ok()) {
        Some(port) => Ok(port),
        None if named.port.is_empty() => Ok(named.scheme.default_port()),
        None => {
            let why = format!("no container port {:?} found for pod {:?}", named.port, pod.name());
            Err(ApiError::unavailable(why))
        }
    }
}

async fn service(
    resources: &Resources,
    target: &Target,
    named: Named<'_>,
    allows: fn(IpAddr) -> bool,
) -> Result<Location, ApiError> {
    let service: Service = read(resources, of_name(target, named.name), ReadAt::Newest).await?;
    let port = port_of_service(&service, named.port)?;
    let slices = slices_of(resources, &target.namespace, named.name).await?;
    if slices.is_empty() {
        return Err(no_endpoints(named.name));
    }
    let endpoints = endpoints(&slices, &port, family(&service), rand::random());
    let said = endpoints.into_iter().filter_map(|endpoint| Some((endpoint.address, endpoint.pod?)));
    for (address, name) in said.take(TRIED_MAX) {
        let pod = Target { resource: "pods".into(), ..of_name(target, name) };
        let pod: Pod = match read(resources, pod, ReadAt::Any).await {
            Ok(pod) => pod,
            Err(err) if err.is(corten_api::Reason::NotFound) => continue,
            Err(err) => return Err(err),
        };
        if has_address(&pod, address.ip()) {
            return match allows(address.ip()) {
                true => Ok(location(named.scheme, address)),
                false => Err(not_allowed()),
            };
        }
        tracing::debug!(service = named.name, pod = name, "an endpoint is not its pod's address");
    }
    Err(no_endpoints(&target.name))
}

fn no_endpoints(service: &str) -> ApiError {
    ApiError::unavailable(format!("no endpoints available for service {service:?}"))
}

async fn slices_of(resources: &Resources, namespace: &str, service: &str) -> Result<Vec<EndpointSlice>, ApiError> {
    let target = Target {
        group: "discovery.k8s.io".into(),
        version: "v1".into(),
        resource: "endpointslices".into(),
        namespace: namespace.into(),
        ..Target::default()
    };
    let labels = Selector::parse(&format!("{SERVICE_NAME_LABEL}={service}"));
    let labels = labels.map_err(|err| ApiError::bad_request(err.to_string()))?;
    // The Service was read as new as it is, and the cache takes in all kinds in one order.
    let options = ListOptions { labels, at: ReadAt::Any, ..ListOptions::default() };
    let page = resources.list(&Authorized::own(target), options).await?;
    page.items.iter().map(|json| serde_json::from_slice(json).map_err(ApiError::internal)).collect()
}

/// The name of the Service's port that is asked for by number or by name.
fn port_of_service(service: &Service, port: &str) -> Result<String, ApiError> {
    let Ok(number) = port.parse::<i64>() else { return Ok(port.to_owned()) };
    let mut ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let found = ports.find(|port| i64::from(port.port) == number);
    let none = || format!("no service port {number} found for service {:?}", service.name());
    found.map(|port| port.name.clone().unwrap_or_default()).ok_or_else(|| ApiError::unavailable(none()))
}

fn has_address(pod: &Pod, ip: IpAddr) -> bool {
    let Some(status) = &pod.status else { return false };
    let all = status.pod_ips.iter().flatten().map(|of| of.ip.as_str()).chain(status.pod_ip.as_deref());
    all.into_iter().any(|own| own.parse() == Ok(ip))
}

fn of_node(node: &Node, named: Named<'_>, allows: fn(IpAddr) -> bool) -> Result<Location, ApiError> {
    let kubelet = pod::address_of(node)?;
    let ip = allowed(&kubelet.host, allows)?;
    let port = match number(named.port) {
        Some(port) => port?,
        None if named.port.is_empty() => kubelet.port,
        None => return Err(ApiError::bad_request(format!("invalid port {:?}", named.port))),
    };
    let address = SocketAddr::new(ip, port);
    if port == kubelet.port {
        return Ok(Location { scheme: Scheme::Https, address, trust: Trust::Kubelet(kubelet.node) });
    }
    Ok(location(named.scheme, address))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::address::is_allowed;
    use super::*;

    fn typed<T: DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }
    fn shown(found: Result<SocketAddr, ApiError>) -> String {
        found.map_or_else(|err| format!("{} {}", err.code(), err.message()), |address| address.to_string())
    }

    #[test]
    fn where_a_pod_is() {
        let ports = json!([{"name": "web", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}]);
        let containers = json!([{"name": "side"}, {"name": "main", "ports": ports}]);
        let pod = |ip: &str, containers: &Value| -> Pod {
            typed(json!({"metadata": {"name": "p"}, "spec": {"containers": containers},
                "status": {"podIP": ip, "podIPs": [{"ip": ip}]}}))
        };
        let plain = json!([{"name": "main"}]);
        let cases = [
            ("p", "10.0.0.5", &containers, "10.0.0.5:8080"),
            ("p:metrics", "10.0.0.5", &containers, "10.0.0.5:9090"),
            ("p:1234", "10.0.0.5", &containers, "10.0.0.5:1234"),
            ("p:nope", "10.0.0.5", &containers, "503 no container port \"nope\" found for pod \"p\""),
            ("p:0", "10.0.0.5", &containers, "400 invalid port \"0\""),
            ("p:65536", "10.0.0.5", &containers, "400 invalid port \"65536\""),
            ("p", "10.0.0.5", &plain, "10.0.0.5:80"),
            ("https:p:", "10.0.0.5", &plain, "10.0.0.5:443"),
            ("https:p:8443", "fd00::5", &plain, "[fd00::5]:8443"),
            ("p", "127.0.0.1", &plain, "400 address not allowed"),
            ("p", "169.254.169.254", &plain, "400 address not allowed"),
            ("p", "", &plain, "400 address not allowed"),
            ("p", "etcd.local", &plain, "400 address not allowed"),
        ];
        for (name, ip, containers, expected) in cases {
            let found = address_of_pod(&pod(ip, containers), Named::parse(name).unwrap(), is_allowed);
            assert_eq!(shown(found), expected, "{name} at {ip}");
        }
        let young: Pod = typed(json!({"metadata": {"name": "p"}, "spec": {"containers": []}}));
        assert!(address_of_pod(&young, Named::parse("p").unwrap(), is_allowed).is_err());
    }

    #[test]
    fn which_port_of_a_service() {
        let service: Service = typed(json!({"metadata": {"name": "web"}, "spec": {"ports": [
            {"name": "http", "port": 80}, {"name": "tls", "port": 443}]}}));
        let single: Service = typed(json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}));
        let cases = [
            (&service, "80", Ok("http")),
            (&service, "443", Ok("tls")),
            (&service, "tls", Ok("tls")),
            (&service, "", Ok("")),
            (&service, "81", Err("no service port 81 found for service \"web\"")),
            (&single, "80", Ok("")),
        ];
        for (service, port, expected) in cases {
            let have = port_of_service(service, port);
            assert_eq!(have.as_deref().map_err(ApiError::message), expected, "{port}");
        }
    }

    #[test]
    fn which_endpoints_are_tried() {
        let endpoint = |ip: &str, more: Value| {
            let mut endpoint = json!({"addresses": [ip],
                "targetRef": {"kind": "Pod", "namespace": "x", "name": format!("pod-{ip}")}});
            endpoint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            endpoint
        };
        let slice = |family: &str, port: Value, endpoints: &[Value]| -> EndpointSlice {
            typed(json!({"metadata": {"name": "s", "namespace": "x"}, "addressType": family,
                "ports": [port], "endpoints": endpoints}))
        };
        let http = || json!({"name": "http", "port": 8080});
        let ready = |ip: &str| endpoint(ip, json!({"conditions": {"ready": true}}));
        let slices = [
            slice("IPv6", http(), &[ready("fd00::1")]),
            slice(
                "IPv4",
                http(),
                &[
                    ready("10.0.0.1"),
                    endpoint("10.0.0.2", json!({"conditions": {"ready": false}})),
                    endpoint("10.0.0.3", json!({})),
                    endpoint("10.0.0.4", json!({"targetRef": {"kind": "Pod", "namespace": "y", "name": "p"}})),
                    endpoint("10.0.0.5", json!({"targetRef": null})),
                ],
            ),
            slice("IPv4", json!({"name": "other", "port": 1}), &[ready("10.0.0.6")]),
            slice("IPv4", json!({"name": "http"}), &[ready("10.0.0.7")]),
            slice("FQDN", http(), &[ready("example.com")]),
        ];
        let tried = |port: &str, family: &str, turn| -> Vec<String> {
            let all = endpoints(&slices, port, family, turn);
            all.iter().filter(|e| e.pod.is_some()).map(|e| e.address.to_string()).collect()
        };
        assert_eq!(tried("http", "IPv4", 0), ["10.0.0.1:8080", "10.0.0.3:8080", "[fd00::1]:8080"]);
        assert_eq!(tried("http", "IPv4", 2), ["10.0.0.3:8080", "10.0.0.1:8080", "[fd00::1]:8080"]);
        assert_eq!(tried("http", "IPv6", 1)[0], "[fd00::1]:8080");
        assert_eq!(tried("other", "", 7), ["10.0.0.6:1"]);
        assert!(tried("none", "", 0).is_empty());
    }

    #[test]
    fn an_endpoint_is_a_pods_address() {
        let pod: Pod =
            typed(json!({"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}));
        for (ip, expected) in [("10.0.0.1", true), ("fd00::1", true), ("10.0.0.2", false)] {
            assert_eq!(has_address(&pod, ip.parse().unwrap()), expected, "{ip}");
        }
        assert!(!has_address(&Pod::default(), "10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn where_a_node_is() {
        let node = |ip: &str| -> Node {
            typed(json!({"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": ip}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}}))
        };
        let kubelet = || (Scheme::Https, Trust::Kubelet("n".into()));
        let plain = |scheme| (scheme, Trust::Anybody);
        let cases = [
            ("n", "10.0.0.2", Ok((kubelet(), 10250))),
            ("n:10250", "10.0.0.2", Ok((kubelet(), 10250))),
            ("http:n:10250", "10.0.0.2", Ok((kubelet(), 10250))),
            ("n:9100", "10.0.0.2", Ok((plain(Scheme::Http), 9100))),
            ("https:n:6443", "10.0.0.2", Ok((plain(Scheme::Https), 6443))),
            ("n:metrics", "10.0.0.2", Err("invalid port \"metrics\"")),
            ("n", "127.0.0.1", Err("address not allowed")),
            ("n:9100", "169.254.169.254", Err("address not allowed")),
            ("n", "node.local", Err("address not allowed")),
        ];
        for (name, ip, expected) in cases {
            let found = of_node(&node(ip), Named::parse(name).unwrap(), is_allowed);
            let found = found.map(|at| ((at.scheme, at.trust), at.address.port()));
            assert_eq!(found.as_ref().map_err(|err| err.message()), expected.as_ref().map_err(|why| *why), "{name}");
        }
    }
}
