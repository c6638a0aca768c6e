//! What a client has been told and writes back with the zeros of its types changes nothing.

use std::time::Duration;

use bytes::Bytes;
use corten_apiserver::registry::ApiResource;
use corten_apiserver::storage::memory::Memory;
use serde_json::{Value, json};

use super::objects::ValidObject;
use super::server::TestServer;
use super::zeros::Zeros;
use super::{kinds, protobuf};

const DEADLINE: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Bodies that say the same as `made`, and how they are sent.
fn bodies(resource: &ApiResource, made: &Value) -> Vec<(String, &'static str, &'static str, Bytes)> {
    let mut bodies = vec![
        ("as it was told".to_owned(), "PUT", JSON, made.to_string().into()),
        ("in protobuf".to_owned(), "PUT", PROTOBUF, protobuf::body(made).into()),
    ];
    for zeros in Zeros::EACH {
        let mut filled = made.clone();
        zeros.fill(resource.shape().unwrap(), &mut filled);
        bodies.push((format!("zeros: {zeros:?}"), "PUT", JSON, filled.to_string().into()));
        // A null of a patch takes a field away.
        if zeros != Zeros::Nulls {
            bodies.push((format!("patched with zeros: {zeros:?}"), "PATCH", MERGE, filled.to_string().into()));
        }
    }
    bodies
}

/// The object once the server has written what it writes itself of such kinds.
async fn settled(server: &TestServer, object: &str, kind: &str) -> Value {
    let parts = |read: &Value, wanted: &[&str]| wanted.iter().all(|part| read.pointer(part).is_some());
    let is_whole = |read: &Value| match kind {
        "FlowSchema" => parts(read, &["/status/conditions"]),
        "ServiceCIDR" => parts(read, &["/status/conditions", "/metadata/finalizers"]),
        // Names are accepted first (`Installing`), and it is established with the next write.
        "CustomResourceDefinition" => read.pointer("/status/conditions/1/status") == Some(&json!("True")),
        "ValidatingAdmissionPolicy" => parts(read, &["/status/typeChecking"]),
        _ => true,
    };
    let read = async {
        loop {
            let (code, read) = server.send("GET", object, JSON, Bytes::new()).await;
            assert_eq!(code, 200, "{object}: {read}");
            if is_whole(&read) {
                return read;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, read).await.unwrap_or_else(|_| panic!("{object} is never whole"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_create_answers_and_a_client_writes_back_changes_nothing() {
    let server = TestServer::start(Memory::default()).await;
    let mut faults = Vec::new();
    for (resource, ValidObject { collection, name, json }) in kinds() {
        let mut filled = json.clone();
        Zeros::OfGo.fill(resource.shape().unwrap(), &mut filled);
        let (code, made) = server.send("POST", &collection, JSON, filled.to_string().into()).await;
        assert_eq!(code, 201, "{resource:?}: {made}");
        let object = format!("{collection}/{name}");
        let read = settled(&server, &object, resource.kind()).await;
        let is_changed_by_the_server = matches!(
            resource.kind(),
            "FlowSchema" | "ServiceCIDR" | "CustomResourceDefinition" | "ValidatingAdmissionPolicy"
        );
        if read != made && !is_changed_by_the_server {
            faults.push(format!("{resource:?}, as it is read:\n  {read}\n  {made}"));
        }
        let made = read;
        let parts = ["", "/status"]
            .into_iter()
            .filter(|part| part.is_empty() || resource.has_subresource(part.trim_start_matches('/')));
        for part in parts {
            for (how, method, content_type, body) in bodies(&resource, &made) {
                let (code, written) = server.send(method, &format!("{object}{part}"), content_type, body).await;
                if (code, &written) != (200, &made) {
                    faults.push(format!("{resource:?}{part}, {how}: {code}\n  {written}\n  {made}"));
                }
            }
        }
        let path = format!("{object}?fieldManager=go&force=true");
        let (code, first) = server.send("PATCH", &path, APPLY, filled.to_string().into()).await;
        let (again, second) = server.send("PATCH", &path, APPLY, filled.to_string().into()).await;
        if (code, again, &second) != (200, 200, &first) {
            faults.push(format!("{resource:?}, applied twice: {code} {again}\n  {second}\n  {first}"));
        }
        // What became of it does not bind the next kinds: limits, quotas and classes do.
        let (code, shown) = server.send("DELETE", &object, JSON, Bytes::new()).await;
        assert!(matches!(code, 200 | 202), "{object}: {code} {shown}");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
