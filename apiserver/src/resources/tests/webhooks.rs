//! Webhooks that cannot be asked, and what goes on all the same.

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
