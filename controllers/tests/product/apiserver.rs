//! A make-believe apiserver behind the real client: answers get lost, watches are late and break, too many requests at once
//! are refused. The controllers do not know that it is not the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use corten_api::{ApiError, Key, Reason};
use corten_client::{CancellationToken, Client};
use corten_proto::api::kinds_server::{Kinds, KindsServer};
use corten_proto::api::resources_server::{Resources, ResourcesServer};
use corten_proto::api::{
    BindReply, BindRequest, DeleteRequest, GetRequest, ListChunk, ListRequest, Object, PatchRequest, Resource,
    ServedKind, ServedKinds, WatchBatch, WatchEvent, WatchKindsRequest, WatchRequest, WriteRequest, watch_event,
};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use crate::store::{At, Change, State, merge};

/// A label of what nobody can patch, as what was stored under older rules cannot be.
pub(crate) const STUCK: &str = "stuck";
const LINE_BYTES: usize = 1 << 20;
/// The longest that an answer, or an event, takes.
const LATE_MAX_MILLIS: usize = 20;
/// Objects in one message of a state.
const CHUNK_OBJECTS: usize = 10_000;

#[derive(Clone)]
pub(crate) struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    newest: watch::Sender<i64>,
    /// Of a hundred writes, so many fail in each way.
    faults: AtomicUsize,
    /// Writes let in at once.
    room: AtomicUsize,
    inside: AtomicUsize,
    pub(crate) refused: AtomicUsize,
    /// Kinds whose watches say nothing yet.
    silent: watch::Sender<Vec<&'static str>>,
    /// Kinds that are not served.
    absent: watch::Sender<Vec<&'static str>>,
    /// How often a watch of an absent kind was asked for.
    absent_asked: AtomicUsize,
    /// Watches say nothing of what is not of their kind, as the product's for most of a minute.
    quiet: AtomicBool,
    /// Objects that were told as part of a whole state.
    states_told: AtomicUsize,
}

