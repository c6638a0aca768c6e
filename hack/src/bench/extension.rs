//! `bench extension`: what webhooks, policies and definitions of others cost those who use the API.
mod objects;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::load::{self, Call, Done};
use super::memory::pss_mb;
use super::phase::Bench;
use super::samples::Samples;
use super::table::{self, Row};
use super::tls_server::Server;
use super::watch::{Counter, Watch};
use crate::lab::wait_until;
use crate::rest::{Client, answer};
use crate::step::step;

const NAMESPACE: &str = "bench";
const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// What takes longer than this does not happen at all.
const WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LISTS: usize = 20;
const READS: usize = 7;

pub(super) fn run(writes: usize, definitions: usize) -> anyhow::Result<()> {
    if writes == 0 || definitions == 0 {
        bail!("--writes and --definitions must be 1 or more");
    }
    let bench = Bench::start()?;
    bench.runtime.block_on(load::prepare(&bench.client, NAMESPACE))?;
    let mut of = Extension { bench, writes, rows: Vec::new() };
    of.webhooks()?;
    of.policies()?;
    of.definitions(definitions)?;
    of.custom_objects()?;
    let title = format!("Extensions: {writes} writes of 16 clients each, {definitions} definitions");
    table::print(&title, &of.rows);
    Ok(())
}

struct Extension {
    bench: Bench,
    writes: usize,
    rows: Vec<Row>,
}

impl Extension {
    fn webhooks(&mut self) -> anyhow::Result<()> {
        self.maps("ConfigMaps without a webhook", "alone", &json!({}))?;
        let server = self.bench.runtime.block_on(Server::start(self.bench.plane.pki(), judge))?;
        let ca = std::fs::read(self.bench.plane.ca()).context("the CA cannot be read")?;
        let skipped = json!({objects::SKIPPED: "yes"});
        for (count, condition, labels, stem) in [
            (1, false, json!({}), "one"),
            (10, false, json!({}), "ten"),
            (1, true, json!({"asked": "yes"}), "asked"),
            (10, true, skipped, "skipped"),
        ] {
            let before = server.asked.load(Ordering::Relaxed);
            let hooks = objects::webhooks(count, &BASE64_STANDARD.encode(&ca), server.address, condition);
            self.one(Method::POST, HOOKS, &hooks)?;
            let conditions = match (condition, stem) {
                (false, _) => "",
                (true, "skipped") => ", whose conditions say no",
                (true, _) => ", whose condition says yes",
            };
            self.maps(&format!("through {count} webhook(s){conditions}"), stem, &labels)?;
            let asked = server.asked.load(Ordering::Relaxed) - before;
            self.rows.push(Row::new("  calls of webhooks", asked.to_string(), "", ""));
            self.one(Method::DELETE, &format!("{HOOKS}/bench"), &json!({}))?;
        }
        Ok(())
    }

    fn maps(&mut self, what: &str, stem: &'static str, labels: &Value) -> anyhow::Result<()> {
        let labels = labels.clone();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        self.create(what, path, move |number| objects::configmap(&format!("{stem}-{number:06}"), &labels))
    }

