//! The tables of refusals, scores and hints: which plugin keeps which pod from which node, which it prefers, and what could
//! change its mind.

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::*;
use crate::framework::Hint;
use crate::framework::{Cycle, Inclusion, MAX_NODE_SCORE};
use crate::pod::{Ask, HostPort, PodInfo};
use crate::profile::defaults;
use crate::snapshot::event::{AssignedPod, Event};
use crate::snapshot::tests::{asking, node, pod};
use crate::snapshot::{NodeId, NodeSpec, Snapshot};

const MIB: i64 = 1 << 20;

fn cluster(nodes: &[Node], there: &[PodInfo]) -> Snapshot {
    let mut snapshot = Snapshot::new();
    nodes.iter().for_each(|node| drop(snapshot.set_node(node)));
    there.iter().for_each(|pod| drop(snapshot.set_pod(pod)));
    snapshot
}

/// What the filters say to this pod on this node: every reason, and whether preemption could help.
fn told(pod: &PodInfo, node: &Node, there: &[PodInfo]) -> Vec<(String, bool)> {
    let snapshot = cluster(std::slice::from_ref(node), there);
    let inclusion = Inclusion::default();
    let cycle = Cycle { snapshot: &snapshot, class: &pod.class, inclusion: &inclusion };
    let plugins = defaults();
    let filters = plugins.iter().filter(|e| e.plugin.is_local()).filter_map(|e| e.plugin.filter(&cycle));
    let refusals = filters.filter_map(|f| f.check(snapshot.node(NodeId(0))).err());
    refusals.flat_map(|r| r.reasons().map(|text| (text.to_owned(), r.resolvable)).collect::<Vec<_>>()).collect()
}

/// Each plugin's scores of the nodes, normalized.
fn scores(plugin: &dyn Plugin, pod: &PodInfo, snapshot: &Snapshot) -> Option<Vec<i64>> {
    let inclusion = Inclusion::default();
    let cycle = Cycle { snapshot, class: &pod.class, inclusion: &inclusion };
    let nodes: Vec<NodeId> = snapshot.nodes().map(|n| n.id).collect();
    let scorer = plugin.scorer(&cycle, &nodes)?;
    let mut scores: Vec<i64> = snapshot.nodes().map(|n| scorer.score(n)).collect();
    scorer.normalize().apply(&nodes, &mut scores);
    Some(scores)
}

fn wanting(wants: serde_json::Value) -> PodInfo {
    let list = |name: &str| wants.get(name).cloned().unwrap_or_else(|| json!([]));
    let affinity = wants
        .get("required")
        .map(|terms| json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}));
    let ask = Ask {
        tolerations: serde_json::from_value(list("tolerations")).unwrap(),
        node_selector: serde_json::from_value(list("selector")).unwrap(),
        node_affinity: affinity.map(|a| serde_json::from_value(a).unwrap()),
        ..Ask::clone(&pod("a", "", 10).class.ask)
    };
    asking("a", "", ask)
}

