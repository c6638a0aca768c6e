//! The table of replica decisions.

use corten_api::Key;

use super::*;
use crate::pods::Phase;

const NOW: i64 = 1_000_000;

fn at(secs_ago: i64) -> Option<Timestamp> {
    Timestamp::from_second(NOW - secs_ago).ok()
}

fn pod(name: &str) -> SeenPod {
    SeenPod {
        key: Key::new("ns", name),
        uid: format!("uid-{name}"),
        phase: Phase::Running,
        node: Some("n1".into()),
        created: at(100),
        ready_since: at(50),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        ..SeenPod::default()
    }
}

fn decided(wanted: i32, pods: Vec<SeenPod>, change: impl FnOnce(&mut Observed<'_>)) -> Decision {
    let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
    let labels = [("app".to_owned(), "web".to_owned())].into();
    let neighbours = BTreeMap::from([("crowded".to_owned(), 2), ("n1".to_owned(), 1)]);
    let mut seen = Observed {
        now: Timestamp::from_second(NOW).unwrap(),
        wanted,
        generation: 3,
        deleting: false,
        min_ready_secs: 0,
        template_labels: &labels,
        pods: &pods,
        neighbours: &neighbours,
    };
    change(&mut seen);
    decide(&seen)
}

fn names(scale: &Scale) -> String {
    match scale {
        Scale::Keep => "keep".into(),
        Scale::Create(n) => format!("create {n}"),
        Scale::Delete(pods) => {
            format!("delete {}", pods.iter().map(|p| p.key.name.as_str()).collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn scale_table() {
    let ended = SeenPod { phase: Phase::Failed, ..pod("ended") };
    let going = SeenPod { deleting: at(1), ..pod("going") };
    let cases = [
        ("none yet: create all", 3, vec![], "create 3"),
        ("as wanted: nothing", 1, vec![pod("a")], "keep"),
        ("an ended pod is no replica", 1, vec![ended], "create 1"),
        ("a pod on its way out is no replica", 1, vec![going.clone()], "create 1"),
        ("a pod on its way out is not deleted again", 0, vec![going], "keep"),
        ("scaled to nothing: all go", 0, vec![pod("a"), pod("b")], "delete a b"),
        ("a bounded burst", 2000, vec![], "create 500"),
        ("some are there", 5, vec![pod("a"), pod("b")], "create 3"),
        ("one too many", 1, vec![pod("b"), pod("a")], "delete a"),
        ("fewer than nothing are none", -1, vec![pod("a")], "delete a"),
    ];
    for (why, wanted, pods, expected) in cases {
        assert_eq!(names(&decided(wanted, pods, |_| {}).scale), expected, "{why}");
    }
    assert_eq!(decided(3, vec![], |s| s.deleting = true).scale, Scale::Keep, "a set on its way out makes no pods");
}

#[test]
fn the_first_to_go_table() {
    let keep = || pod("keep");
    let cases = [
        ("without a node", SeenPod { node: None, ..pod("x") }, keep()),
        ("pending", SeenPod { phase: Phase::Pending, ..pod("x") }, keep()),
        ("not ready", SeenPod { ready_since: None, ..pod("x") }, keep()),
        ("cheaper to delete", SeenPod { deletion_cost: -1, ..pod("x") }, keep()),
        ("doubled up on a node", SeenPod { node: Some("crowded".into()), ..pod("x") }, keep()),
        ("ready for a shorter time", SeenPod { ready_since: at(5), ..pod("x") }, keep()),
        ("restarted more often", SeenPod { restarts: 4, ..pod("x") }, keep()),
        ("newer", SeenPod { created: at(60), ..pod("x") }, SeenPod { created: at(600), ..keep() }),
        (
            "cost counts before crowding",
            SeenPod { deletion_cost: -1, ..pod("x") },
            SeenPod { node: Some("crowded".into()), ..keep() },
        ),
        (
            "readiness counts before cost",
            SeenPod { ready_since: None, deletion_cost: 9, ..pod("x") },
            SeenPod { deletion_cost: -9, ..keep() },
        ),
    ];
    for (why, goes, stays) in cases {
        for pods in [vec![goes.clone(), stays.clone()], vec![stays, goes]] {
            assert_eq!(names(&decided(1, pods, |_| {}).scale), "delete x", "{why}");
        }
    }
}

#[test]
fn counts_and_wake_up() {
    let relabelled = SeenPod { labels: Labels::new().into(), ..pod("b") };
    let young = SeenPod { ready_since: at(4), ..pod("c") };
    let going = SeenPod { deleting: at(1), ..pod("going") };
    let unready = SeenPod { ready_since: None, ..pod("d") };
    let got = decided(4, vec![pod("a"), relabelled, young, going, unready], |s| s.min_ready_secs = 10);
    let expected =
        Counts { replicas: 4, fully_labeled: 3, ready: 3, available: 2, terminating: 1, observed_generation: 3 };
    assert_eq!(got.counts, expected);
    assert_eq!(got.wake_after, Some(Duration::from_secs(6)), "when the young one has been ready for long enough");
}

#[test]
fn a_bounded_burst_of_deletions() {
    let pods: Vec<SeenPod> = (0..502).map(|n| pod(&format!("{n:03}"))).collect();
    let Scale::Delete(gone) = decided(1, pods, |_| {}).scale else { panic!("too many") };
    assert_eq!(gone.len(), BURST_PODS);
}

#[test]
fn ages_are_powers_of_two() {
    let now = Timestamp::from_second(NOW).unwrap();
    let ages = [-5, 0, 1, 2, 3, 4, 7, 8].map(|secs| age(at(secs), now));
    assert_eq!(ages, [0, 0, 1, 2, 2, 3, 3, 4]);
    assert_eq!(age(None, now), 0);
}

#[test]
fn it_looks_again_when_the_next_pod_is_available() {
    let young = |name: &str, secs| SeenPod { ready_since: at(secs), ..pod(name) };
    let woken = |pods: Vec<SeenPod>| decided(3, pods, |s| s.min_ready_secs = 10).wake_after.map(|d| d.as_secs());
    assert_eq!(woken(vec![young("a", 4), young("b", 1)]), Some(6), "the first of them");
    assert_eq!(woken(vec![young("a", 10), young("b", 1)]), Some(9), "one is available just now");
    assert_eq!(woken(vec![young("a", 11)]), None);
    let going = SeenPod { deleting: at(1), ..young("a", 1) };
    assert_eq!(woken(vec![going]), None, "one on its way out is waited for by nobody");
    let ended = SeenPod { deleting: at(1), phase: Phase::Failed, ..pod("a") };
    assert_eq!(decided(1, vec![ended], |_| {}).counts.terminating, 0, "it has ended");
}

#[test]
fn batches_double() {
    for (total, expected) in [(0, vec![]), (1, vec![1]), (3, vec![1, 2]), (10, vec![1, 2, 4, 3])] {
        assert_eq!(batches(total), expected, "{total}");
    }
}
