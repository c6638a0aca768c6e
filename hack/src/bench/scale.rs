//! `bench scale`: what thousands of nodes cost the controllers. The nodes are made up; apiserver, etcd and controllers
//! are real. Leases are renewed as kubelets do it.
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, free_port};
use super::cpu;
use super::table::{self, Row};
use crate::lab::wait_until;
use crate::rest::{Client, answer};
use crate::step::step;

const CLIENTS: usize = 16;
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// What takes longer than this does not happen at all.
const WITHIN: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the controllers are watched once all is quiet again.
const QUIET: Duration = Duration::from_secs(60);
const REPLICAS: u64 = 1000;
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// As an apiserver that is busy asks for.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const LEADER: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub(super) fn run(nodes: usize) -> anyhow::Result<()> {
    let mut plane = step("etcd is started", |_| ControlPlane::with_etcd())?;
    let (_, client) = step("apiserver is ready", |_| plane.start_apiserver())?;
    let fleet = Fleet::new(client.clone(), nodes)?;
    let mut rows = Vec::new();
    let mut controllers = Controllers::start(&plane, &client)?;
    let report = |what: &str, controllers: &Controllers, rows: &mut Vec<Row>, work: &dyn Fn() -> anyhow::Result<()>| {
        let before = controllers.used()?;
        let took = step(what, |_| {
            let began = Instant::now();
            work()?;
            Ok(began.elapsed())
        })?;
        rows.push(Row::new(what, format!("{:.1} s", took.as_secs_f64()), "", ""));
        rows.extend(controllers.used()?.since(&before).rows());
        anyhow::Ok(())
    };
    report("nodes are made, have their networks and no taint", &controllers, &mut rows, &|| {
        fleet.register()?;
        fleet.renew_from_now();
        fleet.all(is_settled)
    })?;
    report("a Deployment of 1,000 has its pods", &controllers, &mut rows, &|| deploy(&fleet, "first"))?;
    let transitions = fleet.transitions()?;
    controllers.stop()?;
    let taken_over = Instant::now();
    controllers = Controllers::start(&plane, &client)?;
    deploy(&fleet, "second")?;
    let secs = taken_over.elapsed().as_secs_f64();
    rows.push(Row::new("after a restart: a Deployment of 1,000 has its pods", format!("{secs:.1} s"), "", "3.3 s"));
    rows.extend(controllers.used()?.rows());
    report("a quiet minute", &controllers, &mut rows, &|| {
        std::thread::sleep(QUIET);
        Ok(())
    })?;
    fleet.silent.store(true, Ordering::SeqCst);
    report("all fall silent, until all are Unknown", &controllers, &mut rows, &|| fleet.all(is_unknown))?;
    report("meanwhile: a Deployment of 1,000 has its pods", &controllers, &mut rows, &|| deploy(&fleet, "third"))?;
    report("all come back, until none has a taint", &controllers, &mut rows, &|| {
        fleet.silent.store(false, Ordering::SeqCst);
        fleet.say_ready()?;
        fleet.all(is_settled)
    })?;
    // One for the restart.
    let flaps = fleet.transitions()?.saturating_sub(transitions + 1);
    rows.push(Row::new("lost leases", flaps.to_string(), "0", ""));
    fleet.over.store(true, Ordering::SeqCst);
    table::print(&format!("Controllers with {nodes} nodes"), &rows);
    Ok(())
}

/// The controllers' process.
struct Controllers {
    child: Child,
    metrics: SocketAddr,
}

impl Drop for Controllers {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What the controllers have used.
struct Used {
    cpu_secs: f64,
    rss_mb: f64,
    adds: Option<u64>,
}

impl Controllers {
    fn start(plane: &ControlPlane, client: &Client) -> anyhow::Result<Self> {
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let root_ca = plane.ca();
        let args = [
            "--identity=scale".to_owned(),
            // 8,192 networks.
            "--cluster-cidr=10.0.0.0/11".into(),
            "--node-cidr-mask-size=24".into(),
            format!("--root-ca-file={}", root_ca.display()),
            format!("--metrics-address={metrics}"),
        ];
        let child = plane.spawn_client("corten-controllers", "controller-manager", client.address(), &args)?;
        Ok(Self { child, metrics })
    }

    /// As an upgrade does: the lease is given up.
    fn stop(&mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        wait_until("the controllers end", STOPS_WITHIN, LOOK_EVERY, || Ok(self.child.try_wait()?.map(drop)))
    }

    fn used(&self) -> anyhow::Result<Used> {
        let pid = self.child.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the controllers have ended")?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let rss_kib: f64 = rss.context("the kernel does not say how much memory is used")?;
        // A program of before it had such a metric is measured all the same.
        let adds = http_get(self.metrics, "/metrics").ok().and_then(|text| sum(&text, "workqueue_adds_total"));
        Ok(Used { cpu_secs: cpu::seconds(pid)?, rss_mb: rss_kib / 1024.0, adds })
    }
}

impl Used {
    fn since(self, before: &Self) -> Self {
        let adds = self.adds.map(|adds| adds.saturating_sub(before.adds.unwrap_or(0)));
        Self { cpu_secs: self.cpu_secs - before.cpu_secs, rss_mb: self.rss_mb, adds }
    }

