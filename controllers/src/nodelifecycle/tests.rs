//! The table of node decisions.

use corten_api::k8s_openapi::api::core::v1::{NodeSpec, NodeStatus};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

const NOW: i64 = 10_000;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).unwrap()
}

fn node(ready: Option<&str>, taints: &[(&str, &str)], unschedulable: bool) -> Node {
    let condition = |kind: &str, status: &str| NodeCondition {
        type_: kind.into(),
        status: status.into(),
        ..NodeCondition::default()
    };
    let list = ready.map(|status| {
        let pressure = if status == "Unknown" { "Unknown" } else { "False" };
        REPORTED.iter().map(|k| condition(k, if *k == READY { status } else { pressure })).collect()
    });
    let taint = |(key, effect): &(&str, &str)| Taint {
        key: (*key).into(),
        effect: (*effect).into(),
        value: None,
        time_added: Some(Time(at(1))),
    };
    Node {
        metadata: ObjectMeta { name: Some("n1".into()), ..ObjectMeta::default() },
        spec: Some(NodeSpec {
            taints: Some(taints.iter().map(taint).collect()),
            unschedulable: Some(unschedulable),
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus { conditions: list, ..NodeStatus::default() }),
    }
}

fn decided(node: &Node, silent_secs: i64, evict_from: Option<i64>) -> Decision {
    let heard = at(NOW - silent_secs);
    decide(&Observed { now: at(NOW), node, heard, is_silent: false, evict_from: evict_from.map(at) })
}

fn names(taints: &Option<Vec<Taint>>) -> String {
    let short = |t: &Taint| format!("{}:{}", t.key.rsplit('/').next().unwrap(), t.effect);
    taints.as_ref().map_or("same".into(), |list| list.iter().map(short).collect::<Vec<_>>().join(" "))
}

#[test]
fn taints_table() {
    let unreachable = [(UNREACHABLE_TAINT, NO_SCHEDULE), (UNREACHABLE_TAINT, NO_EXECUTE)];
    let not_ready = [(NOT_READY_TAINT, NO_SCHEDULE)];
    let own = [("team", NO_EXECUTE)];
    let lost = "unreachable:NoSchedule unreachable:NoExecute";
    let unready = "not-ready:NoSchedule not-ready:NoExecute";
    let free = Some(0);
    let cases = [
        ("healthy: none", node(Some("True"), &[], false), 5, free, "same"),
        ("new and silent yet: not ready", node(None, &[], false), 5, free, "not-ready:NoSchedule"),
        ("its kubelet says not ready", node(Some("False"), &[], false), 5, free, unready),
        ("silent for too long: lost", node(Some("True"), &[], false), 41, free, lost),
        ("lost already: nothing new", node(Some("Unknown"), &unreachable, false), 100, free, "same"),
        ("back, not ready yet: the other taint", node(Some("False"), &unreachable, false), 5, free, unready),
        ("back: clean", node(Some("True"), &unreachable, false), 5, free, ""),
        ("registered with the taint, ready now", node(Some("True"), &not_ready, false), 5, free, ""),
        ("cordoned", node(Some("True"), &[], true), 5, free, "unschedulable:NoSchedule"),
        ("others' taints stay", node(Some("False"), &own, false), 5, None, "team:NoExecute not-ready:NoSchedule"),
        ("too many are lost: pods stay", node(Some("True"), &[], false), 41, None, "unreachable:NoSchedule"),
        ("not yet this node's turn", node(Some("True"), &[], false), 41, Some(NOW + 9), "unreachable:NoSchedule"),
    ];
    for (why, node, silent, evict_from, expected) in cases {
        assert_eq!(names(&decided(&node, silent, evict_from).taints), expected, "{why}");
    }
}

#[test]
fn silence_makes_all_conditions_unknown() {
    let got = decided(&node(Some("True"), &[], false), 41, Some(0)).conditions.unwrap();
    assert!(got.iter().all(|c| c.status == "Unknown" && c.reason.as_deref() == Some("NodeStatusUnknown")), "{got:?}");
    assert_eq!(got.len(), REPORTED.len());
    assert_eq!(decided(&node(None, &[], false), 41, Some(0)).conditions, None, "a new node has longer");
    let never = decided(&node(None, &[], false), 61, Some(0)).conditions.unwrap();
    assert_eq!(never[0].message.as_deref(), Some("Kubelet never posted node status."));
}

#[test]
fn it_looks_again_when_the_grace_is_over() {
    let secs = |d: Decision| d.wake_after.map(|d| d.as_secs());
    assert_eq!(secs(decided(&node(Some("True"), &[], false), 30, Some(0))), Some(10));
    assert_eq!(secs(decided(&node(Some("Unknown"), &[], false), 100, Some(NOW + 7))), Some(7), "when its turn comes");
    assert_eq!(secs(decided(&node(Some("Unknown"), &[], false), 100, None)), None, "another node's return tells");
}

#[test]
fn a_machine_that_does_not_answer_is_lost_at_once() {
    let node = node(Some("True"), &[], false);
    let look = |is_silent| {
        decide(&Observed { now: at(NOW), node: &node, heard: at(NOW - 5), is_silent, evict_from: Some(at(0)) })
    };
    let got = look(true);
    let ready = got.conditions.unwrap().into_iter().find(|c| c.type_ == READY).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("Unknown", Some("NodeStatusUnknown")));
    assert_eq!(names(&got.taints), "unreachable:NoSchedule unreachable:NoExecute");
    assert_eq!(look(false).conditions, None, "one that answers has its grace");
}
