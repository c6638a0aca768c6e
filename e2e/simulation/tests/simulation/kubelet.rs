//! A make-believe kubelet: starts pods after a while, has those of Jobs succeed or fail, and stops those that are deleted. Its
//! machine, what runs there, outlives it.

use std::sync::Arc;
use std::time::Duration;

use corten_api::json::Json;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{CancellationToken, Client, Patch, Watch};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::machines::is_of_job;
use crate::net::Host;
use crate::world::{World, name, pause};

const LOOK_EVERY: Duration = Duration::from_millis(500);
const HEARTBEAT_MILLIS: usize = 10_000;
pub(crate) const NODE_CPU: &str = "2";

pub(crate) async fn run(world: World, host: Host, life: CancellationToken) {
    let (client, node) = (world.client(host, &life), name(host));
    register(&client, &node).await;
    tokio::spawn(life.clone().run_until_cancelled_owned(heartbeats(client.clone(), node.clone())));
    let changed = Arc::new(Notify::new());
    let told = changed.clone();
    let pods = Watch::<Pod>::all(&client).fields(&format!("spec.nodeName={node}"));
    let pods = pods.start(&life, move |_| told.notify_one());
    pods.synced().await;
    loop {
        for pod in pods.list() {
            // What fails is done at the next look.
            let _tried = look(&world, &client, &node, &pod).await;
        }
        world.machines.stop_all_but(&node, &pods.list().iter().map(|pod| pod.uid().to_owned()).collect());
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn register(client: &Client, name: &str) {
    let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
    let node = Node::from_json(node.to_string().as_bytes()).unwrap();
    loop {
        match client.create(&node).await {
            Ok(_) => return,
            Err(err) if err.is(Reason::AlreadyExists) => return,
            Err(_) => pause(500).await,
        }
    }
}

async fn heartbeats(client: Client, name: String) {
    let key = Key::new("kube-node-lease", name.as_str());
    loop {
        let now = Timestamp::now();
        let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady",
            "lastHeartbeatTime": now.strftime("%FT%TZ").to_string(),
            "lastTransitionTime": now.strftime("%FT%TZ").to_string()});
        let room = json!({"cpu": NODE_CPU, "memory": "8Gi", "pods": "20"});
        let status = json!({"status": {"conditions": [ready], "capacity": room, "allocatable": room}});
        let told = client.get::<Node>(&Key::new("", name.as_str())).await;
        if told.is_ok_and(|node| !corten_api::node::is_ready(&node)) {
            let _again_later =
                client.patch::<Node>(&Key::new("", name.as_str()), "status", Patch::Strategic(status)).await;
        }
        let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40,
            "renewTime": now.strftime("%FT%T%.6fZ").to_string()});
        let renewed = client.patch::<Lease>(&key, "", Patch::Merge(json!({"spec": spec}))).await;
        if renewed.is_err_and(|err| err.is(Reason::NotFound)) {
            let lease = json!({"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec});
            let _again_later = client.create(&Lease::from_json(lease.to_string().as_bytes()).unwrap()).await;
        }
        pause(HEARTBEAT_MILLIS).await;
    }
}

fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

fn status(pod: &Pod, phase: &str, ready: bool) -> Value {
    let now = Timestamp::now().strftime("%FT%TZ").to_string();
    let word = if ready { "True" } else { "False" };
    let ready = |kind: &str| json!({"type": kind, "status": word, "lastTransitionTime": now});
    json!({"metadata": {"uid": pod.uid()}, "status": {"phase": phase, "startTime": now,
        "conditions": [ready("Ready"), ready("ContainersReady")]}})
}

/// Takes one pod a step further.
async fn look(world: &World, client: &Client, node: &str, pod: &Pod) -> Result<(), ApiError> {
    let (now, key, uid) = (Instant::now(), pod.key(), pod.uid().to_owned());
    let patch =
        async |phase, ready| client.patch::<Pod>(&key, "status", Patch::Strategic(status(pod, phase, ready))).await;
    if pod.is_deleting() {
        let run = world.machines.stop(&world.net, &uid, now);
        if let Some(run) = run.filter(|run| !run.has_stopped) {
            if run.stops_at.is_some_and(|at| at > now) {
                return Ok(());
            }
            world.machines.stopped(&uid);
        }
        if is_of_job(pod) && !has_ended(pod) {
            patch("Failed", false).await?;
        }
        let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
        let options = DeleteOptions { grace_period_seconds: Some(0), preconditions, ..DeleteOptions::default() };
        return client.delete::<Pod>(&key, &options).await.map(drop);
    }
    if has_ended(pod) {
        return Ok(());
    }
    let run = world.machines.start((&world.net, &world.court), node, pod, now);
    let is_ready = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
    match run.ends {
        Some((at, succeeds)) if at <= now => {
            world.machines.stopped(&uid);
            patch(if succeeds { "Succeeded" } else { "Failed" }, false).await.map(drop)
        }
        _ if run.ready_at <= now && !is_ready => patch("Running", true).await.map(drop),
        _ => Ok(()),
    }
}
