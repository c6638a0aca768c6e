//! What a Deployment reports: its counts, and the conditions that `kubectl rollout status` waits for.

use std::sync::Arc;
use std::time::Duration;

use corten_api::Object;
use corten_api::conditions::{self, Condition as _};
use corten_api::k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use jiff::{SignedDuration, Timestamp};

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
/// Upstream's mark for "no deadline".
const NO_DEADLINE_SECS: i32 = i32::MAX;

/// What the report is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub now: Timestamp,
    pub deployment: &'a Deployment,
    pub new: Option<&'a Arc<ReplicaSet>>,
    pub all: &'a [Arc<ReplicaSet>],
    pub wanted: i32,
    pub max_unavailable: i32,
}

/// A step of the rollout that has just been decided, if it shows in the Progressing condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    None,
    /// A ReplicaSet of this name is made.
    Created(String),
    /// The template is that of an existing ReplicaSet.
    Found(String),
}

/// Counts and the Available condition; all else stays as it was.
pub fn counted(facts: Facts<'_>) -> DeploymentStatus {
    let sum = |of: &dyn Fn(&ReplicaSet) -> i32| facts.all.iter().map(|s| of(s)).sum::<i32>();
    let status = |s: &ReplicaSet| s.status.clone().unwrap_or_default();
    let asked = sum(&|s| s.spec.replicas.unwrap_or(0));
    let available = sum(&|s| status(s).available_replicas.unwrap_or(0));
    let some = |n: i32| (n != 0).then_some(n);
    let old = facts.deployment.status.clone().unwrap_or_default();
    let mut conditions = old.conditions.unwrap_or_default();
    let enough = available >= facts.wanted - facts.max_unavailable;
    put(&mut conditions, facts.now, if enough { available_true() } else { available_false() });
    DeploymentStatus {
        observed_generation: facts.deployment.metadata.generation,
        replicas: some(sum(&|s| status(s).replicas)),
        updated_replicas: some(facts.new.map_or(0, |s| status(s).replicas)),
        ready_replicas: some(sum(&|s| status(s).ready_replicas.unwrap_or(0))),
        available_replicas: some(available),
        unavailable_replicas: some((asked - available).max(0)),
        terminating_replicas: some(sum(&|s| status(s).terminating_replicas.unwrap_or(0))),
        collision_count: old.collision_count,
        conditions: Some(conditions),
    }
}

/// The whole report of a rollout that is not paused.
pub fn rolled(facts: Facts<'_>, news: &News) -> DeploymentStatus {
    let mut status = counted(facts);
    let mut conditions = status.conditions.take().unwrap_or_default();
    // First: else the time of the pause counts as time without progress.
    note_pause(facts, false, &mut conditions);
    match news {
        News::Created(name) => {
            put(
                &mut conditions,
                facts.now,
                progressing("True", "NewReplicaSetCreated", format!("Created new replica set {name:?}")),
            );
        }
        News::Found(name) => {
            put(
                &mut conditions,
                facts.now,
                progressing("True", "FoundNewReplicaSet", format!("Found new replica set {name:?}")),
            );
        }
        News::None => progress(facts, &status, &mut conditions),
    }
    if deadline(facts.deployment).is_none() {
        conditions.retain(|c| c.kind() != PROGRESSING);
    }
    copy_failure(facts, &mut conditions);
    status.conditions = Some(conditions);
    status
}

fn progress(facts: Facts<'_>, status: &DeploymentStatus, conditions: &mut Vec<DeploymentCondition>) {
    let current = conditions.iter().find(|c| c.kind() == PROGRESSING).cloned();
    let was_done = current.as_ref().is_some_and(|c| c.reason.as_deref() == Some(DONE));
    if status.replicas == status.updated_replicas && was_done {
        return;
    }
    let what = match facts.new {
        Some(set) => format!("ReplicaSet {:?}", set.name()),
        None => format!("Deployment {:?}", facts.deployment.name()),
    };
    if is_complete(facts, status) {
        put(conditions, facts.now, progressing("True", DONE, format!("{what} has successfully progressed.")));
    } else if has_moved(facts.deployment, status) {
        // Written anew even if it reads the same: its update time is when the deadline starts.
        let since = current.filter(|c| c.status() == "True").and_then(|c| c.last_transition_time);
        conditions.retain(|c| c.kind() != PROGRESSING);
        put(conditions, facts.now, progressing("True", "ReplicaSetUpdated", format!("{what} is progressing.")));
        if let (Some(since), Some(last)) = (since, conditions.last_mut()) {
            last.last_transition_time = Some(since);
        }
    } else if timed_out(facts.deployment, current.as_ref(), facts.now) {
        put(conditions, facts.now, progressing("False", TIMED_OUT, format!("{what} has timed out progressing.")));
    }
}

/// The report of a paused deployment, or of one that is being scaled: counts, and that it is paused.
pub fn paused(facts: Facts<'_>) -> DeploymentStatus {
    let mut status = counted(facts);
    let is_paused = facts.deployment.spec.paused == Some(true);
    note_pause(facts, is_paused, status.conditions.get_or_insert_default());
    status
}

