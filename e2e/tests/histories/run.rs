//! One run: where all that is asked and told is recorded, and clients that ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use corten_e2e::history::plan::{SERVERS, is_ours};
use corten_e2e::history::record::{
    Answer, Asked, At, History, How, Key, Kind, Micros, Record, Request, Revision, Snapshot, Version, Via, Write,
};
use corten_e2e::{Cluster, SOON, eventually};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GetParams, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
    Preconditions,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Config};
use serde_json::{Value, json};

/// A request that is not answered within this may have been done.
pub(crate) const ASK_WITHIN: Duration = Duration::from_secs(2);
/// Objects on a page of a list: further pages are asked of further servers.
const PAGE: u32 = 2;
/// The annotation that says which write an object is of; its body says the same.
const NUMBER: &str = "number";
const FIELD_MANAGER: &str = "history";

/// What all clients of a run share.
pub(crate) struct Run {
    kubeconfig: Kubeconfig,
    servers: Vec<String>,
    namespace: String,
    began: Instant,
    records: Mutex<Vec<Record>>,
    /// How often each server was killed.
    processes: [AtomicUsize; SERVERS],
    acknowledged: AtomicU64,
    is_over: AtomicBool,
    /// Up to where watchers must have been told.
    last: Mutex<BTreeMap<Kind, Revision>>,
}

