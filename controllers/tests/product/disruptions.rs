//! Budgets hold whatever the line does: no eviction takes one pod too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::{disruption, replicas};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::State;
use crate::world::{World, is_active, is_ready, kubelet, play, template, until};

const SEEDS: u64 = 6;
const FAULTS: usize = 8;
const EVICTIONS: usize = 8;
const HEALTHY_MIN: usize = 2;

fn at(plural: &str, name: &str) -> (String, Key) {
    (plural.to_owned(), Key::new("ns", name))
}

fn budget(spec: Value) -> Value {
    json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})
}

fn healthy<'a>(pods: impl Iterator<Item = &'a Value>) -> usize {
    pods.filter(|pod| is_active(pod) && is_ready(pod)).count()
}

/// Evicts one pod as the apiserver does, if the budget allows it.
fn evict(state: &mut State) -> bool {
    let Some(mut budget) = state.objects.get(&at("poddisruptionbudgets", "web")).cloned() else { return false };
    let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
    let is_looked_at = budget["status"]["observedGeneration"] == budget["metadata"]["generation"];
    let ready = state.of("pods").filter(|(_, pod)| is_active(pod) && is_ready(pod));
    let ready: Vec<Key> = ready.map(|(key, _)| key.clone()).collect();
    if allowed < 1 || !is_looked_at || ready.is_empty() {
        return false;
    }
    let victim = state.chance.pick(&ready).cloned().unwrap();
    budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
    budget["status"]["disruptedPods"][&victim.name] = json!("2030-01-01T00:00:01Z");
    state.replace(&at("poddisruptionbudgets", "web"), budget).unwrap();
    state.delete(&("pods".to_owned(), victim), &json!({})).unwrap();
    true
}

async fn evict_for_ever(server: ApiServer, evicted: Arc<AtomicUsize>) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if server.with(evict) {
            evicted.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn evictions_never_take_more_pods_than_the_budget_allows() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| {
                let selector = json!({"matchLabels": {"app": "web"}});
                let spec = json!({"replicas": HEALTHY_MIN + 1, "selector": selector, "template": template("good")});
                let metadata = json!({"name": "web", "namespace": "ns"});
                state.create("replicasets", json!({"metadata": metadata, "spec": spec})).unwrap();
                state
                    .create("poddisruptionbudgets", budget(json!({"selector": selector, "maxUnavailable": 1})))
                    .unwrap();
            });
            let world = World::new(&server, &stop).await;
            tokio::spawn(stop.clone().run_until_cancelled_owned(kubelet(server.clone())));
            world.start("replicaset", replicas::owners::replica_sets);
            world.start("disruption", disruption::controller);
            until(&server, "all pods are ready", |state| healthy(state.of("pods").map(|(_, pod)| pod)) > HEALTHY_MIN)
                .await;
            server.with(|state| {
                state.check = Box::new(|objects| {
                    let pods = objects.iter().filter(|((plural, _), _)| plural == "pods").map(|(_, pod)| pod);
                    match healthy(pods) {
                        enough if enough >= HEALTHY_MIN => Ok(()),
                        few => Err(format!("{few} healthy pods, not {HEALTHY_MIN}")),
                    }
                });
            });
            server.set_faults(FAULTS);
            let evicted = Arc::new(AtomicUsize::new(0));
            let evictor = evict_for_ever(server.clone(), Arc::clone(&evicted));
            tokio::spawn(stop.clone().run_until_cancelled_owned(evictor));
            until(&server, "one pod after the other is evicted", |_| evicted.load(Ordering::SeqCst) >= EVICTIONS).await;
            stop.cancel();
        });
    });
}

#[test]
fn a_budget_follows_the_replicas_of_its_pods_controller_though_no_pod_changes() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let selector = json!({"matchLabels": {"app": "web"}});
        let set = |replicas: usize| {
            let spec = json!({"replicas": replicas, "selector": selector, "template": template("good")});
            json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})
        };
        server.with(|state| {
            let set = state.create("replicasets", set(4)).unwrap();
            let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": set["metadata"]["uid"], "controller": true});
            let metadata = json!({"name": "one", "namespace": "ns", "labels": {"app": "web"}, "ownerReferences": [owner]});
            state.create("pods", json!({"metadata": metadata, "spec": {"containers": []}})).unwrap();
            state.create("poddisruptionbudgets", budget(json!({"selector": selector, "minAvailable": "50%"}))).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("disruption", disruption::controller);
        let desired =
            |state: &State| state.objects[&at("poddisruptionbudgets", "web")]["status"]["desiredHealthy"].clone();
        until(&server, "half of four", |state| desired(state) == json!(2)).await;
        server.with(|state| {
            let mut scaled = state.objects[&at("replicasets", "web")].clone();
            scaled["spec"]["replicas"] = json!(10);
            state.replace(&at("replicasets", "web"), scaled).unwrap();
        });
        until(&server, "half of ten", |state| desired(state) == json!(5)).await;
        // Nothing is looked at again without a reason.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let writes = |state: &mut State| {
            state.log.iter().filter(|change| change.at == at("poddisruptionbudgets", "web")).count()
        };
        assert_eq!(server.with(writes), 3, "its creation, and one for each number of replicas");
        stop.cancel();
    });
}

#[test]
fn a_pod_that_was_to_be_disrupted_long_ago_says_so_no_more() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| {
            let said = |reason: &str| json!({"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": "2020-01-01T00:00:00Z"});
            for (name, reason) in [("preempted", "PreemptionByScheduler"), ("ending", "TerminationByKubelet")] {
                let metadata = json!({"name": name, "namespace": "ns"});
                let status = json!({"phase": "Running", "conditions": [said(reason)]});
                state.create("pods", json!({"metadata": metadata, "spec": {"containers": []}, "status": status})).unwrap();
            }
        });
        let world = World::new(&server, &stop).await;
        world.start("disruption-stale-pods", disruption::stale_pods);
        let condition = |state: &State, name: &str| state.objects[&at("pods", name)]["status"]["conditions"][0].clone();
        until(&server, "the condition is taken back", |state| condition(state, "preempted")["status"] == "False").await;
        assert_eq!(
            server.with(|state| condition(state, "ending")["status"].clone()),
            "True",
            "its kubelet's word stays"
        );
        stop.cancel();
    });
}
