//! `bench api`: what an apiserver and its etcd do under load, and what it costs them.
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use super::control_plane::ControlPlane;
use super::cpu;
use super::crowd;
use super::load::{self, Call, Done, NAMESPACE, pod_body, pod_name, pods_path};
use super::samples::Samples;
use super::table::{self, Row};
use super::watch::{Counter, Watch};
use crate::rest::{Client, answer};
use crate::step::step;

const PAGE: usize = 500;
const LIST_ROUNDS: usize = 2;
const EVENTS: usize = 200;
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);
/// Names of pods are spread by this prime, so that clients do not walk side by side.
const STRIDE: usize = 7919;

pub(super) fn run(pods: usize, watchers: usize) -> anyhow::Result<()> {
    if pods == 0 || watchers == 0 {
        bail!("--pods and --watchers must be 1 or more");
    }
    let mut plane = step("etcd is started", |_| ControlPlane::with_etcd())?;
    let (_, client) = step("apiserver is ready", |_| plane.start_apiserver())?;
    // One thread: the rest of the machine is the servers'.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(prepare(&client))?;
    let mut bench = Bench { plane, client, runtime };
    let mut rows = Vec::new();
    let client = &bench.client;
    let create = bench.phase("create", || {
        load::run(client, pods, |number| Call {
            method: Method::POST,
            path: pods_path(),
            body: pod_body(&pod_name(number), 0),
        })
    })?;
    rows.extend(create.rows("create", ["3,000/s", "0.25"], ["1,233/s", "1.16"]));
    let get = bench.phase("get", || {
        load::run(client, pods * 3, move |number| Call {
            method: Method::GET,
            path: format!("{}/{}", pods_path(), pod_name(number * STRIDE % pods)),
            body: Bytes::new(),
        })
    })?;
    rows.extend(get.rows("get", ["10,000/s", ""], ["3,699/s", ""]));
    let update = bench.phase("update", || {
        load::run(client, pods, move |number| {
            let name = pod_name(number);
            Call { method: Method::PUT, path: format!("{}/{name}", pods_path()), body: pod_body(&name, number + 1) }
        })
    })?;
    rows.extend(update.rows("update", ["", ""], ["", ""]));
    let list = bench.phase("list", || load::list_pages(client, LIST_ROUNDS, PAGE))?;
    rows.extend(list.rows("list, pages of 500", ["300/s", ""], ["46/s", ""]));
    let watch = bench.phase("watch", || deliver(client, watchers))?;
    rows.extend(watch.delivery_rows(watchers));
    table::print(&format!("16 clients over TLS, {pods} pods of 1.5 KB"), &rows);
    let rows = crowd::run(&mut bench.plane, &bench.client, &bench.runtime)?;
    table::print("64 clients over TLS create 5,000 pods", &rows);
    Ok(())
}

/// A namespace and its service account, which no controller is there to make.
async fn prepare(client: &Client) -> anyhow::Result<()> {
    let account = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    let objects = [
        (
            "/api/v1/namespaces".to_owned(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        ),
        (account, json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})),
    ];
    for (path, object) in objects {
        let body = Bytes::from(object.to_string());
        let (status, answer) = client.send(Method::POST, &path, "application/json", body).await?;
        if !status.is_success() && status != StatusCode::CONFLICT {
            bail!("POST {path} answered {status}: {}", String::from_utf8_lossy(&answer));
        }
    }
    Ok(())
}

/// Each event goes to all watchers before the next is made; a sample is the time until the last one has it.
async fn deliver(client: &Client, watchers: usize) -> anyhow::Result<Done> {
    let counter = Arc::new(Counter::default());
    let object = pod_name(0);
    let path = format!("{}?watch=1&fieldSelector=metadata.name%3D{object}", pods_path());
    for _ in 0..watchers {
        // Without a resourceVersion a watch begins with the object as it is: one event each, before we count.
        tokio::spawn(Arc::clone(&counter).count(Watch::open(client, &path).await?));
    }
    counter.reaches(watchers, DELIVERED_WITHIN).await?;
    let mut sender = client.connect().await?;
    let mut samples = Samples::default();
    let started = Instant::now();
    for event in 1..=EVENTS {
        let body = pod_body(&object, 1_000_000 + event);
        let request = client.request(Method::PUT, &format!("{}/{object}", pods_path()), "application/json", body)?;
        let sent = Instant::now();
        let (status, answer) = answer(&mut sender, request).await?;
        if !status.is_success() {
            bail!("an update answered {status}: {}", String::from_utf8_lossy(&answer));
        }
        counter.reaches(watchers * (event + 1), DELIVERED_WITHIN).await?;
        samples.add(sent.elapsed());
    }
    if counter.seen() != watchers * (EVENTS + 1) {
        bail!("{} events came for {EVENTS} changes and {watchers} watchers", counter.seen());
    }
    Ok(Done { samples, took: started.elapsed() })
}

struct Bench {
    plane: ControlPlane,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

struct Phase {
    done: Done,
    apiserver_secs: f64,
    etcd_secs: f64,
}

impl Bench {
    /// Runs a phase and takes the CPU time that both servers used meanwhile.
    fn phase<F>(&self, name: &str, work: impl FnOnce() -> F) -> anyhow::Result<Phase>
    where
        F: Future<Output = anyhow::Result<Done>>,
    {
        let (apiserver, etcd) = self.plane.pids()?;
        step(name, |_| {
            let before = (cpu::seconds(apiserver)?, cpu::seconds(etcd)?);
            let done = self.runtime.block_on(work())?;
            let after = (cpu::seconds(apiserver)?, cpu::seconds(etcd)?);
            Ok(Phase { done, apiserver_secs: after.0 - before.0, etcd_secs: after.1 - before.1 })
        })
    }
}

impl Phase {
    fn rows(&self, name: &str, goal: [&'static str; 2], go: [&'static str; 2]) -> Vec<Row> {
        let samples = &self.done.samples;
        let ops = samples.count() as f64;
        let per_1000 = |secs: f64| format!("{:.3} s", secs / ops * 1000.0);
        let ms = |percent| format!("{:.2} ms", samples.percentile(percent).as_secs_f64() * 1000.0);
        vec![
            Row::new(name, format!("{:.0}/s", ops / self.done.took.as_secs_f64()), goal[0], go[0]),
            Row::new("  p50", ms(50), "", ""),
            Row::new("  p99", ms(99), "", ""),
            Row::new("  apiserver CPU per 1,000", per_1000(self.apiserver_secs), goal[1], go[1]),
            Row::new("  etcd CPU per 1,000", per_1000(self.etcd_secs), "", ""),
        ]
    }

    fn delivery_rows(&self, watchers: usize) -> Vec<Row> {
        let samples = &self.done.samples;
        let deliveries = (samples.count() * watchers) as f64;
        let ms = |percent| format!("{:.2} ms", samples.percentile(percent).as_secs_f64() * 1000.0);
        let rate = deliveries / self.done.took.as_secs_f64();
        let cost = format!("{:.4} s", self.apiserver_secs / deliveries * 1000.0);
        vec![
            Row::new(format!("one event to {watchers} watchers, deliveries"), format!("{rate:.0}/s"), "", ""),
            Row::new("  p50, until the last has it", ms(50), "", ""),
            Row::new("  p99, until the last has it", ms(99), "", ""),
            Row::new("  apiserver CPU per 1,000 deliveries", cost, "", "0.017"),
        ]
    }
}
