//! One small cluster with a Service for every rule there is, and the table of packets that try them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use corten_api::Key;
use corten_proxy::ruleset::elements::{self, Elements};
use corten_proxy::ruleset::ledger::Ledger;
use corten_proxy::ruleset::trace::Outcome;
use corten_proxy::ruleset::{Front, Owner, Place, desired};
use corten_proxy::view::{Age, Endpoint, Hints, HostPort, PodPorts, Protocol, Service, ServicePort, Slice, SlicePort};

/// Whether frames between pods of the bridge pass the IP hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    BridgeSeesIp,
    BridgeBlind,
}

/// Everybody in the world. The rules under test are those of node A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    NodeA,
    NodeB,
    Pod1OnA,
    Pod2OnA,
    PodOnB,
    Client,
}

pub(crate) const EVERYBODY: [Who; 6] = [Who::NodeA, Who::NodeB, Who::Pod1OnA, Who::Pod2OnA, Who::PodOnB, Who::Client];

impl Who {
    pub(crate) fn address(self) -> Ipv4Addr {
        match self {
            Self::NodeA => Ipv4Addr::new(192, 0, 2, 1),
            Self::NodeB => Ipv4Addr::new(192, 0, 2, 2),
            Self::Client => Ipv4Addr::new(192, 0, 2, 100),
            Self::Pod1OnA => Ipv4Addr::new(10, 244, 1, 2),
            Self::Pod2OnA => Ipv4Addr::new(10, 244, 1, 3),
            Self::PodOnB => Ipv4Addr::new(10, 244, 2, 2),
        }
    }
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NodeA => "A",
            Self::NodeB => "B",
            Self::Client => "client",
            Self::Pod1OnA => "a1",
            Self::Pod2OnA => "a2",
            Self::PodOnB => "b1",
        }
    }
    pub(crate) fn named(address: Ipv4Addr) -> &'static str {
        EVERYBODY.into_iter().find(|w| w.address() == address).map_or("?", Who::name)
    }
}

pub(crate) const NODE_A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const BRIDGE_A: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
pub(crate) const EXTERNAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// Load balancers' addresses that not everybody may use.
pub(crate) const LIMITED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 51);
pub(crate) const CLOSED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 52);
pub(crate) const SERVER_PORT: u16 = 8080;
pub(crate) const API_PORT: u16 = 6443;
pub(crate) const STICKY: Front = front(7, 80);

/// Port `port` of the test Service with this number.
pub(crate) const fn front(number: u8, port: u16) -> Front {
    Front { address: Ipv4Addr::new(10, 96, 1, number), protocol: Protocol::Tcp, port }
}

pub(crate) struct Scenario {
    pub(crate) place: Place,
    pub(crate) elements: Elements,
}

pub(crate) fn scenario(setting: Setting) -> Scenario {
    let place = Place {
        addresses: BTreeSet::from([NODE_A]),
        pod_cidr: Some("10.244.1.0/24".parse().unwrap()),
        nodes: BTreeSet::from([NODE_A, Who::NodeB.address()]),
        cluster_dns: Ipv4Addr::new(10, 96, 0, 10),
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        bridge_sees_ip: setting == Setting::BridgeSeesIp,
        drop_invalid: true,
        zone: None,
    };
    let mut ledger = Ledger::default();
    for (service, slices) in services() {
        let slices: Vec<&Slice> = slices.iter().collect();
        ledger.set(&Owner::Service(service.key.clone()), desired::service(&service, &slices, &place));
    }
    let port = |host_ip, protocol, host_port| HostPort { host_ip, protocol, host_port, container_port: SERVER_PORT };
    let (loopback, own) = (Some(Ipv4Addr::LOCALHOST), Some(NODE_A));
    // As in the conformance test: one port three times, by address or protocol.
    for (name, on, ports) in [
        ("a1", Who::Pod1OnA, vec![port(None, Protocol::Tcp, 8081), port(loopback, Protocol::Tcp, 8082)]),
        ("a2", Who::Pod2OnA, vec![port(own, Protocol::Tcp, 8082)]),
        ("a2-udp", Who::Pod2OnA, vec![port(own, Protocol::Udp, 8082)]),
    ] {
        let pod = PodPorts {
            key: Key::new("default", name),
            age: Age::default(),
            address: on.address(),
            host_network: false,
            ports,
        };
        ledger.set(&Owner::Pod(pod.key.clone()), desired::host_ports(&pod, &place));
    }
    let mut elements = elements::of_place(&place);
    for (front, rules) in ledger.iter() {
        elements.extend(elements::of_front(front, rules));
    }
    Scenario { place, elements }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    NotReady,
    Terminating,
}

