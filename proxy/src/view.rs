//! What the proxy keeps of the objects it watches: only the fields that rules, routes and names are made of.

use std::net::Ipv4Addr;
use std::sync::Arc;

use corten_api::networks::NODE_ADDRESS_CLASS;
use corten_api::{Key, Object};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;

/// Names the Service an EndpointSlice belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// A Service with this label is some other proxy's business.
pub const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// On a Node.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// What upstream gives a ClientIP affinity that names no timeout.
pub const DEFAULT_AFFINITY_SECS: u32 = 10_800;

/// A transport that Services can be addressed with. The number is the IP protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    Tcp = 6,
    Udp = 17,
    Sctp = 132,
}

impl Protocol {
    /// From the API's word; `None` means TCP, as everywhere in Kubernetes.
    pub fn parse(word: Option<&str>) -> Option<Self> {
        match word.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }
    /// As SRV names spell it.
    pub fn lower(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// When an object was made; of two from the same second the uid decides, which nobody can choose.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Age {
    pub created_secs: i64,
    pub uid: String,
}

impl Age {
    fn of<T: Object>(object: &T) -> Self {
        let meta = object.metadata();
        // The API sets the time on every object; what has none is younger than all others.
        let created_secs = meta.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second());
        Self { created_secs, uid: meta.uid.clone().unwrap_or_default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// "" for the one port of a Service that names none.
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}

/// A Service, as rules and names need it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Service {
    pub key: Key,
    pub age: Age,
    /// IPv4 cluster addresses; none for headless and ExternalName Services.
    pub cluster_ips: Vec<Ipv4Addr>,
    pub headless: bool,
    /// `spec.externalName` of an ExternalName Service.
    pub external_name: Option<String>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<Ipv4Addr>,
    /// The load balancer's addresses that packets still bear when they arrive.
    pub load_balancer_ips: Vec<Ipv4Addr>,
    /// All addresses of the load balancer: nobody else may serve these, also where it delivers packets under other ones.
    pub status_ips: Vec<Ipv4Addr>,
    /// Those of them that may be nodes' own: each serves the Service where it is, and stays the node's.
    pub node_ips: Vec<Ipv4Addr>,
    /// Who may use the load balancer's addresses (`loadBalancerSourceRanges`), without overlaps; `None`: everybody.
    pub source_ranges: Option<Arc<[Ipv4Net]>>,
    pub ports: Vec<ServicePort>,
    /// ClientIP session affinity and how long it lasts after the last connection.
    pub affinity_secs: Option<u32>,
    pub external_policy_local: bool,
    pub internal_policy_local: bool,
    /// Where load balancers ask whether a node has endpoints (`healthCheckNodePort`).
    pub health_check_port: Option<u16>,
    pub other_proxy: bool,
}

impl Service {
    pub fn from_api(service: &core::Service) -> Self {
        let (key, age) = (service.key(), Age::of(service));
        let Some(spec) = &service.spec else { return Self { key, age, ..Self::default() } };
        let external_name = (spec.type_.as_deref() == Some("ExternalName")).then(|| spec.external_name.clone());
        let headless = spec.cluster_ip.as_deref() == Some("None");
        let at_nodes = is_at_nodes(spec);
        let cluster_ips = match &spec.cluster_ips {
            Some(list) if !list.is_empty() => addresses(list),
            _ => addresses(spec.cluster_ip.as_slice()),
        };
        Self {
            key,
            age,
            cluster_ips: if external_name.is_some() { Vec::new() } else { cluster_ips },
            headless,
            external_name: external_name.flatten(),
            external_ips: addresses(spec.external_ips.as_deref().unwrap_or_default()),
            load_balancer_ips: ingress_ips(service, |ingress| !is_proxied(ingress)),
            status_ips: ingress_ips(service, |ingress| !(at_nodes && is_proxied(ingress))),
            node_ips: ingress_ips(service, |ingress| at_nodes && is_proxied(ingress)),
            source_ranges: source_ranges(spec),
            ports: spec.ports.iter().flatten().filter_map(service_port).collect(),
            affinity_secs: affinity_secs(spec),
            external_policy_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            internal_policy_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            health_check_port: health_check_port(spec),
            other_proxy: service.label(OTHER_PROXY_LABEL).is_some(),
        }
    }
}

fn affinity_secs(spec: &core::ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let client_ip = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    let secs = client_ip.and_then(|c| c.timeout_seconds).and_then(|s| u32::try_from(s).ok());
    Some(secs.filter(|s| *s > 0).unwrap_or(DEFAULT_AFFINITY_SECS))
}

/// Whether the nodes themselves may be its load balancer: it is of no other class.
fn is_at_nodes(spec: &core::ServiceSpec) -> bool {
    let class = spec.load_balancer_class.as_deref();
    spec.type_.as_deref() == Some("LoadBalancer") && class.is_none_or(|class| class == NODE_ADDRESS_CLASS)
}

/// Packets do not bear the load balancer's address any more when they arrive.
fn is_proxied(ingress: &core::LoadBalancerIngress) -> bool {
    ingress.ip_mode.as_deref() == Some("Proxy")
}

/// Addresses in the load balancer's status.
fn ingress_ips(service: &core::Service, wanted: impl Fn(&core::LoadBalancerIngress) -> bool) -> Vec<Ipv4Addr> {
    let status = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = status.and_then(|s| s.ingress.as_deref()).unwrap_or_default();
    ingress.iter().filter(|i| wanted(i)).filter_map(|i| i.ip.as_deref()?.parse().ok()).collect()
}

/// Ranges of other families alone let nobody in: to leave them out must not open the door to all.
fn source_ranges(spec: &core::ServiceSpec) -> Option<Arc<[Ipv4Net]>> {
    let listed = spec.load_balancer_source_ranges.as_ref().filter(|ranges| !ranges.is_empty())?;
    let ranges: Vec<Ipv4Net> = listed.iter().filter_map(|range| range.trim().parse().ok()).collect();
    Some(Ipv4Net::aggregate(&ranges).into())
}

/// Only a load balancer asks, and only where nodes differ.
fn health_check_port(spec: &core::ServiceSpec) -> Option<u16> {
    let asked =
        spec.type_.as_deref() == Some("LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local");
    spec.health_check_node_port.filter(|_| asked).and_then(port_number)
}

fn service_port(port: &core::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: Protocol::parse(port.protocol.as_deref())?,
        port: port_number(port.port)?,
        node_port: port.node_port.and_then(port_number),
    })
}

