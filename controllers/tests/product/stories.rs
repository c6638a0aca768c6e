//! What the controllers must never do, and what they must get done, whatever goes wrong on the line.

use std::sync::Arc;
use std::time::Duration;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::{deployment, endpointslice, garbagecollector, podgc, replicas};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::world::{World, assert_fine, is_active, is_ready, kubelet, play, template, until};

/// Of a hundred writes, so many are not done, and as many are done without an answer.
const FAULTS: usize = 8;
const SEEDS: u64 = 6;

fn at(plural: &str, name: &str) -> (String, Key) {
    (plural.to_owned(), Key::new("ns", name))
}

fn replica_set(replicas: usize) -> Value {
    let selector = json!({"matchLabels": {"app": "web"}});
    let spec = json!({"replicas": replicas, "selector": selector, "template": template("good")});
    json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})
}

fn pods(objects: &std::collections::BTreeMap<(String, Key), Value>, count: fn(&Value) -> bool) -> usize {
    objects.iter().filter(|((plural, _), pod)| plural == "pods" && is_active(pod) && count(pod)).count()
}

#[test]
fn lost_answers_never_make_one_pod_too_many_nor_take_one_too_many() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            let bounds = Arc::new(Mutex::new((0, 3)));
            let checked = Arc::clone(&bounds);
            server.with(|state| {
                state.create("replicasets", replica_set(3)).unwrap();
                state.check = Box::new(move |objects| {
                    let ((low, high), there) = (*checked.lock(), pods(objects, |_| true));
                    if (low..=high).contains(&there) {
                        Ok(())
                    } else {
                        Err(format!("{there} pods, not {low} to {high}"))
                    }
                });
            });
            let world = World::new(&server, &stop).await;
            tokio::spawn(stop.clone().run_until_cancelled_owned(kubelet(server.clone())));
            world.start("replicaset", replicas::owners::replica_sets);
            server.set_faults(FAULTS);
            let mut wanted = 3;
            for _ in 0..8 {
                until(&server, "as many pods as are wanted", |state| pods(&state.objects, |_| true) == wanted).await;
                let next = server.with(|state| state.chance.below(9));
                *bounds.lock() = (wanted.min(next), wanted.max(next));
                wanted = next;
                server.with(|state| {
                    let mut set = state.objects[&at("replicasets", "web")].clone();
                    set["spec"]["replicas"] = json!(wanted);
                    state.replace(&at("replicasets", "web"), set).unwrap();
                });
            }
            stop.cancel();
        });
    });
}

#[test]
fn a_rollout_of_a_thousand_pods_loses_no_request_to_429() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.set_room(40);
        server.with(|state| state.create("replicasets", replica_set(1000)).unwrap());
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        until(&server, "a thousand pods", |state| pods(&state.objects, |_| true) == 1000).await;
        let failed = server.with(|state| state.of("events").any(|(_, event)| event["reason"] == "FailedCreate"));
        assert!(!failed, "a create was given up");
        assert!(server.refused() < 100, "{} requests were refused and had to come again", server.refused());
        stop.cancel();
    });
}

#[test]
fn pods_that_a_quota_refuses_are_asked_for_less_and_less_often_whatever_happens_meanwhile() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| {
            state.pods_max = 2;
            state.create("replicasets", replica_set(5)).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        until(&server, "as many pods as there may be", |state| pods(&state.objects, |_| true) == 2).await;
        for n in 0..300 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            server.with(|state| {
                let key = state.of("pods").next().unwrap().0.clone();
                let mut pod = state.objects[&("pods".to_owned(), key.clone())].clone();
                pod["metadata"]["annotations"] = json!({"beat": n.to_string()});
                state.replace(&("pods".to_owned(), key), pod).unwrap();
            });
        }
        let refused = server.with(|state| state.pods_refused);
        assert!((2..40).contains(&refused), "{refused} were refused");
        server.with(|state| state.pods_max = 5);
        until(&server, "all of them, once they may be", |state| pods(&state.objects, |_| true) == 5).await;
        stop.cancel();
    });
}

