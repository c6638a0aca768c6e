//! How terms follow each other: what a stop lets end, and what a standby knows when it takes over.

use std::time::Duration;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_controllers::pods::SeenPod;
use corten_controllers::standby::{Named, Standby};
use corten_controllers::supervise::Down;
use corten_controllers::{deployment, garbagecollector, replicas};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::State;
use crate::world::{World, assert_fine, is_active, play, template, until};

const CONTROLLERS: &[Named] = &[
    ("replicaset", replicas::owners::replica_sets),
    ("deployment", deployment::controller),
    ("garbagecollector", garbagecollector::controller),
];
const PODS_OF_OTHERS: usize = 150_000;
/// Far longer than anything takes that is not stopped.
const LONG: Duration = Duration::from_secs(3600);
/// A question, its answer, and those of each watch: none waits for anything to happen.
const TAKE_OVER_MAX: Duration = Duration::from_secs(1);

fn replica_set(replicas: usize) -> Value {
    let selector = json!({"matchLabels": {"app": "web"}});
    let spec = json!({"replicas": replicas, "selector": selector, "template": template("good")});
    json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})
}

fn pods_of_web(state: &State) -> usize {
    state.of("pods").filter(|(key, pod)| key.namespace == "ns" && is_active(pod)).count()
}

#[test]
fn a_stop_lets_what_is_under_way_end_and_nothing_more_begin() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| state.create("replicasets", replica_set(1000)).unwrap());
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        until(&server, "some of its pods", |state| pods_of_web(state) > 100).await;
        let most = server.with(|state| pods_of_web(state)) + server.inside();
        stop.cancel();
        world.writes.ended().await;
        let ended = server.with(|state| pods_of_web(state));
        assert!(ended <= most && most < 1000, "{ended} pods, and {most} were there or under way");
        tokio::time::sleep(LONG).await;
        assert_eq!(server.with(|state| pods_of_web(state)), ended, "the lease may be another's by now");
    });
}

/// Returns once the standby is ready.
async fn ready(standby: &Standby) {
    let wait = async {
        while standby.check().is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, wait).await.is_ok(), "{:?}", standby.check());
}

/// What the leader before has done last: the set's pods.
fn make_pods_of_web(state: &mut State, count: usize) {
    let uid = state.create("replicasets", replica_set(count)).unwrap()["metadata"]["uid"].clone();
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": true});
    for n in 0..count {
        let mut pod = template("good");
        let meta = json!({"name": format!("web-{n}"), "namespace": "ns", "ownerReferences": [owner]});
        pod["metadata"].as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        state.create("pods", pod).unwrap();
    }
}

#[test]
fn who_takes_over_knows_what_the_leader_before_wrote_and_reads_nothing_anew() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.set_quiet();
        server.with(|state| {
            for n in 0..PODS_OF_OTHERS {
                let key = Key::new("others", format!("p{n}"));
                let meta =
                    json!({"name": key.name, "namespace": key.namespace, "uid": key.name, "resourceVersion": "1"});
                state.objects.insert(("pods".to_owned(), key), json!({"metadata": meta}));
            }
        });
        let world = World::new(&server, &stop).await;
        let standby = Standby::begin(world.setup.clone(), CONTROLLERS);
        assert!(standby.check().is_err(), "it knows nothing yet");
        ready(&standby).await;
        world.setup.monitors.synced().await;
        let told = server.states_told();
        assert_eq!(told, PODS_OF_OTHERS, "one state of each kind");
        server.with(|state| {
            make_pods_of_web(state, 3);
            state.check = Box::new(|objects| {
                let there =
                    objects.iter().filter(|((plural, key), _)| plural == "pods" && key.namespace == "ns").count();
                if there == 3 { Ok(()) } else { Err(format!("{there} pods")) }
            });
        });
        let began = tokio::time::Instant::now();
        assert_eq!(standby.take_over(&world.context.client).await, Ok(()));
        assert!(began.elapsed() < TAKE_OVER_MAX, "{:?}", began.elapsed());
        assert_eq!(world.setup.caches.of::<SeenPod>().len(), PODS_OF_OTHERS + 3);
        tokio::spawn(standby.lead(world.context.client.clone(), Down::default(), stop.child_token()));
        until(&server, "the set's status", |state| {
            state.of("replicasets").all(|(_, set)| set["status"]["replicas"] == 3)
        })
        .await;
        assert_eq!(server.states_told(), told, "nothing is read anew");
        stop.cancel();
    });
}

#[test]
fn a_term_does_not_begin_on_a_cache_that_is_behind() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.set_quiet();
        // It has no objects, and is asked for anew when a term begins.
        server.set_absent(vec!["deployments"]);
        let world = World::new(&server, &stop).await;
        let standby = Standby::begin(world.setup.clone(), CONTROLLERS);
        ready(&standby).await;
        server.set_silent(vec!["replicasets"]);
        server.with(|state| make_pods_of_web(state, 1));
        let lead = || standby.clone().lead(world.context.client.clone(), Down::default(), stop.child_token());
        let term = tokio::spawn(lead());
        tokio::time::sleep(TAKE_OVER_MAX).await;
        let why = standby.check().unwrap_err();
        assert!(why.contains("have not seen revision"), "{why}");
        assert_fine(&server);
        assert!(server.with(|state| state.of("replicasets").all(|(_, set)| set["status"].is_null())), "nobody works");
        let ended = tokio::time::timeout(LONG, term).await;
        assert!(ended.is_ok_and(|term| term.is_ok()), "it ends by itself, so that another may lead");
        assert!(server.with(|state| state.of("replicasets").all(|(_, set)| set["status"].is_null())), "nobody works");
        server.set_silent(Vec::new());
        tokio::spawn(lead());
        until(&server, "the set's status", |state| {
            state.of("replicasets").all(|(_, set)| set["status"]["replicas"] == 1)
        })
        .await;
        assert_eq!(standby.check(), Ok(()));
        stop.cancel();
    });
}
