//! Who gets an address that several want, and what a change costs.

mod ports;

use corten_api::Key;
use ipnet::Ipv4Net;

use super::*;
use crate::ruleset::diff::{self, Edit};
use crate::ruleset::{End, Place, desired};
use crate::view::{Endpoint, Hints, Node, Service, ServicePort, Slice, SlicePort};

const CLIENTS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

fn place() -> Place {
    Place {
        addresses: BTreeSet::from([Ipv4Addr::new(192, 0, 2, 1)]),
        pod_cidr: Some("10.244.1.0/24".parse::<Ipv4Net>().unwrap()),
        nodes: BTreeSet::new(),
        cluster_dns: Ipv4Addr::new(10, 96, 0, 10),
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        bridge_sees_ip: true,
        drop_invalid: true,
        zone: None,
    }
}

fn port(port: u16) -> ServicePort {
    ServicePort { name: String::new(), protocol: Protocol::Tcp, port, node_port: None }
}

fn service(namespace: &str, created_secs: i64, change: impl FnOnce(&mut Service)) -> Service {
    let mut service = Service {
        key: Key::new(namespace, "web"),
        age: Age { created_secs, uid: namespace.into() },
        ports: vec![port(443)],
        ..Service::default()
    };
    change(&mut service);
    service
}

fn endpoint(address: Ipv4Addr) -> Endpoint {
    Endpoint {
        address,
        ready: true,
        serving: true,
        terminating: false,
        local: false,
        hostname: None,
        hints: Hints::default(),
    }
}

/// A slice whose ends tell whose it is.
fn slice(service: &Service, addresses: impl IntoIterator<Item = Ipv4Addr>) -> Slice {
    let ports = service.ports.iter().map(|p| SlicePort { name: p.name.clone(), protocol: p.protocol, port: p.port });
    let endpoints = addresses.into_iter().map(endpoint).collect();
    Slice { key: service.key.clone(), service: service.key.clone(), ports: ports.collect(), endpoints }
}

/// Where the thief's connections would end.
const THIEF: Ipv4Addr = Ipv4Addr::new(10, 244, 66, 6);
const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);

fn add(ledger: &mut Ledger, service: &Service, end: Ipv4Addr) {
    let slice = slice(service, [end]);
    ledger.set(&Owner::Service(service.key.clone()), desired::service(service, &[&slice], &place()));
}

fn who(ledger: &Ledger, address: Ipv4Addr, port: u16) -> &'static str {
    let front = Front { address, protocol: Protocol::Tcp, port };
    let ends = diff::ends(ledger.get(&front));
    match ends.first().map(|end| end.address) {
        Some(THIEF) => "thief",
        Some(_) => "victim",
        None => "nobody",
    }
}

