//! The order in which a request's way goes, seen from outside: who is refused where, and what has not happened by then.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/server.rs"]
mod server;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use corten_apiserver::rest::unfinished::{Bounds, Unfinished};
use corten_apiserver::storage::memory::Memory;
use corten_apiserver::storage::{ChangeStream, Listed, Outcome, Storage, StorageError, Stored, Write};
use futures::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use recorder::Recorder;
use serde_json::json;
use server::TestServer;
use tokio::sync::watch;
use tokio::time::timeout;

const JSON: &str = "application/json";
const DEADLINE: Duration = Duration::from_secs(20);
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Memory in which writes of some names go wrong.
#[derive(Debug, Default)]
struct Odd {
    memory: Memory,
    /// Whether the one that never ends has begun.
    begun: watch::Sender<bool>,
}

#[async_trait]
impl Storage for Odd {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        self.memory.get(key).await
    }
    async fn list(&self, prefix: &str, revision: Option<i64>) -> Result<Listed, StorageError> {
        self.memory.list(prefix, revision).await
    }
    async fn current_revision(&self) -> Result<i64, StorageError> {
        self.memory.current_revision().await
    }
    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StorageError> {
        let is_of = |name: &str| writes.iter().any(|write| write.key().ends_with(name));
        assert!(!is_of("/panics"), "a write that is no good");
        if is_of("/never-ends") {
            self.begun.send_replace(true);
            std::future::pending::<()>().await;
        }
        self.memory.commit(writes).await
    }
    async fn watch(&self, prefix: &str, after: i64) -> Result<ChangeStream, StorageError> {
        self.memory.watch(prefix, after).await
    }
    async fn compact(&self, revision: i64) -> Result<(), StorageError> {
        self.memory.compact(revision).await
    }
}

async fn start() -> (TestServer, Arc<Recorder>) {
    start_over(Arc::default()).await
}
async fn start_over(storage: Arc<Odd>) -> (TestServer, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let audit = recorder.clone();
    let server = TestServer::start_over(storage, |server| server.audit = audit).await;
    (server, recorder)
}

fn map(name: &str) -> Bytes {
    json!({"metadata": {"name": name}}).to_string().into()
}

/// A counter of /metrics, over all of its series with this label; administrators are in a level of their own, which is left out.
async fn sum(server: &TestServer, name: &str, label: &str) -> u64 {
    let (_, text) = server.send("GET", "/metrics", JSON, Bytes::new()).await;
    let lines = text.as_str().unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let of =
        lines.iter().filter(|line| line.starts_with(name) && line.contains(label) && !line.contains(r#""exempt""#));
    of.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map(|count| count as u64).sum()
}

#[tokio::test]
async fn who_is_not_whom_he_says_takes_nobodys_turn() {
    let (server, audit) = start().await;
    let dispatched = async || sum(&server, "apiserver_flowcontrol_dispatched_requests_total", "").await;
    let before = dispatched().await;
    let bearer = [("authorization", "Bearer nobody's"), ("impersonate-user", "jane")];
    for _ in 0..3 {
        let (code, headers, _) = server.send_with(None, "GET", MAPS, &bearer, Bytes::new()).await;
        assert_eq!((code, headers.get("x-kubernetes-pf-flowschema-uid")), (401, None));
    }
    assert_eq!(audit.next(|event| event.ends_with("401")).await, "?: list configmaps default/: 401");
    let after = dispatched().await;
    let (code, _) = server.send_as(Some("jane"), "GET", MAPS, JSON, Bytes::new()).await;
    assert_eq!(code, 403);
    assert_eq!(dispatched().await - after, 1, "who may not, but is known, is charged for asking");
    // The server's own programs are none: nothing else was charged.
    assert_eq!(after, before);
}

#[tokio::test]
async fn whom_a_request_counts_as_is_charged_for_it_and_asked_about() {
    let (server, audit) = start().await;
    let uids = |headers: &HeaderMap| headers["x-kubernetes-pf-flowschema-uid"].clone();
    let sent = async |who: &str, as_jane: bool| {
        let headers: &[(&str, &str)] = if as_jane { &[("impersonate-user", "jane")] } else { &[] };
        let (code, headers, _) = server.send_with(Some(who), "GET", MAPS, headers, Bytes::new()).await;
        (code, uids(&headers))
    };
    let (admin, jane) = (sent("admin", false).await, sent("jane", false).await);
    assert_eq!((admin.0, jane.0), (200, 403));
    assert_ne!(admin.1, jane.1);
    assert_eq!(sent("admin", true).await, jane, "where she goes, and as she is answered");
    let expected = "kubernetes-admin as jane: list configmaps default/: 403";
    assert_eq!(audit.next(|event| event.contains(" as ")).await, expected);
    // Whom somebody may not be does not pay for his asking.
    let headers = [("impersonate-user", "kubernetes-admin")];
    let (code, headers, _) = server.send_with(Some("jane"), "GET", MAPS, &headers, Bytes::new()).await;
    assert_eq!((code, headers.get("x-kubernetes-pf-flowschema-uid")), (403, None));
}

/// A body of which a beginning comes, and never more.
type Endless = UnsyncBoxBody<Bytes, Infallible>;

fn begun(request: http::request::Builder, begun: Vec<u8>) -> Request<Endless> {
    let first = futures::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(begun)))]);
    request.body(StreamBody::new(first.chain(futures::stream::pending())).boxed_unsync()).unwrap()
}

