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
    let relabelled = SeenPod { labels: Labels::new(), ..pod("b") };
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
fn batches_double() {
    for (total, expected) in [(0, vec![]), (1, vec![1]), (3, vec![1, 2]), (10, vec![1, 2, 4, 3])] {
        assert_eq!(batches(total), expected, "{total}");
    }
}
