//! Pods, Services and nodes through the apiserver. What is behind is made up; all between is real.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/backend.rs"]
mod backend;
#[path = "support/server.rs"]
mod server;

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use corten_apiserver::storage::{Storage, Write};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use server::TestServer;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const DEADLINE: Duration = Duration::from_secs(30);
/// What the tests' server waits for the head of a response.
const HEAD_DEADLINE: Duration = Duration::from_secs(2);
const POD: &str = "/api/v1/namespaces/default/pods/web/proxy";
const SERVICE: &str = "/api/v1/namespaces/default/services/web:http/proxy";

/// A pod `web` with its Service, both at `backend`. What is behind is on loopback, where nothing may be in a cluster: so the
/// store has them before the server that would refuse them, and the server lets them be unless `strict`.
async fn cluster_at(backend: SocketAddr, strict: bool) -> TestServer {
    let (ip, port) = (backend.ip().to_string(), backend.port());
    let meta = |name: &str| json!({"name": name, "namespace": "default", "uid": name});
    let mut slice = meta("web-1");
    slice["labels"] = json!({"kubernetes.io/service-name": "web"});
    let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]});
    let container = json!({"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": port}]});
    let target = json!({"kind": "Pod", "namespace": "default", "name": "web"});
    let node = json!({"addresses": [{"type": "InternalIP", "address": ip}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}});
    let objects = [
        ("pods/default/web", json!({"metadata": meta("web"), "spec": {"containers": [container]}, "status": status})),
        (
            "services/specs/default/web",
            json!({"metadata": meta("web"), "spec": {"ports": [{"name": "http", "port": 80, "targetPort": port}]}}),
        ),
        ("services/specs/default/none", json!({"metadata": meta("none"), "spec": {"ports": [{"port": 80}]}})),
        (
            "endpointslices/default/web-1",
            json!({"metadata": slice, "addressType": "IPv4", "ports": [{"name": "http", "port": port}],
                "endpoints": [{"addresses": [ip], "conditions": {"ready": true}, "targetRef": target}]}),
        ),
        ("minions/n1", json!({"metadata": {"name": "n1", "uid": "n1"}, "status": node})),
        ("minions/n2", json!({"metadata": {"name": "n2", "uid": "n2"}, "status": node})),
    ];
    let store = Memory::default();
    for (key, object) in objects {
        let value = object.to_string().into();
        store.commit(vec![Write::Create { key: format!("/registry/{key}"), value, ttl_secs: None }]).await.unwrap();
    }
    let allow_loopback = |server: &mut corten_apiserver::serve::Server| {
        let front = Arc::get_mut(&mut server.front).unwrap();
        front.proxy.head_deadline = HEAD_DEADLINE;
        if !strict {
            front.proxy.allows = |_| true;
        }
    };
    TestServer::start_over(Arc::new(store), allow_loopback).await
}

async fn cluster() -> TestServer {
    cluster_at(backend::serve().await, false).await
}

async fn get(server: &TestServer, path: &str) -> (u16, HeaderMap, Value) {
    server.send_with(Some("admin"), "GET", path, &[], Bytes::new()).await
}

