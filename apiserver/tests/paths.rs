//! Every path and method that the release publishes leads somewhere: none is answered with "no such path" or "not this method".
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use server::TestServer;

/// What the release publishes and belongs here: a path, and its methods.
const PATHS: &str = include_str!("paths.txt");
/// Groups whose kinds are not served yet, or that are not for users.
const GROUPS_NOT_SERVED: &[&str] = &[
    "internal.apiserver.k8s.io",
    // All of its versions are alpha.
    "lifecycle.k8s.io",
];
/// Ends of paths that are known to lead nowhere. What is served must not stand here.
const NOT_SERVED: &[&str] = &["/componentstatuses", "/componentstatuses/{name}"];

fn table() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let lines = PATHS.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.filter_map(|line| {
        let (path, methods) = line.split_once(' ')?;
        Some((path, methods.split(' ').collect()))
    });
    rows.collect()
}

/// Of a group that is not served, or of a version that may change.
fn is_left_out(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let is_stable = |version: &str| version.strip_prefix('v').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    match parts.as_slice() {
        ["apis", group, rest @ ..] => {
            GROUPS_NOT_SERVED.contains(group) || rest.first().is_some_and(|version| !is_stable(version))
        }
        _ => false,
    }
}

/// Whether the table says what the published document does.
#[test]
fn the_table_of_paths_is_that_of_the_published_document() {
    let Ok(document) = std::env::var("CORTEN_OPENAPI_DOCUMENT") else {
        eprintln!("not compared: CORTEN_OPENAPI_DOCUMENT does not name the published document");
        return;
    };
    let document: Value = serde_json::from_slice(&std::fs::read(document).unwrap()).unwrap();
    let mut published = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
        let methods: BTreeSet<String> = methods.map(|method| method.to_ascii_uppercase()).collect();
        if !is_left_out(path) {
            published.insert(path.clone(), methods);
        }
    }
    let table: BTreeMap<String, BTreeSet<String>> = table()
        .into_iter()
        .map(|(path, methods)| (path.to_owned(), methods.into_iter().map(str::to_owned).collect()))
        .collect();
    for (path, methods) in &published {
        assert_eq!(table.get(path), Some(methods), "{path}");
    }
    assert_eq!(table.len(), published.len());
}

/// A connection that is made anew when it has ended: watches end theirs.
struct Line<'s> {
    server: &'s TestServer,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Line<'_> {
    /// The code, and for one that refuses the Status.
    async fn send(&mut self, method: &str, path: &str) -> (u16, Value) {
        let is_ready = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_ready {
            let tls = self.server.connect(Some("admin")).await;
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if matches!(method, "POST" | "PUT" | "PATCH") { "{}" } else { "" };
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request =
            request.header("content-type", kind).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        let response = self.sender.as_mut().unwrap().send_request(request).await.unwrap();
        let code = response.status().as_u16();
        if code < 400 {
            self.skip(response.into_body(), path).await;
            return (code, Value::Null);
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn skip(&mut self, body: Incoming, path: &str) {
        if path.contains("/watch/") {
            self.sender = None;
        } else {
            body.collect().await.unwrap();
        }
    }
}

/// It is not that an object is not there, but that nothing ever is.
fn leads_nowhere(code: u16, status: &Value) -> bool {
    code == 405 || (code == 404 && status["kind"] == "Status" && status["details"]["name"].is_null())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_published_path_and_method_leads_somewhere() {
    let server = TestServer::start(Memory::default()).await;
    let mut line = Line { server: &server, sender: None };
    let (mut nowhere, mut walked) = (Vec::new(), 0);
    for (path, methods) in table() {
        let filled = path.replace("{namespace}", "default").replace("{logpath}", "none.log");
        let filled = filled.replace("{name}", "x").replace("{path}", "p");
        for method in methods {
            let (code, status) = line.send(method, &filled).await;
            let is_known = NOT_SERVED.iter().any(|end| path.ends_with(end));
            if leads_nowhere(code, &status) != is_known {
                nowhere.push(format!("{method} {path}: {code} {status}"));
            }
            walked += 1;
        }
    }
    assert!(nowhere.is_empty(), "{}", nowhere.join("\n"));
    assert!(walked > 700, "{walked}");
    // And the test can tell.
    for (method, path) in [("GET", "/api/v1/nothing"), ("PUT", "/api/v1/pods"), ("GET", "/apis/nothing/")] {
        let (code, status) = line.send(method, path).await;
        assert!(leads_nowhere(code, &status), "{method} {path}: {code} {status}");
    }
}