impl Run {
    pub(crate) fn new(cluster: &Cluster, namespace: &str) -> Arc<Self> {
        // Fails only when one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Arc::new(Self {
            kubeconfig: Kubeconfig::read_from(cluster.kubeconfig()).unwrap(),
            servers: cluster.masters().iter().map(|master| master.apiserver()).collect(),
            namespace: namespace.to_owned(),
            began: Instant::now(),
            records: Mutex::default(),
            processes: Default::default(),
            acknowledged: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            last: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> Micros {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    pub(crate) fn note(&self, record: Record) {
        self.records.lock().unwrap().push(record);
    }

    pub(crate) fn via(&self, server: usize) -> Via {
        Via { server, process: self.processes[server].load(Ordering::SeqCst) }
    }

    pub(crate) fn is_killed(&self, server: usize) {
        self.processes[server].fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until so many more writes are acknowledged.
    pub(crate) fn writes_go_on(&self, many: u64) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        eventually("writes to go on", SOON, || match self.acknowledged.load(Ordering::Relaxed) - before {
            more if more >= many => Ok(()),
            more => Err(format!("{more} since then")),
        });
    }

    pub(crate) fn stop_writers(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(crate) fn end_watches_at(&self, kind: Kind, revision: Revision) {
        self.last.lock().unwrap().insert(kind, revision);
    }

    /// Whether a watcher that has been told up to a revision has been told all.
    pub(crate) fn is_all(&self, kind: Kind, told: Revision) -> bool {
        self.last.lock().unwrap().get(&kind).is_some_and(|last| *last <= told)
    }

    pub(crate) fn history(&self, seed: u64) -> History {
        History { seed, records: std::mem::take(&mut *self.records.lock().unwrap()) }
    }
}

/// One that asks one thing at a time, over connections of its own.
pub(crate) struct Client {
    pub(crate) run: Arc<Run>,
    pub(crate) name: String,
    servers: Vec<kube::Client>,
    /// Each object as it was seen last.
    pub(crate) remembered: BTreeMap<Key, Version>,
    pub(crate) asked: usize,
}

impl Client {
    pub(crate) async fn new(run: Arc<Run>, name: String) -> Self {
        let mut servers = Vec::new();
        for server in &run.servers {
            let options = KubeConfigOptions::default();
            let mut config = Config::from_custom_kubeconfig(run.kubeconfig.clone(), &options).await.unwrap();
            config.cluster_url = server.parse().unwrap();
            config.connect_timeout = Some(ASK_WITHIN);
            // A write that is sent twice may be done twice, and would be recorded once.
            config.default_retry = false;
            servers.push(kube::Client::try_from(config).unwrap());
        }
        Self { run, name, servers, remembered: BTreeMap::new(), asked: 0 }
    }

    pub(crate) fn api(&self, server: usize, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.servers[server].clone(), &self.run.namespace, &resource(kind))
    }

    /// Asks a server, and records it.
    pub(crate) async fn ask(&mut self, server: usize, request: Request) -> Answer {
        self.asked += 1;
        let (from, via) = (self.run.now(), self.run.via(server));
        let asked = tokio::time::timeout(ASK_WITHIN, self.send(server, &request)).await;
        let to = self.run.now();
        let answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(kube::Error::Api(status))) => match status.code {
                404 if matches!(request, Request::Get { .. }) => Answer::Missing,
                code @ (400..=407 | 409..=499) => Answer::Refused { code, reason: status.reason },
                code => Answer::Unknown(format!("{code} {}", status.reason)),
            },
            Ok(Err(err)) => Answer::Unknown(err.to_string()),
            Err(_) => Answer::Unknown(format!("no answer within {ASK_WITHIN:?}")),
        };
        self.remember(&request, &answer);
        if let Answer::Written(_) | Answer::Deleted { .. } = answer {
            self.run.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let (client, told) = (self.name.clone(), answer.clone());
        self.run.note(Record::Asked(Asked { from, to, client, via, request, answer }));
        told
    }

    fn remember(&mut self, request: &Request, answer: &Answer) {
        match (request, answer) {
            (Request::Write(Write { key, .. }), Answer::Written(version))
            | (Request::Get { key, .. }, Answer::Found(version)) => {
                self.remembered.insert(key.clone(), version.clone());
            }
            _ => {}
        }
    }

    async fn send(&self, server: usize, request: &Request) -> kube::Result<Answer> {
        match request {
            Request::Write(write) => self.send_write(server, write).await,
            Request::Get { key, at } => {
                let params = if *at == At::Any { GetParams::any() } else { GetParams::default() };
                let object = self.api(server, key.kind).get_with(&key.name, &params).await?;
                Ok(Answer::Found(version_of(key.kind, &object)))
            }
            Request::List { kind, at: At::Any } => {
                let list = self.api(server, *kind).list(&ListParams::default().match_any()).await?;
                Ok(listed(*kind, list.metadata.resource_version, &list.items))
            }
            Request::List { kind, at: At::Newest } => self.list_in_pages(server, *kind).await,
        }
    }

    async fn list_in_pages(&self, server: usize, kind: Kind) -> kube::Result<Answer> {
        let mut params = ListParams::default().limit(PAGE);
        let first = self.api(server, kind).list(&params).await?;
        let (mut items, mut next) = (first.items, first.metadata.continue_);
        for server in (0..SERVERS).cycle().skip(server + 1) {
            let Some(token) = next.filter(|token| !token.is_empty()) else { break };
            params = ListParams::default().limit(PAGE).continue_token(&token);
            let page = self.api(server, kind).list(&params).await?;
            items.extend(page.items);
            next = page.metadata.continue_;
        }
        Ok(listed(kind, first.metadata.resource_version, &items))
    }

    async fn send_write(&self, server: usize, write: &Write) -> kube::Result<Answer> {
        let (api, name, kind) = (self.api(server, write.key.kind), &*write.key.name, write.key.kind);
        let object = || serde_json::from_value::<DynamicObject>(object_of(write)).map_err(kube::Error::SerdeError);
        let written = match write.how {
            How::Create => api.create(&PostParams::default(), &object()?).await?,
            How::Update => api.replace(name, &PostParams::default(), &object()?).await?,
            How::MergePatch => api.patch(name, &PatchParams::default(), &Patch::Merge(object_of(write))).await?,
            How::Apply => {
                api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object_of(write))).await?
            }
            How::JsonPatch => self.send_json_patch(server, write).await?,
            How::Delete => return delete(&api, write).await,
        };
        Ok(Answer::Written(version_of(kind, &written)))
    }

    async fn send_json_patch(&self, server: usize, write: &Write) -> kube::Result<DynamicObject> {
        let Write { key, number, .. } = write;
        let replace = |path: &str, value: Value| json!({"op": "replace", "path": path, "value": value});
        let mut patch = vec![
            replace(&format!("/metadata/annotations/{NUMBER}"), number.to_string().into()),
            replace(body_of(key.kind).0, (body_of(key.kind).1)(&number.to_string())),
        ];
        if let Some(revision) = write.revision {
            patch.insert(0, json!({"op": "test", "path": "/metadata/resourceVersion", "value": revision.to_string()}));
        }
        let url = self.api(server, key.kind).resource_url().to_owned();
        let request = http::Request::patch(format!("{url}/{}", key.name))
            .header(http::header::CONTENT_TYPE, "application/json-patch+json")
            .body(serde_json::to_vec(&patch).map_err(kube::Error::SerdeError)?)
            .map_err(kube::Error::HttpError)?;
        self.servers[server].request(request).await
    }
}

