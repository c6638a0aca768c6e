//! Who may be near whom, who would like to be, and what could change it.

use k8s_openapi::api::core::v1::Node;

use super::*;
use crate::cycle::view::Views;
use crate::cycle::{Decision, decide};
use crate::framework::Inclusion;
use crate::pod::PodInfo;
use crate::pod::terms::Affinity;
use crate::profile::Profile;
use crate::snapshot::event::AssignedPod;
use crate::snapshot::tests::{labelled, labels, of_class, term};
use corten_api::selector::Selector;

/// n1 and n2 are in zone a, n3 in zone b; n4 in none.
fn zones() -> Vec<Node> {
    let mut nodes =
        [("n1", "a"), ("n2", "a"), ("n3", "b")].map(|(name, zone)| labelled(name, &[("zone", zone)])).to_vec();
    nodes.push(labelled("n4", &[]));
    nodes
}
fn of(name: &str, node: &str, labels_of: &str, affinity: Affinity) -> PodInfo {
    of_class(name, node, PodClass { labels: labels(labels_of), affinity, ..PodClass::default() })
}
fn near(selectors: &[&str]) -> Affinity {
    Affinity { required: selectors.iter().map(|s| term(s, "zone")).collect(), ..Affinity::default() }
}
fn apart(selector: &str) -> Affinity {
    Affinity { anti: vec![term(selector, "zone")], ..Affinity::default() }
}
fn prefers(weight: i64, selector: &str) -> Affinity {
    Affinity { preferred: vec![(weight, term(selector, "zone"))], ..Affinity::default() }
}
fn cluster(there: &[PodInfo]) -> Snapshot {
    let mut snapshot = Snapshot::new();
    zones().iter().for_each(|node| drop(snapshot.set_node(node)));
    there.iter().for_each(|pod| drop(snapshot.set_pod(pod)));
    snapshot
}
fn passing(snapshot: &mut Snapshot, pod: &PodInfo) -> String {
    let plugin = InterPodAffinity::default();
    plugin.prepare(snapshot, &pod.class);
    let inclusion = Inclusion::default();
    let cycle = Cycle { snapshot, class: &pod.class, inclusion: &inclusion };
    let filter = plugin.filter(&cycle);
    let passes = |node: &&NodeInfo| filter.as_ref().is_none_or(|f| f.check(node).is_ok());
    snapshot.nodes().filter(passes).map(NodeInfo::name).collect::<Vec<_>>().join(" ")
}
fn scores(plugin: &InterPodAffinity, snapshot: &mut Snapshot, pod: &PodInfo) -> Option<Vec<i64>> {
    plugin.prepare(snapshot, &pod.class);
    let inclusion = Inclusion::default();
    let cycle = Cycle { snapshot, class: &pod.class, inclusion: &inclusion };
    let nodes: Vec<NodeId> = snapshot.nodes().map(|n| n.id).collect();
    let scorer = plugin.scorer(&cycle, &nodes)?;
    let mut scores: Vec<i64> = snapshot.nodes().map(|n| scorer.score(n)).collect();
    scorer.normalize().apply(&nodes, &mut scores);
    Some(scores)
}

