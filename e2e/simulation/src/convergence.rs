//! Where a cluster must come to once nothing fails any more: what each workload still lacks.

use serde_json::Value;

use crate::cluster::{Cluster, Place};
use crate::read::{self, number};

/// What is not as it should be yet; empty: the cluster is at rest.
pub fn lacking(cluster: &Cluster) -> Vec<String> {
    let mut lacking = Vec::new();
    let mut look = |kind: &str, says: fn(&Cluster, &Place, &Value) -> Option<String>| {
        // What a full quota keeps from being made nobody can make.
        let may_be = |place: &Place| matches!(kind, "pods" | "namespaces") || !is_full(cluster, &place.namespace);
        let of_kind = cluster.of(kind).filter(|(place, _)| may_be(place));
        lacking.extend(of_kind.filter_map(|(place, object)| {
            let why = says(cluster, place, object)?;
            Some(format!("{kind} {}/{}: {why}", place.namespace, place.name))
        }));
    };
    look("deployments", deployment);
    look("replicasets", replica_set);
    look("statefulsets", stateful_set);
    look("jobs", job);
    look("pods", pod);
    look("namespaces", |_, _, namespace| read::is_deleting(namespace).then(|| "is being deleted".into()));
    lacking
}

fn is_full(cluster: &Cluster, namespace: &str) -> bool {
    cluster.in_namespace("resourcequotas", namespace).any(|quota| {
        let pods = &quota["status"];
        pods["used"]["pods"].is_string() && pods["used"]["pods"] == pods["hard"]["pods"]
    })
}

fn seen(object: &Value) -> Option<String> {
    if read::is_deleting(object) {
        return Some("is being deleted".into());
    }
    let (generation, observed) = (number(object, "/metadata/generation"), number(object, "/status/observedGeneration"));
    (generation != observed).then(|| format!("generation {generation}, {observed} is observed"))
}

fn counts(object: &Value, wanted: i64, fields: &[&str]) -> Option<String> {
    let has = |field: &str| number(object, &format!("/status/{field}"));
    let field = fields.iter().find(|field| has(field) != wanted)?;
    Some(format!("wants {wanted}, {field} is {}", has(field)))
}

fn deployment(_: &Cluster, _: &Place, object: &Value) -> Option<String> {
    let wanted = number(object, "/spec/replicas");
    seen(object)
        .or_else(|| counts(object, wanted, &["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]))
}

fn replica_set(cluster: &Cluster, place: &Place, object: &Value) -> Option<String> {
    if let Some(why) = seen(object) {
        return Some(why);
    }
    let pods = cluster.in_namespace("pods", &place.namespace);
    let pods = pods.filter(|pod| read::is_controlled_by(pod, read::uid(object)) && read::is_active(pod)).count() as i64;
    let wanted = number(object, "/spec/replicas");
    (pods != wanted)
        .then(|| format!("wants {wanted} pods, has {pods}"))
        .or_else(|| counts(object, wanted, &["replicas"]))
}

fn stateful_set(_: &Cluster, _: &Place, object: &Value) -> Option<String> {
    let wanted = number(object, "/spec/replicas");
    let revisions = || {
        let (now, next) = (&object["status"]["currentRevision"], &object["status"]["updateRevision"]);
        (now != next).then(|| format!("goes from {now} to {next}"))
    };
    seen(object)
        .or_else(|| counts(object, wanted, &["replicas", "readyReplicas", "availableReplicas"]))
        .or_else(revisions)
}

fn job(cluster: &Cluster, _: &Place, object: &Value) -> Option<String> {
    if read::is_deleting(object) {
        return Some("is being deleted".into());
    }
    if read::is_true(object, "Failed") {
        return None;
    }
    if !read::is_true(object, "Complete") {
        return Some("is not complete".into());
    }
    let owned = cluster.pods.values().filter(|pod| read::is_controlled_by(pod, read::uid(object)));
    let truth = owned.filter(|pod| read::phase(pod) == "Succeeded").count() as i64;
    let (completions, counted) = (number(object, "/spec/completions"), number(object, "/status/succeeded"));
    (counted < completions || counted > truth)
        .then(|| format!("{counted} succeeded of {completions}, {truth} pods have"))
}

fn pod(cluster: &Cluster, _: &Place, pod: &Value) -> Option<String> {
    if read::is_deleting(pod) {
        return Some("is being deleted".into());
    }
    if let Some((kind, uid)) = read::controller(pod) {
        let plural = match kind {
            "ReplicaSet" => "replicasets",
            "StatefulSet" => "statefulsets",
            "Job" => "jobs",
            _ => return None,
        };
        if cluster.by_uid(plural, uid).is_none() {
            return Some("its owner is gone".into());
        }
    }
    let at_rest = read::has_ended(pod) || read::is_available(pod);
    (!at_rest).then(|| format!("is {}, on {}", read::phase(pod), pod["spec"]["nodeName"]))
}
