//! StatefulSets and DaemonSets as they run, stopped between any two writes and begun anew: what they must never do, and what
//! they must get done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::controller::{Loop, Setup};
use corten_controllers::pods::SeenPod;
use corten_controllers::{daemonset, statefulset};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::{At, State};
use crate::world::{World, is_active, is_ready, play, until};

/// Of a hundred writes, so many are not done, and as many are done without an answer.
const FAULTS: usize = 6;
const SEEDS: u64 = 4;
/// The longest that one instance leads.
const TERM_MAX_MILLIS: usize = 1500;
const PODS_OF_OTHERS: usize = 5_000;
/// Pods read while six pods are made and replaced. Who looks at what others own reads more at one look.
const READ_MAX: usize = 2_000;

type Objects = BTreeMap<At, Value>;

fn at(plural: &str, name: &str) -> At {
    (plural.to_owned(), Key::new("ns", name))
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "main", "image": image}]}})
}

fn stateful_set(replicas: usize, policy: &str, max_unavailable: usize) -> Value {
    let rolling = json!({"partition": 0, "maxUnavailable": max_unavailable});
    let spec = json!({
        "replicas": replicas, "serviceName": "db", "podManagementPolicy": policy, "revisionHistoryLimit": 2,
        "selector": {"matchLabels": {"app": "db"}}, "template": template("good-0"),
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
    });
    json!({"metadata": {"name": "db", "namespace": "ns"}, "spec": spec})
}

fn daemon_set(rolling: &Value) -> Value {
    let spec = json!({
        "selector": {"matchLabels": {"app": "db"}}, "template": template("good-0"), "revisionHistoryLimit": 2,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
    });
    json!({"metadata": {"name": "agent", "namespace": "ns"}, "spec": spec})
}

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}

fn pods(objects: &Objects) -> impl Iterator<Item = (&str, &Value)> {
    objects.iter().filter(|(at, _)| at.0 == "pods").map(|(at, pod)| (at.1.name.as_str(), pod))
}

fn serves(pod: &Value) -> bool {
    is_active(pod) && is_ready(pod)
}

/// The node of a DaemonSet's pod, before it is there and after.
fn node_of(pod: &Value) -> String {
    let near = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0";
    let aimed = pod.pointer(&format!("{near}/matchFields/0/values/0"));
    aimed.and_then(Value::as_str).unwrap_or("n1").to_owned()
}

/// The scheduler and all kubelets, one pod at a time. Only pods with good images become ready.
async fn kubelets(server: ApiServer) {
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        server.with(|state| {
            let ours = state.of("pods").filter(|(key, _)| !key.name.starts_with("other-"));
            let keys: Vec<_> = ours.map(|(key, _)| key.clone()).collect();
            let Some(key) = state.chance.pick(&keys).cloned() else { return };
            let at = ("pods".to_owned(), key);
            let mut pod = state.objects[&at].clone();
            if !is_active(&pod) {
                state.delete(&at, &json!({"gracePeriodSeconds": 0})).unwrap();
                return;
            }
            let ready = if image(&pod).starts_with("good") { "True" } else { "False" };
            let ready = json!({"type": "Ready", "status": ready, "lastTransitionTime": "2020-01-01T00:00:00Z"});
            let conditions = json!([ready]);
            pod["spec"]["nodeName"] = json!(node_of(&pod));
            pod["status"] = json!({"phase": "Running", "startTime": "2020-01-01T00:00:00Z", "conditions": conditions});
            state.replace(&at, pod).unwrap();
        });
    }
}

