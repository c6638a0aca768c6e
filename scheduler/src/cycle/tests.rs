//! Whole decisions: where a pod goes, and what is said where it cannot go anywhere.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::*;
use crate::plugins;
use crate::plugins::pod_topology_spread::ZONE_LABEL;
use crate::pod::{Ask, HostPort, PodClass};
use crate::profile::Enabled;
use crate::snapshot::tests::{asking, labelled, labels, node, of_class, pod};

fn cluster(nodes: Vec<Node>) -> Snapshot {
    let mut snapshot = Snapshot::new();
    nodes.iter().for_each(|node| drop(snapshot.set_node(node)));
    snapshot
}
fn with(mut node: Node, spec: serde_json::Value) -> Node {
    node.spec = serde_json::from_value(spec).unwrap();
    node
}
fn decide_one(snapshot: &mut Snapshot, pod: &PodInfo) -> Decision {
    decide((0, &Profile::default()), snapshot, &mut Views::default(), pod, 0)
}
fn placed(node: &str) -> Decision {
    Decision::Place { node: node.into() }
}
fn refused(decision: Decision) -> (String, Vec<&'static str>) {
    let Decision::Refuse { why, rejected_by, .. } = decision else { panic!("{decision:?}") };
    (why, rejected_by.iter().map(|at| crate::profile::defaults()[at].plugin.name()).collect())
}

#[test]
fn refusals_are_counted_in_words() {
    let tainted = json!({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]});
    let mut snapshot = cluster(vec![
        with(node("m1", "8", "8Gi"), tainted),
        node("n1", "1", "8Gi"),
        node("n2", "1", "8Gi"),
        with(node("n3", "8", "8Gi"), json!({"unschedulable": true})),
    ]);
    let (why, by) = refused(decide_one(&mut snapshot, &pod("a", "", 2000)));
    assert_eq!(
        why,
        "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, \
         1 node(s) were unschedulable, 2 Insufficient cpu. \
         preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
    );
    assert_eq!(by, ["NodeUnschedulable", "TaintToleration", "NodeResourcesFit"]);
}

#[test]
fn placement_table() {
    let two = || cluster(vec![node("n1", "4", "8Gi"), node("n2", "4", "8Gi")]);
    let mut busy = two();
    busy.set_pod(&pod("x", "n1", 3000));
    assert_eq!(decide_one(&mut busy, &pod("a", "", 500)), placed("n2"), "the emptier node");

    let mut family = two();
    family.workloads.set_service(&Key::new("default", "web"), Some(labels("app=web")));
    let sibling = |name: &str, node: &str| {
        let ask = pod(name, node, 10).class.ask.clone();
        of_class(name, node, PodClass { labels: labels("app=web"), ask, ..PodClass::default() })
    };
    family.set_pod(&sibling("x", "n2"));
    family.set_pod(&pod("y", "n1", 300));
    assert_eq!(decide_one(&mut family, &sibling("a", "")), placed("n1"), "away from its sibling, though it is fuller");

    let port = HostPort { ip: String::new(), protocol: "TCP".into(), port: 80 };
    let with_port =
        |name: &str, node: &str| asking(name, node, Ask { host_ports: vec![port.clone()], ..Ask::default() });
    let mut ports = two();
    ports.set_pod(&with_port("x", "n1"));
    assert_eq!(decide_one(&mut ports, &with_port("a", "")), placed("n2"), "where the port is free");

    let soft = json!({"taints": [{"key": "x", "effect": "PreferNoSchedule"}]});
    let mut tainted = cluster(vec![with(node("n1", "4", "8Gi"), soft), node("n2", "4", "8Gi")]);
    tainted.set_pod(&pod("x", "n2", 500));
    assert_eq!(decide_one(&mut tainted, &pod("a", "", 10)), placed("n2"), "away from a soft taint");

    let term = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]});
    let wish = json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]});
    let wishing = asking("a", "", Ask { node_affinity: serde_json::from_value(wish).unwrap(), ..Ask::default() });
    let mut zones = cluster(vec![labelled("n1", &[("zone", "a")]), labelled("n2", &[("zone", "b")])]);
    zones.set_pod(&pod("x", "n2", 1000));
    assert_eq!(decide_one(&mut zones, &wishing), placed("n2"), "where it wishes to be");
}

