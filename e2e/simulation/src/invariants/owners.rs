//! Who goes with whom: dependents, orphans, finalizers; and what makes an object itself.

use serde_json::Value;

use crate::cluster::{Cluster, Step};
use crate::read;

const DEPENDENTS: [(&str, &str); 4] =
    [("Deployment", "deployments"), ("ReplicaSet", "replicasets"), ("StatefulSet", "statefulsets"), ("Job", "jobs")];

/// ReplicaSets are deleted by their Deployment when it has more of them than it keeps, and pods by their sets: neither is meant.
pub(super) fn none_without_cause(cluster: &Cluster, step: &Step) -> Option<String> {
    let set = step.deletion_begins().filter(|_| step.is_of("replicasets"))?;
    let (kind, uid) = read::controller(set)?;
    let plural = DEPENDENTS.iter().find(|(name, _)| *name == kind)?.1;
    let owner = cluster.by_uid(plural, uid).filter(|owner| !read::is_deleting(owner))?;
    let namespace = cluster.get("namespaces", "", &step.place.namespace)?;
    let has_pods = read::number(set, "/spec/replicas") > 0 || read::number(set, "/status/replicas") > 0;
    (has_pods && !read::is_deleting(namespace))
        .then(|| format!("its owner {} is there, and it has pods", owner["metadata"]["name"]))
}

pub(super) fn orphans_stay(cluster: &Cluster, step: &Step) -> Option<String> {
    let object = step.deletion_begins()?;
    let owners = step.old.as_ref()?["metadata"]["ownerReferences"].as_array()?;
    let kept = owners.iter().find(|owner| owner["uid"].as_str().is_some_and(|uid| cluster.orphaned.contains(uid)))?;
    let namespace = cluster.get("namespaces", "", &step.place.namespace)?;
    let is_done = read::disruption(object).is_some() || read::is_deleting(namespace) || step.is_of("events");
    (!is_done).then(|| format!("its owner {} was deleted to leave it", kept["name"]))
}

pub(super) fn finalizers(_: &Cluster, step: &Step) -> Option<String> {
    let old = step.old.as_ref().filter(|_| step.new.is_none())?;
    let held: Vec<&str> = read::strings(old, "/metadata/finalizers").collect();
    let in_namespace = read::strings(old, "/spec/finalizers").count() > 0 && step.is_of("namespaces");
    // The last of them goes with the object, in one write.
    (held.len() > 1 || in_namespace).then(|| format!("it is gone, and {held:?} held it"))
}

pub(super) fn identity(_: &Cluster, step: &Step) -> Option<String> {
    let (old, new) = (step.old.as_ref()?, step.new.as_ref()?);
    let changed = |path: &str| old.pointer(path) != new.pointer(path);
    let fixed = ["/metadata/uid", "/metadata/creationTimestamp"];
    if let Some(path) = fixed.into_iter().find(|path| changed(path)) {
        return Some(format!("{path} has changed"));
    }
    let generation = |object: &Value| read::number(object, "/metadata/generation");
    if generation(new) < generation(old) {
        return Some(format!("the generation went from {} to {}", generation(old), generation(new)));
    }
    (read::is_deleting(old) && !read::is_deleting(new)).then(|| "its deletion was taken back".to_owned())
}