fn with_port(name: &str, port: i32) -> PodInfo {
    let host_ports = vec![HostPort { ip: String::new(), protocol: "TCP".into(), port }];
    asking(name, if name == "a" { "" } else { "n1" }, Ask { host_ports, ..Ask::default() })
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
    let small = || {
        let mut node = free();
        let status = node.status.get_or_insert_default();
        status.allocatable.get_or_insert_default().insert("pods".into(), serde_json::from_value(json!("1")).unwrap());
        node
    };
    let gpu = || asking("a", "", Ask { requests: [("x/gpu".to_owned(), 1)].into(), ..Ask::default() });
    let affinity = ("node(s) didn't match Pod's node affinity/selector", false);
    let unschedulable = ("node(s) were unschedulable", false);
    let taint = ("node(s) had untolerated taint {x: y}", false);
    let cases = [
        ("a free node", pod("a", "", 10), free(), vec![], vec![]),
        ("cordoned", pod("a", "", 10), cordoned(), vec![], vec![unschedulable]),
        ("cordoned, and tolerated", tolerating("node.kubernetes.io/unschedulable"), cordoned(), vec![], vec![]),
        ("cordoned, and something else is tolerated", tolerating("x"), cordoned(), vec![], vec![unschedulable]),
        ("no new pods", pod("a", "", 10), tainted("NoSchedule"), vec![], vec![taint]),
        ("no pods", pod("a", "", 10), tainted("NoExecute"), vec![], vec![taint]),
        ("tolerated", tolerating("x"), tainted("NoSchedule"), vec![], vec![]),
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
            with_port("a", 80),
            free(),
            vec![with_port("q", 80)],
            vec![("node(s) didn't have free ports for the requested pod ports", true)],
        ),
        ("another port is", with_port("a", 80), free(), vec![with_port("q", 81)], vec![]),
        ("all of it", pod("a", "", 1000), free(), vec![], vec![]),
        ("more than there is", pod("a", "", 1001), free(), vec![], vec![("Insufficient cpu", false)]),
        ("all that is left", pod("a", "", 600), free(), vec![pod("x", "n1", 400)], vec![]),
        ("more than is left", pod("a", "", 601), free(), vec![pod("x", "n1", 400)], vec![("Insufficient cpu", true)]),
        ("what no node has ever had", gpu(), free(), vec![], vec![("Insufficient x/gpu", false)]),
        ("as many pods as may be", pod("a", "", 10), small(), vec![], vec![]),
        ("one pod too many", pod("a", "", 10), small(), vec![pod("x", "n1", 10)], vec![("Too many pods", true)]),
        (
            "too many, and too large for this node",
            pod("a", "", 2000),
            small(),
            vec![pod("x", "n1", 10)],
            vec![("Too many pods", false), ("Insufficient cpu", false)],
        ),
    ];
    for (why, pod, node, there, expected) in cases {
        let expected: Vec<(String, bool)> = expected.into_iter().map(|(text, on)| (text.to_owned(), on)).collect();
        assert_eq!(told(&pod, &node, &there), expected, "{why}");
    }
}

#[test]
fn a_filter_without_anything_to_say_is_not_asked() {
    let snapshot = Snapshot::new();
    let inclusion = Inclusion::default();
    let applying = |pod: &PodInfo| {
        let cycle = Cycle { snapshot: &snapshot, class: &pod.class, inclusion: &inclusion };
        defaults().iter().filter(|e| e.plugin.filter(&cycle).is_some()).count()
    };
    let always = applying(&pod("a", "", 10));
    assert_eq!(applying(&wanting(json!({"selector": [["a", "b"]]}))), always + 1);
    assert_eq!(applying(&wanting(json!({"required": []}))), always + 1);
    assert_eq!(applying(&wanting(json!({}))), always);
    assert_eq!(applying(&with_port("a", 80)), always + 1);
}

/// A pod that asks for both, so that no default counts.
fn sized(name: &str, node: &str, cpu_millis: i64, memory_mib: i64) -> PodInfo {
    let requests = [("cpu".to_owned(), cpu_millis), ("memory".to_owned(), memory_mib * MIB)];
    let requests = requests.into_iter().filter(|(_, n)| *n > 0).collect();
    asking(name, node, Ask { requests, non_zero: [cpu_millis, memory_mib * MIB], ..Ask::default() })
}

