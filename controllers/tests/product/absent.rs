//! Kinds that the apiserver does not serve, or not any more: nobody waits for them, and nothing is deleted for them.

use std::sync::Arc;
use std::time::Duration;

use corten_api::Key;
use corten_api::k8s_openapi::api::apps::v1::ReplicaSet;
use corten_api::k8s_openapi::api::core::v1::ConfigMap;
use corten_client::{CancellationToken, Change, Watch};
use corten_controllers::garbagecollector;
use parking_lot::Mutex;
use serde_json::json;

use crate::apiserver::ApiServer;
use crate::world::{World, play, template, until};

/// Longer than the longest pause between two questions for an absent kind.
const LONG: Duration = Duration::from_secs(600);

fn at(plural: &str, name: &str) -> (String, Key) {
    (plural.to_owned(), Key::new("ns", name))
}

fn collect_garbage(world: &World) {
    world.start("garbagecollector", garbagecollector::controller);
    world.monitor();
}

/// A ReplicaSet and a pod of its own.
fn fill(server: &ApiServer) {
    server.with(|state| {
        let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("one")});
        let meta = json!({"name": "web", "namespace": "ns"});
        let set = state.create("replicasets", json!({"metadata": meta, "spec": spec})).unwrap();
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": set["metadata"]["uid"],
            "controller": true, "blockOwnerDeletion": true,
        });
        let meta = json!({"name": "web-1", "namespace": "ns", "ownerReferences": [owner]});
        state.create("pods", json!({"metadata": meta, "spec": {"containers": []}})).unwrap();
    });
}

#[test]
fn foreground_deletion_does_not_wait_for_a_kind_that_is_not_served() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.set_absent(vec!["ipaddresses", "podtemplates"]);
        fill(&server);
        let world = World::new(&server, &stop).await;
        collect_garbage(&world);
        server.with(|state| {
            state.delete(&at("replicasets", "web"), &json!({"propagationPolicy": "Foreground"})).unwrap()
        });
        until(&server, "the pod and then its owner are gone", |state| {
            state.of("pods").count() == 0 && state.of("replicasets").count() == 0
        })
        .await;
        stop.cancel();
    });
}

#[test]
fn nothing_is_deleted_because_the_kind_of_its_owner_is_not_served() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        fill(&server);
        let world = World::new(&server, &stop).await;
        let sets = world.context.caches.of::<ReplicaSet>();
        collect_garbage(&world);
        world.setup.monitors.synced().await;
        // Another apiserver answers, which is older.
        server.set_absent(vec!["replicasets"]);
        tokio::time::sleep(LONG).await;
        assert!(sets.is_empty(), "a kind that is not served has no objects");
        assert_eq!(server.with(|state| state.of("pods").count()), 1);
        server.set_absent(Vec::new());
        tokio::time::sleep(LONG).await;
        assert_eq!((sets.len(), server.with(|state| state.of("pods").count())), (1, 1));
        stop.cancel();
    });
}

#[test]
fn an_absent_kind_is_empty_and_is_seen_when_it_is_served() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let create = |name: &str| {
            let object = json!({"metadata": {"name": name, "namespace": "ns"}});
            server.with(|state| state.create("configmaps", object).unwrap());
        };
        create("one");
        server.set_absent(vec!["configmaps"]);
        let client = server.client(&stop).await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let cache = Watch::<ConfigMap>::all(&client).start(&stop, move |change| {
            tell.lock().push(match change {
                Change::Set { key, .. } => format!("{} is there", key.name),
                Change::Removed { key, .. } => format!("{} is gone", key.name),
                Change::Synced => "synced".to_owned(),
            });
        });
        tokio::time::timeout(LONG, cache.synced()).await.expect("a kind that is not served is complete");
        tokio::time::sleep(LONG).await;
        assert_eq!(*told.lock(), ["synced"]);
        let asked = server.absent_asked();
        assert!((10..=20).contains(&asked), "asked for {asked} times in {LONG:?}");

        server.set_absent(Vec::new());
        tokio::time::sleep(LONG).await;
        assert_eq!(*told.lock(), ["synced", "one is there"]);

        let seen = cache.revision();
        server.set_absent(vec!["configmaps"]);
        tokio::time::timeout(LONG, cache.reached(seen + 1)).await.expect("who waits for a change looks again");
        create("two");
        server.set_absent(Vec::new());
        tokio::time::sleep(LONG).await;
        let all = ["synced", "one is there", "one is gone", "one is there", "two is there"];
        assert_eq!(*told.lock(), all);
        stop.cancel();
    });
}

#[test]
fn of_hundreds_of_owners_that_are_not_there_few_are_asked_for_at_one_look() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let owner = |n: usize| {
            let name = format!("none-{n}");
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name})
        };
        let owners: Vec<_> = (0..300).map(owner).collect();
        server.with(|state| {
            let meta = json!({"name": "odd", "namespace": "ns", "ownerReferences": owners});
            state.create("secrets", json!({"metadata": meta})).unwrap();
        });
        let world = World::new(&server, &stop).await;
        collect_garbage(&world);
        until(&server, "it goes with the last of its owners", |state| state.of("secrets").count() == 0).await;
        let left: Vec<usize> = server.with(|state| {
            let of_secrets = state.log.iter().filter(|change| change.at.0 == "secrets");
            of_secrets.map(|c| c.object["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len)).collect()
        });
        assert_eq!(left, [300, 250, 200, 150, 100, 50, 50], "of how many it was told after each look");
        stop.cancel();
    });
}