/// Far less than the longest that refused pods are waited for.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn refused_pods_are_asked_for_as_soon_as_there_is_room_for_them() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let quota = |used: usize| {
            let meta = json!({"name": "q", "namespace": "ns"});
            json!({"metadata": meta, "spec": {"hard": {"pods": "2"}}, "status": {"used": {"pods": used.to_string()}}})
        };
        server.with(|state| {
            state.pods_max = 2;
            state.create("resourcequotas", quota(2)).unwrap();
            state.create("replicasets", replica_set(5)).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        until(&server, "as many pods as there may be", |state| pods(&state.objects, |_| true) == 2).await;
        let settle = || tokio::time::sleep(Duration::from_secs(300));
        settle().await;
        server.with(|state| {
            let gone = state.of("pods").next().unwrap().0.clone();
            state.delete(&("pods".to_owned(), gone), &json!({})).unwrap();
        });
        tokio::time::sleep(SOON).await;
        assert_eq!(server.with(|state| pods(&state.objects, |_| true)), 2, "another in place of one that went");
        settle().await;
        let refused = server.with(|state| state.pods_refused);
        server.with(|state| {
            state.pods_max = 5;
            let mut less = state.objects[&at("resourcequotas", "q")].clone();
            less["status"] = quota(1)["status"].clone();
            state.replace(&at("resourcequotas", "q"), less).unwrap();
        });
        tokio::time::sleep(SOON).await;
        assert_eq!(server.with(|state| pods(&state.objects, |_| true)), 5, "the quota has room");
        assert_eq!(server.with(|state| state.pods_refused), refused);
        stop.cancel();
    });
}

#[test]
fn lost_answers_never_make_a_second_slice() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            let ports = json!([{"port": 80}]);
            let spec = json!({"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": ports});
            server.with(|state| {
                state
                    .create("services", json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec}))
                    .unwrap();
                state.check = Box::new(|objects| {
                    let slices = objects.keys().filter(|(plural, _)| plural == "endpointslices").count();
                    if slices <= 1 { Ok(()) } else { Err(format!("{slices} slices")) }
                });
            });
            let world = World::new(&server, &stop).await;
            world.start("endpointslice", endpointslice::controller);
            server.set_faults(FAULTS);
            for n in 0..10 {
                server.with(|state| {
                    let meta = json!({"name": format!("p{n}"), "namespace": "ns", "labels": {"app": "web"}});
                    let status = json!({"phase": "Running", "podIP": format!("10.244.0.{n}")});
                    state
                        .create("pods", json!({"metadata": meta, "spec": {"containers": []}, "status": status}))
                        .unwrap();
                    if n % 3 == 2 {
                        state.delete(&at("pods", &format!("p{}", n - 1)), &json!({})).unwrap();
                    }
                });
                let wait = server.with(|state| state.chance.below(100));
                tokio::time::sleep(Duration::from_millis(wait as u64)).await;
            }
            until(&server, "all pods in one slice", |state| {
                let endpoints = |slice: &Value| slice["endpoints"].as_array().map_or(0, Vec::len);
                state.of("endpointslices").map(|(_, slice)| endpoints(slice)).eq([state.of("pods").count()])
            })
            .await;
            stop.cancel();
        });
    });
}

#[test]
fn pod_garbage_collection_never_waits_for_one_pod() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let unscheduled = |name: &str, finalizers: Value| {
            let meta = json!({
                "name": name, "namespace": "ns", "finalizers": finalizers,
                "deletionTimestamp": "2030-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30,
            });
            json!({"metadata": meta, "spec": {"containers": []}})
        };
        server.with(|state| {
            state.create("pods", unscheduled("held", json!(["example.com/hold"]))).unwrap();
            (0..20).for_each(|n| drop(state.create("pods", unscheduled(&format!("p{n}"), json!([]))).unwrap()));
        });
        let world = World::new(&server, &stop).await;
        world.start("podgc", podgc::controller);
        until(&server, "all but the one that is held are gone", |state| state.of("pods").count() == 1).await;
        server.with(|state| state.create("pods", unscheduled("late", json!([]))).unwrap());
        until(&server, "one that comes later goes too", |state| state.of("pods").count() == 1).await;
        let before = server.with(|state| state.revision);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(server.with(|state| state.revision), before, "the held one is left alone");
        stop.cancel();
    });
}