/// The victim is younger, and its namespace's name sorts last: neither helps the thief.
#[test]
fn external_ips_never_take_an_address_that_another_service_dns_the_api_or_a_node_holds() {
    let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
    let (cluster_ip, api_ip, api_end) = (ip("10.96.7.7"), ip("10.96.0.1"), ip("198.51.100.9"));
    let (balancer, node, own) = (ip("203.0.113.99"), ip("192.0.2.2"), ip("192.0.2.1"));
    let cases = [
        ("another's ClusterIP", cluster_ip, 443, "victim"),
        ("another port of another's ClusterIP", cluster_ip, 22, "nobody"),
        ("the API's ClusterIP", api_ip, 443, "victim"),
        ("another port of the API's ClusterIP", api_ip, 22, "nobody"),
        ("an apiserver's own address, though its machine is no node", api_end, 6443, "nobody"),
        ("cluster DNS", place().cluster_dns, 53, "nobody"),
        ("another port at cluster DNS", place().cluster_dns, 443, "nobody"),
        ("another node", node, 10250, "nobody"),
        ("this node", own, 10250, "nobody"),
        ("a load balancer's address of another Service", balancer, 443, "victim"),
        ("another port there", balancer, 22, "nobody"),
        ("a pod", VICTIM, 443, "nobody"),
        ("the machine itself", ip("127.0.0.1"), 443, "nobody"),
        ("the metadata server of a cloud", ip("169.254.169.254"), 80, "nobody"),
        ("an address that nobody has", CLIENTS, 443, "thief"),
    ];
    for thief_first in [true, false] {
        for field in ["externalIPs", "loadBalancer"] {
            for (why, address, number, expected) in &cases {
                // Load balancers' addresses are written by their controller, and may be shared.
                let shared = field == "loadBalancer" && *address == balancer;
                let trusted_more = field == "loadBalancer" && *address == node;
                if shared || trusted_more {
                    continue;
                }
                let mut ledger = Ledger::default();
                let thief = service("aaa", 1, |s| {
                    s.ports = vec![port(*number)];
                    let ips = if field == "externalIPs" { &mut s.external_ips } else { &mut s.load_balancer_ips };
                    ips.push(*address);
                });
                if thief_first {
                    add(&mut ledger, &thief, THIEF);
                }
                ledger.set(&Owner::This, desired::this(&place(), &BTreeSet::new()));
                ledger.set(&Owner::Node("b".into()), desired::node(&machine("b", &[("InternalIP", node)]), &place()));
                add(&mut ledger, &service("zzz", 9, |s| s.cluster_ips = vec![cluster_ip]), VICTIM);
                let balanced = service("yyy", 9, |s| s.load_balancer_ips = vec![balancer]);
                add(&mut ledger, &balanced, VICTIM);
                let mut api = service("default", 9, |s| s.cluster_ips = vec![api_ip]);
                api.key = Key::new("default", "kubernetes");
                add(&mut ledger, &api, api_end);
                if !thief_first {
                    add(&mut ledger, &thief, THIEF);
                }
                assert_eq!(who(&ledger, *address, *number), *expected, "{field}: {why}, thief first: {thief_first}");
            }
        }
    }
}

#[test]
fn an_address_that_is_held_no_longer_may_be_claimed_again_and_the_kernel_is_told_both_times() {
    let address = Ipv4Addr::new(192, 0, 2, 9);
    let mut ledger = Ledger::default();
    add(&mut ledger, &service("aaa", 1, |s| s.external_ips = vec![address]), THIEF);
    let node = |name: &str| (Owner::Node(name.into()), machine(name, &[("InternalIP", address)]));
    let (first, machine) = node("b");
    let taken = ledger.set(&first, desired::node(&machine, &place()));
    assert!(matches!(&taken[..], [Change { before: Some(_), after: None, .. }]), "{taken:?}");
    let (second, machine) = node("c");
    assert_eq!(ledger.set(&second, desired::node(&machine, &place())), []);
    assert_eq!(ledger.take_turned(), [(address, true)]);
    assert_eq!(ledger.set(&first, Claims::default()), [], "the other still holds it");
    assert_eq!(ledger.take_turned(), []);
    let given = ledger.set(&second, Claims::default());
    assert!(matches!(&given[..], [Change { before: None, after: Some(_), .. }]), "{given:?}");
    assert_eq!(ledger.take_turned(), [(address, false)]);
    assert!(ledger.nodes().is_empty() && ledger.held.is_empty());
}

/// What a node says of itself.
fn machine(name: &str, addresses: &[(&str, Ipv4Addr)]) -> Node {
    use k8s_openapi::api::core::v1 as core;
    let address = |(kind, ip): &(&str, Ipv4Addr)| core::NodeAddress { type_: (*kind).into(), address: ip.to_string() };
    let addresses = Some(addresses.iter().map(address).collect());
    let mut node =
        core::Node { status: Some(core::NodeStatus { addresses, ..Default::default() }), ..Default::default() };
    node.metadata.name = Some(name.into());
    Node::from_api(&node)
}

