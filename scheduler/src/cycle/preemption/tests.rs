//! Who has to go, and where, for a pod that fits nowhere.

use std::sync::Arc;

use corten_api::Key;
use corten_api::selector::Selector;
use k8s_openapi::api::core::v1::Node;

use crate::cycle::view::Views;
use crate::cycle::{Decision, decide};
use crate::pod::terms::Affinity;
use crate::pod::{PodClass, PodInfo};
use crate::profile::Profile;
use crate::snapshot::tests::{labelled, labels, node, of_class, pod, term};
use crate::snapshot::{Budget, Snapshot};

fn sized(name: &str, node: &str, priority: i32, cpu: i64, class: PodClass) -> PodInfo {
    let ask = pod(name, node, cpu).class.ask.clone();
    of_class(name, node, PodClass { priority, ask, ..class })
}
fn plain(name: &str, node: &str, priority: i32, cpu: i64) -> PodInfo {
    sized(name, node, priority, cpu, PodClass::default())
}
fn app(name: &str, node: &str, priority: i32, cpu: i64) -> PodInfo {
    sized(name, node, priority, cpu, PodClass { labels: labels("app=web"), ..PodClass::default() })
}
fn cluster(nodes: &[Node], there: &[PodInfo]) -> Snapshot {
    let mut snapshot = Snapshot::new();
    nodes.iter().for_each(|node| drop(snapshot.set_node(node)));
    there.iter().for_each(|pod| drop(snapshot.set_pod(pod)));
    snapshot
}
fn decided(snapshot: &mut Snapshot, pod: &PodInfo) -> Decision {
    decide((0, &Profile::default()), snapshot, &mut Views::default(), pod, 0)
}
/// `node: victim victim`, or what is said after `preemption: `.
fn told(decision: Decision) -> String {
    match decision {
        Decision::Place { node } => format!("placed on {node}"),
        Decision::Nominate { node, victims, .. } => {
            let victims: Vec<&str> = victims.iter().map(|v| v.key.name.as_str()).collect();
            format!("{node}: {}", victims.join(" "))
        }
        Decision::Refuse { why, .. } => why.split("preemption: ").nth(1).unwrap_or("no word of preemption").to_owned(),
    }
}
fn two() -> Vec<Node> {
    vec![node("n1", "1", "8Gi"), node("n2", "1", "8Gi")]
}
fn since(secs: i64, pod: PodInfo) -> PodInfo {
    PodInfo { started_secs: secs, ..pod }
}

#[test]
fn victims_table() {
    let high = || plain("high", "", 9, 500);
    let cases = [
        (
            "only those that must go",
            high(),
            vec![plain("a", "n1", 1, 400), plain("b", "n1", 2, 400), plain("x", "n2", 9, 900)],
            "n1: a",
        ),
        (
            "the less important one, though the other would do",
            high(),
            vec![
                since(10, plain("old", "n1", 1, 500)),
                since(20, plain("new", "n1", 1, 500)),
                plain("x", "n2", 9, 900),
            ],
            "n1: new",
        ),
        (
            "the node whose victims are less important",
            high(),
            vec![plain("a", "n1", 3, 900), plain("b", "n2", 1, 900)],
            "n2: b",
        ),
        (
            "the node with fewer victims",
            plain("high", "", 9, 900),
            vec![plain("a", "n1", 1, 450), plain("b", "n1", 1, 450), plain("c", "n2", 1, 900)],
            "n2: c",
        ),
        (
            "the one that began last",
            high(),
            vec![since(10, plain("a", "n1", 1, 900)), since(20, plain("b", "n2", 1, 900))],
            "n2: b",
        ),
        (
            "nobody of its own priority",
            high(),
            vec![plain("a", "n1", 9, 900), plain("b", "n2", 9, 900)],
            "0/2 nodes are available: 2 No preemption victims found for incoming pod.",
        ),
        (
            "not enough would go",
            plain("high", "", 9, 900),
            vec![plain("a", "n1", 1, 450), plain("b", "n1", 9, 450), plain("c", "n2", 9, 900)],
            "0/2 nodes are available: 1 Insufficient cpu, 1 No preemption victims found for incoming pod.",
        ),
        (
            "more than there is",
            plain("high", "", 9, 1100),
            vec![plain("a", "n1", 1, 900)],
            "0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
        ),
        ("room without anybody going", high(), vec![plain("a", "n1", 1, 900)], "placed on n2"),
    ];
    for (why, pod, there, expected) in cases {
        assert_eq!(told(decided(&mut cluster(&two(), &there), &pod)), expected, "{why}");
    }
}