/// A pause stops the clock of the progress deadline; resuming starts it again.
fn note_pause(facts: Facts<'_>, is_paused: bool, conditions: &mut Vec<DeploymentCondition>) {
    if deadline(facts.deployment).is_none() {
        return;
    }
    let reason = conditions.iter().find(|c| c.kind() == PROGRESSING).and_then(|c| c.reason.as_deref());
    if reason == Some(TIMED_OUT) {
        return;
    }
    match (is_paused, reason == Some(PAUSED)) {
        (true, false) => put(conditions, facts.now, progressing("Unknown", PAUSED, "Deployment is paused".into())),
        (false, true) => {
            put(conditions, facts.now, progressing("Unknown", "DeploymentResumed", "Deployment is resumed".into()));
        }
        _ => {}
    }
}

/// The Progressing condition of a deployment whose ReplicaSet cannot be made.
pub fn create_failed(facts: Facts<'_>, name: &str, why: &str) -> DeploymentStatus {
    let mut status = counted(facts);
    let message = format!("Failed to create new replica set {name:?}: {why}");
    put(status.conditions.get_or_insert_default(), facts.now, progressing("False", "ReplicaSetCreateError", message));
    status
}

/// When to look again because nothing else will tell that the deadline has passed.
pub fn deadline_in(facts: Facts<'_>, status: &DeploymentStatus) -> Option<Duration> {
    let current = conditions::find(status.conditions.as_ref(), PROGRESSING)?;
    let over = matches!(current.reason.as_deref(), Some(DONE | TIMED_OUT | PAUSED));
    if over || is_complete(facts, status) {
        return None;
    }
    let due = due(facts.deployment, current)?;
    let left = due.duration_since(facts.now).max(SignedDuration::ZERO) + SignedDuration::from_secs(1);
    Duration::try_from(left).ok()
}

/// All pods are of the new template, and serve.
pub fn is_complete(facts: Facts<'_>, status: &DeploymentStatus) -> bool {
    let is_wanted = |n: Option<i32>| n.unwrap_or(0) == facts.wanted;
    is_wanted(status.updated_replicas)
        && is_wanted(status.replicas)
        && is_wanted(status.available_replicas)
        && status.observed_generation >= facts.deployment.metadata.generation
}

fn has_moved(deployment: &Deployment, new: &DeploymentStatus) -> bool {
    let old = deployment.status.clone().unwrap_or_default();
    let n = |n: Option<i32>| n.unwrap_or(0);
    let outdated = |s: &DeploymentStatus| n(s.replicas) - n(s.updated_replicas);
    n(new.updated_replicas) > n(old.updated_replicas)
        || outdated(new) < outdated(&old)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

fn timed_out(deployment: &Deployment, current: Option<&DeploymentCondition>, now: Timestamp) -> bool {
    match current.map(|c| (c, c.reason.as_deref())) {
        None | Some((_, Some(DONE))) => false,
        Some((_, Some(TIMED_OUT))) => true,
        Some((current, _)) => due(deployment, current).is_some_and(|due| due < now),
    }
}

fn due(deployment: &Deployment, current: &DeploymentCondition) -> Option<Timestamp> {
    let from = current.last_update_time.as_ref()?.0;
    from.checked_add(SignedDuration::from_secs(deadline(deployment)?)).ok()
}

fn deadline(deployment: &Deployment) -> Option<i64> {
    let secs = deployment.spec.progress_deadline_seconds?;
    (secs != NO_DEADLINE_SECS).then_some(i64::from(secs))
}

/// What keeps the new ReplicaSet (or else any) from making pods is said on the Deployment too.
fn copy_failure(facts: Facts<'_>, conditions: &mut Vec<DeploymentCondition>) {
    let failure = |set: &Arc<ReplicaSet>| {
        conditions::find(set.status.as_ref()?.conditions.as_ref(), REPLICA_FAILURE)
            .filter(|c| c.status() == "True")
            .cloned()
    };
    let found = facts.new.and_then(failure).or_else(|| facts.all.iter().find_map(failure));
    match found {
        Some(c) => {
            let (reason, message) = (c.reason.as_deref().unwrap_or_default(), c.message.clone().unwrap_or_default());
            put(conditions, facts.now, condition(REPLICA_FAILURE, c.status(), reason, message));
        }
        None => conditions.retain(|c| c.kind() != REPLICA_FAILURE),
    }
}

fn available_true() -> DeploymentCondition {
    condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.".into())
}
fn available_false() -> DeploymentCondition {
    let message = "Deployment does not have minimum availability.";
    condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message.into())
}
fn progressing(status: &str, reason: &str, message: String) -> DeploymentCondition {
    condition(PROGRESSING, status, reason, message)
}
fn condition(kind: &str, status: &str, reason: &str, message: String) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(kind.into()),
        status: Some(status.into()),
        reason: Some(reason.into()),
        message: Some(message),
        ..DeploymentCondition::default()
    }
}

/// Sets a condition; one with the same status and reason stays untouched, times and all.
fn put(list: &mut Vec<DeploymentCondition>, now: Timestamp, mut new: DeploymentCondition) {
    let same = |c: &DeploymentCondition| c.type_ == new.type_ && c.status == new.status && c.reason == new.reason;
    if !list.iter().any(same) {
        new.last_update_time = Some(Time(now));
        conditions::set(list, new, &Time(now));
    }
}

#[cfg(test)]
mod tests;
