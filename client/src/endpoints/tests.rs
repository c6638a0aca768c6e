//! Clients of apiservers in memory that are down, without a store, or busy; time is paused.

mod silence;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use corten_api::Key;
use corten_api::error::with_causes;
use corten_proto::api::resources_server::{Resources, ResourcesServer};
use corten_proto::api::{self, WatchBatch};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::client::Client;
use crate::watch::Watch;

const DEADLINE: Duration = Duration::from_secs(120);

/// What a server does; shared by all of its connections.
#[derive(Debug, Default)]
struct Fake {
    up: bool,
    has_store: bool,
    /// New connections to it live, and nothing comes over them: see [`silence`].
    silent: bool,
    /// What the next requests are refused with.
    refusals: VecDeque<ApiError>,
    /// `watch after 5`, `get leases`, with the number of the connection.
    seen: Vec<(usize, String)>,
    /// Ends with what is connected now.
    line: CancellationToken,
}

/// The servers by their host.
#[derive(Clone, Debug, Default)]
struct Net {
    fakes: Arc<Mutex<BTreeMap<String, Fake>>>,
    connections: Arc<AtomicUsize>,
}

impl Net {
    fn of(hosts: &[&str]) -> Self {
        let net = Self::default();
        hosts.iter().for_each(|host| net.set(host, true, true));
        net
    }
    fn set(&self, host: &str, up: bool, has_store: bool) {
        let mut fakes = self.fakes.lock();
        let fake = fakes.entry(host.to_owned()).or_default();
        (fake.up, fake.has_store) = (up, has_store);
        if !up {
            std::mem::take(&mut fake.line).cancel();
        }
    }
    fn refuse(&self, host: &str, refusals: impl IntoIterator<Item = ApiError>) {
        self.fakes.lock().get_mut(host).unwrap().refusals.extend(refusals);
    }
    fn seen(&self, host: &str) -> Vec<(usize, String)> {
        self.fakes.lock()[host].seen.clone()
    }
    fn endpoints(&self) -> Endpoints {
        let uri = |host: &String| format!("https://{host}").parse().unwrap();
        Endpoints::with_connector(self.fakes.lock().keys().map(uri).collect(), Arc::new(self.clone()))
    }
}

#[tonic::async_trait]
impl Connect for Net {
    async fn connect(&self, uri: &Uri) -> Result<Channel, String> {
        let host = uri.host().unwrap_or_default().to_owned();
        let (line, silent) = {
            let fakes = self.fakes.lock();
            let fake = fakes.get(&host).filter(|fake| fake.up).ok_or("connection refused")?;
            (fake.line.clone(), fake.silent)
        };
        let id = self.connections.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let service = ResourcesServer::new(Served { net: self.clone(), host, id });
        let incoming = tokio_stream::once(Ok::<_, std::io::Error>(theirs)).chain(tokio_stream::pending());
        let serve = async move {
            let mut server = Server::builder();
            let router = if silent { server.add_service(silence::Silent) } else { server.add_service(service) };
            router.serve_with_incoming(incoming).await
        };
        tokio::spawn(line.run_until_cancelled_owned(serve));
        let mut ours = Some(ours);
        let connector = tower::service_fn(move |_| {
            let io = ours.take().ok_or_else(|| std::io::Error::other("connects once"));
            async move { io.map(TokioIo::new) }
        });
        Endpoint::from_static("http://fake").connect_with_connector(connector).await.map_err(|err| with_causes(&err))
    }
    async fn is_ready(&self, _: &Channel) -> bool {
        // Which server it is does not matter: they become ready together here.
        self.fakes.lock().values().filter(|fake| fake.up).all(|fake| fake.has_store)
    }
}

struct Served {
    net: Net,
    host: String,
    id: usize,
}

