//! `bench controllers`: how long a cluster's controllers take, and what they use, with made-up nodes and real apiserver, etcd,
//! scheduler and controllers.
mod kubelets;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use self::kubelets::Kubelets;
use super::control_plane::{ControlPlane, Pids};
use super::cpu;
use super::fleet::{Fleet, bytes, is_settled, merge};
use super::load::{self, Call};
use super::memory::pss_mb;
use super::table::{self, Row};
use crate::step::step;

/// What takes longer than this does not happen at all.
const WITHIN: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const QUIET: Duration = Duration::from_secs(60);
/// Services of each of the Deployments that are restarted, and pods of each: 1,000 Services, 10,000 endpoints.
const DEPLOYMENTS: usize = 100;
const SERVICES_EACH: usize = 10;
const REPLICAS: usize = 10;
/// As many as a made-up node takes.
const PODS_OF_NODE: usize = 110;
const NAMESPACES: [&str; 4] = ["bench-first", "bench-second", "bench-restart", "bench-jobs"];

/// How many of everything.
#[derive(Clone, Copy)]
pub(super) struct Amounts {
    pub(super) nodes: usize,
    pub(super) pods: usize,
    pub(super) jobs: usize,
    pub(super) objects: usize,
}

pub(super) fn run(amounts: Amounts) -> anyhow::Result<()> {
    // Restarts make a quarter more before they take any away.
    let pods_at_once = amounts.pods + amounts.pods / 5 + DEPLOYMENTS * REPLICAS * 5 / 4;
    let needed = pods_at_once.div_ceil(PODS_OF_NODE);
    if amounts.nodes < needed {
        bail!("--nodes must be {needed} or more: that many hold {pods_at_once} pods");
    }
    let mut plane = step("etcd is started", |_| ControlPlane::with_etcd())?;
    let (_, client) = step("apiserver is ready", |_| plane.start_apiserver())?;
    let fleet = Fleet::new(client.clone(), amounts.nodes)?;
    let pids = plane.start_all()?;
    step("nodes are made", |_| {
        fleet.register()?;
        fleet.renew_from_now();
        fleet.all(is_settled)
    })?;
    let kubelets = fleet.runtime.block_on(Kubelets::start(&client))?;
    let mut bench = Bench { fleet, kubelets, pids, rows: Vec::new() };
    bench.rollouts(amounts)?;
    bench.restart()?;
    bench.jobs(amounts.jobs)?;
    bench.namespace(amounts.objects)?;
    bench.measure("a quiet minute", |_| {
        std::thread::sleep(QUIET);
        Ok(())
    })?;
    bench.check()?;
    table::print(&format!("Controllers with {} nodes", amounts.nodes), &bench.rows);
    Ok(())
}

struct Bench {
    fleet: Fleet,
    kubelets: Kubelets,
    pids: Pids,
    rows: Vec<Row>,
}

impl Bench {
    /// Does work, and tells how long it took and what each program used meanwhile.
    fn measure(&mut self, what: &str, work: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let before = self.used()?;
        let began = Instant::now();
        let at = self.rows.len();
        step(what, |_| work(self))?;
        self.rows.insert(at, Row::new(what, secs(began.elapsed()), "", ""));
        for ((name, used), (_, before)) in self.used()?.into_iter().zip(before) {
            self.rows.push(Row::new(format!("  CPU of {name}"), format!("{:.2} s", used - before), "", ""));
        }
        let mb = pss_mb(i32::try_from(self.pids.controllers)?).context("the controllers have ended")?;
        self.rows.push(Row::new("  controllers' memory", format!("{mb:.0} MB"), "100 MB", ""));
        Ok(())
    }

