//! What Jobs count: each pod once, and all of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::{Cluster, Step};
use crate::read::{self, JOB_FINALIZER, number};

pub(super) fn exact(cluster: &Cluster, step: &Step) -> Option<String> {
    let job = step.new.as_ref().filter(|_| step.is_of("jobs"))?;
    let counted = cluster.counted.get(read::uid(job))?;
    let says = |name: &str| {
        let uncounted = read::strings(job, &format!("/status/uncountedTerminatedPods/{name}")).count();
        number(job, &format!("/status/{name}")) + uncounted as i64
    };
    if let Some(indexes) = indexes(job)
        && number(job, "/status/succeeded") != indexes.len() as i64
    {
        return Some(format!("{} indexes are complete", indexes.len()));
    }
    for (name, seen) in [("succeeded", &counted.succeeded), ("failed", &counted.failed)] {
        if name == "succeeded" && indexes(job).is_some() {
            continue;
        }
        if says(name) != seen.len() as i64 {
            return Some(format!("its status comes to {} {name}, {} pods were ever counted", says(name), seen.len()));
        }
        let wrong = |uid: &&String| match cluster.pods.get(*uid) {
            Some(pod) if name == "succeeded" => read::phase(pod) != "Succeeded",
            Some(pod) => read::phase(pod) == "Succeeded",
            None => true,
        };
        if let Some(uid) = seen.iter().find(wrong) {
            return Some(format!("it counts {uid} as {name}, which has not"));
        }
    }
    if let Some(uid) = counted.succeeded.intersection(&counted.failed).next() {
        return Some(format!("it counts {uid} twice"));
    }
    let old = step.old.as_ref()?;
    let shrank = |name: &str| number(job, &format!("/status/{name}")) < number(old, &format!("/status/{name}"));
    ["succeeded", "failed"].into_iter().find(|name| shrank(name)).map(|name| format!("{name} went back"))
}

/// The complete indexes of a Job that has such.
fn indexes(job: &Value) -> Option<BTreeSet<i64>> {
    if job["spec"]["completionMode"] != "Indexed" {
        return None;
    }
    let text = job["status"]["completedIndexes"].as_str().unwrap_or_default();
    let ranges = text.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<i64>().ok()?..=last.parse().ok()?)
    });
    Some(ranges.flatten().collect())
}

/// A pod that still runs may be let go and deleted: it counts for nothing.
pub(super) fn none_uncounted(cluster: &Cluster, step: &Step) -> Option<String> {
    let old = step.old.as_ref().filter(|old| step.is_of("pods") && read::has_finalizer(old, JOB_FINALIZER))?;
    if !read::has_ended(old) {
        return None;
    }
    if step.new.as_ref().is_some_and(|new| read::has_finalizer(new, JOB_FINALIZER)) {
        return None;
    }
    let (_, owner) = read::controller(old).filter(|(kind, _)| *kind == "Job")?;
    let job = cluster.by_uid("jobs", owner)?;
    let has_finished = |job: &Value| read::is_true(job, "Complete") || read::is_true(job, "Failed");
    if read::is_deleting(job) || has_finished(job) {
        return None;
    }
    let counted = cluster.counted.get(owner);
    if let Some(indexes) = indexes(job).filter(|_| read::phase(old) == "Succeeded") {
        let index = old["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].as_str()?;
        let is_complete = indexes.contains(&index.parse().ok()?);
        return (!is_complete).then(|| format!("it is let go, and index {index} is not complete"));
    }
    let is_counted =
        counted.is_some_and(|all| [&all.succeeded, &all.failed].iter().any(|all| all.contains(read::uid(old))));
    (!is_counted).then(|| "it is let go, and its Job does not count it".to_owned())
}
