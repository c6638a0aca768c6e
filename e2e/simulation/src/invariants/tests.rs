//! Tables: steps that break an invariant, and like ones that do not.

use std::time::Duration;

use serde_json::{Value, json};

use super::broken;
use crate::cluster::{Cluster, Place, Step};

/// Commits one object after the other, a second apart; which invariant the last of them breaks.
fn told(author: &str, steps: &[(&str, &str, Value)]) -> Option<&'static str> {
    let (mut cluster, mut found) = (Cluster::default(), None);
    for (secs, (kind, name, object)) in steps.iter().enumerate() {
        let namespace = match *kind {
            "namespaces" | "minions" => "",
            "leases" => "kube-system",
            _ => "a",
        };
        let place = Place::new(kind, namespace, name);
        let old = cluster.get(kind, namespace, name).cloned();
        let new = Some(object.clone()).filter(|object| !object.is_null());
        let at = Duration::from_secs(secs as u64);
        let step = Step { at, author: author.into(), place, old, new };
        cluster.apply(&step);
        assert!(found.is_none(), "step {} before the last breaks {found:?}", secs - 1);
        found = broken(&cluster, &step).map(|(name, _)| name);
    }
    found
}

fn owned(uid: &str, kind: &str, owner: &str) -> Value {
    json!({"uid": uid, "ownerReferences": [{"kind": kind, "uid": owner, "name": "it", "controller": true}]})
}

fn pod(uid: &str, kind: &str, owner: &str) -> Value {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    json!({"metadata": owned(uid, kind, owner), "spec": {}, "status": {"phase": "Running", "conditions": ready}})
}

fn with(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, field) = path.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

fn deleted(object: Value) -> Value {
    with(object, "/metadata/deletionTimestamp", json!("2030-01-01T00:00:00Z"))
}

