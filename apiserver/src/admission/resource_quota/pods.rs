//! What quotas count of pods: how many run, and what they ask for and may have.

use std::collections::{BTreeMap, BTreeSet};

use corten_api::pod::is_terminal;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::counted::one;
use crate::admission::pod_resources::{Side, in_fact, is_given_as_a_whole};
use crate::registry::AnyObject;
use crate::registry::quantities::{List, parsed};
use crate::registry::resource_names::{
    CPU, EPHEMERAL_STORAGE, LIMITS_PREFIX, MEMORY, REQUESTS_PREFIX, is_extended, is_huge_pages, is_native,
};

/// Pods that have not ended.
const PODS: &str = "pods";
const COMPUTE: &[&str] = &[CPU, MEMORY, EPHEMERAL_STORAGE];
/// Where a quota counts these, each container must say how much: a mistake of old, which is kept, and not repeated for
/// any other resource.
const MUST_BE_SAID: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

pub(super) fn tracks(resource: &str) -> bool {
    let requested = resource.strip_prefix(REQUESTS_PREFIX);
    let limited = resource.strip_prefix(LIMITS_PREFIX);
    resource == PODS
        || [Some(resource), requested, limited].into_iter().flatten().any(|name| COMPUTE.contains(&name))
        || is_huge_pages(requested.unwrap_or(resource))
        || requested.is_some() && !is_native(resource)
}

/// How a quota calls what is requested and limited.
fn compute(requests: &List, limits: &List) -> List {
    let mut usage = List::new();
    for (name, amount) in requests {
        let of_compute = COMPUTE.contains(&name.as_str()) || is_huge_pages(name);
        if of_compute {
            usage.insert(name.clone(), *amount);
        }
        if of_compute || is_extended(name) {
            usage.insert(format!("{REQUESTS_PREFIX}{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        usage.insert(format!("{LIMITS_PREFIX}{name}"), *amount);
    }
    usage
}

/// What has ended takes nothing any more.
pub(super) fn usage(pod: &Pod, now_secs: i64) -> List {
    if !is_charged(pod, now_secs) {
        return List::new();
    }
    let mut usage = compute(&in_fact(pod, Side::Requests), &in_fact(pod, Side::Limits));
    usage.insert(PODS.into(), one());
    usage
}

/// A pod that should have been gone for its grace is not held against its owner: its node may be lost.
fn is_charged(pod: &Pod, now_secs: i64) -> bool {
    let meta = &pod.metadata;
    let gone_at = meta.deletion_timestamp.as_ref().zip(meta.deletion_grace_period_seconds);
    let overdue = gone_at.is_some_and(|(at, grace_secs)| at.0.as_second().saturating_add(grace_secs) < now_secs);
    !is_terminal(pod) && !overdue
}

/// "must specify cpu for: a,b; memory for: a"
pub(super) fn constraints(hard: &List, pod: &Pod) -> Result<(), String> {
    let required: BTreeSet<&str> = MUST_BE_SAID.iter().copied().filter(|name| hard.contains_key(*name)).collect();
    let Some(spec) = pod.spec.as_ref().filter(|_| !required.is_empty() && !is_given_as_a_whole(pod)) else {
        return Ok(());
    };
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let said = said(container);
        for name in required.iter().filter(|name| !said.contains_key(**name)) {
            missing.entry(name).or_default().insert(&container.name);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let joined = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(",");
    let parts: Vec<String> = missing.into_iter().map(|(name, of)| format!("{name} for: {}", joined(of))).collect();
    Err(format!("must specify {}", parts.join("; ")))
}

fn said(container: &Container) -> List {
    let side = |side: Side| parsed(side.of(container.resources.as_ref()));
    compute(&side(Side::Requests), &side(Side::Limits))
}

/// A pod that is to end by itself: it counts in other quotas than one that is to run on.
pub(super) fn is_terminating(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).is_some_and(|secs| secs >= 0)
}

pub(super) fn changes_scope(old: Option<&dyn AnyObject>, new: Option<&dyn AnyObject>) -> bool {
    let of = |object: Option<&dyn AnyObject>| object?.as_any().downcast_ref::<Pod>().map(is_terminating);
    of(old) != of(new)
}
