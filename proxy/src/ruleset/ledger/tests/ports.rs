//! Who has a port of the node: its daemons before all, then the older of pods and Services.

use super::*;
use crate::listeners::Listener;
use crate::view::{HostPort, PodPorts};

const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);
const KUBELET: u16 = 10250;
const API: u16 = 6443;

fn two_addresses() -> Place {
    Place { addresses: BTreeSet::from([OWN, SECOND]), ..place() }
}

fn pod(name: &str, created_secs: i64, host_ip: Option<Ipv4Addr>, host_port: u16) -> PodPorts {
    PodPorts {
        key: Key::new("default", name),
        age: Age { created_secs, uid: name.into() },
        address: Ipv4Addr::new(10, 244, 1, name.as_bytes()[0]),
        host_network: false,
        ports: vec![HostPort { host_ip, protocol: Protocol::Tcp, host_port, container_port: 80 }],
    }
}

fn add_pod(ledger: &mut Ledger, pod: &PodPorts) {
    ledger.set(&Owner::Pod(pod.key.clone()), desired::host_ports(pod, &two_addresses()));
}

fn add_node_port(ledger: &mut Ledger, name: &str, created_secs: i64, number: u16) {
    let service = service(name, created_secs, |s| s.ports[0].node_port = Some(number));
    let slice = slice(&service, [THIEF]);
    ledger.set(&Owner::Service(service.key.clone()), desired::service(&service, &[&slice], &two_addresses()));
}

fn add_machine(ledger: &mut Ledger, api_end: Ipv4Addr) {
    let own = Node { name: "a".into(), addresses: vec![OWN, SECOND], kubelet_port: Some(KUBELET), ..Node::default() };
    ledger.set(&Owner::Node("a".into()), desired::own_node(&own, &two_addresses()));
    let mut api = service("default", 9, |s| s.cluster_ips = vec![Ipv4Addr::new(10, 96, 0, 1)]);
    api.key = Key::new("default", "kubernetes");
    let mut slice = slice(&api, [api_end]);
    slice.ports[0].port = API;
    ledger.set(&Owner::Service(api.key.clone()), desired::service(&api, &[&slice], &two_addresses()));
}

/// The pod whose address ends so, by its first letter.
fn served(ledger: &Ledger, address: Ipv4Addr, port: u16) -> Option<char> {
    let front = Front { address, protocol: Protocol::Tcp, port };
    let end = diff::ends(ledger.get(&front)).into_iter().next()?;
    Some(if end.address == THIEF { 'S' } else { char::from(end.address.octets()[3]) })
}

#[test]
fn no_host_port_and_no_node_port_takes_what_the_kubelet_or_an_apiserver_listens_on() {
    let elsewhere = Ipv4Addr::new(198, 51, 100, 9);
    // What the API's Service leads to, the port, and whether a pod or a Service may have it here.
    let cases = [
        ("the kubelet's", OWN, KUBELET, false),
        ("an apiserver's on this machine", OWN, API, false),
        ("that of an apiserver on another machine", elsewhere, API, true),
        ("the port of the API's Service, where nobody listens", OWN, 443, true),
        ("another", OWN, 8080, true),
    ];
    for machine_first in [true, false] {
        for (why, api_end, port, free) in cases {
            let mut ledger = Ledger::default();
            if machine_first {
                add_machine(&mut ledger, api_end);
            }
            add_pod(&mut ledger, &pod("p", 1, None, port));
            if !machine_first {
                add_machine(&mut ledger, api_end);
            }
            for address in [OWN, SECOND, Ipv4Addr::LOCALHOST] {
                assert_eq!(served(&ledger, address, port), free.then_some('p'), "{why}: a hostPort at {address}");
            }
            ledger.set(&Owner::Pod(Key::new("default", "p")), Claims::default());
            add_node_port(&mut ledger, "aaa", 1, port);
            for address in [OWN, SECOND] {
                assert_eq!(served(&ledger, address, port), free.then_some('S'), "{why}: a NodePort at {address}");
            }
        }
    }
}

