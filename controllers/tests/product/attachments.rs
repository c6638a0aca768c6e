//! Volumes of CSI drivers come to the nodes whose pods use them, and never to two nodes that may not share them.

use std::collections::BTreeMap;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::attachdetach;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::{At, State};
use crate::world::{World, play, until};

const SEEDS: u64 = 6;
const FAULTS: usize = 8;
const NAME: &str = "kubernetes.io/csi/disk.example.com^vol-1";
/// That of vol-2.
const SECOND_OF_N1: &str = "csi-f6ec12cb2131abb1d7263e0c09fe24e724c5b7a4c98591b31ab6dd662e304af5";

fn at(plural: &str, namespace: &str, name: &str) -> At {
    (plural.to_owned(), Key::new(namespace, name))
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

fn pod(name: &str, node: &str) -> Value {
    let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}});
    let spec = json!({"nodeName": node, "containers": [], "volumes": [volume]});
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec, "status": {"phase": "Running"}})
}

/// A claim and its volume, which one node may have.
fn begin(state: &mut State) {
    for name in ["n1", "n2"] {
        state.create("nodes", node(name)).unwrap();
    }
    let spec = json!({"volumeName": "pv"});
    let claim = json!({"metadata": {"name": "data", "namespace": "shop"}, "spec": spec, "status": {"phase": "Bound"}});
    let uid = state.create("persistentvolumeclaims", claim).unwrap()["metadata"]["uid"].clone();
    let spec = json!({
        "csi": {"driver": "disk.example.com", "volumeHandle": "vol-1"}, "accessModes": ["ReadWriteOnce"],
        "claimRef": {"namespace": "shop", "name": "data", "uid": uid},
    });
    state.create("persistentvolumes", json!({"metadata": {"name": "pv"}, "spec": spec})).unwrap();
}

/// The node of each attachment.
fn attached(objects: &BTreeMap<At, Value>) -> Vec<String> {
    let all = objects.iter().filter(|((plural, _), _)| plural == "volumeattachments");
    all.map(|(_, attachment)| attachment["spec"]["nodeName"].as_str().unwrap().to_owned()).collect()
}

fn reports(state: &State, node: &str) -> bool {
    let reported = &state.objects[&at("nodes", "", node)]["status"]["volumesAttached"];
    reported.as_array().is_some_and(|all| all.iter().any(|volume| volume["name"] == NAME))
}

/// Does what a driver's attacher does.
fn attacher(state: &mut State) {
    let all: Vec<At> =
        state.of("volumeattachments").map(|(key, _)| ("volumeattachments".to_owned(), key.clone())).collect();
    for at in all {
        let mut attachment = state.objects[&at].clone();
        attachment["status"] = json!({"attached": true});
        state.replace(&at, attachment).unwrap();
    }
}

/// No volume goes from a node whose status says that it is there, and none is at two nodes.
fn careful(objects: &BTreeMap<At, Value>, before: &mut BTreeMap<At, Value>) -> Result<(), String> {
    let names = |objects: &BTreeMap<At, Value>| -> BTreeMap<At, Value> {
        let all = objects.iter().filter(|((plural, _), _)| plural == "volumeattachments");
        all.map(|(at, attachment)| (at.clone(), attachment.clone())).collect()
    };
    let now = names(objects);
    for (at, attachment) in std::mem::replace(before, now.clone()) {
        let node = attachment["spec"]["nodeName"].as_str().unwrap();
        let reported = &objects.get(&at_node(node)).cloned().unwrap_or_default()["status"]["volumesAttached"];
        let says = reported.as_array().is_some_and(|all| all.iter().any(|volume| volume["name"] == NAME));
        if !now.contains_key(&at) && says {
            return Err(format!("{} went while {node} said that it was there", at.1.name));
        }
    }
    match attached(objects) {
        nodes if nodes.len() > 1 => Err(format!("attached to {nodes:?}")),
        _ => Ok(()),
    }
}

