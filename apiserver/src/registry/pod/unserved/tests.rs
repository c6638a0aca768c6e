//! Every field of a feature that is off, written by who does not know that.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::registry::Strategy;
use crate::registry::check::testing::{created, defaulted, prepare};

/// A pod's spec with a field of one feature.
fn with(feature: &str) -> Value {
    let container = |more: Value| {
        let mut container = json!({"name": "c", "image": "i"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([container])
    };
    let items = json!([{"key": "k", "path": "p", "user": 5}]);
    let field = json!({"fieldPath": "metadata.name"});
    let sources = json!([
        {"secret": {"name": "s", "items": items}},
        {"configMap": {"name": "s", "items": [{"key": "k", "path": "q", "user": 5}]}},
        {"downwardAPI": {"items": [{"path": "r", "fieldRef": field, "user": 5}]}},
        {"serviceAccountToken": {"path": "t", "user": 5}},
        {"clusterTrustBundle": {"name": "b", "path": "u", "user": 5}},
        {"podCertificate": {"signerName": "a.b/c", "keyType": "ED25519", "keyPath": "v", "user": 5}},
    ]);
    let main = container(json!({}));
    match feature {
        "evictionResponders" => json!({"containers": main, "evictionResponders": [{"name": "a", "priority": 1}]}),
        "schedulingGroup" => json!({"containers": main, "schedulingGroup": {"podGroupName": "g"}}),
        "mode" => json!({"containers": main, "volumes": [{"name": "v", "emptyDir": {"mode": 448}}]}),
        "user" => json!({"containers": main, "volumes": [
            {"name": "a", "secret": {"secretName": "s", "defaultUser": 5, "items": items}},
            {"name": "b", "configMap": {"name": "s", "defaultUser": 5, "items": items}},
            {"name": "c", "downwardAPI": {"defaultUser": 5, "items": [{"path": "r", "fieldRef": field, "user": 5}]}},
            {"name": "d", "projected": {"defaultUser": 5, "sources": sources}},
        ]}),
        "bindMountOptions" => json!({"volumes": [{"name": "v"}],
            "initContainers": [{"name": "d", "image": "i", "volumeMounts": [
                {"name": "v", "mountPath": "/v", "bindMountOptions": ["noexec"]}]}],
            "containers": container(json!({"volumeMounts": [
                {"name": "v", "mountPath": "/v", "bindMountOptions": ["noexec"]}]}))}),
        "protocol" => json!({"containers": container(json!({
            "livenessProbe": {"httpGet": {"port": 1, "protocol": "H2C"}},
            "readinessProbe": {"httpGet": {"port": 1, "protocol": "H2C"}},
            "startupProbe": {"httpGet": {"port": 1, "protocol": "H2C"}},
            "lifecycle": {"preStop": {"httpGet": {"port": 1, "protocol": "H2C"}},
                "postStart": {"httpGet": {"port": 1, "protocol": "H2C"}}}}))}),
        "grpcMode" => json!({"containers": container(json!({"livenessProbe": {"grpc": {"port": 1, "mode": "TLS"}}}))}),
        other => panic!("{other}"),
    }
}

const FEATURES: &[(&str, &[&str])] = &[
    ("evictionResponders", &["evictionResponders"]),
    ("schedulingGroup", &["schedulingGroup"]),
    ("mode", &["mode"]),
    ("user", &["user", "defaultUser"]),
    ("bindMountOptions", &["bindMountOptions"]),
    ("protocol", &["protocol"]),
    ("grpcMode", &["mode"]),
];

fn has(value: &Value, fields: &[&str]) -> bool {
    match value {
        Value::Object(all) => all.iter().any(|(key, value)| fields.contains(&key.as_str()) || has(value, fields)),
        Value::Array(all) => all.iter().any(|value| has(value, fields)),
        _ => false,
    }
}

#[test]
fn what_is_not_served_is_not_stored_unless_it_was() {
    for (feature, fields) in FEATURES {
        let pod = json!({ "spec": with(feature) }).to_string();
        let written = |pod: &Pod| has(&serde_json::to_value(&pod.spec).unwrap(), fields);
        let stored: Pod = defaulted(&pod);
        assert!(written(&stored), "{feature}");
        assert!(!written(&created::<Pod>(&pod)), "{feature}: it is stored");
        for (why, old, kept) in [("as it was", stored, true), ("for the first time", created(&pod), false)] {
            let mut new: Pod = defaulted(&pod);
            prepare(Strategy::Update(&old), &mut new);
            assert_eq!(written(&new), kept, "{feature}: {why}");
        }
    }
}

#[test]
fn nor_in_templates() {
    for (feature, fields) in FEATURES {
        let json = json!({"spec": {"selector": {}, "template": {"spec": with(feature)}}}).to_string();
        let written = |of: &Deployment| has(&serde_json::to_value(&of.spec.template).unwrap(), fields);
        let stored: Deployment = defaulted(&json);
        assert!(written(&stored) && !written(&created::<Deployment>(&json)), "{feature}");
        for (old, kept) in [(stored, true), (created(&json), false)] {
            let mut new: Deployment = defaulted(&json);
            prepare(Strategy::Update(&old), &mut new);
            assert_eq!(written(&new), kept, "{feature}");
        }
    }
}

#[test]
fn nor_in_statuses() {
    let health = json!([{"name": "v"}]);
    let pod = |health: &Value| -> Pod {
        defaulted(&json!({"spec": {"containers": []}, "status": {"volumeHealth": health}}).to_string())
    };
    for (old, kept) in [(pod(&Value::Null), false), (pod(&health), true)] {
        let mut new = pod(&health);
        prepare(Strategy::Status(&old), &mut new);
        assert_eq!(new.status.unwrap().volume_health.is_some(), kept);
    }
}
