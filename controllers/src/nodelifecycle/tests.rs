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
        ("silent for too long: lost", node(Some("True"), &[], false), 51, free, lost),
        ("lost already: nothing new", node(Some("Unknown"), &unreachable, false), 100, free, "same"),
        ("back, not ready yet: the other taint", node(Some("False"), &unreachable, false), 5, free, unready),
        ("back: clean", node(Some("True"), &unreachable, false), 5, free, ""),
        ("registered with the taint, ready now", node(Some("True"), &not_ready, false), 5, free, ""),
        ("cordoned", node(Some("True"), &[], true), 5, free, "unschedulable:NoSchedule"),
        ("others' taints stay", node(Some("False"), &own, false), 5, None, "team:NoExecute not-ready:NoSchedule"),
        ("too many are lost: pods stay", node(Some("True"), &[], false), 51, None, "unreachable:NoSchedule"),
        ("not yet this node's turn", node(Some("True"), &[], false), 51, Some(NOW + 9), "unreachable:NoSchedule"),
    ];
    for (why, node, silent, evict_from, expected) in cases {
        assert_eq!(names(&decided(&node, silent, evict_from).taints), expected, "{why}");
    }
}

#[test]
fn silence_makes_all_conditions_unknown() {
    let got = decided(&node(Some("True"), &[], false), 51, Some(0)).conditions.unwrap();
    assert!(got.iter().all(|c| c.status == "Unknown" && c.reason.as_deref() == Some("NodeStatusUnknown")), "{got:?}");
    assert_eq!(got.len(), REPORTED.len());
    assert_eq!(decided(&node(None, &[], false), 51, Some(0)).conditions, None, "a new node has longer");
    let never = decided(&node(None, &[], false), 61, Some(0)).conditions.unwrap();
    assert_eq!(never[0].message.as_deref(), Some("Kubelet never posted node status."));
}

