//! What a DaemonSet does next, as a table of stories; what it reports.

use corten_api::Key;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::daemonset::placement::TEMPLATE_GENERATION;

const NOW: i64 = 1_000_000;

fn at(secs_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - secs_ago).unwrap()
}

/// A DaemonSet with the template `image`. `changes` are merged into its spec.
fn set(image: &str, changes: &Value) -> DaemonSet {
    let template = json!({
        "metadata": {"labels": {"app": "agent"}},
        "spec": {"containers": [{"name": "main", "image": image}], "nodeSelector": {"daemons": "yes"}},
    });
    let mut spec = json!({
        "revisionHistoryLimit": 1, "selector": {"matchLabels": {"app": "agent"}}, "template": template,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
    });
    spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let meta = json!({
        "name": "agent", "namespace": "ns", "uid": "set", "generation": 4, "annotations": {TEMPLATE_GENERATION: "7"},
    });
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn revision(image: &str, number: i64) -> Arc<ControllerRevision> {
    Arc::new(new_revision(&set(image, &json!({})), number))
}

/// `NAME`, `NAME other` (not one of its nodes), `NAME tainted` (no new pods), `NAME closed` (no pods at all).
fn node(text: &str) -> Arc<Node> {
    let (name, state) = text.split_once(' ').unwrap_or((text, ""));
    let labels = if state == "other" { json!({}) } else { json!({"daemons": "yes"}) };
    let taints = match state {
        "tainted" => json!([{"key": "own", "effect": "NoSchedule"}]),
        "closed" => json!([{"key": "own", "effect": "NoExecute"}]),
        _ => json!([]),
    };
    Arc::new(
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}}))
            .unwrap(),
    )
}

/// `NAME NODE IMAGE STATE`. STATE: `serves`, `down`, `young` (ready for two seconds), `waits` (for its node), `failed`,
/// `succeeded`, `going`. Names are in the order of their age, and `x` and what begins with it are of one second.
fn pod(text: &str) -> SeenPod {
    let [name, node, image, state] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let revision = revision(image, 1);
    let labels = [(REVISION_LABEL, hash_of(&revision)), ("app", "agent")];
    let pod = SeenPod {
        key: Key::new("ns", name),
        uid: format!("uid-{name}"),
        created: Some(at(1000 - i64::from(name.as_bytes()[0]))),
        phase: Phase::Running,
        node: Some(node.to_owned()),
        labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ..SeenPod::default()
    };
    match state {
        "serves" => SeenPod { ready_since: Some(at(100)), ..pod },
        "young" => SeenPod { ready_since: Some(at(2)), ..pod },
        "going" => SeenPod { ready_since: Some(at(100)), deleting: Some(at(1)), ..pod },
        "down" => pod,
        "waits" => SeenPod { phase: Phase::Pending, node: None, aimed_at: Some(node.into()), ..pod },
        "failed" => SeenPod { phase: Phase::Failed, ..pod },
        "succeeded" => SeenPod { phase: Phase::Succeeded, ..pod },
        _ => panic!("{text}"),
    }
}

fn observed(set: DaemonSet, history: &[&str], nodes: &[&str], pods: &[&str]) -> Observed {
    Observed {
        now: at(0),
        set: Arc::new(set),
        revisions: history.iter().zip(1..).map(|(image, number)| revision(image, number)).collect(),
        nodes: nodes.iter().map(|text| node(text)).collect(),
        pods: pods.iter().map(|text| Arc::new(pod(text))).collect(),
        backoff: BTreeMap::new(),
    }
}

fn image_of(revision: &ControllerRevision) -> String {
    history::template(revision).unwrap().spec.unwrap().containers[0].image.clone().unwrap()
}

