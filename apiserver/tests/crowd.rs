//! Many who ask at once, and many who say nothing: kubelets' leases and an administrator's requests go on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/line.rs"]
mod line;
#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use corten_apiserver::serve::connections::{Bounds, ConnectionLimiter};
use corten_apiserver::storage::memory::Memory;
use corten_apiserver::storage::{Storage as _, Write};
use corten_fuzz::one_byte_handshakes;
use line::{JSON, Line, Slow, connect, connect_from};
use serde_json::{Value, json};
use server::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// No answer to a kubelet or an administrator takes longer, on a machine that is busy with other tests. Whoever waited for a
/// silent handshake, or for a request, to be given up would wait longer.
const SOON: Duration = Duration::from_secs(8);
const DEADLINE: Duration = Duration::from_secs(60);
const COMMIT: Duration = Duration::from_millis(25);
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn start(change: impl FnOnce(&mut corten_apiserver::serve::Server)) -> Arc<TestServer> {
    let storage = Slow { memory: Memory::default(), commit: COMMIT };
    let server = TestServer::start_over(Arc::new(storage), change).await;
    let namespace = json!({"metadata": {"name": "kube-node-lease"}}).to_string();
    let (code, answer) = server.send("POST", "/api/v1/namespaces", JSON, namespace.into()).await;
    assert!(matches!(code, 201 | 409), "{answer}");
    let lease = json!({"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}).to_string();
    let (code, answer) = server.send_as(Some("node"), "POST", LEASES, JSON, lease.into()).await;
    assert_eq!(code, 201, "{answer}");
    Arc::new(server)
}

/// A kubelet renews its lease and an administrator reads, again and again until `over`; each on a connection that it makes
/// anew, and each answered soon. Gives how often.
async fn work_goes_on(server: &TestServer, over: impl Fn() -> bool) -> usize {
    let mut rounds = 0;
    loop {
        let mut node = timeout(SOON, Line::open(server, "node")).await.expect("a kubelet cannot connect");
        let spec = json!({"spec": {"leaseDurationSeconds": 40 + rounds}});
        let (code, answer) = timeout(SOON, renew(&mut node, &spec)).await.expect("a lease is not renewed");
        assert_eq!(code, 200, "the lease: {}", String::from_utf8_lossy(&answer));
        let mut admin = timeout(SOON, Line::open(server, "admin")).await.expect("the administrator cannot connect");
        let read = admin.send("GET", "/api/v1/namespaces/default", &Value::Null);
        let (code, answer) = timeout(SOON, read).await.expect("the administrator waits");
        assert_eq!(code, 200, "{}", String::from_utf8_lossy(&answer));
        rounds += 1;
        if over() {
            return rounds;
        }
    }
}

async fn renew(node: &mut Line, spec: &Value) -> (u16, bytes::Bytes) {
    let path = format!("{LEASES}/n1");
    let (code, lease) = node.send("GET", &path, &Value::Null).await;
    if code != 200 {
        return (code, lease);
    }
    let mut lease: Value = serde_json::from_slice(&lease).unwrap();
    lease["spec"]["leaseDurationSeconds"] = spec["spec"]["leaseDurationSeconds"].clone();
    node.send("PUT", &path, &lease).await
}

/// More than there are seats, each one after the other: the controllers' level has 74 at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_creates_by_one_user_is_queued_and_none_of_it_refused() {
    let server = start(|_| {}).await;
    let mut flood = JoinSet::new();
    for client in 0..256 {
        let server = server.clone();
        flood.spawn(async move {
            let mut line = Line::open(&server, "manager").await;
            for n in 0..10 {
                let object = json!({"metadata": {"name": format!("c{client}-{n}")}});
                let (code, answer) = line.send("POST", CONFIG_MAPS, &object).await;
                assert_eq!(code, 201, "{}", String::from_utf8_lossy(&answer));
            }
        });
    }
    let done = Arc::new(AtomicBool::new(false));
    let flooded = {
        let done = done.clone();
        tokio::spawn(async move {
            while let Some(client) = flood.join_next().await {
                client.unwrap();
            }
            done.store(true, Ordering::Relaxed);
        })
    };
    work_goes_on(&server, || done.load(Ordering::Relaxed) || flooded.is_finished()).await;
    timeout(DEADLINE, flooded).await.expect("the flood is served in the end").unwrap();
    let (_, metrics) = server.send("GET", "/metrics", JSON, bytes::Bytes::new()).await;
    let text = metrics.as_str().unwrap();
    let line = r#"apiserver_flowcontrol_dispatched_requests_total{priority_level="workload-high",flow_schema="kube-controller-manager"} 2560"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_slow_posts_hold_up_neither_leases_nor_administrators() {
    let server = start(|_| {}).await;
    let mut posts = Vec::new();
    for _ in 0..200 {
        let mut tls = connect(&server, Some("manager")).await.unwrap();
        let head = format!(
            "POST {CONFIG_MAPS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\ncontent-length: 100000\r\n\r\n{{"
        );
        tls.write_all(head.as_bytes()).await.unwrap();
        posts.push(tls);
    }
    let began = Instant::now();
    work_goes_on(&server, || began.elapsed() > Duration::from_secs(2)).await;
    // Others of the same level are served as well.
    let mut manager = Line::open(&server, "manager").await;
    let object = json!({"metadata": {"name": "quick"}});
    let (code, answer) = timeout(SOON, manager.send("POST", CONFIG_MAPS, &object)).await.expect("it waits");
    assert_eq!(code, 201, "{}", String::from_utf8_lossy(&answer));
    // Who is one of few is told that it was too slow; the others had no place to be slow in.
    let mut codes = Vec::new();
    for mut post in posts {
        let mut answer = [0; 12];
        timeout(DEADLINE, post.read_exact(&mut answer)).await.expect("it is told").unwrap();
        codes.push(String::from_utf8_lossy(&answer[9..]).into_owned());
    }
    codes.sort();
    codes.dedup();
    assert_eq!(codes, ["408", "429"]);
}

/// As many as the server has places for: 8,192 of them, or an eighth of that where few files may be open.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_idle_connections_as_there_are_places_hold_up_neither_leases_nor_administrators() {
    let places = 1024;
    let bounds = Bounds::of(places);
    let server = start(|server| server.connections = ConnectionLimiter::new(bounds)).await;
    let mut idle = Vec::new();
    for n in 0..places {
        // One by one as they are let in, as an attacker would who wants all of them.
        let connected = timeout(SOON, connect(&server, None)).await;
        idle.push(connected.unwrap_or_else(|_| panic!("the {n}th waits")));
    }
    let began = Instant::now();
    let rounds = work_goes_on(&server, || began.elapsed() > Duration::from_secs(1)).await;
    assert!(rounds > 0);
    let (_, metrics) = server.send("GET", "/metrics", JSON, bytes::Bytes::new()).await;
    let open = metrics.as_str().unwrap().lines().find_map(|l| l.strip_prefix("apiserver_connections ")).unwrap();
    let open: usize = open.parse().unwrap();
    assert!(
        open <= bounds.open.unauthenticated + 16,
        "{open} are open: those without a certificate have a small share"
    );
}

