//! Webhooks that cannot be asked, and what goes on all the same.

use super::custom::definition;
use super::*;

/// Asked about these with these operations, and never there: what it is asked about is refused.
fn out_of_reach(name: &str, operations: &[&str], resources: &[&str]) -> Value {
    // TLS needs its cryptography; the second test of a process finds it installed.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    json!({"metadata": {"name": name}, "webhooks": [{
        "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"operations": operations, "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources}],
    }]})
}

#[tokio::test]
async fn no_webhook_is_asked_about_the_servers_own_bookkeeping() {
    let c = Cluster::new().await;
    c.create("configmaps", "n/", json!({"metadata": {"name": "there"}})).await.unwrap();
    let all = out_of_reach("all", &["*"], &["*/*"]);
    c.create("validatingwebhookconfigurations", "", all).await.unwrap();
    assert!(c.create("configmaps", "n/", json!({"metadata": {"name": "a"}})).await.is_err(), "others are asked about");
    assert!(c.delete("configmaps", "n/there", json!({})).await.is_err(), "others are asked about");

    // Another server starts, makes what a cluster has, and says that it is alive.
    let set = Settings { advertise: Some("10.0.0.1:6443".parse().unwrap()), ..settings() };
    let second = timeout(DEADLINE, Cluster::set_to(c.storage.clone(), set)).await.expect("it starts");
    second.until("endpointslices", "default/kubernetes", Result::is_ok).await.unwrap();
    second.get("services", "default/kubernetes").await.unwrap();
}

#[tokio::test]
async fn no_policy_is_asked_about_the_servers_own_bookkeeping() {
    let c = Cluster::new().await;
    let all = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    let (constraints, never) = (json!({ "resourceRules": all }), json!([{"expression": "false"}]));
    let policy =
        json!({"metadata": {"name": "never"}, "spec": {"matchConstraints": constraints, "validations": never}});
    c.create("validatingadmissionpolicies", "", policy).await.unwrap();
    let binding =
        json!({"metadata": {"name": "never"}, "spec": {"policyName": "never", "validationActions": ["Deny"]}});
    c.create("validatingadmissionpolicybindings", "", binding).await.unwrap();
    let map = || json!({"metadata": {"name": "a"}});
    let refused = c.create("configmaps", "n/", map()).await.unwrap_err();
    assert!(refused.message().contains("ValidatingAdmissionPolicy 'never'"), "others are: {refused}");

    let set = Settings { advertise: Some("10.0.0.1:6443".parse().unwrap()), ..settings() };
    let second = timeout(DEADLINE, Cluster::set_to(c.storage.clone(), set)).await.expect("it starts");
    second.until("endpointslices", "default/kubernetes", Result::is_ok).await.unwrap();
    // Who is told that it is put to use no more is asked no more.
    c.delete("validatingadmissionpolicybindings", "never", json!({})).await.unwrap();
    c.create("configmaps", "n/", map()).await.unwrap();
}

#[tokio::test]
async fn kinds_come_and_go_whoever_is_asked_about_their_definitions_and_objects() {
    let c = Cluster::new().await;
    let status = out_of_reach("status", &["*"], &["*/status"]);
    c.create("validatingwebhookconfigurations", "", status).await.unwrap();
    c.define(definition()).await;
    let tab = json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "a"}});
    c.create("tabs", "n/", tab).await.unwrap();
    let deletes = out_of_reach("deletes", &["DELETE"], &["tabs"]);
    c.create("validatingwebhookconfigurations", "", deletes).await.unwrap();
    assert!(c.delete("tabs", "n/a", json!({})).await.is_err(), "who deletes one is judged");
    c.delete("customresourcedefinitions", "tabs.example.com", json!({})).await.unwrap();
    // With the kind all of its objects go, and nobody is asked.
    let gone = c.until("customresourcedefinitions", "tabs.example.com", |found| {
        found.as_ref().is_err_and(|err| err.is(Reason::NotFound))
    });
    gone.await.unwrap_err();
}

#[tokio::test]
async fn what_follows_the_answer_to_a_webhooks_configuration_is_asked_about() {
    let c = Cluster::new().await;
    for i in 0..20 {
        let (name, map) = (format!("all-{i}"), json!({"metadata": {"generateName": "a-"}}));
        let creates = out_of_reach(&name, &["CREATE"], &["configmaps"]);
        c.create("mutatingwebhookconfigurations", "", creates).await.unwrap();
        assert!(c.create("configmaps", "n/", map.clone()).await.is_err(), "{i}: it is there");
        c.delete("mutatingwebhookconfigurations", &name, json!({})).await.unwrap();
        c.create("configmaps", "n/", map).await.unwrap_or_else(|err| panic!("{i}: it has gone: {err}"));
    }
}

#[tokio::test]
async fn binds_that_find_no_room_to_ask_are_refused_and_others_go_on() {
    let c = Cluster::new().await;
    c.create("pods", "n/", pod("web")).await.unwrap();
    let bindings = out_of_reach("bindings", &["CREATE"], &["pods/binding"]);
    c.create("validatingwebhookconfigurations", "", bindings).await.unwrap();
    let full = tokio::sync::Semaphore::new(0);
    let may = allowed(&c.admin, &target("pods/binding", "n/web"));
    let refused = c.resources.bind(&may, "", "n1", None, &full).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (429, "Too many bindings wait for webhooks, please try again later.")
    );
    let room = tokio::sync::Semaphore::new(1);
    let asked = c.resources.bind(&may, "", "n1", None, &room).await.unwrap_err();
    assert!(asked.message().contains("failed calling webhook"), "{asked}");
    assert_eq!(room.available_permits(), 1, "the room is given back");
    c.delete("validatingwebhookconfigurations", "bindings", json!({})).await.unwrap();
    c.resources.bind(&may, "", "n1", None, &full).await.unwrap();
}
