//! `bench api`: what an apiserver and its etcd do under load, and what it costs them.
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::crowd;
use super::load::{self, Call, Done, NAMESPACE, pod_body, pod_name, pods_path};
use super::phase::{Bench, Phase};
use super::samples::Samples;
use super::table::{self, Row};
use super::watch::{Counter, Watch};
use crate::rest::{Client, answer};

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
    let mut bench = Bench::start()?;
    bench.runtime.block_on(load::prepare(&bench.client, NAMESPACE))?;
    let mut rows = Vec::new();
    let client = &bench.client;
    let create = bench.phase("create", || {
        load::run(client, pods, |number| Call::new(Method::POST, pods_path(), pod_body(&pod_name(number), 0)))
    })?;
    rows.extend(create.rows("create", ["3,000/s", "0.25"], ["1,233/s", "1.16"]));
    let get = bench.phase("get", || {
        load::run(client, pods * 3, move |number| {
            let path = format!("{}/{}", pods_path(), pod_name(number * STRIDE % pods));
            Call::new(Method::GET, path, Bytes::new())
        })
    })?;
    rows.extend(get.rows("get", ["10,000/s", ""], ["3,699/s", ""]));
    let update = bench.phase("update", || {
        load::run(client, pods, move |number| {
            let name = pod_name(number);
            Call::new(Method::PUT, format!("{}/{name}", pods_path()), pod_body(&name, number + 1))
        })
    })?;
    rows.extend(update.rows("update", ["", ""], ["", ""]));
    // What a controller writes when it applies: its own fields, over and over.
    let apply = bench.phase("apply", || load::run(client, pods, move |number| applied(number, pods)))?;
    rows.extend(apply.rows("apply on the server", ["", ""], ["", ""]));
    let list = bench.phase("list", || load::list_pages(client, LIST_ROUNDS, PAGE))?;
    rows.extend(list.rows("list, pages of 500", ["300/s", ""], ["46/s", ""]));
    let watch = bench.phase("watch", || deliver(client, watchers))?;
    rows.extend(delivery_rows(&watch, watchers));
    table::print(&format!("16 clients over TLS, {pods} pods of 1.5 KB"), &rows);
    let rows = crowd::run(&mut bench.plane, &bench.client, &bench.runtime)?;
    table::print("64 clients over TLS create 5,000 pods", &rows);
    Ok(())
}

/// Server-side apply of one label and one annotation of a pod, by a manager that changes them each time.
fn applied(number: usize, pods: usize) -> Call {
    let name = pod_name(number * STRIDE % pods);
    let metadata = json!({
        "name": name,
        "labels": {"applied": "bench"},
        "annotations": {"bench/applied": number.to_string()},
    });
    Call {
        method: Method::PATCH,
        path: format!("{}/{name}?fieldManager=bench", pods_path()),
        content_type: "application/apply-patch+yaml",
        body: json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}).to_string().into(),
    }
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

fn delivery_rows(phase: &Phase, watchers: usize) -> Vec<Row> {
    let samples = &phase.done.samples;
    let deliveries = (samples.count() * watchers) as f64;
    let ms = |percent| format!("{:.2} ms", samples.percentile(percent).as_secs_f64() * 1000.0);
    let rate = deliveries / phase.done.took.as_secs_f64();
    let cost = format!("{:.4} s", phase.apiserver_secs / deliveries * 1000.0);
    vec![
        Row::new(format!("one event to {watchers} watchers, deliveries"), format!("{rate:.0}/s"), "", ""),
        Row::new("  p50, until the last has it", ms(50), "", ""),
        Row::new("  p99, until the last has it", ms(99), "", ""),
        Row::new("  apiserver CPU per 1,000 deliveries", cost, "", "0.017"),
    ]
}