#[test]
fn a_search_that_stops_early_has_seen_all_zones() {
    let zone = |n: usize| ["a", "b", "c"][n / 100];
    let mut nodes: Vec<Node> = (0..300).map(|n| labelled(&format!("n{n}"), &[(ZONE_LABEL, zone(n))])).collect();
    nodes[0].metadata.labels.get_or_insert_default().remove(ZONE_LABEL);
    let mut snapshot = cluster(nodes);
    // They changed their zones, came and went.
    snapshot.set_node(&labelled("n0", &[(ZONE_LABEL, "a")]));
    snapshot.set_node(&node("n300", "4", "8Gi"));
    snapshot.remove_node("n300");
    let term = json!({"matchExpressions": [{"key": ZONE_LABEL, "operator": "In", "values": ["c"]}]});
    let wish = json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]});
    let wishing = asking("a", "", Ask { node_affinity: serde_json::from_value(wish).unwrap(), ..Ask::default() });
    let profile = Profile { percentage_of_nodes_to_score: 34, ..Profile::default() };
    for tie in 0..6 {
        let decision = decide((0, &profile), &mut snapshot, &mut Views::default(), &wishing, tie);
        let Decision::Place { node } = decision else { panic!("{decision:?}") };
        let node = snapshot.node_named(&node).unwrap();
        assert_eq!(node.spec.labels[ZONE_LABEL], "c", "{tie}: {}", node.name());
    }
    let turns: Vec<u32> = snapshot.in_turn().iter().map(|id| id.0).collect();
    assert_eq!((turns.len(), &turns[..4]), (300, &[0, 100, 200, 1][..]));
}

#[test]
fn a_pod_that_names_its_node_looks_at_that_node_alone() {
    let named = |names: &[&str]| {
        let is = json!([{"key": "metadata.name", "operator": "In", "values": names}]);
        let required = json!({"nodeSelectorTerms": [{"matchFields": is}]});
        let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
        let node_names = Some(names.iter().map(|name| (*name).to_owned()).collect());
        let ask = pod("a", "", 1000).class.ask.clone();
        asking("a", "", Ask { node_affinity: serde_json::from_value(affinity).unwrap(), node_names, ..(*ask).clone() })
    };
    let mut nodes: Vec<Node> = (0..300).map(|n| node(&format!("n{n}"), "4", "8Gi")).collect();
    nodes[7] = node("n7", "1", "8Gi");
    let mut snapshot = cluster(nodes);
    let (profile, mut views) = (Profile::default(), Views::default());
    let mut decided = |snapshot: &mut Snapshot, pod: &PodInfo| decide((0, &profile), snapshot, &mut views, pod, 5);
    assert_eq!(decided(&mut snapshot, &named(&["n7"])), placed("n7"));
    assert_eq!(decided(&mut snapshot, &named(&["n7", "n9"])), placed("n9"), "the emptier of two");
    snapshot.set_pod(&pod("x", "n7", 500));
    let (why, by) = refused(decided(&mut snapshot, &named(&["n7"])));
    let preemption = "preemption: 0/300 nodes are available: 1 No preemption victims found for incoming pod, \
                      299 Preemption is not helpful for scheduling.";
    let told = "0/300 nodes are available: 1 Insufficient cpu, 299 node(s) didn't satisfy plugin(s) [NodeAffinity].";
    assert_eq!((why.as_str(), by), (format!("{told} {preemption}").as_str(), vec!["NodeAffinity", "NodeResourcesFit"]));
    let (why, _) = refused(decided(&mut snapshot, &named(&["gone"])));
    assert!(
        why.starts_with("0/300 nodes are available: 300 node(s) didn't satisfy plugin(s) [NodeAffinity]."),
        "{why}"
    );
    let (why, by) = refused(decided(&mut snapshot, &named(&[])));
    assert_eq!((why.as_str(), by), ("0/300 nodes are available: pod affinity terms conflict.", vec!["NodeAffinity"]));
    assert_eq!(views.len(), 0, "nothing is kept of nodes that nobody looks at again");
}

#[test]
fn a_demand_that_nobody_can_see_to_is_never_ignored() {
    let demanding = PodClass { unserved: vec!["resource claims are …".into()], ..PodClass::default() };
    let decision = decide_one(&mut cluster(vec![node("n1", "4", "8Gi")]), &of_class("a", "", demanding));
    assert_eq!(refused(decision), ("0/1 nodes are available: resource claims are ….".to_owned(), vec![]));
}

