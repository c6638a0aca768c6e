//! Admission webhooks, asked by a real server over real TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/server.rs"]
mod server;
#[path = "support/webhook.rs"]
mod webhook;

use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_apiserver::pipeline::{Audit, Event};
use corten_apiserver::storage::memory::Memory;
use serde_json::{Value, json};
use server::TestServer;
use tokio::sync::watch;
use webhook::Webhook;

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

struct Cluster {
    server: TestServer,
    webhook: Webhook,
}

impl Cluster {
    async fn start() -> Self {
        let server = TestServer::start(Memory::default()).await;
        let webhook = Webhook::serve(&server.path("server"), &server.path("ca.crt")).await;
        Self { server, webhook }
    }
    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let kind = if method == "PATCH" { MERGE } else { JSON };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.send(method, path, kind, body.into()).await
    }
    async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (code, answer) = self.send(method, path, body).await;
        assert!(matches!(code, 200..=202), "{method} {path}: {code} {answer}");
        answer
    }
    /// The code and the message of what is refused.
    async fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (code, answer) = self.send(method, path, body).await;
        assert!(code >= 400, "{method} {path}: {answer}");
        // The test's port says nothing.
        let message = answer["message"].as_str().unwrap_or_default();
        (code, message.replace(&format!("127.0.0.1:{}", self.webhook.port), "HOOK"))
    }
    /// Asks these from now on. `kind`: `mutating` or `validating`.
    async fn configure(&self, kind: &str, name: &str, webhooks: &[Value]) {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations");
        self.done("POST", &path, json!({"metadata": {"name": name}, "webhooks": webhooks})).await;
        // What a read shows the server's cache has, and so does who is asked.
        self.done("GET", &format!("{path}/{name}"), Value::Null).await;
    }
    async fn forget(&self, kind: &str, name: &str) {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{name}");
        self.done("DELETE", &path, Value::Null).await;
        self.refused("GET", &path, Value::Null).await;
    }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_adds_is_filled_in_as_if_its_author_had_written_it() {
    let c = Cluster::start().await;
    c.configure("mutating", "m", &[c.webhook.hook("m", "sidecar", "", "pods")]).await;
    let made = c.done("POST", PODS, pod("a")).await;
    let side = &made["spec"]["containers"][1];
    assert_eq!((&side["name"], &side["terminationMessagePath"]), (&json!("side"), &json!("/dev/termination-log")));
    let mounts = side["volumeMounts"].as_array().expect("the account's token");
    assert_eq!(mounts[0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    let asked = c.webhook.asked("sidecar");
    let [asked] = asked.as_slice() else { panic!("asked once: {asked:?}") };
    assert_eq!(asked["object"]["spec"]["containers"].as_array().unwrap().len(), 1);
    let expected = json!({"kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
        "requestResource": {"group": "", "version": "v1", "resource": "pods"},
        "name": "a", "namespace": "default", "operation": "CREATE", "oldObject": null, "dryRun": false});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&asked[field], value, "{field}");
    }
    assert_eq!(asked["userInfo"]["username"], "kubernetes-admin");
    assert_eq!(asked["userInfo"]["groups"], json!(["system:masters", "system:authenticated"]));
    let options = &asked["options"];
    assert_eq!((&options["kind"], &options["apiVersion"]), (&json!("CreateOptions"), &json!("meta.k8s.io/v1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_servers_no_webhook_changes() {
    let c = Cluster::start().await;
    c.configure("mutating", "m", &[c.webhook.hook("m", "spoil", "", "pods")]).await;
    let made = c.done("POST", PODS, pod("a")).await;
    assert_ne!(made["metadata"]["uid"], "mine");
    assert_eq!((&made["status"]["phase"], &made["spec"]["unknown"]), (&json!("Pending"), &Value::Null));
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Update");
    // Whoever changes whose an object is finds that it is another.
    let (code, why) = c.refused("PATCH", &format!("{PODS}/a"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(code, 422, "{why}");
    assert!(why.contains("metadata.uid"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_judged_as_webhooks_have_left_them() {
    let c = Cluster::start().await;
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    c.done("PATCH", "/api/v1/namespaces/default", json!({"metadata": {"labels": labels}})).await;
    c.refused("POST", PODS, pod("a")).await;
    c.configure("mutating", "good", &[c.webhook.hook("m", "secure", "", "pods")]).await;
    c.done("POST", PODS, pod("a")).await;
    c.forget("mutating", "good").await;
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    c.done("PATCH", "/api/v1/namespaces/default", json!({"metadata": {"labels": labels}})).await;
    c.done("POST", PODS, pod("b")).await;
    c.configure("mutating", "bad", &[c.webhook.hook("m", "privileged", "", "pods")]).await;
    let (code, why) = c.refused("POST", PODS, pod("c")).await;
    assert_eq!(code, 403);
    assert!(why.contains("violates PodSecurity"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_webhooks_own_words_and_nothing_is_written() {
    let c = Cluster::start().await;
    c.done("POST", MAPS, map("there")).await;
    c.configure("validating", "v", &[c.webhook.hook("v", "deny", "", "configmaps")]).await;
    let why = r#"admission webhook "v.example.com" denied the request: not today"#.to_owned();
    let there = format!("{MAPS}/there");
    for (method, path) in [("POST", MAPS), ("PATCH", &there), ("PUT", &there), ("DELETE", &there), ("DELETE", MAPS)] {
        let body =
            if method == "POST" { map("new") } else { json!({"metadata": {"name": "there"}, "data": {"a": "b"}}) };
        let body = if method == "DELETE" { Value::Null } else { body };
        assert_eq!(c.refused(method, path, body).await, (403, why.clone()), "{method} {path}");
        let asked = c.webhook.asked("deny");
        assert_eq!(asked.len(), 1, "{method} {path}: asked once");
    }
    assert_eq!(c.done("GET", &there, Value::Null).await["data"], Value::Null);
    assert_eq!(c.refused("GET", &format!("{MAPS}/new"), Value::Null).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_webhooks_are_told_of_a_delete() {
    let c = Cluster::start().await;
    c.done("POST", MAPS, map("a")).await;
    c.configure("validating", "v", &[c.webhook.hook("v", "allow", "", "configmaps")]).await;
    c.done("DELETE", &format!("{MAPS}/a?gracePeriodSeconds=0"), Value::Null).await;
    let asked = c.webhook.asked("allow");
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((&asked["operation"], &asked["object"], &asked["name"]), (&json!("DELETE"), &Value::Null, &json!("a")));
    assert_eq!(asked["oldObject"]["metadata"]["name"], "a");
    let options = &asked["options"];
    assert_eq!((&options["kind"], &options["gracePeriodSeconds"]), (&json!("DeleteOptions"), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_asked_refuses_or_lets_through_as_its_configuration_says() {
    let c = Cluster::start().await;
    let failed = r#"Internal error occurred: failed calling webhook "v.example.com": "#;
    let call = |why: &str| format!("{failed}failed to call webhook: {why}");
    let post = |path: &str, why: &str| call(&format!(r#"Post "https://HOOK/{path}?timeout=1s": {why}"#));
    let invalid = |why: &str| format!("{failed}received invalid webhook response: {why}");
    let cases = [
        ("hang", post("hang", "context deadline exceeded")),
        ("huge", post("huge", "the response is larger than 3145728 bytes")),
        ("garbage", call("couldn't get version/kind; json parse error: ")),
        ("error", call("the server is currently unable to handle the request")),
        ("uid", invalid("expected response.uid=")),
    ];
    for kind in ["mutating", "validating"] {
        for (path, expected) in &cases {
            for policy in ["Fail", "Ignore"] {
                let mut hook = c.webhook.hook("v", path, "", "configmaps");
                (hook["failurePolicy"], hook["timeoutSeconds"]) = (json!(policy), json!(1));
                c.configure(kind, "v", &[hook]).await;
                let (begun, name) = (Instant::now(), format!("{kind}-{path}"));
                if policy == "Fail" {
                    let (code, why) = c.refused("POST", MAPS, map(&name)).await;
                    assert!(code == 500 && why.starts_with(expected), "{kind} {path}: {code} {why}");
                } else {
                    c.done("POST", MAPS, map(&name)).await;
                }
                assert!(begun.elapsed() < Duration::from_secs(20), "{kind} {path}");
                c.forget(kind, "v").await;
            }
        }
    }
    let (_, text) = c.send("GET", "/metrics", Value::Null).await;
    let text = text.as_str().unwrap();
    let name = r#"name="v.example.com""#;
    for line in [
        format!(r#"apiserver_admission_webhook_fail_open_count{{{name},type="admit"}} 5"#),
        format!(r#"apiserver_admission_webhook_fail_open_count{{{name},type="validating"}} 5"#),
        format!(
            r#"apiserver_admission_webhook_rejection_count{{{name},type="validating",operation="CREATE",error_type="calling_webhook_error",rejection_code="503"}} 5"#
        ),
        format!(
            r#"apiserver_admission_webhook_admission_duration_seconds_count{{{name},type="admit",operation="CREATE",rejected="true"}} 5"#
        ),
    ] {
        assert!(text.contains(&line), "{line} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_hangs_holds_up_nobody_elses_writes() {
    let c = Cluster::start().await;
    let mut hook = c.webhook.hook("v", "hang", "", "configmaps");
    hook["timeoutSeconds"] = json!(30);
    c.configure("validating", "v", &[hook]).await;
    let held = c.send("POST", MAPS, map("held"));
    let others = async {
        c.webhook.is_asked("hang").await;
        c.done("POST", PODS, pod("a")).await;
        c.done("POST", "/api/v1/namespaces/default/secrets", map("s")).await;
    };
    tokio::select! {
        (code, answer) = held => panic!("{code} {answer}"),
        () = others => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_it_sees_what_others_changed_after_it() {
    let c = Cluster::start().await;
    let mut first = c.webhook.hook("first", "count", "", "configmaps");
    first["reinvocationPolicy"] = json!("IfNeeded");
    c.configure("mutating", "a", &[first]).await;
    c.configure("mutating", "b", &[c.webhook.hook("second", "label", "", "configmaps")]).await;
    let made = c.done("POST", MAPS, map("a")).await;
    assert_eq!(made["metadata"]["labels"], json!({"labelled": "yes", "seen": "2"}));
    assert_eq!((c.webhook.asked("count").len(), c.webhook.asked("label").len()), (2, 1));
    // Nothing changes after the first any more: it alone is asked, once.
    c.forget("mutating", "b").await;
    c.done("POST", MAPS, map("b")).await;
    assert_eq!(c.webhook.asked("count").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_judges_sees_what_was_changed_and_warnings_are_told() {
    let c = Cluster::start().await;
    c.configure("mutating", "m", &[c.webhook.hook("m", "label", "", "configmaps")]).await;
    c.configure("validating", "v", &[c.webhook.hook("v", "warn", "", "configmaps")]).await;
    let (body, kind) = (map("a").to_string().into(), [("content-type", JSON)]);
    let (code, headers, answer) = c.server.send_with(Some("admin"), "POST", MAPS, &kind, body).await;
    assert_eq!(code, 201, "{answer}");
    let warnings: Vec<_> = headers.get_all("warning").iter().map(|w| w.to_str().unwrap()).collect();
    assert_eq!(warnings, [r#"299 - "think again""#]);
    assert_eq!(c.webhook.asked("warn")[0]["object"]["metadata"]["labels"], json!({"labelled": "yes"}));
    // Also of what changes nothing.
    c.webhook.asked("label");
    let again = c.done("PATCH", &format!("{MAPS}/a"), json!({})).await;
    assert_eq!(again["metadata"]["resourceVersion"], answer["metadata"]["resourceVersion"]);
    assert_eq!((c.webhook.asked("warn").len(), c.webhook.asked("label").len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_told_as_one_and_writes_nothing() {
    let c = Cluster::start().await;
    c.configure("mutating", "m", &[c.webhook.hook("m", "label", "", "configmaps")]).await;
    let made = c.done("POST", &format!("{MAPS}?dryRun=All"), map("a")).await;
    assert_eq!(made["metadata"]["labels"]["labelled"], "yes");
    let asked = c.webhook.asked("label");
    assert_eq!((&asked[0]["dryRun"], &asked[0]["options"]["dryRun"]), (&json!(true), &json!(["All"])));
    assert_eq!(c.refused("GET", &format!("{MAPS}/a"), Value::Null).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn subresources_are_asked_about_as_what_they_are() {
    let c = Cluster::start().await;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}}});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    c.done("POST", deployments, deployment).await;
    c.done("POST", "/api/v1/nodes", map("n1")).await;
    c.done("POST", PODS, pod("a")).await;
    // Of what the server itself writes now and then nothing is among it.
    let mut hook = c.webhook.hook("v", "allow", "", "*/*");
    hook["rules"][0]["apiGroups"] = json!(["", "apps"]);
    c.configure("validating", "v", &[hook]).await;
    let writes = [
        ("PATCH", format!("{PODS}/a/status"), json!({"status": {"phase": "Running"}})),
        (
            "POST",
            format!("{PODS}/a/binding"),
            json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}),
        ),
        ("PATCH", format!("{deployments}/d/scale"), json!({"spec": {"replicas": 2}})),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token".to_owned(), json!({"spec": {}})),
        (
            "POST",
            format!("{PODS}/a/eviction"),
            json!({"metadata": {"name": "a"}, "apiVersion": "policy/v1", "kind": "Eviction"}),
        ),
    ];
    let expected = [
        "UPDATE pods/status: /v1, Pod",
        "CREATE pods/binding: /v1, Binding",
        "UPDATE deployments/scale: autoscaling/v1, Scale",
        "CREATE serviceaccounts/token: authentication.k8s.io/v1, TokenRequest",
        "CREATE pods/eviction: policy/v1, Eviction",
    ];
    for ((method, path, body), expected) in writes.into_iter().zip(expected) {
        c.done(method, &path, body).await;
        let asked = c.webhook.asked("allow");
        let [asked] = asked.as_slice() else { panic!("{path}: asked once: {asked:?}") };
        let text = |at: &str| asked.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let told = format!(
            "{} {}/{}: {}/{}, {}",
            text("/operation"),
            text("/resource/resource"),
            text("/subResource"),
            text("/kind/group"),
            text("/kind/version"),
            text("/kind/kind")
        );
        assert_eq!(told, expected);
        assert_eq!(asked["object"]["kind"], asked["kind"]["kind"], "{path}");
        assert_eq!(asked["oldObject"].is_null(), expected.starts_with("CREATE"), "{path}");
    }
    c.forget("validating", "v").await;
    c.configure("mutating", "m", &[c.webhook.hook("m", "replicas", "apps", "deployments/scale")]).await;
    let scaled = c.done("PATCH", &format!("{deployments}/d/scale"), json!({"spec": {"replicas": 5}})).await;
    assert_eq!(scaled["spec"]["replicas"], 3);
    assert_eq!(c.done("GET", &format!("{deployments}/d"), Value::Null).await["spec"]["replicas"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_asked_about_before_anything_is_connected() {
    let c = Cluster::start().await;
    c.done("POST", PODS, pod("a")).await;
    c.configure("validating", "v", &[c.webhook.hook("v", "deny", "", "pods/*")]).await;
    for (path, options) in [
        (
            "exec?command=ls&command=-l&stdout=true",
            json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdout": true, "command": ["ls", "-l"]}),
        ),
        (
            "attach?stdin=true&container=c",
            json!({"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": true, "container": "c"}),
        ),
        ("portforward?ports=80", json!({"kind": "PodPortForwardOptions", "apiVersion": "v1", "ports": [80]})),
        ("proxy/x/y", json!({"kind": "PodProxyOptions", "apiVersion": "v1", "path": "/x/y"})),
    ] {
        let (code, why) = c.refused("GET", &format!("{PODS}/a/{path}"), Value::Null).await;
        assert_eq!(
            (code, why.as_str()),
            (403, r#"admission webhook "v.example.com" denied the request: not today"#),
            "{path}"
        );
        let asked = c.webhook.asked("deny");
        assert_eq!((&asked[0]["operation"], &asked[0]["object"]), (&json!("CONNECT"), &options));
        assert_eq!((&asked[0]["name"], &asked[0]["options"]), (&json!("a"), &Value::Null));
    }
    // A look at a log is no connection.
    assert_ne!(c.send("GET", &format!("{PODS}/a/log"), Value::Null).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_one_version_sees_the_object_in_it_whichever_was_written() {
    let c = Cluster::start().await;
    let mut hook = c.webhook.hook("m", "label", "autoscaling", "horizontalpodautoscalers");
    hook["rules"][0]["apiVersions"] = json!(["v1"]);
    c.configure("mutating", "m", &[hook]).await;
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}});
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
        "metrics": [metric]});
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let made = c.done("POST", path, json!({"metadata": {"name": "a"}, "spec": spec})).await;
    assert_eq!(made["apiVersion"], "autoscaling/v2");
    assert_eq!((&made["metadata"]["labels"]["labelled"], &made["spec"]["metrics"][0]), (&json!("yes"), &metric));
    let asked = &c.webhook.asked("label")[0];
    assert_eq!((&asked["kind"]["version"], &asked["requestKind"]["version"]), (&json!("v1"), &json!("v2")));
    assert_eq!(asked["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(asked["object"]["spec"]["targetCPUUtilizationPercentage"], 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_about_webhooks_themselves() {
    let c = Cluster::start().await;
    c.configure("validating", "v", &[c.webhook.hook("v", "deny", "*", "*/*")]).await;
    c.refused("POST", MAPS, map("a")).await;
    c.configure("mutating", "m", &[c.webhook.hook("m", "deny", "*", "*/*")]).await;
    c.forget("mutating", "m").await;
    c.forget("validating", "v").await;
    c.done("POST", MAPS, map("a")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_say_which_writes_a_webhook_is_asked_about() {
    let c = Cluster::start().await;
    let hook = |kind: &str, expression: &str, policy: &str| {
        let mut hook = c.webhook.hook(kind, "deny", "", "configmaps");
        hook["matchConditions"] = json!([{"name": "c", "expression": expression}]);
        hook["failurePolicy"] = json!(policy);
        hook
    };
    for (i, kind) in ["mutating", "validating"].into_iter().enumerate() {
        let name = |name: &str| map(&format!("{name}{i}"));
        c.configure(kind, "x", &[hook(kind, "object == null || object.metadata.name.startsWith('in')", "Fail")]).await;
        c.done("POST", MAPS, name("out")).await;
        assert_eq!(c.refused("POST", MAPS, name("in")).await.0, 403);
        assert_eq!(c.refused("DELETE", &format!("{MAPS}/out{i}"), Value::Null).await.0, 403);
        assert_eq!(c.webhook.asked("deny").len(), 2);
        c.forget(kind, "x").await;
        // Who asks may do all.
        c.configure(kind, "x", &[hook(kind, "!authorizer.requestResource.check('bypass').allowed()", "Fail")]).await;
        c.done("POST", MAPS, name("in")).await;
        c.forget(kind, "x").await;
        let spoiled = "object.data.none == 'x'";
        c.configure(kind, "x", &[hook(kind, spoiled, "Fail")]).await;
        let why =
            format!(r#"configmaps "bad{i}" is forbidden: expression '{spoiled}' resulted in error: no such key: data"#);
        assert_eq!(c.refused("POST", MAPS, name("bad")).await, (403, why));
        c.forget(kind, "x").await;
        c.configure(kind, "x", &[hook(kind, spoiled, "Ignore")]).await;
        c.done("POST", MAPS, name("bad")).await;
        c.forget(kind, "x").await;
        assert_eq!(c.webhook.asked("deny").len(), 0);
    }
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let bad = json!({"metadata": {"name": "bad"}, "webhooks": [hook("v", "object.", "Fail")]});
    assert_eq!(c.refused("POST", path, bad).await.0, 422);
    let (_, text) = c.send("GET", "/metrics", Value::Null).await;
    let labels = r#"{name="validating.example.com",kind="webhook",type="validating",operation="CREATE"}"#;
    for line in [
        format!("apiserver_admission_match_condition_exclusions_total{labels} 2"),
        format!("apiserver_admission_match_condition_evaluation_errors_total{labels} 2"),
    ] {
        assert!(text.as_str().unwrap().contains(&line), "{line} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_judges_a_service_sees_what_is_allocated_for_it() {
    let c = Cluster::start().await;
    c.configure("validating", "v", &[c.webhook.hook("v", "allow", "", "services")]).await;
    let services = "/api/v1/namespaces/default/services";
    let service = |kind: &str| json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports": [{"port": 80}]}});
    let made = c.done("POST", services, service("ClusterIP")).await;
    let told = c.webhook.asked("allow");
    let [asked] = told.as_slice() else { panic!("asked once: {told:?}") };
    assert!(made["spec"]["clusterIP"].is_string(), "{made}");
    assert_eq!(asked["object"]["spec"]["clusterIP"], made["spec"]["clusterIP"]);

    let changed = c.done("PATCH", &format!("{services}/s"), json!({"spec": {"type": "NodePort"}})).await;
    let told = c.webhook.asked("allow");
    let [asked] = told.as_slice() else { panic!("asked once: {told:?}") };
    let port = &changed["spec"]["ports"][0]["nodePort"];
    assert!(port.is_number(), "{changed}");
    assert_eq!(&asked["object"]["spec"]["ports"][0]["nodePort"], port);

    // What is refused keeps nothing.
    c.configure("validating", "w", &[c.webhook.hook("w", "deny", "", "services")]).await;
    let mut other = service("NodePort");
    other["metadata"]["name"] = json!("other");
    c.refused("POST", services, other.clone()).await;
    let refused = c.webhook.asked("deny").remove(0);
    c.forget("validating", "w").await;
    let address = &refused["object"]["spec"]["clusterIP"];
    other["spec"]["clusterIP"] = address.clone();
    assert_eq!(&c.done("POST", services, other).await["spec"]["clusterIP"], address);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_judges_a_token_request_sees_whose_token_it_is_to_be_and_for_whom() {
    let c = Cluster::start().await;
    c.configure("validating", "v", &[c.webhook.hook("v", "allow", "", "serviceaccounts/token")]).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    c.done("POST", &format!("{path}?dryRun=All&fieldManager=me"), json!({"spec": {}})).await;
    let told = c.webhook.asked("allow");
    let [asked] = told.as_slice() else { panic!("asked once: {told:?}") };
    let object = &asked["object"];
    assert_eq!((&object["metadata"]["name"], &object["metadata"]["namespace"]), (&json!("default"), &json!("default")));
    assert!(object["metadata"]["uid"].is_string() && object["spec"]["audiences"][0].is_string(), "{object}");
    assert_eq!(object["spec"]["expirationSeconds"], 3600);
    assert_eq!((&asked["dryRun"], &asked["options"]["fieldManager"]), (&json!(true), &json!("me")));
    // What cannot be is not asked about.
    c.refused("POST", path, json!({"spec": {"expirationSeconds": 1}})).await;
    c.refused("POST", path, json!({"metadata": {"name": "another"}, "spec": {}})).await;
    assert_eq!(c.webhook.asked("allow").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_and_evictions_are_checked_as_webhooks_have_left_them() {
    let c = Cluster::start().await;
    c.done("POST", PODS, pod("a")).await;
    c.configure("mutating", "m", &[c.webhook.hook("m", "nameless", "", "pods/binding")]).await;
    c.configure("mutating", "e", &[c.webhook.hook("e", "rename", "", "pods/eviction")]).await;
    c.configure("validating", "v", &[c.webhook.hook("v", "allow", "", "pods/*")]).await;
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    let (code, why) = c.refused("POST", &format!("{PODS}/a/binding"), binding).await;
    assert_eq!(code, 422, "{why}");
    assert!(why.contains("target.name: Required value"), "{why}");
    let eviction = json!({"metadata": {"name": "a"}, "apiVersion": "policy/v1", "kind": "Eviction"});
    let refused = c.refused("POST", &format!("{PODS}/a/eviction"), eviction).await;
    assert_eq!(refused, (400, "name in URL does not match name in Eviction object".to_owned()));
    assert_eq!(c.webhook.asked("allow").len(), 0, "nobody judges what cannot be");
    assert_eq!(c.done("GET", &format!("{PODS}/a"), Value::Null).await["spec"]["nodeName"], Value::Null);
}

/// Keeps the annotations of events that have some: "key: value", in order.
#[derive(Debug, Default)]
struct Annotations(watch::Sender<Vec<Vec<String>>>);

impl Audit for Annotations {
    fn is_on(&self) -> bool {
        true
    }
    fn tell(&self, Event { request, .. }: Event<'_>) {
        let told = request.told.annotations();
        let told: Vec<String> = told.iter().map(|(key, annotation)| format!("{key}: {}", annotation.value)).collect();
        self.0.send_if_modified(|all| {
            let has_some = !told.is_empty();
            all.extend(has_some.then_some(told));
            has_some
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_webhooks_tell_beside_their_answers_is_kept_though_the_write_is_refused() {
    let kept = Arc::new(Annotations::default());
    let audit = kept.clone();
    let server = TestServer::start_over(Arc::new(Memory::default()), move |server| server.audit = audit).await;
    let webhook = Webhook::serve(&server.path("server"), &server.path("ca.crt")).await;
    let c = Cluster { server, webhook };
    let mut open = c.webhook.hook("open", "error", "", "configmaps");
    open["failurePolicy"] = json!("Ignore");
    c.configure("mutating", "m", &[c.webhook.hook("m", "label", "", "configmaps"), open]).await;
    c.configure("validating", "v", &[c.webhook.hook("v", "scold", "", "configmaps")]).await;
    let (code, headers, _) =
        c.server.send_with(Some("admin"), "POST", MAPS, &[("content-type", JSON)], map("a").to_string().into()).await;
    assert_eq!((code, headers["warning"].to_str().unwrap()), (400, r#"299 - "think again""#));
    let mut told = kept.0.subscribe();
    let told = told.wait_for(|told| !told.is_empty());
    let told = tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is told").unwrap()[0].clone();
    let mutation = "mutation.webhook.admission.k8s.io/round_0_index_";
    let patch = r#"[{"op":"add","path":"/metadata/labels","value":{"labelled":"yes"}}]"#;
    assert_eq!(
        told,
        [
            format!("failed-open.{mutation}1: open.example.com"),
            format!(r#"{mutation}0: {{"configuration":"m","webhook":"m.example.com","mutated":true}}"#),
            format!(r#"{mutation}1: {{"configuration":"m","webhook":"open.example.com","mutated":false}}"#),
            format!(
                r#"patch.webhook.admission.k8s.io/round_0_index_0: {{"configuration":"m","webhook":"m.example.com","patch":{patch},"patchType":"JSONPatch"}}"#
            ),
            "v.example.com/why: because".to_owned(),
        ]
    );
}
