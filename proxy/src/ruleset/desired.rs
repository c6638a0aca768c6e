//! From a Service and its EndpointSlices, a pod's host ports, or a node, to what they claim. Pure.
//!
//! Follows <https://kubernetes.io/docs/reference/networking/virtual-ips/>. Of the endpoints of a Service
//! with a traffic distribution those are used that are meant for this node, or else for its zone, as long as there are any.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::ledger::{Claim, Claims, Hold, Rank};
use super::{End, Fate, Front, FrontRules, MAX_ENDS, Place};
use crate::listeners::Listener;
use crate::view::{Endpoint, Node, PodPorts, Protocol, Service, ServicePort, Slice};

pub const DNS_PORT: u16 = 53;

/// Elements of the kernel's maps that one Service may take on each node: two hundred ports with a thousand endpoints each, at five
/// addresses. Who may make Services could otherwise fill the memory of all nodes with one.
pub const ELEMENTS_PER_SERVICE_MAX: u64 = 1 << 20;

/// The Service that leads to the apiservers.
pub fn is_api(service: &Service) -> bool {
    service.key.namespace == "default" && service.key.name == "kubernetes"
}

/// What one Service claims; a front appears once.
pub fn service(service: &Service, slices: &[&Slice], place: &Place) -> Claims {
    let fronts = if is_api(service) { own_apiserver(slices, place) } else { Vec::new() };
    let mut claims = Claims { holds: holds(service, slices), age: service.age.clone(), fronts, ..Claims::default() };
    if service.headless || service.external_name.is_some() || service.other_proxy {
        return claims;
    }
    let offers = Offers::of(slices);
    let elements = elements(service, &offers, place);
    if elements > ELEMENTS_PER_SERVICE_MAX {
        claims.too_large = Some(elements);
        return claims;
    }
    let at_node = is_at_node(service, place);
    let sources = sources(service, place);
    for port in &service.ports {
        let ends = Ends::of(port, &offers, place);
        let within = if service.internal_policy_local { ends.local_only() } else { ends.anywhere() };
        let cluster = FrontRules { inside: within, outside: None, affinity_secs: service.affinity_secs, sources: None };
        let external = FrontRules {
            inside: ends.anywhere(),
            outside: service.external_policy_local.then(|| ends.local_only()),
            affinity_secs: service.affinity_secs,
            sources: None,
        };
        let limited = FrontRules { sources: sources.clone(), ..external.clone() };
        let claim = |address, port_number, rank, rules: &FrontRules| Claim {
            front: Front { address, protocol: port.protocol, port: port_number },
            rank,
            rules: Some(rules.clone()),
        };
        let own_dns = |f: &Front| f.address == place.cluster_dns && f.port == DNS_PORT && f.protocol != Protocol::Sctp;
        let inner = service.cluster_ips.iter().map(|ip| claim(*ip, port.port, Rank::ClusterIp, &cluster));
        claims.fronts.extend(inner.filter(|claim| !own_dns(&claim.front)));
        if let Some(number) = port.node_port {
            let all = place.addresses.iter().map(|ip| claim(*ip, number, Rank::NodePort, &external));
            claims.fronts.extend(all);
        }
        if at_node {
            let all = place.addresses.iter().map(|ip| claim(*ip, port.port, Rank::NodeAddress, &limited));
            claims.fronts.extend(all.filter(|claim| !own_dns(&claim.front)));
        }
        let balanced = service.load_balancer_ips.iter().map(|ip| claim(*ip, port.port, Rank::LoadBalancer, &limited));
        let outer = service.external_ips.iter().map(|ip| claim(*ip, port.port, Rank::External, &external));
        claims.fronts.extend(balanced.chain(outer).filter(|claim| is_public(claim.front.address, place)));
    }
    once(&mut claims.fronts);
    claims
}

/// Whether this node is a load balancer of the Service. Then it is at all of its addresses: what a network hands on may bear
/// another of them when it arrives.
fn is_at_node(service: &Service, place: &Place) -> bool {
    service.node_ips.iter().any(|ip| place.addresses.contains(ip))
}

/// No fewer elements than the Service would take, counted without making any of them.
fn elements(service: &Service, offers: &Offers<'_>, place: &Place) -> u64 {
    let count = |list: usize| u64::try_from(list).unwrap_or(u64::MAX);
    let at_node = if is_at_node(service, place) { place.addresses.len() } else { 0 };
    let balanced = service.load_balancer_ips.len() + at_node;
    let sources = service.source_ranges.as_ref().map_or(0, |ranges| ranges.len() + balanced + 1);
    // The verdict, and the note of an affinity.
    const BESIDE_ENDS: usize = 2;
    let fates = if service.external_policy_local { 2 } else { 1 };
    let of_port = |port: &ServicePort| {
        let ends: usize = offers.of_port(port).map(|(slice, _)| slice.endpoints.len()).sum();
        let front = count(ends.saturating_add(BESIDE_ENDS));
        let nodes = if port.node_port.is_some() { place.addresses.len() } else { 0 };
        let outer = count(nodes + balanced + service.external_ips.len()) * fates;
        let inner = count(service.cluster_ips.len());
        let limits = count(balanced).saturating_mul(count(sources));
        (outer + inner).saturating_mul(front).saturating_add(limits)
    };
    service.ports.iter().map(of_port).fold(0, u64::saturating_add)
}

