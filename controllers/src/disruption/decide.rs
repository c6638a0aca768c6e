//! What a PodDisruptionBudget's status says: how many of its pods are healthy, should be, and may be evicted now.
//!
//! <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::ObjectReference;
use corten_api::k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use corten_api::selector::SelectorError;
use corten_api::{ApiError, Object, conditions};
use corten_client::EventType;
use jiff::{SignedDuration, Timestamp};

use super::expected::{self, CountError, Counted, Expected};
use crate::pods::SeenPod;

/// An evicted pod whose deletion is not seen for this long is not going to be deleted, and counts again.
pub const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
/// The condition that says whether a disruption is allowed now.
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";
const SUFFICIENT_PODS: &str = "SufficientPods";
const INSUFFICIENT_PODS: &str = "InsufficientPods";
const SYNC_FAILED: &str = "SyncFailed";

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub now: Timestamp,
    pub budget: &'a PodDisruptionBudget,
    /// The pods that it selects, if its selector can be read.
    pub pods: Result<&'a [Arc<SeenPod>], &'a SelectorError>,
    /// What is known of the controllers of these pods, by uid. Looked at where [`expected::counts_scales`] says so.
    pub controllers: &'a BTreeMap<String, Counted>,
    /// Some of its pods that others guard, too, and the names of all their budgets.
    pub shared: &'a [(Arc<SeenPod>, Vec<String>)],
}

/// An event to record.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub about: ObjectReference,
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The status to write; `None`: what is there is right.
    pub status: Option<PodDisruptionBudgetStatus>,
    pub events: Vec<Said>,
    /// When an evicted pod that is still there counts again.
    pub wake_after: Option<Duration>,
    /// What to report as failed once the status is written: it may go well when it is tried again.
    pub failed: Option<ApiError>,
}

pub fn decide(seen: &Observed<'_>) -> Decision {
    let mut events: Vec<Said> = seen.shared.iter().map(|(pod, budgets)| shared(pod, budgets)).collect();
    let mut decision = match counted(seen, &mut events) {
        Ok((pods, expected)) => report(seen, pods, expected, &mut events),
        Err(failure) => fail_safe(seen, failure),
    };
    decision.events = events;
    decision
}

/// The pods, and how many of them there should be.
fn counted<'a>(seen: &Observed<'a>, events: &mut Vec<Said>) -> Result<(&'a [Arc<SeenPod>], Expected), CountError> {
    let mut say = |kind, reason, message: String| {
        events.push(Said { about: seen.budget.reference(), kind, reason, message });
    };
    let pods = seen.pods.map_err(|err| {
        say(EventType::Warning, "NoPods", format!("Failed to get pods: {err}"));
        CountError::Selector(err.clone())
    })?;
    if pods.is_empty() {
        say(EventType::Normal, "NoPods", "No matching pods found".into());
    }
    let expected = expected::expected(seen.budget, pods, seen.controllers).inspect_err(|err| {
        let message = format!("Failed to calculate the number of expected pods: {err}");
        say(EventType::Warning, "CalculateExpectedPodCountFailed", message);
    })?;
    if !expected.unmanaged.is_empty() {
        let message = format!(
            "Pods without a controller are selected, and cannot be counted as a share of a controller's replicas: {}. \
             Set .spec.minAvailable to an integer to have them counted.",
            shortened(&expected.unmanaged),
        );
        say(EventType::Warning, "UnmanagedPods", message);
    }
    Ok((pods, expected))
}

