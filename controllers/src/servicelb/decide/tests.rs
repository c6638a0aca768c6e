//! Tables of load balancers: whose Services are, which nodes take their traffic, who has a port, what is written.

use serde_json::{Value, json};

use super::*;
use crate::backends::Family;
use crate::balancers::ranges::Ranges;

fn pool() -> Ranges {
    Ranges::of(&["192.0.2.0/30".parse().unwrap()])
}

fn service(patch: Value) -> Service {
    let mut service = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "web", "creationTimestamp": "2030-01-01T00:00:00Z"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.7", "ports": [{"port": 80, "protocol": "TCP"}]},
    });
    merge(&mut service, patch);
    serde_json::from_value(service).unwrap()
}

fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            patch.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, patch) => *into = patch,
    }
}

#[test]
fn whose_a_service_is() {
    let class = |class: &str| service(json!({"spec": {"loadBalancerClass": class}}));
    let (none, ours, other) = (service(json!({})), class(CLASS), class("metal.lb/pool"));
    let of_pool = class(POOL_CLASS);
    let plain = service(json!({"spec": {"type": "NodePort"}}));
    // the Service, whose those without a class are, from where it has addresses, and from where if there is a pool
    let cases = [
        (&none, Classless::Ours, Some(From::Nodes), Some(From::Pool)),
        (&none, Classless::Others, None, None),
        (&ours, Classless::Ours, Some(From::Nodes), Some(From::Nodes)),
        (&ours, Classless::Others, Some(From::Nodes), Some(From::Nodes)),
        (&of_pool, Classless::Ours, Some(From::Pool), Some(From::Pool)),
        (&of_pool, Classless::Others, Some(From::Pool), Some(From::Pool)),
        (&other, Classless::Ours, None, None),
        (&plain, Classless::Ours, None, None),
    ];
    for (service, classless, without, with) in cases {
        let found = [Ranges::default(), pool()].map(|pool| source(service, &Rules { classless, pool }));
        assert_eq!(found, [without, with], "{:?} {classless:?}", service.spec);
    }
}

#[test]
fn which_nodes_take_traffic_and_where() {
    let node = |patch: Value| -> String {
        let mut node = json!({
            "metadata": {"name": "n1"},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.1.0.1"}, {"type": "Hostname", "address": "n1"}],
            },
        });
        merge(&mut node, patch);
        let Some(target) = target(&serde_json::from_value(node).unwrap()) else { return String::new() };
        format!("{}{}", target.addresses.join(" "), if target.ready { "" } else { " not ready" })
    };
    let outer = json!([
        {"type": "InternalIP", "address": "10.1.0.1"},
        {"type": "ExternalIP", "address": "203.0.113.1"},
        {"type": "ExternalIP", "address": "2001:db8::1"},
    ]);
    let cases = [
        ("it is ready", json!({}), "10.1.0.1"),
        ("an outer address is better", json!({"status": {"addresses": outer}}), "203.0.113.1 2001:db8::1"),
        (
            "not ready: its proxy may well forward",
            json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}),
            "10.1.0.1 not ready",
        ),
        ("cordoned: it serves what it has", json!({"spec": {"unschedulable": true}}), "10.1.0.1"),
        ("excluded", json!({"metadata": {"labels": {EXCLUDE_LABEL: ""}}}), ""),
        ("excluded, as it says", json!({"metadata": {"labels": {EXCLUDE_LABEL: "true"}}}), ""),
        ("not excluded, as it says", json!({"metadata": {"labels": {EXCLUDE_LABEL: "false"}}}), "10.1.0.1"),
        ("leaving", json!({"spec": {"taints": [{"key": LEAVING_TAINT, "effect": "NoSchedule"}]}}), ""),
        ("nowhere", json!({"status": {"addresses": []}}), ""),
    ];
    for (why, patch, expected) in cases {
        assert_eq!(node(patch), expected, "{why}");
    }
}