fn evicted(object: Value) -> Value {
    let conditions = json!([{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]);
    deleted(with(object, "/status/conditions", conditions))
}

fn set(uid: &str, replicas: i64) -> (&'static str, &'static str, Value) {
    let metadata = json!({"uid": uid});
    ("replicasets", "rs", json!({"metadata": metadata, "spec": {"replicas": replicas}}))
}

#[test]
fn replicas() {
    let of = |name, uid| ("pods", name, pod(uid, "ReplicaSet", "r"));
    let cases = [
        ("as many as wanted", vec![set("r", 2), of("p1", "1"), of("p2", "2")], None),
        ("one too many", vec![set("r", 1), of("p1", "1"), of("p2", "2")], Some("no more replicas than wanted")),
        ("the set was larger a moment ago", vec![set("r", 2), set("r", 1), of("p1", "1"), of("p2", "2")], None),
        (
            "one that is deleted does not count",
            vec![set("r", 1), of("p1", "1"), ("pods", "p1", deleted(pod("1", "ReplicaSet", "r"))), of("p2", "2")],
            None,
        ),
    ];
    for (why, steps, expected) in cases {
        assert_eq!(told("", &steps), expected, "{why}");
    }
}

#[test]
fn rollouts() {
    let namespace = || ("namespaces", "a", json!({"metadata": {"uid": "n"}}));
    let deployment = |replicas: i64| {
        let rolling = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        ("deployments", "d", json!({"metadata": {"uid": "d"}, "spec": {"replicas": replicas, "strategy": rolling}}))
    };
    let set = |name, uid, replicas: i64| {
        let metadata = with(owned(uid, "Deployment", "d"), "/labels", Value::Null);
        let metadata = json!({"uid": uid, "ownerReferences": metadata["ownerReferences"],
            "labels": {"pod-template-hash": uid}});
        ("replicasets", name, json!({"metadata": metadata, "spec": {"replicas": replicas}}))
    };
    let of = |name, uid: &str, set: &str| ("pods", name, pod(uid, "ReplicaSet", set));
    let goes = |name, uid: &str, set: &str| ("pods", name, deleted(pod(uid, "ReplicaSet", set)));
    let begun = || vec![namespace(), deployment(1), set("old", "o", 1), of("p1", "1", "o"), set("new", "n", 1)];
    let after = |more: Vec<_>| begun().into_iter().chain(more).collect::<Vec<_>>();
    let cases = [
        ("within the surge", begun(), None),
        ("above the surge", after(vec![set("new", "n", 2)]), Some("never above surge")),
        (
            "the last that serves",
            after(vec![goes("p1", "1", "o")]),
            Some("never below the available minimum because of us"),
        ),
        ("another serves", after(vec![of("p2", "2", "n"), goes("p1", "1", "o")]), None),
        (
            "one of the new was evicted since",
            after(vec![of("p2", "2", "n"), ("pods", "p2", evicted(pod("2", "ReplicaSet", "n"))), goes("p1", "1", "o")]),
            None,
        ),
        (
            "the same template",
            after(vec![(
                "replicasets",
                "twin",
                with(set("twin", "t", 0).2, "/metadata/labels", json!({"pod-template-hash": "n"})),
            )]),
            Some("no ReplicaSet twice"),
        ),
        (
            "a set goes with its pods",
            after(vec![("replicasets", "old", deleted(set("old", "o", 1).2))]),
            Some("no dependent goes while its owner is there"),
        ),
    ];
    for (why, steps, expected) in cases {
        assert_eq!(told("", &steps), expected, "{why}");
    }
}

#[test]
fn budgets_and_quotas() {
    let labelled = |uid: &str| with(pod(uid, "ReplicaSet", "gone"), "/metadata/labels", json!({"app": "web"}));
    let selector = json!({"matchLabels": {"app": "web"}});
    let budget = || {
        (
            "poddisruptionbudgets",
            "b",
            json!({"metadata": {"uid": "b"}, "spec": {"minAvailable": 1, "selector": selector}}),
        )
    };
    let of = |name, uid| ("pods", name, labelled(uid));
    let quota = |used: &str, hard: &str| {
        (
            "resourcequotas",
            "q",
            json!({"metadata": {"uid": "q"}, "status": {"used": {"pods": used}, "hard": {"pods": hard}}}),
        )
    };
    let cases = [
        ("one may go", vec![budget(), of("p1", "1"), of("p2", "2"), ("pods", "p1", evicted(labelled("1")))], None),
        (
            "the last may not",
            vec![budget(), of("p1", "1"), ("pods", "p1", evicted(labelled("1")))],
            Some("budgets are not broken by evictions"),
        ),
        ("nobody counts", vec![quota("1", "5")], Some("quotas are exact and never overshot")),
        ("nothing is there", vec![quota("0", "5")], None),
    ];
    for (why, steps, expected) in cases {
        assert_eq!(told("", &steps), expected, "{why}");
    }
}

#[test]
fn jobs() {
    let job =
        |status: Value| ("jobs", "j", json!({"metadata": {"uid": "j"}, "spec": {"parallelism": 1}, "status": status}));
    let held = |phase: &str| {
        let pod = with(pod("1", "Job", "j"), "/metadata/finalizers", json!([crate::read::JOB_FINALIZER]));
        ("pods", "p", with(pod, "/status/phase", json!(phase)))
    };
    let free = || ("pods", "p", with(pod("1", "Job", "j"), "/status/phase", json!("Succeeded")));
    let noted = || job(json!({"uncountedTerminatedPods": {"succeeded": ["1"]}}));
    let cases = [
        (
            "noted, let go, counted",
            vec![job(json!({})), held("Succeeded"), noted(), free(), job(json!({"succeeded": 1}))],
            None,
        ),
        (
            "let go before it is noted",
            vec![job(json!({})), held("Succeeded"), free()],
            Some("no ended pod goes uncounted"),
        ),
        (
            "noted and counted",
            vec![
                job(json!({})),
                held("Succeeded"),
                job(json!({"succeeded": 1, "uncountedTerminatedPods": {"succeeded": ["1"]}})),
            ],
            Some("Jobs count exactly"),
        ),
        ("counted while it runs", vec![job(json!({})), held("Running"), noted()], Some("Jobs count exactly")),
        ("forgotten", vec![held("Succeeded"), noted(), job(json!({}))], Some("Jobs count exactly")),
    ];
    for (why, steps, expected) in cases {
        assert_eq!(told("", &steps), expected, "{why}");
    }
}

#[test]
fn leaders() {
    let lease = |holder: &str, transitions: i64| {
        let spec = json!({"holderIdentity": holder, "leaseTransitions": transitions});
        ("leases", "kube-controller-manager", json!({"metadata": {"uid": "l"}, "spec": spec}))
    };
    let writes = || ("configmaps", "c", json!({"metadata": {"uid": "c"}}));
    let cases = [
        ("it leads", vec![lease("controllers-1_x", 1), writes()], None),
        ("another leads", vec![lease("controllers-2_x", 1), writes()], Some("who leads no more writes no more")),
        ("it passes on", vec![lease("controllers-2_x", 1), lease("controllers-1_x", 2)], None),
        (
            "it passes on in silence",
            vec![lease("controllers-2_x", 1), lease("controllers-1_x", 1)],
            Some("leases pass on as they must"),
        ),
    ];
    for (why, steps, expected) in cases {
        assert_eq!(told("controllers-1", &steps), expected, "{why}");
    }
}

#[test]
fn objects() {
    let node = || ("minions", "n1", json!({"metadata": {"uid": "n"}, "status": {"allocatable": {"cpu": "1"}}}));
    let placed = |name, uid: &str, cpu: &str| {
        let containers = json!([{"resources": {"requests": {"cpu": cpu}}}]);
        ("pods", name, json!({"metadata": {"uid": uid}, "spec": {"nodeName": "n1", "containers": containers}}))
    };
    let counted = |count: &str| {
        ("configmaps", "c", json!({"metadata": {"uid": "c", "annotations": {"simulation/count": count}}}))
    };
    let held = |finalizers: Value| ("configmaps", "c", json!({"metadata": {"uid": "c", "finalizers": finalizers}}));
    let cases = [
        ("room for both", vec![node(), placed("p1", "1", "500m"), placed("p2", "2", "500m")], None),
        (
            "room for one",
            vec![node(), placed("p1", "1", "1"), placed("p2", "2", "1m")],
            Some("nodes are not overcommitted"),
        ),
        ("counted on", vec![counted("1"), counted("2")], None),
        ("counted back", vec![counted("2"), counted("1")], Some("what users write is not taken back")),
        (
            "another of its name",
            vec![counted("2"), ("configmaps", "c", json!({"metadata": {"uid": "d"}}))],
            Some("uids, generations and creation do not change"),
        ),
        (
            "gone, and held by two",
            vec![held(json!(["x", "y"])), ("configmaps", "c", Value::Null)],
            Some("finalizers are waited for"),
        ),
        ("gone with its last holder", vec![held(json!(["x"])), ("configmaps", "c", Value::Null)], None),
    ];
    for (why, steps, expected) in cases {
        assert_eq!(told("", &steps), expected, "{why}");
    }
}
