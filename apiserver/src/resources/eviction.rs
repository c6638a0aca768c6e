//! Whether a pod may be evicted, and what that costs the PodDisruptionBudget that guards it. Pure: time is an argument.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>

use std::time::Duration;

use corten_api::selector::Selector;
use corten_api::{ApiError, Reason, conditions, pod};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Status, StatusCause, Time};

use super::turns::Patience;
use crate::registry::policy::poddisruptionbudget::ALWAYS_ALLOW;

/// Who evicts pods of a namespace that has budgets. He holds seats meanwhile, and whoever drains nodes comes again.
pub(super) const PATIENCE: Patience = Patience {
    waiting_max: 64,
    wait_max: Duration::from_secs(2),
    refusal: "Too many evictions wait for the disruption budgets of the namespace, please try again later.",
};

/// Evicted pods that a budget's controller has not seen to go. With more of them something is wrong, and its count too.
const DISRUPTED_PODS_MAX: usize = 2000;
/// How long a budget's controller takes to look at it again, about.
const RETRY_SECS: i32 = 10;
const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
/// The cause by which clients know such a refusal.
const CAUSE: &str = "DisruptionBudget";
/// The condition that says whether a budget allows a disruption now.
const ALLOWED: &str = "DisruptionAllowed";

/// What an eviction costs. It holds for the pod as it is: a pod that becomes ready meanwhile counts for its budget.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cost<'a> {
    Nothing,
    /// One disruption. The budget has this status from the deletion on; one without the other must not be written.
    Disruption {
        budget: &'a PodDisruptionBudget,
        status: Box<PodDisruptionBudgetStatus>,
    },
}

/// `budgets`: those of the pod's namespace; `is_there`: whether it has a pod of this name. The error is the answer to who asked for
/// the eviction.
pub(super) fn cost<'a>(
    pod: &Pod,
    budgets: &'a [PodDisruptionBudget],
    is_there: impl Fn(&str) -> bool,
    now: &Time,
) -> Result<Cost<'a>, ApiError> {
    if is_disrupted(pod) {
        return Ok(Cost::Nothing);
    }
    let mut guards = budgets.iter().filter(|budget| is_guarded_by(pod, budget));
    let Some(budget) = guards.next() else { return Ok(Cost::Nothing) };
    if guards.next().is_some() {
        return Err(ambiguous());
    }
    if !pod::is_ready(pod) && lets_unhealthy_go(budget) {
        return Ok(Cost::Nothing);
    }
    let status = Box::new(spent(budget, pod, is_there, now)?);
    Ok(Cost::Disruption { budget, status })
}

/// It serves nobody any more, or not yet.
fn is_disrupted(of: &Pod) -> bool {
    of.metadata.deletion_timestamp.is_some() || pod::is_terminal(of) || pod::phase(of) == "Pending"
}

fn is_guarded_by(pod: &Pod, budget: &PodDisruptionBudget) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    // A malformed selector selects nothing.
    Selector::from_label_selector(selector).is_ok_and(|selector| selector.matches_opt(pod.metadata.labels.as_ref()))
}

/// A pod that is not ready does not count: it may go where that was asked for, and where enough others are ready.
fn lets_unhealthy_go(budget: &PodDisruptionBudget) -> bool {
    let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let status = budget.status.as_ref();
    let desired = status.and_then(|s| s.desired_healthy).unwrap_or(0);
    let current = status.and_then(|s| s.current_healthy).unwrap_or(0);
    policy == Some(ALWAYS_ALLOW) || (desired > 0 && current >= desired)
}

/// The budget's status after one more disruption.
fn spent(
    budget: &PodDisruptionBudget,
    pod: &Pod,
    is_there: impl Fn(&str) -> bool,
    now: &Time,
) -> Result<PodDisruptionBudgetStatus, ApiError> {
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    let mut status = budget.status.clone().unwrap_or_default();
    if status.observed_generation.unwrap_or(0) < budget.metadata.generation.unwrap_or(0) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(because(ApiError::too_many_requests(VIOLATES, RETRY_SECS), why));
    }
    let allowed = status.disruptions_allowed.unwrap_or(0);
    let forbidden = |error: &str, why: &str| {
        let why = format!("The disruption budget {name} does not allow evicting pods currently: {why}");
        because(ApiError::forbidden("policy", "poddisruptionbudget", name, error), why)
    };
    if allowed < 0 {
        let why = "pdb disruptions allowed is negative";
        return Err(forbidden(why, why));
    }
    // Its controller looks for them among the pods that there are: of others nothing is to be noted.
    let noted = status.disrupted_pods.get_or_insert_default();
    noted.retain(|name, _| is_there(name));
    if noted.len() > DISRUPTED_PODS_MAX {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            "too many pending evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        return Err(because(ApiError::new(Reason::TooManyRequests, VIOLATES), refusal(name, &status)));
    }
    status.disruptions_allowed = Some(allowed - 1);
    if allowed == 1 {
        forbid_more(&mut status, now);
    }
    // So that its controller does not count the pod in the time until it sees it go.
    let pod = pod.metadata.name.clone().unwrap_or_default();
    status.disrupted_pods.get_or_insert_default().insert(pod, now.clone());
    Ok(status)
}

/// Why a budget allows no disruption.
fn refusal(name: &str, status: &PodDisruptionBudgetStatus) -> String {
    let (desired, current) = (status.desired_healthy.unwrap_or(0), status.current_healthy.unwrap_or(0));
    let said = conditions::find(status.conditions.as_ref(), ALLOWED);
    match said.filter(|c| c.status == "False" && !c.message.is_empty()) {
        // Its counts are as they were when they were last found out.
        Some(said) if said.reason == "SyncFailed" => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            said.message
        ),
        _ if current <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")
        }
        Some(said) => format!(
            "The disruption budget {name} does not allow evicting pods currently ({}): {}",
            said.reason, said.message
        ),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

/// The budget's condition says so when the last disruption is spent.
fn forbid_more(status: &mut PodDisruptionBudgetStatus, now: &Time) {
    let condition = Condition {
        type_: ALLOWED.into(),
        status: "False".into(),
        reason: "InsufficientPods".into(),
        message: String::new(),
        last_transition_time: now.clone(),
        observed_generation: status.observed_generation,
    };
    conditions::set(status.conditions.get_or_insert_default(), condition, now);
}

fn because(mut error: ApiError, why: String) -> ApiError {
    let cause = StatusCause { reason: Some(CAUSE.into()), message: Some(why), field: None };
    error.details().causes = Some(vec![cause]);
    error
}

/// Which of several budgets an eviction is to be taken from nobody has said.
fn ambiguous() -> ApiError {
    let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    ApiError::from_status(Status {
        status: Some("Failure".into()),
        message: Some(why.into()),
        code: Some(500),
        ..Status::default()
    })
}

#[cfg(test)]
mod tests;
