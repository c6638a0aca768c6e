//! The table of slices: what is written for which pods.

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
    let zones = [("n1".to_owned(), "z1".to_owned())].into();
    decide(&Observed { service, pods: &pods, slices, zones: &zones })
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
fn a_named_target_port_is_each_pods_own() {
    let named = |number| vec![NamedPort { name: "web".into(), protocol: "TCP".into(), port: number }];
    let pods = vec![
        SeenPod { ports: named(8080), ..pod(1) },
        SeenPod { ports: named(9090), ..pod(2) },
        SeenPod { ports: vec![], ..pod(3) },
    ];
    let slices = stored(decided(&service(IntOrString::String("web".into())), pods, &[]));
    let shape: Vec<_> = slices.iter().map(|s| (ports_of(s)[0].number, s.endpoints.as_ref().unwrap().len())).collect();
    assert_eq!(shape, [(8080, 1), (9090, 1)], "the pod without such a port is left out");
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