#[test]
fn allocation_table() {
    let least = node_resources_fit::NodeResourcesFit::default();
    let balanced = node_resources_balanced_allocation::NodeResourcesBalancedAllocation::default();
    let there = |cpu, memory| vec![sized("x", "n1", cpu, memory)];
    // why, what the pod asks (cpu, MiB), who is there, (least allocated, balanced)
    let cases = [
        ("empty, a quarter of both is asked", (250, 250), vec![], (75, 75)),
        ("a quarter is used, a quarter is asked", (250, 250), there(250, 250), (50, 75)),
        ("all is asked", (1000, 1000), vec![], (0, 75)),
        ("more than all of one is asked", (1001, 500), vec![], (25, 62)),
        ("three quarters against one", (750, 250), vec![], (50, 62)),
        ("one against three quarters", (250, 750), vec![], (50, 62)),
        ("it balances what was not", (250, 750), there(750, 250), (0, 87)),
        ("it makes worse what was not balanced", (500, 250), there(250, 0), (50, 69)),
    ];
    for (why, (cpu, memory), there, expected) in cases {
        let asked = sized("a", "", cpu, memory);
        let snapshot = cluster(&[node("n1", "1", "1000Mi")], &there);
        assert_eq!(scores(&least, &asked, &snapshot), Some(vec![expected.0]), "{why}: least");
        assert_eq!(scores(&balanced, &asked, &snapshot), Some(vec![expected.1]), "{why}: balanced");
    }
    let nothing = cluster(&[node("n1", "0", "0")], &[]);
    let asked = sized("a", "", 1, 1);
    assert_eq!(scores(&least, &asked, &nothing), Some(vec![0]), "a node that has nothing");
    assert_eq!(scores(&balanced, &asked, &nothing), Some(vec![75]), "and stays in balance");
    let half = cluster(&[node("n1", "1", "0")], &[]);
    assert_eq!(scores(&balanced, &sized("a", "", 900, 0), &half), Some(vec![75]), "what it has is one thing");
    assert_eq!(scores(&balanced, &sized("a", "", 0, 0), &half), None, "a pod that asks for nothing changes no balance");
}

#[test]
fn soft_taints_are_counted_unless_tolerated() {
    let tainted = |name: &str, effect: &str, keys: &[&str]| {
        let taints: Vec<_> = keys.iter().map(|key| json!({"key": key, "effect": effect})).collect();
        Node { spec: serde_json::from_value(json!({"taints": taints})).unwrap(), ..node(name, "1", "1Gi") }
    };
    let soft = "PreferNoSchedule";
    let nodes = [tainted("n1", soft, &["x", "y"]), tainted("n2", soft, &["x"]), tainted("n3", "NoSchedule", &["x"])];
    let snapshot = cluster(&nodes, &[]);
    let plugin = taint_toleration::TaintToleration;
    assert_eq!(scores(&plugin, &pod("a", "", 10), &snapshot), Some(vec![0, 50, 100]));
    let tolerating = wanting(json!({"tolerations": [{"key": "x", "operator": "Exists"}]}));
    assert_eq!(scores(&plugin, &tolerating, &snapshot), Some(vec![0, 100, 100]));
}

#[test]
fn preferred_terms_add_up() {
    let term = |weight: i32, node: &str| {
        let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        json!({"weight": weight, "preference": {"matchExpressions": [expression]}})
    };
    let snapshot = cluster(&[node("n1", "1", "1Gi"), node("n2", "1", "1Gi"), node("n3", "1", "1Gi")], &[]);
    let list = [term(30, "n1"), term(10, "n1"), term(10, "n2")];
    let affinity = json!({"preferredDuringSchedulingIgnoredDuringExecution": list});
    let preferring =
        asking("a", "", Ask { node_affinity: serde_json::from_value(affinity).unwrap(), ..Ask::default() });
    let plugin = node_affinity::NodeAffinity::default();
    assert_eq!(scores(&plugin, &preferring, &snapshot), Some(vec![100, 25, 0]));
    assert_eq!(scores(&plugin, &pod("a", "", 10), &snapshot), None, "no preference");
    let added = serde_json::from_value(json!({"preferredDuringSchedulingIgnoredDuringExecution": [term(1, "n3")]}));
    let plugin = node_affinity::NodeAffinity { added: added.unwrap() };
    assert_eq!(scores(&plugin, &pod("a", "", 10), &snapshot), Some(vec![0, 0, 100]), "the profile's");
}

