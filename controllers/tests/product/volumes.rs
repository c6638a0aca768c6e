//! Claims come to volumes, and no two to the same, whatever the line does.

use std::collections::BTreeSet;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::{persistentvolume, pvcprotection, pvprotection};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::State;
use crate::world::{World, play, until};

const SEEDS: u64 = 6;
const FAULTS: usize = 8;
const CLAIMS: usize = 4;

fn at(plural: &str, namespace: &str, name: &str) -> (String, Key) {
    (plural.to_owned(), Key::new(namespace, name))
}

fn claim(name: &str) -> Value {
    let resources = json!({"requests": {"storage": "1Gi"}});
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": resources});
    json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec, "status": {"phase": "Pending"}})
}

fn volume(name: &str) -> Value {
    let spec = json!({
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
        "persistentVolumeReclaimPolicy": "Retain",
    });
    json!({"metadata": {"name": name}, "spec": spec, "status": {"phase": "Pending"}})
}

fn bound(state: &State) -> usize {
    state.of("persistentvolumeclaims").filter(|(_, claim)| claim["status"]["phase"] == "Bound").count()
}

#[test]
fn no_volume_is_given_to_two_claims_and_one_that_comes_late_is_taken() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| {
                for n in 0..CLAIMS {
                    state.create("persistentvolumeclaims", claim(&format!("c{n}"))).unwrap();
                }
                for n in 1..CLAIMS {
                    state.create("persistentvolumes", volume(&format!("v{n}"))).unwrap();
                }
                state.check = Box::new(|objects| {
                    let claims = objects.iter().filter(|((plural, _), _)| plural == "persistentvolumeclaims");
                    let named: Vec<&str> =
                        claims.filter_map(|(_, claim)| claim["spec"]["volumeName"].as_str()).collect();
                    let different: BTreeSet<_> = named.iter().collect();
                    if different.len() == named.len() { Ok(()) } else { Err(format!("{named:?}")) }
                });
            });
            let world = World::new(&server, &stop).await;
            world.start("persistentvolume-claims", persistentvolume::claims);
            world.start("persistentvolume-volumes", persistentvolume::volumes);
            world.start("pvcprotection", pvcprotection::controller);
            world.start("pvprotection", pvprotection::controller);
            server.set_faults(FAULTS);
            until(&server, "each volume has a claim", |state| bound(state) == CLAIMS - 1).await;
            server.with(|state| state.create("persistentvolumes", volume("late")).unwrap());
            until(&server, "the last claim has the late one", |state| bound(state) == CLAIMS).await;
            // It goes: nobody uses it.
            server.with(|state| state.delete(&at("persistentvolumeclaims", "ns", "c0"), &json!({})).unwrap());
            until(&server, "the claim is gone, and its volume free of it", |state| {
                let released =
                    state.of("persistentvolumes").filter(|(_, v)| v["status"]["phase"] == "Released").count();
                !state.objects.contains_key(&at("persistentvolumeclaims", "ns", "c0")) && released == 1
            })
            .await;
            stop.cancel();
        });
    });
}

#[test]
fn a_claim_that_a_pod_uses_stays_until_the_pod_is_gone() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| {
            state.create("persistentvolumeclaims", claim("data")).unwrap();
            let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
            let spec = json!({"nodeName": "n", "containers": [], "volumes": volumes});
            state.create("pods", json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("pvcprotection", pvcprotection::controller);
        let data = at("persistentvolumeclaims", "ns", "data");
        let is_protected =
            |state: &State| state.objects[&data]["metadata"]["finalizers"][0] == "kubernetes.io/pvc-protection";
        until(&server, "it is protected", is_protected).await;
        server.with(|state| state.delete(&data, &json!({})).unwrap());
        // A claim that comes later shows that this one was looked at.
        server.with(|state| state.create("persistentvolumeclaims", claim("later")).unwrap());
        let later = at("persistentvolumeclaims", "ns", "later");
        until(&server, "the later one is protected", |state| {
            state.objects[&later]["metadata"]["finalizers"].is_array()
        })
        .await;
        assert!(server.with(|state| state.objects.contains_key(&data)), "a pod uses it");
        server.with(|state| state.delete(&at("pods", "ns", "p"), &json!({"gracePeriodSeconds": 0})).unwrap());
        until(&server, "it is gone", |state| !state.objects.contains_key(&data)).await;
        stop.cancel();
    });
}

#[test]
fn a_claim_says_since_when_no_pod_has_wanted_it() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let pod = || {
            let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
            let spec = json!({"containers": [], "volumes": volumes});
            json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})
        };
        let data = at("persistentvolumeclaims", "ns", "data");
        server.with(|state| {
            state.create("persistentvolumeclaims", claim("data")).unwrap();
            let mut bound = state.objects[&data].clone();
            bound["status"] = json!({"phase": "Bound", "conditions": [{"type": "Resizing", "status": "True"}]});
            state.replace(&data, bound).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("pvcprotection", pvcprotection::controller);
        let says = |reason: &'static str| {
            let data = data.clone();
            move |state: &State| {
                let all = &state.objects[&data]["status"]["conditions"];
                all[0]["type"] == "Resizing" && all[1]["type"] == "Unused" && all[1]["reason"] == reason
            }
        };
        until(&server, "nobody wants it", says("NoPodsUsingPVC")).await;
        server.with(|state| state.create("pods", pod()).unwrap());
        until(&server, "a pod wants it, without a node", says("PodUsingPVC")).await;
        server.with(|state| {
            let mut ended = state.objects[&at("pods", "ns", "p")].clone();
            ended["status"] = json!({"phase": "Succeeded"});
            state.replace(&at("pods", "ns", "p"), ended).unwrap();
        });
        until(&server, "the pod has ended", says("NoPodsUsingPVC")).await;
        stop.cancel();
    });
}