impl Served {
    fn enter(&self, what: String) -> Result<(), Status> {
        let mut fakes = self.net.fakes.lock();
        let fake = fakes.get_mut(&self.host).unwrap();
        fake.seen.push((self.id, what));
        let refusal = match fake.refusals.pop_front() {
            Some(refusal) => refusal,
            None if fake.has_store => return Ok(()),
            None => ApiError::unavailable("the store does not answer"),
        };
        let json = serde_json::to_vec(refusal.status()).unwrap();
        Err(corten_proto::status::to_grpc(refusal.code(), refusal.message(), json))
    }
    fn one(&self, verb: &str, resource: Option<api::Resource>) -> Result<Response<api::Object>, Status> {
        self.enter(format!("{verb} {}", resource.unwrap().plural))?;
        let json = br#"{"metadata":{"name":"a","namespace":"n"}}"#.to_vec().into();
        Ok(Response::new(api::Object { namespace: "n".into(), name: "a".into(), revision: 5, json }))
    }
}

type BoxStream<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Resources for Served {
    type ListStream = BoxStream<api::ListChunk>;
    type WatchStream = BoxStream<WatchBatch>;
    type BindStream = BoxStream<api::BindReply>;

    async fn get(&self, request: Request<api::GetRequest>) -> Result<Response<api::Object>, Status> {
        self.one("get", request.into_inner().resource)
    }
    async fn create(&self, request: Request<api::WriteRequest>) -> Result<Response<api::Object>, Status> {
        self.one("create", request.into_inner().resource)
    }
    async fn update(&self, request: Request<api::WriteRequest>) -> Result<Response<api::Object>, Status> {
        self.one("update", request.into_inner().resource)
    }
    async fn patch(&self, request: Request<api::PatchRequest>) -> Result<Response<api::Object>, Status> {
        self.one("patch", request.into_inner().resource)
    }
    async fn delete(&self, request: Request<api::DeleteRequest>) -> Result<Response<api::Object>, Status> {
        self.one("delete", request.into_inner().resource)
    }
    async fn list(&self, _: Request<api::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        self.enter("list".into())?;
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(api::ListChunk { revision: 5, items: Vec::new() })))))
    }
    /// The state at revision 7, then nothing.
    async fn watch(&self, request: Request<api::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.enter(format!("watch after {}", request.into_inner().resume_after))?;
        let state = WatchBatch { events: Vec::new(), revision: 7, state_complete: true };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(state)).chain(tokio_stream::pending()))))
    }
    async fn bind(&self, request: Request<Streaming<api::BindRequest>>) -> Result<Response<Self::BindStream>, Status> {
        self.enter("open binds".into())?;
        let served = Self { net: self.net.clone(), host: self.host.clone(), id: self.id };
        let replies = request.into_inner().map(move |asked| {
            let api::BindRequest { id, pod, uid, node, .. } = asked?;
            let refused = served.enter(format!("bind {pod} {uid} {node}")).err();
            let status = refused.map(|status| corten_proto::status::of_grpc(&status).to_vec());
            Ok(api::BindReply { id, error_status_json: status.unwrap_or_default().into() })
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_spreads_and_returns_to_servers_that_come_back_within_a_minute() {
    let net = Net::of(&["a", "b", "c"]);
    let clients: Vec<Arc<Endpoints>> = (0..60).map(|_| Arc::new(net.endpoints())).collect();
    let spread = async |clients: &[Arc<Endpoints>]| {
        let mut by_host = BTreeMap::<String, usize>::new();
        for client in clients {
            let connection = client.connection().await.unwrap();
            *by_host.entry(connection.uri.host().unwrap().to_owned()).or_default() += 1;
        }
        by_host
    };
    let even = |by_host: &BTreeMap<String, usize>| by_host.len() == 3 && by_host.values().all(|count| *count >= 8);
    let first = spread(&clients).await;
    assert!(even(&first), "{first:?}");
    net.set("a", false, false);
    net.set("b", false, false);
    for client in &clients {
        let connection = client.connection().await.unwrap();
        if connection.uri.host() != Some("c") {
            client.drop_connection(&connection);
        }
    }
    assert_eq!(spread(&clients).await, [("c".to_owned(), 60)].into(), "all go to the one that lives");
    net.set("a", true, false);
    net.set("b", true, false);
    tokio::time::advance(RETURN_MIN + RETURN_SPREAD).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(spread(&clients).await.len(), 1, "nobody returns to a server that is not ready");
    net.set("a", true, true);
    net.set("b", true, true);
    let began = Instant::now();
    let mut moments = BTreeSet::new();
    while began.elapsed() < RETURN_MIN + RETURN_SPREAD + Duration::from_secs(1) {
        moments.insert(spread(&clients).await["c"]);
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(spread(&clients).await, first, "each is where it likes to be");
    assert!(moments.len() > 10, "not all at once: {moments:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_store_is_left_by_reads_and_watches_which_resume() {
    let net = Net::of(&["a", "b"]);
    let client = Client::new(net.endpoints());
    let stop = CancellationToken::new();
    let cache = Watch::<ConfigMap>::all(&client).start(&stop, |_| {});
    cache.synced().await;
    let (used, other) = if net.seen("a").is_empty() { ("b", "a") } else { ("a", "b") };
    net.set(used, true, false);
    client.get::<ConfigMap>(&Key::new("n", "a")).await.expect("a read is answered by the other");
    until("the watch resumes at the other", || net.seen(other).iter().any(|(_, what)| what == "watch after 7")).await;
    client.create(&ConfigMap::default()).await.expect("and writes go there");
    // With no store anywhere nobody runs from one to the other.
    net.set(other, true, false);
    let connections = net.connections.load(Ordering::SeqCst);
    for _ in 0..20 {
        assert!(client.get::<ConfigMap>(&Key::new("n", "a")).await.is_err());
    }
    assert!(net.connections.load(Ordering::SeqCst) <= connections + 2);
}

#[tokio::test(start_paused = true)]
async fn streams_on_a_connection_that_was_given_up_go_over_once_another_stands() {
    let net = Net::of(&["a", "b"]);
    let endpoints = Arc::new(net.endpoints());
    let first = endpoints.connection().await.unwrap();
    endpoints.drop_connection(&first);
    net.set("a", false, false);
    net.set("b", false, false);
    assert!(endpoints.connection().await.is_err());
    assert!(!first.left.is_cancelled(), "there is nowhere to go to");
    net.set("a", true, true);
    net.set("b", true, true);
    let second = endpoints.connection().await.unwrap();
    assert!(first.left.is_cancelled(), "its streams go over");
    endpoints.drop_connection(&first);
    assert!(Arc::ptr_eq(&second, &endpoints.connection().await.unwrap()), "what was given up before is not again");
    assert!(!second.left.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_asked_again_after_the_time_it_says_by_reads_and_writes_alike() {
    let net = Net::of(&["a"]);
    let client = Client::new(net.endpoints());
    let busy = |n| std::iter::repeat_n(ApiError::too_many_requests("busy", 2), n);
    let secs = async |call: std::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>>| {
        let began = Instant::now();
        (call.await, began.elapsed().as_secs_f64())
    };
    let key = Key::new("n", "a");
    let get = || Box::pin(async { client.get::<ConfigMap>(&key).await.is_ok() });
    let create = || Box::pin(async { client.create(&ConfigMap::default()).await.is_ok() });
    let list = || Box::pin(async { client.list::<ConfigMap>(None).await.is_ok() });
    for (why, call) in [("get", 0), ("create", 1), ("list", 2)] {
        net.refuse("a", busy(2));
        let (done, took) = match call {
            0 => secs(get()).await,
            1 => secs(create()).await,
            _ => secs(list()).await,
        };
        assert!(done && (4.0..6.5).contains(&took), "{why}: {took} s");
    }
    net.refuse("a", busy(100));
    let (done, took) = secs(create()).await;
    assert!(!done && (16.0..25.0).contains(&took), "bounded: {took} s");
    net.set("a", true, true);
    net.fakes.lock().get_mut("a").unwrap().refusals.clear();
    net.refuse("a", [ApiError::new(Reason::TooManyRequests, "would violate the disruption budget")]);
    let (done, took) = secs(create()).await;
    assert!(!done && took < 1.0, "a refusal without a time is an answer");
}

#[tokio::test(start_paused = true)]
async fn a_placement_that_a_busy_server_refuses_is_sent_again_after_the_time_it_says_and_done_once() {
    let net = Net::of(&["a"]);
    let binder = Client::new(net.endpoints()).binder();
    let busy = |n| std::iter::repeat_n(ApiError::too_many_requests("busy", 2), n);
    let bind = async |pod: &str| {
        let began = Instant::now();
        (binder.bind("n", pod, "u", "n1").await, began.elapsed().as_secs_f64())
    };
    let sent = |what: &str| net.seen("a").iter().filter(|(_, seen)| seen == what).count();
    net.refuse("a", busy(2));
    let (bound, took) = bind("p1").await;
    assert!(bound.is_ok() && (4.0..6.5).contains(&took), "the stream is refused: {bound:?} after {took} s");
    assert_eq!((sent("open binds"), sent("bind p1 u n1")), (3, 1));
    net.refuse("a", busy(2));
    let (bound, took) = bind("p2").await;
    assert!(bound.is_ok() && (4.0..6.5).contains(&took), "the placement is refused: {bound:?} after {took} s");
    assert_eq!((sent("open binds"), sent("bind p2 u n1")), (3, 3), "over the same stream, until it is done");

    net.refuse("a", busy(1));
    assert!(timeout(Duration::from_secs(1), bind("p3")).await.is_err(), "it waits");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(sent("bind p3 u n1"), 1, "who has lost its lease meanwhile sends nothing more");
    net.refuse("a", [ApiError::conflict("", "pods", "p4", "it is bound already")]);
    let (bound, took) = bind("p4").await;
    assert!(bound.is_err_and(|err| err.is(Reason::Conflict)) && took < 1.0, "an answer is not asked for again");
    net.refuse("a", busy(100));
    let (bound, took) = bind("p5").await;
    let is_busy = bound.is_err_and(|err| err.is(Reason::TooManyRequests));
    assert!(is_busy && (16.0..25.0).contains(&took), "bounded: {took} s");
}

#[tokio::test(start_paused = true)]
async fn a_leader_hears_of_a_busy_server_at_once_and_renews_in_its_own_time() {
    let net = Net::of(&["a"]);
    let client = crate::lease::renewing(&Client::new(net.endpoints()));
    net.refuse("a", [ApiError::too_many_requests("busy", 10)]);
    let (began, key) = (Instant::now(), Key::new("n", "a"));
    let refused = client.get::<Lease>(&key).await.expect_err("the refusal is the answer");
    assert!(refused.is(Reason::TooManyRequests) && began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    client.get::<Lease>(&key).await.expect("the next renewal is answered");
}

#[tokio::test(start_paused = true)]
async fn leases_go_over_a_connection_of_their_own() {
    let net = Net::of(&["a"]);
    let client = Client::new(net.endpoints());
    client.list::<ConfigMap>(None).await.unwrap();
    client.get::<Lease>(&Key::new("n", "a")).await.unwrap();
    client.update(&Lease::default()).await.unwrap();
    client.get::<ConfigMap>(&Key::new("n", "a")).await.unwrap();
    let over: Vec<(usize, String)> = net.seen("a");
    let general: BTreeSet<usize> =
        over.iter().filter(|(_, what)| !what.contains("leases")).map(|(id, _)| *id).collect();
    let vital: BTreeSet<usize> = over.iter().filter(|(_, what)| what.contains("leases")).map(|(id, _)| *id).collect();
    assert_eq!((general.len(), vital.len()), (1, 1), "{over:?}");
    assert!(general.is_disjoint(&vital), "{over:?}");
}
