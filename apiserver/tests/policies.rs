//! Admission policies in a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/server.rs"]
mod server;

use std::time::{Duration, Instant};

use corten_apiserver::storage::memory::Memory;
use serde_json::{Value, json};
use server::TestServer;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

struct Cluster(TestServer);

impl Cluster {
    async fn start() -> Self {
        Self(TestServer::start(Memory::default()).await)
    }
    async fn send_as(&self, who: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let kind = if method == "PATCH" { MERGE } else { JSON };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.0.send_as(Some(who), method, path, kind, body.into()).await
    }
    async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (code, answer) = self.send_as("admin", method, path, &body).await;
        assert!(matches!(code, 200..=202), "{method} {path}: {code} {answer}");
        answer
    }
    async fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (code, answer) = self.send_as("admin", method, path, &body).await;
        assert!(code >= 400, "{method} {path}: {answer}");
        (code, answer["message"].as_str().unwrap_or_default().to_owned())
    }
    /// Makes a policy of this kind and its binding, and waits until the server's cache has them.
    async fn policy(&self, kind: &str, name: &str, resources: &[&str], policy: Value, binding: Value) {
        let (policies, bindings) =
            (format!("{GROUP}/{kind}admissionpolicies"), format!("{GROUP}/{kind}admissionpolicybindings"));
        let rule = json!({"operations": ["CREATE", "UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources});
        let mut spec = json!({"matchConstraints": {"resourceRules": [rule]}});
        let mut bound = json!({"policyName": name});
        if kind == "validating" {
            bound["validationActions"] = json!(["Deny"]);
        } else {
            spec["reinvocationPolicy"] = json!("Never");
        }
        spec.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
        bound.as_object_mut().unwrap().extend(binding.as_object().unwrap().clone());
        self.done("POST", &policies, json!({"metadata": {"name": name}, "spec": spec})).await;
        self.done("POST", &bindings, json!({"metadata": {"name": name}, "spec": bound})).await;
        self.done("GET", &format!("{bindings}/{name}"), Value::Null).await;
    }
    async fn forget(&self, kind: &str, name: &str) {
        let path = format!("{GROUP}/{kind}admissionpolicybindings/{name}");
        self.done("DELETE", &path, Value::Null).await;
        self.refused("GET", &path, Value::Null).await;
    }
}

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

fn deployment(name: &str, replicas: i32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_refuses_creates_and_updates_and_warns() {
    let c = Cluster::start().await;
    let validations = json!([{"expression": "variables.replicas > 1", "messageExpression": "'wants replicas > 1, got ' + string(variables.replicas)"},
        {"expression": "namespaceObject.metadata.name == 'default'"}]);
    let policy =
        json!({"variables": [{"name": "replicas", "expression": "object.spec.replicas"}], "validations": validations});
    c.policy("validating", "two", &["deployments"], policy.clone(), json!({})).await;
    let why = |name: &str, got: i32| {
        format!(
            r#"deployments.apps "{name}" is forbidden: ValidatingAdmissionPolicy 'two' with binding 'two' denied request: wants replicas > 1, got {got}"#
        )
    };
    assert_eq!(c.refused("POST", DEPLOYMENTS, deployment("one", 1)).await, (422, why("one", 1)));
    c.done("POST", DEPLOYMENTS, deployment("two", 2)).await;
    let two = format!("{DEPLOYMENTS}/two");
    assert_eq!(c.refused("PATCH", &two, json!({"spec": {"replicas": 0}})).await, (422, why("two", 0)));
    assert_eq!(c.done("GET", &two, Value::Null).await["spec"]["replicas"], 2);
    c.done("DELETE", &two, Value::Null).await;
    c.forget("validating", "two").await;
    c.done("POST", DEPLOYMENTS, deployment("one", 1)).await;

    let warns = json!({"policyName": "two", "validationActions": ["Warn", "Audit"]});
    c.done(
        "POST",
        &format!("{GROUP}/validatingadmissionpolicybindings"),
        json!({"metadata": {"name": "warns"}, "spec": warns}),
    )
    .await;
    c.done("GET", &format!("{GROUP}/validatingadmissionpolicybindings/warns"), Value::Null).await;
    let (body, kind) = (deployment("warned", 1).to_string().into(), [("content-type", JSON)]);
    let (code, headers, answer) = c.0.send_with(Some("admin"), "POST", DEPLOYMENTS, &kind, body).await;
    assert_eq!(code, 201, "{answer}");
    let warnings: Vec<_> = headers.get_all("warning").iter().map(|warning| warning.to_str().unwrap()).collect();
    assert_eq!(
        warnings,
        [
            r#"299 - "Validation failed for ValidatingAdmissionPolicy 'two' with binding 'warns': wants replicas > 1, got 1""#
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_changed_before_they_are_judged_and_stored() {
    let c = Cluster::start().await;
    let side = r#"Object{metadata: Object.metadata{annotations: {"mutated-by": "policy"}},
        spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
            containers: [Object.spec.template.spec.containers{name: "side", image: "s"}]}}}}"#;
    let mutations = json!([
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": side}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 1}]"}}]);
    c.policy("mutating", "side", &["deployments"], json!({ "mutations": mutations }), json!({})).await;
    c.policy(
        "validating",
        "two",
        &["deployments"],
        json!({"validations": [{"expression": "object.spec.replicas == 2"}]}),
        json!({}),
    )
    .await;
    let made = c.done("POST", DEPLOYMENTS, deployment("d", 1)).await;
    assert_eq!(made["metadata"]["annotations"]["mutated-by"], "policy");
    assert_eq!(made["spec"]["replicas"], 2);
    let containers = made["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<&str> = containers.iter().map(|container| container["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "side"]);
    assert_eq!(containers[1]["terminationMessagePath"], "/dev/termination-log", "defaults are filled in");
    let broken = json!({"mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: object.nope}}"}}]});
    c.policy("mutating", "broken", &["configmaps"], broken, json!({})).await;
    let (code, why) = c.refused("POST", MAPS, map("a", json!({}))).await;
    assert!(
        code == 403 && why.starts_with("policy 'broken' with binding 'broken' denied request: expression"),
        "{code} {why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn params_may_be_of_a_kind_that_comes_later() {
    let c = Cluster::start().await;
    let policy = json!({"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"},
        "validations": [{"expression": "size(object.data) <= params.spec.max", "messageExpression": "'at most ' + string(params.spec.max)"}]});
    let binding = json!({"paramRef": {"name": "l", "parameterNotFoundAction": "Deny"}});
    c.policy("validating", "limit", &["configmaps"], policy, binding).await;
    let (code, why) = c.refused("POST", MAPS, map("a", json!({}))).await;
    assert!(
        code == 422 && why.contains("failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'"),
        "{why}"
    );
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"max": {"type": "integer"}}}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let spec = json!({"group": "example.com", "scope": "Namespaced", "names": {"plural": "limits", "kind": "Limit"}, "versions": [version]});
    c.done(
        "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        json!({"metadata": {"name": "limits.example.com"}, "spec": spec}),
    )
    .await;
    let limits = "/apis/example.com/v1/namespaces/default/limits";
    let limit = json!({"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": "l"}, "spec": {"max": 1}});
    let begun = Instant::now();
    while c.send_as("admin", "POST", limits, &limit).await.0 != 201 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the kind is served");
    }
    c.done("GET", &format!("{limits}/l"), Value::Null).await;
    c.done("POST", MAPS, map("a", json!({"a": "1"}))).await;
    let (_, why) = c.refused("POST", MAPS, map("b", json!({"a": "1", "b": "2"}))).await;
    assert!(why.ends_with("'limit' denied request: at most 1"), "{why}");
    // As soon as the server has heard of it.
    c.done("PATCH", &format!("{limits}/l"), json!({"spec": {"max": 2}})).await;
    c.done("GET", &format!("{limits}/l"), Value::Null).await;
    c.done("POST", MAPS, map("b", json!({"a": "1", "b": "2"}))).await;
    c.done("DELETE", &format!("{limits}/l"), Value::Null).await;
    c.refused("GET", &format!("{limits}/l"), Value::Null).await;
    let (_, why) = c.refused("POST", MAPS, map("c", json!({}))).await;
    assert!(why.contains("no params found for policy binding with `Deny` parameterNotFoundAction"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_ask_what_a_user_may() {
    let c = Cluster::start().await;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get"]}]);
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    c.done("POST", &format!("{roles}/clusterroles"), json!({"metadata": {"name": "maps"}, "rules": rules})).await;
    let bound = json!({"metadata": {"name": "maps"}, "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "ClusterRole", "name": "maps", "apiGroup": "rbac.authorization.k8s.io"}});
    c.done("POST", &format!("{roles}/clusterrolebindings"), bound).await;
    let validations = json!([{"expression": "authorizer.requestResource.check('breakglass').allowed()", "message": "break the glass", "reason": "Forbidden"}]);
    c.policy("validating", "glass", &["configmaps"], json!({ "validations": validations }), json!({})).await;
    let (code, answer) = c.send_as("jane", "POST", MAPS, &map("a", json!({}))).await;
    assert_eq!((code, answer["reason"].as_str()), (403, Some("Forbidden")), "{answer}");
    assert!(answer["message"].as_str().unwrap().ends_with("denied request: break the glass"), "{answer}");
    c.done("POST", MAPS, map("a", json!({}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_policy_of_what_he_may_not_read() {
    let c = Cluster::start().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]}]);
    c.done("POST", &format!("{roles}/clusterroles"), json!({"metadata": {"name": "policies"}, "rules": rules})).await;
    let bound = json!({"metadata": {"name": "policies"}, "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "ClusterRole", "name": "policies", "apiGroup": "rbac.authorization.k8s.io"}});
    c.done("POST", &format!("{roles}/clusterrolebindings"), bound).await;
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    let policy = |kind: &str| {
        json!({"metadata": {"name": kind.to_lowercase()}, "spec": {"paramKind": {"apiVersion": "v1", "kind": kind},
            "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]}})
    };
    let policies = format!("{GROUP}/validatingadmissionpolicies");
    let (code, answer) = c.send_as("jane", "POST", &policies, &policy("Secret")).await;
    let why = answer["message"].as_str().unwrap();
    assert!(
        code == 422
            && why.contains(
                r#"must have "get" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)"#
            ),
        "{code} {why}"
    );
    c.done("POST", &policies, policy("Secret")).await;
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "secret", "validationActions": ["Deny"],
        "paramRef": {"name": "s", "namespace": "default", "parameterNotFoundAction": "Deny"}}});
    let (code, answer) =
        c.send_as("jane", "POST", &format!("{GROUP}/validatingadmissionpolicybindings"), &binding).await;
    let why = answer["message"].as_str().unwrap();
    assert!(
        code == 422 && why.contains(r#"user jane does not have "get" permission on the object referenced by paramRef"#),
        "{code} {why}"
    );
    let none = json!({"metadata": {"name": "none"}, "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]}});
    assert_eq!(c.send_as("jane", "POST", &policies, &none).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_evaluated_fails_as_the_policy_says_and_stalls_nobody() {
    let c = Cluster::start().await;
    let list = "object.data.map(k, k)";
    let bomb = format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, true))))");
    for (failure, code) in [("Fail", 422), ("Ignore", 201)] {
        let policy = json!({"failurePolicy": failure, "validations": [{"expression": bomb}]});
        c.policy("validating", &failure.to_lowercase(), &["configmaps"], policy, json!({})).await;
        let data: serde_json::Map<String, Value> = (0..200).map(|i| (format!("k{i}"), json!("v"))).collect();
        let (answered, answer) = c.send_as("admin", "POST", MAPS, &map("big", data.into())).await;
        assert_eq!(answered, code, "{answer}");
        if code == 422 {
            let why = answer["message"].as_str().unwrap();
            assert!(why.contains("resulted in error: operation cancelled: actual cost limit exceeded"), "{why}");
        }
        c.forget("validating", &failure.to_lowercase()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_checked_and_told_in_the_status() {
    let c = Cluster::start().await;
    let validations =
        json!([{"expression": "object.spec.replicas > '1'", "messageExpression": "'wants ' + object.spec.replicas"}]);
    c.policy(
        "validating",
        "confused",
        &["deployments"],
        json!({ "validations": validations, "matchConstraints": {"resourceRules": [
        {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]} }),
        json!({}),
    )
    .await;
    let path = format!("{GROUP}/validatingadmissionpolicies/confused");
    let begun = Instant::now();
    let status = loop {
        let policy = c.done("GET", &path, Value::Null).await;
        if !policy["status"]["typeChecking"].is_null() {
            break policy["status"].clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{policy}");
    };
    assert_eq!(status["observedGeneration"], 1);
    let warnings = status["typeChecking"]["expressionWarnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2);
    assert_eq!(warnings[0]["fieldRef"], "spec.validations[0].expression");
    assert!(
        warnings[0]["warning"]
            .as_str()
            .unwrap()
            .contains("found no matching overload for '_>_' applied to '(int, string)'")
    );
    assert!(
        warnings[1]["warning"]
            .as_str()
            .unwrap()
            .contains("found no matching overload for '_+_' applied to '(string, int)'")
    );
    let good =
        json!([{"op": "replace", "path": "/spec/validations", "value": [{"expression": "object.spec.replicas > 1"}]}]);
    let (code, answer) = c.0.send("PATCH", &path, "application/json-patch+json", good.to_string().into()).await;
    assert_eq!(code, 200, "{answer}");
    let begun = Instant::now();
    loop {
        let policy = c.done("GET", &path, Value::Null).await;
        if policy["status"]["observedGeneration"] == 2 {
            assert_eq!(policy["status"]["typeChecking"], json!({}));
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{policy}");
    }
}
