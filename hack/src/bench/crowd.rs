//! A crowd of clients that create pods: with the apiserver alone, in a namespace with a quota, and while scheduler and
//! controllers work on them.
//!
//! They are not administrators, who never wait: they are sorted into the level in which the scheduler's binds are too.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::load;
use super::samples::Samples;
use super::table::Row;
use crate::rest::{Client, answer};
use crate::step::step;

const CLIENTS: usize = 64;
const PODS: usize = 5_000;
/// As many as hold the pods, each a hundred.
const NODES: usize = 60;
/// What a quota counts is committed one after the other.
const QUOTA_PODS: usize = 2_000;
const NAMESPACES: [&str; 3] = ["crowd-alone", "crowd-bound", "crowd-quota"];
const READY_WITHIN: Duration = Duration::from_secs(30);
const BOUND_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

struct Crowd {
    samples: Samples,
    took: Duration,
    refused: usize,
}

pub(super) fn run(
    plane: &mut ControlPlane,
    admin: &Client,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<Vec<Row>> {
    let clients = plane.client("controller-manager")?;
    for namespace in NAMESPACES {
        runtime.block_on(load::prepare(admin, namespace))?;
    }
    let alone =
        step("64 clients, the apiserver alone", |_| runtime.block_on(create(&clients, NAMESPACES[0], "nobody", PODS)))?;
    let quota = step("64 clients, in a namespace with a quota", |_| {
        runtime.block_on(async {
            make_quota(admin, NAMESPACES[2]).await?;
            create(&clients, NAMESPACES[2], "nobody", QUOTA_PODS).await
        })
    })?;
    step("scheduler and controllers take up 60 nodes", |_| {
        runtime.block_on(make_nodes(admin))?;
        plane.start_scheduler_and_controllers()?;
        runtime.block_on(until(READY_WITHIN, "the nodes have no taint", || untainted(admin)))
    })?;
    let (bound, all_bound_after) = step("64 clients, while the pods are bound", |_| {
        runtime.block_on(async {
            let started = Instant::now();
            let created = create(&clients, NAMESPACES[1], "default-scheduler", PODS).await?;
            until(BOUND_WITHIN, "all pods are bound", || all_bound(admin, NAMESPACES[1])).await?;
            anyhow::Ok((created, started.elapsed()))
        })
    })?;
    let mut rows = alone.rows("create, apiserver alone");
    rows.extend(quota.rows("create, with a quota, apiserver alone"));
    rows.extend(bound.rows("create, while scheduler and controllers work"));
    rows.push(Row::new("  all are bound after", format!("{:.1} s", all_bound_after.as_secs_f64()), "", ""));
    Ok(rows)
}

impl Crowd {
    fn rows(&self, name: &str) -> Vec<Row> {
        let ms = |percent| format!("{:.2} ms", self.samples.percentile(percent).as_secs_f64() * 1000.0);
        let rate = self.samples.count() as f64 / self.took.as_secs_f64();
        vec![
            Row::new(name, format!("{rate:.0}/s"), "", ""),
            Row::new("  p50", ms(50), "", ""),
            Row::new("  p99", ms(99), "", ""),
            Row::new("  refused", self.refused.to_string(), "0", ""),
        ]
    }
}

async fn send(client: &Client, method: Method, path: &str, kind: &str, object: &Value) -> anyhow::Result<()> {
    let (status, answer) = client.send(method, path, kind, object.to_string().into()).await?;
    if !status.is_success() && status != StatusCode::CONFLICT {
        bail!("{path} answered {status}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

/// Of pods and of what they ask for, and more than all of them want.
async fn make_quota(admin: &Client, namespace: &str) -> anyhow::Result<()> {
    let hard = json!({"pods": "100k", "requests.cpu": "100k", "requests.memory": "1Pi"});
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "crowd"},
        "spec": {"hard": hard}});
    let path = format!("/api/v1/namespaces/{namespace}/resourcequotas");
    send(admin, Method::POST, &path, "application/json", &quota).await
}

/// Nodes that nobody runs: ready for as long as it takes the controllers to miss their leases.
async fn make_nodes(admin: &Client) -> anyhow::Result<()> {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti"});
    let condition = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "bench",
        "lastHeartbeatTime": now, "lastTransitionTime": now});
    let status = json!({"status": {"capacity": room, "allocatable": room, "conditions": [condition]}});
    for number in 0..NODES {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("bench-{number}")}});
        send(admin, Method::POST, "/api/v1/nodes", "application/json", &node).await?;
        let path = format!("/api/v1/nodes/bench-{number}/status");
        send(admin, Method::PATCH, &path, "application/merge-patch+json", &status).await?;
    }
    Ok(())
}

async fn untainted(admin: &Client) -> anyhow::Result<bool> {
    let nodes = admin.get("/api/v1/nodes").await?;
    let all = nodes["items"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(all.len() >= NODES && all.iter().all(|node| node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)))
}

async fn all_bound(admin: &Client, namespace: &str) -> anyhow::Result<bool> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?fieldSelector=spec.nodeName%3D&limit=1");
    let left = admin.get(&path).await?;
    Ok(left["items"].as_array().is_some_and(Vec::is_empty))
}

async fn until<F>(within: Duration, what: &str, mut ask: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let deadline = Instant::now() + within;
    while !ask().await? {
        if Instant::now() > deadline {
            bail!("waited {} s for this: {what}", within.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Each client sends one after the other; one that is refused is counted and sent again.
async fn create(
    client: &Client,
    namespace: &'static str,
    scheduler: &'static str,
    pods: usize,
) -> anyhow::Result<Crowd> {
    let (next, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(client.connect().await?);
    }
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut sender in connections {
        let (next, refused, client) = (next.clone(), refused.clone(), client.clone());
        tasks.spawn(async move {
            let mut samples = Samples::default();
            let path = format!("/api/v1/namespaces/{namespace}/pods");
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= pods {
                    return anyhow::Ok(samples);
                }
                let body = pod(namespace, number, scheduler);
                loop {
                    let request = client.request(Method::POST, &path, "application/json", body.clone())?;
                    let sent = Instant::now();
                    let (status, answer) = answer(&mut sender, request).await?;
                    match status {
                        StatusCode::TOO_MANY_REQUESTS => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        status if status.is_success() => {
                            samples.add(sent.elapsed());
                            break;
                        }
                        status => bail!("{path} answered {status}: {}", String::from_utf8_lossy(&answer)),
                    }
                }
            }
        });
    }
    let mut samples = Samples::default();
    while let Some(joined) = tasks.join_next().await {
        samples.join(joined??);
    }
    Ok(Crowd { samples, took: started.elapsed(), refused: refused.load(Ordering::Relaxed) })
}

fn pod(namespace: &str, number: usize, scheduler: &str) -> Bytes {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("pod-{number:06}"), "namespace": namespace, "labels": {"app": "crowd"}},
        "spec": {
            "schedulerName": scheduler,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main",
                "image": "nginx:latest",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            }],
        },
    })
    .to_string()
    .into()
}