impl ApiServer {
    pub(crate) fn new(seed: u64) -> Self {
        let inner = Inner {
            state: Mutex::new(State::new(seed)),
            newest: watch::Sender::new(1),
            faults: AtomicUsize::new(0),
            room: AtomicUsize::new(usize::MAX),
            inside: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            silent: watch::Sender::new(Vec::new()),
            absent: watch::Sender::new(Vec::new()),
            absent_asked: AtomicUsize::new(0),
            quiet: AtomicBool::new(false),
            states_told: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A client whose connections end here.
    pub(crate) async fn client(&self, stop: &CancellationToken) -> Client {
        let (near, far) = tokio::io::duplex(LINE_BYTES);
        let incoming = stream::iter([Ok::<_, std::io::Error>(far)]).chain(stream::pending());
        let server = tonic::transport::Server::builder()
            .add_service(ResourcesServer::new(self.clone()))
            .add_service(KindsServer::new(self.clone()));
        let stop = stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(server.serve_with_incoming(incoming)));
        let mut near = Some(near);
        let connector = tower::service_fn(move |_: tonic::transport::Uri| {
            let near = near.take().map(hyper_util::rt::TokioIo::new);
            async move { near.ok_or_else(|| std::io::Error::other("connected once already")) }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://apiserver");
        Client::over(endpoint.connect_with_connector(connector).await.unwrap())
    }

    /// Changes the state, as a user or a kubelet would.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.inner.state.lock();
        let result = change(&mut state);
        let revision = state.revision;
        drop(state);
        self.inner.newest.send_replace(revision);
        result
    }
    pub(crate) fn set_faults(&self, of_hundred: usize) {
        self.inner.faults.store(of_hundred, Ordering::SeqCst);
    }
    pub(crate) fn set_room(&self, writes: usize) {
        self.inner.room.store(writes, Ordering::SeqCst);
    }
    pub(crate) fn refused(&self) -> usize {
        self.inner.refused.load(Ordering::SeqCst)
    }
    /// Writes that are asked for and not answered yet.
    pub(crate) fn inside(&self) -> usize {
        self.inner.inside.load(Ordering::SeqCst)
    }
    pub(crate) fn set_quiet(&self) {
        self.inner.quiet.store(true, Ordering::SeqCst);
    }
    pub(crate) fn states_told(&self) -> usize {
        self.inner.states_told.load(Ordering::SeqCst)
    }
    pub(crate) fn set_silent(&self, kinds: Vec<&'static str>) {
        self.inner.silent.send_replace(kinds);
    }
    /// Watches of these kinds end, and nothing is found of them.
    pub(crate) fn set_absent(&self, kinds: Vec<&'static str>) {
        self.inner.absent.send_replace(kinds);
    }
    pub(crate) fn absent_asked(&self) -> usize {
        self.inner.absent_asked.load(Ordering::SeqCst)
    }
    fn check_served(&self, plural: &str) -> Result<(), Status> {
        let is_absent = self.inner.absent.borrow().contains(&plural);
        if is_absent { Err(told(&ApiError::no_such_path())) } else { Ok(()) }
    }
    fn chance<R>(&self, draw: impl FnOnce(&mut corten_client::seeds::Chance) -> R) -> R {
        draw(&mut self.inner.state.lock().chance)
    }

    async fn late(&self) {
        let millis = self.chance(|chance| chance.below(LATE_MAX_MILLIS));
        tokio::time::sleep(Duration::from_millis(millis as u64)).await;
    }

    /// A write with its luck. Events are not what is tried here: they always succeed.
    async fn write(
        &self,
        plural: &str,
        write: impl FnOnce(&mut State) -> Result<Value, ApiError>,
    ) -> Result<Response<Object>, Status> {
        let inside = self.inner.inside.fetch_add(1, Ordering::SeqCst) + 1;
        let _leaves = Leaves(&self.inner.inside);
        if inside > self.inner.room.load(Ordering::SeqCst) {
            self.inner.refused.fetch_add(1, Ordering::SeqCst);
            return Err(told(&ApiError::too_many_requests("too many requests, please try again later", 1)));
        }
        self.late().await;
        let faults = if plural == "events" { 0 } else { self.inner.faults.load(Ordering::SeqCst) };
        let luck = self.chance(|chance| chance.below(100));
        if luck < faults {
            return Err(Status::unavailable("the line broke before it was done"));
        }
        let done = self.with(write);
        self.late().await;
        if luck < 2 * faults {
            return Err(Status::unavailable("the line broke after it was done"));
        }
        done.map(|object| Response::new(envelope(&object))).map_err(|err| told(&err))
    }
}

struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn told(err: &ApiError) -> Status {
    corten_proto::status::to_grpc(err.code(), err.message(), serde_json::to_vec(err.status()).unwrap())
}

fn envelope(object: &Value) -> Object {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let revision = text("resourceVersion").parse().unwrap_or(0);
    Object { namespace: text("namespace"), name: text("name"), revision, json: object.to_string().into() }
}

fn at(resource: Option<Resource>) -> (At, String) {
    let resource = resource.unwrap();
    ((resource.plural, Key::new(resource.namespace, resource.name)), resource.subresource)
}

fn parsed(json: &[u8]) -> Value {
    if json.is_empty() { Value::Null } else { serde_json::from_slice(json).unwrap() }
}

fn same<'a>(wanted: &Value, live: &'a Value, at: &At) -> Result<&'a Value, ApiError> {
    for field in ["uid", "resourceVersion"] {
        let wanted = wanted["metadata"][field].as_str().unwrap_or_default();
        if !wanted.is_empty() && live["metadata"][field] != wanted {
            return Err(ApiError::stale("", &at.0, &at.1.name));
        }
    }
    Ok(live)
}