fn port_number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|p| *p > 0)
}

/// The IPv4 ones of a list: other families have no table yet.
fn addresses(list: &[String]) -> Vec<Ipv4Addr> {
    list.iter().filter_map(|a| a.parse().ok()).collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    pub ready: bool,
    /// Passes its readiness probe, though it may be terminating.
    pub serving: bool,
    pub terminating: bool,
    /// Runs on this node.
    pub local: bool,
    pub hostname: Option<String>,
    pub hints: Hints,
}

/// For whom an endpoint is meant (`trafficDistribution`), if somebody says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Whether this node is among the nodes that it is meant for; `None`: no nodes are named.
    pub this_node: Option<bool>,
    /// None are named: empty.
    pub zones: Box<[Box<str>]>,
}

impl Hints {
    fn of(hints: &discovery::EndpointHints, node_name: &str) -> Self {
        let nodes = hints.for_nodes.as_deref().unwrap_or_default();
        Self {
            this_node: (!nodes.is_empty()).then(|| nodes.iter().any(|node| node.name == node_name)),
            zones: hints.for_zones.iter().flatten().map(|zone| zone.name.as_str().into()).collect(),
        }
    }
}

/// An IPv4 EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub key: Key,
    pub service: Key,
    pub ports: Vec<SlicePort>,
    pub endpoints: Vec<Endpoint>,
}

impl Slice {
    /// `None` for slices of other address families, and for those that belong to no Service.
    pub fn from_api(slice: &discovery::EndpointSlice, node_name: &str) -> Option<Self> {
        let service = Key::new(slice.namespace(), slice.label(SERVICE_NAME_LABEL)?);
        if slice.address_type != "IPv4" {
            return None;
        }
        let ports = slice.ports.iter().flatten().filter_map(|p| {
            Some(SlicePort {
                name: p.name.clone().unwrap_or_default(),
                protocol: Protocol::parse(p.protocol.as_deref())?,
                port: port_number(p.port?)?,
            })
        });
        let endpoints = slice.endpoints.iter().flatten().filter_map(|e| endpoint(e, node_name));
        Some(Self { key: slice.key(), service, ports: ports.collect(), endpoints: endpoints.collect() })
    }
}

/// Only the first address counts; the API calls the others interchangeable.
fn endpoint(endpoint: &discovery::Endpoint, node_name: &str) -> Option<Endpoint> {
    let conditions = endpoint.conditions.as_ref();
    // "nil should be interpreted as true" for ready; serving follows ready where it is not given.
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    Some(Endpoint {
        address: endpoint.addresses.first()?.parse().ok()?,
        ready,
        serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        local: endpoint.node_name.as_deref() == Some(node_name),
        hostname: endpoint.hostname.clone(),
        hints: endpoint.hints.as_ref().map(|hints| Hints::of(hints, node_name)).unwrap_or_default(),
    })
}

/// A Node: where it is and which pods are behind it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Node {
    pub name: String,
    /// InternalIP first, then ExternalIP.
    pub addresses: Vec<Ipv4Addr>,
    /// The first InternalIP. Of what a node says of itself only this one counts for others: with a list as long as it likes, it
    /// could take any number of addresses from the cluster.
    pub internal_ip: Option<Ipv4Addr>,
    /// Where it stands, for traffic that is to stay there.
    pub zone: Option<String>,
    pub pod_cidr: Option<Ipv4Net>,
    /// Where its kubelet listens, on all of its addresses.
    pub kubelet_port: Option<u16>,
}