/// A call by gRPC's door.
fn call(method: &str) -> http::request::Builder {
    let call = Request::post(format!("https://localhost/corten.api.v1.{method}"));
    call.header("content-type", "application/grpc").header("te", "trailers")
}

/// A connection over HTTP/2, for as long as it is kept open.
async fn http2(server: &TestServer, who: Option<&str>) -> (SendRequest<Endless>, Open) {
    let (tls, open) = {
        let mut config = server.tls_of(who);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = tokio::net::TcpStream::connect(server.address).await.unwrap().into_std().unwrap();
        let open = Open(tcp.try_clone().unwrap());
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        (tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap(), open)
    };
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    (sender, open)
}

/// The socket of a connection: what is under way on it would keep it open.
struct Open(std::net::TcpStream);

impl Open {
    fn close(&self) {
        // It may have ended by itself.
        self.0.shutdown(std::net::Shutdown::Both).ok();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

/// The answer's head, with its code, and its trailers if they come first.
async fn head(answer: impl Future<Output = hyper::Result<Response<Incoming>>>) -> HeaderMap {
    let response = timeout(DEADLINE, answer).await;
    let mut response = response.expect("it is answered before its body has come").unwrap();
    let mut headers = response.headers().clone();
    headers.insert("code", response.status().as_u16().into());
    if let Some(Ok(frame)) = timeout(DEADLINE, response.body_mut().frame()).await.unwrap()
        && let Ok(trailers) = frame.into_trailers()
    {
        headers.extend(trailers);
    }
    headers
}

/// The head of the answer to a request over HTTP/2 of whose body this much comes, and never more.
async fn answered_early(
    server: &TestServer,
    who: Option<&str>,
    request: http::request::Builder,
    beginning: Vec<u8>,
) -> HeaderMap {
    let (mut sender, _open) = http2(server, who).await;
    head(sender.send_request(begun(request, beginning))).await
}

#[tokio::test]
async fn nobody_is_refused_by_grpc_before_a_byte_of_his_message_has_come() {
    let (server, _) = start().await;
    for method in ["Resources/Create", "Resources/List", "Resources/Bind", "Kinds/WatchKinds", "Nodes/WatchConnections"]
    {
        let answer = answered_early(&server, None, call(method), Vec::new()).await;
        assert_eq!(answer["grpc-status"], "16", "{method}: UNAUTHENTICATED");
    }
}

#[tokio::test]
async fn a_stream_is_counted_before_its_first_message_and_makes_no_room_for_a_large_one() {
    let (server, _) = start().await;
    let (mut sender, open) = http2(&server, Some("jane")).await;
    let silent = ["Resources/Bind", "Kinds/WatchKinds", "Nodes/WatchConnections"];
    let silent = silent.map(|method| tokio::spawn(sender.send_request(begun(call(method), Vec::new()))));
    for (why, expected) in [("those that say nothing", 3), ("those that are gone", 0)] {
        let counted = async {
            while sum(&server, "apiserver_longrunning_requests", "").await != expected {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, counted).await.unwrap_or_else(|_| panic!("{why}: {expected} are to be counted"));
        open.close();
    }
    drop(silent);
    // Three megabytes, of which nothing comes.
    let announced = vec![0, 0, 48, 0, 0];
    for method in ["Resources/Bind", "Kinds/WatchKinds", "Nodes/WatchConnections"] {
        let answer = answered_early(&server, Some("jane"), call(method), announced.clone()).await;
        assert_eq!(answer["grpc-status"], "3", "{method}: INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn what_messages_hold_before_their_turn_is_bounded() {
    let server = TestServer::start_over(Arc::new(Memory::default()), |server| {
        let bounds = Bounds { all: 1 << 20, of_user: 100 << 10 };
        Arc::get_mut(&mut server.front).unwrap().unfinished = Arc::new(Unfinished::new(bounds));
    })
    .await;
    // 60 KiB are announced, and 40 come of a field that nobody knows: what it is about is behind that.
    let beginning = [&[0, 0, 0, 240, 0][..], &[9 << 3 | 2, 0xd0, 0x86, 0x03], &[7; 40 << 10]].concat();
    let (mut sender, _open) = http2(&server, Some("jane")).await;
    let calls: Vec<_> =
        (0..3).map(|_| Box::pin(sender.send_request(begun(call("Resources/Create"), beginning.clone())))).collect();
    let (first, _, _others) = timeout(DEADLINE, futures::future::select_all(calls)).await.unwrap();
    assert_eq!(head(std::future::ready(first)).await["grpc-status"], "8", "RESOURCE_EXHAUSTED");
    let (code, answer) = server.send("POST", MAPS, JSON, map("another")).await;
    assert_eq!(code, 201, "{answer}");
}

#[tokio::test]
async fn the_body_of_what_may_not_be_is_not_waited_for() {
    let (server, audit) = start().await;
    let post = || Request::post(format!("https://localhost{MAPS}")).header("content-type", JSON);
    let huge = post().header("content-length", 64 << 20);
    for request in [post(), huge] {
        assert_eq!(answered_early(&server, Some("jane"), request, b"{".to_vec()).await["code"], "403");
    }
    // `Resource`: v1 configmaps, in default; the object is announced and does not come.
    let field = |number: u8, value: &[u8]| [&[number << 3 | 2, u8::try_from(value.len()).unwrap()], value].concat();
    let resource = field(1, &[field(2, b"v1"), field(3, b"configmaps"), field(5, b"default")].concat());
    let framed = [&[0, 0, 32, 0, 0][..], &resource].concat();
    let answer = answered_early(&server, Some("jane"), call("Resources/Create"), framed).await;
    assert_eq!(answer["grpc-status"], "7", "PERMISSION_DENIED");
    for _ in 0..3 {
        let event = audit.next(|event| event.starts_with("jane")).await;
        assert_eq!(event, "jane: create configmaps default/: 403");
    }
}

#[tokio::test]
async fn a_panic_is_one_requests_own() {
    let (server, audit) = start().await;
    let (code, answer) = server.send("POST", MAPS, JSON, map("panics")).await;
    assert_eq!((code, answer["reason"].as_str()), (500, Some("InternalError")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("caused apiserver to panic"), "{answer}");
    assert_eq!(
        audit.next(|event| event.ends_with("500")).await,
        "kubernetes-admin: create configmaps default/: 500",
        "it is told of"
    );
    let label = r#"verb="create",group="",resource="configmaps",code="500""#;
    assert_eq!(sum(&server, "apiserver_request_total", label).await, 1, "and counted");
    let executing = r#"request_kind="mutating""#;
    assert_eq!(sum(&server, "apiserver_current_inflight_requests", executing).await, 0, "its seat is given back");
    let (code, answer) = server.send("POST", MAPS, JSON, map("well")).await;
    assert_eq!(code, 201, "{answer}");
}

#[tokio::test]
async fn a_client_that_goes_away_is_told_of_too() {
    let storage = Arc::new(Odd::default());
    let (server, audit) = start_over(storage.clone()).await;
    let mut begun = storage.begun.subscribe();
    tokio::select! {
        (code, answer) = server.send("POST", MAPS, JSON, map("never-ends")) => panic!("{code} {answer}"),
        begun = timeout(DEADLINE, begun.wait_for(|begun| *begun)) => drop(begun.expect("it is written").unwrap()),
    }
    let event = audit.next(|event| event.contains("create configmaps")).await;
    assert_eq!(event, "kubernetes-admin: create configmaps default/: gone");
}

#[tokio::test]
async fn a_request_has_the_name_that_its_client_gives_it_or_one_of_its_own() {
    let (server, _) = start().await;
    let named = async |headers: &[(&str, &str)], path: &str| {
        let (_, headers, _) = server.send_with(Some("jane"), "GET", path, headers, Bytes::new()).await;
        headers["audit-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(named(&[("audit-id", "mine")], MAPS).await, "mine");
    let (one, other) = (named(&[], MAPS).await, named(&[], "/nothing/here").await);
    assert!(one.len() == 36 && other.len() == 36 && one != other, "{one} {other}");
}

#[tokio::test]
async fn a_client_says_how_long_he_waits_and_is_told_where_that_is_no_time() {
    let storage = Arc::new(Odd::default());
    let (server, audit) = start_over(storage).await;
    let (code, answer) = server.send("GET", &format!("{MAPS}?timeout=soon"), JSON, Bytes::new()).await;
    let words = r#"invalid timeout specified in the request URL - time: invalid duration "soon""#;
    assert_eq!((code, answer["message"].as_str()), (400, Some(words)), "{answer}");
    let event = audit.next(|event| event.ends_with("400")).await;
    assert!(event.contains("list configmaps default/"), "it is told of: {event}");
    for path in [format!("{MAPS}?timeout=1m"), format!("{MAPS}?timeout="), "/healthz?timeout=32s".to_owned()] {
        let (code, answer) = server.send("GET", &path, JSON, Bytes::new()).await;
        assert_eq!(code, 200, "{path}: {answer}");
    }
    let path = format!("{MAPS}?timeout=100ms");
    let late = server.send("POST", &path, JSON, map("never-ends"));
    let (code, answer) = timeout(DEADLINE, late).await.expect("it is given up");
    assert_eq!((code, answer["reason"].as_str()), (504, Some("Timeout")), "{answer}");
}
