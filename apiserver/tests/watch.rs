//! Watches over REST, as clients of all makes read them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/server.rs"]
mod server;

use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use corten_apiserver::storage::{Storage, Write};
use serde_json::Value;
use server::TestServer;

/// kube-rs lists again for an ERROR event only; an HTTP error it takes for something that passes.
#[tokio::test]
async fn a_revision_that_is_forgotten_ends_the_watch_with_an_event() {
    let store = Memory::default();
    for name in ["a", "b", "c"] {
        let value = format!(r#"{{"metadata":{{"name":"{name}"}}}}"#).into();
        let key = format!("/registry/configmaps/default/{name}");
        store.commit(vec![Write::Create { key, value, ttl_secs: None }]).await.unwrap();
    }
    store.compact(store.current_revision().await.unwrap()).await.unwrap();
    let server = TestServer::start(store).await;
    let path = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=2&timeoutSeconds=5";
    let (code, event) = server.send("GET", path, "application/json", Bytes::new()).await;
    assert_eq!(code, 200, "{event}");
    let (kind, status) = (&event["type"], &event["object"]);
    assert_eq!((kind.as_str(), status["code"].as_i64()), (Some("ERROR"), Some(410)), "{event}");
    assert_eq!(status["reason"], "Expired");
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("too old resource version: 2 ("), "{message}");
    assert!(matches!(event, Value::Object(_)), "one event, and the end");
}

#[tokio::test]
async fn one_object_is_watched_by_the_old_path_too() {
    let store = Memory::default();
    for name in ["a", "b", "c"] {
        let value = format!(r#"{{"metadata":{{"name":"{name}"}}}}"#).into();
        let key = format!("/registry/configmaps/default/{name}");
        store.commit(vec![Write::Create { key, value, ttl_secs: None }]).await.unwrap();
    }
    let server = TestServer::start(store).await;
    for (path, name) in [
        ("/api/v1/watch/namespaces/default/configmaps/b?timeoutSeconds=1", "b"),
        ("/api/v1/watch/namespaces/default?timeoutSeconds=1", "default"),
    ] {
        let (code, event) = server.send("GET", path, "application/json", Bytes::new()).await;
        let shown = (code, event["type"].as_str(), event["object"]["metadata"]["name"].as_str());
        assert_eq!(shown, (200, Some("ADDED"), Some(name)), "one event, and the end: {event}");
    }
}