#[test]
fn a_node_that_lists_whatever_it_likes_takes_no_address_from_a_service_and_no_egress_from_pods() {
    let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
    let (balancer, cluster_ip) = (ip("203.0.113.99"), ip("10.96.7.7"));
    let cases = [
        ("its InternalIP, that nobody else has", vec![("InternalIP", ip("192.0.2.2"))], vec![ip("192.0.2.2")]),
        ("its ExternalIP is a load balancer's", vec![("ExternalIP", balancer)], vec![]),
        ("its InternalIP is a load balancer's", vec![("InternalIP", balancer)], vec![]),
        ("its InternalIP is a ClusterIP", vec![("InternalIP", cluster_ip)], vec![]),
        ("its InternalIP is cluster DNS", vec![("InternalIP", place().cluster_dns)], vec![]),
        ("its InternalIP is a pod's", vec![("InternalIP", VICTIM)], vec![]),
        ("its InternalIP is the loopback", vec![("InternalIP", Ipv4Addr::LOCALHOST)], vec![]),
        ("its hostname and its ExternalIP", vec![("Hostname", ip("8.8.8.8")), ("ExternalIP", ip("8.8.4.4"))], vec![]),
        (
            "more than one",
            vec![("ExternalIP", CLIENTS), ("InternalIP", ip("192.0.2.2")), ("InternalIP", ip("8.8.8.8"))],
            vec![ip("192.0.2.2")],
        ),
    ];
    for node_first in [true, false] {
        for (why, listed, expected) in &cases {
            let mut ledger = Ledger::default();
            let machine = |ledger: &mut Ledger| {
                ledger.set(&Owner::Node("b".into()), desired::node(&machine("b", listed), &place()));
            };
            if node_first {
                machine(&mut ledger);
            }
            ledger.set(&Owner::This, desired::this(&place(), &BTreeSet::new()));
            let victim = service("zzz", 9, |s| {
                s.cluster_ips = vec![cluster_ip];
                s.load_balancer_ips = vec![balancer];
            });
            add(&mut ledger, &victim, VICTIM);
            add(&mut ledger, &service("yyy", 9, |s| s.external_ips = vec![CLIENTS]), VICTIM);
            if !node_first {
                machine(&mut ledger);
            }
            for address in [balancer, cluster_ip, CLIENTS] {
                assert_eq!(who(&ledger, address, 443), "victim", "{why}: {address}, node first: {node_first}");
            }
            let nodes: Vec<Ipv4Addr> = ledger.nodes().iter().copied().collect();
            assert_eq!(nodes, *expected, "{why}, node first: {node_first}");
            // What has been told adds up, whatever came first.
            let told: Vec<Ipv4Addr> =
                ledger.take_turned().into_iter().filter_map(|(ip, is)| is.then_some(ip)).collect();
            assert_eq!(told, *expected, "{why}, node first: {node_first}");
        }
    }
}

#[test]
fn an_apiservers_machine_stays_a_node() {
    let (mut ledger, address) = (Ledger::default(), Ipv4Addr::new(192, 0, 2, 9));
    let mut api = service("default", 9, |s| s.cluster_ips = vec![Ipv4Addr::new(10, 96, 0, 1)]);
    api.key = Key::new("default", "kubernetes");
    add(&mut ledger, &api, address);
    ledger.set(&Owner::Node("b".into()), desired::node(&machine("b", &[("InternalIP", address)]), &place()));
    assert!(ledger.nodes().contains(&address), "pods reach it under their own address");
}

/// What the API's Service says of its load balancer.
fn balanced(ip_mode: Option<&str>, ranges: &[&str]) -> Service {
    use k8s_openapi::api::core::v1 as core;
    let ingress = core::LoadBalancerIngress {
        ip: Some(CLIENTS.to_string()),
        ip_mode: ip_mode.map(str::to_owned),
        ..core::LoadBalancerIngress::default()
    };
    let load_balancer = core::LoadBalancerStatus { ingress: Some(vec![ingress]) };
    let service = core::Service {
        spec: Some(core::ServiceSpec {
            cluster_ip: Some("10.96.7.7".into()),
            ports: Some(vec![core::ServicePort { port: 443, ..core::ServicePort::default() }]),
            load_balancer_source_ranges: Some(ranges.iter().map(|&r| r.to_owned()).collect()),
            ..core::ServiceSpec::default()
        }),
        status: Some(core::ServiceStatus { load_balancer: Some(load_balancer), ..core::ServiceStatus::default() }),
        ..core::Service::default()
    };
    Service { key: Key::new("zzz", "web"), ..Service::from_api(&service) }
}

