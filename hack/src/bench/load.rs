//! The load: clients with one TLS connection each, which send prepared requests one after the other.
//!
//! It shares the machine's cores with what it measures, so it does little: one thread, ready-made bodies, answers
//! are read and dropped.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use super::samples::Samples;
use crate::rest::{Client, answer};

pub(super) const CLIENTS: usize = 16;
pub(super) const NAMESPACE: &str = "bench";
/// A pod's JSON as sent has this length.
const POD_BYTES: usize = 1536;
pub(super) const JSON: &str = "application/json";

/// One request; what it is follows from its number.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

impl Call {
    /// With a body of JSON, or none.
    pub(super) fn new(method: Method, path: String, body: Bytes) -> Self {
        Self { method, path, content_type: JSON, body }
    }
}

/// How a phase went.
pub(super) struct Done {
    pub(super) samples: Samples,
    pub(super) took: Duration,
}

/// A namespace and its service account, which no controller is there to make.
pub(super) async fn prepare(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    let objects = [
        (
            "/api/v1/namespaces".to_owned(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        ),
        (account, json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})),
    ];
    for (path, object) in objects {
        let body = Bytes::from(object.to_string());
        let (status, answer) = client.send(Method::POST, &path, "application/json", body).await?;
        if !status.is_success() && status != StatusCode::CONFLICT {
            bail!("POST {path} answered {status}: {}", String::from_utf8_lossy(&answer));
        }
    }
    Ok(())
}

/// Runs calls 0..count over all clients; any answer but 2xx ends the phase with the server's words.
pub(super) async fn run(
    client: &Client,
    count: usize,
    call: impl Fn(usize) -> Call + Send + Sync + 'static,
) -> anyhow::Result<Done> {
    let (next, call) = (Arc::new(AtomicUsize::new(0)), Arc::new(call));
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(client.connect().await?);
    }
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut sender in connections {
        let (next, call, client) = (Arc::clone(&next), Arc::clone(&call), client.clone());
        tasks.spawn(async move {
            let mut samples = Samples::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(samples);
                }
                let Call { method, path, content_type, body } = call(number);
                let request = client.request(method, &path, content_type, body)?;
                let sent = Instant::now();
                let (status, answer) = answer(&mut sender, request).await?;
                samples.add(sent.elapsed());
                if !status.is_success() {
                    bail!("{path} answered {status}: {}", String::from_utf8_lossy(&answer));
                }
            }
        });
    }
    let mut samples = Samples::default();
    while let Some(joined) = tasks.join_next().await {
        samples.join(joined??);
    }
    Ok(Done { samples, took: started.elapsed() })
}

/// Reads the whole list in pages, all clients at once, each from its own beginning. Samples are pages.
pub(super) async fn list_pages(client: &Client, rounds: usize, page: usize) -> anyhow::Result<Done> {
    let mut tasks = tokio::task::JoinSet::new();
    let started = Instant::now();
    for _ in 0..CLIENTS {
        let client = client.clone();
        tasks.spawn(async move {
            let mut samples = Samples::default();
            let mut sender = client.connect().await?;
            for _ in 0..rounds {
                let mut from = String::new();
                loop {
                    let path = format!("{}?limit={page}{from}", pods_path());
                    let request = client.request(Method::GET, &path, "application/json", Bytes::new())?;
                    let sent = Instant::now();
                    let (status, body) = answer(&mut sender, request).await?;
                    samples.add(sent.elapsed());
                    if !status.is_success() {
                        bail!("{path} answered {status}: {}", String::from_utf8_lossy(&body));
                    }
                    match continue_token(&body) {
                        Some(token) => from = format!("&continue={token}"),
                        None => break,
                    }
                }
            }
            anyhow::Ok(samples)
        });
    }
    let mut samples = Samples::default();
    while let Some(joined) = tasks.join_next().await {
        samples.join(joined??);
    }
    Ok(Done { samples, took: started.elapsed() })
}

/// The list's continue token, found without parsing a megabyte of items. Ours and upstream's need no escaping in a URL
/// but for the base64 padding.
fn continue_token(body: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\"continue\":\"";
    // The list's metadata stands before or after the items, so look at both ends only.
    const ENDS: usize = 4096;
    let find = |part: &[u8]| {
        let at = part.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
        let length = part[at..].iter().position(|byte| *byte == b'"')?;
        Some(String::from_utf8_lossy(&part[at..at + length]).replace('+', "%2B").replace('=', "%3D"))
    };
    let head = &body[..body.len().min(ENDS)];
    let tail = &body[body.len().saturating_sub(ENDS)..];
    find(head).or_else(|| find(tail)).filter(|token| !token.is_empty())
}

pub(super) fn pods_path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods")
}

pub(super) fn pod_name(number: usize) -> String {
    format!("pod-{number:06}")
}

/// A pod as JSON of `POD_BYTES`; `version` makes an update differ from what was there.
pub(super) fn pod_body(name: &str, version: usize) -> Bytes {
    let body = |filler: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": {"app": "bench", "tier": "load"},
                "annotations": {"bench/version": version.to_string(), "bench/filler": filler},
            },
            "spec": {
                "serviceAccountName": "default",
                "serviceAccount": "default",
                // No kubelet is there to run it, and no scheduler to place it.
                "schedulerName": "nobody",
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "main",
                    "image": "nginx:latest",
                    "ports": [{"name": "http", "containerPort": 80}],
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "resources": {
                        "requests": {"cpu": "100m", "memory": "64Mi"},
                        "limits": {"cpu": "500m", "memory": "128Mi"},
                    },
                }],
            },
        })
        .to_string()
    };
    let bare = body("").len();
    body(&"x".repeat(POD_BYTES.saturating_sub(bare))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_have_the_size_that_is_claimed() {
        assert_eq!(pod_body(&pod_name(7), 0).len(), POD_BYTES);
        assert_eq!(pod_body(&pod_name(7), 12345).len(), POD_BYTES);
    }

    #[test]
    fn continue_tokens_are_found_at_either_end() {
        let filler = "x".repeat(10_000);
        let cases = [
            (
                "metadata first",
                format!("{{\"metadata\":{{\"continue\":\"abc=\"}},\"items\":[\"{filler}\"]}}"),
                Some("abc%3D"),
            ),
            (
                "metadata last",
                format!("{{\"items\":[\"{filler}\"],\"metadata\":{{\"continue\":\"abc\"}}}}"),
                Some("abc"),
            ),
            ("the last page", format!("{{\"items\":[\"{filler}\"],\"metadata\":{{\"continue\":\"\"}}}}"), None),
            ("no word of it", format!("{{\"items\":[\"{filler}\"]}}"), None),
        ];
        for (why, body, expected) in cases {
            assert_eq!(continue_token(body.as_bytes()).as_deref(), expected, "{why}");
        }
    }
}