#[test]
fn of_two_with_the_same_port_the_older_has_it_and_who_lost_takes_none_from_others() {
    let made = |name: &str, at: &str, ports: &[(&str, i32)]| {
        let ports: Vec<Value> =
            ports.iter().map(|(protocol, port)| json!({"port": port, "protocol": protocol})).collect();
        let time = format!("2030-01-01T00:00:{at}Z");
        Arc::new(service(
            json!({"metadata": {"name": name, "uid": name, "creationTimestamp": time}, "spec": {"ports": ports}}),
        ))
    };
    let (a, b) = (made("a", "01", &[("TCP", 80)]), made("b", "02", &[("TCP", 80), ("TCP", 443)]));
    let (c, d) = (made("c", "03", &[("TCP", 443)]), made("d", "03", &[("UDP", 80)]));
    let all = [&d, &c, &b, &a].map(Arc::clone);
    let lost = |service: &Arc<Service>| Holders::of(&all).taken_from(service);
    assert_eq!(lost(&a), None);
    assert_eq!(lost(&b), Some(("TCP".into(), 80)));
    assert_eq!(lost(&c), None, "b has no address, and so no port");
    assert_eq!(lost(&d), None, "another protocol");
    let same = [made("x", "01", &[("TCP", 80)]), made("y", "01", &[("TCP", 80)])];
    let holders = Holders::of(&same);
    assert!(holders.taken_from(&same[0]).is_none() && holders.taken_from(&same[1]).is_some(), "of one second: by uid");
    let mut others = Service::clone(&a);
    others.status = serde_json::from_value(json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}})).unwrap();
    assert_eq!(
        Holders::of(&[Arc::new(others)]).taken_from(&b),
        None,
        "of another controller's addresses no port is taken"
    );
    let mut going = Service::clone(&a);
    going.metadata.deletion_timestamp = a.metadata.creation_timestamp.clone();
    assert_eq!(Holders::of(&[Arc::new(going)]).taken_from(&b), None, "a Service that goes has no port any more");
}

/// `finalizer? addresses: events` of what is written.
fn told(action: &Action) -> String {
    let (kind, service, before, after) = match action {
        Action::Keep => return "keep".into(),
        Action::Leave(said) => return format!("leave {}", said.reason),
        Action::Wait(said) => return format!("wait {}", said.reason),
        Action::Ensure { service, before, after } => ("ensure", service, before, after),
        Action::CleanUp { service, before, after } => ("clean up", service, before, after),
    };
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let addresses: Vec<&str> = ingress.filter_map(|ingress| ingress.ip.as_deref()).collect();
    let held = has_finalizer(service, FINALIZER);
    let former = if has_finalizer(service, FORMER_FINALIZER) { " and as formerly" } else { "" };
    let reasons: Vec<&str> = before.iter().chain(after).map(|said| said.reason).collect();
    format!("{kind}{}{former} [{}] {}", if held { " held" } else { "" }, addresses.join(" "), reasons.join(" "))
}

fn ingress_of(addresses: &[&str]) -> Value {
    let entry = |ip: &&str| json!({"ip": ip, "ipMode": "Proxy", "ports": [{"port": 80, "protocol": "TCP"}]});
    json!({"loadBalancer": {"ingress": addresses.iter().map(entry).collect::<Vec<_>>()}})
}

fn service_of_type_now(kind: &str) -> Service {
    service(json!({"metadata": {"finalizers": [FINALIZER]}, "spec": {"type": kind}}))
}

