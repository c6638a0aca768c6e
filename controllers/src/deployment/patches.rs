//! What actions come to on the wire. Pure: simulations write what the product writes.

use corten_api::Object;
use corten_api::k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use serde_json::{Value, json};

use super::{decide, revision};

/// A merge patch of a ReplicaSet: what its Deployment says of it.
pub fn refresh(set: &ReplicaSet) -> Value {
    json!({
        "metadata": {"uid": set.uid(), "annotations": set.metadata.annotations},
        "spec": {"minReadySeconds": set.spec.min_ready_seconds.unwrap_or(0)},
    })
}

/// A merge patch of a ReplicaSet: its size, and what that was chosen by.
pub fn scale(deployment: &Deployment, set: &ReplicaSet, to: i32) -> Value {
    json!({
        "metadata": {"uid": set.uid(), "annotations": size_annotations(deployment)},
        "spec": {"replicas": to},
    })
}

/// A merge patch of a ReplicaSet: what its size was chosen by.
pub fn note_size(deployment: &Deployment, set: &ReplicaSet) -> Value {
    json!({"metadata": {"uid": set.uid(), "annotations": size_annotations(deployment)}})
}

/// A merge patch of a Deployment: its revision.
pub fn revise(deployment: &Deployment, revision: &str) -> Value {
    json!({"metadata": {"uid": deployment.uid(), "annotations": {revision::REVISION: revision}}})
}

fn size_annotations(deployment: &Deployment) -> Value {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let pairs = revision::scale_annotations(wanted, decide::bounds(deployment).surge);
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect::<serde_json::Map<_, _>>().into()
}

/// Whose the ReplicaSet is that has the name of a new one.
#[derive(Clone, Debug, PartialEq)]
pub enum Collision {
    /// It is the new one: the answer to its creation was lost.
    Ours,
    /// It has another template, or another owner. The status counts it, which leads to another name.
    Others(Box<DeploymentStatus>),
}

pub fn collision(deployment: &Deployment, wanted: &ReplicaSet, there: &ReplicaSet) -> Collision {
    let template = |set: &ReplicaSet| set.spec.template.clone().unwrap_or_default();
    let ours = there.is_controlled_by(deployment.uid());
    if ours && revision::same_template(&template(there), &template(wanted)) {
        return Collision::Ours;
    }
    let mut status = deployment.status.clone().unwrap_or_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    Collision::Others(Box::new(status))
}
