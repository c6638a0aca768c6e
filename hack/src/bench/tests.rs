//! The load generator against a small TLS server of our own, which counts what it is asked.
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cortenadm::pki::{ClusterPlan, Pki};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::load::{self, CLIENTS, Call, pod_body, pod_name, pods_path};
use super::watch::{Counter, Watch};
use crate::rest::Client;

struct Server {
    pki: PathBuf,
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
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
        let acceptor = acceptor(&pki.cert("apiserver"), &pki.key("apiserver"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, counting) = (acceptor.clone(), Arc::clone(&counting));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| {
                        counting.fetch_add(1, Ordering::Relaxed);
                        std::future::ready(Ok::<_, Infallible>(reply(&request)))
                    });
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await.ok();
                });
            }
        });
        Self { pki: pki_dir, address, asked }
    }

    fn client(&self) -> Client {
        Client::new(self.address, &self.pki, "admin").unwrap()
    }
}

fn acceptor(cert: &Path, key: &Path) -> TlsAcceptor {
    let certs = vec![CertificateDer::from_pem_file(cert).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(certs, key).unwrap();
    TlsAcceptor::from(Arc::new(config))
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
    assert_eq!((done.samples.count(), server.asked.load(Ordering::Relaxed)), (1000, 1000));
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