#[tonic::async_trait]
impl Resources for ApiServer {
    type ListStream = BoxStream<'static, Result<ListChunk, Status>>;
    type WatchStream = BoxStream<'static, Result<WatchBatch, Status>>;
    type BindStream = BoxStream<'static, Result<BindReply, Status>>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Object>, Status> {
        self.late().await;
        let (at, _) = at(request.into_inner().resource);
        self.check_served(&at.0)?;
        let state = self.inner.state.lock();
        state.get(&at).map(|object| Response::new(envelope(object))).map_err(|err| told(&err))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let (at, _) = at(request.into_inner().resource);
        self.check_served(&at.0)?;
        let state = self.inner.state.lock();
        let within = |key: &&Key| at.1.namespace.is_empty() || key.namespace == at.1.namespace;
        let items = state.of(&at.0).filter(|(key, _)| within(key)).map(|(_, object)| envelope(object)).collect();
        let chunk = ListChunk { revision: state.revision, items };
        self.inner.states_told.fetch_add(chunk.items.len(), Ordering::SeqCst);
        Ok(Response::new(stream::iter([Ok(chunk)]).boxed()))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let asked = request.into_inner();
        let (at, _) = at(asked.resource);
        if let Err(absent) = self.check_served(&at.0) {
            self.inner.absent_asked.fetch_add(1, Ordering::SeqCst);
            return Err(absent);
        }
        let mut silent = self.inner.silent.subscribe();
        let plural = at.0.clone();
        silent
            .wait_for(|kinds| !kinds.contains(&plural.as_str()))
            .await
            .map_err(|err| Status::internal(err.to_string()))?;
        let (server, newest) = (self.clone(), self.inner.newest.subscribe());
        let (after, report_at) = (asked.resume_after, asked.report_at);
        let seen = Watched { server, plural, after, report_at, newest, state: Vec::new() };
        Ok(Response::new(stream::unfold(seen, Watched::next).boxed()))
    }

    async fn create(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let asked = request.into_inner();
        let (at, _) = at(asked.resource);
        let object = parsed(&asked.json);
        self.write(&at.0.clone(), move |state| state.create(&at.0, object)).await
    }

    async fn update(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let asked = request.into_inner();
        let (at, subresource) = at(asked.resource);
        let object = parsed(&asked.json);
        let plural = at.0.clone();
        let change = move |state: &mut State| {
            let live = same(&object, state.get(&at)?, &at)?;
            let mut new = if subresource == "status" { live.clone() } else { object.clone() };
            new["status"] = if subresource == "status" { object["status"].clone() } else { live["status"].clone() };
            // Nobody changes metadata with a status, but who holds a Service until its load balancer is gone.
            if at.0 == "services" {
                new["metadata"]["finalizers"] = object["metadata"]["finalizers"].clone();
            }
            state.replace(&at, new)
        };
        self.write(&plural, change).await
    }

    async fn patch(&self, request: Request<PatchRequest>) -> Result<Response<Object>, Status> {
        let asked = request.into_inner();
        let (at, _) = at(asked.resource);
        let patch = parsed(&asked.json);
        let plural = at.0.clone();
        let change = move |state: &mut State| {
            let mut new = same(&patch, state.get(&at)?, &at)?.clone();
            if !new["metadata"]["labels"][STUCK].is_null() {
                state.patches_refused += 1;
                return Err(ApiError::new(Reason::Invalid, format!("{} {} may not be changed", at.0, at.1)));
            }
            merge(&mut new, &patch);
            state.replace(&at, new)
        };
        self.write(&plural, change).await
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<Object>, Status> {
        let asked = request.into_inner();
        let (at, _) = at(asked.resource);
        let options = parsed(&asked.options_json);
        self.write(&at.0.clone(), move |state| state.delete(&at, &options)).await
    }

    async fn bind(&self, _: Request<Streaming<BindRequest>>) -> Result<Response<Self::BindStream>, Status> {
        Err(Status::unimplemented("no scheduler is tried here"))
    }
}

/// Group, plural, kind and whether it is namespaced, of all that is served.
const SERVED: &[(&str, &str, &str, bool)] = &[
    ("", "configmaps", "ConfigMap", true),
    ("", "endpoints", "Endpoints", true),
    ("", "namespaces", "Namespace", false),
    ("", "nodes", "Node", false),
    ("", "persistentvolumeclaims", "PersistentVolumeClaim", true),
    ("", "pods", "Pod", true),
    ("", "podtemplates", "PodTemplate", true),
    ("", "replicationcontrollers", "ReplicationController", true),
    ("", "secrets", "Secret", true),
    ("", "serviceaccounts", "ServiceAccount", true),
    ("", "services", "Service", true),
    ("apps", "controllerrevisions", "ControllerRevision", true),
    ("apps", "daemonsets", "DaemonSet", true),
    ("apps", "deployments", "Deployment", true),
    ("apps", "replicasets", "ReplicaSet", true),
    ("apps", "statefulsets", "StatefulSet", true),
    ("batch", "cronjobs", "CronJob", true),
    ("batch", "jobs", "Job", true),
    ("coordination.k8s.io", "leases", "Lease", true),
    ("discovery.k8s.io", "endpointslices", "EndpointSlice", true),
    ("networking.k8s.io", "ipaddresses", "IPAddress", false),
    ("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", false),
];