#[test]
fn the_port_is_free_again_once_the_kubelet_listens_elsewhere() {
    let mut ledger = Ledger::default();
    add_machine(&mut ledger, OWN);
    add_pod(&mut ledger, &pod("p", 1, None, KUBELET));
    let moved = Node { name: "a".into(), addresses: vec![OWN, SECOND], kubelet_port: Some(10260), ..Node::default() };
    let changes = ledger.set(&Owner::Node("a".into()), desired::own_node(&moved, &two_addresses()));
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert_eq!(served(&ledger, OWN, KUBELET), Some('p'));
}

#[test]
fn one_host_port_on_two_addresses_is_two_and_of_two_pods_with_the_same_the_older_has_it() {
    // The older pod's hostIP, the younger's, and who is served at each address.
    let cases = [
        ("one each", Some(OWN), Some(SECOND), [Some('o'), Some('y'), None]),
        ("the same", Some(OWN), Some(OWN), [Some('o'), None, None]),
        ("the older on all", None, Some(SECOND), [Some('o'); 3]),
        ("the younger on all", Some(SECOND), None, [Some('y'), Some('o'), Some('y')]),
        ("both on all", None, None, [Some('o'); 3]),
        ("one on the loopback", Some(Ipv4Addr::LOCALHOST), Some(OWN), [Some('y'), None, Some('o')]),
    ];
    for (why, older, younger, expected) in cases {
        for older_first in [true, false] {
            let mut ledger = Ledger::default();
            let mut pods = [pod("o", 1, older, 8080), pod("y", 2, younger, 8080)];
            if !older_first {
                pods.reverse();
            }
            pods.iter().for_each(|pod| add_pod(&mut ledger, pod));
            let got = [OWN, SECOND, Ipv4Addr::LOCALHOST].map(|address| served(&ledger, address, 8080));
            assert_eq!(got, expected, "{why}, older first: {older_first}");
        }
    }
}

#[test]
fn a_pod_that_listens_on_the_hosts_network_and_one_behind_a_host_port_lose_nothing_to_who_comes_later() {
    for on_host in [true, false] {
        let mut ledger = Ledger::default();
        let older = PodPorts { host_network: on_host, ..pod("o", 1, None, 30_080) };
        add_pod(&mut ledger, &older);
        add_pod(&mut ledger, &pod("y", 2, None, 30_080));
        add_node_port(&mut ledger, "aaa", 3, 30_080);
        assert_eq!(served(&ledger, OWN, 30_080), (!on_host).then_some('o'), "on the host's network: {on_host}");
        ledger.set(&Owner::Pod(older.key.clone()), Claims::default());
        assert_eq!(served(&ledger, OWN, 30_080), Some('y'));
    }
    let mut ledger = Ledger::default();
    add_node_port(&mut ledger, "aaa", 1, 30_080);
    add_pod(&mut ledger, &pod("y", 2, None, 30_080));
    assert_eq!(served(&ledger, OWN, 30_080), Some('S'), "nor does an older Service");
}

#[test]
fn who_is_refused_a_port_is_known_with_who_has_it() {
    let mut ledger = Ledger::default();
    let (older, younger) = (pod("o", 1, Some(OWN), 8080), pod("y", 2, None, 8080));
    add_pod(&mut ledger, &younger);
    let owner = |pod: &PodPorts| Owner::Pod(pod.key.clone());
    assert_eq!(ledger.refusals(&owner(&younger)), BTreeSet::new());
    add_pod(&mut ledger, &older);
    let front = Front { address: OWN, protocol: Protocol::Tcp, port: 8080 };
    let refusal = Refusal { front, holder: owner(&older) };
    assert_eq!(ledger.refusals(&owner(&younger)), BTreeSet::from([refusal]));
    assert_eq!(ledger.refusals(&owner(&older)), BTreeSet::new());
    assert_eq!(ledger.refused_at(&front).collect::<Vec<_>>(), [&owner(&younger)]);
}

