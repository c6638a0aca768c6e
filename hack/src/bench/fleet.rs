//! A fleet of nodes that are only objects, and what their kubelets would say of them.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::load::Call;
use crate::lab::wait_until;
use crate::rest::{Client, answer};

const CLIENTS: usize = 16;
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// What takes longer than this does not happen at all.
pub(super) const WITHIN: Duration = Duration::from_secs(300);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// As an apiserver that is busy asks for.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
pub(super) const MERGE: &str = "application/merge-patch+json";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// Nodes that are only objects, and what their kubelets would say.
pub(super) struct Fleet {
    pub(super) client: Client,
    pub(super) runtime: tokio::runtime::Runtime,
    nodes: usize,
    pub(super) silent: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Fleet {
    pub(super) fn new(client: Client, nodes: usize) -> anyhow::Result<Self> {
        if nodes == 0 {
            bail!("--nodes must be 1 or more");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { client, runtime, nodes, silent: Arc::default(), over: Arc::default() })
    }

    fn each(&self, call: impl Fn(usize) -> Call + Send + Sync + 'static) -> anyhow::Result<()> {
        self.runtime.block_on(send_all(&self.client, self.nodes, Arc::new(call)))
    }

    pub(super) fn register(&self) -> anyhow::Result<()> {
        self.each(|n| {
            let labels = json!({"kubernetes.io/hostname": name(n)});
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name(n), "labels": labels}});
            Call::new(Method::POST, "/api/v1/nodes".into(), bytes(&node))
        })?;
        self.each(|n| Call::new(Method::POST, LEASES.into(), bytes(&lease(n))))?;
        self.say_ready()
    }

    pub(super) fn say_ready(&self) -> anyhow::Result<()> {
        self.each(|n| {
            let now = jiff::Timestamp::now().to_string();
            let condition = |kind: &str, status: &str| {
                json!({"type": kind, "status": status, "reason": "Scale", "message": "",
                    "lastHeartbeatTime": now, "lastTransitionTime": now})
            };
            let pressures = ["MemoryPressure", "DiskPressure", "PIDPressure"].map(|kind| condition(kind, "False"));
            let conditions: Vec<Value> = pressures.into_iter().chain([condition("Ready", "True")]).collect();
            let room = json!({"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti"});
            let status = json!({"capacity": room, "allocatable": room, "conditions": conditions});
            merge(format!("/api/v1/nodes/{}/status", name(n)), &json!({"status": status}))
        })
    }

    /// Renews all leases every 10 s, spread over that time, while the nodes are not silent.
    pub(super) fn renew_from_now(&self) {
        let (client, nodes) = (self.client.clone(), self.nodes);
        let (silent, over) = (Arc::clone(&self.silent), Arc::clone(&self.over));
        self.runtime.spawn(async move {
            const STEPS: usize = 100;
            let mut ticks = tokio::time::interval(RENEW_EVERY / 100);
            for step in (0..STEPS).cycle() {
                ticks.tick().await;
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (from, to) = (nodes * step / STEPS, nodes * (step + 1) / STEPS);
                if silent.load(Ordering::SeqCst) || from == to {
                    continue;
                }
                let renewal = move |n: usize| {
                    let body = json!({"spec": {"renewTime": micro_time()}});
                    merge(format!("{LEASES}/{}", name(from + n)), &body)
                };
                if let Err(err) = send_all(&client, to - from, Arc::new(renewal)).await {
                    say!("leases could not be renewed: {err:#}");
                }
            }
        });
    }

    pub(super) fn all(&self, holds: fn(&Value) -> bool) -> anyhow::Result<()> {
        wait_until("all nodes are so", WITHIN, LOOK_EVERY, || {
            let list = self.runtime.block_on(self.client.get("/api/v1/nodes"))?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            Ok((items.len() == self.nodes && items.iter().all(holds)).then_some(()))
        })
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.runtime.block_on(self.client.get(path))
    }
}

fn name(n: usize) -> String {
    format!("scale-{n:05}")
}

pub(super) fn bytes(object: &Value) -> Bytes {
    object.to_string().into()
}

/// A merge patch.
pub(super) fn merge(path: String, body: &Value) -> Call {
    Call { method: Method::PATCH, path, content_type: MERGE, body: bytes(body) }
}

fn micro_time() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

fn lease(n: usize) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name(n)},
        "spec": {"holderIdentity": name(n), "leaseDurationSeconds": 40, "renewTime": micro_time()}})
}

pub(super) fn is_settled(node: &Value) -> bool {
    node["spec"]["podCIDR"].is_string() && node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)
}

pub(super) fn check(status: StatusCode, path: &str, body: &[u8]) -> anyhow::Result<()> {
    if status.is_success() {
        return Ok(());
    }
    bail!("{path} answered {status}: {}", String::from_utf8_lossy(body))
}

/// Sends calls 0..count over a few connections, as kubelets would: what is refused for being too much is sent again. Any
/// other answer but 2xx ends it.
pub(super) async fn send_all(
    client: &Client,
    count: usize,
    call: Arc<impl Fn(usize) -> Call + Send + Sync + 'static>,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS.min(count) {
        let (next, call, client) = (Arc::clone(&next), Arc::clone(&call), client.clone());
        tasks.spawn(async move {
            let mut sender = client.connect().await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                let Call { method, path, content_type, body } = call(number);
                loop {
                    let request = client.request(method.clone(), &path, content_type, body.clone())?;
                    let (status, answered) = answer(&mut sender, request).await?;
                    if status != StatusCode::TOO_MANY_REQUESTS {
                        check(status, &path, &answered)?;
                        break;
                    }
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
            }
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined??;
    }
    Ok(())
}
