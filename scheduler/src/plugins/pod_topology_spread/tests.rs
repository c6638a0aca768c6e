//! How pods are spread: what is refused, what is preferred, and what could change it.

use corten_api::Key;
use corten_api::selector::Selector;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::*;
use crate::cycle::view::Views;
use crate::cycle::{Decision, decide};
use crate::pod::PodInfo;
use crate::pod::class::ControllerRef;
use crate::profile::Profile;
use crate::snapshot::event::AssignedPod;
use crate::snapshot::tests::{labelled, labels, of_class};

fn constraint(max_skew: i32, key: &str, when: &str, more: serde_json::Value) -> SpreadConstraint {
    let mut constraint = json!({"maxSkew": max_skew, "topologyKey": key, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}}});
    constraint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    SpreadConstraint::of(&serde_json::from_value(constraint).unwrap(), "default").unwrap()
}
fn hard(max_skew: i32, key: &str) -> SpreadConstraint {
    constraint(max_skew, key, "DoNotSchedule", json!({}))
}
fn soft(key: &str) -> SpreadConstraint {
    constraint(1, key, "ScheduleAnyway", json!({}))
}
fn web(name: &str, node: &str, spread: Vec<SpreadConstraint>) -> PodInfo {
    of_class(name, node, PodClass { labels: labels("app=web"), spread, ..PodClass::default() })
}
/// n1 and n2 are in zone a, n3 in zone b.
fn zones() -> Vec<Node> {
    [("n1", "a"), ("n2", "a"), ("n3", "b")].map(|(name, zone)| labelled(name, &[("zone", zone)])).to_vec()
}
fn cluster(nodes: &[Node], there: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::new();
    nodes.iter().for_each(|node| drop(snapshot.set_node(node)));
    for (n, node) in there.iter().enumerate() {
        snapshot.set_pod(&web(&format!("there-{n}"), node, vec![]));
    }
    snapshot
}
fn decided(snapshot: &mut Snapshot, pod: &PodInfo) -> Decision {
    decide((0, &Profile::default()), snapshot, &mut Views::default(), pod, 0)
}
/// The nodes that pass, tried by leaving the others out.
fn passing(snapshot: &mut Snapshot, pod: &PodInfo) -> Vec<String> {
    let plugin = PodTopologySpread::default();
    plugin.prepare(snapshot, &pod.class);
    let inclusion = inclusion(snapshot, pod);
    let cycle = Cycle { snapshot, class: &pod.class, inclusion: &inclusion };
    let filter = plugin.filter(&cycle);
    let passes = |node: &&NodeInfo| filter.as_ref().is_none_or(|f| f.check(node).is_ok());
    snapshot.nodes().filter(passes).map(|n| n.name().to_owned()).collect()
}
fn inclusion(snapshot: &Snapshot, pod: &PodInfo) -> Inclusion {
    let ask = &pod.class.ask;
    Inclusion {
        affine: snapshot.nodes().map(|n| crate::plugins::node_affinity::is_affine(&n.spec, ask)).collect(),
        tolerated: snapshot
            .nodes()
            .map(|n| crate::plugins::taint_toleration::is_tolerated(&n.spec, &ask.tolerations))
            .collect(),
    }
}
fn scores(snapshot: &mut Snapshot, pod: &PodInfo) -> Option<Vec<i64>> {
    let plugin = PodTopologySpread::default();
    plugin.prepare(snapshot, &pod.class);
    let inclusion = inclusion(snapshot, pod);
    let cycle = Cycle { snapshot, class: &pod.class, inclusion: &inclusion };
    let nodes: Vec<NodeId> = snapshot.nodes().map(|n| n.id).collect();
    let scorer = plugin.scorer(&cycle, &nodes)?;
    let mut scores: Vec<i64> = snapshot.nodes().map(|n| scorer.score(n)).collect();
    scorer.normalize().apply(&nodes, &mut scores);
    Some(scores)
}

