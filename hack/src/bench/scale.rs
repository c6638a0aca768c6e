//! `bench scale`: what thousands of nodes cost the controllers. The nodes are made up; apiserver, etcd and controllers
//! are real. Leases are renewed as kubelets do it.
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Child;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, free_port};
use super::cpu;
use super::fleet::{Fleet, LOOK_EVERY, WITHIN, check, is_settled};
use super::table::{self, Row};
use crate::lab::wait_until;
use crate::rest::Client;
use crate::step::step;

/// How long the controllers are watched once all is quiet again.
const QUIET: Duration = Duration::from_secs(60);
const REPLICAS: u64 = 1000;
const STOPS_WITHIN: Duration = Duration::from_secs(10);
const JSON: &str = "application/json";
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
    let led = transitions(&fleet)?;
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
    let flaps = transitions(&fleet)?.saturating_sub(led + 1);
    rows.push(Row::new("lost leases", flaps.to_string(), "0", ""));
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

fn is_unknown(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "Unknown")
}

fn transitions(fleet: &Fleet) -> anyhow::Result<u64> {
    Ok(fleet.get(LEADER)?["spec"]["leaseTransitions"].as_u64().unwrap_or(0))
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