fn watched(state: &mut State) {
    let mut before = BTreeMap::new();
    state.check = Box::new(move |objects| careful(objects, &mut before));
}

fn at_node(name: &str) -> At {
    at("nodes", "", name)
}

fn edit(state: &mut State, at: &At, edit: impl FnOnce(&mut Value)) {
    let mut object = state.objects[at].clone();
    edit(&mut object);
    state.replace(at, object).unwrap();
}

fn delete(state: &mut State, at: &At) {
    state.delete(at, &json!({"gracePeriodSeconds": 0})).unwrap();
}

/// Its kubelet is silent.
fn lose(state: &mut State, node: &str) {
    edit(state, &at_node(node), |node| node["status"]["conditions"][0]["status"] = json!("Unknown"));
}

fn vouch(state: &mut State, node: &str) {
    let taint = json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"});
    edit(state, &at_node(node), |node| node["spec"]["taints"] = json!([taint]));
}

fn attachment(name: &str, node: &str, source: Value) -> Value {
    let spec = json!({"attacher": "disk.example.com", "nodeName": node, "source": source});
    json!({"metadata": {"name": name}, "spec": spec, "status": {"attached": true}})
}

fn volume(name: &str, handle: &str, claim: Value) -> Value {
    let spec = json!({
        "csi": {"driver": "disk.example.com", "volumeHandle": handle}, "accessModes": ["ReadWriteOnce"], "claimRef": claim,
    });
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn long() {
    tokio::time::sleep(attachdetach::decide::FORCE_AFTER * 3).await;
}

/// The volume is attached to n1, whose pod uses it.
async fn attached_and_used(server: &ApiServer) -> World {
    server.with(|state| {
        begin(state);
        state.create("pods", pod("first", "n1")).unwrap();
    });
    let world = World::new(server, &CancellationToken::new()).await;
    world.start("attachdetach", attachdetach::controller);
    until(server, "an attachment", |state| attached(&state.objects) == ["n1"]).await;
    server.with(|state| {
        attacher(state);
        use_volume(state, "n1", &[NAME]);
    });
    until(server, "the node's status to say so", |state| reports(state, "n1")).await;
    world
}

fn use_volume(state: &mut State, node: &str, names: &[&str]) {
    let at = at("nodes", "", node);
    let mut changed = state.objects[&at].clone();
    changed["status"]["volumesInUse"] = json!(names);
    state.replace(&at, changed).unwrap();
}

#[test]
fn a_volume_goes_from_one_node_to_the_next_when_that_has_let_go_of_it() {
    for_each_seed(SEEDS, |seed| {
        play(async {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| {
                watched(state);
                begin(state);
                state.create("pods", pod("first", "n1")).unwrap();
            });
            server.set_faults(FAULTS);
            let world = World::new(&server, &stop).await;
            world.start("attachdetach", attachdetach::controller);
            until(&server, "an attachment", |state| attached(&state.objects) == ["n1"]).await;
            server.with(attacher);
            until(&server, "the node's status to say so", |state| reports(state, "n1")).await;
            server.with(|state| {
                use_volume(state, "n1", &[NAME]);
                state.create("pods", pod("second", "n2")).unwrap();
                // Its end changes nothing while the kubelet says that it uses the volume.
                state.delete(&at("pods", "shop", "first"), &json!({"gracePeriodSeconds": 0})).unwrap();
            });
            let told = |state: &State| {
                let mut events = state.of("events").map(|(_, event)| event);
                events.any(|event| event.to_string().contains("Multi-Attach error for volume"))
            };
            until(&server, "the second to be told why it waits", told).await;
            server.with(|state| assert_eq!(attached(&state.objects), ["n1"]));
            server.with(|state| use_volume(state, "n1", &[]));
            until(&server, "the volume to be the other node's", |state| attached(&state.objects) == ["n2"]).await;
            server.with(|state| assert!(!reports(state, "n1"), "that was said before it went"));
            server.with(attacher);
            until(&server, "the other node's status to say so", |state| reports(state, "n2")).await;
            stop.cancel();
        });
    });
}

