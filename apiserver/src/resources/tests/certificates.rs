//! A request for a certificate from its author's hands to the signer's: who is written down, and who may do what.

use base64::Engine;

use super::*;
use crate::registry::certificates::pkcs10::testing::{as_pem, key, request};

const REQUESTS: &str = "certificatesigningrequests";

fn csr(name: &str) -> Value {
    let pem = as_pem("CERTIFICATE REQUEST", &request("jane", &["dev"], &key(&rcgen::PKCS_ED25519)));
    let pem = base64::engine::general_purpose::STANDARD.encode(pem);
    json!({"metadata": {"name": name}, "spec": {
        "request": pem, "signerName": "example.com/s", "usages": ["client auth"],
        "username": "root", "groups": ["system:masters"], "uid": "0", "extra": {"a": ["b"]},
    }})
}
fn condition(kind: &str) -> Value {
    json!([{"type": kind, "status": "True", "reason": "R", "message": "m"}])
}

#[tokio::test]
async fn a_request_is_its_authors_and_is_approved_by_others() {
    let c = Cluster::new().await;
    let jane = User { name: "jane".into(), uid: "7".into(), groups: vec!["dev".into()], ..User::default() };
    let as_jane = |object: Value| Bytes::from(object.to_string());
    let made = c
        .resources
        .create(&allowed(&jane, &target(REQUESTS, "")), as_jane(csr("r")), WriteOptions::default())
        .await
        .unwrap();
    let made: Value = serde_json::from_slice(&made.object).unwrap();
    let spec = &made["spec"];
    assert_eq!((&spec["username"], &spec["uid"], &spec["groups"]), (&json!("jane"), &json!("7"), &json!(["dev"])));
    assert_eq!((&spec["extra"], &made["status"]), (&Value::Null, &json!({})));

    let mut approved = made.clone();
    approved["status"] = json!({"conditions": condition("Approved"), "certificate": "eA=="});
    approved["spec"]["username"] = json!("root");
    let plain = c.update(REQUESTS, "r", &approved).await.unwrap();
    assert_eq!((&plain["spec"], &plain["status"]), (spec, &json!({})), "a plain write changes neither");
    let approval = format!("{REQUESTS}/approval");
    approved["metadata"] = plain["metadata"].clone();
    let alone = c
        .resources
        .update(&allowed(&jane, &target(&approval, "r")), as_jane(approved.clone()), WriteOptions::default())
        .await;
    let words = r#"certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to approve requests with signerName "example.com/s""#;
    assert_eq!(reason(alone), (Reason::Forbidden, words.into()));
    let approved = c.update(&approval, "r", &approved).await.unwrap();
    assert_eq!((&approved["spec"], &approved["status"]["certificate"]), (spec, &Value::Null));
    let told = &approved["status"]["conditions"][0];
    assert!(told["type"] == "Approved" && told["lastUpdateTime"].is_string(), "{told}");

    // The other decision comes too late, and an approval is not taken back.
    let denied = c.merge(&approval, "r", json!({"status": {"conditions": condition("Denied")}})).await;
    assert_eq!(reason(denied).0, Reason::Invalid);
    // Nor does who signs decide.
    let failed = json!({"status": {"conditions": [told, condition("Failed")[0]]}});
    let signed = c.merge(&format!("{REQUESTS}/status"), "r", failed).await.unwrap();
    assert_eq!(signed["status"]["conditions"][0], *told);
    assert_eq!(signed["status"]["conditions"][1]["type"], "Failed");
    assert_eq!(c.get(&approval, "r").await.unwrap(), signed, "it reads as the whole");
}

#[tokio::test]
async fn nobody_asks_to_be_a_master() {
    let c = Cluster::new().await;
    let mut bad = csr("r");
    let pem = as_pem("CERTIFICATE REQUEST", &request("jane", &["system:masters"], &key(&rcgen::PKCS_ED25519)));
    bad["spec"]["request"] = json!(base64::engine::general_purpose::STANDARD.encode(pem));
    bad["spec"]["signerName"] = json!("kubernetes.io/kube-apiserver-client");
    let refused = reason(c.create(REQUESTS, "", bad).await);
    assert_eq!(refused.0, Reason::Forbidden, "{}", refused.1);
}