fn add_balanced(ledger: &mut Ledger, name: &str, created_secs: i64, at: Ipv4Addr, end: Ipv4Addr) {
    let service = service(name, created_secs, |s| s.node_ips = vec![at]);
    let slice = slice(&service, [end]);
    ledger.set(&Owner::Service(service.key.clone()), desired::service(&service, &[&slice], &two_addresses()));
}

#[test]
fn a_service_at_the_nodes_addresses_has_only_the_ports_that_nobody_else_has() {
    const PORT: u16 = 443;
    let listens = |address| Listener { address, protocol: Protocol::Tcp, port: PORT };
    let elsewhere = Ipv4Addr::new(192, 0, 2, 9);
    type Row = (&'static str, fn(&mut Ledger), Vec<Listener>, Ipv4Addr, [Option<char>; 2]);
    // why, what there is, where programs listen, whose address the Service has, who is served at both of the node's
    let cases: [Row; 6] = [
        ("nobody else", |_| {}, vec![], OWN, [Some('S'), Some('S')]),
        ("another node is its balancer", |_| {}, vec![], elsewhere, [None, None]),
        ("a program listens", |_| {}, vec![listens(None)], OWN, [None, None]),
        ("a program listens at one address", |_| {}, vec![listens(Some(SECOND))], OWN, [Some('S'), None]),
        ("a pod's hostPort", |l| add_pod(l, &pod("y", 9, None, PORT)), vec![], OWN, [Some('y'), Some('y')]),
        (
            "an older one",
            |l| add_balanced(l, "older", 1, OWN, Ipv4Addr::new(10, 244, 1, b'o')),
            vec![],
            OWN,
            [Some('o'), Some('o')],
        ),
    ];
    for (why, before, listeners, at, expected) in cases {
        for first in [true, false] {
            let mut ledger = Ledger::default();
            if first {
                before(&mut ledger);
            }
            ledger.set(&Owner::This, desired::this(&two_addresses(), &listeners.iter().copied().collect()));
            add_balanced(&mut ledger, "web", 5, at, THIEF);
            if !first {
                before(&mut ledger);
            }
            assert_eq!([OWN, SECOND].map(|ip| served(&ledger, ip, PORT)), expected, "{why}");
        }
    }
}

#[test]
fn an_address_at_which_services_are_balanced_stays_its_nodes_and_keeps_external_ips_out() {
    let other = Ipv4Addr::new(192, 0, 2, 9);
    let mut ledger = Ledger::default();
    let node = Node { name: "b".into(), addresses: vec![other], internal_ip: Some(other), ..Node::default() };
    ledger.set(&Owner::Node("b".into()), desired::node(&node, &two_addresses()));
    add_balanced(&mut ledger, "web", 5, other, VICTIM);
    assert!(ledger.nodes().contains(&other));
    ledger.set(&Owner::Node("b".into()), Claims::default());
    add(&mut ledger, &service("thief", 1, |s| s.external_ips = vec![other]), THIEF);
    assert_eq!(who(&ledger, other, 443), "nobody", "the node is gone, and the Service still has its address");
}

#[test]
fn not_everybody_may_use_a_service_at_the_nodes_addresses_that_says_who_may() {
    let rules = |range: &str| {
        let service = service("web", 1, |s| {
            s.node_ips = vec![OWN];
            s.ports[0].node_port = Some(30443);
            s.source_ranges = Some([range.parse().unwrap()].into());
        });
        let slice = slice(&service, [VICTIM]);
        let mut ledger = Ledger::default();
        ledger.set(&Owner::Service(service.key.clone()), desired::service(&service, &[&slice], &two_addresses()));
        let sources = |port| {
            let rules = ledger.get(&Front { address: OWN, protocol: Protocol::Tcp, port }).unwrap();
            rules.sources.as_ref().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        (sources(443), sources(30443))
    };
    assert_eq!(rules("203.0.113.0/24"), (Some("203.0.113.0/24".into()), None), "a NodePort is for everybody");
    let with_own = rules("192.0.2.1/32").0;
    assert_eq!(
        with_own.as_deref(),
        Some("192.0.2.1/32 192.0.2.101/32"),
        "the machine itself, from any address of its own"
    );
}
