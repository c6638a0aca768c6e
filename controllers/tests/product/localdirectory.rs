//! Volumes that are directories of nodes: one for each claim, gone with it, and their class made once, whatever the line does.

use std::collections::BTreeSet;
use std::time::Duration;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::{localdirectory, persistentvolume, pvcprotection, pvprotection};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::State;
use crate::world::{World, play, until};

const SEEDS: u64 = 6;
const FAULTS: usize = 8;
const CLAIMS: usize = 3;
const FINALIZER: &str = "corten.io/local-directory";
const SELECTED: &str = "volume.kubernetes.io/selected-node";

fn at(plural: &str, namespace: &str, name: &str) -> (String, Key) {
    (plural.to_owned(), Key::new(namespace, name))
}
fn claim(name: &str, node: &str) -> Value {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "local-directory",
        "resources": {"requests": {"storage": "1Gi"}}});
    let metadata = json!({"name": name, "namespace": "ns", "annotations": {SELECTED: node}});
    json!({"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}})
}
fn named(state: &State, plural: &str) -> usize {
    state.of(plural).count()
}
fn bound(state: &State) -> usize {
    state.of("persistentvolumeclaims").filter(|(_, claim)| claim["status"]["phase"] == "Bound").count()
}

async fn world(server: &ApiServer, stop: &CancellationToken) -> World {
    server.with(|state| {
        state.create("namespaces", json!({"metadata": {"name": "kube-system"}})).unwrap();
        let labels = json!({"kubernetes.io/hostname": "n1"});
        state.create("nodes", json!({"metadata": {"name": "n1", "labels": labels}})).unwrap();
    });
    let world = World::new(server, stop).await;
    world.start("persistentvolume-claims", persistentvolume::claims);
    world.start("persistentvolume-volumes", persistentvolume::volumes);
    world.start("pvcprotection", pvcprotection::controller);
    world.start("pvprotection", pvprotection::controller);
    world.start("localdirectory-claims", localdirectory::claims);
    world.start("localdirectory-volumes", localdirectory::volumes);
    world
}

/// Mounts each volume that is bound, and removes the directory of each that is deleted, as a node's kubelet does.
async fn kubelet(server: ApiServer) {
    loop {
        tokio::time::sleep(Duration::from_millis(30)).await;
        server.with(|state| {
            let keys: Vec<_> = state.of("persistentvolumes").map(|(key, _)| key.clone()).collect();
            for key in keys {
                let at = ("persistentvolumes".to_owned(), key);
                let mut volume = state.objects[&at].clone();
                let mut finalizers: Vec<String> =
                    serde_json::from_value(volume["metadata"]["finalizers"].clone()).unwrap_or_default();
                let (has, goes) =
                    (finalizers.iter().any(|one| one == FINALIZER), !volume["metadata"]["deletionTimestamp"].is_null());
                if !has && !goes && volume["status"]["phase"] == "Bound" {
                    finalizers.push(FINALIZER.to_owned());
                } else if has && goes && finalizers.len() == 1 {
                    finalizers.clear();
                } else {
                    continue;
                }
                volume["metadata"]["finalizers"] = json!(finalizers);
                state.replace(&at, volume).unwrap();
            }
        });
    }
}

#[test]
fn each_claim_gets_one_volume_that_goes_with_it() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            let _world = world(&server, &stop).await;
            server.with(|state| {
                for n in 0..CLAIMS {
                    state.create("persistentvolumeclaims", claim(&format!("c{n}"), "n1")).unwrap();
                }
                state.check = Box::new(|objects| {
                    let volumes = objects.iter().filter(|((plural, _), _)| plural == "persistentvolumes");
                    let claims: Vec<&str> =
                        volumes.filter_map(|(_, volume)| volume["spec"]["claimRef"]["uid"].as_str()).collect();
                    let different: BTreeSet<_> = claims.iter().collect();
                    if different.len() == claims.len() { Ok(()) } else { Err(format!("{claims:?}")) }
                });
            });
            let kubelet = tokio::spawn(kubelet(server.clone()));
            server.set_faults(FAULTS);
            until(&server, "each claim is bound", |state| bound(state) == CLAIMS).await;
            until(&server, "each directory is there", |state| {
                state.of("persistentvolumes").all(|(_, v)| v["metadata"]["finalizers"].to_string().contains(FINALIZER))
            })
            .await;
            assert_eq!(server.with(|state| named(state, "persistentvolumes")), CLAIMS);
            server.with(|state| state.delete(&at("persistentvolumeclaims", "ns", "c0"), &json!({})).unwrap());
            until(&server, "its volume is gone", |state| named(state, "persistentvolumes") == CLAIMS - 1).await;
            // Now the node goes, and the directories with it.
            kubelet.abort();
            server.with(|state| {
                state.delete(&at("nodes", "", "n1"), &json!({})).unwrap();
                for n in 1..CLAIMS {
                    state.delete(&at("persistentvolumeclaims", "ns", &format!("c{n}")), &json!({})).unwrap();
                }
            });
            until(&server, "nothing is left", |state| named(state, "persistentvolumes") == 0).await;
            stop.cancel();
        });
    });
}