fn service(number: u8, node_port: Option<u16>, change: impl FnOnce(&mut Service)) -> Service {
    let mut service = Service {
        key: Key::new("default", format!("service-{number}")),
        cluster_ips: vec![front(number, 80).address],
        ports: vec![ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port }],
        ..Service::default()
    };
    change(&mut service);
    service
}

fn slice(service: &Service, port: u16, ends: &[(Who, State)]) -> Slice {
    let endpoint = |(who, state): &(Who, State)| Endpoint {
        address: who.address(),
        ready: *state == State::Ready,
        serving: *state != State::NotReady,
        terminating: *state == State::Terminating,
        local: matches!(who, Who::Pod1OnA | Who::Pod2OnA | Who::NodeA),
        hostname: None,
        hints: Hints::default(),
    };
    let ports = service.ports.iter().map(|p| SlicePort { name: p.name.clone(), protocol: p.protocol, port });
    Slice {
        key: service.key.clone(),
        service: service.key.clone(),
        ports: ports.collect(),
        endpoints: ends.iter().map(endpoint).collect(),
    }
}

fn services() -> Vec<(Service, Vec<Slice>)> {
    use State::{NotReady, Ready, Terminating};
    use Who::{NodeB, Pod1OnA, Pod2OnA, PodOnB};
    let everywhere = [(Pod1OnA, Ready), (Pod2OnA, Ready), (PodOnB, Ready)];
    let mut all = Vec::new();
    let mut add = |service: Service, port: u16, ends: &[(Who, State)]| {
        let slice = slice(&service, port, ends);
        all.push((service, vec![slice]));
    };
    add(service(1, Some(31080), |s| s.external_ips = vec![EXTERNAL]), SERVER_PORT, &everywhere);
    add(service(2, Some(31082), |s| s.external_policy_local = true), SERVER_PORT, &[(Pod1OnA, Ready), (PodOnB, Ready)]);
    add(service(3, None, |s| s.internal_policy_local = true), SERVER_PORT, &[(PodOnB, Ready)]);
    add(service(4, Some(31084), |_| {}), SERVER_PORT, &[]);
    add(service(5, Some(31085), |s| s.external_policy_local = true), SERVER_PORT, &[(PodOnB, Ready)]);
    add(service(6, None, |_| {}), SERVER_PORT, &[(Pod1OnA, Ready)]);
    add(service(7, Some(31087), |s| s.affinity_secs = Some(600)), SERVER_PORT, &everywhere);
    let udp = |s: &mut Service| s.ports[0].protocol = Protocol::Udp;
    add(service(8, Some(31088), udp), SERVER_PORT, &[(Pod2OnA, Ready), (PodOnB, Ready)]);
    add(service(9, None, |_| {}), API_PORT, &[(NodeB, Ready)]);
    add(service(10, None, |_| {}), SERVER_PORT, &[(Pod1OnA, NotReady), (Pod2OnA, Terminating)]);
    add(service(11, None, |_| {}), SERVER_PORT, &[(Pod1OnA, NotReady)]);
    add(service(12, None, |_| {}), SERVER_PORT, &[(Pod1OnA, Ready), (Pod2OnA, Terminating)]);
    // The client is in the ranges of one and not in those of the other.
    for (number, address, ranges) in
        [(14, LIMITED, &["192.0.2.100/32", "10.244.1.2/31"][..]), (15, CLOSED, &["192.0.2.128/25"])]
    {
        let ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
        let limit = |s: &mut Service| {
            s.load_balancer_ips = vec![address];
            s.source_ranges = Some(ranges);
        };
        add(service(number, None, limit), SERVER_PORT, &[(Pod1OnA, Ready), (PodOnB, Ready)]);
    }
    // A second port has ends of its own.
    let other = ServicePort { name: "other".into(), protocol: Protocol::Tcp, port: 81, node_port: None };
    let two = service(13, None, |s| s.ports.push(other));
    let mut first = slice(&two, SERVER_PORT, &[(Pod1OnA, Ready)]);
    let mut second = slice(&two, SERVER_PORT, &[(Pod2OnA, Ready)]);
    first.ports.retain(|p| p.name == "http");
    second.ports.retain(|p| p.name == "other");
    all.push((two, vec![first, second]));
    all
}

