//! The load generator against a small TLS server of our own, which counts what it is asked.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cortenadm::pki::{ClusterPlan, Pki};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::load::{self, CLIENTS, Call, pod_body, pod_name, pods_path};
use super::tls_server;
use super::watch::{Counter, Watch};
use crate::rest::Client;

struct Server {
    pki: PathBuf,
    inner: tls_server::Server,
}

impl Drop for Server {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.pki).ok();
    }
}

impl Server {
    async fn start(name: &str) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let pki_dir = std::env::temp_dir().join(format!("corten-bench-{name}-{}", std::process::id()));
        let pki = Pki::new(&pki_dir, jiff::Timestamp::now());
        pki.init(&ClusterPlan::default()).unwrap();
        let inner = tls_server::Server::start(&pki, |request| std::future::ready(reply(&request))).await.unwrap();
        Self { pki: pki_dir, inner }
    }

    fn client(&self) -> Client {
        Client::new(self.inner.address, &self.pki, "admin").unwrap()
    }
}

/// Three pages of a list, two events of a watch, 404 for one pod, and an empty object for all else.
fn reply(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let query = request.uri().query().unwrap_or_default();
    let (status, body) = match query {
        _ if request.uri().path().ends_with("/missing") => (StatusCode::NOT_FOUND, "no such pod"),
        "limit=500" => (StatusCode::OK, r#"{"metadata":{"continue":"one="},"items":[]}"#),
        "limit=500&continue=one%3D" => (StatusCode::OK, r#"{"metadata":{"continue":"two"},"items":[]}"#),
        "limit=500&continue=two" => (StatusCode::OK, r#"{"metadata":{},"items":[]}"#),
        "watch=1" => (StatusCode::OK, "{\"type\":\"ADDED\"}\n{\"type\":\"MODIFIED\"}\n"),
        _ => (StatusCode::OK, "{}"),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

#[tokio::test]
async fn every_call_is_made_once() {
    let server = Server::start("calls").await;
    let call = |number| Call::new(Method::POST, pods_path(), pod_body(&pod_name(number), 0));
    let done = load::run(&server.client(), 1000, call).await.unwrap();
    assert_eq!((done.samples.count(), server.inner.asked.load(Ordering::Relaxed)), (1000, 1000));
}

#[tokio::test]
async fn an_answer_that_is_no_success_ends_the_phase_with_the_servers_words() {
    let server = Server::start("refused").await;
    let call = |number| {
        let name = if number == 50 { "missing".to_owned() } else { pod_name(number) };
        Call::new(Method::GET, format!("{}/{name}", pods_path()), Bytes::new())
    };
    let Err(error) = load::run(&server.client(), 100, call).await else { panic!("a 404 went unnoticed") };
    assert!(error.to_string().contains("no such pod"), "{error}");
}

#[tokio::test]
async fn lists_are_read_to_their_last_page() {
    let server = Server::start("pages").await;
    let done = load::list_pages(&server.client(), 2, 500).await.unwrap();
    assert_eq!(done.samples.count(), CLIENTS * 2 * 3);
}

#[tokio::test]
async fn watched_events_are_counted_and_read() {
    let server = Server::start("watch").await;
    let client = server.client();
    let counter = Arc::new(Counter::default());
    for _ in 0..10 {
        tokio::spawn(Arc::clone(&counter).count(Watch::open(&client, "/pods?watch=1").await.unwrap()));
    }
    counter.reaches(20, Duration::from_secs(10)).await.unwrap();
    let mut watch = Watch::open(&client, "/pods?watch=1").await.unwrap();
    assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    assert_eq!(watch.next().await.unwrap()["type"], "MODIFIED");
    assert!(watch.next().await.is_err(), "the end of a watch is an error");
}