#[test]
fn a_budget_is_broken_only_where_nothing_else_would_do() {
    let budget = |allowed| Budget {
        selector: Selector::parse("app=web").unwrap(),
        disruptions_allowed: allowed,
        disrupted: Default::default(),
    };
    let key = Key::new("default", "web");
    let high = plain("high", "", 9, 500);
    let mut snapshot = cluster(&two(), &[app("a", "n1", 1, 900), plain("b", "n2", 5, 900)]);
    assert_eq!(told(decided(&mut snapshot, &high)), "n1: a", "nobody protects it");
    snapshot.budgets.insert(key.clone(), budget(0));
    assert_eq!(told(decided(&mut snapshot, &high)), "n2: b", "more important, but not protected");
    snapshot.budgets.insert(key.clone(), budget(1));
    assert_eq!(told(decided(&mut snapshot, &high)), "n1: a", "one may go");
    let mut counted = budget(0);
    counted.disrupted.insert("a".into());
    snapshot.budgets.insert(key.clone(), counted);
    assert_eq!(told(decided(&mut snapshot, &high)), "n1: a", "its going is counted already");
    snapshot.budgets.insert(Key::new("other", "web"), budget(0));
    assert_eq!(told(decided(&mut snapshot, &high)), "n1: a", "another namespace's");
    let mut alone = cluster(&two()[..1], &[app("a", "n1", 1, 450), plain("b", "n1", 1, 450)]);
    alone.budgets.insert(key, budget(0));
    assert_eq!(told(decided(&mut alone, &high)), "n1: b", "of one node those that are protected stay");
    let all = plain("all", "", 9, 1000);
    assert_eq!(told(decided(&mut alone, &all)), "n1: a b", "there is no other way");
}

#[test]
fn a_pod_that_never_preempts_waits() {
    let class = PodClass { never_preempts: true, ..PodClass::default() };
    let polite = sized("polite", "", 9, 500, class);
    let mut snapshot = cluster(&two(), &[plain("a", "n1", 1, 900), plain("b", "n2", 1, 900)]);
    assert_eq!(told(decided(&mut snapshot, &polite)), "not eligible due to preemptionPolicy=Never.");
    let profile = Profile { preemption: None, ..Profile::default() };
    let high = plain("high", "", 9, 500);
    let decision = decide((0, &profile), &mut snapshot, &mut Views::default(), &high, 0);
    assert_eq!(told(decision), "no word of preemption", "it is disabled");
}

#[test]
fn a_pod_whose_victims_are_going_waits_for_them() {
    let leaving = PodInfo { deleting: true, preempted: true, ..plain("a", "n1", 1, 900) };
    let high = plain("high", "", 9, 500);
    let mut snapshot = cluster(&two(), &[leaving, plain("b", "n2", 1, 900)]);
    let nomination = crate::snapshot::nominations::Nomination {
        uid: high.uid.clone(),
        node: "n1".into(),
        class: Arc::clone(&high.class),
    };
    snapshot.nominations.set(&high.key, nomination);
    assert_eq!(told(decided(&mut snapshot, &high)), "not eligible due to a terminating pod on the nominated node.");
    snapshot.set_node(&labelled("n3", &[]));
    assert_eq!(told(decided(&mut snapshot, &high)), "placed on n3", "it goes where there is room");
    snapshot.remove_node("n3");
    let cordoned =
        Node { spec: serde_json::from_value(serde_json::json!({"unschedulable": true})).unwrap(), ..two()[0].clone() };
    snapshot.set_node(&cordoned);
    assert_eq!(told(decided(&mut snapshot, &high)), "n2: b", "waiting there does not help any more");
}

#[test]
fn the_nominated_who_are_less_urgent_lose_their_place() {
    let (low, high) = (plain("low", "", 5, 500), plain("high", "", 9, 500));
    let mut snapshot = cluster(&two()[..1], &[plain("a", "n1", 1, 900)]);
    for pod in [&low, &plain("higher", "", 20, 10)] {
        let (uid, class) = (pod.uid.clone(), Arc::clone(&pod.class));
        snapshot.nominations.set(&pod.key, crate::snapshot::nominations::Nomination { uid, node: "n1".into(), class });
    }
    let Decision::Nominate { demoted, .. } = decided(&mut snapshot, &high) else { panic!() };
    assert_eq!(demoted.iter().map(|pod| pod.key.name.as_str()).collect::<Vec<_>>(), ["low"]);
}

#[test]
fn pods_that_mind_a_pod_go_for_it() {
    let minds = |name: &str, node: &str, priority| {
        let affinity = Affinity { anti: vec![term("app=web", "zone")], ..Affinity::default() };
        sized(name, node, priority, 10, PodClass { affinity, ..PodClass::default() })
    };
    let zone = |name: &str, zone: &str| labelled(name, &[("zone", zone)]);
    let mut snapshot = cluster(&[zone("n1", "a"), zone("n2", "b")], &[minds("m1", "n1", 1), minds("m2", "n2", 20)]);
    let web = app("web", "", 9, 10);
    assert_eq!(told(decided(&mut snapshot, &web)), "n1: m1");
    let mut shared = cluster(&[zone("n1", "a"), zone("n2", "a")], &[minds("m1", "n1", 1), minds("m2", "n2", 1)]);
    assert_eq!(
        told(decided(&mut shared, &web)),
        "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.",
        "one node's pods alone would not be enough"
    );
}