#[test]
fn it_looks_again_when_the_grace_is_over() {
    let secs = |d: Decision| d.wake_after.map(|d| d.as_secs());
    assert_eq!(secs(decided(&node(Some("True"), &[], false), 30, Some(0))), Some(20));
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

#[test]
fn a_node_is_lost_when_its_grace_is_over_and_not_a_second_before() {
    let is_lost = |node: &Node, silent| decided(node, silent, Some(0)).conditions.is_some();
    let known = node(Some("True"), &[], false);
    assert_eq!([49, 50].map(|silent| is_lost(&known, silent)), [false, true]);
    let new = node(None, &[], false);
    assert_eq!([59, 60].map(|silent| is_lost(&new, silent)), [false, true]);
}

#[test]
fn one_on_its_way_out_is_let_go() {
    let mut node = node(Some("True"), &[], false);
    node.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(decided(&node, 100, Some(0)), Decision::default());
}

#[test]
fn an_eviction_begins_once() {
    let unreachable = [(UNREACHABLE_TAINT, NO_SCHEDULE), (UNREACHABLE_TAINT, NO_EXECUTE)];
    let cases = [
        ("pods have to leave", node(Some("True"), &[], false), 51, Some(0), true),
        ("they had to already", node(Some("Unknown"), &unreachable, false), 100, Some(0), false),
        ("and go on though no other node's pods may", node(Some("Unknown"), &unreachable, false), 100, None, false),
        ("they may stay yet", node(Some("True"), &[], false), 51, None, false),
        ("just now is their time", node(Some("True"), &[], false), 51, Some(NOW), true),
        ("a healthy node", node(Some("True"), &[], false), 5, Some(0), false),
        ("back: none has to", node(Some("True"), &unreachable, false), 5, Some(0), false),
    ];
    for (why, node, silent, evict_from, expected) in cases {
        assert_eq!(decided(&node, silent, evict_from).begins_eviction, expected, "{why}");
    }
    let going_on = decided(&node(Some("Unknown"), &unreachable, false), 100, None);
    assert_eq!((going_on.taints, going_on.wake_after), (None, None), "a taint once given stays while the node is lost");
}

#[test]
fn pressures_and_others_taints() {
    let pressed = |kind: &str, status: &str| {
        let mut node = node(Some("True"), &[], false);
        let list = node.status.get_or_insert_default().conditions.get_or_insert_default();
        list.retain(|c| c.type_ != kind);
        list.push(NodeCondition { type_: kind.into(), status: status.into(), ..NodeCondition::default() });
        names(&decided(&node, 5, Some(0)).taints)
    };
    for (kind, taint) in PRESSURES {
        let short = taint.rsplit('/').next().unwrap();
        assert_eq!(pressed(kind, "True"), format!("{short}:NoSchedule"));
        assert_eq!((pressed(kind, "False"), pressed(kind, "Unknown")), ("same".into(), "same".into()));
        let over = node(Some("True"), &[(*taint, NO_SCHEDULE)], false);
        assert_eq!(names(&decided(&over, 5, Some(0)).taints), "", "{kind} is over");
        let others = node(Some("True"), &[(*taint, "PreferNoSchedule")], false);
        assert_eq!(names(&decided(&others, 5, Some(0)).taints), "same", "only our effect of it is ours");
    }
    for key in [NOT_READY_TAINT, UNREACHABLE_TAINT, UNSCHEDULABLE_TAINT] {
        let ours = node(Some("True"), &[(key, NO_SCHEDULE)], false);
        assert_eq!(names(&decided(&ours, 5, Some(0)).taints), "", "{key}");
        let others = node(Some("True"), &[(key, "PreferNoSchedule")], false);
        assert_eq!(names(&decided(&others, 5, Some(0)).taints), "same", "{key}");
    }
    let theirs = node(Some("True"), &[("team", NO_SCHEDULE), (UNSCHEDULABLE_TAINT, NO_EXECUTE)], false);
    assert_eq!(decided(&theirs, 5, Some(0)).taints, None, "none of them is ours");
}

#[test]
fn a_taint_says_since_when() {
    let since = |node: &Node| {
        let taints = decided(node, 5, Some(0)).taints.unwrap();
        taints.iter().map(|t| t.time_added.as_ref().map(|t| t.0)).collect::<Vec<_>>()
    };
    let mut untimed = node(Some("True"), &[("team", NO_EXECUTE), ("other", NO_SCHEDULE)], true);
    for taint in untimed.spec.get_or_insert_default().taints.iter_mut().flatten() {
        taint.time_added = None;
    }
    assert_eq!(since(&untimed), [Some(at(NOW)), None, Some(at(NOW))], "pods stay for a time that begins somewhere");
    let timed = node(Some("False"), &[("team", NO_EXECUTE), (NOT_READY_TAINT, NO_SCHEDULE)], false);
    assert_eq!(since(&timed), [Some(at(1)), Some(at(1)), Some(at(NOW))], "and does not begin again");
}

#[test]
fn what_is_unknown_keeps_when_it_was_last_known() {
    let mut node = node(Some("True"), &[], false);
    node.metadata.creation_timestamp = Some(Time(at(3)));
    for condition in node.status.get_or_insert_default().conditions.iter_mut().flatten() {
        condition.last_heartbeat_time = Some(Time(at(7)));
        condition.last_transition_time = Some(Time(at(5)));
    }
    let list = node.status.get_or_insert_default().conditions.get_or_insert_default();
    list.retain(|c| c.type_ != "PIDPressure");
    list[1].status = "Unknown".into();
    let got = decided(&node, 51, Some(0)).conditions.unwrap();
    let told: Vec<_> = got
        .iter()
        .map(|c| {
            let secs = |t: &Option<Time>| t.as_ref().map_or(0, |t| t.0.as_second());
            (c.type_.as_str(), c.reason.as_deref(), secs(&c.last_heartbeat_time), secs(&c.last_transition_time))
        })
        .collect();
    let expected = [
        ("Ready", Some("NodeStatusUnknown"), 7, NOW),
        ("MemoryPressure", None, 7, 5),
        ("DiskPressure", Some("NodeStatusUnknown"), 7, NOW),
        ("PIDPressure", Some("NodeStatusNeverUpdated"), 3, NOW),
    ];
    assert_eq!(
        told, expected,
        "what is unknown already is left as it is; what was never told counts from the node's birth"
    );
}
