//! The core's way with pods: faults, outcomes that come late, nominations.

mod liveness;
mod volumes;

use super::*;
use crate::framework::{Cycle, Filter, Other, Plugin, Refusal};
use crate::pod::{Pending, PodClass};
use crate::profile::Enabled;
use crate::snapshot::tests::{node, of_class, pod};
use crate::snapshot::{NodeId, NodeInfo};

fn pending(uid: &str) -> PodInfo {
    PodInfo { uid: uid.into(), ..pod("a", "", 10) }
}
fn core() -> Core {
    let mut core = Core::named("me");
    core.node_changed("n1", Some(&node("n1", "4", "8Gi")));
    core
}

/// Panics over pods of priority 13.
#[derive(Clone, Debug)]
struct Faulty(i32);

impl Plugin for Faulty {
    fn name(&self) -> &'static str {
        "Faulty"
    }
    fn is_local(&self) -> bool {
        false
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        Some(Box::new(Self(cycle.class.priority)))
    }
}

impl Filter for Faulty {
    fn check(&self, _: &NodeInfo) -> Result<(), Refusal> {
        assert_ne!(self.0, 13, "a fault");
        Ok(())
    }
    fn add(&mut self, _: Other<'_>, _: NodeId) {}
    fn fork<'a>(&self) -> Box<dyn Filter + 'a>
    where
        Self: 'a,
    {
        Box::new(self.clone())
    }
}

#[test]
fn a_panic_over_one_pod_stops_no_other_is_counted_and_tried_again_later() {
    let before = panics::count(PANICS);
    let (mut core, now) = (core(), Instant::now());
    let faulty = Enabled { plugin: Arc::new(Faulty(0)), filters: true, scores: false, weight: 0 };
    core.profiles[0].1.plugins.push(faulty);
    let bad = of_class("a", "", PodClass { priority: 13, ..PodClass::default() });
    let good = PodInfo { key: Key::new("default", "b"), ..pending("two") };
    for pod in [&bad, &good] {
        core.pod_changed(&pod.key, Some(pod), now);
    }
    assert_eq!(core.next(now).as_ref(), Some(&bad.key));
    assert_eq!(core.decide(&bad.key, Some(&bad), now), None);
    assert_eq!(panics::count(PANICS), before + 1);
    assert_eq!(core.next(now).as_ref(), Some(&good.key));
    assert!(matches!(core.decide(&good.key, Some(&good), now), Some(Decision::Place { .. })));
    assert_eq!(core.next(now), None, "not before its backoff");
    assert_eq!(core.next(core.next_timer().unwrap()), Some(bad.key));
}

#[test]
fn what_came_of_a_pod_says_nothing_of_the_next_of_its_name() {
    let gone = ApiError::not_found("", "pods", "a");
    for result in [Ok(()), Err(&gone)] {
        let (mut core, now) = (core(), Instant::now());
        let (first, second) = (pending("one"), pending("two"));
        core.pod_changed(&first.key, Some(&first), now);
        let key = core.next(now).unwrap();
        assert!(matches!(core.decide(&key, Some(&first), now), Some(Decision::Place { .. })));
        core.pod_changed(&key, None, now);
        core.pod_changed(&key, Some(&second), now);
        core.settled(&key, "one", result, now);
        assert_eq!(core.next(now), Some(key), "the second still wants a node after {result:?}");
    }
}

#[test]
fn pods_of_others_and_gated_ones_are_left_alone() {
    let (mut core, now) = (core(), Instant::now());
    let others = |scheduler: &str, gates: &[&str]| {
        let gates = gates.iter().map(|gate| (*gate).to_owned()).collect();
        let class = PodClass { scheduler: scheduler.into(), gates, ..(*pod("a", "", 10).class).clone() };
        PodInfo { class: Arc::new(class), ..pending("one") }
    };
    for pod in [others("you", &[]), others("me", &["g"])] {
        core.pod_changed(&pod.key, Some(&pod), now);
        assert_eq!(core.next(now), None, "{:?}", pod.class);
        assert_eq!(core.waiting().1, pod.class.gates.len(), "gated ones are counted");
    }
    let open = others("me", &[]);
    core.pod_changed(&open.key, Some(&open), now);
    assert_eq!(core.waiting(), (Sizes { active: 1, ..Sizes::default() }, 0));
    assert_eq!(core.next(now), Some(open.key), "its gate is gone");
}

fn urgent(name: &str, node: &str, priority: i32, cpu: i64) -> PodInfo {
    let ask = pod(name, node, cpu).class.ask.clone();
    of_class(name, node, PodClass { priority, ask, ..PodClass::default() })
}

/// Decides on the next pod, which must be this one.
fn decided(core: &mut Core, pod: &PodInfo, now: Instant) -> Decision {
    assert_eq!(core.next(now).as_ref(), Some(&pod.key));
    core.decide(&pod.key, Some(pod), now).unwrap()
}

#[test]
fn room_is_made_for_a_pod_and_it_comes_when_its_victims_are_gone() {
    let (mut core, now) = (core(), Instant::now());
    let later = now + Backoff::default().max;
    let (victim, waits) = (urgent("low", "n1", 1, 3000), urgent("high", "", 9, 2000));
    core.pod_changed(&victim.key, Some(&victim), now);
    core.pod_changed(&waits.key, Some(&waits), now);
    core.wake(now);
    let Decision::Nominate { node, victims, why, .. } = decided(&mut core, &waits, now) else { panic!() };
    assert_eq!((node.as_str(), victims.len(), &victims[0].key), ("n1", 1, &victim.key));
    assert_eq!(why, "0/1 nodes are available: 1 Insufficient cpu.");
    let smaller = urgent("other", "", 8, 2500);
    core.pod_changed(&smaller.key, Some(&smaller), now);
    assert!(matches!(decided(&mut core, &smaller, now), Decision::Refuse { .. }), "the room is not for it");
    core.preempted(&waits.key, &waits.uid, true, now);
    core.pod_changed(&victim.key, None, later);
    core.wake(later);
    assert_eq!(decided(&mut core, &waits, later), Decision::Place { node: "n1".into() });
    assert!(matches!(decided(&mut core, &smaller, later), Decision::Refuse { .. }));
}

#[test]
fn a_new_leader_knows_who_was_nominated_and_forgets_it_with_the_pod() {
    let (mut core, now) = (core(), Instant::now());
    let shown = |node: Option<&str>| {
        let pending = Pending { nominated: node.map(str::to_owned), ..Pending::default() };
        PodInfo { pending: Some(Box::new(pending)), ..urgent("high", "", 9, 3000) }
    };
    let key = shown(None).key;
    let nominated = |core: &Core| core.snapshot.nominations.get(&key).map(|n| n.node.clone());
    core.pod_changed(&key, Some(&shown(Some("n1"))), now);
    assert_eq!(nominated(&core).as_deref(), Some("n1"));
    core.nominate(&key, Nomination { uid: "uid-high".into(), node: "n2".into(), class: shown(None).class });
    core.pod_changed(&key, Some(&shown(Some("n1"))), now);
    assert_eq!(nominated(&core).as_deref(), Some("n2"), "ours is not shown yet");
    core.pod_changed(&key, Some(&shown(None)), now);
    assert_eq!(nominated(&core), None, "somebody took it away");
    core.pod_changed(&key, Some(&shown(Some("n1"))), now);
    core.events.clear();
    core.pod_changed(&key, None, now);
    assert_eq!(nominated(&core), None);
    assert!(matches!(core.events[..], [Event::PodRemoved(_)]), "others may have its room: {:?}", core.events);
}

#[test]
fn a_nomination_outlives_a_placement_that_did_not_come_about() {
    let failed = ApiError::conflict("", "pods", "high", "it is not as it was");
    let shown = |node: Option<&str>| {
        let pending = Pending { nominated: node.map(str::to_owned), ..Pending::default() };
        PodInfo { pending: Some(Box::new(pending)), ..urgent("high", "", 9, 3000) }
    };
    // why, what the cluster shows before and while it is bound, what it is nominated for after that
    let cases = [
        ("not nominated", None, None, None),
        ("shown before", Some("n1"), Some("n1"), Some("n1")),
        ("shown while it is bound", None, Some("n1"), Some("n1")),
        ("taken away while it is bound", Some("n1"), None, None),
        ("placed elsewhere", Some("n2"), Some("n2"), Some("n2")),
    ];
    for (why, before, meanwhile, after) in cases {
        let (mut core, now) = (core(), Instant::now());
        let key = shown(None).key;
        let nominated = |core: &Core| core.snapshot.nominations.get(&key).map(|n| n.node.clone());
        core.pod_changed(&key, Some(&shown(before)), now);
        assert_eq!(decided(&mut core, &shown(before), now), Decision::Place { node: "n1".into() }, "{why}");
        core.pod_changed(&key, Some(&shown(meanwhile)), now);
        assert_eq!(nominated(&core), None, "{why}: what it takes is counted already");
        core.settled(&key, "uid-high", Err(&failed), now);
        assert_eq!(nominated(&core).as_deref(), after, "{why}");
        core.pod_changed(&key, None, now);
        assert_eq!(nominated(&core), None, "{why}: it is gone");
    }
}

#[test]
fn a_nomination_that_is_not_shown_yet_is_taken_back_too() {
    let (mut core, now) = (core(), Instant::now());
    let waits = urgent("high", "", 9, 5000);
    core.pod_changed(&waits.key, Some(&waits), now);
    let refused = |decision: &Decision| matches!(decision, Decision::Refuse { denominate: true, .. });
    let (uid, class) = (waits.uid.clone(), waits.class.clone());
    core.nominate(&waits.key, Nomination { uid, node: "n1".into(), class });
    assert!(refused(&decided(&mut core, &waits, now)), "no room can be made for it any more");
    assert_eq!(core.snapshot.nominations.get(&waits.key), None);
    let later = core.next_timer().unwrap();
    assert!(!refused(&decided(&mut core, &waits, later)), "once");
}
