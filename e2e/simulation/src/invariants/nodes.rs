//! What there is room for: on nodes, and in namespaces.

use serde_json::Value;

use crate::cluster::{Cluster, Step};
use crate::read;

pub(super) fn quotas(cluster: &Cluster, step: &Step) -> Option<String> {
    if !step.is_of("pods") && !step.is_of("resourcequotas") {
        return None;
    }
    let namespace = &step.place.namespace;
    let there = || cluster.in_namespace("pods", namespace).filter(|pod| !read::has_ended(pod));
    // One that is deleted may have its place back before it is gone.
    let (least, most) = (there().filter(|pod| !read::is_deleting(pod)).count() as i64, there().count() as i64);
    cluster.in_namespace("resourcequotas", namespace).find_map(|quota| {
        let used: i64 = quota["status"]["used"]["pods"].as_str()?.parse().ok()?;
        if used < least || used > most {
            return Some(format!("the quota says {used} pods, there are {least} to {most}"));
        }
        let hard: i64 = quota["status"]["hard"]["pods"].as_str()?.parse().ok()?;
        let created = step.created().is_some() && step.is_of("pods");
        (created && used > hard).then(|| format!("{used} pods, {hard} are allowed"))
    })
}

fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str()
}

pub(super) fn not_overcommitted(cluster: &Cluster, step: &Step) -> Option<String> {
    let pod = step.new.as_ref().filter(|_| step.is_of("pods"))?;
    let node = node_of(pod)?;
    if step.old.as_ref().and_then(node_of).is_some() {
        return None;
    }
    let there = cluster.get("minions", "", node)?;
    let room = read::millis(there["status"]["allocatable"]["cpu"].as_str()?);
    let on_it = |pod: &&Value| node_of(pod) == Some(node) && !read::has_ended(pod);
    let asked: i64 = cluster.of("pods").map(|(_, pod)| pod).filter(on_it).map(read::cpu_millis).sum();
    (asked > room).then(|| format!("{node} has {room}m of CPU, its pods ask for {asked}m"))
}

pub(super) fn placed_once(_: &Cluster, step: &Step) -> Option<String> {
    let (old, new) = (step.old.as_ref().filter(|_| step.is_of("pods"))?, step.new.as_ref()?);
    let before = node_of(old)?;
    (read::uid(old) == read::uid(new) && node_of(new) != Some(before))
        .then(|| format!("it was on {before}, and is on {:?}", node_of(new)))
}
