//! `bench large`: lists and watches of very many objects, and a watcher of each node's pods, with the memory they take.
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::load::{self, CLIENTS, Call, Done};
use super::memory::pss_mb;
use super::phase::{Bench, Phase};
use super::samples::Samples;
use super::table::{self, Row};
use super::watch::{Counter, Watch};
use crate::rest::{Client, answer};
use crate::step::step;

/// ConfigMaps of one namespace, and pods of one.
const OF_NAMESPACE: usize = 1000;
const LISTS: usize = 7;
const LISTS_OF_NAMESPACE: usize = 100;
const STREAMS: usize = 3;
const STREAMED_WITHIN: Duration = Duration::from_secs(120);
const EVENTS: usize = 500;
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);
/// Users among whom the watchers are shared out: one may have so many watches and no more.
const WATCHERS_OF_USER: usize = 1000;
const INITIAL_EVENTS: &str =
    "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";

pub(super) fn run(configmaps: usize, pods: usize, nodes: usize) -> anyhow::Result<()> {
    if configmaps == 0 || pods == 0 || nodes == 0 {
        bail!("--configmaps, --pods and --nodes must be 1 or more");
    }
    let bench = Bench::start()?;
    let mut rows = of_configmaps(&bench, configmaps)?;
    rows.extend(of_pods(&bench, pods, nodes)?);
    table::print(&format!("{configmaps} ConfigMaps of 300 bytes, then {pods} pods on {nodes} nodes"), &rows);
    Ok(())
}

fn of_configmaps(bench: &Bench, count: usize) -> anyhow::Result<Vec<Row>> {
    let client = &bench.client;
    let names = names("maps", count);
    fill(bench, "configmaps", &names, count, configmap)?;
    let mut rows = vec![memory(bench, "apiserver's memory with the ConfigMaps")?];
    for (name, path) in [
        ("list of all ConfigMaps", "/api/v1/configmaps".to_owned()),
        ("list of all ConfigMaps, resourceVersion=0", "/api/v1/configmaps?resourceVersion=0".to_owned()),
    ] {
        rows.extend(of_lists(name, &bench.phase(name, || lists(client, path, LISTS))?));
    }
    let path = format!("/api/v1/namespaces/{}/configmaps", names[names.len() / 2]);
    let name = "list of one namespace among them";
    rows.extend(of_lists(name, &bench.phase(name, || lists(client, path, LISTS_OF_NAMESPACE))?));
    Ok(rows)
}

fn of_pods(bench: &Bench, count: usize, nodes: usize) -> anyhow::Result<Vec<Row>> {
    let client = &bench.client;
    let names = names("pods", count);
    fill(bench, "pods", &names, count, move |number| pod(number, nodes))?;
    let mut rows = vec![memory(bench, "apiserver's memory with the pods too")?];
    let streamed = bench.phase("pods are streamed to a watcher", || stream(client, count))?;
    rows.extend(of_lists(&format!("{count} pods streamed to a watcher"), &streamed));

    let counter = Arc::new(Counter::default());
    let initial =
        step("a watcher for each node", |_| bench.runtime.block_on(watchers(client, nodes, count, &counter)))?;
    rows.push(memory(bench, &format!("apiserver's memory with {nodes} watchers"))?);
    let told = bench.phase("a pod of one node changes", || changes(client, names, count, initial, &counter))?;
    rows.extend(told.rows(&format!("a change that one of {nodes} watchers sees"), ["", ""], ["", ""]));
    Ok(rows)
}

/// Makes `count` objects, a thousand in each of the namespaces, which it makes too.
fn fill(
    bench: &Bench,
    plural: &'static str,
    namespaces: &[String],
    count: usize,
    object: impl Fn(usize) -> Bytes + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let (client, of) = (&bench.client, namespaces.to_vec());
    bench.runtime.block_on(prepare_all(client, namespaces))?;
    let make = move |number| {
        let path = format!("/api/v1/namespaces/{}/{plural}", of[number / OF_NAMESPACE]);
        Call::new(Method::POST, path, object(number))
    };
    bench.phase(&format!("{plural} are made"), || load::run(client, count, make)).map(drop)
}

fn memory(bench: &Bench, what: &str) -> anyhow::Result<Row> {
    let (apiserver, _) = bench.plane.pids()?;
    let mb = pss_mb(i32::try_from(apiserver)?).context("the apiserver has ended")?;
    Ok(Row::new(what, format!("{mb:.0} MB"), "", ""))
}

fn of_lists(name: &str, phase: &Phase) -> [Row; 4] {
    let samples = &phase.done.samples;
    let ms = |percent| format!("{:.1} ms", samples.percentile(percent).as_secs_f64() * 1000.0);
    let each = |secs: f64| format!("{:.4} s", secs / samples.count() as f64);
    [
        Row::new(format!("{name}, p50"), ms(50), "", ""),
        Row::new("  longest", ms(100), "", ""),
        Row::new("  apiserver CPU each", each(phase.apiserver_secs), "", ""),
        Row::new("  etcd CPU each", each(phase.etcd_secs), "", ""),
    ]
}

