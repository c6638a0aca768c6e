//! A small HTTP server to be proxied to: what it does is said by the path.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Of one piece of `/large/N`, in bytes.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

pub(crate) async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(connection(stream));
        }
    });
    address
}

/// As `serve`, over TLS.
pub(crate) async fn serve_tls(config: rustls::ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    connection(stream).await;
                }
            });
        }
    });
    address
}

/// One that takes connections and does with them what `with` says.
pub(crate) async fn serve_raw<F>(with: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(with(stream));
        }
    });
    address
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let server = hyper::server::conn::http1::Builder::new();
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    // A client that goes is no failure of the test.
    let _ended = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

fn with_type(content_type: &str, text: impl Into<Bytes>) -> Response<Body> {
    Response::builder().header("content-type", content_type).body(whole(text)).unwrap()
}

fn shown(headers: &HeaderMap) -> Value {
    let value = |name: &http::HeaderName| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    headers
        .keys()
        .map(|name| (name.to_string(), json!(value(name).join("; "))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

async fn answer(request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if request.headers().contains_key("upgrade") {
        return upgraded(&path, request);
    }
    if let Some(pieces) = path.strip_prefix("/large/") {
        return large(pieces.parse().unwrap());
    }
    match path.as_str() {
        "/page" => with_type("text/html; charset=utf-8", r#"<a href="/login">in</a><a href="help">?</a>"#),
        "/redirect" => Response::builder().status(302).header("location", "/login?next=/").body(whole("")).unwrap(),
        "/headers" => {
            let mut response = with_type("text/plain", "x");
            let headers = response.headers_mut();
            headers.insert("access-control-allow-origin", "*".parse().unwrap());
            headers.insert("x-own", "1".parse().unwrap());
            headers.insert("keep-alive", "timeout=5".parse().unwrap());
            headers.insert("set-cookie", "a=b".parse().unwrap());
            response
        }
        "/teapot" => Response::builder().status(418).body(whole("short and stout")).unwrap(),
        "/silent" => std::future::pending().await,
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            with_type("text/plain", "at last")
        }
        // How many bytes came.
        "/count" => {
            let mut body = request.into_body();
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
            }
            with_type("text/plain", bytes.to_string())
        }
        _ => {
            let (method, uri) = (request.method().to_string(), request.uri().to_string());
            let headers = shown(request.headers());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8_lossy(&body);
            let echo = json!({"method": method, "uri": uri, "headers": headers, "body": body});
            with_type("application/json", echo.to_string())
        }
    }
}

static GIVEN: AtomicUsize = AtomicUsize::new(0);

/// How many bytes of large responses have been taken, in this process.
pub(crate) fn given() -> usize {
    GIVEN.load(Ordering::Relaxed)
}

/// So many pieces, made as they are taken.
fn large(pieces: usize) -> Response<Body> {
    let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
    let pieces = futures::stream::iter((0..pieces).map(move |_| {
        GIVEN.fetch_add(PIECE_BYTES, Ordering::Relaxed);
        Ok(Frame::data(piece.clone()))
    }));
    Response::new(StreamBody::new(pieces).boxed_unsync())
}

/// `/echo` speaks the protocol asked for and echoes; the others do not switch.
fn upgraded(path: &str, mut request: Request<Incoming>) -> Response<Body> {
    match path {
        "/refuse" => return Response::builder().status(403).body(whole("not you")).unwrap(),
        "/ignore" => return with_type("text/plain", "what upgrade?"),
        _ => {}
    }
    let protocol = request.headers()["upgrade"].clone();
    let mut response = Response::new(whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "Upgrade".parse().unwrap());
    headers.insert("upgrade", protocol.clone());
    let key = request.headers().get("sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
    if let Some(key) = &key {
        headers.insert("sec-websocket-accept", key.parse().unwrap());
    }
    if let Some(chosen) = request.headers().get("sec-websocket-protocol") {
        headers.insert("sec-websocket-protocol", chosen.clone());
    }
    headers.insert("x-saw-authorization", request.headers().contains_key("authorization").to_string().parse().unwrap());
    let switched = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(switched.await.unwrap());
        if key.is_some() {
            let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() || socket.send(message).await.is_err() {
                    break;
                }
            }
            return;
        }
        let mut piece = [0; 1024];
        while let Ok(len @ 1..) = io.read(&mut piece).await {
            io.write_all(&piece[..len]).await.unwrap();
        }
        io.write_all(b"bye").await.unwrap();
        io.shutdown().await.unwrap();
    });
    response
}