#[test]
fn hard_constraints_table() {
    let more = |more: serde_json::Value| vec![constraint(1, "zone", "DoNotSchedule", more)];
    let one = || vec![hard(1, "zone")];
    let cases = [
        ("nobody is there: anywhere", one(), vec![], "n1 n2 n3"),
        ("one zone has one: the other", one(), vec!["n1"], "n3"),
        ("level: anywhere", one(), vec!["n1", "n3"], "n1 n2 n3"),
        ("two against none, and two may be", vec![hard(3, "zone")], vec!["n1", "n2"], "n1 n2 n3"),
        ("two against none, and one more may be", vec![hard(2, "zone")], vec!["n1", "n2"], "n3"),
        ("by node too", vec![hard(1, "zone"), hard(1, "kubernetes.io/hostname")], vec!["n1", "n3"], "n2"),
        ("fewer zones than it wants count as empty", more(json!({"minDomains": 3})), vec!["n1", "n3"], ""),
        ("enough zones", more(json!({"minDomains": 2})), vec!["n1", "n3"], "n1 n2 n3"),
        ("a label that no node has", vec![hard(1, "rack")], vec![], ""),
        ("only a preference", vec![soft("zone")], vec!["n1"], "n1 n2 n3"),
        ("everything counts nobody", more(json!({"labelSelector": {}})), vec!["n1", "n2"], "n1 n2 n3"),
        ("nobody is meant", more(json!({"labelSelector": null})), vec!["n1", "n2"], "n1 n2 n3"),
    ];
    for (why, constraints, there, expected) in cases {
        let mut snapshot = cluster(&zones(), &there);
        assert_eq!(passing(&mut snapshot, &web("a", "", constraints)).join(" "), expected, "{why}");
    }
}

#[test]
fn who_does_not_count() {
    let mut snapshot = cluster(&zones(), &[]);
    snapshot.set_pod(&PodInfo { deleting: true, ..web("leaving", "n1", vec![]) });
    let elsewhere = PodClass { namespace: "other".into(), ..(*web("x", "", vec![]).class).clone() };
    snapshot.set_pod(&PodInfo { class: Arc::new(elsewhere), ..web("x", "n1", vec![]) });
    snapshot.set_pod(&of_class("y", "n1", PodClass { labels: labels("app=db"), ..PodClass::default() }));
    assert_eq!(passing(&mut snapshot, &web("a", "", vec![hard(1, "zone")])).join(" "), "n1 n2 n3");
    let not_itself = of_class("a", "", PodClass { spread: vec![hard(1, "zone")], ..PodClass::default() });
    snapshot.set_pod(&web("z", "n1", vec![]));
    assert_eq!(passing(&mut snapshot, &not_itself).join(" "), "n1 n2 n3", "it is not one of them");
}

#[test]
fn policies_say_which_nodes_count() {
    let mut nodes = zones();
    nodes[2].spec = serde_json::from_value(json!({"taints": [{"key": "x", "effect": "NoSchedule"}]})).unwrap();
    let with = |more: serde_json::Value| web("a", "", vec![constraint(1, "zone", "DoNotSchedule", more)]);
    let mut snapshot = cluster(&nodes, &["n1"]);
    assert_eq!(passing(&mut snapshot, &with(json!({}))).join(" "), "n3", "taints are not looked at");
    let honors = with(json!({"nodeTaintsPolicy": "Honor"}));
    assert_eq!(passing(&mut snapshot, &honors).join(" "), "n1 n2 n3", "its zone does not count, nor does it fail");
    let selecting = |more| {
        let mut class = (*with(more).class).clone();
        let selector = vec![("zone".to_owned(), "a".to_owned())];
        class.ask = Arc::new(crate::pod::Ask { node_selector: selector, ..crate::pod::Ask::default() });
        PodInfo { class: Arc::new(class), ..web("a", "", vec![]) }
    };
    let mut snapshot = cluster(&zones(), &["n1"]);
    assert_eq!(passing(&mut snapshot, &selecting(json!({}))).join(" "), "n1 n2 n3", "zone b is not for it");
    let ignores = selecting(json!({"nodeAffinityPolicy": "Ignore"}));
    assert_eq!(passing(&mut snapshot, &ignores).join(" "), "n3");
}

#[test]
fn preferred_spreading() {
    let by = |key: &str| web("a", "", vec![soft(key)]);
    // n1, n2 have 2 + 1 = 3 in zone a; n3 has none.
    let mut snapshot = cluster(&zones(), &["n1", "n1", "n2"]);
    assert_eq!(scores(&mut snapshot, &by("zone")), Some(vec![0, 0, 100]));
    assert_eq!(scores(&mut snapshot, &by("kubernetes.io/hostname")), Some(vec![0, 33, 100]));
    assert_eq!(scores(&mut snapshot, &by("rack")), Some(vec![0; 3]), "no node has the label");
    assert_eq!(scores(&mut snapshot, &web("a", "", vec![hard(1, "zone")])), None, "a demand is no preference");
    assert_eq!(scores(&mut cluster(&zones(), &[]), &by("zone")), Some(vec![100; 3]), "nobody is there");
}

