//! Who asks for protobuf gets it: every kind, lists, watches and errors, and the same as who asks for JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/objects.rs"]
mod objects;
#[path = "support/server.rs"]
mod server;

use bytes::Bytes;
use corten_apiserver::decode::protobuf::decode;
use corten_apiserver::decode::protobuf::wire::{Fields, WireValue};
use corten_apiserver::storage::memory::Memory;
use objects::ValidObject;
use serde_json::{Value, json};
use server::TestServer;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// As client-go asks.
const ASKED: &str = "application/vnd.kubernetes.protobuf,application/json";

async fn ask(server: &TestServer, method: &str, path: &str, accept: &str, body: Bytes) -> (u16, String, Bytes) {
    let headers = [("accept", accept), ("content-type", "application/json")];
    let (code, headers, bytes) = server.send_raw(Some("admin"), method, path, &headers, body).await;
    (code, headers["content-type"].to_str().unwrap().to_owned(), bytes)
}

/// An object that came in protobuf.
fn read(bytes: &[u8]) -> Value {
    let decoded = decode(bytes).unwrap_or_else(|err| panic!("{err}: {}", String::from_utf8_lossy(bytes)));
    serde_json::from_slice(&decoded).unwrap()
}

/// Without what protobuf cannot tell from nothing.
fn without_nothings(value: Value) -> Value {
    let is_something = |value: &Value| !value.is_null() && *value != json!([]);
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, v)| is_something(v)).map(|(k, v)| (k, without_nothings(v))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nothings).collect(),
        other => other,
    }
}

/// The fields of a message of which all are bytes.
fn fields(message: &[u8]) -> Vec<(u32, &[u8])> {
    let bytes = |part| match part {
        Ok((number, WireValue::Bytes(bytes))) => (number, bytes),
        other => panic!("{other:?}"),
    };
    Fields(message).map(bytes).collect()
}

/// An object in JSON, without nothings, and in protobuf, both of one revision: some kinds have a status that the
/// server itself writes soon after.
async fn both(server: &TestServer, path: &str) -> (Value, Value) {
    for _ in 0..100 {
        let (code, _, json) = ask(server, "GET", path, "application/json", Bytes::new()).await;
        assert_eq!(code, 200, "{path}");
        let (code, content_type, protobuf) = ask(server, "GET", path, ASKED, Bytes::new()).await;
        assert_eq!((code, content_type.as_str()), (200, PROTOBUF), "{path}");
        let (json, protobuf) = (without_nothings(serde_json::from_slice(&json).unwrap()), read(&protobuf));
        let revision = |object: &Value| object["metadata"]["resourceVersion"].clone();
        if revision(&json) == revision(&protobuf) {
            return (json, protobuf);
        }
    }
    panic!("{path} changes all the time")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_the_same_in_protobuf_and_in_json() {
    let server = TestServer::start(Memory::default()).await;
    for ValidObject { collection, name, json } in objects::one_of_each_kind() {
        let made = ask(&server, "POST", &collection, ASKED, json.to_string().into()).await;
        assert_eq!((made.0, made.1.as_str()), (201, PROTOBUF), "{collection}: {:?}", made.2);
        let one = format!("{collection}/{name}");
        let (mut expected, read) = both(&server, &one).await;
        // A message has its kind around it: what lies within another has none.
        for inner in
            expected.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut).into_iter().flatten()
        {
            inner.as_object_mut().unwrap().retain(|field, _| !matches!(field.as_str(), "apiVersion" | "kind"));
        }
        assert_eq!(read, expected, "{one}");

        let (code, content_type, bytes) = ask(&server, "GET", &collection, ASKED, Bytes::new()).await;
        assert_eq!((code, content_type.as_str()), (200, PROTOBUF), "{collection}");
        let unknown = fields(bytes.strip_prefix(b"k8s\0").unwrap());
        let items = fields(unknown[1].1).into_iter().filter(|(number, _)| *number == 2).count();
        let (_, _, bytes) = ask(&server, "GET", &collection, "application/json", Bytes::new()).await;
        let list: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(items, list["items"].as_array().unwrap().len(), "{collection}");
        assert!(items > 0, "{collection}");
    }
}

#[tokio::test]
async fn a_watch_is_frames_of_events_and_errors_are_statuses() {
    let server = TestServer::start(Memory::default()).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let made = ask(&server, "POST", maps, ASKED, r#"{"metadata":{"name":"x"},"data":{"a":"b"}}"#.into()).await;
    assert_eq!(made.0, 201);
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let path = format!("{maps}?{query}&timeoutSeconds=1");
    let (code, content_type, bytes) = ask(&server, "GET", &path, ASKED, Bytes::new()).await;
    assert_eq!((code, content_type.as_str()), (200, "application/vnd.kubernetes.protobuf;stream=watch"));
    let mut left = &bytes[..];
    let mut seen = Vec::new();
    while let Some((len, rest)) = left.split_first_chunk() {
        let (event, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
        let event = fields(event);
        let [(1, kind), (2, extension)] = event[..] else { panic!("{event:?}") };
        let object = read(fields(extension)[0].1);
        seen.push((String::from_utf8_lossy(kind).into_owned(), object["metadata"]["name"].clone()));
        left = rest;
    }
    assert_eq!(seen, [("ADDED".to_owned(), json!("x")), ("BOOKMARK".to_owned(), Value::Null)]);

    let (code, content_type, bytes) = ask(&server, "GET", &format!("{maps}/none"), ASKED, Bytes::new()).await;
    assert_eq!((code, content_type.as_str()), (404, PROTOBUF));
    let status = read(&bytes);
    assert_eq!(
        (&status["kind"], &status["reason"], &status["code"]),
        (&json!("Status"), &json!("NotFound"), &json!(404))
    );
}

#[tokio::test]
async fn what_is_answered_to_reviews_deletions_and_subresources_is_protobuf_too_and_tables_are_json() {
    let server = TestServer::start(Memory::default()).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    ask(&server, "POST", maps, ASKED, r#"{"metadata":{"name":"x"}}"#.into()).await;
    let review = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let token = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["x"]}}"#;
    let partial = format!("{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let table = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1");
    let one = format!("{maps}/x");
    for (method, path, accept, body, expected, kind) in [
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", ASKED, review, 201, Some("SelfSubjectReview")),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", ASKED, token, 201, Some("TokenRequest")),
        ("GET", &one, &table, "", 200, None),
        ("GET", &one, &partial, "", 200, Some("PartialObjectMetadata")),
        ("DELETE", &one, ASKED, "", 200, Some("Status")),
    ] {
        let (code, content_type, bytes) = ask(&server, method, path, accept, body.into()).await;
        assert_eq!(code, expected, "{path}: {}", String::from_utf8_lossy(&bytes));
        let Some(kind) = kind else {
            assert_eq!(content_type, "application/json", "{path}");
            continue;
        };
        assert_eq!(content_type, PROTOBUF, "{path}");
        let unknown = fields(bytes.strip_prefix(b"k8s\0").unwrap());
        assert_eq!(fields(unknown[0].1)[1], (2, kind.as_bytes()), "{path}");
    }
}
