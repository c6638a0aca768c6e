//! `bench scheduler`: pods that a scheduler places on made-up nodes, through a real apiserver and etcd. Nobody runs the pods.
//!
//! Clients create pods one after the other while the scheduler binds them; a pod's time goes from its request until a watch
//! tells that it is bound. The machine's cores are shared by all of them.
mod workload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::workload::Workload;
use super::cpu;
use super::load::{self, Call};
use super::memory::pss_mb;
use super::phase::Bench;
use super::samples::Samples;
use super::table::{self, Row};
use super::watch::Watch;
use crate::step::step;

const MERGE: &str = "application/merge-patch+json";
/// What takes longer than this does not happen at all.
const WITHIN: Duration = Duration::from_secs(600);
/// Pods that are bound before anything is measured: what is filled and compiled once is not what is measured.
const WARM_UP: usize = 200;

pub(super) fn run(nodes: &[usize], pods: usize) -> anyhow::Result<()> {
    if pods == 0 || nodes.contains(&0) {
        bail!("--nodes and --pods must be 1 or more");
    }
    for nodes in nodes {
        let rows = on_nodes(*nodes, pods)?;
        table::print(&format!("Scheduler: {pods} pods on {nodes} nodes, {} clients", load::CLIENTS), &rows);
    }
    Ok(())
}

fn on_nodes(nodes: usize, pods: usize) -> anyhow::Result<Vec<Row>> {
    let mut bench = Bench::start()?;
    step(&format!("{nodes} nodes are made"), |_| make_nodes(&bench, nodes))?;
    let scheduler = bench.plane.start_scheduler()?;
    step("the scheduler places its first pods", |_| {
        place(&bench, "bench-warm", Workload::Plain, nodes, WARM_UP)?;
        remove(&bench, "bench-warm")
    })?;
    let mut rows = Vec::new();
    for (number, workload) in Workload::ALL.into_iter().enumerate() {
        let (namespace, count) = (format!("bench-{number}"), workload.pods(nodes, pods));
        if workload == Workload::Preemption {
            step("nodes are filled", |_| fill(&bench, &namespace, nodes))?;
        }
        let before = cpu::seconds(scheduler)?;
        let placed = step(workload.name(), |_| place(&bench, &namespace, workload, nodes, count))?;
        let used = cpu::seconds(scheduler)? - before;
        rows.extend(placed.rows(workload, used));
        remove(&bench, &namespace)?;
    }
    let mb = pss_mb(i32::try_from(scheduler)?).context("the scheduler has ended")?;
    rows.push(Row::new("scheduler's memory", format!("{mb:.0} MB"), "300 MB", ""));
    Ok(rows)
}

/// How long pods took from their request until they were bound.
struct Placed {
    samples: Samples,
    took: Duration,
}

impl Placed {
    fn rows(&self, workload: Workload, scheduler_secs: f64) -> [Row; 4] {
        let count = self.samples.count() as f64;
        let ms = |percent| format!("{:.1} ms", self.samples.percentile(percent).as_secs_f64() * 1000.0);
        let rate = format!("{:.0}/s", count / self.took.as_secs_f64());
        [
            Row::new(format!("{}: bound", workload.name()), rate, "1000/s", workload.upstream()),
            Row::new("  from create to bound, p50", ms(50), "", ""),
            Row::new("  p99", ms(99), "50 ms", ""),
            Row::new("  scheduler CPU per 1,000", format!("{:.3} s", scheduler_secs / count * 1000.0), "", ""),
        ]
    }
}

