//! What is counted where, however pods and nodes come, change and go.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;

use super::counts::{OwnedTerm, TermKind};
use super::topology::NO_DOMAIN;
use super::*;
use crate::pod::terms::{Affinity, PodSelector, Term};
use crate::pod::{Ask, HostPort, PodInfo};

pub(crate) fn node(name: &str, cpu: &str, memory: &str) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"}}}))
    .unwrap()
}
pub(crate) fn labelled(name: &str, labels: &[(&str, &str)]) -> Node {
    let mut node = node(name, "4", "8Gi");
    let all = node.metadata.labels.get_or_insert_default();
    all.extend(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    node
}
pub(crate) fn pod(name: &str, node: &str, cpu_millis: i64) -> PodInfo {
    let non_zero = [cpu_millis, 0];
    asking(name, node, Ask { requests: [("cpu".to_owned(), cpu_millis)].into(), non_zero, ..Ask::default() })
}
pub(crate) fn asking(name: &str, node: &str, ask: Ask) -> PodInfo {
    let class = PodClass { ask: Arc::new(ask), ..PodClass::default() };
    of_class(name, node, class)
}
/// In the namespace `default`, and of the scheduler `me`.
pub(crate) fn of_class(name: &str, node: &str, class: PodClass) -> PodInfo {
    let class = PodClass { namespace: "default".into(), scheduler: "me".into(), ..class };
    PodInfo {
        key: Key::new("default", name),
        uid: format!("uid-{name}"),
        node: (!node.is_empty()).then(|| node.into()),
        class: Arc::new(class),
        pending: node.is_empty().then(Box::default),
        ..PodInfo::default()
    }
}
pub(crate) fn labels(text: &str) -> Labels {
    text.split(',').filter_map(|part| part.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
}
/// About pods of the namespace `default` that this selector matches.
pub(crate) fn term(selector: &str, topology_key: &str) -> Term {
    let pods = PodSelector::within("default", Selector::parse(selector).unwrap());
    Term { pods, topology_key: topology_key.into() }
}

fn free_cpu(snapshot: &Snapshot) -> Vec<i64> {
    snapshot.nodes().map(|n| n.free(CPU)).collect()
}
/// What happened, in short.
fn told(events: impl IntoIterator<Item = Event>) -> String {
    let word = |event| match event {
        Event::NodeAdded(_) => "node added",
        Event::NodeUpdated { .. } => "node updated",
        Event::NodeRemoved(_) => "node removed",
        Event::PodAdded(_) => "added",
        Event::PodUpdated { .. } => "updated",
        Event::PodRemoved(_) => "removed",
        Event::NamespaceUpdated(_) => "namespace",
        Event::ClaimChanged(_) => "claim",
        Event::VolumeChanged { .. } => "volume",
        Event::StorageClassChanged(_) => "class",
        Event::VolumeLimitsChanged { .. } => "limits",
    };
    events.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

#[test]
fn an_assumption_is_counted_once_however_it_ends() {
    let mut snapshot = Snapshot::new();
    assert_eq!(told(snapshot.set_node(&node("n1", "2", "1Gi"))), "node added");
    let pending = pod("a", "", 500);
    assert_eq!(told(snapshot.assume(&pending, "n1")), "added");
    assert_eq!(free_cpu(&snapshot), [1500]);
    assert_eq!(told(snapshot.set_pod(&pending)), "");
    assert_eq!(free_cpu(&snapshot), [1500], "an old copy of the pod does not undo it");
    assert_eq!(told(snapshot.set_pod(&pod("a", "n1", 500))), "");
    assert_eq!(free_cpu(&snapshot), [1500], "confirmed");
    assert_eq!(told(snapshot.forget(&pending.key, &pending.uid)), "", "a confirmed pod is not forgotten");
    assert_eq!(told(snapshot.remove_pod(&pending.key)), "removed");
    assert_eq!(free_cpu(&snapshot), [2000]);
}

#[test]
fn pods_of_an_unknown_node_count_when_it_comes() {
    let mut snapshot = Snapshot::new();
    snapshot.set_pod(&pod("a", "n1", 500));
    assert_eq!((snapshot.nodes().count(), snapshot.len()), (0, 0));
    snapshot.set_node(&node("n1", "2", "1Gi"));
    assert_eq!(free_cpu(&snapshot), [1500]);
    assert_eq!(told(snapshot.remove_node("n1")), "node removed");
    assert_eq!((snapshot.nodes().count(), snapshot.len()), (0, 0));
    assert_eq!(told(snapshot.set_node(&node("n1", "1", "1Gi"))), "node added");
    assert_eq!(free_cpu(&snapshot), [500]);
    snapshot.remove_pod(&Key::new("default", "a"));
    snapshot.remove_node("n1");
    assert!(snapshot.by_name.is_empty(), "no row is kept for a node that is gone and has no pods");
    assert!(snapshot.classes.is_empty(), "and no class");
}

#[test]
fn an_id_is_given_again() {
    let mut snapshot = Snapshot::new();
    for round in 0..3 {
        for name in ["a", "b"] {
            snapshot.set_node(&node(&format!("{name}{round}"), "2", "1Gi"));
        }
        for name in ["a", "b"] {
            snapshot.remove_node(&format!("{name}{round}"));
        }
    }
    assert_eq!((snapshot.id_end(), snapshot.len()), (2, 0));
}

#[test]
fn a_finished_pod_takes_nothing() {
    let mut snapshot = Snapshot::new();
    snapshot.set_node(&node("n1", "2", "1Gi"));
    snapshot.set_pod(&pod("a", "n1", 500));
    let done = PodInfo { terminal: true, ..pod("a", "n1", 500) };
    assert_eq!(told(snapshot.set_pod(&done)), "removed");
    assert_eq!(free_cpu(&snapshot), [2000]);
}

#[test]
fn a_node_that_stays_as_it_is_is_no_event() {
    let mut snapshot = Snapshot::new();
    let mut with_image = node("n1", "2", "1Gi");
    let images = json!([{"names": ["nginx:1", "nginx@sha256:x"], "sizeBytes": 100}]);
    with_image.status.get_or_insert_default().images = serde_json::from_value(images).unwrap();
    snapshot.set_node(&with_image);
    assert_eq!(told(snapshot.set_node(&with_image)), "");
    let image = snapshot.images().id("nginx:1").unwrap();
    assert_eq!((snapshot.images().nodes(image), snapshot.node(NodeId(0)).spec.images.len()), (1, 2));
    let mut extended = with_image.clone();
    let status = extended.status.get_or_insert_default();
    status.allocatable.get_or_insert_default().insert("x/gpu".into(), Quantity("2".into()));
    status.images = None;
    let Some(Event::NodeUpdated { old, new }) = snapshot.set_node(&extended) else { panic!() };
    let gpu = snapshot.column("x/gpu").unwrap();
    assert_eq!((old.allocatable(gpu), new.allocatable(gpu)), (0, 2));
    assert_eq!(snapshot.images().id("nginx:1"), None, "an image that no node has is forgotten");
    assert_eq!(told(snapshot.set_node(&extended)), "");
}

#[test]
fn what_a_pod_takes_it_gives_back_when_it_moves_or_goes() {
    let mut snapshot = Snapshot::new();
    for name in ["n1", "n2"] {
        snapshot.set_node(&node(name, "2", "1Gi"));
    }
    let port = |port| HostPort { ip: String::new(), protocol: "TCP".into(), port };
    let requests = [("cpu", 500), ("memory", 100), ("x/gpu", 2)].map(|(name, n)| (name.to_owned(), n)).into();
    let a = asking("a", "n1", Ask { requests, non_zero: [500, 100], host_ports: vec![port(80)], ..Ask::default() });
    let b = asking("b", "n1", Ask { non_zero: [100, 200], host_ports: vec![port(81)], ..Ask::default() });
    let before: Vec<NodeInfo> = snapshot.nodes().cloned().collect();
    assert_eq!(told(snapshot.set_pod(&a)), "added");
    assert_eq!(told(snapshot.set_pod(&b)), "added");
    let of = |snapshot: &Snapshot, at: u32| snapshot.node(NodeId(at)).clone();
    let n1 = of(&snapshot, 0);
    assert_eq!(n1.taken, [500, 100, 2, 2], "cpu, memory, pods, and a column for what is met later");
    assert_eq!(n1.free(3), -2, "which the node has none of");
    assert_eq!((n1.non_zero, n1.host_ports), ([600, 300], vec![port(80), port(81)]));

    assert_eq!(told(snapshot.set_pod(&a)), "", "nothing new");
    assert_eq!(of(&snapshot, 0).taken, [500, 100, 2, 2]);
    let moved = PodInfo { node: Some("n2".into()), ..a.clone() };
    assert_eq!(told(snapshot.set_pod(&moved)), "removed, added", "its place is free");
    let (n1, n2) = (of(&snapshot, 0), of(&snapshot, 1));
    assert_eq!((n1.taken, n1.host_ports), (vec![0, 0, 1, 0], vec![port(81)]));
    assert_eq!((n2.taken, n2.host_ports, n2.non_zero), (vec![500, 100, 1, 2], vec![port(80)], [500, 100]));

    let smaller = PodInfo { class: asking("a", "n2", Ask::default()).class, ..moved.clone() };
    assert_eq!(told(snapshot.set_pod(&smaller)), "updated", "resized in place");
    assert_eq!(of(&snapshot, 1).taken, [0, 0, 1, 0]);
    let next = PodInfo { uid: "next".into(), ..smaller };
    assert_eq!(told(snapshot.set_pod(&next)), "removed, added", "another of its name");
    for name in ["a", "b"] {
        assert_eq!(told(snapshot.remove_pod(&Key::new("default", name))), "removed");
        assert_eq!(told(snapshot.remove_pod(&Key::new("default", name))), "", "once");
    }
    for (now, before) in snapshot.nodes().zip(before) {
        let zero = NodeInfo { taken: before.taken.clone(), ..now.clone() };
        assert_eq!(zero, before);
        assert!(now.taken.iter().all(|n| *n == 0), "{now:?}");
    }
}

#[test]
fn a_node_that_is_gone_is_kept_for_as_long_as_pods_name_it() {
    let mut snapshot = Snapshot::new();
    snapshot.set_node(&node("n1", "2", "1Gi"));
    snapshot.set_pod(&pod("a", "n1", 10));
    snapshot.set_pod(&pod("b", "n1", 10));
    snapshot.remove_node("n1");
    assert_eq!(told(snapshot.remove_node("n1")), "", "once");
    snapshot.remove_node("n9");
    let left = |snapshot: &Snapshot| (snapshot.by_name.len(), snapshot.nodes().count());
    assert_eq!(left(&snapshot), (1, 0));
    snapshot.remove_pod(&Key::new("default", "a"));
    assert_eq!(left(&snapshot), (1, 0), "one pod more");
    snapshot.remove_pod(&Key::new("default", "b"));
    assert_eq!(left(&snapshot), (0, 0));
    snapshot.set_node(&node("n1", "2", "1Gi"));
    snapshot.set_pod(&pod("a", "n1", 10));
    snapshot.remove_pod(&Key::new("default", "a"));
    assert_eq!(left(&snapshot), (1, 1), "one that is there stays without pods");
    snapshot.remove_node("n1");
    assert_eq!(left(&snapshot), (0, 0));
}

#[test]
fn an_assumption_is_its_pods_own() {
    let mut snapshot = Snapshot::new();
    snapshot.set_node(&node("n1", "2", "1Gi"));
    let a = pod("a", "", 500);
    snapshot.assume(&a, "n1");
    assert!(snapshot.is_assumed(&a.key, &a.uid) && !snapshot.is_assumed(&a.key, "other"));
    assert_eq!(told(snapshot.forget(&a.key, "other")), "", "another of its name");
    assert_eq!(free_cpu(&snapshot), [1500]);
    assert_eq!(told(snapshot.forget(&a.key, &a.uid)), "removed");
    assert_eq!((free_cpu(&snapshot), snapshot.is_assumed(&a.key, &a.uid)), (vec![2000], false));
    snapshot.assume(&a, "n1");
    let other = PodInfo { uid: "other".into(), ..a.clone() };
    assert_eq!(told(snapshot.set_pod(&other)), "removed", "it was replaced");
    snapshot.assume(&a, "n1");
    let ended = PodInfo { terminal: true, ..a.clone() };
    assert_eq!(told(snapshot.set_pod(&ended)), "removed", "it ended without a node");
    snapshot.assume(&a, "n1");
    snapshot.set_pod(&pod("a", "n1", 500));
    assert!(!snapshot.is_assumed(&a.key, &a.uid), "the cluster shows it bound");
    assert_eq!(told(snapshot.set_pod(&a)), "removed", "no assumption any more: what the cluster shows counts");
}

#[test]
fn the_least_urgent_pod_is_known() {
    let mut snapshot = Snapshot::new();
    let of = |name: &str, priority| of_class(name, "n1", PodClass { priority, ..PodClass::default() });
    assert_eq!(snapshot.lowest_priority(), None);
    for (name, priority, lowest) in [("a", 5, 5), ("b", -3, -3), ("c", -3, -3), ("a", -7, -7), ("a", 5, -3)] {
        snapshot.set_pod(&of(name, priority));
        assert_eq!(snapshot.lowest_priority(), Some(lowest), "{name} {priority}");
    }
    for (name, lowest) in [("b", Some(-3)), ("c", Some(5)), ("a", None)] {
        snapshot.remove_pod(&Key::new("default", name));
        assert_eq!(snapshot.lowest_priority(), lowest, "without {name}");
    }
}

fn counted(selector: &str, living: bool) -> Counted {
    Counted { selectors: vec![term(selector, "").pods], living }
}
fn web(name: &str, node: &str) -> PodInfo {
    of_class(name, node, PodClass { labels: labels("app=web"), ..PodClass::default() })
}

#[test]
fn pods_are_counted_from_before_and_after_somebody_asks() {
    let mut snapshot = Snapshot::new();
    for name in ["n1", "n2"] {
        snapshot.set_node(&node(name, "2", "1Gi"));
    }
    let counts = |snapshot: &Snapshot, living| {
        let by_node = snapshot.counts().by_node(&counted("app=web", living)).unwrap();
        [0, 1].map(|at| by_node.get(at).copied().unwrap_or(0))
    };
    snapshot.set_pod(&web("before", "n1"));
    snapshot.set_pod(&pod("other", "n1", 10));
    snapshot.set_pod(&PodInfo { deleting: true, ..web("leaving", "n2") });
    [true, false].into_iter().for_each(|living| snapshot.register_count(counted("app=web", living)));
    assert_eq!((counts(&snapshot, true), counts(&snapshot, false)), ([1, 0], [1, 1]));
    snapshot.assume(&web("after", ""), "n2");
    assert_eq!((counts(&snapshot, true), counts(&snapshot, false)), ([1, 1], [1, 2]));
    let leaves = PodInfo { deleting: true, ..web("before", "n1") };
    assert_eq!(told(snapshot.set_pod(&leaves)), "updated");
    assert_eq!((counts(&snapshot, true), counts(&snapshot, false)), ([0, 1], [1, 2]));
    for name in ["before", "leaving", "after", "other"] {
        snapshot.remove_pod(&Key::new("default", name));
    }
    assert_eq!((counts(&snapshot, true), counts(&snapshot, false)), ([0, 0], [0, 0]));
    snapshot.set_pod(&web("again", "n2"));
    assert_eq!(counts(&snapshot, true), [0, 1], "a class that was gone and is back");
}

#[test]
fn a_namespace_that_changes_its_labels_changes_who_is_counted() {
    let mut snapshot = Snapshot::new();
    snapshot.set_node(&node("n1", "2", "1Gi"));
    snapshot.set_pod(&web("a", "n1"));
    let of_team = Selector::parse("team=a").unwrap();
    let counted = Counted { selectors: vec![PodSelector::new(vec![], of_team, Selector::everything())], living: false };
    let count = |snapshot: &mut Snapshot| {
        snapshot.register_count(counted.clone());
        snapshot.counts().by_node(&counted).unwrap().iter().sum::<u32>()
    };
    assert_eq!(count(&mut snapshot), 0, "nothing is known of the namespace");
    assert_eq!(told(snapshot.set_namespace("default", Some(labels("team=a")))), "namespace");
    assert_eq!(told(snapshot.set_namespace("default", Some(labels("team=a")))), "");
    assert_eq!(count(&mut snapshot), 1);
    snapshot.set_namespace("default", None);
    assert_eq!(count(&mut snapshot), 0);
}

#[test]
fn terms_of_pods_here_are_found_by_whom_they_are_about() {
    let mut snapshot = Snapshot::new();
    snapshot.set_node(&node("n1", "2", "1Gi"));
    let minds = |name: &str| {
        let affinity = Affinity { anti: vec![term("app=web", "zone")], ..Affinity::default() };
        of_class(name, "n1", PodClass { affinity, labels: labels(&format!("own={name}")), ..PodClass::default() })
    };
    let about = |snapshot: &Snapshot, class: &PodClass| -> Vec<(OwnedTerm, u32)> {
        let terms = snapshot.counts().terms_about(class, None);
        terms.map(|(owned, pods)| (owned.clone(), pods.values().sum())).collect()
    };
    let (web, other) = (web("w", "").class, pod("o", "", 1).class);
    snapshot.set_pod(&minds("a"));
    snapshot.set_pod(&minds("b"));
    let owned = OwnedTerm { term: term("app=web", "zone"), kind: TermKind::RequiredAnti };
    assert_eq!(about(&snapshot, &web), [(owned.clone(), 2)], "one term, however their labels differ");
    assert!(about(&snapshot, &other).is_empty());
    let elsewhere = PodClass { namespace: "else".into(), ..(*web).clone() };
    assert!(about(&snapshot, &elsewhere).is_empty());
    snapshot.remove_pod(&Key::new("default", "a"));
    assert_eq!(about(&snapshot, &web), [(owned, 1)]);
    snapshot.remove_pod(&Key::new("default", "b"));
    assert!(about(&snapshot, &web).is_empty());
    snapshot.set_pod(&minds("a"));
    assert_eq!(about(&snapshot, &web).len(), 1);
}

#[test]
fn domains_follow_the_labels_of_nodes() {
    let mut snapshot = Snapshot::new();
    snapshot.set_node(&labelled("n1", &[("zone", "a")]));
    snapshot.register_topology("zone");
    snapshot.set_node(&labelled("n2", &[("zone", "b")]));
    snapshot.set_node(&labelled("n3", &[("zone", "a")]));
    snapshot.set_node(&labelled("n4", &[]));
    let domains = |snapshot: &Snapshot| {
        let zone = snapshot.topologies().get("zone").unwrap();
        [0, 1, 2, 3].map(|at| zone.domain(NodeId(at)))
    };
    assert_eq!(domains(&snapshot), [1, 2, 1, NO_DOMAIN]);
    assert_eq!(snapshot.topologies().get("zone").unwrap().sum(&[1, 2, 3, 4]), [0, 4, 2]);
    snapshot.set_node(&labelled("n2", &[("zone", "c")]));
    assert_eq!(domains(&snapshot), [1, 2, 1, NO_DOMAIN], "the number of a domain without nodes is given again");
    snapshot.set_node(&labelled("n2", &[("zone", "a")]));
    snapshot.remove_node("n1");
    assert_eq!(domains(&snapshot), [NO_DOMAIN, 1, 1, NO_DOMAIN]);
}

#[test]
fn who_is_far_behind_looks_at_all_nodes() {
    let mut snapshot = Snapshot::new();
    snapshot.set_node(&node("n1", "2", "1Gi"));
    let seen = snapshot.changes_seen();
    snapshot.set_pod(&pod("a", "n1", 1));
    let since = |snapshot: &Snapshot| snapshot.changed_since(seen).map(|nodes| nodes.collect::<Vec<_>>());
    assert_eq!(since(&snapshot), Some(vec![NodeId(0)]));
    for n in 0..CHANGES_MAX {
        snapshot.set_pod(&pod(&format!("p{n}"), "n1", 1));
    }
    assert_eq!(since(&snapshot), None);
    assert_eq!(snapshot.changed_since(snapshot.changes_seen()).unwrap().count(), 0);
}
