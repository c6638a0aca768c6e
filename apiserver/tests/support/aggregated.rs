//! A server that answers for group versions, over real TLS: what it does is said by the path, and by who runs it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) const GROUP: &str = "wardle.example.com";

pub(crate) struct Aggregated {
    /// Watches say so many lines.
    lines: watch::Sender<usize>,
    /// Its connections die with it.
    _connections: tokio_util::task::AbortOnDropHandle<()>,
}

impl Aggregated {
    /// Whoever comes must show a certificate of this authority. `certificate`: the path to it and its key, without their ends.
    pub(crate) async fn serve(address: SocketAddr, certificate: &Path, front_proxy_ca: &Path) -> Self {
        let shown = CertificateDer::from_pem_file(certificate.with_extension("crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificate.with_extension("key")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(front_proxy_ca).unwrap()).unwrap();
        let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let config = ServerConfig::builder().with_client_cert_verifier(clients);
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![shown], key).unwrap()));
        let listener = TcpListener::bind(address).await.unwrap();
        let lines = watch::Sender::new(1);
        let told = lines.clone();
        let connections = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, told) = (acceptor.clone(), told.clone());
                connections.spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| answer(request, told.subscribe()));
                    let server = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is no fault of a test.
                    let _gone = server.serve_connection(TokioIo::new(tls), service).with_upgrades().await;
                });
            }
        });
        Self { lines, _connections: tokio_util::task::AbortOnDropHandle::new(connections) }
    }

    /// Watches say one line more.
    pub(crate) fn say(&self) {
        self.lines.send_modify(|lines| *lines += 1);
    }
}

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

fn with_type(media: &str, value: &Value) -> Response<Body> {
    Response::builder().header("content-type", media).body(whole(value.to_string())).unwrap()
}

fn shown(headers: &HeaderMap) -> Value {
    let value = |name: &http::HeaderName| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    headers
        .keys()
        .map(|name| (name.to_string(), json!(value(name).join("; "))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn discovery() -> Value {
    let kind = json!({"group": GROUP, "version": "v1", "kind": "Flunder"});
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [
        {"metadata": {"name": GROUP}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
            {"resource": "flunders", "responseKind": kind, "scope": "Namespaced", "singularResource": "flunder",
                "verbs": ["get", "list", "watch"]}]}]}]})
}

fn document() -> Value {
    let object = json!({"type": "object", "properties": {"spec": {"type": "string"}},
        "x-kubernetes-group-version-kind": [{"group": GROUP, "version": "v1", "kind": "Flunder"}]});
    json!({"openapi": "3.0.0", "info": {"title": "wardle", "version": "1"}, "paths": {},
        "components": {"schemas": {"com.example.wardle.v1.Flunder": object}}})
}

fn old_document() -> Value {
    let object = json!({"type": "object", "properties": {"spec": {"type": "string"}}});
    let of = json!({"$ref": "#/definitions/com.example.wardle.v1.Flunder"});
    let get = json!({"operationId": "readFlunder", "responses": {"200": {"description": "OK", "schema": of}}});
    json!({"swagger": "2.0", "info": {"title": "wardle", "version": "1"},
        "paths": {(format!("/apis/{GROUP}/v1/flunders")): {"get": get}, "/version/": {"get": get}},
        "definitions": {"com.example.wardle.v1.Flunder": object, "com.example.Unused": {"type": "string"}}})
}

async fn answer(mut request: Request<Incoming>, lines: watch::Receiver<usize>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if request.headers().contains_key("upgrade") {
        return Ok(upgraded(&mut request));
    }
    Ok(match path.as_str() {
        "/apis" => {
            let asked = request.headers()["accept"].to_str().unwrap();
            assert!(asked.contains("APIGroupDiscoveryList"), "{asked}");
            with_type("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", &discovery())
        }
        // Whoever describes itself is told nothing of what the aggregator may.
        path if path.starts_with("/openapi/")
            && (request.headers().contains_key("x-remote-group")
                || request.headers()["x-remote-user"] != "system:aggregator") =>
        {
            Response::builder().status(403).body(whole("")).unwrap()
        }
        "/openapi/v3" => {
            // Who follows this finds what says everything.
            let url = "/api/v1/secrets?hash=1";
            with_type("application/json", &json!({"paths": {(format!("apis/{GROUP}/v1")): {"serverRelativeURL": url}}}))
        }
        path if path.starts_with("/openapi/v3/") => with_type("application/json", &document()),
        "/openapi/v2" => with_type("application/json", &old_document()),
        path if path.ends_with("/redirect") => {
            Response::builder().status(302).header("location", "https://elsewhere/").body(whole("")).unwrap()
        }
        path if path.ends_with("/teapot") => Response::builder().status(418).body(whole("short and stout")).unwrap(),
        path if path.ends_with("/silent") => std::future::pending().await,
        // Its body never ends: whoever asks whether somebody is there does not wait for it.
        path if path.ends_with("/v1endless") => Response::new(
            StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Infallible>>()).boxed_unsync(),
        ),
        _ if request.uri().query() == Some("silent") => std::future::pending().await,
        _ if request.uri().query().is_some_and(|query| query.contains("watch=1")) => {
            let said = futures::stream::unfold((0, lines), |(said, mut lines)| async move {
                lines.wait_for(|lines| *lines > said).await.ok()?;
                Some((Ok(Frame::data(Bytes::from(format!("{said}\n")))), (said + 1, lines)))
            });
            Response::new(StreamBody::new(said).boxed_unsync())
        }
        _ => {
            let (method, uri) = (request.method().to_string(), request.uri().to_string());
            let headers = shown(request.headers());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8_lossy(&body);
            let echo = json!({"method": method, "uri": uri, "headers": headers, "body": body});
            with_type("application/json", &echo)
        }
    })
}

/// Says who came, and then what it hears.
fn upgraded(request: &mut Request<Incoming>) -> Response<Body> {
    let who = request.headers()["x-remote-user"].to_str().unwrap().to_owned();
    let switched = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(switched.await.unwrap());
        io.write_all(who.as_bytes()).await.unwrap();
        let mut piece = [0; 1024];
        while let Ok(len @ 1..) = io.read(&mut piece).await {
            io.write_all(&piece[..len]).await.unwrap();
        }
        io.shutdown().await.unwrap();
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    response.header("connection", "Upgrade").header("upgrade", "echo").body(whole("")).unwrap()
}