#[test]
fn a_node_that_is_lost_keeps_a_volume_for_six_minutes_and_one_that_is_vouched_for_not_at_all() {
    let out = json!([{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]);
    for (why, taints, waits) in [("lost", json!([]), true), ("out of service", out, false)] {
        play(async {
            let (server, stop) = (ApiServer::new(0), CancellationToken::new());
            server.with(|state| {
                begin(state);
                use_volume(state, "n1", &[NAME]);
                state.create("pods", pod("first", "n1")).unwrap();
            });
            let world = World::new(&server, &stop).await;
            world.start("attachdetach", attachdetach::controller);
            until(&server, why, |state| attached(&state.objects) == ["n1"]).await;
            let began = tokio::time::Instant::now();
            server.with(|state| {
                let at_node = at("nodes", "", "n1");
                let mut lost = state.objects[&at_node].clone();
                lost["status"]["conditions"][0]["status"] = json!("Unknown");
                lost["spec"]["taints"] = taints.clone();
                state.replace(&at_node, lost).unwrap();
                state.delete(&at("pods", "shop", "first"), &json!({"gracePeriodSeconds": 0})).unwrap();
            });
            until(&server, why, |state| attached(&state.objects).is_empty()).await;
            assert_eq!(began.elapsed() >= attachdetach::decide::FORCE_AFTER, waits, "{why}");
            stop.cancel();
        });
    }
}

#[test]
fn what_is_attached_for_others_stays_and_is_told_of() {
    play(async {
        let server = ApiServer::new(0);
        let named = |handle: &str| format!("kubernetes.io/csi/disk.example.com^{handle}");
        server.with(|state| {
            let spec = json!({"awsElasticBlockStore": {"volumeID": "vol-2"}});
            state.create("persistentvolumes", json!({"metadata": {"name": "old"}, "spec": spec})).unwrap();
            let inline = json!({"inlineVolumeSpec": {"csi": {"driver": "disk.example.com", "volumeHandle": "vol-3"}}});
            let old = attachment(SECOND_OF_N1, "n1", json!({"persistentVolumeName": "old"}));
            state.create("volumeattachments", old).unwrap();
            let third = "csi-eda80f0387d87715d23d3006b60e1455bd97f3296c10ebd2bacd24efca67d4a2";
            state.create("volumeattachments", attachment(third, "n1", inline)).unwrap();
            // Known to us by a volume of a driver, too, whose pod is about to go.
            let claim = json!({"namespace": "shop", "name": "other", "uid": "uid-0"});
            state.create("persistentvolumes", volume("same", "vol-3", claim)).unwrap();
            let mut other = pod("other", "n1");
            other["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = json!("other");
            state.create("pods", other).unwrap();
        });
        let reported = [named("vol-2"), named("vol-3")].map(|name| json!({"name": name, "devicePath": ""}));
        server.with(|state| {
            begin(state);
            edit(state, &at_node("n1"), |node| node["status"]["volumesAttached"] = json!(reported));
            state.create("pods", pod("first", "n1")).unwrap();
        });
        let world = World::new(&server, &CancellationToken::new()).await;
        world.start("attachdetach", attachdetach::controller);
        until(&server, "a third attachment", |state| attached(&state.objects).len() == 3).await;
        server.with(attacher);
        until(&server, "the node's status to say so", |state| reports(state, "n1")).await;
        server.with(|state| ["first", "other"].iter().for_each(|name| delete(state, &at("pods", "shop", name))));
        until(&server, "what was attached here to go", |state| attached(&state.objects).len() == 2).await;
        server.with(|state| lose(state, "n1"));
        long().await;
        server.with(|state| {
            assert_eq!(attached(&state.objects), ["n1", "n1"]);
            assert_eq!(state.objects[&at_node("n1")]["status"]["volumesAttached"], json!(reported));
        });
    });
}

#[test]
fn what_a_pod_may_have_mounted_stays_whatever_becomes_of_its_claim_and_its_volume() {
    type Change = fn(&mut State);
    let cases: [(&str, Change, bool); 3] = [
        ("the claim is gone", |state| delete(state, &at("persistentvolumeclaims", "shop", "data")), false),
        (
            "the claim is lost",
            |state| {
                let claim = at("persistentvolumeclaims", "shop", "data");
                edit(state, &claim, |claim| claim["status"]["phase"] = json!("Lost"));
            },
            false,
        ),
        ("the volume is gone", |state| delete(state, &at("persistentvolumes", "", "pv")), true),
    ];
    for (why, change, is_let_go) in cases {
        play(async {
            let server = ApiServer::new(0);
            let _world = attached_and_used(&server).await;
            server.with(change);
            server.with(|state| lose(state, "n1"));
            long().await;
            server.with(|state| assert_eq!(attached(&state.objects), ["n1"], "{why}"));
            assert!(server.with(|state| reports(state, "n1")), "{why}: as the node's status says");
            server.with(|state| vouch(state, "n1"));
            if is_let_go {
                until(&server, why, |state| attached(&state.objects).is_empty()).await;
            } else {
                long().await;
                server.with(|state| assert_eq!(attached(&state.objects), ["n1"], "{why}: its pod is there"));
            }
        });
    }
}

#[test]
fn what_a_volume_was_goes_where_it_is_made_anew_as_another() {
    play(async {
        let server = ApiServer::new(0);
        let _world = attached_and_used(&server).await;
        server.with(|state| {
            let at_volume = at("persistentvolumes", "", "pv");
            let claim = state.objects[&at_volume]["spec"]["claimRef"].clone();
            delete(state, &at_volume);
            state.create("persistentvolumes", volume("pv", "vol-2", claim)).unwrap();
        });
        let names =
            |state: &State| -> Vec<String> { state.of("volumeattachments").map(|(key, _)| key.name.clone()).collect() };
        until(&server, "the other to be attached", |state| names(state).contains(&SECOND_OF_N1.to_owned())).await;
        server.with(attacher);
        let is_told = |state: &State| {
            let reported = state.objects[&at_node("n1")]["status"]["volumesAttached"].to_string();
            reported.contains("^vol-2") && reported.contains("^vol-1")
        };
        until(&server, "both to be told of while both are used", is_told).await;
        server.with(|state| use_volume(state, "n1", &["kubernetes.io/csi/disk.example.com^vol-2"]));
        until(&server, "the one before to go", |state| names(state) == [SECOND_OF_N1]).await;
        server.with(|state| assert!(!reports(state, "n1"), "that was said before it went"));
    });
}

#[test]
fn an_attachment_without_a_volume_goes_from_a_node_that_uses_others_of_the_driver() {
    play(async {
        let server = ApiServer::new(0);
        let _world = attached_and_used(&server).await;
        server.with(|state| {
            use_volume(state, "n1", &[NAME, "kubernetes.io/csi/disk.example.com^vol-2"]);
            delete(state, &at("persistentvolumes", "", "pv"));
        });
        long().await;
        server.with(|state| assert_eq!(attached(&state.objects), ["n1"], "its kubelet uses it"));
        server.with(|state| use_volume(state, "n1", &["kubernetes.io/csi/disk.example.com^vol-2"]));
        until(&server, "it to go", |state| attached(&state.objects).is_empty()).await;
    });
}

/// One that is deleted and made under another name is the same for the driver, and so is its attachment.
#[test]
fn a_volume_that_is_made_under_another_name_is_told_of_by_the_attachment_of_the_one_before() {
    play(async {
        let server = ApiServer::new(0);
        let _world = attached_and_used(&server).await;
        server.with(|state| {
            let at_volume = at("persistentvolumes", "", "pv");
            let claim = state.objects[&at_volume]["spec"]["claimRef"].clone();
            state.create("persistentvolumes", volume("pv2", "vol-1", claim)).unwrap();
            delete(state, &at_volume);
            let at_claim = at("persistentvolumeclaims", "shop", "data");
            edit(state, &at_claim, |claim| claim["spec"]["volumeName"] = json!("pv2"));
            edit(state, &at_node("n1"), |node| node["status"]["volumesAttached"] = json!([]));
            use_volume(state, "n1", &[]);
        });
        until(&server, "the node's status to say so", |state| reports(state, "n1")).await;
        long().await;
        server.with(|state| assert_eq!(attached(&state.objects), ["n1"]));
    });
}

#[test]
fn nothing_is_attached_to_a_node_that_is_not_there_until_it_comes() {
    play(async {
        let server = ApiServer::new(0);
        server.with(|state| {
            begin(state);
            state.create("pods", pod("first", "n3")).unwrap();
            let never = attachment("csi-0", "n9", json!({"persistentVolumeName": "pv"}));
            let at = at("volumeattachments", "", "csi-0");
            state.create("volumeattachments", never).unwrap();
            edit(state, &at, |never| never["status"]["attached"] = json!(false));
        });
        let world = World::new(&server, &CancellationToken::new()).await;
        let began = tokio::time::Instant::now();
        world.start("attachdetach", attachdetach::controller);
        until(&server, "what never was attached to go", |state| attached(&state.objects).is_empty()).await;
        assert!(began.elapsed() < attachdetach::decide::FORCE_AFTER);
        long().await;
        server.with(|state| assert!(attached(&state.objects).is_empty()));
        server.with(|state| state.create("nodes", node("n3")).unwrap());
        until(&server, "an attachment to the node that came", |state| attached(&state.objects) == ["n3"]).await;
    });
}

/// Whatever is lost on the line, and whoever of the two comes first.
#[test]
fn of_two_nodes_that_want_a_volume_one_gets_it() {
    for_each_seed(SEEDS, |seed| {
        play(async {
            let server = ApiServer::new(seed);
            server.with(|state| {
                watched(state);
                begin(state);
                state.create("pods", pod("first", "n1")).unwrap();
                state.create("pods", pod("second", "n2")).unwrap();
            });
            server.set_faults(FAULTS * 4);
            let world = World::new(&server, &CancellationToken::new()).await;
            world.start("attachdetach", attachdetach::controller);
            for _ in 0..4 {
                until(&server, "an attachment", |state| attached(&state.objects).len() == 1).await;
                let holder = server.with(|state| attached(&state.objects).remove(0));
                let (name, other) = if holder == "n1" { ("first", "n2") } else { ("second", "n1") };
                server.with(|state| {
                    attacher(state);
                    delete(state, &at("pods", "shop", name));
                });
                until(&server, "the other to get it", |state| attached(&state.objects) == [other]).await;
                server.with(|state| state.create("pods", pod(name, &holder)).unwrap());
            }
        });
    });
}

#[test]
fn a_node_that_is_lost_keeps_its_volumes_where_nothing_is_forced() {
    play(async {
        let server = ApiServer::new(0);
        server.with(|state| {
            begin(state);
            use_volume(state, "n1", &[NAME]);
            state.create("pods", pod("first", "n1")).unwrap();
        });
        let mut world = World::new(&server, &CancellationToken::new()).await;
        world.setup.settings.force_detach_on_timeout = false;
        world.start("attachdetach", attachdetach::controller);
        until(&server, "an attachment", |state| attached(&state.objects) == ["n1"]).await;
        server.with(|state| {
            lose(state, "n1");
            delete(state, &at("pods", "shop", "first"));
        });
        long().await;
        server.with(|state| assert_eq!(attached(&state.objects), ["n1"]));
        server.with(|state| vouch(state, "n1"));
        until(&server, "it to go", |state| attached(&state.objects).is_empty()).await;
    });
}