/// Leaders follow each other: each is stopped wherever it is, and the next one knows nothing of it.
async fn leaders(server: ApiServer, name: &'static str, controller: fn(&Setup) -> Loop) {
    loop {
        let stop = CancellationToken::new();
        let world = World::new(&server, &stop).await;
        world.start(name, controller);
        let millis = server.with(|state| state.chance.below(TERM_MAX_MILLIS));
        tokio::time::sleep(Duration::from_millis(millis as u64)).await;
        stop.cancel();
        world.writes.ended().await;
        // What broke on the line is done or lost by then: the product's apiserver refuses it by its fence.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn begin(server: &ApiServer, stop: &CancellationToken, name: &'static str, controller: fn(&Setup) -> Loop) {
    tokio::spawn(stop.clone().run_until_cancelled_owned(kubelets(server.clone())));
    tokio::spawn(stop.clone().run_until_cancelled_owned(leaders(server.clone(), name, controller)));
    server.set_faults(FAULTS);
}

fn change(server: &ApiServer, at: &At, pointer: &str, value: Value) {
    server.with(|state| {
        let mut object = state.objects[at].clone();
        *object.pointer_mut(pointer).unwrap() = value;
        state.replace(at, object).unwrap();
    });
}

/// All pods of the StatefulSet serve with this image, and there are so many.
fn is_done(state: &State, replicas: usize, wanted: &str) -> bool {
    let all: Vec<(&str, &Value)> = pods(&state.objects).collect();
    let names: BTreeSet<String> = (0..replicas).map(|n| format!("db-{n}")).collect();
    all.iter().all(|(_, pod)| serves(pod) && image(pod) == wanted)
        && all.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>() == names
}

#[test]
fn an_ordered_set_makes_each_pod_only_when_all_before_it_serve() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| {
                state.create("statefulsets", stateful_set(3, "OrderedReady", 1)).unwrap();
                let mut before: BTreeSet<String> = BTreeSet::new();
                state.check = Box::new(move |objects| {
                    let now: BTreeMap<&str, &Value> = pods(objects).collect();
                    for name in now.keys().filter(|name| !before.contains(**name)) {
                        let ordinal: usize = name.strip_prefix("db-").unwrap().parse().unwrap();
                        let waits =
                            (0..ordinal).any(|n| !now.get(format!("db-{n}").as_str()).is_some_and(|p| serves(p)));
                        let claim = objects.contains_key(&at("persistentvolumeclaims", &format!("data-{name}")));
                        if waits || !claim {
                            return Err(format!("{name} came too early"));
                        }
                    }
                    before = now.keys().map(|name| (*name).to_owned()).collect();
                    Ok(())
                });
            });
            begin(&server, &stop, "statefulset", statefulset::controller);
            until(&server, "three pods", |state| is_done(state, 3, "good-0")).await;
            for _ in 0..4 {
                let wanted = server.with(|state| state.chance.below(6));
                change(&server, &at("statefulsets", "db"), "/spec/replicas", json!(wanted));
                until(&server, "as many pods as are wanted", |state| is_done(state, wanted, "good-0")).await;
            }
            until(&server, "every claim goes with the set", |state| {
                let owned = |claim: &Value| claim["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet";
                state.of("persistentvolumeclaims").all(|(_, claim)| owned(claim))
            })
            .await;
            stop.cancel();
        });
    });
}

/// Good and broken images follow each other, each before the one before has got anywhere: what serves never falls below the
/// bound, and a good image always gets everywhere.
#[test]
fn a_set_comes_out_of_any_broken_revision_and_keeps_its_bound() {
    for (policy, max) in [("OrderedReady", 1), ("OrderedReady", 2), ("Parallel", 1), ("Parallel", 2)] {
        for_each_seed(SEEDS, |seed| {
            play(async move {
                let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
                server.with(|state| state.create("statefulsets", stateful_set(4, policy, max)).unwrap());
                begin(&server, &stop, "statefulset", statefulset::controller);
                until(&server, "four pods", |state| is_done(state, 4, "good-0")).await;
                let floor = 4 - max;
                server.with(|state| {
                    state.check = Box::new(move |objects| {
                        let serving = pods(objects).filter(|(_, pod)| serves(pod)).count();
                        if serving < floor { Err(format!("{serving} serve, not {floor}")) } else { Ok(()) }
                    });
                });
                for n in 1..8 {
                    let good = n % 3 == 0;
                    let image = format!("{}-{n}", if good { "good" } else { "bad" });
                    change(&server, &at("statefulsets", "db"), "/spec/template", template(&image));
                    if good {
                        until(&server, "all pods have the good image", |state| is_done(state, 4, &image)).await;
                    } else {
                        let millis = server.with(|state| state.chance.below(3000));
                        tokio::time::sleep(Duration::from_millis(millis as u64)).await;
                    }
                }
                change(&server, &at("statefulsets", "db"), "/spec/template", template("good-3"));
                until(&server, "back to an old image", |state| is_done(state, 4, "good-3")).await;
                until(&server, "the status says so", |state| {
                    let status = &state.objects[&at("statefulsets", "db")]["status"];
                    status["currentRevision"] == status["updateRevision"] && status["updatedReplicas"] == 4
                })
                .await;
                until(&server, "a short history", |state| state.of("controllerrevisions").count() <= 3).await;
                stop.cancel();
            });
        });
    }
}