    fn rows(&self) -> [Row; 3] {
        let adds = self.adds.map_or_else(|| "?".into(), |adds| adds.to_string());
        [
            Row::new("  CPU", format!("{:.1} s", self.cpu_secs), "", ""),
            Row::new("  memory (RSS)", format!("{:.0} MB", self.rss_mb), "200 MB", ""),
            Row::new("  queue adds", adds, "", ""),
        ]
    }
}

/// The sum of a metric over its labels.
fn sum(metrics: &str, name: &str) -> Option<u64> {
    let values =
        metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let values: Vec<u64> = values.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

fn http_get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(STOPS_WITHIN))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Nodes that are only objects, and what their kubelets would say.
struct Fleet {
    client: Client,
    runtime: tokio::runtime::Runtime,
    nodes: usize,
    silent: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Value,
}

impl Fleet {
    fn new(client: Client, nodes: usize) -> anyhow::Result<Self> {
        if nodes == 0 {
            bail!("--nodes must be 1 or more");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { client, runtime, nodes, silent: Arc::default(), over: Arc::default() })
    }

    fn each(&self, call: impl Fn(usize) -> Call + Send + Sync + 'static) -> anyhow::Result<()> {
        self.runtime.block_on(send_all(&self.client, self.nodes, Arc::new(call)))
    }

    fn register(&self) -> anyhow::Result<()> {
        self.each(|n| Call {
            method: Method::POST,
            path: "/api/v1/nodes".into(),
            content_type: JSON,
            body: json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name(n)}, "spec": {}}),
        })?;
        self.each(|n| Call { method: Method::POST, path: LEASES.into(), content_type: JSON, body: lease(n) })?;
        self.say_ready()
    }

    fn say_ready(&self) -> anyhow::Result<()> {
        self.each(|n| {
            let now = jiff::Timestamp::now().to_string();
            let condition = |kind: &str, status: &str| {
                json!({"type": kind, "status": status, "reason": "Scale", "message": "",
                    "lastHeartbeatTime": now, "lastTransitionTime": now})
            };
            let pressures = ["MemoryPressure", "DiskPressure", "PIDPressure"].map(|kind| condition(kind, "False"));
            let conditions: Vec<Value> = pressures.into_iter().chain([condition("Ready", "True")]).collect();
            let path = format!("/api/v1/nodes/{}/status", name(n));
            Call {
                method: Method::PATCH,
                path,
                content_type: MERGE,
                body: json!({"status": {"conditions": conditions}}),
            }
        })
    }

    /// Renews all leases every 10 s, spread over that time, while the nodes are not silent.
    fn renew_from_now(&self) {
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
                    let path = format!("{LEASES}/{}", name(from + n));
                    let body = json!({"spec": {"renewTime": micro_time()}});
                    Call { method: Method::PATCH, path, content_type: MERGE, body }
                };
                if let Err(err) = send_all(&client, to - from, Arc::new(renewal)).await {
                    say!("leases could not be renewed: {err:#}");
                }
            }
        });
    }

    fn all(&self, holds: fn(&Value) -> bool) -> anyhow::Result<()> {
        wait_until("all nodes are so", WITHIN, LOOK_EVERY, || {
            let list = self.runtime.block_on(self.client.get("/api/v1/nodes"))?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            Ok((items.len() == self.nodes && items.iter().all(holds)).then_some(()))
        })
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.runtime.block_on(self.client.get(path))
    }

    fn transitions(&self) -> anyhow::Result<u64> {
        Ok(self.get(LEADER)?["spec"]["leaseTransitions"].as_u64().unwrap_or(0))
    }
}

fn name(n: usize) -> String {
    format!("scale-{n:05}")
}

fn micro_time() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

fn lease(n: usize) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name(n)},
        "spec": {"holderIdentity": name(n), "leaseDurationSeconds": 40, "renewTime": micro_time()}})
}

fn is_settled(node: &Value) -> bool {
    node["spec"]["podCIDR"].is_string() && node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)
}

fn is_unknown(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "Unknown")
}

/// Makes a Deployment and waits until its pods are made; nobody schedules them.
fn deploy(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    let labels = json!({"app": name});
    let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": REPLICAS, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}}});
    fleet.runtime.block_on(async {
        let sent = fleet.client.send(Method::POST, DEPLOYMENTS, JSON, Bytes::from(body.to_string())).await?;
        check(sent.0, DEPLOYMENTS, &sent.1)
    })?;
    let path = format!("{DEPLOYMENTS}/{name}");
    wait_until("the Deployment has its pods", WITHIN, LOOK_EVERY, || {
        Ok((fleet.get(&path)?["status"]["replicas"].as_u64() == Some(REPLICAS)).then_some(()))
    })
}

fn check(status: StatusCode, path: &str, body: &[u8]) -> anyhow::Result<()> {
    if status.is_success() {
        return Ok(());
    }
    bail!("{path} answered {status}: {}", String::from_utf8_lossy(body))
}

/// Sends calls 0..count over a few connections, as kubelets would: what is refused for being too much is sent again. Any
/// other answer but 2xx ends it.
async fn send_all(
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
                let sent = Bytes::from(body.to_string());
                loop {
                    let request = client.request(method.clone(), &path, content_type, sent.clone())?;
                    let (status, body) = answer(&mut sender, request).await?;
                    if status != StatusCode::TOO_MANY_REQUESTS {
                        check(status, &path, &body)?;
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

#[cfg(test)]
mod tests {
    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE workqueue_adds counter\nworkqueue_adds_total{name=\"a\"} 3\nworkqueue_adds_total{name=\"b\"} 4\n\
            workqueue_adds_totals 9\n";
        assert_eq!(super::sum(text, "workqueue_adds_total"), Some(7));
        assert_eq!(super::sum("", "workqueue_adds_total"), None);
    }
}
