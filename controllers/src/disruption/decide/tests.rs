//! What budgets say, as tables: counts, conditions, evicted pods and events.

use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::{Key, Reason};
use serde_json::{Value, json};

use super::*;
use crate::disruption::expected::{CountError, Scaled};
use crate::pods::Phase;

const NOW: i64 = 1_000;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).unwrap()
}
fn pod(name: &str, owner: &str, ready: bool) -> SeenPod {
    let owner =
        OwnerReference { uid: owner.into(), name: owner.into(), controller: Some(true), ..OwnerReference::default() };
    SeenPod {
        key: Key::new("shop", name),
        uid: format!("{name}-uid"),
        phase: Phase::Running,
        created: Some(at(1)),
        ready_since: ready.then(|| at(2)),
        owners: if owner.uid.is_empty() { Vec::new() } else { vec![owner] },
        ..SeenPod::default()
    }
}
/// So many pods of a controller, and of these so many that are ready.
fn pods(owner: &str, count: usize, ready: usize) -> Vec<SeenPod> {
    (0..count).map(|n| pod(&format!("{owner}-{n}"), owner, n < ready)).collect()
}
fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    let metadata = json!({"name": "b", "namespace": "shop", "uid": "b-uid", "generation": 3});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}
/// A controller of a pod, what stands behind it, and its replicas.
fn scaled(controller: &str, uid: &str, replicas: i32) -> (String, Counted) {
    (controller.into(), Ok(Some(Scaled { uid: uid.into(), replicas })))
}
fn decided(budget: &PodDisruptionBudget, pods: Vec<SeenPod>, controllers: Vec<(String, Counted)>) -> Decision {
    let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
    let controllers = controllers.into_iter().collect();
    decide(&Observed { now: at(NOW), budget, pods: Ok(&pods), controllers: &controllers, shared: &[] })
}
/// `healthy/desired of expected: allowed, reason`.
fn line(status: &PodDisruptionBudgetStatus) -> String {
    let condition = &status.conditions.as_ref().unwrap()[0];
    assert_eq!(condition.status == "True", status.disruptions_allowed > Some(0));
    format!(
        "{}/{} of {}: {}, {}",
        status.current_healthy.unwrap_or(0),
        status.desired_healthy.unwrap_or(0),
        status.expected_pods.unwrap_or(0),
        status.disruptions_allowed.unwrap_or(0),
        condition.reason,
    )
}

#[test]
fn counts_table() {
    let web = |replicas| vec![scaled("web", "web", replicas)];
    let cases = [
        (
            "enough: the rest may go",
            json!({"minAvailable": 2}),
            pods("web", 3, 3),
            vec![],
            "3/2 of 3: 1, SufficientPods",
        ),
        ("just enough", json!({"minAvailable": 3}), pods("web", 3, 3), vec![], "3/3 of 3: 0, InsufficientPods"),
        ("too few are ready", json!({"minAvailable": 2}), pods("web", 3, 1), vec![], "1/2 of 3: 0, InsufficientPods"),
        (
            "none need be left, but there are none",
            json!({"minAvailable": 0}),
            vec![],
            vec![],
            "0/0 of 0: 0, InsufficientPods",
        ),
        (
            "pods without a controller count as they are",
            json!({"minAvailable": 1}),
            pods("", 2, 2),
            vec![],
            "2/1 of 2: 1, SufficientPods",
        ),
        (
            "a share is of the replicas, not of the pods",
            json!({"minAvailable": "50%"}),
            pods("web", 3, 3),
            web(10),
            "3/5 of 10: 0, InsufficientPods",
        ),
        (
            "a share is rounded up",
            json!({"minAvailable": "50%"}),
            pods("web", 7, 7),
            web(7),
            "7/4 of 7: 3, SufficientPods",
        ),
        (
            "so many may be missing",
            json!({"maxUnavailable": 1}),
            pods("web", 3, 3),
            web(3),
            "3/2 of 3: 1, SufficientPods",
        ),
        (
            "one is missing already",
            json!({"maxUnavailable": 1}),
            pods("web", 2, 2),
            web(3),
            "2/2 of 3: 0, InsufficientPods",
        ),
        (
            "a missing share is rounded up, too",
            json!({"maxUnavailable": "30%"}),
            pods("web", 5, 5),
            web(5),
            "5/3 of 5: 2, SufficientPods",
        ),
        (
            "more may be missing than there are",
            json!({"maxUnavailable": 9}),
            pods("web", 3, 3),
            web(3),
            "3/0 of 3: 3, SufficientPods",
        ),
        ("neither is said", json!({}), pods("web", 3, 3), vec![], "3/0 of 0: 0, InsufficientPods"),
        (
            "two ReplicaSets of one Deployment have its replicas once",
            json!({"maxUnavailable": 1}),
            [pods("old", 1, 1), pods("new", 3, 3)].concat(),
            vec![scaled("old", "web", 4), scaled("new", "web", 4)],
            "4/3 of 4: 1, SufficientPods",
        ),
        (
            "two controllers are added up",
            json!({"minAvailable": "50%"}),
            [pods("a", 2, 2), pods("b", 4, 4)].concat(),
            vec![scaled("a", "a", 2), scaled("b", "b", 4)],
            "6/3 of 6: 3, SufficientPods",
        ),
    ];
    for (why, spec, pods, controllers, expected) in cases {
        let decision = decided(&budget(spec, json!({})), pods, controllers);
        let status = decision.status.unwrap();
        assert_eq!(line(&status), expected, "{why}");
        assert_eq!((status.observed_generation, decision.failed), (Some(3), None), "{why}");
    }
}