#[test]
fn a_claim_whose_node_is_gone_is_given_back_to_the_scheduler() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let _world = world(&server, &stop).await;
        server.with(|state| state.create("persistentvolumeclaims", claim("data", "gone")).unwrap());
        until(&server, "no node is selected", |state| {
            let claim = &state.objects[&at("persistentvolumeclaims", "ns", "data")];
            claim["metadata"]["annotations"][SELECTED].is_null()
        })
        .await;
        assert_eq!(server.with(|state| named(state, "persistentvolumes")), 0);
        stop.cancel();
    });
}

#[test]
fn the_class_is_made_once_and_is_the_default_if_there_is_none() {
    let class = at("storageclasses", "", "local-directory");
    for (why, other, expected) in [("none", None, json!("true")), ("another", Some("true"), json!(null))] {
        play(async {
            let (server, stop) = (ApiServer::new(0), CancellationToken::new());
            if let Some(is_default) = other {
                let annotations = json!({"storageclass.kubernetes.io/is-default-class": is_default});
                let other = json!({"metadata": {"name": "other", "annotations": annotations}, "provisioner": "example.org/disk"});
                server.with(|state| state.create("storageclasses", other).unwrap());
            }
            let world = world(&server, &stop).await;
            let is_told = |state: &State| {
                !state.objects[&at("namespaces", "", "kube-system")]["metadata"]["annotations"].is_null()
            };
            until(&server, "it is made, and that is said", is_told).await;
            server.with(|state| {
                let made = &state.objects[&class];
                let mark = &made["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"];
                assert_eq!((mark, &made["volumeBindingMode"]), (&expected, &json!("WaitForFirstConsumer")), "{why}");
                state.delete(&class, &json!({})).unwrap();
            });
            // The next leader: what it does later shows that it has begun.
            world.start("localdirectory-claims", localdirectory::claims);
            server.with(|state| {
                let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "mine",
                    "resources": {"requests": {"storage": "1Gi"}}});
                let metadata = json!({"name": "data", "namespace": "ns", "annotations": {SELECTED: "n1"}});
                let mine = json!({"metadata": {"name": "mine"}, "provisioner": "corten.io/local-directory",
                    "volumeBindingMode": "WaitForFirstConsumer"});
                state.create("storageclasses", mine).unwrap();
                let claim = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}});
                state.create("persistentvolumeclaims", claim).unwrap();
            });
            until(&server, "a volume of another class of ours", |state| bound(state) == 1).await;
            assert!(server.with(|state| !state.objects.contains_key(&class)), "{why}: who deletes it is obeyed");
            stop.cancel();
        });
    }
}