    fn policies(&mut self) -> anyhow::Result<()> {
        let mut made = 0;
        for count in [0, 1, 10, 100] {
            for number in made..count {
                self.one(Method::POST, POLICIES, &objects::policy(number))?;
                self.one(Method::POST, BINDINGS, &objects::binding(number))?;
            }
            made = count;
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
            self.create(&format!("pods with {count} policies in CEL"), path, move |number| {
                let name = format!("pod-{count}-{number:06}");
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
                    "schedulerName": "nobody", "automountServiceAccountToken": false,
                    "containers": [{"name": "main", "image": "nginx:latest"}]}})
            })?;
        }
        Ok(())
    }

    fn definitions(&mut self, count: usize) -> anyhow::Result<()> {
        let before = self.memory()?;
        let took = step(&format!("{count} definitions are made"), |_| {
            let began = Instant::now();
            let make = |number| Call::new(Method::POST, DEFINITIONS.into(), bytes(&objects::definition(number)));
            self.bench.runtime.block_on(load::run(&self.bench.client, count, make))?;
            // Whoever can list the last one's objects is served.
            let last = format!("/apis/{}/v1/{}", objects::GROUP, objects::plural(count - 1));
            wait_until("the last is served", WITHIN, LOOK_EVERY, || {
                Ok(self.bench.runtime.block_on(self.bench.client.get(&last)).is_ok().then_some(()))
            })?;
            Ok(began.elapsed())
        })?;
        self.rows.push(Row::new(format!("{count} definitions are served after"), secs(took), "", ""));
        self.reads(
            "/apis",
            "discovery of all groups",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        )?;
        self.reads("/openapi/v2", "OpenAPI v2", load::JSON)?;
        let of_group = format!("/openapi/v3/apis/{}/v1", objects::GROUP);
        self.reads(&of_group, "OpenAPI v3 of their group", load::JSON)?;
        let more = self.memory()? - before;
        self.rows.push(Row::new("  apiserver's memory, more than before", format!("{more:.0} MB"), "100 MB", ""));
        Ok(())
    }

    /// The first read, which may have to be made, and the median of those after it.
    fn reads(&mut self, path: &str, what: &str, accept: &'static str) -> anyhow::Result<()> {
        let read = || {
            let began = Instant::now();
            self.bench.runtime.block_on(async {
                let mut sender = self.bench.client.connect().await?;
                let mut request = self.bench.client.request(Method::GET, path, load::JSON, Bytes::new())?;
                request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static(accept));
                let (status, body) = answer(&mut sender, request).await?;
                if !status.is_success() {
                    bail!("GET {path} answered {status}: {}", String::from_utf8_lossy(&body));
                }
                anyhow::Ok(())
            })?;
            anyhow::Ok(began.elapsed())
        };
        let first = read()?;
        let mut samples = Samples::default();
        for _ in 0..READS {
            samples.add(read()?);
        }
        self.rows.push(Row::new(format!("  {what}, the first time"), ms(first), "", ""));
        self.rows.push(Row::new(format!("  {what}, p50"), ms(samples.percentile(50)), "", ""));
        Ok(())
    }

    /// A custom object beside a ConfigMap of the same size: create, list, watch.
    fn custom_objects(&mut self) -> anyhow::Result<()> {
        let maps = "/api/v1/namespaces/bench-maps/configmaps".to_owned();
        let things = format!("/apis/{}/v1/namespaces/bench-maps/{}", objects::GROUP, objects::plural(0));
        self.bench.runtime.block_on(load::prepare(&self.bench.client, "bench-maps"))?;
        for (what, path, make) in [
            ("ConfigMaps", maps, (|number| objects::configmap(&object_name(number), &json!({}))) as fn(usize) -> Value),
            ("custom objects of the same size", things, |number| objects::thing(&object_name(number))),
        ] {
            self.create(what, path.clone(), make)?;
            let (client, list) = (&self.bench.client, path.clone());
            let listed = self.bench.phase("list", || async move {
                let get = move |_| Call::new(Method::GET, list.clone(), Bytes::new());
                load::run(client, LISTS, get).await
            })?;
            let per_list = listed.apiserver_secs / LISTS as f64;
            self.rows.push(Row::new("  a list of them, p50", ms(listed.done.samples.percentile(50)), "", ""));
            self.rows.push(Row::new("  apiserver CPU of a list", format!("{:.1} ms", per_list * 1000.0), "", ""));
            let writes = self.writes;
            let watched = self.bench.phase("a watch begins", || stream(client, path, writes))?;
            self.rows.push(Row::new("  streamed to a watcher", ms(watched.done.samples.percentile(50)), "", ""));
        }
        Ok(())
    }

    fn create(
        &mut self,
        what: &str,
        path: String,
        object: impl Fn(usize) -> Value + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let (client, writes) = (&self.bench.client, self.writes);
        let call = move |number| Call::new(Method::POST, path.clone(), bytes(&object(number)));
        let phase = self.bench.phase(what, || load::run(client, writes, call))?;
        self.rows.extend(phase.rows(what, ["", ""], ["", ""]).into_iter().take(4));
        Ok(())
    }

    fn one(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<()> {
        let (path, body) = (path.to_owned(), bytes(body));
        let call = move |_| Call::new(method.clone(), path.clone(), body.clone());
        self.bench.runtime.block_on(load::run(&self.bench.client, 1, call)).map(drop)
    }

    fn memory(&self) -> anyhow::Result<f64> {
        let (apiserver, _) = self.bench.plane.pids()?;
        pss_mb(i32::try_from(apiserver)?).context("the apiserver has ended")
    }
}

/// From the request until a watcher has all of them.
async fn stream(client: &Client, path: String, count: usize) -> anyhow::Result<Done> {
    let counter = Arc::new(Counter::default());
    let mut samples = Samples::default();
    let began = Instant::now();
    let watch = Watch::open(client, &format!("{path}?watch=1&resourceVersion=0")).await?;
    let reading = tokio::spawn(Arc::clone(&counter).count(watch));
    counter.reaches(count, WITHIN).await?;
    samples.add(began.elapsed());
    reading.abort();
    Ok(Done { samples, took: began.elapsed() })
}

/// A webhook that has nothing against anything.
async fn judge(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let review = request.into_body().collect().await.ok().map(http_body_util::Collected::to_bytes);
    let review = review.and_then(|body| serde_json::from_slice::<Value>(&body).ok()).unwrap_or_default();
    Response::new(Full::new(bytes(&objects::allowed(&review))))
}

fn object_name(number: usize) -> String {
    format!("object-{number:06}")
}

fn bytes(object: &Value) -> Bytes {
    object.to_string().into()
}

fn ms(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

fn secs(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}