#[test]
fn external_ips_take_no_balancers_address_whoever_may_use_it_and_however_it_delivers() {
    for (why, service, expected) in [
        ("everybody may", balanced(None, &[]), "victim"),
        ("ipMode VIP", balanced(Some("VIP"), &[]), "victim"),
        ("source ranges", balanced(None, &["198.51.100.0/24"]), "victim"),
        ("ranges of another family only: served to nobody", balanced(None, &["2001:db8::/32"]), "victim"),
        ("ipMode Proxy: not ours to serve, and nobody else's", balanced(Some("Proxy"), &[]), "nobody"),
        ("both", balanced(Some("Proxy"), &["198.51.100.0/24"]), "nobody"),
    ] {
        let mut ledger = Ledger::default();
        add(&mut ledger, &self::service("aaa", 1, |s| s.external_ips = vec![CLIENTS]), THIEF);
        add(&mut ledger, &service, VICTIM);
        assert_eq!(who(&ledger, CLIENTS, 443), expected, "{why}");
        assert_eq!(who(&ledger, Ipv4Addr::new(10, 96, 7, 7), 443), "victim", "{why}: the ClusterIP is served");
    }
}

#[test]
fn ranges_that_change_leave_before_those_that_overlap_them_come() {
    let mut ledger = Ledger::default();
    add(&mut ledger, &balanced(None, &["198.51.100.0/24"]), VICTIM);
    let owner = Owner::Service(Key::new("zzz", "web"));
    let service = balanced(None, &[" 198.51.100.0/25", "198.51.100.0/26"]);
    let changes = ledger.set(&owner, desired::service(&service, &[&slice(&service, [VICTIM])], &place()));
    let source = |range: &str| {
        let front = Front { address: CLIENTS, protocol: Protocol::Tcp, port: 443 };
        elements::Slot::source(&front, range.parse().unwrap())
    };
    let (old, new) = (source("198.51.100.0/24"), source("198.51.100.0/25"));
    assert_eq!(diff::edits(&changes), [Edit::Remove(old), Edit::Add(new, elements::Value::Member)]);
}

#[test]
fn of_two_services_with_the_same_external_ip_the_older_has_it() {
    for (older, younger) in [("aaa", "zzz"), ("zzz", "aaa")] {
        for order in [[older, younger], [younger, older]] {
            let mut ledger = Ledger::default();
            for namespace in order {
                let (age, end) = if namespace == older { (1, VICTIM) } else { (2, THIEF) };
                add(&mut ledger, &service(namespace, age, |s| s.external_ips = vec![CLIENTS]), end);
            }
            assert_eq!(who(&ledger, CLIENTS, 443), "victim", "{older} is older, order {order:?}");
        }
    }
}

#[test]
fn of_two_services_from_the_same_second_the_uid_decides_and_not_the_namespace() {
    let mut ledger = Ledger::default();
    for (namespace, uid, end) in [("aaa", "2", THIEF), ("zzz", "1", VICTIM)] {
        let service = service(namespace, 1, |s| {
            s.age.uid = uid.into();
            s.external_ips = vec![CLIENTS];
        });
        add(&mut ledger, &service, end);
    }
    assert_eq!(who(&ledger, CLIENTS, 443), "victim");
}

/// `count` endpoints but for one.
fn ends_without(count: u16, missing: Option<u16>) -> impl Iterator<Item = Ipv4Addr> {
    let address = |n: u16| Ipv4Addr::from(0x0af4_0000 + u32::from(n));
    (0..count).filter(move |n| Some(*n) != missing).map(address)
}