#[test]
fn required_table() {
    let db = |node: &str| of("db", node, "app=db", Affinity::default());
    let web = |affinity| of("a", "", "app=web", affinity);
    let cases = [
        ("near one that is there", web(near(&["app=db"])), vec![db("n1")], "n1 n2"),
        ("near one that is nowhere", web(near(&["app=db"])), vec![], ""),
        ("near one that is in no zone", web(near(&["app=db"])), vec![db("n4")], ""),
        ("the first of its kind", web(near(&["app=web"])), vec![], "n1 n2 n3"),
        ("the second of its kind", web(near(&["app=web"])), vec![of("b", "n3", "app=web", near(&["app=web"]))], "n3"),
        (
            "both terms by one pod",
            web(near(&["app=db", "tier=x"])),
            vec![of("db", "n3", "app=db,tier=x", near(&[]))],
            "n3",
        ),
        (
            "both terms, but by two pods",
            web(near(&["app=db", "tier=x"])),
            vec![db("n3"), of("x", "n3", "tier=x", near(&[]))],
            "",
        ),
        ("apart from one that is there", web(apart("app=db")), vec![db("n1")], "n3 n4"),
        ("apart from one that is nowhere", web(apart("app=db")), vec![], "n1 n2 n3 n4"),
        ("apart from one in no zone", web(apart("app=db")), vec![db("n4")], "n1 n2 n3 n4"),
        ("one there wants to be apart", web(near(&[])), vec![of("m", "n3", "", apart("app=web"))], "n1 n2 n4"),
        ("one there minds others", web(near(&[])), vec![of("m", "n3", "", apart("app=db"))], "n1 n2 n3 n4"),
        ("one there only prefers it", web(near(&[])), vec![of("m", "n3", "", prefers(-9, "app=web"))], "n1 n2 n3 n4"),
    ];
    for (why, pod, there, expected) in cases {
        assert_eq!(passing(&mut cluster(&there), &pod), expected, "{why}");
    }
}

#[test]
fn whole_decisions_say_why() {
    let decided = |snapshot: &mut Snapshot, pod: &PodInfo| match decide(
        (0, &Profile::default()),
        snapshot,
        &mut Views::default(),
        pod,
        0,
    ) {
        Decision::Refuse { why, .. } => why.split(" preemption").next().unwrap_or_default().to_owned(),
        other => format!("{other:?}"),
    };
    let there = [of("m1", "n1", "app=db", apart("app=web")), of("m2", "n3", "", apart("app=web"))];
    let mut snapshot = cluster(&there);
    snapshot.remove_node("n4");
    assert_eq!(
        decided(&mut snapshot, &of("a", "", "app=web", apart("app=db"))),
        "0/3 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules, \
         2 node(s) didn't match pod anti-affinity rules."
    );
    let near = of("b", "", "app=web", near(&["app=none"]));
    assert_eq!(decided(&mut snapshot, &near), "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
}

#[test]
fn preferences_of_both_sides_add_up() {
    let plugin = InterPodAffinity::default();
    let db = |node: &str| of("db", node, "app=db", Affinity::default());
    let web = |affinity| of("a", "", "app=web", affinity);
    let none = Affinity::default;
    let cases = [
        ("nobody has any", web(none()), vec![db("n1")], None),
        ("its own", web(prefers(10, "app=db")), vec![db("n1")], Some(vec![100, 100, 0, 0])),
        ("its own, apart", web(prefers(-10, "app=db")), vec![db("n1")], Some(vec![0, 0, 100, 100])),
        ("one there likes it", web(none()), vec![of("m", "n3", "", prefers(5, "app=web"))], Some(vec![0, 0, 100, 0])),
        (
            "one there does not",
            web(none()),
            vec![of("m", "n3", "", prefers(-5, "app=web"))],
            Some(vec![100, 100, 0, 100]),
        ),
        ("one there requires it", web(none()), vec![of("m", "n3", "", near(&["app=web"]))], Some(vec![0, 0, 100, 0])),
        (
            "one against the other",
            web(prefers(10, "app=db")),
            vec![db("n1"), of("m", "n3", "", prefers(5, "app=web"))],
            Some(vec![100, 100, 50, 0]),
        ),
        ("whom it prefers is nowhere", web(prefers(10, "app=none")), vec![db("n1")], None),
    ];
    for (why, pod, there, expected) in cases {
        assert_eq!(scores(&plugin, &mut cluster(&there), &pod), expected, "{why}");
    }
    let liked = || cluster(&[of("m", "n3", "", prefers(5, "app=web"))]);
    let ignoring = InterPodAffinity { ignore_preferred_terms_of_existing_pods: true, ..InterPodAffinity::default() };
    assert_eq!(scores(&ignoring, &mut liked(), &web(none())), None);
    let unmoved = InterPodAffinity { hard_pod_affinity_weight: 0, ..InterPodAffinity::default() };
    let required = || cluster(&[of("m", "n3", "", near(&["app=web"]))]);
    assert_eq!(scores(&unmoved, &mut required(), &web(none())), None);
}

#[test]
fn namespaces_are_chosen_by_their_labels() {
    let of_team = |team: &str| {
        let namespaces = Selector::parse(&format!("team={team}")).unwrap();
        let pods = PodSelector::new(vec![], namespaces, Selector::parse("app=db").unwrap());
        Affinity { required: vec![Term { pods, topology_key: "zone".into() }], ..Affinity::default() }
    };
    let mut db = of("db", "n3", "app=db", Affinity::default());
    db.class = Arc::new(PodClass { namespace: "data".into(), ..(*db.class).clone() });
    let mut snapshot = cluster(&[db]);
    let web = of("a", "", "app=web", of_team("a"));
    assert_eq!(passing(&mut snapshot, &web), "", "nothing is known of the namespace");
    snapshot.set_namespace("data", Some(labels("team=a")));
    assert_eq!(passing(&mut snapshot, &web), "n3");
    assert_eq!(passing(&mut snapshot, &of("b", "", "app=web", of_team("b"))), "");
}

fn other(class: &PodClass) -> Other<'_> {
    Other { class, deleting: false }
}