#[test]
fn pods_without_constraints_are_spread_with_their_siblings() {
    let controller = Some(ControllerRef { kind: "ReplicaSet".into(), name: "rs".into() });
    let sibling = |name: &str| {
        of_class(
            name,
            "",
            PodClass { labels: labels("app=web"), controller: controller.clone(), ..PodClass::default() },
        )
    };
    let mut snapshot = cluster(&zones(), &["n1"]);
    assert_eq!(scores(&mut snapshot, &sibling("a")), None, "nobody says who they are");
    let key = Key::new("default", "rs");
    snapshot.workloads.set_controller("ReplicaSet", &key, Some(Selector::parse("app=web").unwrap()));
    // One sibling by ln(5), and a max skew of 3 less one: 4, 2 and 2 before they are compared.
    assert_eq!(scores(&mut snapshot, &sibling("a")), Some(vec![50, 100, 100]));
    assert!(matches!(decided(&mut snapshot, &sibling("a")), Decision::Place { node } if node != "n1"));
    snapshot.workloads.set_controller("ReplicaSet", &key, None);
    assert_eq!(scores(&mut snapshot, &sibling("a")), None, "it is gone");
    snapshot.workloads.set_service(&Key::new("default", "web"), Some(labels("app=web")));
    assert_eq!(scores(&mut snapshot, &sibling("a")), Some(vec![50, 100, 100]), "a Service's");
    snapshot.workloads.set_service(&Key::new("default", "web"), Some(labels("app=web,tier=x")));
    assert_eq!(scores(&mut snapshot, &sibling("a")), None, "not one of its pods");
}

fn other(class: &PodClass) -> Other<'_> {
    Other { class, deleting: false }
}

#[test]
fn what_if_pods_came_and_went() {
    let mut snapshot = cluster(&zones(), &["n1", "n3"]);
    let (plugin, pod) = (PodTopologySpread::default(), web("a", "", vec![hard(1, "zone")]));
    plugin.prepare(&mut snapshot, &pod.class);
    let inclusion = inclusion(&snapshot, &pod);
    let cycle = Cycle { snapshot: &snapshot, class: &pod.class, inclusion: &inclusion };
    let filter = plugin.filter(&cycle).unwrap();
    let passes = |filter: &dyn Filter| -> Vec<bool> { snapshot.nodes().map(|n| filter.check(n).is_ok()).collect() };
    let mut what_if = filter.fork();
    what_if.remove(other(&pod.class), NodeId(2));
    assert_eq!(passes(&*what_if), [false, false, true]);
    what_if.add(other(&pod.class), NodeId(2));
    assert_eq!(passes(&*what_if), [true; 3]);
    what_if.add(other(&pod.class), NodeId(0));
    assert_eq!(passes(&*what_if), [false, false, true]);
    what_if.remove(Other { class: &pod.class, deleting: true }, NodeId(0));
    assert_eq!(passes(&*what_if), [false, false, true], "one that is leaving did not count");
    assert_eq!(passes(&*filter), [true; 3], "the first is as it was");
}

#[test]
fn hints_table() {
    let snapshot = Snapshot::new();
    let pod = web("a", "", vec![hard(1, "zone")]);
    let assigned = |labels_of: &str| {
        let class = PodClass { namespace: "default".into(), labels: labels(labels_of), ..PodClass::default() };
        AssignedPod { class: Arc::new(class), node: Arc::default() }
    };
    let node = |text: &str| Arc::new(crate::snapshot::NodeSpec { labels: labels(text), ..Default::default() });
    let update = |old: &str, new: &str| Event::NodeUpdated { old: node(old), new: node(new) };
    let relabel = |old: &str, new: &str| Event::PodUpdated { old: assigned(old), new: assigned(new) };
    let cases = [
        ("one of them comes", Event::PodAdded(assigned("app=web")), true),
        ("one of them goes", Event::PodRemoved(assigned("app=web")), true),
        ("another goes", Event::PodRemoved(assigned("app=db")), false),
        ("one is no longer one", relabel("app=web", "app=db"), true),
        ("one is deleted", relabel("app=web", "app=web"), true),
        ("another changes", relabel("app=db", "app=db,x=y"), false),
        ("a node in a zone", Event::NodeAdded(node("zone=c")), true),
        ("a node in none", Event::NodeAdded(node("")), false),
        ("a node goes", Event::NodeRemoved(node("zone=c")), true),
        ("a node gets a zone", update("", "zone=a"), true),
        ("a node moves", update("zone=a", "zone=b"), true),
        ("a node stays", update("zone=a", "zone=a"), false),
    ];
    for (why, event, helps) in cases {
        let hint = PodTopologySpread::default().hint(&snapshot, &pod.class, &event);
        assert_eq!(hint, Hint::when(helps), "{why}");
    }
}
