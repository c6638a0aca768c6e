//! Logs, exec, attach and port-forward with the real kubectl, every version that is installed: between them they speak
//! WebSocket and SPDY. The node is made up; all between is real.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/node.rs"]
mod node;
#[path = "support/server.rs"]
mod server;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use corten_apiserver::storage::memory::Memory;
use futures::StreamExt;
use serde_json::{Value, json};
use server::TestServer;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const DEADLINE: Duration = Duration::from_secs(30);

/// `kubectl` of the PATH, and `kubectl.1.NN` beside where it (or its target) lies.
fn kubectls() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let plain = std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|p| p.exists());
    let plain = plain.expect("kubectl is not in the PATH: install it");
    let home = plain.canonicalize().unwrap().parent().unwrap().to_owned();
    let versions = (27..40).map(|minor| home.join(format!("kubectl.1.{minor}"))).filter(|p| p.exists());
    let found: Vec<PathBuf> = versions.collect();
    if found.is_empty() { vec![plain] } else { found }
}

struct Cluster {
    server: TestServer,
}

impl Cluster {
    async fn start() -> Self {
        let server = TestServer::start(Memory::default()).await;
        let node = node::serve(&server.path("server.crt"), &server.path("server.key")).await;
        let cluster = Self { server };
        cluster.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
        let status = json!({"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": node.port()}}});
        cluster.patch_status("/api/v1/nodes/n1", status).await;
        let pods = "/api/v1/namespaces/default/pods";
        let spec = json!({"nodeName": "n1", "containers": [{"name": "c", "image": "i", "stdin": true}]});
        cluster.post(pods, json!({"metadata": {"name": "web"}, "spec": spec})).await;
        let running = json!({"phase": "Running", "containerStatuses": [{"name": "c", "image": "i", "imageID": "",
            "ready": true, "restartCount": 0, "state": {"running": {}}}]});
        cluster.patch_status(&format!("{pods}/web"), running).await;
        cluster.write_kubeconfig();
        cluster
    }
    async fn post(&self, path: &str, object: Value) {
        let (code, answer) = self.server.send("POST", path, "application/json", object.to_string().into()).await;
        assert_eq!(code, 201, "{answer}");
    }
    async fn patch_status(&self, path: &str, status: Value) {
        let body = json!({ "status": status }).to_string();
        let path = format!("{path}/status");
        let (code, answer) = self.server.send("PATCH", &path, "application/merge-patch+json", body.into()).await;
        assert_eq!(code, 200, "{answer}");
    }
    fn write_kubeconfig(&self) {
        let path = |name: &str| self.server.path(name).display().to_string();
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "t",
            "clusters": [{"name": "t", "cluster": {"server": format!("https://{}", self.server.address),
                "certificate-authority": path("ca.crt")}}],
            "users": [{"name": "t", "user": {"client-certificate": path("admin.crt"), "client-key": path("admin.key")}}],
            "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}]});
        std::fs::write(self.server.path("kubeconfig"), config.to_string()).unwrap();
    }
    fn kubectl(&self, kubectl: &PathBuf, args: &[&str]) -> Command {
        let mut command = Command::new(kubectl);
        command.env("KUBECONFIG", self.server.path("kubeconfig")).env("HOME", self.server.dir.path());
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
    /// (exit code, stdout, stderr) with `input` on stdin.
    async fn run(&self, kubectl: &PathBuf, args: &[&str], input: &str) -> (i32, String, String) {
        let mut child = self.kubectl(kubectl, args).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let done = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
        let output = done.unwrap_or_else(|_| panic!("{kubectl:?} {args:?} does not end")).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read() {
    let cluster = Cluster::start().await;
    for kubectl in kubectls() {
        let (code, out, err) = cluster.run(&kubectl, &["logs", "web"], "").await;
        assert_eq!((code, out.as_str()), (0, "one\ntwo of c\n"), "{kubectl:?}: {err}");
        let (code, _, err) = cluster.run(&kubectl, &["logs", "web", "-c", "x"], "").await;
        assert_eq!(code, 1);
        assert!(err.contains("container x is not valid for pod web"), "{kubectl:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_take_input_and_give_output_and_exit_codes() {
    let cluster = Cluster::start().await;
    let large = "0123456789".repeat(30_000);
    for kubectl in kubectls() {
        let run = |args: &'static [&'static str], input| cluster.run(&kubectl, args, input);
        let (code, out, err) = run(&["exec", "-i", "web", "--", "cat"], "hello").await;
        // v4.channel.k8s.io cannot say that stdin has ended; kubectl prefers v5 and SPDY, which can.
        assert_eq!((code, out.as_str()), (0, "hello"), "{kubectl:?}: {err}");
        let (code, out, err) = run(&["exec", "-i", "web", "--", "cat"], &large).await;
        assert_eq!((code, out.len()), (0, large.len()), "{kubectl:?}: {err}");
        let (code, out, err) = run(&["exec", "web", "--", "fail"], "").await;
        assert_eq!((code, out.as_str()), (3, ""), "{kubectl:?}: {err}");
        assert!(err.contains("oops\n") && err.contains("exit code 3"), "{kubectl:?}: {err}");
        let (code, _, err) = run(&["exec", "web", "--", "missing"], "").await;
        assert_eq!(code, 1, "{kubectl:?}: {err}");
        assert!(err.contains("executable file not found in $PATH"), "{kubectl:?}: {err}");
        let (code, out, err) = run(&["attach", "-i", "web"], "hello").await;
        assert_eq!((code, out.as_str()), (0, "hello"), "{kubectl:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded() {
    let cluster = Cluster::start().await;
    for kubectl in kubectls() {
        let mut child = cluster.kubectl(&kubectl, &["port-forward", "web", ":80", ":81"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ports = Vec::new();
        while ports.len() < 2 {
            let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| panic!("{kubectl:?} ended early"));
            if let Some(rest) = line.strip_prefix("Forwarding from 127.0.0.1:") {
                ports.push(rest.split(' ').next().unwrap().parse::<u16>().unwrap());
            }
        }
        for text in ["first", "second"] {
            let mut socket = TcpStream::connect(("127.0.0.1", ports[0])).await.unwrap();
            socket.write_all(text.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
            let mut seen = String::new();
            tokio::time::timeout(DEADLINE, socket.read_to_string(&mut seen)).await.unwrap().unwrap();
            assert_eq!(seen, text, "{kubectl:?}");
        }
        let mut socket = TcpStream::connect(("127.0.0.1", ports[1])).await.unwrap();
        socket.write_all(b"x").await.unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = async {
            while let Ok(Some(line)) = errors.next_line().await {
                if line.contains("connection refused to port 81") {
                    return;
                }
            }
            panic!("{kubectl:?} says nothing of the refused port");
        };
        tokio::time::timeout(DEADLINE, told).await.unwrap();
        child.kill().await.unwrap();
    }
}

/// All that the server sends, until it closes: binary messages as they are, text with a `t` before it. And the subprotocol.
async fn over_websocket(cluster: &Cluster, path: &str, protocol: &str) -> (String, Vec<String>) {
    let mut request =
        format!("wss://localhost/api/v1/namespaces/default/pods/web/{path}").into_client_request().unwrap();
    if !protocol.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    let tls = cluster.server.connect(Some("admin")).await;
    let (mut socket, response) = tokio_tungstenite::client_async(request, tls).await.unwrap();
    let chosen = response.headers().get("sec-websocket-protocol").map_or("", |v| v.to_str().unwrap()).to_owned();
    let mut messages = Vec::new();
    let read = async {
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Binary(bytes) => messages.push(String::from_utf8_lossy(&bytes).into_owned()),
                Message::Text(text) => messages.push(format!("t{text}")),
                _ => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("the server closes at the end");
    (chosen, messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_websocket_protocols_are_spoken_for_exec_attach_and_logs() {
    let cluster = Cluster::start().await;
    let failed = "command terminated with non-zero exit code: exit status 3";
    let encoded = "Y29tbWFuZCB0ZXJtaW5hdGVkIHdpdGggbm9uLXplcm8gZXhpdCBjb2RlOiBleGl0IHN0YXR1cyAz";
    for (protocol, empty, oops, error) in [
        ("", "\u{1}", "\u{2}oops\n", format!("\u{3}{failed}")),
        ("channel.k8s.io", "\u{1}", "\u{2}oops\n", format!("\u{3}{failed}")),
        ("base64.channel.k8s.io", "t1", "t2b29wcwo=", format!("t3{encoded}")),
    ] {
        for path in ["exec?command=fail&stdout=1&stderr=1", "exec?command=fail&stdout=true&stderr=true&container=c"] {
            let (chosen, messages) = over_websocket(&cluster, path, protocol).await;
            assert_eq!((chosen.as_str(), messages), (protocol, vec![empty.to_owned(), oops.to_owned(), error.clone()]));
        }
        let (_, messages) = over_websocket(&cluster, "exec?command=missing&stdout=1", protocol).await;
        assert_eq!(messages.len(), 1, "why nothing was started: {messages:?}");
    }
    let (chosen, messages) = over_websocket(&cluster, "exec?command=fail&stdout=1", "v4.base64.channel.k8s.io").await;
    assert_eq!((chosen.as_str(), messages[0].as_str()), ("v4.base64.channel.k8s.io", "t1"));
    assert!(messages.last().unwrap().starts_with("t3ey"), "a Status in base64: {messages:?}");

    for (protocol, expected) in [
        ("", ["", "one\n", "two of c\n"]),
        ("binary.k8s.io", ["", "one\n", "two of c\n"]),
        ("base64.binary.k8s.io", ["t", "tb25lCg==", "tdHdvIG9mIGMK"]),
    ] {
        let (chosen, messages) = over_websocket(&cluster, "log", protocol).await;
        assert_eq!((chosen.as_str(), messages), (protocol, expected.map(str::to_owned).to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_debug_adds_a_debugger() {
    let cluster = Cluster::start().await;
    for kubectl in kubectls() {
        let (code, out, err) = cluster.run(&kubectl, &["debug", "web", "--image=i", "--attach=false"], "").await;
        assert_eq!(code, 0, "{kubectl:?}: {out} {err}");
        let named = ["get", "pod", "web", "-o", "jsonpath={.spec.ephemeralContainers[-1:].image}"];
        let (code, out, err) = cluster.run(&kubectl, &named, "").await;
        assert_eq!((code, out.as_str()), (0, "i"), "{kubectl:?}: {err}");
    }
}
