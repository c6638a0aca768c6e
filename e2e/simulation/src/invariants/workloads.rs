//! Deployments, ReplicaSets, StatefulSets and budgets: how many pods there may be, and must be.

use serde_json::Value;

use crate::cluster::{Cluster, Loss, Step};
use crate::read::{self, number};

/// What users count in: it grows with each of their updates.
pub const COUNT_ANNOTATION: &str = "simulation/count";

pub(super) fn no_more_replicas(cluster: &Cluster, step: &Step) -> Option<String> {
    let pod = step.created().filter(|_| step.is_of("pods"))?;
    let (kind, owner) = read::controller(pod)?;
    let (plural, wanted) = match kind {
        "ReplicaSet" => ("replicasets", "/spec/replicas"),
        "StatefulSet" => ("statefulsets", "/spec/replicas"),
        "Job" => ("jobs", "/spec/parallelism"),
        _ => return None,
    };
    let most = cluster.recent(plural, owner).map(|owner| number(owner, wanted)).max()?;
    let active = children(cluster, step, owner).filter(|pod| read::is_active(pod)).count();
    (active as i64 > most).then(|| format!("{active} active pods of a {kind} that wants {most} at most"))
}

fn children<'a>(cluster: &'a Cluster, step: &'a Step, owner: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = cluster.in_namespace("pods", &step.place.namespace);
    all.filter(move |pod| read::is_controlled_by(pod, owner))
}

pub(super) fn no_set_twice(cluster: &Cluster, step: &Step) -> Option<String> {
    let set = step.created().filter(|_| step.is_of("replicasets"))?;
    let (_, owner) = read::controller(set)?;
    let hash = &set["metadata"]["labels"]["pod-template-hash"];
    let mut all = cluster.of("replicasets").filter(|(_, other)| read::is_controlled_by(other, owner));
    let (place, _) = all.find(|(_, other)| {
        read::uid(other) != read::uid(set) && other["metadata"]["labels"]["pod-template-hash"] == *hash
    })?;
    Some(format!("{} is of the same template", place.name))
}

pub(super) fn never_above_surge(cluster: &Cluster, step: &Step) -> Option<String> {
    let set = step.new.as_ref().filter(|_| step.is_of("replicasets"))?;
    let wanted = |set: &Value| number(set, "/spec/replicas");
    let (_, owner) = read::controller(set)?;
    if wanted(set) <= step.old.as_ref().map_or(0, wanted) {
        return None;
    }
    let bound = |deployment: &Value| number(deployment, "/spec/replicas") + rolling(deployment, "maxSurge");
    let most = cluster.recent("deployments", owner).map(bound).max()?;
    let sets = cluster.of("replicasets").filter(|(_, set)| read::is_controlled_by(set, owner));
    let all: i64 = sets.map(|(_, set)| wanted(set)).sum();
    (all > most).then(|| format!("its ReplicaSets want {all} pods together, {most} are the most"))
}

fn rolling(deployment: &Value, field: &str) -> i64 {
    number(deployment, &format!("/spec/strategy/rollingUpdate/{field}"))
}

pub(super) fn never_below_minimum(cluster: &Cluster, step: &Step) -> Option<String> {
    let pod = step.deletion_begins().filter(|_| step.is_of("pods"))?;
    let was_available = step.old.as_ref().is_some_and(read::is_available);
    if !was_available || read::disruption(pod).is_some() {
        return None;
    }
    let set = cluster.by_uid("replicasets", read::controller(pod)?.1).filter(|set| !read::is_deleting(set))?;
    let owner = read::controller(set)?.1;
    let deployment = cluster.by_uid("deployments", owner).filter(|one| !read::is_deleting(one))?;
    let namespace = cluster.get("namespaces", "", &step.place.namespace)?;
    if read::is_deleting(namespace) || read::is_deleting(deployment) {
        return None;
    }
    let sets: Vec<&str> = cluster
        .of("replicasets")
        .filter(|(_, set)| read::is_controlled_by(set, owner))
        .map(|(_, set)| read::uid(set))
        .collect();
    let is_ours = |pod: &Value| read::controller(pod).is_some_and(|(_, set)| sets.contains(&set));
    let left =
        cluster.in_namespace("pods", &step.place.namespace).filter(|pod| read::is_available(pod) && is_ours(pod));
    let left = left.count() as i64;
    let by_others = cluster.losses.iter().filter(|loss| !loss.replaced && is_ours(&loss.pod)).count() as i64;
    let least = |one: &Value| number(one, "/spec/replicas") - rolling(one, "maxUnavailable");
    let minimum = cluster.recent("deployments", owner).map(least).min()?;
    (left + by_others < minimum).then(|| {
        format!("{left} pods are left that serve (others have taken {by_others} in the last minutes), {minimum} must")
    })
}

pub(super) fn ordinals(cluster: &Cluster, step: &Step) -> Option<String> {
    let pod = step.created().filter(|_| step.is_of("pods"))?;
    let (_, owner) = read::controller(pod).filter(|(kind, _)| *kind == "StatefulSet")?;
    let most = cluster.recent("statefulsets", owner).map(|set| number(set, "/spec/replicas")).max()?;
    let ordinal: i64 = step.place.name.rsplit_once('-')?.1.parse().ok()?;
    (ordinal >= most).then(|| format!("ordinal {ordinal} of {most}"))
}

pub(super) fn no_lost_update(_: &Cluster, step: &Step) -> Option<String> {
    let count = |object: &Value| object["metadata"]["annotations"][COUNT_ANNOTATION].as_str()?.parse::<i64>().ok();
    let (old, new) = (step.old.as_ref()?, step.new.as_ref()?);
    if read::uid(old) != read::uid(new) {
        return None;
    }
    let (before, after) = (count(old)?, count(new).unwrap_or(0));
    (after < before).then(|| format!("the count went from {before} back to {after}"))
}

pub(super) fn budgets(cluster: &Cluster, step: &Step) -> Option<String> {
    let pod = step.deletion_begins().filter(|_| step.is_of("pods"))?;
    let was_healthy = step.old.as_ref().is_some_and(read::is_available);
    if !was_healthy || read::disruption(pod) != Some("EvictionByEvictionAPI") {
        return None;
    }
    let namespace = &step.place.namespace;
    cluster.in_namespace("poddisruptionbudgets", namespace).find_map(|budget| {
        let labels = &budget["spec"]["selector"]["matchLabels"];
        if !read::has_labels(pod, labels) {
            return None;
        }
        let healthy = cluster.in_namespace("pods", namespace);
        let healthy = healthy.filter(|pod| read::is_available(pod) && read::has_labels(pod, labels)).count() as i64;
        let by_others = |loss: &&Loss| !loss.evicted && read::has_labels(&loss.pod, labels);
        let by_others = cluster.losses.iter().filter(by_others).count() as i64;
        let versions = cluster.recent("poddisruptionbudgets", read::uid(budget));
        let minimum = versions.map(|budget| number(budget, "/spec/minAvailable")).min()?;
        (healthy + by_others < minimum).then(|| {
            format!("{healthy} pods are left healthy ({by_others} were lost otherwise), the budget keeps {minimum}")
        })
    })
}