impl Node {
    pub fn from_api(node: &core::Node) -> Self {
        let listed = node.status.as_ref().and_then(|s| s.addresses.as_deref()).unwrap_or_default();
        let of = |kind: &'static str| listed.iter().filter(move |a| a.type_ == kind);
        let addresses = of("InternalIP").chain(of("ExternalIP")).filter_map(|a| a.address.parse().ok());
        let internal_ip = of("InternalIP").find_map(|a| a.address.parse().ok());
        let spec = node.spec.as_ref();
        let cidrs = spec.and_then(|s| s.pod_cidrs.as_deref()).unwrap_or_default();
        let cidr = cidrs.iter().chain(spec.and_then(|s| s.pod_cidr.as_ref())).find_map(|c| c.parse::<Ipv4Net>().ok());
        let daemons = node.status.as_ref().and_then(|s| s.daemon_endpoints.as_ref());
        Self {
            name: node.name().into(),
            addresses: addresses.collect(),
            internal_ip,
            zone: node.label(ZONE_LABEL).map(str::to_owned),
            pod_cidr: cidr.map(|c| c.trunc()),
            kubelet_port: daemons.and_then(|d| port_number(d.kubelet_endpoint.as_ref()?.port)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `None`: on every address of the node.
    pub host_ip: Option<Ipv4Addr>,
    pub protocol: Protocol,
    pub host_port: u16,
    pub container_port: u16,
}

/// The host ports of a pod on this node that has an address and still runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPorts {
    pub key: Key,
    pub age: Age,
    pub address: Ipv4Addr,
    /// It listens on the host ports itself: they are not led anywhere, and nobody else's either.
    pub host_network: bool,
    pub ports: Vec<HostPort>,
}

impl PodPorts {
    pub fn from_api(pod: &core::Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let address = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
        if corten_api::pod::is_terminal(pod) {
            return None;
        }
        let sidecars = spec.init_containers.iter().flatten().filter(|c| corten_api::pod::is_sidecar(c));
        let declared = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
        let ports: Vec<HostPort> = declared.filter_map(host_port).collect();
        let host_network = spec.host_network == Some(true);
        (!ports.is_empty()).then(|| Self { key: pod.key(), age: Age::of(pod), address, host_network, ports })
    }
}

fn host_port(port: &core::ContainerPort) -> Option<HostPort> {
    Some(HostPort {
        host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()).filter(|ip: &Ipv4Addr| !ip.is_unspecified()),
        protocol: Protocol::parse(port.protocol.as_deref())?,
        host_port: port.host_port.and_then(port_number)?,
        container_port: port_number(port.container_port)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn a_nodes_kubelet_listens_where_its_status_says() {
        let port = |endpoints: Value| {
            let node = json!({"metadata": {"name": "n"}, "status": {"daemonEndpoints": endpoints}});
            Node::from_api(&from_value(node).unwrap()).kubelet_port
        };
        assert_eq!(port(json!({"kubeletEndpoint": {"Port": 10250}})), Some(10250));
        assert_eq!(port(json!({"kubeletEndpoint": {"Port": 0}})), None);
        assert_eq!(port(json!({})), None);
    }

    #[test]
    fn which_addresses_of_a_load_balancer_are_nodes_and_which_its_own() {
        let ingress = json!([{"ip": "192.0.2.1", "ipMode": "Proxy"}, {"ip": "203.0.113.1", "ipMode": "VIP"}]);
        let of = |spec: Value| {
            let service = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec,
                "status": {"loadBalancer": {"ingress": ingress}}});
            let service = Service::from_api(&from_value(service).unwrap());
            let text = |ips: &[Ipv4Addr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            (text(&service.node_ips), text(&service.status_ips), text(&service.load_balancer_ips))
        };
        let (node, own, both) = ("192.0.2.1".to_owned(), "203.0.113.1".to_owned(), "192.0.2.1 203.0.113.1".to_owned());
        let (ours, others) = ((node, own.clone(), own.clone()), (String::new(), both, own));
        assert_eq!(of(json!({"type": "LoadBalancer"})), ours);
        assert_eq!(of(json!({"type": "LoadBalancer", "loadBalancerClass": NODE_ADDRESS_CLASS})), ours);
        assert_eq!(of(json!({"type": "LoadBalancer", "loadBalancerClass": "metal.lb/pool"})), others);
        assert_eq!(of(json!({"type": "ClusterIP"})), others);
    }

    #[test]
    fn a_pod_has_its_host_ports_on_a_network_of_its_own_and_on_the_hosts() {
        let pod = |host_network: bool, phase: &str| {
            let ports = json!([{"containerPort": 80, "hostPort": 80}, {"containerPort": 81}]);
            let pod = json!({"metadata": {"name": "p", "namespace": "n"},
                "spec": {"hostNetwork": host_network, "containers": [{"name": "c", "ports": ports}]},
                "status": {"podIP": "192.0.2.1", "phase": phase}});
            PodPorts::from_api(&from_value(pod).unwrap()).map(|pod| (pod.host_network, pod.ports.len()))
        };
        assert_eq!(pod(false, "Running"), Some((false, 1)));
        assert_eq!(pod(true, "Running"), Some((true, 1)));
        assert_eq!(pod(true, "Succeeded"), None);
    }
}