/// A message that names a thousand pods helps nobody.
fn shortened(names: &[String]) -> String {
    const NAMED_MAX: usize = 5;
    let named = names[..names.len().min(NAMED_MAX)].join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn report(seen: &Observed<'_>, pods: &[Arc<SeenPod>], expected: Expected, events: &mut Vec<Said>) -> Decision {
    let old = seen.budget.status.clone().unwrap_or_default();
    let Disrupted { going, late, next } = disrupted(seen, pods);
    events.extend(late.into_iter().map(|pod| not_deleted(seen.budget, pod)));
    let is_healthy =
        |pod: &&Arc<SeenPod>| pod.deleting.is_none() && pod.is_ready() && !going.contains_key(&pod.key.name);
    let healthy = expected::count(pods.iter().filter(is_healthy));
    // A budget without pods allows nothing: its first ones may be there before it is looked at again.
    let allowed = if expected.pods > 0 { (healthy - expected.desired_healthy).max(0) } else { 0 };
    let observed_generation = seen.budget.metadata.generation;
    let mut list = old.conditions.clone().unwrap_or_default();
    let (status, reason) = if allowed > 0 { ("True", SUFFICIENT_PODS) } else { ("False", INSUFFICIENT_PODS) };
    set_condition(&mut list, seen.now, condition(status, reason, String::new(), observed_generation));
    let new = PodDisruptionBudgetStatus {
        conditions: Some(list),
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.desired_healthy),
        disrupted_pods: (!going.is_empty()).then_some(going),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected.pods),
        observed_generation,
    };
    let wake_after = next.and_then(|at| Duration::try_from(at.duration_since(seen.now)).ok());
    Decision { status: (new != old).then_some(new), events: Vec::new(), wake_after, failed: None }
}

/// Nobody knows how many pods there should be: nothing is allowed, so that no eviction takes one too many.
fn fail_safe(seen: &Observed<'_>, failure: CountError) -> Decision {
    let old = seen.budget.status.clone().unwrap_or_default();
    let mut list = old.conditions.clone().unwrap_or_default();
    // It was not found out for the present generation.
    let failed = condition("False", SYNC_FAILED, failure.to_string(), old.observed_generation);
    set_condition(&mut list, seen.now, failed);
    let new = PodDisruptionBudgetStatus { conditions: Some(list), disruptions_allowed: Some(0), ..old.clone() };
    let failed = match failure {
        CountError::Unanswered(err) => Some(err),
        // A change of the budget, its pods or their controllers brings it back.
        _ => None,
    };
    Decision { status: (new != old).then_some(new), events: Vec::new(), wake_after: None, failed }
}

/// Of the pods that evictions were allowed for.
struct Disrupted<'a> {
    /// Still to be seen to go.
    going: BTreeMap<String, Time>,
    /// Not deleted after all.
    late: Vec<&'a SeenPod>,
    /// When the first of `going` is late.
    next: Option<Timestamp>,
}

fn disrupted<'a>(seen: &Observed<'_>, pods: &'a [Arc<SeenPod>]) -> Disrupted<'a> {
    let mut found = Disrupted { going: BTreeMap::new(), late: Vec::new(), next: None };
    let Some(noted) = seen.budget.status.as_ref().and_then(|s| s.disrupted_pods.as_ref()) else { return found };
    for pod in pods.iter().filter(|pod| pod.deleting.is_none()) {
        let Some(since) = noted.get(&pod.key.name) else { continue };
        // Another pod that was given the name of one that is gone, as a StatefulSet does.
        if pod.created.is_some_and(|created| created > since.0) {
            continue;
        }
        let late_at = since.0.checked_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX);
        if late_at <= seen.now {
            found.late.push(pod);
            continue;
        }
        found.next = Some(found.next.map_or(late_at, |next| next.min(late_at)));
        found.going.insert(pod.key.name.clone(), since.clone());
    }
    found
}

/// Of which budget its eviction is to be taken nobody has said, so it is refused.
fn shared(pod: &SeenPod, budgets: &[String]) -> Said {
    let message = format!(
        "Pod {} matches multiple PodDisruptionBudgets, and cannot be evicted while it does: {}",
        pod.key,
        shortened(budgets)
    );
    Said { about: pod.reference(), kind: EventType::Warning, reason: "MultiplePodDisruptionBudgets", message }
}

fn not_deleted(budget: &PodDisruptionBudget, pod: &SeenPod) -> Said {
    let message = format!("Pod was expected by PDB {} to be deleted but it wasn't", budget.key());
    Said { about: pod.reference(), kind: EventType::Warning, reason: "NotDeleted", message }
}

fn condition(status: &str, reason: &str, message: String, observed_generation: Option<i64>) -> Condition {
    Condition {
        type_: DISRUPTION_ALLOWED.into(),
        status: status.into(),
        reason: reason.into(),
        message,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation,
    }
}

fn set_condition(list: &mut Vec<Condition>, now: Timestamp, new: Condition) {
    conditions::set(list, new, &Time(now));
}

#[cfg(test)]
mod tests;