#[test]
fn equals_take_turns() {
    let mut snapshot = cluster(vec![node("n1", "4", "8Gi"), node("n2", "4", "8Gi")]);
    let chosen: Vec<Decision> = (0..2)
        .map(|tie| decide((0, &Profile::default()), &mut snapshot, &mut Views::default(), &pod("a", "", 10), tie))
        .collect();
    assert_ne!(chosen[0], chosen[1]);
}

#[test]
fn no_nodes_at_all() {
    let (why, by) = refused(decide_one(&mut Snapshot::new(), &pod("a", "", 10)));
    assert_eq!((why.as_str(), by.len()), ("no nodes available to schedule pods", plugins::all().len()));
}

#[test]
fn what_is_remembered_of_nodes_is_what_would_be_found_out() {
    let profile = Profile::default();
    let mut kept = Views::default();
    let mut snapshot = cluster((0..20).map(|n| node(&format!("n{n}"), "4", "8Gi")).collect());
    let mut chance = corten_client::seeds::Chance(7);
    for step in 0..600 {
        let name = format!("n{}", chance.below(22));
        match chance.below(6) {
            0 => drop(snapshot.remove_node(&name)),
            1 => drop(snapshot.set_node(&node(&name, &format!("{}", 1 + chance.below(8)), "8Gi"))),
            2 => drop(snapshot.set_node(&with(node(&name, "4", "8Gi"), json!({"unschedulable": true})))),
            3 => drop(snapshot.remove_pod(&Key::new("default", format!("p{}", chance.below(step + 1))))),
            _ => {
                let cpu = i64::try_from(100 * (1 + chance.below(20))).unwrap();
                let asked = pod(&format!("p{step}"), "", cpu);
                let tie = chance.below(100);
                let remembered = decide((0, &profile), &mut snapshot, &mut kept, &asked, tie);
                let anew = decide((0, &profile), &mut snapshot, &mut Views::default(), &asked, tie);
                assert_eq!(remembered, anew, "step {step}");
                if let Decision::Place { node } = anew {
                    snapshot.assume(&asked, &node);
                }
            }
        }
    }
}

#[test]
fn a_plugin_that_is_disabled_has_no_say() {
    let cordoned = with(node("n1", "4", "8Gi"), json!({"unschedulable": true}));
    let mut profile = Profile::default();
    profile.plugins.retain(|enabled: &Enabled| enabled.plugin.name() != "NodeUnschedulable");
    let decision = decide((0, &profile), &mut cluster(vec![cordoned]), &mut Views::default(), &pod("a", "", 10), 0);
    assert_eq!(decision, placed("n1"));
}

/// A pod of this priority that asks for cpu.
fn urgent(name: &str, node: &str, priority: i32, cpu: i64) -> PodInfo {
    let ask = pod(name, node, cpu).class.ask.clone();
    of_class(name, node, PodClass { priority, ask, ..PodClass::default() })
}
fn nominate(snapshot: &mut Snapshot, pod: &PodInfo, node: &str) {
    let (uid, class) = (pod.uid.clone(), Arc::clone(&pod.class));
    snapshot.nominations.set(&pod.key, crate::snapshot::nominations::Nomination { uid, node: node.into(), class });
}

#[test]
fn room_that_is_kept_is_taken_by_nobody_less_urgent() {
    let mut snapshot = cluster(vec![node("n1", "1", "8Gi")]);
    nominate(&mut snapshot, &urgent("waits", "", 5, 800), "n1");
    let (why, _) = refused(decide_one(&mut snapshot, &urgent("a", "", 4, 300)));
    assert!(why.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{why}");
    assert_eq!(decide_one(&mut snapshot, &urgent("b", "", 4, 200)), placed("n1"), "both have room");
    assert_eq!(decide_one(&mut snapshot, &urgent("c", "", 6, 300)), placed("n1"), "one that is more urgent");
    assert_eq!(decide_one(&mut snapshot, &urgent("waits", "", 5, 800)), placed("n1"), "it is its own room");
}

#[test]
fn a_pod_goes_where_room_was_made_for_it() {
    let mut snapshot = cluster(vec![node("n1", "1", "8Gi"), node("n2", "4", "8Gi")]);
    let waits = urgent("waits", "", 5, 800);
    nominate(&mut snapshot, &waits, "n1");
    assert_eq!(decide_one(&mut snapshot, &waits), placed("n1"), "though another is emptier");
    snapshot.set_pod(&pod("x", "n1", 500));
    assert_eq!(decide_one(&mut snapshot, &waits), placed("n2"), "the room is gone");
}
