//! What a look at one object costs in a namespace that is full of others' things, counted in objects read.

use std::time::Duration;

use corten_api::Key;
use corten_api::k8s_openapi::api::apps::v1::ReplicaSet;
use corten_client::CancellationToken;
use corten_controllers::context::Context;
use corten_controllers::pods::SeenPod;
use corten_controllers::{deployment, disruption, endpoints, endpointslice, replicas};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::State;
use crate::world::{World, is_active, play, template, until};

const PODS_OF_OTHERS: usize = 10_000;
/// Objects read until a few pods are made or replaced. Whoever looks at what others own reads more at one look.
const READ_MAX: usize = 1_000;
/// Longer than anything here waits, retries and late answers among it.
const QUIET: Duration = Duration::from_secs(10);

fn at(plural: &str, name: &str) -> (String, Key) {
    (plural.to_owned(), Key::new("ns", name))
}

/// The metadata of another's: it has the labels that `web` selects, and nothing but its owner says whose it is.
fn of_other(name: &str, owner_kind: &str) -> Value {
    let uid = format!("uid-of-{name}");
    let owner = json!({"apiVersion": "apps/v1", "kind": owner_kind, "name": "other", "uid": uid, "controller": true});
    json!({"name": name, "namespace": "ns", "labels": {"app": "web"}, "ownerReferences": [owner]})
}

fn pod_of_other(name: &str) -> Value {
    json!({"metadata": of_other(name, "ReplicaSet"), "spec": {"containers": []}})
}

fn fill(state: &mut State, pods: usize, sets: usize) {
    for n in 0..pods {
        state.create("pods", pod_of_other(&format!("other-{n}"))).unwrap();
    }
    let labels = json!({"app": "other"});
    let spec =
        json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}});
    for n in 0..sets {
        let meta = of_other(&format!("other-{n}"), "Deployment");
        let status = json!({"replicas": 0, "observedGeneration": 1});
        state.create("replicasets", json!({"metadata": meta, "spec": spec, "status": status})).unwrap();
    }
}

/// Returns once nothing reads the caches any more: in paused time that is when nothing is left to be done.
async fn settled(context: &Context) -> (usize, usize) {
    let read = || (context.caches.of::<SeenPod>().objects_read(), context.caches.of::<ReplicaSet>().objects_read());
    let mut before = None;
    while before != Some(read()) {
        before = Some(read());
        tokio::time::sleep(QUIET).await;
    }
    read()
}

fn spec(replicas: usize, image: &str) -> Value {
    json!({
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image),
        "strategy": {"type": "Recreate"}, "revisionHistoryLimit": 2, "progressDeadlineSeconds": 600,
    })
}

fn edit(state: &mut State, plural: &str, name: &str, edit: impl FnOnce(&mut Value)) {
    let mut object = state.objects[&at(plural, name)].clone();
    edit(&mut object);
    state.replace(&at(plural, name), object).unwrap();
}

/// Pods of ReplicaSets named `web…` with this image.
fn pods_of_web(state: &State, image: &str) -> usize {
    let of_web = |pod: &Value| {
        let owner = pod["metadata"]["ownerReferences"][0]["name"].as_str().unwrap_or_default();
        owner.starts_with("web") && is_active(pod) && pod["spec"]["containers"][0]["image"] == image
    };
    state.of("pods").filter(|(_, pod)| of_web(pod)).count()
}

#[test]
fn ten_thousand_pods_of_others_in_the_namespace_are_not_read_for_a_replica_set() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| {
            fill(state, PODS_OF_OTHERS, 0);
            let meta = json!({"name": "web", "namespace": "ns"});
            state.create("replicasets", json!({"metadata": meta, "spec": spec(3, "one")})).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        let has = |count: usize| {
            move |state: &State| {
                let set = &state.objects[&at("replicasets", "web")];
                set["status"]["replicas"] == json!(count) && pods_of_web(state, "one") == count
            }
        };
        until(&server, "three pods", has(3)).await;
        let (before, _) = settled(&world.context).await;
        server.with(|state| edit(state, "replicasets", "web", |set| set["spec"]["replicas"] = json!(5)));
        until(&server, "five pods", has(5)).await;
        server.with(|state| edit(state, "replicasets", "web", |set| set["spec"]["replicas"] = json!(2)));
        until(&server, "two pods", has(2)).await;
        let read = settled(&world.context).await.0 - before;
        assert!(read <= READ_MAX, "{read} pods read of {PODS_OF_OTHERS} that are others'");
        stop.cancel();
    });
}

#[test]
fn what_others_own_in_the_namespace_is_not_read_for_a_deployment() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| fill(state, 2_000, 500));
        let world = World::new(&server, &stop).await;
        world.start("deployment", deployment::controller);
        world.start("replicaset", replicas::owners::replica_sets);
        let before = settled(&world.context).await;
        server.with(|state| {
            let meta = json!({"name": "web", "namespace": "ns"});
            state.create("deployments", json!({"metadata": meta, "spec": spec(3, "one")})).unwrap();
        });
        until(&server, "three pods", |state| pods_of_web(state, "one") == 3).await;
        server.with(|state| {
            edit(state, "deployments", "web", |deployment| deployment["spec"]["template"] = template("two"));
        });
        until(&server, "three new ones", |state| pods_of_web(state, "two") == 3 && pods_of_web(state, "one") == 0)
            .await;
        let after = settled(&world.context).await;
        let read = (after.0 - before.0, after.1 - before.1);
        assert!(read.0 <= READ_MAX && read.1 <= READ_MAX, "{read:?} pods and sets read that are others'");
        stop.cancel();
    });
}