#[test]
fn what_is_written_of_a_service() {
    let held = json!({"finalizers": [FINALIZER]});
    let former = json!({"finalizers": [FORMER_FINALIZER]});
    let former_gone = json!({"finalizers": [FORMER_FINALIZER], "deletionTimestamp": "2030-01-02T00:00:00Z"});
    let foreign = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.9", "ipMode": "VIP"}]}});
    let plain_with = |meta: &Value| service(json!({"metadata": meta, "spec": {"type": "ClusterIP"}}));
    let gone = json!({"finalizers": ["a.b/other", FINALIZER], "deletionTimestamp": "2030-01-02T00:00:00Z"});
    let both = || ingress_of(&["10.1.0.1", "10.1.0.2"]);
    let (web, db) = (("TCP".to_owned(), 80), BTreeSet::from([String::from("n2")]));
    let local = json!({"externalTrafficPolicy": "Local"});
    let new = || service(json!({}));
    let has = || service(json!({"metadata": held, "status": both()}));
    let other_class = |meta: &Value| service(json!({"metadata": meta, "spec": {"loadBalancerClass": "metal.lb/pool"}}));
    // why, the Service, local nodes, the port that an older one has, what is done
    let cases = [
        ("new", new(), None, None, "ensure held [10.1.0.1 10.1.0.2] EnsuringLoadBalancer EnsuredLoadBalancer"),
        ("as it should be", has(), None, None, "keep"),
        (
            "another node",
            service(json!({"metadata": held, "status": ingress_of(&["10.1.0.1"])})),
            None,
            None,
            "ensure held [10.1.0.1 10.1.0.2] UpdatedLoadBalancer",
        ),
        (
            "its finalizer was taken",
            service(json!({"status": both()})),
            None,
            None,
            "ensure held [10.1.0.1 10.1.0.2] UpdatedLoadBalancer",
        ),
        (
            "where its endpoints are",
            service(json!({"spec": local})),
            Some(&db),
            None,
            "ensure held [10.1.0.2] EnsuringLoadBalancer EnsuredLoadBalancer",
        ),
        ("an older one has the port", new(), None, Some(&web), "ensure held [] LoadBalancerPortTaken"),
        ("an older one has the port now", has(), None, Some(&web), "ensure held [] LoadBalancerPortTaken"),
        ("it was told", service(json!({"metadata": held})), None, Some(&web), "keep"),
        (
            "it goes",
            service(json!({"metadata": gone, "status": both()})),
            None,
            None,
            "clean up [] DeletingLoadBalancer DeletedLoadBalancer",
        ),
        (
            "of another type now",
            service_of_type_now("ClusterIP"),
            None,
            None,
            "clean up [] DeletingLoadBalancer DeletedLoadBalancer",
        ),
        ("another's", other_class(&json!({})), None, None, "keep"),
        ("another's, with the clouds' finalizer", other_class(&former), None, None, "keep"),
        ("another's that goes", other_class(&former_gone), None, None, "keep"),
        (
            "another's now, and was ours",
            other_class(&held),
            None,
            None,
            "clean up [] DeletingLoadBalancer DeletedLoadBalancer",
        ),
        ("of another type now, with the clouds' finalizer", plain_with(&former), None, None, "keep"),
        (
            "another controller gave it an address",
            service(json!({"status": foreign})),
            None,
            None,
            "leave LoadBalancerOfOthers",
        ),
        (
            "another controller wrote over ours",
            service(json!({"metadata": held, "status": foreign})),
            None,
            None,
            "leave LoadBalancerOfOthers",
        ),
        (
            "another controller writes as we do",
            service(json!({"status": ingress_of(&["203.0.113.9"])})),
            None,
            None,
            "leave LoadBalancerOfOthers",
        ),
        (
            "another controller's that goes",
            service(json!({"metadata": gone, "status": foreign})),
            None,
            None,
            "clean up [203.0.113.9] ",
        ),
        (
            "its nodes are gone",
            service(json!({"metadata": held, "status": ingress_of(&["10.1.0.9"])})),
            None,
            None,
            "ensure held [10.1.0.1 10.1.0.2] UpdatedLoadBalancer",
        ),
        (
            "ours of the time before",
            service(json!({"metadata": former, "status": both()})),
            None,
            None,
            "ensure held [10.1.0.1 10.1.0.2] UpdatedLoadBalancer",
        ),
        (
            "perhaps a cloud's that begins",
            service(json!({"metadata": former})),
            None,
            None,
            "ensure held and as formerly [10.1.0.1 10.1.0.2] EnsuringLoadBalancer EnsuredLoadBalancer",
        ),
        (
            "ours of the time before, and it goes",
            service(json!({"metadata": former_gone, "status": both()})),
            None,
            None,
            "clean up [] DeletingLoadBalancer DeletedLoadBalancer",
        ),
        (
            "it goes and was never balanced",
            service(json!({"metadata": {"deletionTimestamp": "2030-01-02T00:00:00Z"}})),
            None,
            None,
            "keep",
        ),
    ];
    let nodes = nodes_of([("n1", "10.1.0.1"), ("n2", "10.1.0.2"), ("n3", "2001:db8::3")]);
    for (why, service, local, taken, expected) in cases {
        let action =
            decide(&Observed { service: &service, rules: &Rules::default(), nodes: &nodes, local, taken, given: None });
        assert_eq!(told(&action), expected, "{why}");
    }
    let nobody = Nodes::new();
    let (service, rules) = (&new(), Rules::default());
    let action = decide(&Observed { service, rules: &rules, nodes: &nobody, local: None, taken: None, given: None });
    assert_eq!(told(&action), "ensure held [] UnAvailableLoadBalancer");
    let was = service_of_type_now("ClusterIP");
    for (service, expected) in [
        (service, "keep"),
        (&plain_with(&former), "keep"),
        (&was, "clean up [] DeletingLoadBalancer DeletedLoadBalancer"),
    ] {
        let rules = Rules { classless: Classless::Others, ..Rules::default() };
        let action = decide(&Observed { service, rules: &rules, nodes: &nodes, local: None, taken: None, given: None });
        assert_eq!(told(&action), expected, "a cloud's, but for what bears our finalizer");
    }
}

