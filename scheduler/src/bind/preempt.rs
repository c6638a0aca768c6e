//! Makes room for a pod: its victims are told why they go, and deleted with the grace that they asked for.

use corten_api::{ApiError, Key};
use corten_client::{Client, EventType, Recorder};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;

use super::{is_gone, patch_status};
use crate::cycle::PodRef;
use crate::pod::{PREEMPTED, reference};

/// Where room is made, and what for.
#[derive(Clone, Debug)]
pub struct Room {
    pub node: String,
    pub victims: Vec<PodRef>,
    /// Pods of lower priority that wait for the same node: they are nominated for it no longer.
    pub demoted: Vec<PodRef>,
    /// Why no node will do as it is.
    pub why: String,
}

#[derive(Clone, Debug)]
pub(super) struct Preemption {
    /// The name of the preemptor's scheduler, for the victims' conditions.
    pub(super) scheduler: String,
    pub(super) client: Client,
    pub(super) recorder: Recorder,
}

impl Preemption {
    /// `status` is the preemptor's own: it is nominated before anybody has to go. The first error ends it; victims that are
    /// told already go all the same, and the preemptor is decided on again.
    pub(super) async fn run(
        self,
        preemptor: &Key,
        uid: &str,
        status: serde_json::Value,
        room: Room,
    ) -> Result<(), ApiError> {
        for pod in &room.demoted {
            patch_status(&self.client, &pod.key, &pod.uid, json!({"nominatedNodeName": null})).await?;
        }
        patch_status(&self.client, preemptor, uid, status).await?;
        // No more than there are pods on one node.
        let mut under_way = JoinSet::new();
        for victim in room.victims {
            let message = format!("Preempted by pod {uid} on node {}", room.node);
            under_way.spawn(self.clone().evict(victim, message));
        }
        while let Some(ended) = under_way.join_next().await {
            ended.unwrap_or_else(|err| Err(ApiError::internal(err.to_string())))?;
        }
        Ok(())
    }

    async fn evict(self, victim: PodRef, message: String) -> Result<(), ApiError> {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": PREEMPTED,
            "message": format!("{}: preempting to accommodate a higher priority pod", self.scheduler),
            "lastTransitionTime": Time(Timestamp::now()),
        });
        patch_status(&self.client, &victim.key, &victim.uid, json!({"conditions": [condition]})).await?;
        let of_this_pod = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
        let options = DeleteOptions { preconditions: Some(of_this_pod), ..DeleteOptions::default() };
        match self.client.delete::<Pod>(&victim.key, &options).await {
            Ok(_) => {
                let about = reference(&victim.key, &victim.uid);
                self.recorder.event(&about, EventType::Normal, "Preempted", message);
                Ok(())
            }
            Err(err) if is_gone(&err) => Ok(()),
            Err(err) => Err(err),
        }
    }
}