async fn delete(api: &Api<DynamicObject>, write: &Write) -> kube::Result<Answer> {
    let preconditions =
        Preconditions { resource_version: write.revision.map(|r| r.to_string()), uid: write.uid.clone() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let uid = api.delete(&write.key.name, &params).await?.either(
        |object| object.metadata.uid.unwrap_or_default(),
        |status| status.details.map(|details| details.uid).unwrap_or_default(),
    );
    Ok(Answer::Deleted { uid: if uid.is_empty() { "none".to_owned() } else { uid } })
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version, kind) = match kind {
        Kind::ConfigMap => ("", "v1", "ConfigMap"),
        Kind::Secret => ("", "v1", "Secret"),
        Kind::Lease => ("coordination.k8s.io", "v1", "Lease"),
    };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Where an object of a kind has its value, beside the annotation, and how it is written there.
fn body_of(kind: Kind) -> (&'static str, fn(&str) -> Value) {
    match kind {
        Kind::ConfigMap => ("/data/value", |number| json!(number)),
        Kind::Secret => ("/data/value", |number| json!(k8s_openapi::ByteString(number.into()))),
        Kind::Lease => ("/spec/holderIdentity", |number| json!(number)),
    }
}

/// The whole object that a write wants, with its preconditions.
fn object_of(write: &Write) -> Value {
    let Write { key, number, revision, uid, .. } = write;
    let resource = resource(key.kind);
    let (path, value) = body_of(key.kind);
    let mut parts = path.split('/').skip(1);
    let (outer, inner) = (parts.next().unwrap(), parts.next().unwrap());
    let mut object = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": {"name": key.name, "annotations": {NUMBER: number.to_string()}},
        outer: {inner: value(&number.to_string())},
    });
    if let Some(revision) = revision {
        object["metadata"]["resourceVersion"] = revision.to_string().into();
    }
    if let Some(uid) = uid {
        object["metadata"]["uid"] = uid.clone().into();
    }
    object
}

/// An object whose annotation and body are of two writes is nobody's.
pub(crate) fn version_of(kind: Kind, object: &DynamicObject) -> Version {
    let meta = &object.metadata;
    let number = meta.annotations.as_ref().and_then(|all| all.get(NUMBER)).map_or("", String::as_str);
    let (path, value) = body_of(kind);
    let is_whole = object.data.pointer(path) == Some(&value(number));
    let revision = meta.resource_version.as_ref().and_then(|text| text.parse().ok()).unwrap_or_default();
    let value = number.parse().ok().filter(|_| is_whole).unwrap_or_default();
    Version { revision, uid: meta.uid.clone().unwrap_or_default(), value }
}

fn listed(kind: Kind, revision: Option<String>, items: &[DynamicObject]) -> Answer {
    let named = items.iter().filter_map(|item| Some((item.metadata.name.clone()?, version_of(kind, item))));
    let items = named.filter(|(name, _)| is_ours(name)).collect();
    Answer::Listed(Snapshot { revision: revision.and_then(|text| text.parse().ok()).unwrap_or_default(), items })
}
