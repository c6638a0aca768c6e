//! Group versions that another server answers for, through the apiserver. The other one is made up; all between is real.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/aggregated.rs"]
mod aggregated;
#[path = "support/server.rs"]
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aggregated::{Aggregated, GROUP};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use corten_apiserver::storage::{Storage, Write};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use server::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DEADLINE: Duration = Duration::from_secs(60);
const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const NAME: &str = "v1.wardle.example.com";
const ROOT: &str = "/apis/wardle.example.com/v1";
const JSON: &str = "application/json";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

struct Cluster {
    server: TestServer,
    other: Option<Aggregated>,
    other_port: u16,
    /// Takes connections and says nothing.
    _silent: std::net::TcpListener,
    ca_bundle: String,
}

/// A Service `other` that leads to the first address, and `silent` to the second; behind `none` there is nothing, and `named` stands for
/// a name. They are on loopback, where nothing may be in a cluster: so the store has them before the server that would refuse them.
async fn store_with(other: SocketAddr, silent: SocketAddr) -> Memory {
    let meta = |name: &str| json!({"name": name, "namespace": "default", "uid": name});
    let service = |name: &str| {
        let spec = json!({"type": "ClusterIP", "ports": [{"name": "https", "port": 443}]});
        (format!("services/specs/default/{name}"), json!({"metadata": meta(name), "spec": spec}))
    };
    let slice = |of: &str, address: SocketAddr| {
        let name = format!("{of}-1");
        let mut meta = meta(&name);
        meta["labels"] = json!({"kubernetes.io/service-name": of});
        let endpoint = json!({"addresses": [address.ip().to_string()], "conditions": {"ready": true}});
        let ports = json!([{"name": "https", "port": address.port()}]);
        let slice = json!({"metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": [endpoint]});
        (format!("endpointslices/default/{name}"), slice)
    };
    let named = json!({"metadata": meta("named"), "spec": {"type": "ExternalName", "externalName": "localhost"}});
    let objects = [
        service("other"),
        service("silent"),
        service("none"),
        ("services/specs/default/named".to_owned(), named),
        slice("other", other),
        slice("silent", silent),
    ];
    let store = Memory::default();
    for (key, object) in objects {
        let value = object.to_string().into();
        store.commit(vec![Write::Create { key: format!("/registry/{key}"), value, ttl_secs: None }]).await.unwrap();
    }
    store
}