#[tonic::async_trait]
impl Kinds for ApiServer {
    type WatchKindsStream = BoxStream<'static, Result<ServedKinds, Status>>;

    async fn watch_kinds(&self, _: Request<WatchKindsRequest>) -> Result<Response<Self::WatchKindsStream>, Status> {
        let mut absent = self.inner.absent.subscribe();
        absent.mark_changed();
        let told = stream::unfold(absent, |mut absent| async {
            absent.changed().await.ok()?;
            let hidden = absent.borrow_and_update().clone();
            let served = SERVED.iter().filter(|(_, plural, ..)| !hidden.contains(plural));
            let kind = |(group, plural, kind, namespaced): &(&str, &str, &str, bool)| ServedKind {
                group: (*group).into(),
                version: "v1".into(),
                plural: (*plural).into(),
                kind: (*kind).into(),
                namespaced: *namespaced,
                stored_as: (*plural).into(),
            };
            Some((Ok(ServedKinds { kinds: served.map(kind).collect() }), absent))
        });
        Ok(Response::new(told.boxed()))
    }
}

/// One watch of a kind. It breaks now and then, where faults are.
struct Watched {
    server: ApiServer,
    plural: String,
    after: i64,
    /// It tells that it has seen this revision, also when nothing happens.
    report_at: i64,
    newest: watch::Receiver<i64>,
    /// What is left to tell of the state.
    state: Vec<WatchEvent>,
}

impl Watched {
    async fn next(mut self) -> Option<(Result<WatchBatch, Status>, Self)> {
        if !self.state.is_empty() {
            return Some(self.next_of_state());
        }
        self.server.late().await;
        if self.after == 0 {
            let state = self.server.inner.state.lock();
            let added = |(_, object): (&Key, &Value)| event(object, watch_event::Kind::Added);
            self.state = state.of(&self.plural).map(added).collect();
            self.after = state.revision;
            drop(state);
            self.server.inner.states_told.fetch_add(self.state.len(), Ordering::SeqCst);
            return Some(self.next_of_state());
        }
        let (plural, mut after) = (self.plural.clone(), self.after);
        let mut absent = self.server.inner.absent.subscribe();
        loop {
            let is_absent = tokio::select! {
                newer = self.newest.wait_for(|newest| *newest > after) => newer.is_err(),
                absent = absent.wait_for(|kinds| kinds.contains(&plural.as_str())) => absent.is_ok(),
            };
            if is_absent {
                return Some((Err(told(&ApiError::no_such_path())), self));
            }
            if self.server.chance(|chance| chance.below(400)) < self.server.inner.faults.load(Ordering::SeqCst) {
                return Some((Err(Status::unavailable("the watch broke")), self));
            }
            let batch = self.changes();
            let owed = self.report_at > 0 && batch.revision >= self.report_at;
            if owed || !batch.events.is_empty() || !self.server.inner.quiet.load(Ordering::SeqCst) {
                (self.after, self.report_at) = (batch.revision, if owed { 0 } else { self.report_at });
                return Some((Ok(batch), self));
            }
            after = batch.revision;
        }
    }

    fn next_of_state(mut self) -> (Result<WatchBatch, Status>, Self) {
        let left = self.state.split_off(self.state.len().min(CHUNK_OBJECTS));
        let events = std::mem::replace(&mut self.state, left);
        (Ok(WatchBatch { revision: self.after, events, state_complete: self.state.is_empty() }), self)
    }

    fn changes(&self) -> WatchBatch {
        let state = self.server.inner.state.lock();
        let first = state.log.partition_point(|change| change.revision <= self.after);
        let of_kind = state.log[first..].iter().filter(|change| change.at.0 == self.plural);
        let events = of_kind.map(|Change { object, deleted, .. }| {
            event(object, if *deleted { watch_event::Kind::Deleted } else { watch_event::Kind::Modified })
        });
        WatchBatch { revision: state.revision, events: events.collect(), state_complete: false }
    }
}

fn event(object: &Value, kind: watch_event::Kind) -> WatchEvent {
    WatchEvent { kind: kind.into(), object: Some(envelope(object)) }
}