const ATTACKER: [u8; 4] = [127, 0, 0, 2];

/// A new client that shows no certificate, and its first answer.
async fn anonymous(server: &TestServer, from: [u8; 4]) -> Line {
    let mut line = Line::over(connect_from(from, server, None).await.expect("it is let in")).await;
    ask(&mut line).await;
    line
}

async fn ask(line: &mut Line) {
    let asked = timeout(SOON, line.send("GET", "/version", &Value::Null)).await;
    assert_eq!(asked.expect("it is answered").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_share_of_silent_anonymous_connections_of_one_address_closes_no_others_and_keeps_nobody_out() {
    let bounds = Bounds::of(256);
    let server = start(|server| server.connections = ConnectionLimiter::new(bounds)).await;
    // Older and idler than all that follow.
    let mut admin = Line::open(&server, "admin").await;
    let mut before = anonymous(&server, [127, 0, 0, 3]).await;
    let mut silent = Vec::new();
    for _ in 0..3 * bounds.open.unauthenticated {
        silent.push(connect_from(ATTACKER, &server, None).await.unwrap());
    }
    let mut after = anonymous(&server, [127, 0, 0, 4]).await;
    for line in [&mut admin, &mut before, &mut after] {
        ask(line).await;
    }
    // From the address of the silent ones, too: the idlest of its own goes.
    anonymous(&server, ATTACKER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_share_of_anonymous_requests_of_one_address_keeps_no_anonymous_client_of_another_out() {
    let bounds = Bounds::of(256);
    let server = start(|server| server.connections = ConnectionLimiter::new(bounds)).await;
    let mut slow = Vec::new();
    for _ in 0..bounds.open.unauthenticated {
        let mut tls = connect_from(ATTACKER, &server, None).await.unwrap();
        // The server waits for the body, which does not come.
        let head = b"POST /version HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{";
        tls.write_all(head).await.unwrap();
        slow.push(tls);
    }
    let mut others = Vec::new();
    for from in 3..8 {
        others.push(anonymous(&server, [127, 0, 0, from]).await);
    }
    for other in &mut others {
        ask(other).await;
    }
}

/// What the server lets a client do on an HTTP/2 connection: streams, and bytes on one of them and on all.
async fn http2_bounds(server: &TestServer, who: Option<&str>) -> (u32, u32, u32) {
    const SETTINGS: u8 = 4;
    const WINDOW_UPDATE: u8 = 8;
    let mut tls = connect(server, who).await.unwrap();
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    tls.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
    // What the protocol begins with, where the server says nothing else.
    let (mut streams, mut of_stream, of_connection) = (u32::MAX, 65_535, 65_535);
    loop {
        let mut head = [0; 9];
        timeout(SOON, tls.read_exact(&mut head)).await.expect("it tells its bounds").unwrap();
        let [_, high, low, kind, ..] = head;
        let mut frame = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        tls.read_exact(&mut frame).await.unwrap();
        if kind == WINDOW_UPDATE {
            return (streams, of_stream, of_connection + u32::from_be_bytes(frame.try_into().unwrap()));
        }
        for setting in frame.chunks_exact(6).filter(|_| kind == SETTINGS) {
            let value = u32::from_be_bytes(setting[2..].try_into().unwrap());
            match setting[1] {
                3 => streams = value,
                4 => of_stream = value,
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn who_shows_no_certificate_makes_the_server_hold_little() {
    let server = start(|_| {}).await;
    assert_eq!(http2_bounds(&server, Some("admin")).await, (1000, 256 << 10, 1 << 20));
    assert_eq!(http2_bounds(&server, None).await, (250, 64 << 10, 1 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_silent_handshakes_as_there_are_places_hold_up_neither_leases_nor_administrators() {
    let bounds = Bounds { handshakes: 256, ..Bounds::of(512) };
    let server = start(|server| server.connections = ConnectionLimiter::new(bounds)).await;
    let mut silent = Vec::new();
    for _ in 0..512 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let began = Instant::now();
    work_goes_on(&server, || began.elapsed() > Duration::from_secs(1)).await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_one_byte_handshakes_of_one_address_hold_up_neither_leases_nor_administrators_of_others() {
    const THOUSANDS: usize = 4000;
    let bounds = Bounds { handshakes: 64, ..Bounds::of(512) };
    let server = start(|server| server.connections = ConnectionLimiter::new(bounds)).await;
    let made = Arc::new(AtomicUsize::new(0));
    let attack = tokio::spawn(one_byte_handshakes(server.address, [127, 0, 0, 2], 256, made.clone()));
    let deadline = Instant::now() + DEADLINE;
    while made.load(Ordering::Relaxed) < 512 {
        assert!(Instant::now() < deadline && !attack.is_finished(), "{made:?} were made");
        tokio::task::yield_now().await;
    }
    work_goes_on(&server, || made.load(Ordering::Relaxed) > THOUSANDS || attack.is_finished()).await;
    assert!(!attack.is_finished());
    attack.abort();
}

/// One worker thread: whoever keeps it keeps everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_table_of_ten_thousand_pods_stalls_nobody() {
    let memory = Memory::default();
    for n in 0..10_000 {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{n}"), "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"}, "status": {"phase": "Running"}});
        let key = format!("/registry/pods/default/p{n}");
        memory.commit(vec![Write::Create { key, value: value.to_string().into(), ttl_secs: None }]).await.unwrap();
    }
    let storage = Slow { memory, commit: Duration::ZERO };
    let server = Arc::new(TestServer::start_over(Arc::new(storage), |_| {}).await);
    let mut admin = Line::open(&server, "admin").await;
    let mut other = Line::open(&server, "admin").await;
    let table = tokio::spawn(async move {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
        admin.get("/api/v1/namespaces/default/pods", accept).await
    });
    let mut answered = 0;
    while !table.is_finished() {
        let (code, _) = other.send("GET", "/api/v1/namespaces/default", &Value::Null).await;
        assert_eq!(code, 200);
        answered += 1;
    }
    let (code, body) = table.await.unwrap();
    let table: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((code, table["rows"].as_array().map(Vec::len)), (200, Some(10_000)));
    assert!(answered >= 10, "{answered} others were answered while the table was made");
}

/// One worker thread: whoever keeps it keeps everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_small_patch_of_a_large_object_stalls_nobody() {
    let memory = Memory::default();
    let data: serde_json::Map<_, _> = (0..40_000).map(|n| (format!("key{n}"), json!("a few bytes"))).collect();
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large", "namespace": "default"},
        "data": data});
    let key = "/registry/configmaps/default/large".to_owned();
    memory.commit(vec![Write::Create { key, value: value.to_string().into(), ttl_secs: None }]).await.unwrap();
    let storage = Slow { memory, commit: Duration::ZERO };
    let server = Arc::new(TestServer::start_over(Arc::new(storage), |_| {}).await);
    let mut other = Line::open(&server, "admin").await;
    let patches = {
        let server = server.clone();
        tokio::spawn(async move {
            let path = format!("{CONFIG_MAPS}/large");
            for (content_type, patch) in [
                ("application/merge-patch+json", "{}"),
                ("application/merge-patch+json", r#"{"data":{"key0":"x"}}"#),
                ("application/apply-patch+yaml", "{apiVersion: v1, kind: ConfigMap}"),
            ] {
                let path = format!("{path}?fieldManager=m");
                let (code, answer) = server.send("PATCH", &path, content_type, patch.into()).await;
                assert_eq!(code, 200, "{patch}: {answer}");
            }
        })
    };
    let mut answered = 0;
    while !patches.is_finished() {
        let (code, _) = other.send("GET", "/api/v1/namespaces/default", &Value::Null).await;
        assert_eq!(code, 200);
        answered += 1;
    }
    patches.await.unwrap();
    assert!(answered >= 30, "{answered} others were answered meanwhile");
}
