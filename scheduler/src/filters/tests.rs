//! The table of refusals: which filter keeps which pod from which node, and what could change that.

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::*;
use crate::pod::{HostPort, Wants};
use crate::snapshot::tests::{node, pod};

/// What the filters say to this pod on this node: every reason, with what could change it.
fn told(pod: &PodInfo, node: &Node, there: &[PodInfo]) -> Vec<(String, Helps)> {
    let mut snapshot = Snapshot::new();
    snapshot.set_node(node);
    for pod in there {
        snapshot.set_pod(pod);
    }
    let asked = Asked { pod, amounts: snapshot.by_column(&pod.takes.requests) };
    let info = snapshot.nodes().next().unwrap();
    let filters = all();
    let applied = filters.iter().filter(|f| f.applies(&asked));
    applied.flat_map(|f| f.check(&asked, info, &snapshot)).map(|r| (r.text, r.retry_on)).collect()
}

fn wanting(wants: serde_json::Value) -> PodInfo {
    let list = |name: &str| wants.get(name).cloned().unwrap_or_else(|| json!([]));
    let affinity = wants
        .get("required")
        .map(|terms| json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}));
    let wants = Wants {
        tolerations: serde_json::from_value(list("tolerations")).unwrap(),
        node_selector: serde_json::from_value(list("selector")).unwrap(),
        node_affinity: affinity.map(|a| serde_json::from_value(a).unwrap()),
        ..Wants::default()
    };
    PodInfo { wants: Some(Box::new(wants)), ..pod("a", "", 10) }
}

#[test]
fn refusals_table() {
    let with = |spec: serde_json::Value| Node { spec: serde_json::from_value(spec).unwrap(), ..node("n1", "1", "1Gi") };
    let free = || node("n1", "1", "1Gi");
    let cordoned = || with(json!({"unschedulable": true}));
    let tainted = |effect: &str| with(json!({"taints": [{"key": "x", "value": "y", "effect": effect}]}));
    let tolerating = |key: &str| wanting(json!({"tolerations": [{"key": key, "operator": "Exists"}]}));
    let by_label = |value: &str| wanting(json!({"selector": [["kubernetes.io/hostname", value]]}));
    let term = |value: &str| json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [value]}]});
    let port = |port| {
        let mut pod = pod("p", "n1", 10);
        pod.takes.host_ports = vec![HostPort { ip: String::new(), protocol: "TCP".into(), port }];
        pod
    };
    let small = || {
        let mut node = free();
        let status = node.status.get_or_insert_default();
        status.allocatable.get_or_insert_default().insert("pods".into(), serde_json::from_value(json!("1")).unwrap());
        node
    };
    let affinity = ("node(s) didn't match Pod's node affinity/selector", Helps::NODE_LABELLED);
    let unschedulable = ("node(s) were unschedulable", Helps::NODE_UNTAINTED);
    let taint = ("node(s) had untolerated taint {x: y}", Helps::NODE_UNTAINTED);
    let grew = Helps::POD_GONE.and(Helps::NODE_GREW);
    let cases = [
        ("nothing against it", pod("a", "", 10), free(), vec![], vec![]),
        ("cordoned", pod("a", "", 10), cordoned(), vec![], vec![unschedulable]),
        ("cordoned, and something else tolerated", tolerating("x"), cordoned(), vec![], vec![unschedulable]),
        ("cordoned and tolerated", tolerating("node.kubernetes.io/unschedulable"), cordoned(), vec![], vec![]),
        ("tainted", pod("a", "", 10), tainted("NoSchedule"), vec![], vec![taint]),
        ("tainted: pods even leave", pod("a", "", 10), tainted("NoExecute"), vec![], vec![taint]),
        ("tainted and tolerated", tolerating("x"), tainted("NoSchedule"), vec![], vec![]),
        ("only better elsewhere", pod("a", "", 10), tainted("PreferNoSchedule"), vec![], vec![]),
        ("its selector", by_label("n1"), free(), vec![], vec![]),
        ("not its selector", by_label("n2"), free(), vec![], vec![affinity]),
        ("one of two terms", wanting(json!({"required": [term("n2"), term("n1")]})), free(), vec![], vec![]),
        ("no term", wanting(json!({"required": [term("n2")]})), free(), vec![], vec![affinity]),
        ("no terms at all", wanting(json!({"required": []})), free(), vec![], vec![affinity]),
        (
            "a term, but not the selector",
            wanting(json!({"required": [term("n1")], "selector": [["disk", "ssd"]]})),
            free(),
            vec![],
            vec![affinity],
        ),
        (
            "its port is taken",
            port(80),
            free(),
            vec![PodInfo { key: corten_api::Key::new("default", "q"), ..port(80) }],
            vec![("node(s) didn't have free ports for the requested pod ports", Helps::POD_GONE)],
        ),
        (
            "another port is",
            port(80),
            free(),
            vec![PodInfo { key: corten_api::Key::new("default", "q"), ..port(81) }],
            vec![],
        ),
        ("all of it", pod("a", "", 1000), free(), vec![], vec![]),
        ("more than all of it", pod("a", "", 1001), free(), vec![], vec![("Insufficient cpu", grew)]),
        ("all that is left", pod("a", "", 600), free(), vec![pod("x", "n1", 400)], vec![]),
        ("more than is left", pod("a", "", 601), free(), vec![pod("x", "n1", 400)], vec![("Insufficient cpu", grew)]),
        ("as many pods as may be", pod("a", "", 10), small(), vec![], vec![]),
        ("one pod too many", pod("a", "", 10), small(), vec![pod("x", "n1", 10)], vec![("Too many pods", grew)]),
    ];
    for (why, pod, node, there, expected) in cases {
        let expected: Vec<(String, Helps)> = expected.into_iter().map(|(text, on)| (text.to_owned(), on)).collect();
        assert_eq!(told(&pod, &node, &there), expected, "{why}");
    }
}

#[test]
fn a_filter_without_anything_to_say_is_not_asked() {
    let applying = |pod: &PodInfo| {
        let asked = Asked { pod, amounts: Vec::new() };
        all().iter().filter(|f| f.applies(&asked)).count()
    };
    let always = applying(&pod("a", "", 10));
    assert_eq!(applying(&wanting(json!({"selector": [["a", "b"]]}))), always + 1);
    assert_eq!(applying(&wanting(json!({"required": []}))), always + 1);
    assert_eq!(applying(&wanting(json!({}))), always);
    let mut ported = pod("a", "", 10);
    ported.takes.host_ports = vec![HostPort { ip: String::new(), protocol: "TCP".into(), port: 80 }];
    assert_eq!(applying(&ported), always + 1);
}