#[test]
fn one_of_a_thousand_endpoints_that_leaves_or_comes_changes_three_elements_of_each_front() {
    let service = service("shop", 1, |s| {
        s.cluster_ips = vec![Ipv4Addr::new(10, 96, 7, 7)];
        s.ports[0].node_port = Some(30_443);
    });
    let fronts = 2;
    let owner = Owner::Service(service.key.clone());
    let claims = |missing| desired::service(&service, &[&slice(&service, ends_without(1000, missing))], &place());
    for missing in [0, 1, 500, 998, 999] {
        let mut ledger = Ledger::default();
        assert_eq!(diff::edits(&ledger.set(&owner, claims(None))).len(), fronts * 1001);
        for (what, missing) in [("leaves", Some(missing)), ("comes back", None)] {
            let changes = ledger.set(&owner, claims(missing));
            let edits = diff::edits(&changes);
            // The hole, the last slot, and the verdict with the number of ends.
            assert!(edits.len() <= 3 * fronts, "{missing:?} {what}: {} elements change", edits.len());
            for change in &changes {
                let now = diff::ends(change.after.as_ref());
                assert_eq!(now.len(), 1000 - usize::from(missing.is_some()), "every end once: the balance stays even");
            }
        }
    }
}

#[test]
fn a_service_of_more_elements_than_a_node_bears_is_refused_and_keeps_its_address_and_the_others_go_on() {
    let many = |ports: u16, endpoints: u16, change: fn(&mut Service)| {
        let service = service("shop", 1, |s| {
            s.cluster_ips = vec![Ipv4Addr::new(10, 96, 7, 7)];
            s.ports = (1..=ports).map(|n| ServicePort { name: format!("p{n}"), ..port(n) }).collect();
            change(s);
        });
        let slices: Vec<Slice> = ends_without(endpoints, None)
            .collect::<Vec<_>>()
            .chunks(100)
            .map(|chunk| slice(&service, chunk.iter().copied()))
            .collect();
        desired::service(&service, &slices.iter().collect::<Vec<_>>(), &place())
    };
    let node_ports: fn(&mut Service) = |s| s.ports.iter_mut().for_each(|p| p.node_port = Some(p.port));
    for (why, claims, refused) in [
        ("a thousand endpoints at two hundred ports, each a node port too", many(200, 1000, node_ports), false),
        ("seventeen thousand ports, a few endpoints", many(17_000, 20, |_| {}), false),
        ("seventeen thousand ports, a thousand endpoints", many(17_000, 1000, |_| {}), true),
        ("some ports less, but at many addresses", many(2000, 200, |s| s.external_ips = vec![CLIENTS; 8]), true),
    ] {
        assert_eq!(claims.too_large.is_some(), refused, "{why}: {:?}", claims.too_large);
        assert_eq!(claims.fronts.is_empty(), refused, "{why}");
        assert_eq!(claims.holds.len(), 1, "{why}: its ClusterIP is its own");
        let fronts = claims.fronts.iter();
        let counted: usize =
            fronts.map(|claim| elements::of_front(&claim.front, claim.rules.as_ref().unwrap()).len()).sum();
        assert!(counted as u64 <= desired::ELEMENTS_PER_SERVICE_MAX, "{why}: {counted}");
    }
}