#[test]
fn what_if_pods_came_and_went() {
    let mut snapshot = cluster(&[of("db", "n1", "app=db", Affinity::default())]);
    let (plugin, pod) = (InterPodAffinity::default(), of("a", "", "app=web", apart("app=db")));
    plugin.prepare(&mut snapshot, &pod.class);
    snapshot.register_topology("zone");
    let inclusion = Inclusion::default();
    let cycle = Cycle { snapshot: &snapshot, class: &pod.class, inclusion: &inclusion };
    let mut filter = plugin.filter(&cycle).unwrap();
    let passes = |filter: &dyn Filter| -> Vec<bool> { snapshot.nodes().map(|n| filter.check(n).is_ok()).collect() };
    let db = of("x", "", "app=db", Affinity::default());
    let minds = of("m", "", "", apart("app=web"));
    assert_eq!(passes(&*filter), [false, false, true, true]);
    filter.remove(other(&db.class), NodeId(0));
    assert_eq!(passes(&*filter), [true; 4]);
    filter.add(other(&minds.class), NodeId(2));
    assert_eq!(passes(&*filter), [true, true, false, true]);
    filter.remove(other(&minds.class), NodeId(2));
    assert_eq!(passes(&*filter), [true; 4]);
}

#[test]
fn hints_table() {
    let snapshot = Snapshot::new();
    let assigned = |labels_of: &str, affinity| AssignedPod {
        class: of("x", "n1", labels_of, affinity).class,
        node: Arc::default(),
    };
    let added = |labels_of: &str| Event::PodAdded(assigned(labels_of, Affinity::default()));
    let removed = |labels_of: &str| Event::PodRemoved(assigned(labels_of, Affinity::default()));
    let node = |text: &str| Arc::new(crate::snapshot::NodeSpec { labels: labels(text), ..Default::default() });
    let cases = [
        ("one that it wants near comes", near(&["app=db"]), added("app=db"), true),
        ("another comes", near(&["app=db"]), added("app=x"), false),
        ("one that it minds goes", apart("app=db"), removed("app=db"), true),
        ("another goes", apart("app=db"), removed("app=x"), false),
        ("one that it minds comes", apart("app=db"), added("app=db"), false),
        ("one that minds it goes", near(&[]), Event::PodRemoved(assigned("", apart("app=web"))), true),
        ("a node comes", near(&["app=db"]), Event::NodeAdded(node("zone=a")), true),
        ("a node moves", near(&["app=db"]), Event::NodeUpdated { old: node("zone=a"), new: node("zone=b") }, true),
        ("a node stays", near(&["app=db"]), Event::NodeUpdated { old: node("zone=a"), new: node("zone=a") }, false),
        ("a namespace changes", near(&["app=db"]), Event::NamespaceUpdated("x".into()), true),
    ];
    for (why, affinity, event, helps) in cases {
        let pod = of("a", "", "app=web", affinity);
        assert_eq!(InterPodAffinity::default().hint(&snapshot, &pod.class, &event), Hint::when(helps), "{why}");
    }
}