/// `503 why`.
async fn refusal(server: &TestServer, path: &str) -> String {
    let (code, _, status) = get(server, path).await;
    assert_eq!((status["kind"].as_str(), status["code"].as_u64()), (Some("Status"), Some(code.into())), "{status}");
    format!("{code} {}", status["message"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_reaches_pods_and_services_with_and_without_a_path() {
    let server = cluster().await;
    let forms = [
        POD,
        "/api/v1/namespaces/default/pods/web:web/proxy",
        "/api/v1/namespaces/default/pods/http:web:/proxy",
        SERVICE,
        "/api/v1/namespaces/default/services/web:80/proxy",
        "/api/v1/namespaces/default/services/http:web:http/proxy",
    ];
    for form in forms {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            for (path, expected) in [("/", "/"), ("/a%20b/c/?d=e&f", "/a%20b/c/?d=e&f"), ("/x//../y", "/y")] {
                let headers = [("authorization", "Bearer secret"), ("x-mine", "1"), ("te", "gzip"), ("cookie", "a=b")];
                let body = if matches!(method, "GET" | "OPTIONS") { "" } else { "hello" };
                let path = format!("{form}{path}");
                let (code, _, seen) = server.send_with(Some("admin"), method, &path, &headers, body.into()).await;
                assert_eq!(code, 200, "{method} {path}: {seen}");
                let what = (seen["method"].as_str(), seen["uri"].as_str(), seen["body"].as_str());
                assert_eq!(what, (Some(method), Some(expected), Some(body)), "{path}");
                let headers = &seen["headers"];
                assert_eq!((headers["host"].as_str(), headers["x-mine"].as_str()), (Some("localhost"), Some("1")));
                assert_eq!((headers["x-forwarded-for"].as_str(), &headers["te"]), (Some("127.0.0.1"), &Value::Null));
                let uri = format!("{form}{}", expected.split('?').next().unwrap());
                assert_eq!(headers["x-forwarded-uri"], uri.as_str(), "{path}");
                assert_eq!((&headers["authorization"], headers["cookie"].as_str()), (&Value::Null, Some("a=b")));
            }
        }
        let (code, headers, _) = server.send_with(Some("admin"), "HEAD", &format!("{form}/"), &[], Bytes::new()).await;
        assert_eq!((code, headers["content-type"].to_str().unwrap()), (200, "application/json"), "{form}");
        assert!(headers["content-length"] != "0", "{form}: of what GET would give");
    }
    let (code, _, seen) = server.send_with(Some("admin"), "POST", POD, &[], "x".into()).await;
    assert_eq!((code, seen["uri"].as_str()), (200, Some("/")), "without a path only GET and HEAD are sent elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_redirects_and_headers_come_back_as_the_clients_own() {
    let server = cluster().await;
    for form in [POD, SERVICE] {
        for method in ["GET", "HEAD"] {
            let path = format!("{form}?a=b");
            let (code, headers, _) = server.send_with(Some("admin"), method, &path, &[], Bytes::new()).await;
            assert_eq!((code, headers["location"].to_str().unwrap()), (301, format!("{form}/?a=b").as_str()));
        }
        let (code, headers, page) = get(&server, &format!("{form}/page")).await;
        let expected = format!(r#"<a href="{form}/login">in</a><a href="help">?</a>"#);
        assert_eq!((code, page.as_str()), (200, Some(expected.as_str())));
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        let (code, headers, _) = get(&server, &format!("{form}/redirect")).await;
        assert_eq!((code, headers["location"].to_str().unwrap()), (302, format!("{form}/login?next=/").as_str()));
        let (_, headers, _) = get(&server, &format!("{form}/headers")).await;
        let has = |name: &str| headers.contains_key(name);
        assert!(has("x-own") && has("set-cookie") && has("content-length"), "{headers:?}");
        assert!(!has("access-control-allow-origin") && !has("keep-alive"), "{headers:?}");
        let (code, _, text) = get(&server, &format!("{form}/teapot")).await;
        assert_eq!((code, text.as_str()), (418, Some("short and stout")), "errors of what is behind are its own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_told() {
    let server = cluster().await;
    let services = "/api/v1/namespaces/default/services";
    let pods = "/api/v1/namespaces/default/pods";
    let refused = "503 error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused";
    for (path, expected) in [
        (format!("{pods}/web:1/proxy/"), refused),
        (format!("{pods}/web:nope/proxy/"), "503 no container port \"nope\" found for pod \"web\""),
        (format!("{pods}/gone/proxy/"), "404 pods \"gone\" not found"),
        (format!("{pods}/ftp:web:21/proxy/"), "400 invalid pod request \"ftp:web:21\""),
        (format!("{pods}/web/proxy/?dryRun=All"), "400 dryRun is not supported"),
        (format!("{services}/none:80/proxy/"), "503 no endpoints available for service \"none\""),
        (format!("{services}/web:81/proxy/"), "503 no service port 81 found for service \"web\""),
        (format!("{services}/web:nope/proxy/"), "503 no endpoints available for service \"web:nope\""),
        (format!("{services}/gone/proxy/"), "404 services \"gone\" not found"),
        (format!("{services}/a:b:c:d/proxy/"), "400 invalid service request \"a:b:c:d\""),
        ("/api/v1/nodes/gone/proxy/".into(), "404 nodes \"gone\" not found"),
    ] {
        assert_eq!(refusal(&server, &path).await, expected, "{path}");
    }
    for (method, verb) in
        [("GET", "get"), ("POST", "create"), ("PUT", "update"), ("PATCH", "patch"), ("DELETE", "delete")]
    {
        let (code, answer) = server.send_as(Some("jane"), method, &format!("{POD}/"), "", "x".into()).await;
        let why = answer["message"].as_str().unwrap();
        assert!(code == 403 && why.contains(&format!("cannot {verb} resource \"pods/proxy\"")), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_addresses_that_only_this_machine_has() {
    let server = cluster_at(backend::serve().await, true).await;
    for path in [POD, SERVICE, "/api/v1/nodes/n1/proxy", "/api/v1/nodes/http:n1:80/proxy"] {
        assert_eq!(refusal(&server, &format!("{path}/")).await, "400 address not allowed", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_is_given_up_and_who_is_slow_is_not() {
    let server = cluster().await;
    let (code, _, text) = get(&server, &format!("{POD}/slow")).await;
    assert_eq!((code, text.as_str()), (200, Some("at last")));
    let began = Instant::now();
    let told = refusal(&server, &format!("{POD}/silent")).await;
    assert_eq!(told, "503 error trying to reach service: timeout awaiting response headers");
    assert!(began.elapsed() >= HEAD_DEADLINE && began.elapsed() < DEADLINE);
    let closing = backend::serve_raw(|stream| async move { drop(stream) }).await;
    let server = cluster_at(closing, false).await;
    let told = refusal(&server, &format!("{POD}/")).await;
    assert!(told.starts_with("503 error trying to reach service: "), "{told}");
    let breaking = backend::serve_raw(|mut stream| async move {
        let mut head = [0; 4096];
        let _read = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    });
    let server = cluster_at(breaking.await, false).await;
    let response = open(&server, "GET", &format!("{POD}/"), Full::new(Bytes::new())).await;
    assert_eq!((response.status().as_u16(), &response.headers()["content-length"]), (200, &"100".parse().unwrap()));
    assert!(response.into_body().collect().await.is_err(), "half a body is not taken for a whole one");
}

/// The response with its body still to come.
async fn open<B>(server: &TestServer, method: &str, path: &str, body: B) -> Response<Incoming>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let tls = server.connect(Some("admin")).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "localhost").body(body).unwrap();
    sender.send_request(request).await.unwrap()
}

/// Of this process, in bytes: what it has of memory, at its highest so far.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// So many pieces from the pod, and as many to it.
async fn both_ways(server: &TestServer, pieces: usize) {
    let expected = pieces * backend::PIECE_BYTES;
    let mut body = open(server, "GET", &format!("{POD}/large/{pieces}"), Full::new(Bytes::new())).await.into_body();
    let mut got = 0;
    while let Some(frame) = body.frame().await {
        got += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(got, expected);
    let piece = Bytes::from(vec![b'x'; backend::PIECE_BYTES]);
    let pieces = (0..pieces).map(move |_| Ok::<_, std::io::Error>(Frame::data(piece.clone())));
    let body = StreamBody::new(futures::stream::iter(pieces));
    let response = open(server, "POST", &format!("{SERVICE}/count"), body).await;
    let counted = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(counted, expected.to_string(), "however long it takes: it moves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_each_way_needs_no_more_memory_than_a_part_of_it() {
    let server = cluster().await;
    // What the threads' allocators keep for themselves is there after that.
    both_ways(&server, (128 << 20) / backend::PIECE_BYTES).await;
    let before = peak();
    both_ways(&server, (1 << 30) / backend::PIECE_BYTES).await;
    let grown = peak() - before;
    assert!(grown < 64 << 20, "{grown} bytes more than before");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_for_a_client_that_takes_nothing() {
    let server = cluster().await;
    let response = open(&server, "GET", &format!("{POD}/large/100000"), Full::new(Bytes::new())).await;
    let mut given = backend::given();
    // Until it stands still: sockets hold some, and nobody else does.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = backend::given();
        if now == given && now > 0 {
            break;
        }
        given = now;
    }
    assert!(given < 64 << 20, "{given} bytes of 6 GB were taken");
    drop(response);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_upgraded_are_joined() {
    let server = cluster().await;
    for form in [POD, SERVICE] {
        let mut request = format!("wss://localhost{form}/echo?x=1").into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "v1.mine".parse().unwrap());
        headers.insert("authorization", "Bearer secret".parse().unwrap());
        let tls = server.connect(Some("admin")).await;
        let (mut socket, response) = tokio_tungstenite::client_async(request, tls).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "v1.mine");
        assert_eq!(response.headers()["x-saw-authorization"], "false");
        for text in ["hello", &"x".repeat(300_000)] {
            socket.send(Message::text(text)).await.unwrap();
            let back = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(back, Message::text(text));
        }
    }
    for (path, expected) in [("refuse", "HTTP/1.1 403 "), ("ignore", "HTTP/1.1 500 "), ("echo", "HTTP/1.1 101 ")] {
        let mut tls = server.connect(Some("admin")).await;
        let head = format!("POST {POD}/{path} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n");
        tls.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(tokio::time::timeout(DEADLINE, tls.read_u8()).await.unwrap().unwrap());
        }
        let head = String::from_utf8(seen).unwrap();
        assert!(head.starts_with(expected), "{path}: {head}");
        if path == "echo" {
            assert!(head.contains("upgrade: SPDY/3.1\r\n"), "{head}");
            tls.write_all(b"frames").await.unwrap();
            tls.shutdown().await.unwrap();
            let mut rest = String::new();
            tokio::time::timeout(DEADLINE, tls.read_to_string(&mut rest)).await.unwrap().unwrap();
            assert_eq!(rest, "framesbye", "byte for byte, and the end");
        }
    }
    assert!(refusal_of_upgrade(&server).await.contains("invalid upgrade response: status code 200"));
}

async fn refusal_of_upgrade(server: &TestServer) -> String {
    let headers = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
    let (code, _, status) =
        server.send_with(Some("admin"), "GET", &format!("{POD}/ignore"), &headers, Bytes::new()).await;
    format!("{code} {}", status["message"])
}

/// Of a server that shows this certificate.
fn tls_config(server: &TestServer, name: &str) -> rustls::ServerConfig {
    let cert = CertificateDer::from_pem_file(server.path(&format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(server.path(&format!("{name}.key"))).unwrap();
    rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_must_be_the_nodes_own_and_others_may_show_any_certificate() {
    // Whose certificates the apiserver trusts is known only once it runs; where the kubelet is, before.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = cluster_at(listener.local_addr().unwrap(), false).await;
    let kubelet = backend::serve_tls(tls_config(&server, "node")).await;
    tokio::spawn(forward(listener, kubelet));
    for (path, expected) in [("pods?x=1", "/pods?x=1"), ("stats/summary", "/stats/summary"), ("", "/")] {
        let (code, _, seen) = get(&server, &format!("/api/v1/nodes/n1/proxy/{path}")).await;
        assert_eq!((code, seen["uri"].as_str()), (200, Some(expected)), "{seen}");
    }
    let told = refusal(&server, "/api/v1/nodes/n2/proxy/pods").await;
    let stranger = "tls: the certificate shown is not that of the kubelet of node \"n2\"";
    assert_eq!(told, format!("503 error trying to reach service: {stranger}"), "n1's certificate is not n2's");
    let other = backend::serve_tls(tls_config(&server, "jane")).await.port();
    for path in [
        format!("/api/v1/nodes/https:n1:{other}/proxy/x"),
        format!("/api/v1/namespaces/default/pods/https:web:{other}/proxy/x"),
    ] {
        let (code, _, seen) = get(&server, &path).await;
        assert_eq!((code, seen["uri"].as_str()), (200, Some("/x")), "{path}: {seen}");
    }
    let told = refusal(&server, &format!("/api/v1/nodes/http:n1:{other}/proxy/x")).await;
    assert!(told.starts_with("503 error trying to reach service: "), "plain HTTP to a TLS port: {told}");
}

async fn forward(listener: std::net::TcpListener, to: SocketAddr) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
            // Either side may go as it likes.
            let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

/// `kubectl` of the PATH, as the administrator.
fn kubectl(server: &TestServer, args: &[&str]) -> tokio::process::Command {
    let path = |name: &str| server.path(name).display().to_string();
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "t",
        "clusters": [{"name": "t", "cluster": {"server": format!("https://{}", server.address),
            "certificate-authority": path("ca.crt")}}],
        "users": [{"name": "t", "user": {"client-certificate": path("admin.crt"), "client-key": path("admin.key")}}],
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}]});
    std::fs::write(server.path("kubeconfig"), config.to_string()).unwrap();
    let mut command = tokio::process::Command::new("kubectl");
    command.env("KUBECONFIG", server.path("kubeconfig")).env("HOME", server.dir.path()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_reads_what_is_behind_by_itself_and_for_others() {
    let server = cluster().await;
    let path = format!("{SERVICE}/page");
    let expected = format!(r#"<a href="{SERVICE}/login">in</a><a href="help">?</a>"#);
    let output = kubectl(&server, &["get", "--raw", &path]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
    let output =
        kubectl(&server, &["get", "--raw", "/api/v1/namespaces/default/services/none:80/proxy/"]).output().await;
    let told = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(told.contains("no endpoints available for service \"none\""), "{told}");

    let mut proxy = kubectl(&server, &["proxy", "--port=0"]).spawn().unwrap();
    let mut lines = BufReader::new(proxy.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let address = line.strip_prefix("Starting to serve on ").unwrap();
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let mut ask = async |path: &str| {
        let request = Request::get(path).header("host", address).body(Full::new(Bytes::new())).unwrap();
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes())
    };
    assert_eq!(ask(&path).await.2, expected);
    let (code, headers, _) = ask(SERVICE).await;
    assert_eq!((code, headers["location"].to_str().unwrap()), (301, format!("{SERVICE}/").as_str()));
    let (_, _, echo) = ask(&format!("{POD}/")).await;
    let echo: Value = serde_json::from_slice(&echo).unwrap();
    assert_eq!(echo["headers"]["x-forwarded-uri"], format!("{POD}/"));
    proxy.kill().await.unwrap();
}
