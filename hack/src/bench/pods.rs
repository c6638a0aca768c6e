//! `bench pods`: from the request that creates pods to the event that says Running, as a client sees it.
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::lab_with;
use super::samples::Samples;
use super::table::{self, Row};
use super::watch::Watch;
use crate::lab::{Lab, api_client};
use crate::rest::Client;
use crate::step::{Progress, step};

const ONE_BY_ONE: usize = 20;
const AT_ONCE: usize = 30;
const REPLICAS: usize = 100;
const RUNNING_WITHIN: Duration = Duration::from_secs(60);
const GONE_WITHIN: Duration = Duration::from_secs(60);
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const LABEL: &str = "corten-bench";

pub(super) fn run(lab: &Lab) -> anyhow::Result<()> {
    lab_with(lab, false)?;
    let plan = lab.running()?.plan;
    let worker = plan.nodes.last().context("a lab has one node at least")?.name.clone();
    let client = api_client(lab, &plan)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(clean(&client))?;
    // The image is on the node before anything is measured.
    runtime.block_on(at_once(&client, 1, &worker))?;
    let single = step("pods one by one", |progress| runtime.block_on(one_by_one(&client, &worker, progress)))?;
    let many = step("pods at once", |_| runtime.block_on(at_once(&client, AT_ONCE, &worker)))?;
    let deployment = step("a Deployment of 100", |_| runtime.block_on(deployment(&client)))?;
    let secs = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let rows = [
        Row::new("create to Running, median of 20", secs(single.percentile(50)), "0.4 s", "0.95 s"),
        Row::new("  slowest of 20", secs(single.percentile(100)), "", ""),
        Row::new("30 pods at once on one node, all Running", secs(many), "3 s", "4 s"),
        Row::new("Deployment of 100, all Running", secs(deployment), "15 s", ""),
    ];
    table::print("Pods", &rows);
    Ok(())
}

async fn one_by_one(client: &Client, node: &str, progress: &Progress) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    progress.total(ONE_BY_ONE as u64);
    for round in 1..=ONE_BY_ONE {
        samples.add(at_once(client, 1, node).await?);
        progress.done(round as u64);
    }
    Ok(samples)
}

/// Creates that many pods on a node; the time from the first request to the last Running. They are removed after.
async fn at_once(client: &Client, count: usize, node: &str) -> anyhow::Result<Duration> {
    let mut watch = open_watch(client).await?;
    let started = Instant::now();
    let mut creating = tokio::task::JoinSet::new();
    for number in 0..count {
        let (client, body) = (client.clone(), pod(&format!("bench-{number}"), node).to_string());
        creating.spawn(async move { send(&client, Method::POST, PODS, body).await });
    }
    while let Some(created) = creating.join_next().await {
        created??;
    }
    wait_running(&mut watch, count).await?;
    let took = started.elapsed();
    clean(client).await?;
    Ok(took)
}

async fn deployment(client: &Client) -> anyhow::Result<Duration> {
    let mut watch = open_watch(client).await?;
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "bench"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": LABEL}},
            "template": {"metadata": {"labels": {"app": LABEL}}, "spec": pod_spec()},
        },
    });
    let started = Instant::now();
    send(client, Method::POST, DEPLOYMENTS, object.to_string()).await?;
    wait_running(&mut watch, REPLICAS).await?;
    let took = started.elapsed();
    let path = format!("{DEPLOYMENTS}/bench?propagationPolicy=Background");
    send(client, Method::DELETE, &path, String::new()).await?;
    clean(client).await?;
    Ok(took)
}

/// A watch of what comes from now on.
async fn open_watch(client: &Client) -> anyhow::Result<Watch> {
    let list = client.get(&format!("{PODS}?labelSelector=app%3D{LABEL}&limit=1")).await?;
    let version = list["metadata"]["resourceVersion"].as_str().context("a list has no resourceVersion")?;
    Watch::open(client, &format!("{PODS}?watch=1&labelSelector=app%3D{LABEL}&resourceVersion={version}")).await
}

async fn wait_running(watch: &mut Watch, count: usize) -> anyhow::Result<()> {
    let mut running = BTreeSet::new();
    let waiting = async {
        while running.len() < count {
            let event = watch.next().await?;
            if event["type"] == "ERROR" {
                bail!("the watch failed: {}", event["object"]);
            }
            if event["object"]["status"]["phase"] == "Running" {
                running.insert(event["object"]["metadata"]["name"].to_string());
            }
        }
        Ok(())
    };
    let waited = timeout(RUNNING_WITHIN, waiting).await;
    waited.with_context(|| format!("after {} s {} of {count} pods run", RUNNING_WITHIN.as_secs(), running.len()))?
}

/// Deletes the benchmark's pods and waits until they are gone.
async fn clean(client: &Client) -> anyhow::Result<()> {
    let path = format!("{PODS}?labelSelector=app%3D{LABEL}");
    send(client, Method::DELETE, &format!("{path}&gracePeriodSeconds=0"), String::new()).await?;
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let list = client.get(&path).await?;
        let left = list["items"].as_array().map_or(0, Vec::len);
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{left} pods of the benchmark are still there {} s after their deletion", GONE_WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn send(client: &Client, method: Method, path: &str, body: String) -> anyhow::Result<()> {
    let (status, answer) = client.send(method, path, "application/json", Bytes::from(body)).await?;
    if !status.is_success() {
        bail!("{path} answered {status}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

fn pod(name: &str, node: &str) -> Value {
    let mut spec = pod_spec();
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": LABEL}}, "spec": spec})
}

fn pod_spec() -> Value {
    json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "busybox:latest", "command": ["sleep", "3600"]}],
    })
}