#[test]
fn what_cannot_be_counted_allows_nothing_and_says_why() {
    let spec = json!({"maxUnavailable": 1});
    let of = |what: Counted| vec![("web".to_owned(), what)];
    let cases = [
        ("its controller is gone", of(Ok(None)), r#"found no controllers for pod "web-0""#, false),
        (
            "a kind without replicas",
            of(Err(CountError::NoScale("daemonsets.apps".into()))),
            "daemonsets.apps does not implement the scale subresource",
            false,
        ),
        (
            "a kind that nobody knows",
            of(Err(CountError::NoSuchKind { kind: "Shop".into(), version: "a/v1".into() })),
            r#"no matches for kind "Shop" in version "a/v1""#,
            false,
        ),
        ("nobody answers", of(Err(CountError::Unanswered(ApiError::unavailable("later")))), "later", true),
    ];
    for (why, controllers, message, again) in cases {
        let before = json!({"disruptionsAllowed": 2, "currentHealthy": 5, "observedGeneration": 2});
        let decision = decided(&budget(spec.clone(), before), pods("web", 2, 2), controllers);
        let status = decision.status.unwrap();
        assert_eq!(line(&status), "5/0 of 0: 0, SyncFailed", "{why}: the other counts are as they were");
        let condition = &status.conditions.unwrap()[0];
        assert_eq!((condition.message.as_str(), condition.observed_generation), (message, Some(2)), "{why}");
        assert_eq!(decision.failed.is_some_and(|err| err.is(Reason::ServiceUnavailable)), again, "{why}");
        let said = &decision.events[0];
        assert_eq!(said.reason, "CalculateExpectedPodCountFailed", "{why}");
        assert_eq!(said.message, format!("Failed to calculate the number of expected pods: {message}"), "{why}");
    }
    let decision = decided(&budget(json!({"minAvailable": "x"}), json!({})), Vec::new(), Vec::new());
    assert_eq!(line(&decision.status.unwrap()), "0/0 of 0: 0, SyncFailed", "no percentage");
}

#[test]
fn evicted_pods_count_no_more_until_it_is_clear_that_they_stay() {
    let gone = |name: &str| SeenPod { deleting: Some(at(NOW)), ..pod(name, "web", true) };
    let evicted = |secs: i64| json!({"disruptedPods": {"a": serde_json::to_value(Time(at(secs))).unwrap()}});
    let two = |a: SeenPod| vec![a, pod("b", "web", true)];
    let (fresh, late) = (evicted(NOW - 20), evicted(NOW - 120));
    let cases = [
        ("not seen to go yet", two(pod("a", "web", true)), &fresh, "1/1 of 2: 0, InsufficientPods", Some(100), true, 0),
        ("it goes", two(gone("a")), &fresh, "1/1 of 2: 0, InsufficientPods", None, false, 0),
        ("it is gone", vec![pod("b", "web", true)], &fresh, "1/1 of 1: 0, InsufficientPods", None, false, 0),
        ("nobody deleted it", two(pod("a", "web", true)), &late, "2/1 of 2: 1, SufficientPods", None, false, 1),
        (
            "another has its name",
            two(SeenPod { created: Some(at(NOW - 5)), ..pod("a", "web", true) }),
            &fresh,
            "2/1 of 2: 1, SufficientPods",
            None,
            false,
            0,
        ),
    ];
    for (why, pods, status, expected, wake_secs, kept, said) in cases {
        let decision = decided(&budget(json!({"minAvailable": 1}), status.clone()), pods, Vec::new());
        let status = decision.status.unwrap();
        assert_eq!(line(&status), expected, "{why}");
        assert_eq!(decision.wake_after, wake_secs.map(Duration::from_secs), "{why}");
        assert_eq!(status.disrupted_pods.is_some_and(|pods| pods.contains_key("a")), kept, "{why}");
        let told: Vec<_> = decision.events.iter().map(|said| (said.reason, said.about.name.as_deref())).collect();
        assert_eq!(told, vec![("NotDeleted", Some("a")); said], "{why}");
    }
}

#[test]
fn a_status_that_is_right_is_not_written() {
    let spec = json!({"minAvailable": 1});
    let first = decided(&budget(spec.clone(), json!({})), pods("web", 2, 2), Vec::new()).status.unwrap();
    let right = serde_json::to_value(&first).unwrap();
    assert_eq!(decided(&budget(spec.clone(), right.clone()), pods("web", 2, 2), Vec::new()).status, None);

    let mut spent = right.clone();
    spent["conditions"][0]["reason"] = json!("SyncFailed");
    let later = decided(&budget(spec.clone(), spent), pods("web", 2, 2), Vec::new()).status.unwrap();
    assert_eq!(line(&later), "2/1 of 2: 1, SufficientPods", "a condition that says otherwise is written");
    let mut other = budget(spec, right);
    other.metadata.generation = Some(4);
    let later = decided(&other, pods("web", 2, 2), Vec::new()).status.unwrap();
    assert_eq!(later.observed_generation, Some(4), "that a new spec was looked at is told");
    let condition = &later.conditions.unwrap()[0];
    assert_eq!(condition.last_transition_time, first.conditions.unwrap()[0].last_transition_time);
}

#[test]
fn events_table() {
    let (share, number) = (json!({"maxUnavailable": 1}), json!({"minAvailable": 1}));
    let cases = [
        ("no pods", &number, Vec::new(), "Normal NoPods: No matching pods found"),
        ("pods", &number, pods("", 1, 1), ""),
        (
            "a share of what nothing controls",
            &share,
            (0..7).map(|n| pod(&format!("p{n}"), "", true)).collect(),
            "Warning UnmanagedPods: Pods without a controller are selected, and cannot be counted as a share of a \
             controller's replicas: p0, p1, p2, p3, p4 and 2 more. Set .spec.minAvailable to an integer to have them \
             counted.",
        ),
    ];
    for (why, spec, pods, expected) in cases {
        let decision = decided(&budget(spec.clone(), json!({})), pods, Vec::new());
        let lines: Vec<_> =
            decision.events.iter().map(|said| format!("{:?} {}: {}", said.kind, said.reason, said.message)).collect();
        assert_eq!(lines.join("; "), expected, "{why}");
    }
    let broken = broken_selector();
    let budget = budget(share, json!({"disruptionsAllowed": 1}));
    let decision = decide(&Observed {
        now: at(NOW),
        budget: &budget,
        pods: Err(&broken),
        controllers: &BTreeMap::new(),
        shared: &[],
    });
    assert_eq!((decision.events[0].reason, decision.events[0].kind), ("NoPods", EventType::Warning));
    assert_eq!(line(&decision.status.unwrap()), "0/0 of 0: 0, SyncFailed", "a selector that cannot be read");
}

#[test]
fn a_pod_that_two_budgets_guard_is_told_of() {
    let budget = budget(json!({"minAvailable": 1}), json!({}));
    let pods = [Arc::new(pod("a", "web", true))];
    let shared = [(Arc::clone(&pods[0]), vec!["b".to_owned(), "c".to_owned()])];
    let seen =
        Observed { now: at(NOW), budget: &budget, pods: Ok(&pods), controllers: &BTreeMap::new(), shared: &shared };
    let said = &decide(&seen).events[0];
    assert_eq!((said.reason, said.about.name.as_deref()), ("MultiplePodDisruptionBudgets", Some("a")));
    assert!(
        said.message
            .ends_with("shop/a matches multiple PodDisruptionBudgets, and cannot be evicted while it does: b, c")
    );
}

fn broken_selector() -> SelectorError {
    use corten_api::selector::Selector;
    let selector = serde_json::from_value(json!({"matchExpressions": [{"key": "a", "operator": "Near"}]})).unwrap();
    Selector::from_label_selector(Some(&selector)).unwrap_err()
}