#[test]
fn endpoints_that_are_meant_for_the_node_or_its_zone_are_used_as_long_as_there_are_any() {
    // Each endpoint: whether it is ready, whether it is meant for this node (n), another (o) or none (-), and its zone.
    let cases = [
        ("no hints at all", "a", "r--1 r--2", "1 2"),
        ("the zone's", "a", "r-a1 r-b2 r-a3", "1 3"),
        ("none is for the zone", "c", "r-a1 r-b2", "1 2"),
        ("one has no hints: they are being written", "a", "r-a1 r--2", "1 2"),
        ("one that is not ready has none, which is as it should be", "a", "r-a1 r-b2 u--3", "1"),
        ("the node has no zone", "", "r-a1 r-b2", "1 2"),
        ("the node's own", "a", "rna1 roa2 rob3", "1"),
        ("none is for the node: the zone's", "a", "roa1 rob2", "1"),
        ("neither for the node nor for the zone", "c", "roa1 rob2", "1 2"),
        ("one names no nodes: the zone's", "a", "rna1 r-a2 r-b3", "1 2"),
        ("none is ready: those that terminate but serve, wherever", "a", "t-a1 t-b2", "1 2"),
    ];
    for (why, zone, ends, expected) in cases {
        let service = service("shop", 1, |s| s.cluster_ips = vec![Ipv4Addr::new(10, 96, 7, 7)]);
        let mut slice = slice(&service, []);
        slice.endpoints = ends.split(' ').map(|text| hinted(text.as_bytes())).collect();
        let place = Place { zone: (!zone.is_empty()).then(|| zone.to_owned()), ..place() };
        let claims = desired::service(&service, &[&slice], &place);
        let ends = diff::ends(claims.fronts[0].rules.as_ref());
        let used: Vec<String> = ends.iter().map(|end| end.address.octets()[3].to_string()).collect();
        assert_eq!(used.join(" "), expected, "{why}");
    }
}

fn hinted(text: &[u8]) -> Endpoint {
    let &[state, node, zone, number] = text else { panic!("{text:?}") };
    let this_node = (node != b'-').then_some(node == b'n');
    let zone: Box<str> = char::from(zone).to_string().into();
    let zones: Box<[Box<str>]> = if *zone == *"-" { Box::default() } else { Box::new([zone]) };
    Endpoint {
        ready: state == b'r',
        serving: state != b'u',
        terminating: state == b't',
        hints: Hints { this_node, zones },
        ..endpoint([10, 244, 3, number - b'0'].into())
    }
}

#[test]
fn fifty_that_leave_one_after_the_other_still_leave_no_hole() {
    let service = service("shop", 1, |s| s.cluster_ips = vec![Ipv4Addr::new(10, 96, 7, 7)]);
    let owner = Owner::Service(service.key.clone());
    let mut ledger = Ledger::default();
    let mut table = Elements::new();
    for gone in 0..50u16 {
        let left = ends_without(100, None).filter(|ip| u16::from(ip.octets()[3]) >= gone);
        let changes = ledger.set(&owner, desired::service(&service, &[&slice(&service, left)], &place()));
        for edit in diff::edits(&changes) {
            match edit {
                Edit::Add(slot, value) | Edit::Replace(slot, value) => drop(table.insert(slot, value)),
                Edit::Remove(slot) => drop(table.remove(&slot)),
            }
        }
        let front = changes[0].front;
        let found: BTreeSet<End> = elements::ends_in(&table, &front, 0).into_iter().collect();
        assert_eq!(found, diff::ends(ledger.get(&front)), "after {gone}");
    }
}

#[test]
fn a_start_keeps_the_slots_that_the_kernel_has() {
    let service = service("shop", 1, |s| s.cluster_ips = vec![Ipv4Addr::new(10, 96, 7, 7)]);
    let owner = Owner::Service(service.key.clone());
    let claims = |missing| desired::service(&service, &[&slice(&service, ends_without(100, missing))], &place());
    let mut earlier = Ledger::default();
    earlier.set(&owner, claims(None));
    earlier.set(&owner, claims(Some(3)));
    let elements =
        |ledger: &Ledger| -> Elements { ledger.iter().flat_map(|(f, r)| elements::of_front(f, r)).collect() };
    let kernel = elements(&earlier);
    let mut started = Ledger::default();
    started.set(&owner, claims(Some(3)));
    assert_ne!(elements(&started), kernel, "slots come from history");
    started.adopt(&kernel);
    assert_eq!(diff::diff(&kernel, &elements(&started)), []);
}