#[test]
fn of_ten_thousand_pods_in_the_namespace_a_service_and_a_budget_read_those_that_they_select() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let pod = |name: &str, app: &str| {
            let meta = json!({"name": name, "namespace": "ns", "labels": {"app": app, "tier": "front"}});
            json!({"metadata": meta, "spec": {"containers": []}, "status": {"phase": "Running", "podIP": "10.0.0.1"}})
        };
        server.with(|state| {
            for n in 0..PODS_OF_OTHERS {
                state.create("pods", pod(&format!("other-{n}"), "other")).unwrap();
            }
            for n in 0..3 {
                state.create("pods", pod(&format!("web-{n}"), "web")).unwrap();
            }
        });
        let world = World::new(&server, &stop).await;
        world.start("endpointslice", endpointslice::controller);
        world.start("endpoints", endpoints::controller);
        world.start("disruption", disruption::controller);
        let before = settled(&world.context).await.0;
        let labels = json!({"app": "web", "tier": "front"});
        server.with(|state| {
            let meta = json!({"name": "web", "namespace": "ns"});
            let spec = json!({"selector": labels, "ports": [{"port": 80}], "clusterIP": "10.96.0.7"});
            state.create("services", json!({"metadata": meta, "spec": spec})).unwrap();
            let spec = json!({"minAvailable": 1, "selector": {"matchLabels": labels}});
            state.create("poddisruptionbudgets", json!({"metadata": meta, "spec": spec})).unwrap();
        });
        let shown = |count: usize| {
            move |state: &State| {
                let slices = state
                    .of("endpointslices")
                    .flat_map(|(_, s)| s["endpoints"].as_array().cloned().unwrap_or_default());
                slices.count() == count
                    && state.objects[&at("poddisruptionbudgets", "web")]["status"]["currentHealthy"] == 0
            }
        };
        until(&server, "three endpoints", shown(3)).await;
        server.with(|state| edit(state, "pods", "web-0", |pod| pod["metadata"]["labels"]["app"] = json!("db")));
        until(&server, "two endpoints", shown(2)).await;
        let read = settled(&world.context).await.0 - before;
        assert!(read <= 60, "{read} pods read to find three");
        stop.cancel();
    });
}

#[test]
fn orphans_that_nobody_selects_are_not_read_for_a_replica_set() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| {
            for n in 0..PODS_OF_OTHERS {
                let meta = json!({"name": format!("orphan-{n}"), "namespace": "ns", "labels": {"app": "db"}});
                state.create("pods", json!({"metadata": meta, "spec": {"containers": []}})).unwrap();
            }
        });
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        let before = settled(&world.context).await.0;
        server.with(|state| {
            let meta = json!({"name": "web", "namespace": "ns"});
            state.create("replicasets", json!({"metadata": meta, "spec": spec(3, "one")})).unwrap();
        });
        until(&server, "three pods", |state| pods_of_web(state, "one") == 3).await;
        let read = settled(&world.context).await.0 - before;
        assert!(read <= READ_MAX, "{read} pods read of {PODS_OF_OTHERS} that nobody selects");
        stop.cancel();
    });
}

#[test]
fn orphans_that_match_are_adopted_and_pods_that_no_longer_match_are_released() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let orphan = |name: &str, app: &str| {
            let meta = json!({"name": name, "namespace": "ns", "labels": {"app": app}});
            json!({"metadata": meta, "spec": {"containers": []}})
        };
        server.with(|state| {
            state.create("pods", pod_of_other("of-other")).unwrap();
            state.create("pods", orphan("matches", "web")).unwrap();
            state.create("pods", orphan("differs", "db")).unwrap();
            let meta = json!({"name": "web", "namespace": "ns"});
            state.create("replicasets", json!({"metadata": meta, "spec": spec(2, "one")})).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        let owner = |state: &State, name: &str| {
            let owners = &state.objects[&at("pods", name)]["metadata"]["ownerReferences"][0];
            let is_controller = owners["controller"] == json!(true);
            is_controller.then(|| owners["name"].as_str().unwrap_or_default().to_owned())
        };
        until(&server, "the orphan and one more", |state| {
            owner(state, "matches").as_deref() == Some("web") && pods_of_web(state, "one") == 1
        })
        .await;
        server.with(|state| {
            edit(state, "pods", "matches", |pod| pod["metadata"]["labels"] = json!({"app": "db"}));
        });
        until(&server, "another in place of the one let go", |state| {
            owner(state, "matches").is_none() && pods_of_web(state, "one") == 2
        })
        .await;
        server.with(|state| {
            assert_eq!(owner(state, "of-other").as_deref(), Some("other"));
            assert_eq!(owner(state, "differs"), None);
        });
        stop.cancel();
    });
}