/// A Service keeps its cluster addresses to itself even where another proxy serves them; the API's keeps the
/// apiservers' own addresses too, as these may be of machines that are no nodes.
fn holds(service: &Service, slices: &[&Slice]) -> BTreeSet<(Ipv4Addr, Hold)> {
    let cluster = service.cluster_ips.iter().map(|ip| (*ip, Hold::System));
    let all = service.status_ips.iter().chain(&service.load_balancer_ips);
    let balanced = all.map(|ip| (*ip, Hold::LoadBalancer));
    let nodes = service.node_ips.iter().map(|ip| (*ip, Hold::NodeAddress));
    let endpoints = slices.iter().filter(|_| is_api(service)).flat_map(|slice| &slice.endpoints);
    cluster.chain(balanced).chain(nodes).chain(endpoints.map(|e| (e.address, Hold::Api))).collect()
}

/// Who may use the load balancer's addresses. Where this node may, so may what comes from such an address itself: on a machine
/// that has it as its own, the machine's packets to it bear it on both ends.
fn sources(service: &Service, place: &Place) -> Option<Arc<[Ipv4Net]>> {
    let ranges = service.source_ranges.as_ref()?;
    if !ranges.iter().any(|range| place.addresses.iter().any(|ip| range.contains(ip))) {
        return Some(Arc::clone(ranges));
    }
    let nodes = place.addresses.iter().filter(|_| is_at_node(service, place));
    let own = service.load_balancer_ips.iter().chain(nodes).map(|ip| Ipv4Net::from(*ip));
    let all: Vec<Ipv4Net> = ranges.iter().copied().chain(own).collect();
    Some(Ipv4Net::aggregate(&all).into())
}

/// The port on which load balancers ask for this node's endpoints of a Service, and how many are ready.
pub fn health_check(service: &Service, slices: &[&Slice]) -> Option<(u16, usize)> {
    let port = service.health_check_port.filter(|_| !service.other_proxy)?;
    let here = slices.iter().flat_map(|slice| &slice.endpoints).filter(|end| end.local && end.ready);
    Some((port, here.map(|end| end.address).collect::<BTreeSet<_>>().len()))
}

/// Whether an address can be one outside the cluster. A pod's or a machine's own is nobody's to claim.
fn is_public(address: Ipv4Addr, place: &Place) -> bool {
    let special =
        address.is_unspecified() || address.is_loopback() || address.is_link_local() || address.is_multicast();
    !special && !place.cluster_cidr.contains(&address)
}

/// What this node and the proxy hold, and where programs of the machine listen.
pub fn this(place: &Place, listeners: &BTreeSet<Listener>) -> Claims {
    let own = place.addresses.iter().chain([&place.cluster_dns]);
    let taken = |listener: &Listener| {
        let (on, protocol, port) = (listener.address, listener.protocol, listener.port);
        let addresses = place.addresses.iter().filter(move |ip| on.is_none_or(|only| only == **ip));
        addresses.map(move |ip| Front { address: *ip, protocol, port })
    };
    let mut fronts: Vec<Claim> =
        listeners.iter().flat_map(taken).map(|front| Claim { front, rank: Rank::Listener, rules: None }).collect();
    once(&mut fronts);
    Claims { fronts, holds: own.map(|ip| (*ip, Hold::System)).collect(), ..Claims::default() }
}

/// What a node holds by what it says of itself.
pub fn node(node: &Node, place: &Place) -> Claims {
    let own = node.internal_ip.filter(|ip| is_public(*ip, place));
    Claims { holds: own.map(|ip| (ip, Hold::Node)).into_iter().collect(), ..Claims::default() }
}

/// What this node holds: its addresses, and on each the port of its kubelet.
pub fn own_node(own: &Node, place: &Place) -> Claims {
    let fronts = own.kubelet_port.into_iter().flat_map(|port| left_alone(port, place)).collect();
    Claims { fronts, ..node(own, place) }
}

/// The ports of an apiserver on this machine: it is one of those that the API's Service leads to.
fn own_apiserver(slices: &[&Slice], place: &Place) -> Vec<Claim> {
    let is_here = |slice: &&&Slice| slice.endpoints.iter().any(|end| place.addresses.contains(&end.address));
    let ports = slices.iter().filter(is_here).flat_map(|slice| &slice.ports);
    let mut claims: Vec<Claim> = ports.flat_map(|port| left_alone(port.port, place)).collect();
    once(&mut claims);
    claims
}

/// A daemon of this machine listens at the port: what comes there is left alone.
fn left_alone(port: u16, place: &Place) -> impl Iterator<Item = Claim> {
    let front = move |ip: &Ipv4Addr| Front { address: *ip, protocol: Protocol::Tcp, port };
    own_addresses(place).map(move |ip| Claim { front: front(ip), rank: Rank::Machine, rules: None })
}