#[test]
fn images_that_are_there_count_by_their_size_and_how_common_they_are() {
    let with = |name: &str, images: serde_json::Value| {
        let mut node = node(name, "1", "1Gi");
        node.status.get_or_insert_default().images = serde_json::from_value(images).unwrap();
        node
    };
    let image = |name: &str, mib: i64| json!({"names": [name], "sizeBytes": mib * MIB});
    let nodes = [
        with("n1", json!([image("big:1", 1000), image("small:1", 10)])),
        with("n2", json!([image("small:1", 10)])),
        with("n3", json!([image("big:1", 1000)])),
        with("n4", json!([])),
    ];
    let snapshot = cluster(&nodes, &[]);
    let running = |images: &[&str]| {
        let images = images.iter().map(|name| (*name).to_owned()).collect();
        asking("a", "", Ask { images, ..Ask::default() })
    };
    let plugin = image_locality::ImageLocality;
    // Half of 1000 MiB, as half of the nodes have it, less 23, of 1000 less 23.
    assert_eq!(scores(&plugin, &running(&["big:1"]), &snapshot), Some(vec![48, 0, 48, 0]));
    assert_eq!(scores(&plugin, &running(&["small:1"]), &snapshot), Some(vec![0; 4]), "not worth it");
    assert_eq!(scores(&plugin, &running(&["new:1"]), &snapshot), None, "no node has it");
    let two = scores(&plugin, &running(&["big:1", "new:1"]), &snapshot);
    assert_eq!(two, Some(vec![24, 0, 24, 0]), "half of its images");
}

#[test]
fn names_and_weights_are_upstreams() {
    let named: Vec<(&str, i64)> = all().iter().map(|(plugin, weight)| (plugin.name(), *weight)).collect();
    let expected = [
        ("SchedulingGates", 0),
        ("NodeUnschedulable", 0),
        ("NodeName", 0),
        ("TaintToleration", 3),
        ("NodeAffinity", 2),
        ("NodePorts", 0),
        ("NodeResourcesFit", 1),
        ("VolumeRestrictions", 0),
        ("NodeVolumeLimits", 0),
        ("VolumeBinding", 0),
        ("VolumeZone", 0),
        ("PodTopologySpread", 2),
        ("InterPodAffinity", 2),
        ("NodeResourcesBalancedAllocation", 1),
        ("ImageLocality", 1),
    ];
    assert_eq!(named, expected);
    assert!(all().iter().map(|(_, weight)| weight * MAX_NODE_SCORE).sum::<i64>() < i64::from(i32::MAX));
}