pub(crate) struct Case {
    pub(crate) why: &'static str,
    pub(crate) from: Who,
    pub(crate) to: Front,
    /// The ends that may answer, in order; `~` after those that see the node's address and not the client's.
    pub(crate) expected: &'static str,
    /// The same where the bridge does not show frames to IP, if it differs.
    pub(crate) blind: Option<&'static str>,
}

impl Case {
    /// The address that the first packet comes from: the kernel chooses the loopback's for what goes to it.
    pub(crate) fn source(&self) -> Ipv4Addr {
        if self.to.address.is_loopback() { Ipv4Addr::LOCALHOST } else { self.from.address() }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    use Who::{Client, NodeA, Pod1OnA, Pod2OnA, PodOnB};
    let tcp = |address, port| Front { address, protocol: Protocol::Tcp, port };
    let udp = |address, port| Front { address, protocol: Protocol::Udp, port };
    let node = |port| tcp(NODE_A, port);
    let case = |why, from, to, expected| Case { why, from, to, expected, blind: None };
    let blind = |why, from, to, expected, blind| Case { why, from, to, expected, blind: Some(blind) };
    vec![
        blind(
            "a pod reaches all ends; itself only by the node's address",
            Pod1OnA,
            front(1, 80),
            "a1~ a2 b1",
            "a1~ a2~ b1",
        ),
        case("a process of the node", NodeA, front(1, 80), "a1 a2 b1~"),
        case("another port of a ClusterIP is nobody's", Pod1OnA, front(1, 8080), "untouched~"),
        case(
            "a client outside, by NodePort: only what leaves the node again is masqueraded",
            Client,
            node(31080),
            "a1 a2 b1~",
        ),
        blind("a pod, by its node's NodePort", Pod2OnA, node(31080), "a1 a2~ b1", "a1~ a2~ b1"),
        case(
            "a pod of another node, by NodePort: b1's answer must come back this way",
            PodOnB,
            node(31080),
            "a1 a2 b1~",
        ),
        case("the node itself, by NodePort", NodeA, node(31080), "a1 a2 b1~"),
        case("a client outside, by an external address", Client, tcp(EXTERNAL, 80), "a1 a2 b1~"),
        case("source ranges with the client in them", Client, tcp(LIMITED, 80), "a1 b1~"),
        blind("source ranges with a pod in them", Pod2OnA, tcp(LIMITED, 80), "a1 b1", "a1~ b1"),
        case("source ranges without the node", NodeA, tcp(LIMITED, 80), "dropped"),
        case("source ranges without the client", Client, tcp(CLOSED, 80), "dropped"),
        case("source ranges without a pod", Pod1OnA, tcp(CLOSED, 80), "dropped"),
        case("source ranges do not concern the ClusterIP", Pod1OnA, front(15, 80), "a1~ b1"),
        case("externalTrafficPolicy Local: only this node's, under the client's address", Client, node(31082), "a1"),
        blind("externalTrafficPolicy Local: pods are inside and reach all", Pod2OnA, node(31082), "a1 b1", "a1~ b1"),
        case("externalTrafficPolicy Local does not concern the ClusterIP", NodeA, front(2, 80), "a1 b1~"),
        case("internalTrafficPolicy Local without an end here", Pod1OnA, front(3, 80), "dropped"),
        case("no endpoints: refused at once, for a pod", Pod1OnA, front(4, 80), "refused"),
        case("no endpoints: refused at once, for the node", NodeA, front(4, 80), "refused"),
        case("no endpoints: refused at once, by NodePort from outside", Client, node(31084), "refused"),
        case("externalTrafficPolicy Local without an end here: outside is dropped", Client, node(31085), "dropped"),
        case("externalTrafficPolicy Local without an end here: a pod still gets through", Pod1OnA, node(31085), "b1"),
        case("hairpin: the only end is the client itself", Pod1OnA, front(6, 80), "a1~"),
        blind("a sticky Service", Pod1OnA, front(7, 80), "a1~ a2 b1", "a1~ a2~ b1"),
        case("a sticky Service from outside", Client, node(31087), "a1 a2 b1~"),
        blind("UDP from a pod", Pod1OnA, udp(front(8, 80).address, 80), "a2 b1", "a2~ b1"),
        case("UDP by NodePort from outside", Client, udp(NODE_A, 31088), "a2 b1~"),
        case("the same number over TCP is nobody's", Pod1OnA, front(8, 80), "untouched~"),
        case("an end on a node's own network keeps the pod's address", Pod1OnA, front(9, 80), "B"),
        case("an end on another node's network, from this node", NodeA, front(9, 80), "B~"),
        blind("no ready end: those that terminate but serve", Pod1OnA, front(10, 80), "a2", "a2~"),
        case("only unready ends count as none", Pod1OnA, front(11, 80), "refused"),
        case("a ready end keeps terminating ones out", Pod1OnA, front(12, 80), "a1~"),
        blind("each port has its own ends: the first", Pod2OnA, front(13, 80), "a1", "a1~"),
        blind("each port has its own ends: the second", Pod1OnA, front(13, 81), "a2", "a2~"),
        case("a hostPort from outside", Client, node(8081), "a1"),
        blind("a hostPort from a pod", Pod2OnA, node(8081), "a1", "a1~"),
        case("a hostPort by the loopback, from the node itself", NodeA, tcp(Ipv4Addr::LOCALHOST, 8081), "a1~"),
        case("hostIP 127.0.0.1, from the node itself", NodeA, tcp(Ipv4Addr::LOCALHOST, 8082), "a1~"),
        case("the same port with the node's address as hostIP", NodeA, node(8082), "a2"),
        case("the same port with the node's address, from outside", Client, node(8082), "a2"),
        case("the same port over UDP", Client, udp(NODE_A, 8082), "a2"),
        case("a pod's own address needs no rule", Pod1OnA, tcp(PodOnB.address(), SERVER_PORT), "untouched"),
        case("a pod to a node keeps its address", Pod1OnA, tcp(Who::NodeB.address(), API_PORT), "untouched"),
        case(
            "a pod to the world outside goes under the node's",
            Pod1OnA,
            tcp(Client.address(), SERVER_PORT),
            "untouched~",
        ),
    ]
}

/// An outcome as the table writes it.
pub(crate) fn render(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(arrivals) => {
            let name = |a: &corten_proxy::ruleset::trace::Arrival| {
                format!("{}{}", Who::named(a.end.address), if a.masqueraded { "~" } else { "" })
            };
            let mut names: Vec<String> = arrivals.iter().map(name).collect();
            names.sort();
            names.join(" ")
        }
        Outcome::Refused => "refused".into(),
        Outcome::Dropped => "dropped".into(),
        Outcome::Untouched { masqueraded } => format!("untouched{}", if *masqueraded { "~" } else { "" }),
        Outcome::Broken(why) => format!("broken: {why}"),
    }
}
