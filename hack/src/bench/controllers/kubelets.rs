//! What the kubelets of made-up nodes would do with their pods: say that they run, that those of Jobs are done, and end those that
//! are to go.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::bench::fleet::{self, check};
use crate::bench::load::Call;
use crate::bench::watch::Watch;
use crate::rest::{Client, answer};

/// Connections over which they speak.
const CONNECTIONS: usize = 8;
/// Pods of which something is to be said; whoever tells of more waits.
const TOLD_MAX: usize = 16_384;
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// What ends without grace is gone at once.
const NOW: &[u8] = br#"{"gracePeriodSeconds":0}"#;

/// Their tasks end with the runtime.
pub(super) struct Kubelets {
    failed: Arc<AtomicUsize>,
}

impl Kubelets {
    /// From now on pods run.
    pub(super) async fn start(client: &Client) -> anyhow::Result<Self> {
        let watch = Watch::open(client, "/api/v1/pods?watch=1&fieldSelector=spec.nodeName!%3D").await?;
        let (calls, told) = mpsc::channel(TOLD_MAX);
        let (failed, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Mutex::new(told)));
        for _ in 0..CONNECTIONS {
            let (client, told, failed) = (client.clone(), told.clone(), failed.clone());
            tokio::spawn(async move {
                if let Err(err) = speak(&client, &told).await {
                    failed.fetch_add(1, Ordering::SeqCst);
                    say!("made-up kubelets fail: {err:#}");
                }
            });
        }
        let counted = failed.clone();
        tokio::spawn(async move {
            if let Err(err) = look(watch, calls).await {
                counted.fetch_add(1, Ordering::SeqCst);
                say!("made-up kubelets see no pods: {err:#}");
            }
        });
        Ok(Self { failed })
    }

    /// Whether all of them still do their work.
    pub(super) fn work(&self) -> bool {
        self.failed.load(Ordering::SeqCst) == 0
    }
}

async fn look(mut watch: Watch, calls: mpsc::Sender<Call>) -> anyhow::Result<()> {
    loop {
        let event = watch.next().await?;
        if let Some(call) = answer_to(&event) {
            calls.send(call).await.context("nobody speaks")?;
        }
    }
}

async fn speak(client: &Client, told: &tokio::sync::Mutex<mpsc::Receiver<Call>>) -> anyhow::Result<()> {
    let mut sender = client.connect().await?;
    loop {
        let call = told.lock().await.recv().await;
        let Some(Call { method, path, content_type, body }) = call else { return Ok(()) };
        let request = client.request(method, &path, content_type, body)?;
        let answered = answer(&mut sender, request.clone()).await;
        // A server closes a connection over which nothing has come for a while; to say the same twice does no harm.
        let (status, body) = match answered {
            Err(_) if sender.is_closed() => {
                sender = client.connect().await?;
                answer(&mut sender, request).await?
            }
            answered => answered?,
        };
        // A pod may be gone before anything is said of it.
        if status != StatusCode::NOT_FOUND {
            check(status, &path, &body)?;
        }
    }
}

/// What a kubelet says once it sees a pod so.
fn answer_to(event: &Value) -> Option<Call> {
    let pod = &event["object"];
    let meta = &pod["metadata"];
    let path = format!("/api/v1/namespaces/{}/pods/{}", meta["namespace"].as_str()?, meta["name"].as_str()?);
    if event["type"] == "DELETED" {
        return None;
    }
    if meta["deletionTimestamp"].is_string() {
        return Some(Call::new(Method::DELETE, path, Bytes::from_static(NOW)));
    }
    let is_done = meta["labels"][JOB_NAME].is_string();
    (pod["status"]["phase"] == "Pending").then(|| fleet::merge(format!("{path}/status"), &status(is_done)))
}

fn status(is_done: bool) -> Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (phase, ready) = if is_done { ("Succeeded", "False") } else { ("Running", "True") };
    let state = if is_done {
        json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}})
    } else {
        json!({"running": {"startedAt": now}})
    };
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": now});
    json!({"status": {
        "phase": phase, "startTime": now, "podIP": "10.244.0.1", "podIPs": [{"ip": "10.244.0.1"}],
        // With the scheduler's, which a merge would take away.
        "conditions": [condition("PodScheduled", "True"), condition("Initialized", "True"),
            condition("ContainersReady", ready), condition("Ready", ready)],
        "containerStatuses": [{"name": "main", "image": "none", "imageID": "none", "ready": !is_done, "restartCount": 0,
            "started": !is_done, "state": state}],
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_pod() {
        let said = |kind: &str, meta: Value, phase: &str| {
            let mut meta = meta;
            (meta["namespace"], meta["name"]) = ("n".into(), "p".into());
            let call = answer_to(&json!({"type": kind, "object": {"metadata": meta, "status": {"phase": phase}}}))?;
            let body: Value = serde_json::from_slice(&call.body).unwrap();
            Some((call.method, call.path, body["status"]["phase"].as_str().unwrap_or_default().to_owned()))
        };
        let (pod, status) = ("/api/v1/namespaces/n/pods/p".to_owned(), "/api/v1/namespaces/n/pods/p/status".to_owned());
        let of_job = json!({"labels": {JOB_NAME: "j"}});
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let cases = [
            ("it came", "ADDED", json!({}), "Pending", Some((Method::PATCH, status.clone(), "Running".to_owned()))),
            (
                "its Job's work is done",
                "ADDED",
                of_job,
                "Pending",
                Some((Method::PATCH, status, "Succeeded".to_owned())),
            ),
            ("it runs", "MODIFIED", json!({}), "Running", None),
            ("it is to go", "MODIFIED", going.clone(), "Running", Some((Method::DELETE, pod, String::new()))),
            ("it is gone", "DELETED", going, "Running", None),
        ];
        for (why, kind, meta, phase, expected) in cases {
            assert_eq!(said(kind, meta, phase), expected, "{why}");
        }
    }
}
