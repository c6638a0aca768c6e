//! Kinds of two versions that a webhook converts between, served by a real server that asks it over real TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/server.rs"]
mod server;
#[path = "support/webhook.rs"]
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use corten_apiserver::storage::{Outcome, Storage, Write};
use futures::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use server::TestServer;
use tokio::time::timeout;
use webhook::Webhook;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEADLINE: Duration = Duration::from_secs(20);
const WEBHOOK: &str = "conversion webhook for example.com/v1, Kind=Tab";

/// Where tabs are, in a version.
fn tabs(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/tabs")
}

fn version(name: &str, storage: bool, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["size"] = json!({"type": "integer"});
    let fields: Vec<Value> = if name == "v2" {
        vec![json!({"jsonPath": ".spec.host"})]
    } else {
        vec![json!({"jsonPath": ".spec.hostPort"})]
    };
    json!({"name": name, "served": true, "storage": storage, "selectableFields": fields,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.seen"}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": spec},
            "status": {"type": "object", "properties": {"seen": {"type": "integer"}}}}}}})
}

/// `stored`: in which version.
fn versions(stored: &str) -> Value {
    let text = json!({"type": "string"});
    json!([
        version("v1", stored == "v1", &json!({"hostPort": text, "tone": {"type": "string", "default": "dark"}})),
        version("v2", stored == "v2", &json!({"host": text, "port": text})),
    ])
}

fn tab(version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Tab", "metadata": {"name": name}, "spec": spec})
}

struct Cluster {
    storage: Arc<Memory>,
    server: TestServer,
    webhook: Webhook,
}

impl Cluster {
    /// Tabs are stored in their first version; the webhook does as `path` says.
    async fn start(path: &str) -> Self {
        let storage = Arc::new(Memory::default());
        let server = TestServer::start_over(storage.clone(), |_| {}).await;
        let webhook = Webhook::serve(&server.path("server"), &server.path("ca.crt")).await;
        let cluster = Self { storage, server, webhook };
        let definition = json!({"metadata": {"name": "tabs.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
            "versions": versions("v1"), "conversion": cluster.webhook.conversion(path)}});
        cluster.done("POST", DEFINITIONS, definition).await;
        cluster.is_served().await;
        cluster
    }
    /// Defines tabs otherwise.
    async fn redefine(&self, spec: Value) {
        self.done("PATCH", &format!("{DEFINITIONS}/tabs.example.com"), json!({ "spec": spec })).await;
        self.is_served().await;
    }
    /// Waits until tabs are served as they are defined.
    async fn is_served(&self) {
        let mut watch = self.watch(&format!("{DEFINITIONS}?watch=1")).await;
        loop {
            let event = watch.next().await.expect("the watch goes on");
            let (meta, status) = (&event["object"]["metadata"], &event["object"]["status"]);
            let established = status["conditions"].as_array().into_iter().flatten();
            let mut established = established.filter(|condition| condition["type"] == "Established");
            let is_established = established.next().is_some_and(|condition| condition["status"] == "True");
            if is_established && status["observedGeneration"] == meta["generation"] {
                return;
            }
        }
    }
    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            "APPLY" => "application/apply-patch+yaml",
            _ => "application/json",
        };
        let method = if method == "APPLY" { "PATCH" } else { method };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.send(method, path, kind, body.into()).await
    }
    async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (code, answer) = self.send(method, path, body).await;
        assert!(matches!(code, 200..=202), "{method} {path}: {code} {answer}");
        answer
    }
    async fn get(&self, version: &str, name: &str) -> Value {
        self.done("GET", &format!("{}/{name}", tabs(version)), Value::Null).await
    }
    /// The names of a list.
    async fn list(&self, path: &str) -> Vec<String> {
        names(&self.done("GET", path, Value::Null).await)
    }
    /// The code and the message of what is refused.
    async fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (code, answer) = self.send(method, path, body).await;
        assert!(code >= 400, "{method} {path}: {answer}");
        // The test's port says nothing.
        let message = answer["message"].as_str().unwrap_or_default();
        (code, message.replace(&format!("127.0.0.1:{}", self.webhook.port), "HOOK"))
    }
    async fn stored(&self, name: &str) -> Value {
        let key = format!("/registry/example.com/tabs/default/{name}");
        serde_json::from_slice(&self.storage.get(&key).await.unwrap().unwrap().value).unwrap()
    }
    /// Puts tabs into the store as they were written long ago.
    async fn put(&self, names: impl Iterator<Item = String>) {
        self.put_into("default", names).await;
    }
    async fn put_into(&self, namespace: &str, names: impl Iterator<Item = String>) {
        for name in names {
            self.put_with(namespace, &name, &json!([])).await;
        }
    }
    async fn put_with(&self, namespace: &str, name: &str, finalizers: &Value) {
        let mut object = tab("v1", name, json!({"hostPort": format!("{name}:80"), "tone": "dark"}));
        let metadata = json!({"name": name, "namespace": namespace, "uid": name, "finalizers": finalizers});
        object["metadata"] = metadata;
        let key = format!("/registry/example.com/tabs/{namespace}/{name}");
        let write = Write::Create { key, value: object.to_string().into(), ttl_secs: None };
        assert!(matches!(self.storage.commit(vec![write]).await.unwrap(), Outcome::Committed { .. }));
    }
    async fn watch(&self, path: &str) -> Watch {
        let tls = self.server.connect(Some("admin")).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "localhost").body(Full::new(Bytes::new())).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        Watch { body: response.into_body(), read: Vec::new(), _sender: sender }
    }
    /// Changes of tabs from now on.
    async fn changes(&self, version: &str, selector: &str) -> Watch {
        let list = self.done("GET", &format!("{}?limit=1", tabs("v1")), Value::Null).await;
        let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
        self.watch(&format!("{}?watch=1&resourceVersion={revision}{selector}", tabs(version))).await
    }
}

fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Who owns fields of an object, and in which version.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
    let text = |text: &Value| text.as_str().unwrap().to_owned();
    entries.map(|entry| format!("{} of {}", text(&entry["manager"]), text(&entry["apiVersion"]))).collect()
}

/// How many objects each question was about.
fn counts(asked: &[Value]) -> Vec<usize> {
    asked.iter().map(|request| request["objects"].as_array().unwrap().len()).collect()
}

struct Watch {
    body: Incoming,
    read: Vec<u8>,
    _sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Watch {
    /// `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = timeout(DEADLINE, self.body.frame()).await.expect("something comes")?.unwrap();
            self.read.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }
    /// The kind of an event, the version and the name of its object, and its host.
    async fn told(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let host = text("/object/spec/host") + &text("/object/spec/hostPort");
        format!("{} {} {} {host}", text("/type"), text("/object/apiVersion"), text("/object/metadata/name"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_in_one_version_is_stored_in_another_and_read_in_both() {
    let c = Cluster::start("convert").await;
    let made = c.done("POST", &tabs("v2"), tab("v2", "a", json!({"host": "h", "port": "80", "odd": 1}))).await;
    assert_eq!((&made["apiVersion"], &made["spec"]), (&json!("example.com/v2"), &json!({"host": "h", "port": "80"})));
    let stored = c.stored("a").await;
    assert_eq!(
        (&stored["apiVersion"], &stored["metadata"]["uid"]),
        (&json!("example.com/v1"), &made["metadata"]["uid"])
    );
    assert_eq!(stored["spec"], json!({"hostPort": "h:80", "tone": "dark"}), "with the defaults of its version");
    let [first, second] = [c.get("v1", "a").await, c.get("v2", "a").await];
    assert_eq!((&first["spec"]["hostPort"], &second["spec"]), (&json!("h:80"), &json!({"host": "h", "port": "80"})));
    assert_eq!(first["metadata"], second["metadata"]);
    assert_eq!(made, second, "its writer was told what is read");

    let at = format!("{}/a", tabs("v2"));
    let mut other = second.clone();
    other["spec"]["port"] = json!("81");
    let updated = c.done("PUT", &at, other.clone()).await;
    assert_eq!((&updated["metadata"]["generation"], &updated["spec"]["port"]), (&json!(2), &json!("81")));
    let (code, why) = c.refused("PUT", &at, other).await;
    assert!(code == 409 && why.contains("the object has been modified"), "{why}");
    c.done("PATCH", &at, json!({"spec": {"host": "i"}})).await;
    c.done("PATCH", &format!("{at}/status"), json!({"status": {"seen": 7}})).await;
    let scaled = c.done("PATCH", &format!("{at}/scale"), json!({"spec": {"replicas": 3}})).await;
    assert_eq!((&scaled["spec"]["replicas"], &scaled["status"]["replicas"]), (&json!(3), &json!(7)));
    let stored = c.stored("a").await;
    assert_eq!(stored["spec"], json!({"hostPort": "i:81", "tone": "dark", "size": 3}));
    assert_eq!(stored["status"], json!({"seen": 7}));
    // What changes nothing is written nowhere.
    let before = c.get("v2", "a").await;
    let same = c.done("PATCH", &at, json!({"spec": {"host": "i"}})).await;
    assert_eq!(same["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    let dry = c.done("PATCH", &format!("{at}?dryRun=All"), json!({"spec": {"host": "j"}})).await;
    assert_eq!((&dry["spec"]["host"], &c.stored("a").await["spec"]["hostPort"]), (&json!("j"), &json!("i:81")));
    c.done("DELETE", &at, Value::Null).await;
    assert_eq!(c.refused("GET", &at, Value::Null).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_fields_are_whose_is_known_in_all_versions() {
    let c = Cluster::start("convert").await;
    let [first, second] = ["v1", "v2"].map(|version| format!("{}/a", tabs(version)));
    let by = |at: &str, manager: &str| format!("{at}?fieldManager={manager}");
    c.done("APPLY", &by(&first, "one"), tab("v1", "a", json!({"hostPort": "h:80"}))).await;
    let (code, why) = c.refused("APPLY", &by(&second, "two"), tab("v2", "a", json!({"host": "i"}))).await;
    assert!(code == 409 && why.contains(r#"conflict with "one""#), "{code} {why}");
    // The same value may be everybody's.
    c.done("APPLY", &by(&second, "two"), tab("v2", "a", json!({"host": "h"}))).await;
    let force = format!("{}&force=true", by(&second, "two"));
    let taken = c.done("APPLY", &force, tab("v2", "a", json!({"host": "i", "port": "81"}))).await;
    assert_eq!(owners(&taken), ["two of example.com/v2"], "nothing is left to the first");
    assert_eq!(c.get("v1", "a").await["spec"]["hostPort"], "i:81");
    // What nobody can convert is not forgotten: who applies is refused, and who writes otherwise leaves it as it was.
    c.done("APPLY", &by(&first, "three"), tab("v1", "a", json!({"tone": "light"}))).await;
    c.redefine(json!({"conversion": c.webhook.conversion("refuse")})).await;
    let (code, why) = c.refused("APPLY", &by(&first, "three"), tab("v1", "a", json!({"tone": "dim"}))).await;
    assert_eq!((code, why), (500, format!("{WEBHOOK} failed: not today")));
    let changed = json!({"metadata": {"finalizers": ["a.b/c"]}, "spec": {"hostPort": "j:82", "tone": "dim"}});
    let patched = c.done("PATCH", &by(&first, "four"), changed).await;
    assert_eq!(owners(&patched), ["two of example.com/v2", "four of example.com/v1"]);
    assert_eq!(patched["metadata"]["managedFields"][0], taken["metadata"]["managedFields"][0]);
    let mut put = patched;
    put["spec"]["hostPort"] = json!("k:83");
    put["metadata"]["managedFields"].as_array_mut().unwrap().pop();
    let put = c.done("PUT", &by(&first, "five"), put).await;
    assert_eq!(owners(&put), ["two of example.com/v2", "five of example.com/v1"], "four has been written away");
    // Whoever held it lets it go.
    c.done("DELETE", &first, Value::Null).await;
    c.done("PATCH", &by(&first, "six"), json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(c.refused("GET", &first, Value::Null).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_converted_in_batches_and_what_was_converted_is_kept() {
    let c = Cluster::start("convert").await;
    c.put((0..300).map(|n| format!("t{n:03}"))).await;
    let list = c.done("GET", &tabs("v2"), Value::Null).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[7]["spec"]["host"]), (300, &json!("t007")));
    assert!(items.iter().all(|item| item["apiVersion"] == "example.com/v2"));
    let mut asked = counts(&c.webhook.asked("convert"));
    asked.sort_unstable();
    assert_eq!(asked, [44, 256]);
    assert_eq!(c.list(&tabs("v2")).await.len(), 300);
    assert_eq!(c.list(&format!("{}?limit=10", tabs("v2"))).await.len(), 10);
    c.get("v2", "t123").await;
    assert_eq!(c.list(&tabs("v1")).await.len(), 300);
    assert_eq!(counts(&c.webhook.asked("convert")), [0; 0], "nobody is asked twice");
    c.done("PATCH", &format!("{}/t123", tabs("v1")), json!({"spec": {"hostPort": "other:1"}})).await;
    let list = c.done("GET", &tabs("v2"), Value::Null).await;
    assert_eq!(list["items"][123]["spec"]["host"], "other");
    assert_eq!(counts(&c.webhook.asked("convert")), [1], "about what has changed alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_selected_by_as_they_are_shown() {
    let c = Cluster::start("label").await;
    c.put((0..30).map(|n| format!("t{n:02}"))).await;
    let selected = |version: &str, query: &str| format!("{}?{query}", tabs(version));
    assert_eq!(c.list(&selected("v2", "labelSelector=shown%3Dv2")).await.len(), 30);
    assert_eq!(c.list(&selected("v1", "labelSelector=shown")).await.len(), 0);
    assert_eq!(c.list(&selected("v2", "fieldSelector=spec.host%3Dt07")).await, ["t07"]);
    assert_eq!(c.list(&selected("v1", "fieldSelector=spec.hostPort%3Dt07:80")).await, ["t07"]);
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let query = format!("labelSelector=shown%3Dv2&limit=12&continue={token}");
        let page = c.done("GET", &selected("v2", &query), Value::Null).await;
        pages.push(names(&page).len());
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [12, 12, 6]);
    let mut watch = c.changes("v2", "&fieldSelector=spec.host%3Dh").await;
    let at = format!("{}/t07", tabs("v1"));
    for host in ["h:1", "h:2", "i:3"] {
        c.done("PATCH", &at, json!({"spec": {"hostPort": host}})).await;
    }
    for expected in ["ADDED", "MODIFIED", "DELETED"] {
        assert_eq!(watch.told().await, format!("{expected} example.com/v2 t07 h"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_watchers_cost_one_question() {
    let c = Cluster::start("convert").await;
    let mut watchers = Vec::new();
    for _ in 0..10 {
        watchers.push(c.changes("v2", "").await);
    }
    let mut in_first = c.changes("v1", "").await;
    c.done("POST", &tabs("v1"), tab("v1", "a", json!({"hostPort": "h:80"}))).await;
    let told = join_all(watchers.iter_mut().map(Watch::told)).await;
    assert!(told.iter().all(|told| told == "ADDED example.com/v2 a h"), "{told:?}");
    assert_eq!(counts(&c.webhook.asked("convert")), [1]);
    c.done("DELETE", &format!("{}/a", tabs("v1")), Value::Null).await;
    let told = join_all(watchers.iter_mut().map(Watch::told)).await;
    assert!(told.iter().all(|told| told == "DELETED example.com/v2 a h"), "{told:?}");
    assert_eq!(counts(&c.webhook.asked("convert")), [0; 0], "what it was has been shown");
    assert_eq!(in_first.told().await, "ADDED example.com/v1 a h:80");
    assert_eq!(in_first.told().await, "DELETED example.com/v1 a h:80");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_begins_with_what_is_there() {
    let c = Cluster::start("convert").await;
    c.put((0..3).map(|n| format!("t{n}"))).await;
    let mut watch = c.watch(&format!("{}?watch=1", tabs("v2"))).await;
    for n in 0..3 {
        assert_eq!(watch.told().await, format!("ADDED example.com/v2 t{n} t{n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_stay_as_they_were_stored_until_they_are_written_again() {
    let c = Cluster::start("convert").await;
    c.put(["old".to_owned(), "older".to_owned()].into_iter()).await;
    c.redefine(json!({"versions": versions("v2")})).await;
    c.done("POST", &tabs("v1"), tab("v1", "new", json!({"hostPort": "n:80"}))).await;
    assert_eq!(c.stored("new").await["spec"], json!({"host": "n", "port": "80"}));
    c.webhook.asked("convert");
    for version in ["v1", "v2"] {
        assert_eq!(c.list(&tabs(version)).await, ["new", "old", "older"]);
        assert_eq!(counts(&c.webhook.asked("convert")), [if version == "v1" { 1 } else { 2 }], "{version}");
    }
    assert_eq!(c.stored("old").await["apiVersion"], "example.com/v1");
    // Who writes it as it is brings it to the version of today.
    let old = c.get("v1", "old").await;
    c.done("PUT", &format!("{}/old", tabs("v1")), old).await;
    let stored = c.stored("old").await;
    assert_eq!(
        (&stored["apiVersion"], &stored["spec"]),
        (&json!("example.com/v2"), &json!({"host": "old", "port": "80"}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lies_or_raves_is_told_of_in_upstreams_words() {
    let c = Cluster::start("convert").await;
    c.put(std::iter::once("a".to_owned())).await;
    let at = format!("{}/a", tabs("v2"));
    for (path, why) in [
        ("garbage", "failed: couldn't get version/kind; json parse error: "),
        ("error", "failed: the server is currently unable to handle the request"),
        ("huge", r#"failed: Post "https://HOOK/huge?timeout=30s": the response is larger than 8388608 bytes"#),
        ("uid", r#"failed: expected response.uid=""#),
        ("refuse", "failed: not today"),
        ("few", "returned 0 objects, expected 1"),
        ("nothing", "returned invalid converted object at index 0: "),
        (
            "retype",
            "returned invalid object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v9)",
        ),
        ("rename", "returned invalid object: must have the same name: a != another"),
    ] {
        c.redefine(json!({"conversion": c.webhook.conversion(path)})).await;
        for (method, at, body) in [
            ("GET", &at, Value::Null),
            ("GET", &tabs("v2"), Value::Null),
            ("PATCH", &at, json!({"spec": {"host": "b"}})),
        ] {
            let (code, told) = c.refused(method, at, body).await;
            assert!(code == 500 && told.starts_with(&format!("{WEBHOOK} {why}")), "{path}: {method}: {code} {told}");
        }
        let new = tab("v2", "b", json!({"host": "b"}));
        let (code, told) = c.refused("POST", &tabs("v2"), new).await;
        assert!(code == 500 && told.contains("conversion webhook for example.com/v2, Kind=Tab "), "{path}: {told}");
        let mut watch = c.watch(&format!("{}?watch=1", tabs("v2"))).await;
        let event = watch.next().await.expect("an event");
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(500)), "{path}: {event}");
        assert_eq!(watch.next().await, None, "{path}: the watch is over");
        assert_eq!(c.list(&tabs("v1")).await, ["a"], "{path}");
    }
    c.redefine(json!({"conversion": c.webhook.conversion("meddle")})).await;
    let [first, second] = [c.get("v1", "a").await, c.get("v2", "a").await];
    assert_eq!((&second["metadata"], &second["spec"]["host"]), (&first["metadata"], &json!("a")));
    let (_, text) = c.send("GET", "/metrics", Value::Null).await;
    let text = text.as_str().unwrap();
    for line in [
        r#"apiserver_conversion_webhook_request_total{result="failure",failure_type="conversion_webhook_partial_response_failure"}"#,
        r#"apiserver_conversion_webhook_duration_seconds_count{result="success",failure_type=""}"#,
        r#"apiserver_crd_conversion_webhook_duration_seconds_count{crd_name="tabs.example.com",from_version="v1",to_version="v2",succeeded="true"}"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_hangs_holds_up_only_who_wants_something_converted() {
    let c = Cluster::start("hang").await;
    c.put(std::iter::once("a".to_owned())).await;
    let mut watch = c.changes("v1", "").await;
    let mut held_watch = c.changes("v2", "").await;
    let (at, list) = (format!("{}/a", tabs("v2")), tabs("v2"));
    let others = async {
        c.webhook.is_asked("hang").await;
        assert_eq!(c.get("v1", "a").await["spec"]["hostPort"], "a:80");
        c.done("PATCH", &format!("{}/a", tabs("v1")), json!({"spec": {"hostPort": "a:81"}})).await;
        assert_eq!(watch.told().await, "MODIFIED example.com/v1 a a:81");
        c.done("POST", MAPS, json!({"metadata": {"name": "a"}})).await;
        assert_eq!(c.list(&tabs("v1")).await, ["a"]);
    };
    tokio::select! {
        told = c.send("GET", &at, Value::Null) => panic!("{told:?}"),
        told = c.send("GET", &list, Value::Null) => panic!("{told:?}"),
        told = c.send("PATCH", &at, json!({"spec": {"host": "b"}})) => panic!("{told:?}"),
        told = held_watch.told() => panic!("{told}"),
        () = others => {}
    }
    // What nobody can convert any more can go, and with it its kind.
    let mut definitions = c.watch(&format!("{DEFINITIONS}?watch=1")).await;
    c.done("DELETE", &format!("{DEFINITIONS}/tabs.example.com"), Value::Null).await;
    while definitions.next().await.expect("the watch goes on")["type"] != "DELETED" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_nobody_answers_leave_a_way_to_who_wants_one_object() {
    /// More than a webhook is asked at one time.
    const LISTS: usize = 20;
    /// That many of them have their turn.
    const HAVE_THEIR_TURN: usize = 12;
    let c = Cluster::start("stall").await;
    c.put(std::iter::once("a".to_owned())).await;
    for n in 0..LISTS {
        c.put_into(&format!("n{n}"), ["a", "b"].into_iter().map(str::to_owned)).await;
    }
    let lists = (0..LISTS).map(|n| format!("/apis/example.com/v2/namespaces/n{n}/tabs"));
    let lists = join_all(lists.map(|path| {
        let c = &c;
        async move { c.send("GET", &path, Value::Null).await }
    }));
    let others = async {
        c.webhook.is_asked_so_often("stall", HAVE_THEIR_TURN).await;
        assert_eq!(c.get("v2", "a").await["spec"]["host"], "a");
        c.done("PATCH", &format!("{}/a", tabs("v2")), json!({"spec": {"host": "b"}})).await;
        c.done("POST", &tabs("v2"), tab("v2", "b", json!({"host": "h", "port": "80"}))).await;
    };
    tokio::select! {
        told = lists => panic!("{told:?}"),
        done = timeout(DEADLINE, others) => done.expect("lists are not in its way"),
    }
    let lists_asked = counts(&c.webhook.asked("stall")).into_iter().filter(|count| *count > 1).count();
    assert_eq!(lists_asked, HAVE_THEIR_TURN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_goes_without_its_webhook_whatever_version_its_objects_are_stored_in() {
    let c = Cluster::start("refuse").await;
    c.put(std::iter::once("free".to_owned())).await;
    c.put_with("default", "held", &json!(["a.b/c"])).await;
    c.redefine(json!({"versions": versions("v2")})).await;
    let mut definitions = c.watch(&format!("{DEFINITIONS}?watch=1")).await;
    let mut in_first = c.changes("v1", "").await;
    c.done("DELETE", &format!("{DEFINITIONS}/tabs.example.com"), Value::Null).await;
    let mut told = [in_first.told().await, in_first.told().await];
    told.sort();
    assert_eq!(told, ["DELETED example.com/v1 free free:80", "MODIFIED example.com/v1 held held:80"]);
    let held = c.stored("held").await;
    assert_eq!((&held["apiVersion"], &held["spec"]["hostPort"]), (&json!("example.com/v1"), &json!("held:80")));
    // Who holds it still sees what it says.
    assert_eq!(c.get("v1", "held").await["spec"]["hostPort"], "held:80");
    c.done("PATCH", &format!("{}/held", tabs("v1")), json!({"metadata": {"finalizers": null}})).await;
    while definitions.next().await.expect("the watch goes on")["type"] != "DELETED" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn who_admits_is_told_in_the_version_of_his_rules() {
    let c = Cluster::start("convert").await;
    let mut hook = c.webhook.hook("m", "replicas", "example.com", "tabs");
    hook["rules"][0]["apiVersions"] = json!(["v1"]);
    hook["clientConfig"]["url"] = json!(format!("https://127.0.0.1:{}/tone", c.webhook.port));
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    c.done("POST", path, json!({"metadata": {"name": "m"}, "webhooks": [hook]})).await;
    c.done("GET", &format!("{path}/m"), Value::Null).await;
    let made = c.done("POST", &tabs("v2"), tab("v2", "a", json!({"host": "h", "port": "80"}))).await;
    assert_eq!((&made["spec"]["host"], &made["metadata"]["labels"]["toned"]), (&json!("h"), &json!("yes")));
    let asked = c.webhook.asked("tone");
    let [asked] = asked.as_slice() else { panic!("asked once: {asked:?}") };
    assert_eq!((&asked["kind"]["version"], &asked["requestKind"]["version"]), (&json!("v1"), &json!("v2")));
    assert_eq!(asked["object"]["spec"]["hostPort"], "h:80");
}

/// A policy about the other version: written in the stored one, a tab needs its webhook for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_shown_its_version_fails_as_it_says() {
    const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    let c = Cluster::start("convert").await;
    let rules =
        json!([{"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["tabs"]}]);
    let policy = |failures: &str| {
        json!({"metadata": {"name": "ports"}, "spec": {"failurePolicy": failures, "matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": "object.spec.port != '81'", "message": "another port"}]}})
    };
    c.done("POST", POLICIES, policy("Fail")).await;
    let binding = json!({"policyName": "ports", "validationActions": ["Deny"]});
    c.done("POST", BINDINGS, json!({"metadata": {"name": "all"}, "spec": binding})).await;
    let made = |name: &str, port: &str| tab("v1", name, json!({"hostPort": format!("h:{port}")}));
    let denied =
        "tabs.example.com \"a\" is forbidden: ValidatingAdmissionPolicy 'ports' with binding 'all' denied request: ";
    let (code, why) = c.refused("POST", &tabs("v1"), made("a", "81")).await;
    assert_eq!((code, why), (422, format!("{denied}another port")));
    c.done("POST", &tabs("v1"), made("b", "80")).await;

    c.redefine(json!({"conversion": c.webhook.conversion("refuse")})).await;
    let (code, why) = c.refused("POST", &tabs("v1"), made("a", "80")).await;
    let failed = format!("failed to configure binding: failed to convert object version: {WEBHOOK} failed: not today");
    assert_eq!((code, why), (422, format!("{denied}{failed}")));
    c.done("PATCH", &format!("{POLICIES}/ports"), json!({"spec": {"failurePolicy": "Ignore"}})).await;
    c.done("POST", &tabs("v1"), made("a", "81")).await;
}