fn names(stem: &str, objects: usize) -> Vec<String> {
    (0..objects.div_ceil(OF_NAMESPACE)).map(|number| format!("large-{stem}-{number:03}")).collect()
}

async fn prepare_all(client: &Client, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        load::prepare(client, name).await?;
    }
    Ok(())
}

fn configmap(number: usize) -> Bytes {
    let metadata = json!({"name": format!("map-{number:06}"), "labels": {"app": "large"}});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": "x".repeat(200)}})
        .to_string()
        .into()
}

/// On a node already, as nobody is there to place it; `version` makes an update differ.
fn pod(number: usize, nodes: usize) -> Bytes {
    let metadata = json!({"name": load::pod_name(number), "labels": {"app": "large"}});
    let container = json!({"name": "main", "image": "nginx:latest",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}});
    let spec = json!({"nodeName": node(number % nodes), "automountServiceAccountToken": false,
        "containers": [container]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).to_string().into()
}

fn node(number: usize) -> String {
    format!("node-{number:05}")
}

async fn lists(client: &Client, path: String, rounds: usize) -> anyhow::Result<Done> {
    let mut sender = client.connect().await?;
    let mut samples = Samples::default();
    let started = Instant::now();
    for _ in 0..rounds {
        let request = client.request(Method::GET, &path, load::JSON, Bytes::new())?;
        let sent = Instant::now();
        let (status, body) = answer(&mut sender, request).await?;
        samples.add(sent.elapsed());
        if !status.is_success() {
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(&body));
        }
    }
    Ok(Done { samples, took: started.elapsed() })
}

/// From the request to the bookmark that ends the initial events.
async fn stream(client: &Client, pods: usize) -> anyhow::Result<Done> {
    let path = format!("/api/v1/pods?{INITIAL_EVENTS}");
    let mut samples = Samples::default();
    let started = Instant::now();
    for _ in 0..STREAMS {
        let counter = Arc::new(Counter::default());
        let sent = Instant::now();
        let reading = tokio::spawn(Arc::clone(&counter).count(Watch::open(client, &path).await?));
        counter.reaches(pods + 1, STREAMED_WITHIN).await?;
        samples.add(sent.elapsed());
        reading.abort();
    }
    Ok(Done { samples, took: started.elapsed() })
}

/// Opens a watch of each node's pods as a kubelet does; how many events came until all had what there was.
async fn watchers(client: &Client, nodes: usize, pods: usize, counter: &Arc<Counter>) -> anyhow::Result<usize> {
    let mut opening = tokio::task::JoinSet::new();
    for first in 0..CLIENTS {
        let (client, counter) = (client.clone(), Arc::clone(counter));
        opening.spawn(async move {
            for number in (first..nodes).step_by(CLIENTS) {
                let client = client.acting_as(&format!("watcher-{}", number / WATCHERS_OF_USER));
                let path = format!("/api/v1/pods?{INITIAL_EVENTS}&fieldSelector=spec.nodeName%3D{}", node(number));
                tokio::spawn(Arc::clone(&counter).count(Watch::open(&client, &path).await?));
            }
            anyhow::Ok(())
        });
    }
    while let Some(opened) = opening.join_next().await {
        opened??;
    }
    let initial = pods + nodes;
    counter.reaches(initial, STREAMED_WITHIN).await?;
    Ok(initial)
}

/// Changes pods of different nodes, one after the other; a sample ends when the node's watcher has the event.
async fn changes(
    client: &Client,
    names: Vec<String>,
    pods: usize,
    initial: usize,
    counter: &Arc<Counter>,
) -> anyhow::Result<Done> {
    const STRIDE: usize = 7919;
    let mut sender = client.connect().await?;
    let mut samples = Samples::default();
    let started = Instant::now();
    for event in 0..EVENTS {
        let number = event * STRIDE % pods;
        let path = format!("/api/v1/namespaces/{}/pods/{}", names[number / OF_NAMESPACE], load::pod_name(number));
        let change = json!({"metadata": {"annotations": {"bench/event": event.to_string()}}}).to_string();
        let request = client.request(Method::PATCH, &path, "application/merge-patch+json", change.into())?;
        let sent = Instant::now();
        let (status, body) = answer(&mut sender, request).await?;
        if !status.is_success() {
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(&body));
        }
        counter.reaches(initial + event + 1, DELIVERED_WITHIN).await?;
        samples.add(sent.elapsed());
    }
    if counter.seen() != initial + EVENTS {
        bail!("{} events came for {EVENTS} changes", counter.seen() - initial);
    }
    Ok(Done { samples, took: started.elapsed() })
}
