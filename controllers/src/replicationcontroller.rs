//! ReplicationControllers: the front of [`crate::replicas`] for the core group.

use std::collections::BTreeMap;

use corten_api::k8s_openapi::api::core::v1::{
    PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::selector::{Selector, SelectorError};
use corten_api::{Object, conditions};

use crate::context::{Context, Doubts};
use crate::replicas::{Controller, Failure, ReplicaOwner, decide::Counts, pods_by_node};

const REPLICA_FAILURE: &str = "ReplicaFailure";

pub async fn run(context: Context) {
    let owners = context.caches.replication_controllers.clone();
    Controller { context, owners, doubts: Doubts::default(), neighbours }.run("replicationcontroller").await;
}

fn neighbours(context: &Context, owner: &ReplicationController) -> BTreeMap<String, usize> {
    pods_by_node(context, owner.namespace(), &[owner.uid().to_owned()])
}

impl ReplicaOwner for ReplicationController {
    const COUNTS_TERMINATING: bool = false;
    fn wanted(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }
    fn min_ready_secs(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }
    fn selector(&self) -> Result<Selector, SelectorError> {
        Ok(Selector::from_labels(self.spec.as_ref().and_then(|s| s.selector.as_ref())))
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
    fn counts(&self) -> Counts {
        let status = self.status.clone().unwrap_or_default();
        Counts {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: 0,
            observed_generation: status.observed_generation.unwrap_or(0),
        }
    }
    fn failure(&self) -> Option<&str> {
        let found = conditions::find(self.status.as_ref()?.conditions.as_ref(), REPLICA_FAILURE)?;
        Some(found.message.as_deref().unwrap_or_default())
    }
    fn set_status(&mut self, counts: Counts, failure: Option<&Failure>, now: &Time) {
        let mut list = self.status.take().and_then(|s| s.conditions).unwrap_or_default();
        match failure {
            Some(failure) => {
                let new = ReplicationControllerCondition {
                    type_: REPLICA_FAILURE.into(),
                    status: "True".into(),
                    reason: Some(failure.reason.into()),
                    message: Some(failure.message.clone()),
                    ..ReplicationControllerCondition::default()
                };
                conditions::set(&mut list, new, now);
            }
            None => list.retain(|c| c.type_ != REPLICA_FAILURE),
        }
        self.status = Some(ReplicationControllerStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: Some(counts.fully_labeled),
            ready_replicas: Some(counts.ready),
            available_replicas: Some(counts.available),
            observed_generation: Some(counts.observed_generation),
            conditions: (!list.is_empty()).then_some(list),
        });
    }
}