    fn used(&self) -> anyhow::Result<[(&'static str, f64); 4]> {
        let Pids { apiserver, etcd, scheduler, controllers } = self.pids;
        Ok([
            ("apiserver", cpu::seconds(apiserver)?),
            ("etcd", cpu::seconds(etcd)?),
            ("scheduler", cpu::seconds(scheduler)?),
            ("controllers", cpu::seconds(controllers)?),
        ])
    }

    fn send(&self, count: usize, call: impl Fn(usize) -> Call + Send + Sync + 'static) -> anyhow::Result<()> {
        self.fleet.runtime.block_on(load::run(&self.fleet.client, count, call)).map(drop)
    }

    fn prepare(&self, namespace: &str) -> anyhow::Result<()> {
        self.fleet.runtime.block_on(load::prepare(&self.fleet.client, namespace))
    }

    fn until(&self, what: &str, path: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        crate::lab::wait_until(what, WITHIN, LOOK_EVERY, || {
            self.check()?;
            Ok(holds(&self.fleet.get(path)?).then_some(()))
        })
    }

    /// Without kubelets nothing that is measured is what is meant.
    fn check(&self) -> anyhow::Result<()> {
        if !self.kubelets.work() {
            bail!("made-up kubelets have failed");
        }
        Ok(())
    }

    /// A Deployment is made, and goes.
    fn rollouts(&mut self, amounts: Amounts) -> anyhow::Result<()> {
        for (namespace, pods, goal, go) in
            [(NAMESPACES[0], amounts.pods / 5, "0.4 s", "3.3 s"), (NAMESPACES[1], amounts.pods, "0.6 s", "15.7 s")]
        {
            self.prepare(namespace)?;
            let path = format!("{}/web", deployments(namespace));
            self.measure(&format!("a Deployment of {pods} pods"), |bench| {
                let began = Instant::now();
                let body = bytes(&deployment("web", pods));
                let to = deployments(namespace);
                bench.send(1, move |_| Call::new(Method::POST, to.clone(), body.clone()))?;
                bench.until("its pods are made", &path, |it| it["status"]["replicas"] == pods)?;
                bench.rows.push(Row::new("  made", secs(began.elapsed()), goal, go));
                bench.until("its pods are available", &path, |it| it["status"]["availableReplicas"] == pods)?;
                bench.rows.push(Row::new("  available", secs(began.elapsed()), "", ""));
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Many Deployments with many Services get new pods.
    fn restart(&mut self) -> anyhow::Result<()> {
        let namespace = NAMESPACES[2];
        self.prepare(namespace)?;
        let services = format!("/api/v1/namespaces/{namespace}/services");
        self.send(DEPLOYMENTS * SERVICES_EACH, move |n| {
            let body = service(&format!("svc-{n:04}"), &name(n / SERVICES_EACH));
            Call::new(Method::POST, services.clone(), bytes(&body))
        })?;
        let to = deployments(namespace);
        let make = move |n| Call::new(Method::POST, to.clone(), bytes(&deployment(&name(n), REPLICAS)));
        self.send(DEPLOYMENTS, make)?;
        let list = deployments(namespace);
        self.until("all are available", &list, |list| all(list, DEPLOYMENTS, |it| is_rolled_out(it, REPLICAS)))?;
        let services = DEPLOYMENTS * SERVICES_EACH;
        self.measure(&format!("{DEPLOYMENTS} Deployments with {services} Services are restarted"), |bench| {
            let to = list.clone();
            let template = json!({"metadata": {"annotations": {"bench/restarted": "1"}}});
            let again = json!({"spec": {"template": template}});
            bench.send(DEPLOYMENTS, move |n| merge(format!("{to}/{}", name(n)), &again))?;
            bench.until("all have new pods", &list, |list| all(list, DEPLOYMENTS, |it| is_rolled_out(it, REPLICAS)))
        })
    }

    fn jobs(&mut self, count: usize) -> anyhow::Result<()> {
        let namespace = NAMESPACES[3];
        self.prepare(namespace)?;
        let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
        self.measure(&format!("{count} Jobs"), |bench| {
            let to = path.clone();
            bench.send(count, move |n| Call::new(Method::POST, to.clone(), bytes(&job(&name(n)))))?;
            // Of those that are not done yet a page says enough.
            let left = format!("{path}?fieldSelector=status.successful%3D0&limit=1");
            bench.until("all are done", &left, |list| list["items"].as_array().is_some_and(Vec::is_empty))
        })
    }

    /// A namespace with many objects goes.
    fn namespace(&mut self, objects: usize) -> anyhow::Result<()> {
        let namespace = "bench-gone";
        self.prepare(namespace)?;
        let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
        self.send(objects, move |n| {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name(n)}});
            Call::new(Method::POST, maps.clone(), bytes(&map))
        })?;
        self.measure(&format!("a namespace of {objects} objects is deleted"), |bench| {
            let path = format!("/api/v1/namespaces/{namespace}");
            bench.send(1, move |_| Call::new(Method::DELETE, path.clone(), Bytes::new()))?;
            let left = format!("/api/v1/namespaces?fieldSelector=metadata.name%3D{namespace}");
            bench.until("it is gone", &left, |list| list["items"].as_array().is_some_and(Vec::is_empty))
        })
    }
}

fn secs(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

fn name(number: usize) -> String {
    format!("bench-{number:05}")
}

fn deployments(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments")
}

fn containers() -> Value {
    json!([{"name": "main", "image": "none", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}])
}

fn deployment(name: &str, replicas: usize) -> Value {
    let labels = json!({"app": name});
    let template = json!({"metadata": {"labels": labels},
        "spec": {"automountServiceAccountToken": false, "containers": containers()}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}})
}

fn service(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80}]}})
}

fn job(name: &str) -> Value {
    let spec = json!({"automountServiceAccountToken": false, "restartPolicy": "Never", "containers": containers()});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": spec}}})
}

fn all(list: &Value, count: usize, holds: impl Fn(&Value) -> bool) -> bool {
    list["items"].as_array().is_some_and(|items| items.len() == count && items.iter().all(holds))
}

fn is_rolled_out(deployment: &Value, replicas: usize) -> bool {
    let status = &deployment["status"];
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| status[field] == replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_rolled_out() {
        let it = |seen: i64, made: usize, new: usize| {
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": seen, "replicas": made,
                "updatedReplicas": new, "availableReplicas": 3}})
        };
        let cases = [(it(2, 3, 3), true), (it(1, 3, 3), false), (it(2, 4, 3), false), (it(2, 3, 2), false)];
        for (deployment, expected) in cases {
            assert_eq!(is_rolled_out(&deployment, 3), expected, "{deployment}");
        }
    }
}