#[test]
fn a_set_whose_first_revision_is_broken_is_mended_by_the_next() {
    play(async {
        let (server, stop) = (ApiServer::new(1), CancellationToken::new());
        let mut broken = stateful_set(3, "OrderedReady", 1);
        broken["spec"]["template"] = template("bad");
        server.with(|state| state.create("statefulsets", broken).unwrap());
        begin(&server, &stop, "statefulset", statefulset::controller);
        until(&server, "a pod that is not ready", |state| {
            pods(&state.objects).any(|(_, pod)| pod["status"]["phase"] == "Running")
        })
        .await;
        change(&server, &at("statefulsets", "db"), "/spec/template", template("good-1"));
        until(&server, "three good pods", |state| is_done(state, 3, "good-1")).await;
        stop.cancel();
    });
}

#[test]
fn a_pod_of_somebody_elses_keeps_its_name_and_the_set_waits_for_it() {
    play(async {
        let (server, stop) = (ApiServer::new(1), CancellationToken::new());
        server.with(|state| {
            let others =
                json!({"metadata": {"name": "db-1", "namespace": "ns"}, "spec": {"containers": [{"image": "x"}]}});
            state.create("pods", others).unwrap();
            state.create("statefulsets", stateful_set(2, "OrderedReady", 1)).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("statefulset", statefulset::controller);
        tokio::spawn(stop.clone().run_until_cancelled_owned(kubelets(server.clone())));
        until(&server, "it says that it cannot", |state| {
            state.of("events").any(|(_, event)| event["reason"] == "FailedCreate")
        })
        .await;
        server.with(|state| {
            assert_eq!(image(&state.objects[&at("pods", "db-1")]), "x");
            state.delete(&at("pods", "db-1"), &json!({"gracePeriodSeconds": 0})).unwrap();
        });
        until(&server, "both pods", |state| is_done(state, 2, "good-0")).await;
        stop.cancel();
    });
}

fn add_node(server: &ApiServer, name: &str) {
    let node = json!({"metadata": {"name": name, "labels": {}}, "spec": {}});
    server.with(|state| state.create("nodes", node).unwrap());
}

fn on_every_node(state: &State, wanted: &str) -> bool {
    let nodes: Vec<&str> = state.of("nodes").map(|(key, _)| key.name.as_str()).collect();
    let mut served: Vec<String> = pods(&state.objects).map(|(_, pod)| node_of(pod)).collect();
    served.sort();
    pods(&state.objects).all(|(_, pod)| serves(pod) && image(pod) == wanted) && served == nodes
}

#[test]
fn thousands_of_pods_of_others_in_the_namespace_are_read_for_neither_kind() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        ["n1", "n2", "n3"].iter().for_each(|name| add_node(&server, name));
        server.with(|state| {
            let owner =
                json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "x", "controller": true});
            for n in 0..PODS_OF_OTHERS {
                let (name, labels) = (format!("other-{n}"), json!({"app": "db"}));
                let meta = json!({"name": name, "namespace": "ns", "labels": labels, "ownerReferences": [owner]});
                state.create("pods", json!({"metadata": meta, "spec": {"containers": [{"image": "x"}]}})).unwrap();
            }
        });
        let world = World::new(&server, &stop).await;
        world.start("statefulset", statefulset::controller);
        world.start("daemonset", daemonset::controller);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let read = || world.context.caches.of::<SeenPod>().objects_read();
        let before = read();
        tokio::spawn(stop.clone().run_until_cancelled_owned(kubelets(server.clone())));
        server.with(|state| {
            state.create("statefulsets", stateful_set(3, "OrderedReady", 1)).unwrap();
            state.create("daemonsets", daemon_set(&json!({"maxUnavailable": 1}))).unwrap();
        });
        for n in 1..3 {
            until(&server, "all six serve, and it is told", |state| {
                let status = |plural: &str, name: &str| state.objects[&at(plural, name)]["status"].clone();
                let (set, daemons) = (status("statefulsets", "db"), status("daemonsets", "agent"));
                [&set["observedGeneration"], &daemons["observedGeneration"]].iter().all(|seen| **seen == n)
                    && (&set["updatedReplicas"], &set["readyReplicas"]) == (&json!(3), &json!(3))
                    && (&daemons["updatedNumberScheduled"], &daemons["numberReady"]) == (&json!(3), &json!(3))
            })
            .await;
            for kind in [at("statefulsets", "db"), at("daemonsets", "agent")] {
                change(&server, &kind, "/spec/template", template("good-1"));
            }
        }
        assert!(read() - before <= READ_MAX, "{} pods read", read() - before);
        stop.cancel();
    });
}