fn ready(addresses: &[&str]) -> Target {
    Target { addresses: addresses.iter().map(|ip| (*ip).to_owned()).collect(), ready: true }
}

fn nodes_of<const N: usize>(nodes: [(&str, &str); N]) -> Nodes {
    nodes.into_iter().map(|(name, ip)| (name.to_owned(), ready(&[ip]))).collect()
}

#[test]
fn readiness_counts_only_where_the_endpoints_are() {
    let mut nodes = nodes_of([("n1", "10.1.0.1"), ("n2", "10.1.0.2")]);
    nodes.values_mut().for_each(|node| node.ready = false);
    let service = service(json!({}));
    let both = BTreeSet::from([String::from("n1"), String::from("n2")]);
    for (local, expected) in [(None, 2), (Some(&both), 0)] {
        let seen =
            Observed { service: &service, rules: &Rules::default(), nodes: &nodes, local, taken: None, given: None };
        assert_eq!(ingress(&seen).len(), expected, "{local:?}");
    }
}

/// The addresses that it gets, which are then in its status.
fn given(service: &mut Service, nodes: &Nodes) -> BTreeSet<String> {
    let found = ingress(&Observed { service, rules: &Rules::default(), nodes, local: None, taken: None, given: None });
    let addresses = found.iter().filter_map(|ingress| ingress.ip.clone()).collect();
    service.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus { ingress: Some(found) });
    addresses
}

#[test]
fn an_address_stays_while_it_is_a_nodes() {
    let mut nodes: Nodes = (0..40).map(|n| (format!("n{n:02}"), ready(&[format!("10.1.0.{n}").as_str()]))).collect();
    let (mut web, mut other) = (service(json!({})), service(json!({"metadata": {"uid": "other"}})));
    let first = given(&mut web, &nodes);
    assert_eq!(first.len(), ADDRESSES_MAX);
    assert_ne!(given(&mut other, &nodes), first, "not all Services are reached at the same nodes");
    let came = ready(&["10.1.0.200"]);
    nodes.insert("a".into(), came.clone());
    assert_eq!(given(&mut web, &nodes), first, "a node that joins takes nobody's place");
    assert!(!is_touched(&web, None, Some(&came)), "and is no reason to look");
    let gone = first.iter().next().unwrap().clone();
    nodes.retain(|_, node| node.addresses != [gone.clone()]);
    assert!(is_touched(&web, Some(&ready(&[gone.as_str()])), None));
    let second = given(&mut web, &nodes);
    assert_eq!(
        (second.len(), second.intersection(&first).count()),
        (ADDRESSES_MAX, ADDRESSES_MAX - 1),
        "one gap is filled"
    );
    let mut unready = ready(&["10.1.0.250"]);
    unready.ready = false;
    let few = nodes_of([("n1", "10.1.0.1")]);
    let mut new = service(json!({}));
    given(&mut new, &few);
    assert!(is_touched(&new, None, Some(&unready)), "there is room");
    let readied = ready(&["10.1.0.250"]);
    assert!(!is_touched(&new, Some(&unready), Some(&readied)), "readiness is nothing to it");
    let local = service(json!({"spec": {"externalTrafficPolicy": "Local"}}));
    assert!(is_touched(&local, Some(&unready), Some(&readied)));
}