/// A decision in words.
fn said(decision: &Decision) -> String {
    let history = decision.history.iter().map(|step| match step {
        Step::Create(new) => format!("revision {} of {}", history::number(new), image_of(new)),
        Step::Renumber { number, .. } => format!("renumber {number}"),
    });
    let relabel = decision.relabel.iter().map(|pod| format!("relabel {}", pod.key.name));
    let create = decision.create.iter().map(|node| format!("create on {node}"));
    let delete = decision.delete.iter().map(|pod| format!("delete {}", pod.key.name));
    let surplus = decision.surplus.iter().map(|revision| format!("drop {}", image_of(revision)));
    history.chain(relabel).chain(create).chain(delete).chain(surplus).collect::<Vec<_>>().join(", ")
}

type Row<'a> = (&'a str, &'a str, Value, &'a [&'a str], &'a [&'a str], &'a [&'a str], &'a str);

/// why, image, changes of the spec, history, nodes, pods, what is done
fn check(cases: &[Row<'_>]) {
    for (why, image, changes, history, nodes, pods, expected) in cases {
        let seen = observed(set(image, changes), history, nodes, pods);
        assert_eq!(said(&decide(&seen)), *expected, "{why}");
    }
}

fn surge(max: i32) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": max}}})
}

#[test]
fn history_table() {
    let none = || json!({});
    check(&[
        ("a new one: its first revision", "a", none(), &[], &["n1"], &[], "revision 1 of a"),
        ("a new template", "b", none(), &["a"], &["n1"], &["p n1 a serves"], "revision 2 of b"),
        ("an old template again", "a", none(), &["a", "b"], &["n1"], &["p n1 b serves"], "renumber 3"),
        ("the oldest beyond the limit", "c", none(), &["a", "b", "c"], &[], &[], "drop a"),
        ("what pods are made from stays", "c", none(), &["a", "b", "c"], &["n1"], &["p n1 a going"], "drop b"),
    ]);
    let mut going = set("b", &json!({}));
    going.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(decide(&observed(going, &["a"], &["n1"], &[])), Decision::default());
}

#[test]
fn of_two_revisions_with_one_template_one_stays_and_has_the_pods_of_both() {
    let mut seen = observed(set("a", &json!({})), &["a"], &["n1", "n2"], &["p n1 a serves", "q n2 a serves"]);
    let mut other = ControllerRevision::clone(&revision("a", 2));
    other.metadata.name = Some("agent-other".into());
    other.metadata.labels.as_mut().unwrap().insert(REVISION_LABEL.into(), "other".into());
    seen.revisions.push(Arc::new(other));
    let decision = decide(&seen);
    assert_eq!((said(&decision).as_str(), decision.hash.as_str()), ("relabel p, relabel q, drop a", "other"));
}

#[test]
fn one_pod_on_each_node_table() {
    let (none, a): (fn() -> Value, &[&str]) = (|| json!({}), &["a"]);
    check(&[
        ("each node", "a", none(), a, &["n1", "n2"], &[], "create on n1, create on n2"),
        ("the one that lacks it", "a", none(), a, &["n1", "n2"], &["p n1 a waits"], "create on n2"),
        ("no node of its", "a", none(), a, &["n1 other", "n2 tainted", "n3 closed"], &[], ""),
        ("it may stay", "a", none(), a, &["n1 tainted"], &["p n1 a serves"], ""),
        ("it may not stay", "a", none(), a, &["n1 closed"], &["p n1 a serves"], "delete p"),
        (
            "it is no node of its any more",
            "a",
            none(),
            a,
            &["n1 other"],
            &["p n1 a serves", "q n1 a going"],
            "delete p",
        ),
        ("two: the younger goes", "a", none(), a, &["n1"], &["q n1 a serves", "p n1 a down"], "delete q"),
        (
            "two: the one that is not there yet goes",
            "a",
            none(),
            a,
            &["n1"],
            &["p n1 a waits", "q n1 a serves"],
            "delete p",
        ),
        ("one goes: its successor comes when it is gone", "a", none(), a, &["n1"], &["p n1 a going"], ""),
        ("it waits for a node that is gone", "a", none(), a, &["n1"], &["p n1 a serves", "q n9 a waits"], "delete q"),
        ("its node is gone: others delete it", "a", none(), a, &["n1"], &["p n1 a serves", "q n9 a serves"], ""),
        ("it failed", "a", none(), a, &["n1"], &["p n1 a failed"], "delete p"),
        ("it succeeded", "a", none(), a, &["n1"], &["p n1 a succeeded"], "delete p"),
        ("with a surge the next comes at once", "a", surge(1), a, &["n1"], &["p n1 a going"], "create on n1"),
        ("with a surge, not where it may only stay", "a", surge(1), a, &["n1 tainted"], &["p n1 a going"], ""),
    ]);
    let many: Vec<String> = (0..300).map(|n| format!("n{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(decide(&observed(set("a", &json!({})), &["a"], &many, &[])).create.len(), BURST_PODS, "a bounded burst");
}

#[test]
fn update_table() {
    let (none, ab): (fn() -> Value, &[&str]) = (|| json!({}), &["a", "b"]);
    let on_delete = || json!({"updateStrategy": {"type": "OnDelete"}});
    let half = || json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}});
    let three = &["n1", "n2", "n3"];
    let old = &["p n1 a serves", "q n2 a serves", "r n3 a serves"];
    check(&[
        ("one goes", "b", none(), ab, three, old, "delete p"),
        ("it is gone", "b", none(), ab, three, &old[1..], "create on n1"),
        ("a half of three are two", "b", half(), ab, three, old, "delete p, delete q"),
        ("nobody says that they go", "b", on_delete(), ab, three, old, ""),
        ("who deletes gets a new one", "b", on_delete(), ab, three, &old[1..], "create on n1"),
        (
            "not available for long enough",
            "b",
            json!({"minReadySeconds": 9}),
            ab,
            &["n1", "n2"],
            &["p n1 b young", "q n2 a serves"],
            "",
        ),
        ("with a surge the new one comes first", "b", surge(1), ab, three, old, "create on n1"),
        (
            "with a surge both stay until the new one serves",
            "b",
            surge(1),
            ab,
            &["n1", "n2"],
            &["o n1 a serves", "p n1 b down", "q n2 a serves"],
            "",
        ),
        (
            "with a surge the old one goes then",
            "b",
            surge(1),
            ab,
            &["n1"],
            &["o n1 a serves", "p n1 b serves"],
            "delete o",
        ),
        (
            "with a surge the old one goes if it does not serve",
            "b",
            surge(1),
            ab,
            &["n1"],
            &["o n1 a down", "p n1 b down"],
            "delete o",
        ),
        (
            "with a surge of two old ones the one that serves stays",
            "b",
            surge(1),
            ab,
            &["n1"],
            &["o n1 a down", "p n1 a serves"],
            "delete o",
        ),
        (
            "with a surge one of each stays",
            "b",
            surge(1),
            ab,
            &["n1"],
            &["o n1 a serves", "p n1 a serves", "q n1 b down", "r n1 b down"],
            "delete r, delete p",
        ),
    ]);
}

#[test]
fn a_pod_that_failed_again_is_left_for_a_while() {
    let mut seen = observed(set("a", &json!({})), &["a"], &["n1", "n2"], &["p n1 a failed", "q n2 a failed"]);
    seen.backoff = [("n1".to_owned(), at(-30)), ("n2".to_owned(), at(1))].into();
    let decision = decide(&seen);
    assert_eq!((said(&decision).as_str(), decision.ended.len()), ("delete q", 1));
    assert_eq!(decision.wake_after, Some(Duration::from_secs(30)));
    let succeeded = observed(set("a", &json!({})), &["a"], &["n1"], &["p n1 a succeeded"]);
    let seen = Observed { backoff: seen.backoff, ..succeeded };
    assert_eq!(said(&decide(&seen)), "delete p", "one that succeeded is not left");
}

#[test]
fn a_pod_of_the_templates_generation_is_of_its_template() {
    let mut seen = observed(set("b", &json!({})), &["a", "b"], &["n1"], &["p n1 a serves"]);
    Arc::make_mut(&mut seen.pods[0]).labels.insert(GENERATION_LABEL.into(), "7".into());
    assert_eq!(said(&decide(&seen)), "");
    Arc::make_mut(&mut seen.pods[0]).labels.insert(GENERATION_LABEL.into(), "6".into());
    assert_eq!(said(&decide(&seen)), "delete p");
}

/// desired current misscheduled | ready available updated unavailable
fn reported(seen: &Observed) -> String {
    let status = decide(seen).status.unwrap();
    assert_eq!(status.observed_generation, Some(4));
    let some = |count: Option<i32>| count.unwrap_or(0);
    format!(
        "{} {} {} | {} {} {} {}",
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_misscheduled,
        status.number_ready,
        some(status.number_available),
        some(status.updated_number_scheduled),
        some(status.number_unavailable),
    )
}

#[test]
fn status_table() {
    let slow = || json!({"minReadySeconds": 10});
    let none = || json!({});
    type Row<'a> = (&'a str, Value, &'a [&'a str], &'a [&'a str], &'a str);
    let cases: &[Row<'_>] = &[
        ("no nodes", none(), &[], &[], "0 0 0 | 0 0 0 0"),
        ("nothing there", none(), &["n1", "n2"], &[], "2 0 0 | 0 0 0 2"),
        ("one waits, one serves", none(), &["n1", "n2"], &["p n1 b waits", "q n2 b serves"], "2 2 0 | 1 1 2 1"),
        ("ready is not available", slow(), &["n1"], &["p n1 b young"], "1 1 0 | 1 0 1 1"),
        ("an old one", none(), &["n1"], &["p n1 a serves"], "1 1 0 | 1 1 0 0"),
        ("where none should be", none(), &["n1 tainted", "n2 other"], &["p n1 b serves"], "0 0 1 | 0 0 0 0"),
        ("of two the older counts", none(), &["n1"], &["p n1 a serves", "q n1 b down"], "1 1 0 | 1 1 0 0"),
        (
            "of two of one second the one that serves",
            none(),
            &["n1"],
            &["x n1 b down", "x2 n1 a serves"],
            "1 1 0 | 1 1 0 0",
        ),
        ("one that goes is there", none(), &["n1"], &["p n1 b going"], "1 1 0 | 1 1 1 0"),
    ];
    for (why, changes, nodes, pods, expected) in cases {
        assert_eq!(reported(&observed(set("b", changes), &["a", "b"], nodes, pods)), *expected, "{why}");
    }
}

