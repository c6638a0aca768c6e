//! The tables of scores.

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::*;
use crate::pod::{PodInfo, Wants};
use crate::snapshot::Snapshot;
use crate::snapshot::tests::{node, pod};

const MIB: i64 = 1 << 20;

fn scores(scorer: &dyn Scorer, asked: &PodInfo, nodes: &[Node], there: &[PodInfo]) -> Vec<i64> {
    let mut snapshot = Snapshot::new();
    for node in nodes {
        snapshot.set_node(node);
    }
    for pod in there {
        snapshot.set_pod(pod);
    }
    let asked = Asked { pod: asked, amounts: Vec::new() };
    let nodes: Vec<&NodeInfo> = snapshot.nodes().collect();
    scorer.score(&asked, &nodes)
}

/// A pod that asks for both, so that no default counts.
fn sized(name: &str, node: &str, cpu_millis: i64, memory_mib: i64) -> PodInfo {
    let mut pod = pod(name, node, cpu_millis);
    pod.takes.requests.insert("memory".into(), memory_mib * MIB);
    pod
}

#[test]
fn allocation_table() {
    let there = |cpu, memory| vec![sized("x", "n1", cpu, memory)];
    // why, what the pod asks (cpu, MiB), who is there, (least allocated, balanced)
    let cases = [
        ("empty, a quarter of both is asked", (250, 250), vec![], (75, 100)),
        ("a quarter is used, a quarter is asked", (250, 250), there(250, 250), (50, 100)),
        ("all is asked", (1000, 1000), vec![], (0, 100)),
        ("more than all of one is asked", (1001, 500), vec![], (25, 75)),
        ("three quarters against one", (750, 250), vec![], (50, 75)),
        ("one against three quarters", (250, 750), vec![], (50, 75)),
    ];
    for (why, (cpu, memory), there, (least, balanced)) in cases {
        let asked = sized("a", "", cpu, memory);
        let nodes = [node("n1", "1", "1000Mi")];
        assert_eq!(scores(&least_allocated::LeastAllocated, &asked, &nodes, &there), [least], "{why}: least");
        assert_eq!(scores(&balanced::BalancedAllocation, &asked, &nodes, &there), [balanced], "{why}: balanced");
    }
    let nothing = [node("n1", "0", "0")];
    let asked = sized("a", "", 1, 1);
    assert_eq!(scores(&least_allocated::LeastAllocated, &asked, &nothing, &[]), [0], "a node that has nothing");
    assert_eq!(scores(&balanced::BalancedAllocation, &asked, &nothing, &[]), [100], "and is used up to one degree");
    let half = [node("n1", "1", "0")];
    assert_eq!(
        scores(&balanced::BalancedAllocation, &sized("a", "", 0, 1), &half, &[]),
        [55],
        "0.1 of cpu, all of memory"
    );
}

#[test]
fn siblings_are_spread() {
    let sibling = |name: &str, node: &str| {
        let mut pod = pod(name, node, 10);
        pod.takes.family = "rs".into();
        pod
    };
    let nodes = [node("n1", "1", "1Gi"), node("n2", "1", "1Gi"), node("n3", "1", "1Gi")];
    let there = [sibling("x", "n1"), sibling("y", "n1"), sibling("z", "n2"), pod("other", "n3", 10)];
    assert_eq!(scores(&spread::Spread, &sibling("a", ""), &nodes, &there), [0, 50, 100]);
    assert_eq!(scores(&spread::Spread, &pod("a", "", 10), &nodes, &there), [MAX; 3], "one without siblings");
}

#[test]
fn soft_taints_are_counted_unless_tolerated() {
    let tainted = |name: &str, effect: &str, keys: &[&str]| {
        let taints: Vec<_> = keys.iter().map(|key| json!({"key": key, "effect": effect})).collect();
        Node { spec: serde_json::from_value(json!({"taints": taints})).unwrap(), ..node(name, "1", "1Gi") }
    };
    let soft = "PreferNoSchedule";
    let nodes = [tainted("n1", soft, &["x", "y"]), tainted("n2", soft, &["x"]), tainted("n3", "NoSchedule", &["x"])];
    assert_eq!(scores(&taints::PreferNoSchedule, &pod("a", "", 10), &nodes, &[]), [0, 50, 100]);
    let tolerations = serde_json::from_value(json!([{"key": "x", "operator": "Exists"}])).unwrap();
    let wants = Wants { tolerations, ..Wants::default() };
    let tolerating = PodInfo { wants: Some(Box::new(wants)), ..pod("a", "", 10) };
    assert_eq!(scores(&taints::PreferNoSchedule, &tolerating, &nodes, &[]), [0, 100, 100]);
}

#[test]
fn preferred_terms_add_up() {
    let term = |weight: i32, node: &str| {
        let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        json!({"weight": weight, "preference": {"matchExpressions": [expression]}})
    };
    let nodes = [node("n1", "1", "1Gi"), node("n2", "1", "1Gi"), node("n3", "1", "1Gi")];
    let list = [term(30, "n1"), term(10, "n1"), term(10, "n2")];
    let affinity = json!({"preferredDuringSchedulingIgnoredDuringExecution": list});
    let wants = Wants { node_affinity: serde_json::from_value(affinity).unwrap(), ..Wants::default() };
    let asked = PodInfo { wants: Some(Box::new(wants)), ..pod("a", "", 10) };
    assert_eq!(scores(&affinity::PreferredAffinity, &asked, &nodes, &[]), [100, 25, 0]);
    assert_eq!(scores(&affinity::PreferredAffinity, &pod("a", "", 10), &nodes, &[]), [0; 3], "no preference");
}

#[test]
fn normalised_table() {
    let cases = [
        ("largest best", vec![0, 1, 4], false, vec![0, 25, 100]),
        ("smallest best", vec![0, 1, 4], true, vec![100, 75, 0]),
        ("nothing anywhere, and the largest would be best", vec![0, 0], false, vec![100, 100]),
        ("nothing anywhere, and the smallest is best", vec![0, 0], true, vec![100, 100]),
        ("nobody", vec![], false, vec![]),
    ];
    for (why, counts, reverse, expected) in cases {
        assert_eq!(normalised(&counts, reverse), expected, "{why}");
    }
}

#[test]
fn weights_are_upstreams() {
    let weights: Vec<i64> = all().iter().map(|(weight, _)| *weight).collect();
    assert_eq!(weights, [1, 1, 2, 3, 2]);
}