fn make_nodes(bench: &Bench, nodes: usize) -> anyhow::Result<()> {
    let make = |number| Call::new(Method::POST, "/api/v1/nodes".into(), bytes(&workload::node(number)));
    bench.runtime.block_on(load::run(&bench.client, nodes, make))?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let status = bytes(&workload::node_status(&now));
    let merge = |path, body| Call { method: Method::PATCH, path, content_type: MERGE, body };
    let ready = move |number| merge(format!("/api/v1/nodes/{}/status", workload::node_name(number)), status.clone());
    bench.runtime.block_on(load::run(&bench.client, nodes, ready))?;
    // Whoever is made has a taint that controllers take away from who is ready.
    let untainted = bytes(&json!({"spec": {"taints": null}}));
    let taint = move |number| merge(format!("/api/v1/nodes/{}", workload::node_name(number)), untainted.clone());
    bench.runtime.block_on(load::run(&bench.client, nodes, taint))?;
    let high = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000,
        "metadata": {"name": workload::HIGH_PRIORITY}});
    let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = move |_| Call::new(Method::POST, path.into(), bytes(&high));
    bench.runtime.block_on(load::run(&bench.client, 1, class)).map(drop)
}

fn fill(bench: &Bench, namespace: &str, nodes: usize) -> anyhow::Result<()> {
    bench.runtime.block_on(async {
        load::prepare(&bench.client, namespace).await?;
        let path = pods_path(namespace);
        let fill = move |number| Call::new(Method::POST, path.clone(), bytes(&workload::filler(number)));
        load::run(&bench.client, nodes, fill).await.map(drop)
    })
}

fn place(bench: &Bench, namespace: &str, workload: Workload, nodes: usize, count: usize) -> anyhow::Result<Placed> {
    bench.runtime.block_on(async {
        load::prepare(&bench.client, namespace).await?;
        let path = pods_path(namespace);
        let watch = Watch::open(&bench.client, &format!("{path}?watch=1")).await?;
        let sent = Arc::new(Mutex::new(vec![None; count]));
        let began = Instant::now();
        let bound = tokio::spawn(all_bound(watch, Arc::clone(&sent), began));
        let create = move |number| {
            let body = bytes(&workload.pod(number, nodes));
            sent.lock()[number] = Some(Instant::now());
            Call::new(Method::POST, path.clone(), body)
        };
        load::run(&bench.client, count, create).await?;
        bound.await?
    })
}

/// Reads the watch until all pods are bound.
async fn all_bound(mut watch: Watch, sent: Arc<Mutex<Vec<Option<Instant>>>>, began: Instant) -> anyhow::Result<Placed> {
    let mut samples = Samples::default();
    let mut left = sent.lock().len();
    while left > 0 {
        let within = WITHIN.saturating_sub(began.elapsed());
        let event = tokio::time::timeout(within, watch.next()).await;
        let event = event.with_context(|| format!("{left} pods were not bound within {} s", WITHIN.as_secs()))??;
        let Some(number) = bound(&event) else { continue };
        // A bound pod is told of again when its status changes.
        if let Some(at) = sent.lock().get_mut(number).and_then(Option::take) {
            samples.add(at.elapsed());
            left -= 1;
        }
    }
    Ok(Placed { samples, took: began.elapsed() })
}

/// The number of the pod that an event tells of, if it is on a node.
fn bound(event: &Value) -> Option<usize> {
    let pod = &event["object"];
    pod["spec"]["nodeName"].as_str()?;
    workload::number_of(pod["metadata"]["name"].as_str()?)
}

/// Takes all pods of a namespace away, which nobody has to end.
fn remove(bench: &Bench, namespace: &str) -> anyhow::Result<()> {
    let path = pods_path(namespace);
    let delete = move |_| Call::new(Method::DELETE, path.clone(), Bytes::new());
    bench.runtime.block_on(load::run(&bench.client, 1, delete)).map(drop)
}

fn pods_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

fn bytes(object: &Value) -> Bytes {
    object.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_counts_once_it_is_on_a_node() {
        let event =
            |spec: Value, name: &str| json!({"type": "MODIFIED", "object": {"metadata": {"name": name}, "spec": spec}});
        let name = workload::pod_name(7);
        assert_eq!(bound(&event(json!({"nodeName": "node-1"}), &name)), Some(7));
        assert_eq!(bound(&event(json!({}), &name)), None);
        assert_eq!(bound(&event(json!({"nodeName": "node-1"}), "filler-000001")), None);
    }
}