#[test]
fn foreground_deletion_waits_until_every_kind_was_seen() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.set_silent(vec!["secrets"]);
        server.with(|state| {
            let mut owner = replica_set(0);
            owner["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
            owner["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
            let uid = state.create("replicasets", owner).unwrap()["metadata"]["uid"].clone();
            let reference = json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "blockOwnerDeletion": true,
            });
            let meta = json!({"name": "s", "namespace": "ns", "ownerReferences": [reference]});
            state.create("secrets", json!({"metadata": meta})).unwrap();
            state.check = Box::new(|objects| {
                let there = |plural: &str| objects.keys().any(|(p, _)| p == plural);
                if there("secrets") && !there("replicasets") { Err("it went before its Secret".into()) } else { Ok(()) }
            });
        });
        let world = World::new(&server, &stop).await;
        world.start("garbagecollector", garbagecollector::controller);
        world.monitor();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_fine(&server);
        assert_eq!(server.with(|state| state.of("replicasets").count()), 1, "it waits");
        server.set_silent(Vec::new());
        until(&server, "both are gone", |state| state.objects.is_empty()).await;
        stop.cancel();
    });
}

fn rolling() -> Value {
    let rolling = json!({"maxSurge": 1, "maxUnavailable": 1});
    let spec = json!({
        "replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template("good-0"),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "progressDeadlineSeconds": 600, "revisionHistoryLimit": 2,
    });
    json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})
}

#[test]
fn a_rolling_update_keeps_its_bounds_whatever_answers_are_lost() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| state.create("deployments", rolling()).unwrap());
            let world = World::new(&server, &stop).await;
            tokio::spawn(stop.clone().run_until_cancelled_owned(kubelet(server.clone())));
            world.start("replicaset", replicas::owners::replica_sets);
            world.start("deployment", deployment::controller);
            until(&server, "four pods that serve", |state| pods(&state.objects, is_ready) == 4).await;
            server.with(|state| {
                state.check = Box::new(|objects| {
                    let (there, serving) = (pods(objects, |_| true), pods(objects, is_ready));
                    if there > 5 || serving < 3 { Err(format!("{there} pods, {serving} serve")) } else { Ok(()) }
                });
            });
            server.set_faults(FAULTS);
            for n in 1..4 {
                let image = format!("good-{n}");
                server.with(|state| {
                    let mut deployment = state.objects[&at("deployments", "web")].clone();
                    deployment["spec"]["template"] = template(&image);
                    state.replace(&at("deployments", "web"), deployment).unwrap();
                });
                until(&server, "all pods of the new template serve", |state| {
                    let new = |pod: &Value| pod["spec"]["containers"][0]["image"] == image.as_str();
                    let all: Vec<&Value> = state.of("pods").map(|(_, pod)| pod).collect();
                    all.len() == 4 && all.iter().all(|pod| new(pod) && is_active(pod) && is_ready(pod))
                })
                .await;
            }
            stop.cancel();
        });
    });
}

#[test]
fn what_a_controller_says_it_says_in_its_own_name() {
    play(async move {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| state.create("replicasets", replica_set(1)).unwrap());
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        until(&server, "the event", |state| state.of("events").any(|(_, event)| event["reason"] == "SuccessfulCreate"))
            .await;
        let said = server.with(|state| state.of("events").next().map(|(_, event)| event.clone()).unwrap());
        let names = (&said["source"]["component"], &said["reportingComponent"]);
        assert_eq!(names, (&json!("replicaset-controller"), &json!("replicaset-controller")));
        stop.cancel();
    });
}
