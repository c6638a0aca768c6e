//! Responses that a client asks for and does not take.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use server::TestServer;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const JSON: &str = "application/json";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SEND_DEADLINE: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(60);

/// An HTTP/2 connection that has room for a few bytes of each response, until somebody reads on.
struct Narrow {
    sender: http2::SendRequest<Empty<Bytes>>,
    connection: JoinHandle<()>,
}

impl Narrow {
    async fn open(server: &TestServer) -> Self {
        let tls = server.connect(Some("admin")).await;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1024);
        let (sender, connection) = builder.handshake(TokioIo::new(tls)).await.unwrap();
        let connection = tokio::spawn(async move {
            // However it ends.
            let _ended = connection.await;
        });
        Self { sender, connection }
    }
    /// The response's body, of which nothing is read.
    async fn ask(&mut self, path: &str) -> Incoming {
        let uri = format!("https://localhost{path}");
        let response = self.sender.send_request(Request::get(uri).body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_responses_loses_the_connection_and_who_watches_in_peace_does_not() {
    let storage = Arc::new(Memory::default());
    let server = TestServer::start_over(storage, |server| server.send_deadline = SEND_DEADLINE).await;
    let object = json!({"metadata": {"name": "large"}, "data": {"k": "x".repeat(500_000)}}).to_string();
    let (code, answer) = server.send("POST", CONFIG_MAPS, JSON, object.into()).await;
    assert_eq!(code, 201, "{answer}");

    let mut watching = Narrow::open(&server).await;
    let watch = watching.ask(&format!("{CONFIG_MAPS}?watch=1")).await;
    let mut reading = Narrow::open(&server).await;
    let mut lying = Narrow::open(&server).await;
    let unread = lying.ask(&format!("{CONFIG_MAPS}/large")).await;
    let also_unread = lying.ask(CONFIG_MAPS).await;
    timeout(DEADLINE, &mut lying.connection).await.expect("nobody takes these responses").unwrap();
    drop((unread, also_unread));

    assert!(!watching.connection.is_finished(), "a watch lasts, however little of it is read");
    let read = timeout(DEADLINE, reading.ask(CONFIG_MAPS).await.collect()).await.expect("it is sent").unwrap();
    assert!(read.to_bytes().len() > 500_000, "who reads slowly gets it all");
    drop(watch);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_uses_a_deprecated_kind_is_told_so_with_every_answer() {
    const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
    let server = TestServer::start_over(Arc::new(Memory::default()), |_| {}).await;
    let mut client = Narrow::open(&server).await;
    let wanted = r#"299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice""#;
    let cases = [
        ("GET", ENDPOINTS.to_owned(), true),
        ("GET", format!("{ENDPOINTS}?watch=1"), true),
        ("GET", format!("{ENDPOINTS}/missing"), true),
        ("DELETE", format!("{ENDPOINTS}/missing"), true),
        ("GET", CONFIG_MAPS.to_owned(), false),
    ];
    for (method, path, told) in cases {
        let request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        let response = client.sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
        let warning = response.headers().get("warning").map(|text| text.to_str().unwrap());
        assert_eq!(warning, told.then_some(wanted), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_has_an_answer_and_no_table() {
    let server = TestServer::start_over(Arc::new(Memory::default()), |_| {}).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table_or_object = format!("{table}, {JSON}");
    let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let asked = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}).to_string();
    for (path, body, accept, expected) in [
        (access, &*asked, table, 406),
        (access, &*asked, &*table_or_object, 201),
        (token, "{}", table, 406),
        (CONFIG_MAPS, r#"{"metadata":{"name":"a"}}"#, table, 201),
    ] {
        let headers = [("accept", accept), ("content-type", JSON)];
        let (code, _, answer) = server.send_with(Some("admin"), "POST", path, &headers, body.to_owned().into()).await;
        assert_eq!(code, expected, "{path} as {accept}: {answer:?}");
    }
}