#[test]
fn a_status_that_is_right_is_not_written() {
    let mut seen = observed(set("a", &json!({})), &["a"], &["n1"], &["p n1 a serves"]);
    let status = decide(&seen).status.unwrap();
    Arc::make_mut(&mut seen.set).status = Some(*status);
    assert_eq!(decide(&seen), Decision { hash: hash_of(&seen.revisions[0]).to_owned(), ..Decision::default() });
}

#[test]
fn bounds_table() {
    let rolling = |surge: Value, unavailable: Value| {
        let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        set("a", &json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}))
    };
    let cases = [
        ("numbers", rolling(json!(0), json!(3)), 10, (0, 3)),
        ("parts are rounded up", rolling(json!("1%"), json!(0)), 10, (1, 0)),
        ("parts are rounded up, those that go, too", rolling(json!(0), json!("25%")), 10, (0, 3)),
        ("neither would never end", rolling(json!(0), json!(0)), 10, (0, 1)),
        ("nobody said anything", set("a", &json!({"updateStrategy": {}})), 10, (0, 1)),
        ("only who deletes", set("a", &json!({"updateStrategy": {"type": "OnDelete"}})), 10, (0, 0)),
    ];
    for (why, set, desired, (surge, unavailable)) in cases {
        assert_eq!(status::bounds(&set, desired), Bounds { surge, unavailable }, "{why}");
    }
}