/// Whatever runs on the node's own network reaches what it offers at 127.0.0.1, too.
fn own_addresses(place: &Place) -> impl Iterator<Item = &Ipv4Addr> {
    place.addresses.iter().chain([&Ipv4Addr::LOCALHOST])
}

/// What one pod's host ports claim.
pub fn host_ports(pod: &PodPorts, place: &Place) -> Claims {
    let mut fronts = Vec::new();
    for port in &pod.ports {
        let end = End { address: pod.address, port: port.container_port };
        let rules =
            FrontRules { inside: Fate::Balance(Arc::new([end])), outside: None, affinity_secs: None, sources: None };
        let on = own_addresses(place).filter(|ip| port.host_ip.is_none_or(|only| only == **ip));
        fronts.extend(on.map(|ip| Claim {
            front: Front { address: *ip, protocol: port.protocol, port: port.host_port },
            rank: Rank::NodePort,
            rules: (!pod.host_network).then(|| rules.clone()),
        }));
    }
    once(&mut fronts);
    Claims { fronts, age: pod.age.clone(), ..Claims::default() }
}

fn once(claims: &mut Vec<Claim>) {
    let mut seen = HashSet::new();
    claims.retain(|claim| seen.insert(claim.front));
}

/// Which slices have which ports: with many of both, a search for each would cost their product.
struct Offers<'a> {
    by_port: HashMap<(&'a str, Protocol), Vec<(&'a Slice, u16)>>,
}

impl<'a> Offers<'a> {
    fn of(slices: &[&'a Slice]) -> Self {
        let mut by_port: HashMap<_, Vec<_>> = HashMap::new();
        for slice in slices {
            for port in &slice.ports {
                by_port.entry((port.name.as_str(), port.protocol)).or_default().push((*slice, port.port));
            }
        }
        Self { by_port }
    }
    fn of_port<'b>(&'b self, port: &'b ServicePort) -> impl Iterator<Item = (&'a Slice, u16)> + 'b {
        self.by_port.get(&(port.name.as_str(), port.protocol)).into_iter().flatten().copied()
    }
}

/// The ends of one port that may be used, wherever and on this node.
struct Ends {
    all: Arc<[End]>,
    local: Arc<[End]>,
}

impl Ends {
    fn of(port: &ServicePort, offers: &Offers<'_>, place: &Place) -> Self {
        let mut found: Vec<(End, &Endpoint)> = Vec::new();
        for (slice, port) in offers.of_port(port) {
            found.extend(slice.endpoints.iter().map(|e| (End { address: e.address, port }, e)));
        }
        let zone = place.zone.as_deref();
        let near = Near::of(found.iter().map(|(_, e)| *e), zone);
        let ready_and_near = |e: &Endpoint| !e.ready || near.takes(e, zone);
        Self { all: usable(&found, ready_and_near), local: usable(&found, |e| e.local) }
    }
    fn anywhere(&self) -> Fate {
        if self.all.is_empty() { Fate::Refuse } else { Fate::Balance(self.all.clone()) }
    }
    fn local_only(&self) -> Fate {
        match (self.local.is_empty(), self.all.is_empty()) {
            (false, _) => Fate::Balance(self.local.clone()),
            (true, false) => Fate::Drop,
            (true, true) => Fate::Refuse,
        }
    }
}

/// How near the ends are that this node is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Near {
    Anywhere,
    Zone,
    Node,
}

impl Near {
    /// Hints count only where every ready endpoint has some: else they are being written, or somebody does without. Where none is
    /// meant for us, all are used.
    fn of<'a>(endpoints: impl Iterator<Item = &'a Endpoint> + Clone, zone: Option<&str>) -> Self {
        let ready = || endpoints.clone().filter(|e| e.ready);
        let has = |fits: &dyn Fn(&Endpoint) -> bool| ready().any(fits);
        if ready().all(|e| e.hints.this_node.is_some()) && has(&|e| Self::Node.takes(e, zone)) {
            Self::Node
        } else if ready().all(|e| !e.hints.zones.is_empty()) && has(&|e| Self::Zone.takes(e, zone)) {
            Self::Zone
        } else {
            Self::Anywhere
        }
    }
    fn takes(self, endpoint: &Endpoint, zone: Option<&str>) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Zone => zone.is_some_and(|zone| endpoint.hints.zones.iter().any(|meant| **meant == *zone)),
            Self::Node => endpoint.hints.this_node == Some(true),
        }
    }
}

/// The ready ends; where there is none, those that terminate but still serve, so that a rollout of a
/// Service's last pod loses no connection.
fn usable(found: &[(End, &Endpoint)], wanted: impl Fn(&Endpoint) -> bool) -> Arc<[End]> {
    let collect = |fits: &dyn Fn(&Endpoint) -> bool| -> BTreeSet<End> {
        found.iter().filter(|(_, e)| wanted(e) && fits(e)).map(|(end, _)| *end).collect()
    };
    let mut ends = collect(&|e| e.ready);
    if ends.is_empty() {
        ends = collect(&|e| e.serving && e.terminating);
    }
    ends.into_iter().take(MAX_ENDS).collect()
}
