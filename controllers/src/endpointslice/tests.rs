//! The table of slices: what is written for which pods.

use std::collections::BTreeSet;

use corten_api::k8s_openapi::api::core::v1::ServicePort;
use corten_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use jiff::Timestamp;

use super::*;
use crate::pods::{NamedPort, Phase};

fn pod(n: usize) -> SeenPod {
    SeenPod {
        key: Key::new("ns", format!("pod-{n:03}")),
        uid: format!("uid-{n:03}"),
        phase: Phase::Running,
        node: Some("n1".into()),
        ips: vec![format!("10.244.0.{n}")],
        ready_since: Some(Timestamp::UNIX_EPOCH),
        ..SeenPod::default()
    }
}

fn service(target: IntOrString) -> Service {
    let port = ServicePort { name: Some("http".into()), port: 80, target_port: Some(target), ..ServicePort::default() };
    Service {
        metadata: ObjectMeta {
            name: Some("web".into()),
            namespace: Some("ns".into()),
            uid: Some("svc".into()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("10.96.0.9".into()),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn decided(service: &Service, pods: Vec<SeenPod>, slices: &[Arc<EndpointSlice>]) -> Vec<Action> {
    let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
    let nodes = [("n1".to_owned(), Some("z1".to_owned())), ("n2".to_owned(), None)].into();
    decide(&Observed { service, pods: &pods, slices, nodes: &nodes })
}

/// As the store would have them: named, with uids.
fn stored(actions: Vec<Action>) -> Vec<Arc<EndpointSlice>> {
    let named = actions.into_iter().enumerate().map(|(n, action)| match action {
        Action::Create(mut slice) => {
            slice.metadata.name = Some(format!("web-{n}"));
            slice.metadata.uid = Some(format!("slice-{n}"));
            Arc::new(slice)
        }
        other => panic!("{other:?}"),
    });
    named.collect()
}

/// `create 2` for a new slice with two endpoints, and so on.
fn told(actions: &[Action]) -> String {
    let n = |s: &EndpointSlice| s.endpoints.as_ref().map_or(0, Vec::len);
    let lines = actions.iter().map(|a| match a {
        Action::Create(s) => format!("create {}", n(s)),
        Action::Update(s) => format!("update {} {}", s.name(), n(s)),
        Action::Delete { key, .. } => format!("delete {}", key.name),
    });
    lines.collect::<Vec<_>>().join(", ")
}

#[test]
fn slices_table() {
    let web = service(IntOrString::Int(8080));
    let first = |n: usize| stored(decided(&web, (0..n).map(pod).collect(), &[]));
    let cases = [
        ("no pods: an empty slice", vec![], vec![], "create 0"),
        ("the empty slice stays", vec![], first(0), ""),
        ("the first pod takes the empty slice's place", vec![pod(1)], first(0), "update web-0 1"),
        ("two pods, one slice", vec![pod(1), pod(2)], vec![], "create 2"),
        ("nothing new: nothing written", vec![pod(0), pod(1)], first(2), ""),
        ("one more", vec![pod(0), pod(1), pod(2)], first(2), "update web-0 3"),
        ("one less", vec![pod(0)], first(2), "update web-0 1"),
        ("all gone: the slice stays, empty", vec![], first(2), "update web-0 0"),
        ("150 pods need two slices", (0..150).map(pod).collect(), vec![], "create 100, create 50"),
        ("one of a full slice's leaves: only that slice", (1..150).map(pod).collect(), first(150), "update web-0 99"),
        ("one more goes to the slice with room", (0..151).map(pod).collect(), first(150), "update web-1 51"),
        ("a slice too many goes", (0..100).map(pod).collect(), first(150), "delete web-1"),
        ("an ended pod is no endpoint", vec![SeenPod { phase: Phase::Succeeded, ..pod(1) }], vec![], "create 0"),
        ("a pod without address is none yet", vec![SeenPod { ips: vec![], ..pod(1) }], vec![], "create 0"),
    ];
    for (why, pods, slices, expected) in cases {
        assert_eq!(told(&decided(&web, pods, &slices)), expected, "{why}");
    }
}

#[test]
fn conditions_table() {
    let going = Some(Timestamp::UNIX_EPOCH);
    // why, publishNotReadyAddresses, pod, (ready, serving, terminating)
    let cases = [
        ("ready", false, pod(1), (true, true, false)),
        ("not ready", false, SeenPod { ready_since: None, ..pod(1) }, (false, false, false)),
        ("not ready but published", true, SeenPod { ready_since: None, ..pod(1) }, (true, false, false)),
        ("on its way out but still answering", false, SeenPod { deleting: going, ..pod(1) }, (false, true, true)),
    ];
    for (why, publish, pod, expected) in cases {
        let mut web = service(IntOrString::Int(80));
        web.spec.get_or_insert_default().publish_not_ready_addresses = Some(publish);
        let slices = stored(decided(&web, vec![pod], &[]));
        let endpoint = &slices[0].endpoints.as_ref().unwrap()[0];
        let c = endpoint.conditions.clone().unwrap();
        assert_eq!(
            (c.ready, c.serving, c.terminating),
            (Some(expected.0), Some(expected.1), Some(expected.2)),
            "{why}"
        );
        assert_eq!((endpoint.node_name.as_deref(), endpoint.zone.as_deref()), (Some("n1"), Some("z1")), "{why}");
    }
}

#[test]
fn a_pod_on_a_node_that_is_gone_is_an_endpoint_only_where_all_are_published() {
    let on = |node: Option<&str>, n| SeenPod { node: node.map(str::to_owned), ..pod(n) };
    for (why, publish, pods, expected) in [
        ("one of two nodes is gone", false, vec![on(Some("n1"), 1), on(Some("gone"), 2)], "create 1"),
        ("published though", true, vec![on(Some("n1"), 1), on(Some("gone"), 2)], "create 2"),
        ("a node without a zone is a node", false, vec![on(Some("n2"), 1)], "create 1"),
        ("a pod that says no node", false, vec![on(None, 1)], "create 1"),
    ] {
        let mut web = service(IntOrString::Int(80));
        web.spec.get_or_insert_default().publish_not_ready_addresses = Some(publish);
        assert_eq!(told(&decided(&web, pods, &[])), expected, "{why}");
    }
}

#[test]
fn a_service_waits_for_the_nodes_that_it_lacked_last() {
    let (missing, web) = (crate::endpointslice::Missing::default(), Key::new("ns", "web"));
    missing.set(&web, ["n3".to_owned()].into());
    assert_eq!(missing.waiting_for("n3"), std::slice::from_ref(&web));
    assert_eq!(missing.waiting_for("n4"), []);
    missing.set(&web, BTreeSet::new());
    assert!(missing.waiting_for("n3").is_empty() && missing.by_service.lock().is_empty(), "nothing is kept of it");
}

#[test]
fn hints_table() {
    let on = |node: &str| SeenPod { node: Some(node.into()), ..pod(1) };
    // why, trafficDistribution, pod, zones, nodes
    let cases = [
        ("wherever", None, on("n1"), "", ""),
        ("close is in the zone", Some("PreferClose"), on("n1"), "z1", ""),
        ("in the zone", Some("PreferSameZone"), on("n1"), "z1", ""),
        ("on the node, or else in the zone", Some("PreferSameNode"), on("n1"), "z1", "n1"),
        ("a node without a zone", Some("PreferSameZone"), on("n2"), "", ""),
        ("a node without a zone is a node", Some("PreferSameNode"), on("n2"), "", "n2"),
        ("not ready", Some("PreferSameNode"), SeenPod { ready_since: None, ..on("n1") }, "", ""),
    ];
    for (why, distribution, pod, zones, nodes) in cases {
        let mut web = service(IntOrString::Int(80));
        web.spec.get_or_insert_default().traffic_distribution = distribution.map(str::to_owned);
        let slices = stored(decided(&web, vec![pod.clone()], &[]));
        let hints = slices[0].endpoints.as_ref().unwrap()[0].hints.clone();
        assert_eq!(hints.is_some(), !(zones.is_empty() && nodes.is_empty()), "{why}");
        let hints = hints.unwrap_or_default();
        let zone: Vec<String> = hints.for_zones.into_iter().flatten().map(|zone| zone.name).collect();
        let node: Vec<String> = hints.for_nodes.into_iter().flatten().map(|node| node.name).collect();
        assert_eq!((zone.join(" ").as_str(), node.join(" ").as_str()), (zones, nodes), "{why}");
        web.spec.get_or_insert_default().traffic_distribution = None;
        let expected = if zones.is_empty() && nodes.is_empty() { "" } else { "update web-0 1" };
        assert_eq!(told(&decided(&web, vec![pod], &slices)), expected, "{why}: they go with the wish");
    }
}

#[test]
fn a_named_target_port_is_each_pods_own() {
    let named = |number| vec![NamedPort { name: "web".into(), protocol: "TCP".into(), port: number }];
    let pods = vec![
        SeenPod { ports: named(8080), ..pod(1) },
        SeenPod { ports: named(9090), ..pod(2) },
        SeenPod { ports: vec![], ..pod(3) },
    ];
    let slices = stored(decided(&service(IntOrString::String("web".into())), pods, &[]));
    let number = |s: &EndpointSlice| ports_of(s).first().map(|port| port.number);
    let mut shape: Vec<_> = slices.iter().map(|s| (number(s), s.endpoints.as_ref().unwrap().len())).collect();
    shape.sort();
    assert_eq!(
        shape,
        [(None, 1), (Some(8080), 1), (Some(9090), 1)],
        "the pod without such a port has a slice without it"
    );
}

#[test]
fn a_headless_service_names_its_pods() {
    let mut web = service(IntOrString::Int(80));
    let spec = web.spec.get_or_insert_default();
    (spec.cluster_ip, spec.ports) = (Some("None".into()), None);
    let named = SeenPod { hostname: "a".into(), subdomain: "web".into(), ..pod(1) };
    let slices = stored(decided(&web, vec![named], &[]));
    assert_eq!(slices[0].endpoints.as_ref().unwrap()[0].hostname.as_deref(), Some("a"));
    assert_eq!(slices[0].label(HEADLESS_LABEL), Some(""));
    assert_eq!(slices[0].label(SERVICE_LABEL), Some("web"));
    assert!(slices[0].is_controlled_by("svc"));
}

/// An action by what it leads to: the slice's name (or the beginning of it), the pods in it, its first port.
fn shape(actions: &[Action]) -> Vec<String> {
    let pods = |s: &EndpointSlice| {
        let name = |e: &Endpoint| e.target_ref.as_ref().and_then(|t| t.name.clone()).unwrap_or_default();
        s.endpoints.iter().flatten().map(name).collect::<Vec<_>>().join(" ")
    };
    let ports = |s: &EndpointSlice| ports_of(s).iter().map(|p| p.number.to_string()).collect::<Vec<_>>().join(",");
    let one = |action: &Action| match action {
        Action::Create(s) => format!("create {} [{}] :{}", s.address_type, pods(s), ports(s)),
        Action::Update(s) => format!("update {} [{}] :{}", s.name(), pods(s), ports(s)),
        Action::Delete { key, uid } => format!("delete {} {uid}", key.name),
    };
    actions.iter().map(one).collect()
}
/// Slices of these pods each, as the store would have them.
fn slices(service: &Service, pods: &[&[usize]]) -> Vec<Arc<EndpointSlice>> {
    let made = |list: &&[usize]| decided(service, list.iter().copied().map(pod).collect(), &[]);
    stored(pods.iter().flat_map(made).collect())
}

#[test]
fn a_pod_keeps_its_slice_and_a_new_one_goes_where_something_is_written_anyhow_or_where_most_are() {
    let web = service(IntOrString::Int(8080));
    let pods = |list: &[usize]| list.iter().copied().map(pod).collect::<Vec<_>>();
    let unready = SeenPod { ready_since: None, ..pod(3) };
    let cases = [
        (
            "the fullest",
            pods(&[1, 2, 3, 4]),
            slices(&web, &[&[1], &[2, 3]]),
            vec!["update web-1 [pod-002 pod-003 pod-004] :8080"],
        ),
        (
            "the one that changes anyhow",
            pods(&[2, 3, 4]),
            slices(&web, &[&[1], &[2, 3]]),
            vec!["update web-0 [pod-004] :8080"],
        ),
        (
            "a pod that changes is changed where it is",
            vec![pod(1), pod(2), unready],
            slices(&web, &[&[1], &[2, 3]]),
            vec!["update web-1 [pod-002 pod-003] :8080"],
        ),
        ("an empty one goes", pods(&[2, 3]), slices(&web, &[&[1], &[2, 3]]), vec!["delete web-0 slice-0"]),
        ("of two empty ones one stays", vec![], slices(&web, &[&[], &[]]), vec!["delete web-1 slice-1"]),
        (
            "none is left: one says so",
            vec![],
            slices(&web, &[&[1], &[2]]),
            vec!["update web-0 [] :", "delete web-1 slice-1"],
        ),
    ];
    for (why, pods, slices, expected) in cases {
        assert_eq!(shape(&decided(&web, pods, &slices)), expected, "{why}");
    }
}

#[test]
fn a_slice_that_fits_no_more_is_given_to_what_needs_one() {
    let mut web = service(IntOrString::Int(8080));
    let had = slices(&web, &[&[1], &[2]]);
    let spec = web.spec.get_or_insert_default();
    spec.ports.get_or_insert_default()[0].target_port = Some(IntOrString::Int(9090));
    let got = decided(&web, vec![pod(1), pod(2)], &had);
    assert_eq!(shape(&got), ["update web-0 [pod-001 pod-002] :9090", "delete web-1 slice-1"]);

    let spec = web.spec.get_or_insert_default();
    spec.ip_families = Some(vec!["IPv6".into(), "IPv4".into()]);
    let six = SeenPod { ips: vec!["10.244.0.1".into(), "fd00::1".into()], ..pod(1) };
    let got = decided(&web, vec![six.clone()], &had);
    assert_eq!(
        shape(&got),
        ["create IPv6 [pod-001] :9090", "update web-0 [pod-001] :9090", "delete web-1 slice-1"],
        "one of another family is no use"
    );
    let addresses = |family: &str| {
        let created = decided(&web, vec![six.clone()], &[]).into_iter().filter_map(|a| match a {
            Action::Create(s) if s.address_type == family => s.endpoints?.pop(),
            _ => None,
        });
        created.flat_map(|e| e.addresses).collect::<Vec<_>>()
    };
    assert_eq!((addresses("IPv4"), addresses("IPv6")), (vec!["10.244.0.1".into()], vec!["fd00::1".into()]));
}

#[test]
fn a_slice_follows_its_services_labels_and_owner() {
    let mut web = service(IntOrString::Int(8080));
    let had = slices(&web, &[&[1]]);
    let [slice] = &had[..] else { panic!("{had:?}") };
    assert_eq!(slice.metadata.generate_name.as_deref(), Some("web-"));
    assert_eq!((slice.metadata.namespace.as_deref(), slice.label(MANAGED_BY_LABEL)), (Some("ns"), Some(MANAGER)));
    web.metadata.labels =
        Some([("team".to_owned(), "x".to_owned()), (HEADLESS_LABEL.to_owned(), String::new())].into());
    let labelled = decided(&web, vec![pod(1)], &had);
    let [Action::Update(new)] = &labelled[..] else { panic!("{labelled:?}") };
    assert_eq!(
        (new.label("team"), new.label(HEADLESS_LABEL)),
        (Some("x"), None),
        "it is not headless, whatever it says"
    );
    web.metadata.uid = Some("made anew".into());
    web.metadata.labels = None;
    let owned = decided(&web, vec![pod(1)], &had);
    let [Action::Update(new)] = &owned[..] else { panic!("{owned:?}") };
    assert!(new.is_controlled_by("made anew"));
    assert_eq!(decided(&Service { spec: None, ..web }, vec![pod(1)], &[]), []);
}

#[test]
fn ports_are_read_as_they_are_written() {
    let port = |name: &str, number, app: Option<&str>| Port {
        name: name.into(),
        protocol: "UDP".into(),
        number,
        app_protocol: app.map(str::to_owned),
    };
    let ports = vec![port("a", 2, Some("h2c")), port("b", 1, None)];
    let mut slice = EndpointSlice { ports: Some(wire_ports(&ports)), ..EndpointSlice::default() };
    assert_eq!(ports_of(&slice), ports);
    slice.ports.get_or_insert_default().reverse();
    assert_eq!(ports_of(&slice), ports, "in whatever order");
    slice.ports = Some(vec![EndpointPort::default()]);
    let bare = Port { name: String::new(), protocol: "TCP".into(), number: 0, app_protocol: None };
    assert_eq!(ports_of(&slice), [bare]);
}

#[test]
fn hints_by_topology_are_carried_until_they_are_judged_and_do_not_make_a_slice_written() {
    let mut web = service(IntOrString::Int(8080));
    web.spec.get_or_insert_default().traffic_distribution = Some("PreferClose".into());
    web.metadata.annotations = Some([("service.kubernetes.io/topology-mode".to_owned(), "Auto".to_owned())].into());
    let mut slices = stored(decided(&web, vec![pod(1), pod(2)], &[]));
    let hint = |endpoint: &Endpoint| endpoint.hints.clone();
    assert_eq!(slices[0].endpoints.as_ref().and_then(|all| hint(&all[0])), None, "the annotation comes first");
    let other = EndpointHints { for_zones: Some(vec![ForZone { name: "z9".into() }]), for_nodes: None };
    for endpoint in Arc::make_mut(&mut slices[0]).endpoints.iter_mut().flatten() {
        endpoint.hints = Some(other.clone());
    }
    assert_eq!(decided(&web, vec![pod(1), pod(2)], &slices), []);
    let actions = decided(&web, vec![pod(1), pod(2), pod(3)], &slices);
    let [Action::Update(slice)] = &actions[..] else { panic!("{actions:?}") };
    let hints: Vec<_> = slice.endpoints.iter().flatten().map(hint).collect();
    assert_eq!(hints, [Some(other.clone()), Some(other), None]);
}
