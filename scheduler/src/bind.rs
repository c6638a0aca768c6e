//! Carries decisions out: placements to the apiserver, refusals to the pod's condition, both to its events.

use std::sync::Arc;

use corten_api::{ApiError, Key, Reason};
use corten_client::{Binder, Client, EventType, Patch, Recorder};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::{debug, warn};

use crate::pod::PodInfo;

/// Writes on their way; the scheduler waits while there are more.
const IN_FLIGHT_MAX: usize = 256;

/// What came of a placement.
#[derive(Debug)]
pub struct Outcome {
    pub key: Key,
    pub uid: String,
    pub result: Result<(), ApiError>,
}

#[derive(Debug)]
pub struct Writer {
    client: Client,
    binder: Binder,
    recorder: Recorder,
    places: Arc<Semaphore>,
    outcomes: mpsc::Sender<Outcome>,
}

impl Writer {
    /// Outcomes of placements come on the receiver, at most one for each permit.
    pub fn new(client: &Client, recorder: Recorder) -> (Self, mpsc::Receiver<Outcome>) {
        let (outcomes, receiver) = mpsc::channel(IN_FLIGHT_MAX);
        let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        (Self { client: client.clone(), binder: client.binder(), recorder, places, outcomes }, receiver)
    }

    /// A place among the writes in flight; wait for it before deciding.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed: `None` cannot come, and would only stop the scheduler.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Sends a placement; its outcome comes later.
    pub fn bind(&self, place: OwnedSemaphorePermit, pod: &PodInfo, node: String) {
        let (binder, recorder, outcomes) = (self.binder.clone(), self.recorder.clone(), self.outcomes.clone());
        let (key, uid) = (pod.key.clone(), pod.uid.clone());
        let about = reference(pod);
        tokio::spawn(async move {
            let result = binder.bind(&key.namespace, &key.name, &uid, &node).await;
            match &result {
                Ok(()) => {
                    let message = format!("Successfully assigned {key} to {node}");
                    recorder.event(&about, EventType::Normal, "Scheduled", message);
                }
                Err(err) => debug!(pod = %key, node, %err, "not bound"),
            }
            // The scheduler may have stopped meanwhile; its successor looks at the pod itself.
            let _ = outcomes.send(Outcome { key, uid, result }).await;
            drop(place);
        });
    }

    /// Says on the pod why it has no node, once for each reason.
    pub fn refuse(&self, place: OwnedSemaphorePermit, pod: &PodInfo, why: &str) {
        self.recorder.event(&reference(pod), EventType::Warning, "FailedScheduling", why);
        let told = pod.wants.as_deref().and_then(|w| w.told.as_deref());
        if told == Some(why) {
            return;
        }
        let mut condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
        });
        if told.is_none() {
            condition["lastTransitionTime"] = json!(Time(Timestamp::now()));
        }
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}));
        let (client, key) = (self.client.clone(), pod.key.clone());
        tokio::spawn(async move {
            match client.patch::<Pod>(&key, "status", patch).await {
                // Gone, or another of its name: nobody to tell.
                Err(err) if !err.is(Reason::NotFound) && !err.is(Reason::Conflict) => {
                    warn!(pod = %key, %err, "cannot write why the pod has no node");
                }
                _ => {}
            }
            drop(place);
        });
    }
}

fn reference(pod: &PodInfo) -> ObjectReference {
    pod.wants.as_deref().map(|w| w.reference.clone()).unwrap_or_default()
}