#[test]
fn a_service_gets_so_many_addresses_of_its_families_each_once() {
    let both = |n: usize| ready(&[format!("10.1.0.{}", n / 2).as_str(), format!("2001:db8::{n}").as_str()]);
    let many: Nodes = (0..200).map(|n| (format!("n{n:03}"), both(n))).collect();
    let of = |families: Value| {
        let service = service(json!({"spec": {"ipFamilies": families}}));
        let seen = Observed {
            service: &service,
            rules: &Rules::default(),
            nodes: &many,
            local: None,
            taken: None,
            given: None,
        };
        ingress(&seen).into_iter().filter_map(|ingress| ingress.ip).collect::<Vec<_>>()
    };
    let v4 = of(json!(["IPv4"]));
    assert_eq!((v4.len(), v4.iter().collect::<BTreeSet<_>>().len()), (ADDRESSES_MAX, ADDRESSES_MAX));
    assert!(of(json!(["IPv6"])).iter().all(|ip| ip.contains(':')));
    let two = of(json!(["IPv4", "IPv6"]));
    assert_eq!(two.len(), ADDRESSES_MAX);
    assert_eq!(two.iter().filter(|ip| ip.contains(':')).count(), ADDRESSES_MAX / 2, "each family has its share");
}

#[test]
fn what_is_written_of_a_service_with_an_address_of_the_pool() {
    let entry = |ip: &str, mode: &str| json!({"ip": ip, "ipMode": mode, "ports": [{"port": 80, "protocol": "TCP"}]});
    let has = |ip: &str, mode: &str| json!({"loadBalancer": {"ingress": [entry(ip, mode)]}});
    let held = json!({"finalizers": [FINALIZER]});
    let with = |status: Value| service(json!({"metadata": held, "status": status}));
    let given = |ip: &str| Given { addresses: vec![ip.parse().unwrap()], refusal: None };
    let refused = || Given { addresses: Vec::new(), refusal: Some(Refusal::Full(Family::V4)) };
    let foreign = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}});
    // why, the Service, what it gets, what is done
    let cases = [
        (
            "new",
            service(json!({})),
            given("192.0.2.1"),
            "ensure held [192.0.2.1] EnsuringLoadBalancer EnsuredLoadBalancer",
        ),
        ("as it should be", with(has("192.0.2.1", "VIP")), given("192.0.2.1"), "keep"),
        (
            "it asks for another",
            with(has("192.0.2.1", "VIP")),
            given("192.0.2.2"),
            "ensure held [192.0.2.2] UpdatedLoadBalancer",
        ),
        (
            "it had a node's",
            with(has("10.1.0.1", "Proxy")),
            given("192.0.2.1"),
            "ensure held [192.0.2.1] UpdatedLoadBalancer",
        ),
        (
            "its finalizer was taken",
            service(json!({"status": has("192.0.2.1", "VIP")})),
            given("192.0.2.1"),
            "ensure held [192.0.2.1] UpdatedLoadBalancer",
        ),
        ("nothing for a new one", service(json!({})), refused(), "ensure held [] "),
        ("that is said then", service(json!({"metadata": held})), refused(), "wait SyncLoadBalancerFailed"),
        ("it has to let go", with(has("192.0.2.1", "VIP")), refused(), "ensure held [] "),
        ("another's pool", service(json!({"status": foreign})), given("192.0.2.1"), "leave LoadBalancerOfOthers"),
        (
            "another's address",
            service(json!({"status": has("203.0.113.9", "VIP")})),
            given("192.0.2.1"),
            "leave LoadBalancerOfOthers",
        ),
    ];
    let (rules, nodes) = (Rules { pool: pool(), ..Rules::default() }, nodes_of([("n1", "10.1.0.1")]));
    let seen = |service, given| Observed { service, rules: &rules, nodes: &nodes, local: None, taken: None, given };
    for (why, service, given, expected) in &cases {
        assert_eq!(told(&decide(&seen(service, Some(given)))), *expected, "{why}");
    }
    let written = ingress(&seen(&cases[0].1, Some(&cases[0].2)));
    assert_eq!(json!(written), json!([entry("192.0.2.1", "VIP")]));
    // The pool is gone: what it had of it is ours all the same.
    let (rules, left) = (Rules::default(), with(has("192.0.2.1", "VIP")));
    let seen = Observed { service: &left, rules: &rules, nodes: &nodes, local: None, taken: None, given: None };
    assert_eq!(told(&decide(&seen)), "ensure held [10.1.0.1] UpdatedLoadBalancer");
}