#[test]
fn hints_table() {
    let mut snapshot = Snapshot::new();
    let spec = |snapshot: &mut Snapshot, node: &Node| {
        snapshot.set_node(node);
        snapshot.node_named(node.metadata.name.as_deref().unwrap()).unwrap().spec.clone()
    };
    let with = |spec: serde_json::Value| Node { spec: serde_json::from_value(spec).unwrap(), ..node("n1", "1", "1Gi") };
    let free = spec(&mut snapshot, &node("n1", "1", "1Gi"));
    let larger = spec(&mut snapshot, &node("n1", "4", "1Gi"));
    let cordoned = spec(&mut snapshot, &with(json!({"unschedulable": true})));
    let tainted = spec(&mut snapshot, &with(json!({"taints": [{"key": "x", "effect": "NoSchedule"}]})));
    let mut ssd = node("n1", "1", "1Gi");
    ssd.metadata.labels.get_or_insert_default().insert("disk".into(), "ssd".into());
    let ssd = spec(&mut snapshot, &ssd);
    let update = |old: &Arc<NodeSpec>, new: &Arc<NodeSpec>| Event::NodeUpdated { old: old.clone(), new: new.clone() };
    let assigned = |pod: PodInfo| AssignedPod { class: pod.class, node: free.clone() };
    let gone = |pod: PodInfo| Event::PodRemoved(assigned(pod));
    let wants_ssd = || wanting(json!({"selector": [["disk", "ssd"]]}));
    let resized =
        |from, to| Event::PodUpdated { old: assigned(pod("x", "n1", from)), new: assigned(pod("x", "n1", to)) };
    let cases = [
        ("NodeUnschedulable", pod("a", "", 10), update(&cordoned, &free), true),
        ("NodeUnschedulable", pod("a", "", 10), update(&free, &cordoned), false),
        ("NodeUnschedulable", pod("a", "", 10), update(&cordoned, &cordoned), false),
        ("NodeUnschedulable", pod("a", "", 10), Event::NodeAdded(cordoned.clone()), false),
        ("NodeUnschedulable", pod("a", "", 10), gone(pod("x", "n1", 10)), false),
        ("TaintToleration", pod("a", "", 10), update(&tainted, &free), true),
        ("TaintToleration", pod("a", "", 10), update(&free, &tainted), false),
        ("TaintToleration", pod("a", "", 10), Event::NodeAdded(free.clone()), true),
        ("TaintToleration", pod("a", "", 10), Event::NodeAdded(tainted.clone()), false),
        ("NodeAffinity", wants_ssd(), update(&free, &ssd), true),
        ("NodeAffinity", wants_ssd(), update(&ssd, &ssd), false),
        ("NodeAffinity", wants_ssd(), update(&ssd, &free), false),
        ("NodeAffinity", wants_ssd(), Event::NodeAdded(free.clone()), false),
        ("NodePorts", with_port("a", 80), gone(with_port("x", 80)), true),
        ("NodePorts", with_port("a", 80), gone(with_port("x", 81)), false),
        ("NodePorts", with_port("a", 80), Event::NodeAdded(free.clone()), true),
        ("NodeResourcesFit", pod("a", "", 10), gone(pod("x", "n1", 10)), true),
        ("NodeResourcesFit", pod("a", "", 10), resized(20, 10), true),
        ("NodeResourcesFit", pod("a", "", 10), resized(10, 20), false),
        ("NodeResourcesFit", pod("a", "", 2000), update(&free, &larger), true),
        ("NodeResourcesFit", pod("a", "", 5000), update(&free, &larger), false),
        ("NodeResourcesFit", pod("a", "", 500), update(&larger, &free), false),
        ("NodeResourcesFit", pod("a", "", 2000), Event::NodeAdded(free.clone()), false),
        ("NodeResourcesFit", pod("a", "", 2000), Event::NodeAdded(larger.clone()), true),
        ("NodeResourcesFit", pod("a", "", 10), Event::PodAdded(assigned(pod("x", "n1", 10))), false),
    ];
    for (name, pod, event, helps) in cases {
        let (plugin, _) = all().into_iter().find(|(plugin, _)| plugin.name() == name).unwrap();
        assert_eq!(plugin.hint(&snapshot, &pod.class, &event), Hint::when(helps), "{name}: {event:?}");
    }
}

#[test]
fn gated_pods_are_not_looked_at() {
    let class = crate::pod::PodClass { gates: vec!["a".into(), "b".into()], ..Default::default() };
    let why = scheduling_gates::SchedulingGates.pre_enqueue(&class).unwrap_err();
    assert_eq!(why, "waiting for scheduling gates: [a b]");
    assert_eq!(scheduling_gates::SchedulingGates.pre_enqueue(&pod("a", "", 1).class), Ok(()));
}

#[test]
fn ignored_resources_are_others_business() {
    let gpu = asking("a", "", Ask { requests: [("x.io/gpu".to_owned(), 1)].into(), ..Ask::default() });
    let snapshot = cluster(&[node("n1", "1", "1Gi")], &[]);
    let inclusion = Inclusion::default();
    let cycle = Cycle { snapshot: &snapshot, class: &gpu.class, inclusion: &inclusion };
    let by_name =
        || node_resources_fit::NodeResourcesFit { ignored_resources: vec!["x.io/gpu".into()], ..Default::default() };
    let by_group =
        node_resources_fit::NodeResourcesFit { ignored_resource_groups: vec!["x.io".into()], ..Default::default() };
    for (fit, passes) in [(by_name(), true), (by_group, true), (Default::default(), false)] {
        assert_eq!(fit.filter(&cycle).unwrap().check(snapshot.node(NodeId(0))).is_ok(), passes, "{fit:?}");
    }
}
