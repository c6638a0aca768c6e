//! An orphan that cannot be adopted, and an object that cannot be let go, keep no owner from its work.

use std::time::Duration;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_controllers::controller::{Loop, Setup};
use corten_controllers::{daemonset, deployment, job, replicas, statefulset};
use serde_json::{Value, json};

use crate::apiserver::{ApiServer, STUCK};
use crate::store::{At, State};
use crate::world::{World, play, until};

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}})
}

fn owner(spec: &Value) -> Value {
    let mut all = json!({"selector": {"matchLabels": {"app": "web"}}, "template": template()});
    spec.as_object().unwrap().iter().for_each(|(field, value)| all[field] = value.clone());
    json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": all})
}

/// Matches the owner's selector, and cannot be patched.
fn orphan(rest: &Value) -> Value {
    let mut orphan = rest.clone();
    orphan["metadata"] = json!({"name": "orphan", "namespace": "ns", "labels": {"app": "web", STUCK: ""}});
    orphan
}

fn owned(state: &State, plural: &str) -> usize {
    state.of(plural).filter(|(_, object)| object["metadata"]["ownerReferences"][0]["name"] == "web").count()
}

type Case = (&'static str, fn(&Setup) -> Loop, Value, (&'static str, Value), &'static str);

#[test]
fn an_orphan_that_cannot_be_adopted_keeps_no_owner_from_its_work() {
    let pod = || ("pods", orphan(&json!({"spec": {"containers": []}})));
    let set = || ("replicasets", orphan(&json!({"spec": {"replicas": 1, "template": template()}})));
    let rolling = json!({"replicas": 1, "serviceName": "web"});
    // The template that the owner has: its own revision would have the orphan's name if that had the hash in it.
    let revision =
        || ("controllerrevisions", orphan(&json!({"revision": 1, "data": {"spec": {"template": template()}}})));
    let cases: [Case; 6] = [
        ("replicasets", replicas::owners::replica_sets, owner(&json!({"replicas": 1})), pod(), "pods"),
        ("jobs", job::controller, owner(&json!({})), pod(), "pods"),
        ("deployments", deployment::controller, owner(&json!({"replicas": 1})), set(), "replicasets"),
        ("daemonsets", daemonset::controller, owner(&json!({})), pod(), "pods"),
        ("daemonsets", daemonset::controller, owner(&json!({})), revision(), "pods"),
        ("statefulsets", statefulset::controller, owner(&rolling), revision(), "pods"),
    ];
    for (plural, controller, object, (kind, orphan), expected) in cases {
        play(async move {
            let (server, stop) = (ApiServer::new(0), CancellationToken::new());
            server.with(|state| {
                let node = json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"pods": "10"}}});
                state.create("nodes", node).unwrap();
                state.create(kind, orphan).unwrap();
                state.create(plural, object).unwrap();
            });
            let world = World::new(&server, &stop).await;
            world.start(plural, controller);
            let what = format!("one of the {expected} of the {plural} beside the orphan of {kind}");
            until(&server, &what, |state| owned(state, expected) == 1).await;
            let at: At = (kind.to_owned(), Key::new("ns", "orphan"));
            assert!(server.with(|state| state.objects[&at]["metadata"]["ownerReferences"].is_null()), "{plural}");
            stop.cancel();
        });
    }
}

#[test]
fn a_pod_that_cannot_be_let_go_is_replaced_all_the_same_and_let_go_once_it_can_be() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let at: At = ("pods".to_owned(), Key::new("ns", "old"));
        server.with(|state| {
            let web = state.create("replicasets", owner(&json!({"replicas": 1}))).unwrap();
            let owners = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": web["metadata"]["uid"],
                "controller": true}]);
            let meta = json!({"name": "old", "namespace": "ns", "labels": {"app": "db", STUCK: ""}, "ownerReferences": owners});
            state.create("pods", json!({"metadata": meta, "spec": {"containers": []}})).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        until(&server, "another in its place", |state| owned(state, "pods") == 2).await;
        server.with(|state| {
            let mut old = state.objects[&at].clone();
            old["metadata"]["labels"] = json!({"app": "db"});
            state.replace(&at, old).unwrap();
        });
        until(&server, "it to be let go", |state| {
            state.objects[&at]["metadata"]["ownerReferences"][0]["name"] != "web"
        })
        .await;
        stop.cancel();
    });
}

#[test]
fn what_cannot_be_had_is_asked_for_less_and_less_often_whatever_happens_meanwhile() {
    for (plural, controller) in
        [("replicasets", replicas::owners::replica_sets as fn(&Setup) -> Loop), ("jobs", job::controller)]
    {
        play(async move {
            let (server, stop) = (ApiServer::new(0), CancellationToken::new());
            server.with(|state| {
                state.create("pods", orphan(&json!({"spec": {"containers": []}}))).unwrap();
                state.create(plural, owner(&json!({"replicas": 1}))).unwrap();
            });
            let world = World::new(&server, &stop).await;
            world.start(plural, controller);
            until(&server, "another", |state| owned(state, "pods") == 1).await;
            let at: At = ("pods".to_owned(), Key::new("ns", "orphan"));
            for n in 0..300 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                server.with(|state| {
                    let mut pod = state.objects[&at].clone();
                    pod["metadata"]["annotations"] = json!({"beat": n.to_string()});
                    state.replace(&at, pod).unwrap();
                });
            }
            let refused = server.with(|state| state.patches_refused);
            assert!((2..40).contains(&refused), "{plural}: {refused} were refused");
            server.with(|state| {
                let mut pod = state.objects[&at].clone();
                pod["metadata"]["labels"] = json!({"app": "web"});
                state.replace(&at, pod).unwrap();
            });
            until(&server, "the orphan to be adopted", |state| {
                state.objects.get(&at).is_none_or(|pod| !pod["metadata"]["ownerReferences"].is_null())
            })
            .await;
            stop.cancel();
        });
    }
}
