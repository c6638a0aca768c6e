//! What nodes and pods use, as `kubectl top` reads it. The kubelet is made up; all between is real.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/node.rs"]
mod node;
#[path = "support/server.rs"]
mod server;

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use serde_json::{Value, json};
use server::TestServer;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

const JSON: &str = "application/json";
const DEADLINE: Duration = Duration::from_secs(60);
const GROUP: &str = "/apis/metrics.k8s.io/v1beta1";

/// A node with a kubelet that runs `web`, and another whose kubelet never answers, with `elsewhere`.
async fn start() -> TestServer {
    let server = TestServer::start(Memory::default()).await;
    let node = node::serve(&server.path("server.crt"), &server.path("server.key")).await;
    for (name, port, pod) in [("n1", node.port(), "web"), ("n2", 1, "elsewhere")] {
        let labels = json!({"kubernetes.io/hostname": name});
        post(&server, "/api/v1/nodes", json!({"metadata": {"name": name, "labels": labels}})).await;
        let status = json!({"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "capacity": {"cpu": "2", "memory": "1Gi"}, "allocatable": {"cpu": "2", "memory": "1Gi"}});
        let body = json!({ "status": status }).to_string();
        let path = format!("/api/v1/nodes/{name}/status");
        let (code, answer) = server.send("PATCH", &path, "application/merge-patch+json", body.into()).await;
        assert_eq!(code, 200, "{answer}");
        let spec = json!({"nodeName": name, "containers": [{"name": "c", "image": "i"}]});
        let object = json!({"metadata": {"name": pod, "labels": {"app": pod}}, "spec": spec});
        post(&server, "/api/v1/namespaces/default/pods", object).await;
    }
    server
}

async fn post(server: &TestServer, path: &str, object: Value) {
    let (code, answer) = server.send("POST", path, JSON, object.to_string().into()).await;
    assert_eq!(code, 201, "{answer}");
}
async fn get(server: &TestServer, path: &str) -> (u16, Value) {
    server.send("GET", &format!("{GROUP}{path}"), JSON, Bytes::new()).await
}

/// The first request measures, and waits for that.
async fn until_measured(server: &TestServer) -> Value {
    let began = Instant::now();
    loop {
        let (code, list) = get(server, "/nodes").await;
        assert_eq!(code, 200, "{list}");
        if list["items"].as_array().is_some_and(|items| !items.is_empty()) {
            return list;
        }
        assert!(began.elapsed() < DEADLINE, "nothing is measured: {list}");
        sleep(Duration::from_millis(200)).await;
    }
}

async fn kubectl(server: &TestServer, arguments: &[&str]) -> String {
    let path = |name: &str| server.path(name).display().to_string();
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "t",
        "clusters": [{"name": "t", "cluster": {"server": format!("https://{}", server.address),
            "certificate-authority": path("ca.crt")}}],
        "users": [{"name": "t", "user": {"client-certificate": path("admin.crt"), "client-key": path("admin.key")}}],
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}]});
    std::fs::write(server.path("kubeconfig"), config.to_string()).unwrap();
    let mut command = Command::new("kubectl");
    command.env("HOME", server.dir.path()).arg("--kubeconfig").arg(server.path("kubeconfig")).args(arguments);
    let out = command.stdin(Stdio::null()).output().await.unwrap();
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_top_tells_what_a_kubelet_measures_with_nothing_installed() {
    let server = start().await;
    let nodes = until_measured(&server).await;
    assert_eq!((&nodes["kind"], &nodes["apiVersion"]), (&json!("NodeMetricsList"), &json!("metrics.k8s.io/v1beta1")));
    let names: Vec<&Value> = nodes["items"].as_array().unwrap().iter().map(|n| &n["metadata"]["name"]).collect();
    assert_eq!(names, ["n1"], "what is not measured is not made up");
    assert_eq!(nodes["items"][0]["usage"]["memory"], "512Mi");
    assert_eq!(nodes["items"][0]["metadata"]["labels"], json!({"kubernetes.io/hostname": "n1"}));
    let (code, pod) = get(&server, "/namespaces/default/pods/web").await;
    assert_eq!((code, &pod["containers"][0]["name"]), (200, &json!("c")), "{pod}");
    assert_eq!(pod["containers"][0]["usage"]["memory"], "64Mi");
    let top = kubectl(&server, &["top", "nodes"]).await;
    let row: Vec<&str> = top.lines().find(|line| line.starts_with("n1")).unwrap().split_whitespace().collect();
    assert_eq!(row, ["n1", "500m", "25%", "512Mi", "50%"], "{top}");
    let top = kubectl(&server, &["top", "pods", "--containers"]).await;
    assert_eq!(
        top.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(),
        ["web", "c", "250m", "64Mi"],
        "{top}"
    );
    assert!(!top.contains("elsewhere"), "a kubelet is believed about its own pods alone: {top}");
    let table = kubectl(&server, &["get", "podmetrics", "-A", "-l", "app=web"]).await;
    assert!(table.lines().next().unwrap().contains("CPU"), "{table}");
    let explained = kubectl(&server, &["explain", "nodemetrics"]).await;
    assert!(explained.contains("timestamp"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_metrics_is_answered_in_the_usual_ways() {
    let server = start().await;
    until_measured(&server).await;
    let count = async |path: &str| {
        let (code, list) = get(&server, path).await;
        assert_eq!(code, 200, "{list}");
        list["items"].as_array().unwrap().len()
    };
    for (path, expected) in [
        ("/pods", 1),
        ("/pods?labelSelector=app%3Dweb", 1),
        ("/pods?labelSelector=app%3Dother", 0),
        ("/pods?fieldSelector=metadata.name%3Dweb", 1),
        ("/namespaces/kube-system/pods", 0),
        ("/nodes?labelSelector=kubernetes.io/hostname%3Dn2", 0),
    ] {
        assert_eq!(count(path).await, expected, "{path}");
    }
    let (code, answer) = get(&server, "/nodes/n2").await;
    let words = "nodemetrics.metrics.k8s.io \"n2\" not found";
    assert_eq!((code, answer["message"].as_str()), (404, Some(words)));
    let (code, answer) = get(&server, "/namespaces/default/pods/gone").await;
    let words = "podmetrics.metrics.k8s.io \"default/gone\" not found";
    assert_eq!((code, answer["message"].as_str()), (404, Some(words)));
    for (method, path, expected) in [
        ("GET", "/nodes?watch=true", 405),
        ("DELETE", "/nodes/n1", 405),
        ("GET", "/things", 404),
        ("GET", "/nodes/n1/status", 404),
    ] {
        let (code, answer) = server.send(method, &format!("{GROUP}{path}"), JSON, Bytes::new()).await;
        assert_eq!(code, expected, "{method} {path}: {answer}");
    }
    let (code, _) = server.send_as(Some("jane"), "GET", &format!("{GROUP}/nodes"), JSON, Bytes::new()).await;
    assert_eq!(code, 403);
    let (_, group) = server.send("GET", GROUP, JSON, Bytes::new()).await;
    assert_eq!(group["resources"][0]["kind"], "NodeMetrics", "{group}");
    assert_eq!(group["resources"][1]["verbs"], json!(["get", "list"]));
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let (_, _, table) = server.send_with(Some("admin"), "GET", &format!("{GROUP}/nodes"), &accept, Bytes::new()).await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][2]), (&json!("Table"), &json!("512Mi")), "{table}");
}