/// How a DaemonSet may be updated.
fn updates() -> [Value; 2] {
    [json!({"maxUnavailable": 1, "maxSurge": 0}), json!({"maxUnavailable": 0, "maxSurge": 2})]
}

fn daemons_come_and_are_updated(seed: u64, rolling: Value) {
    play(async move {
        let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
        let at_once = if rolling["maxSurge"] == 0 { 1 } else { 2 };
        let floor = Arc::new(Mutex::new(0));
        let checked = Arc::clone(&floor);
        (1..5).for_each(|n| add_node(&server, &format!("n{n}")));
        server.with(|state| {
            state.create("daemonsets", daemon_set(&rolling)).unwrap();
            state.check = Box::new(move |objects| {
                let (mut there, mut serving) = (BTreeMap::new(), BTreeSet::new());
                for (_, pod) in pods(objects).filter(|(_, pod)| is_active(pod)) {
                    *there.entry(node_of(pod)).or_insert(0) += 1;
                    serving.extend(is_ready(pod).then(|| node_of(pod)));
                }
                let crowded = there.iter().find(|(_, count)| **count > at_once);
                if let Some((node, count)) = crowded {
                    return Err(format!("{count} pods on {node}"));
                }
                if serving.len() < *checked.lock() {
                    return Err(format!("only {serving:?} are served"));
                }
                Ok(())
            });
        });
        begin(&server, &stop, "daemonset", daemonset::controller);
        until(&server, "a pod on each node", |state| on_every_node(state, "good-0")).await;
        add_node(&server, "n5");
        until(&server, "a pod on the new node", |state| on_every_node(state, "good-0")).await;
        *floor.lock() = if rolling["maxSurge"] == 0 { 4 } else { 5 };
        for image in ["bad-1", "good-2", "good-0"] {
            change(&server, &at("daemonsets", "agent"), "/spec/template", template(image));
            if image == "bad-1" {
                tokio::time::sleep(Duration::from_secs(5)).await;
            } else {
                until(&server, "the new pods", |state| on_every_node(state, image)).await;
            }
        }
        until(&server, "the status says so", |state| {
            let status = &state.objects[&at("daemonsets", "agent")]["status"];
            status["updatedNumberScheduled"] == 5 && status["numberAvailable"] == 5
        })
        .await;
        stop.cancel();
    });
}

#[test]
fn daemons_are_on_every_node_once_and_an_update_keeps_its_bound() {
    for rolling in updates() {
        for_each_seed(SEEDS, |seed| daemons_come_and_are_updated(seed, rolling.clone()));
    }
}

/// With this seed a leader was stopped while it waited for its cache.
#[test]
fn who_is_stopped_while_it_waits_for_its_cache_makes_no_second_daemon() {
    updates().into_iter().for_each(|rolling| daemons_come_and_are_updated(10_357_730_498_667_290_979, rolling));
}

#[test]
fn a_label_and_a_taint_bring_daemons_and_take_them_away() {
    play(async {
        let (server, stop) = (ApiServer::new(1), CancellationToken::new());
        let mut set = daemon_set(&json!({"maxUnavailable": 1}));
        set["spec"]["template"]["spec"]["nodeSelector"] = json!({"daemons": "yes"});
        server.with(|state| state.create("daemonsets", set).unwrap());
        ["n1", "n2"].iter().for_each(|name| add_node(&server, name));
        let world = World::new(&server, &stop).await;
        world.start("daemonset", daemonset::controller);
        tokio::spawn(stop.clone().run_until_cancelled_owned(kubelets(server.clone())));
        let nodes = |state: &State| pods(&state.objects).map(|(_, pod)| node_of(pod)).collect::<Vec<_>>();
        let node = ("nodes".to_owned(), Key::cluster("n2"));
        change(&server, &node, "/metadata/labels", json!({"daemons": "yes"}));
        until(&server, "a pod on the labelled node", |state| nodes(state) == ["n2"]).await;
        change(&server, &node, "/spec", json!({"taints": [{"key": "own", "effect": "NoSchedule"}]}));
        until(&server, "it is told that the pod should not be there", |state| {
            state.objects[&at("daemonsets", "agent")]["status"]["numberMisscheduled"] == 1
        })
        .await;
        assert_eq!(server.with(|state| nodes(state)), ["n2"], "it stays");
        change(&server, &node, "/spec", json!({"taints": [{"key": "own", "effect": "NoExecute"}]}));
        until(&server, "no pods", |state| nodes(state).is_empty()).await;
        stop.cancel();
    });
}