impl Cluster {
    /// The other server shows its certificate, and takes the front proxy's: both of them are made with the cluster.
    async fn start() -> Self {
        // The port is taken before there are certificates.
        let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = place.local_addr().unwrap();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let store = store_with(address, silent.local_addr().unwrap()).await;
        let server = TestServer::start_over(Arc::new(store), |server| {
            Arc::get_mut(&mut server.front).unwrap().proxy.allows = |_| true;
        })
        .await;
        drop(place);
        let other = Aggregated::serve(address, &server.path("server"), &server.path("front-proxy-ca.crt")).await;
        let ca_bundle = STANDARD.encode(std::fs::read(server.path("ca.crt")).unwrap());
        Self { server, other: Some(other), other_port: address.port(), _silent: silent, ca_bundle }
    }
    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.send(method, path, JSON, body.into()).await
    }
    /// An APIService for this group version.
    async fn register(&self, group: &str, version: &str, service: &str) {
        self.register_as(group, version, json!({"service": {"name": service, "namespace": "default"}})).await;
    }
    /// One whose spec has these fields otherwise.
    async fn register_as(&self, group: &str, version: &str, fields: Value) {
        let mut spec = json!({"group": group, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 10,
            "caBundle": self.ca_bundle});
        fields.as_object().unwrap().iter().for_each(|(name, value)| spec[name] = value.clone());
        let object = json!({"metadata": {"name": format!("{version}.{group}")}, "spec": spec});
        let (code, answer) = self.send("POST", SERVICES, object).await;
        assert_eq!(code, 201, "{answer}");
    }
    /// Asks until the answer is as it should be.
    async fn until(
        &self,
        what: &str,
        path: &str,
        headers: &[(&str, &str)],
        good: impl Fn(u16, &Value) -> bool,
    ) -> Value {
        let mut last = (0, Value::Null);
        let mut turns = tokio::time::interval(Duration::from_millis(50));
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                turns.tick().await;
                let (code, _, value) = self.server.send_with(Some("admin"), "GET", path, headers, Bytes::new()).await;
                last = (code, value);
                if good(last.0, &last.1) {
                    return;
                }
            }
        })
        .await;
        assert!(waited.is_ok(), "{what}: {last:?}");
        last.1
    }
    /// Until an APIService says this.
    async fn says(&self, name: &str, status: &str, reason: &str) -> Value {
        let good = |_: u16, object: &Value| {
            let condition = &object["status"]["conditions"][0];
            (condition["status"].as_str(), condition["reason"].as_str()) == (Some(status), Some(reason))
        };
        self.until(reason, &format!("{SERVICES}/{name}"), &[], good).await
    }
    async fn with_other() -> Self {
        let cluster = Self::start().await;
        cluster.register(GROUP, "v1", "other").await;
        cluster.says(NAME, "True", "Passed").await;
        cluster.until("it is known", ROOT, &[], |code, _| code == 200).await;
        cluster
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_passed_on_as_its_user_and_what_he_claims_of_himself_is_not() {
    let c = Cluster::with_other().await;
    let headers = [
        ("content-type", JSON),
        ("x-remote-user", "eve"),
        ("x-remote-group", "system:masters"),
        ("x-corp-group", "system:masters"),
        ("x-remote-extra-a", "b"),
        ("authorization", "Bearer x"),
        ("x-mine", "1"),
    ];
    for (method, below, body) in [
        ("GET", "/namespaces/n/flunders/a?x=%20y", ""),
        ("POST", "/namespaces/n/flunders", "{\"a\": 1}"),
        ("PUT", "/namespaces/n/flunders/a/sub/deeper", "hello"),
        ("DELETE", "/namespaces/n/flunders/a%20b", ""),
    ] {
        let path = format!("{ROOT}{below}");
        let (code, answered, seen) = c.server.send_with(Some("admin"), method, &path, &headers, body.into()).await;
        assert_eq!(code, 200, "{seen}");
        let what = (seen["method"].as_str(), seen["uri"].as_str(), seen["body"].as_str());
        assert_eq!(what, (Some(method), Some(path.as_str()), Some(body)));
        let told = &seen["headers"];
        assert_eq!(told["x-remote-user"], "kubernetes-admin");
        assert_eq!(told["x-remote-group"], "system:masters; system:authenticated");
        assert!(told["x-remote-extra-authentication.kubernetes.io%2fcredential-id"].is_string(), "{told}");
        for gone in ["x-remote-extra-a", "x-corp-group", "authorization"] {
            assert_eq!(told[gone], Value::Null, "{gone}");
        }
        assert_eq!((&told["x-mine"], &told["host"]), (&json!("1"), &json!("other.default.svc")));
        assert_eq!(told["audit-id"], answered["audit-id"].to_str().unwrap());
    }
    // What roles are asked about is what goes on: nobody reads a name where another reads a path.
    let (_, seen) = c.send("GET", &format!("{ROOT}/namespaces/n/flunders/a%2Fstatus%2f%41"), Value::Null).await;
    assert_eq!(seen["uri"], format!("{ROOT}/namespaces/n/flunders/a/status/A"));
    let (code, answer) = c.send("GET", &format!("{ROOT}/flunders/teapot"), Value::Null).await;
    assert_eq!((code, answer), (418, json!("short and stout")));
    let (code, answer) = c.send("GET", &format!("{ROOT}/flunders/redirect"), Value::Null).await;
    assert_eq!((code, answer.as_str().unwrap().contains("not permitted")), (502, true));
    // He may see what there is, and not what it is.
    let (code, _) = c.server.send_as(Some("jane"), "GET", ROOT, JSON, Bytes::new()).await;
    assert_eq!(code, 200);
    let (code, why) = c.server.send_as(Some("jane"), "GET", &format!("{ROOT}/flunders"), JSON, Bytes::new()).await;
    let expected = r#"flunders.wardle.example.com is forbidden: User "jane" cannot list resource "flunders" in API group "wardle.example.com" at the cluster scope"#;
    assert_eq!((code, why["message"].as_str()), (403, Some(expected)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_one_name_lists_it_by_its_field_selector() {
    let c = Cluster::with_other().await;
    let rules = json!([{"apiGroups": [GROUP], "resources": ["flunders"], "resourceNames": ["one"], "verbs": ["list"]}]);
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "one"}, "rules": rules});
    assert_eq!(c.send("POST", &format!("{roles}/clusterroles"), role).await.0, 201);
    let binding = json!({"metadata": {"name": "one"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "one"}});
    assert_eq!(c.send("POST", &format!("{roles}/clusterrolebindings"), binding).await.0, 201);
    let one = format!("{ROOT}/flunders?fieldSelector=metadata.name%3Done");
    let mut turns = tokio::time::interval(Duration::from_millis(50));
    let known = async {
        while c.server.send_as(Some("jane"), "GET", &one, JSON, Bytes::new()).await.0 != 200 {
            turns.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, known).await.expect("the role is known");
    for (query, expected) in
        [("?fieldSelector=metadata.name%3Done", 200), ("?fieldSelector=metadata.name%3Dtwo", 403), ("", 403)]
    {
        let path = format!("{ROOT}/flunders{query}");
        let (code, answer) = c.server.send_as(Some("jane"), "GET", &path, JSON, Bytes::new()).await;
        assert_eq!(code, expected, "{query}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_comes_line_by_line_and_an_upgrade_goes_both_ways() {
    let c = Cluster::with_other().await;
    let tls = c.server.connect(Some("admin")).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("{ROOT}/flunders?watch=1")).header("host", "x");
    let mut body = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap().into_body();
    for line in 0..3 {
        let frame = tokio::time::timeout(DEADLINE, body.frame()).await.expect("it comes before the next is said");
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), format!("{line}\n"));
        c.other.as_ref().unwrap().say();
    }
    let tls = c.server.connect(Some("admin")).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(format!("{ROOT}/namespaces/n/flunders/a/exec")).header("host", "x");
    let request = request.header("connection", "Upgrade").header("upgrade", "echo");
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    io.write_all(b", hello").await.unwrap();
    let mut heard = [0; 23];
    tokio::time::timeout(DEADLINE, io.read_exact(&mut heard)).await.expect("it echoes").unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), "kubernetes-admin, hello");
    // Who only says that it will be an upgrade is given up as all others.
    let tls = c.server.connect(Some("admin")).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(format!("{ROOT}/flunders/a/silent?timeout=1s")).header("host", "x");
    let request = request.header("connection", "Upgrade").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_says_why_and_is_not_asked() {
    let c = Cluster::start().await;
    for (group, service, reason) in
        [("a.example.com", "missing", "ServiceNotFound"), ("b.example.com", "none", "EndpointsNotFound")]
    {
        c.register(group, "v1", service).await;
        c.says(&format!("v1.{group}"), "False", reason).await;
        let path = format!("/apis/{group}/v1/things");
        let answer = c.until("it is known", &path, &[], |code, _| code == 503).await;
        assert_eq!(answer, "service unavailable\n");
    }
    let (_, metrics) = c.send("GET", "/metrics", Value::Null).await;
    let line = r#"aggregator_unavailable_apiservice{name="v1.a.example.com"} 1"#;
    assert!(metrics.as_str().is_some_and(|text| text.contains(line)), "{metrics}");
    // All else goes on.
    assert_eq!(c.send("GET", "/apis/apps/v1/deployments", Value::Null).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_holds_up_nobody_but_itself() {
    let c = Cluster::start().await;
    for version in ["v1", "v2", "v3"] {
        c.register("a.example.com", version, "silent").await;
    }
    c.register(GROUP, "v1", "other").await;
    c.register("b.example.com", "v1endless", "other").await;
    c.says(NAME, "True", "Passed").await;
    c.says("v1endless.b.example.com", "True", "Passed").await;
    let (code, list) = c.send("GET", "/apis", Value::Null).await;
    let groups: Vec<&str> = list["groups"].as_array().unwrap().iter().filter_map(|g| g["name"].as_str()).collect();
    assert!(code == 200 && groups.contains(&"a.example.com"), "{groups:?}");
    let said = c.says("v1.a.example.com", "False", "FailedDiscoveryCheck").await;
    let why = said["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(why.starts_with("failing or missing response from https://127.0.0.1:"), "{why}");
    let path = "/apis/a.example.com/v1/things";
    assert_eq!(c.send("GET", path, Value::Null).await, (503, json!("service unavailable\n")));
    // One that answers others, and not who asks what there is.
    let (code, why) = c.send("GET", &format!("{ROOT}?silent"), Value::Null).await;
    assert_eq!((code, why), (503, json!("error trying to reach service: context deadline exceeded\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apiservice_that_is_made_again_is_looked_at_at_once() {
    let c = Cluster::with_other().await;
    let began = std::time::Instant::now();
    assert_eq!(c.send("DELETE", &format!("{SERVICES}/{NAME}"), Value::Null).await.0, 200);
    c.register(GROUP, "v1", "other").await;
    c.says(NAME, "True", "Passed").await;
    assert!(began.elapsed() < Duration::from_secs(20), "before the next look is due: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_must_show_a_certificate_of_its_bundle_unless_anybody_will_do() {
    let c = Cluster::start().await;
    let service = json!({"name": "other", "namespace": "default"});
    let strange = STANDARD.encode(std::fs::read(c.server.path("front-proxy-ca.crt")).unwrap());
    c.register_as("a.example.com", "v1", json!({"service": service, "caBundle": strange})).await;
    // Whether somebody is there is asked of anybody.
    c.says("v1.a.example.com", "True", "Passed").await;
    let path = "/apis/a.example.com/v1/things";
    let why = c.until("it is refused", path, &[], |code, why| code == 503 && why != "service unavailable\n").await;
    let why = why.as_str().unwrap();
    assert!(why.starts_with("error trying to reach service: tls: failed to verify certificate"), "{why}");
    // A name outside of the cluster, at a port of its own.
    let named = json!({"name": "named", "namespace": "default", "port": c.other_port});
    c.register_as("b.example.com", "v1", json!({"service": named, "caBundle": null, "insecureSkipTLSVerify": true}))
        .await;
    c.says("v1.b.example.com", "True", "Passed").await;
    let path = "/apis/b.example.com/v1/things";
    c.until("it is passed on", path, &[], |code, seen| code == 200 && seen["uri"] == path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_versions_stand_as_their_priorities_say() {
    let c = Cluster::start().await;
    let service = json!({"name": "none", "namespace": "default"});
    for (group, version, group_priority, version_priority) in [
        ("last.example.com", "v1", 1, 1),
        ("first.example.com", "v1", 17_900, 1),
        ("first.example.com", "v2", 17_900, 20),
        ("first.example.com", "v1beta1", 17_900, 20),
    ] {
        let fields =
            json!({"service": service, "groupPriorityMinimum": group_priority, "versionPriority": version_priority});
        c.register_as(group, version, fields).await;
    }
    let names = |list: &Value, of: &str, name: &str| -> Vec<String> {
        list[of].as_array().unwrap().iter().map(|one| one[name].as_str().unwrap().to_owned()).collect()
    };
    let good = |_: u16, group: &Value| group["versions"].as_array().is_some_and(|all| all.len() == 3);
    let group = c.until("they are known", "/apis/first.example.com", &[], good).await;
    assert_eq!(names(&group, "versions", "version"), ["v2", "v1beta1", "v1"]);
    let (_, list) = c.send("GET", "/apis", Value::Null).await;
    let groups = names(&list, "groups", "name");
    assert_eq!(groups[..3], ["apiregistration.k8s.io", "first.example.com", "apps"]);
    assert_eq!(groups.last().map(String::as_str), Some("last.example.com"));
    // So with what is served here.
    let at = format!("{SERVICES}/v1.autoscaling");
    let (_, mut local) = c.send("GET", &at, Value::Null).await;
    (local["spec"]["groupPriorityMinimum"], local["spec"]["versionPriority"]) = (json!(17_950), json!(999));
    assert_eq!(c.send("PUT", &at, local).await.0, 200);
    let good = |_: u16, list: &Value| list["groups"][1]["name"] == "autoscaling";
    let list = c.until("it is told", "/apis", &[], good).await;
    assert_eq!(list["groups"][1]["preferredVersion"]["version"], "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_tell_of_it_and_discovery_that_it_is_stale_once_the_server_is_gone() {
    let mut c = Cluster::with_other().await;
    let version = |list: &Value| {
        let groups = list["items"].as_array().unwrap();
        let group = groups.iter().find(|group| group["metadata"]["name"] == GROUP);
        group.map(|group| group["versions"][0].clone()).unwrap_or_default()
    };
    let headers = [("accept", AGGREGATED)];
    let list = c.until("it is described", "/apis", &headers, |_, list| version(list)["freshness"] == "Current").await;
    assert_eq!(version(&list)["resources"][0]["resource"], "flunders");
    let (_, groups) = c.send("GET", "/apis", Value::Null).await;
    let groups: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().filter_map(|group| group["name"].as_str()).collect();
    assert_eq!(groups.first(), Some(&"apiregistration.k8s.io"));
    assert!(groups.contains(&GROUP) && groups.contains(&"apps"), "{groups:?}");
    let (_, group) = c.send("GET", &format!("/apis/{GROUP}"), Value::Null).await;
    assert_eq!(group["preferredVersion"]["groupVersion"], format!("{GROUP}/v1"));
    let described = |index: &Value| index["paths"][ROOT.trim_start_matches('/')]["serverRelativeURL"].clone();
    let index = c.until("it is described", "/openapi/v3", &[], |_, index| described(index).is_string()).await;
    let (code, document) = c.send("GET", described(&index).as_str().unwrap(), Value::Null).await;
    assert_eq!((code, document["info"]["title"].as_str()), (200, Some("wardle")));
    let path = format!("{ROOT}/flunders");
    let whole = c.until("it is merged", "/openapi/v2", &[], |_, whole| whole["paths"][&path].is_object()).await;
    assert!(whole["definitions"]["com.example.wardle.v1.Flunder"].is_object());
    assert!(whole["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
    assert!(whole["definitions"]["com.example.Unused"].is_null() && whole["info"]["title"] == "Kubernetes");
    drop(c.other.take());
    // Somebody looks at once.
    c.register(GROUP, "v1beta1", "other").await;
    c.says(NAME, "False", "FailedDiscoveryCheck").await;
    let list = c.until("it is stale", "/apis", &headers, |_, list| version(list)["freshness"] == "Stale").await;
    assert_eq!(version(&list)["resources"][0]["resource"], "flunders", "what it has said is told on");
    c.until("it is not asked", &format!("{ROOT}/flunders"), &[], |code, _| code == 503).await;
    for name in [NAME, "v1beta1.wardle.example.com"] {
        assert_eq!(c.send("DELETE", &format!("{SERVICES}/{name}"), Value::Null).await.0, 200);
    }
    c.until("it is gone", "/apis", &headers, |_, list| version(list).is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_use_is_answered_by_whom_a_user_registers_for_it() {
    let c = Cluster::start().await;
    let path = "/apis/metrics.k8s.io/v1beta1/nodes";
    let (code, own) = c.send("GET", path, Value::Null).await;
    assert_eq!((code, own["kind"].as_str()), (200, Some("NodeMetricsList")));
    c.register("metrics.k8s.io", "v1beta1", "other").await;
    c.until("the other one answers", path, &[], |code, seen| code == 200 && seen["uri"] == path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_front_proxy_names_is_believed_and_nobody_else() {
    let server = TestServer::start(Memory::default()).await;
    let who = async |certificate: &str, headers: &[(&str, &str)]| {
        let headers = [&[("content-type", JSON)][..], headers].concat();
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let (code, _, review) = server.send_with(Some(certificate), "POST", path, &headers, "{}".into()).await;
        let user = &review["status"]["userInfo"];
        (code, user["username"].as_str().map(str::to_owned), user["groups"].clone())
    };
    let jane = [("x-remote-user", "jane"), ("x-remote-group", "dev"), ("x-remote-uid", "7")];
    let named = (201, Some("jane".to_owned()), json!(["dev", "system:authenticated"]));
    assert_eq!(who("front-proxy-client", &jane).await, named);
    assert_eq!(who("front-proxy-client", &[]).await.0, 401, "it is nobody itself");
    assert_eq!(who("another-proxy", &jane).await.0, 401, "its name is not allowed");
    assert_eq!(who("admin", &jane).await.1.as_deref(), Some("kubernetes-admin"), "its certificate is another's");
    let at = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let (_, map) = server.send("GET", at, JSON, Bytes::new()).await;
    let ca = std::fs::read_to_string(server.path("front-proxy-ca.crt")).unwrap().replace("\r\n", "\n");
    assert_eq!(map["data"]["requestheader-client-ca-file"].as_str(), Some(ca.as_str()));
    assert_eq!(map["data"]["requestheader-allowed-names"], r#"["front-proxy-client"]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_here_has_apiservices_that_say_so() {
    let c = Cluster::start().await;
    let local = |object: &Value, managed: &str| {
        let label = &object["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"];
        label == managed
            && object["status"]["conditions"][0]["reason"] == "Local"
            && object["spec"]["service"].is_null()
    };
    for name in ["v1.", "v1.apps", "v2.autoscaling", "v1.authentication.k8s.io"] {
        let (code, object) = c.send("GET", &format!("{SERVICES}/{name}"), Value::Null).await;
        assert!(code == 200 && local(&object, "onstart"), "{name}: {object}");
    }
    let versions = json!([{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object"}}}]);
    let crd = json!({"metadata": {"name": "tabs.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "tabs", "kind": "Tab"}, "versions": versions}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(c.send("POST", definitions, crd).await.0, 201);
    let at = format!("{SERVICES}/v1.example.com");
    let made = c.until("it is made", &at, &[], |code, _| code == 200).await;
    assert!(local(&made, "true"), "{made}");
    assert_eq!((&made["spec"]["groupPriorityMinimum"], &made["spec"]["versionPriority"]), (&json!(1000), &json!(100)));
    c.send("DELETE", &at, Value::Null).await;
    c.until("it is made again", &at, &[], |code, _| code == 200).await;
    assert_eq!(c.send("DELETE", &format!("{definitions}/tabs.example.com"), Value::Null).await.0, 200);
    c.until("it goes with its definition", &at, &[], |code, _| code == 404).await;
}
