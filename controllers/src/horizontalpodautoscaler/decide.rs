//! What an autoscaler does to its target, and what its status says of it. Pure.

use corten_api::conditions;
use corten_api::k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus, MetricStatus,
};
use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::quantity::Quantity;
use jiff::Timestamp;

use super::behavior::{self, History, Wish};
use super::metric::{self, Evaluated, Failure, Reading, Scaled};
use super::replicas::{PodFacts, TOLERANCE, Tolerances};

const ABLE: &str = "AbleToScale";
const ACTIVE: &str = "ScalingActive";
const LIMITED: &str = "ScalingLimited";
/// Whose doing it is that the target has no replicas: an administrator's zero switches the autoscaler off.
const TO_ZERO: &str = "ScaledToZero";

/// The target's scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    pub spec_replicas: i32,
    pub status_replicas: i32,
}

/// What is seen of an autoscaler whose target can be scaled.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    pub hpa: &'a HorizontalPodAutoscaler,
    pub scale: &'a Scale,
    /// Those that the target's selector names; `Err` says why it cannot be used.
    pub pods: Result<(&'a [Pod], &'a [PodFacts]), &'a BadSelector>,
    /// One for each metric of the spec.
    pub readings: &'a [Reading],
    pub now: Timestamp,
}

/// Why the pods of a target cannot be told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSelector {
    /// Of the event.
    pub event: &'static str,
    /// Of the condition ScalingActive.
    pub reason: &'static str,
    pub message: String,
    /// What the condition says, if that is something else.
    pub condition: String,
}

/// A warning event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub reason: &'static str,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub rescale: Option<Rescale>,
    /// What it is to be if the target is scaled as decided, or if nothing is to be scaled.
    pub status: HorizontalPodAutoscalerStatus,
    pub warnings: Vec<Warning>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescale {
    pub from: i32,
    pub to: i32,
    pub reason: String,
}

/// The status of one whose target has no scale: `why`.
pub fn without_scale(hpa: &HorizontalPodAutoscaler, why: &str, now: Timestamp) -> HorizontalPodAutoscalerStatus {
    let mut status = Status::after(hpa.status.clone().unwrap_or_default(), hpa, now);
    let message = format!("the HPA controller was unable to get the target's current scale: {why}");
    status.set(ABLE, false, "FailedGetScale", message);
    status.next
}

/// The status of one whose target was not scaled as `decision` says: `why`.
pub fn without_rescale(
    hpa: &HorizontalPodAutoscaler,
    decision: &Decision,
    why: &str,
    now: Timestamp,
) -> HorizontalPodAutoscalerStatus {
    let before = hpa.status.as_ref();
    let mut status = Status::after(decision.status.clone(), hpa, now);
    status.set(
        ABLE,
        false,
        "FailedUpdateScale",
        format!("the HPA controller was unable to update the target scale: {why}"),
    );
    status.next.desired_replicas = before.map_or(0, |before| before.desired_replicas);
    status.next.last_scale_time = before.and_then(|before| before.last_scale_time.clone());
    let to_zero = conditions::find(before.and_then(|before| before.conditions.as_ref()), TO_ZERO).cloned();
    let conditions = status.next.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != TO_ZERO);
    conditions.extend(to_zero);
    status.next
}

/// Whether it was this autoscaler that took the last replica.
fn scaled_to_zero(hpa: &HorizontalPodAutoscaler) -> bool {
    conditions::is_true(hpa.status.as_ref().and_then(|status| status.conditions.as_ref()), TO_ZERO)
}

/// Whether something is measured that does not go with the last pod.
fn measures_without_pods(hpa: &HorizontalPodAutoscaler) -> bool {
    hpa.spec.metrics.iter().flatten().any(|metric| matches!(metric.type_.as_str(), "External" | "Object"))
}

pub fn decide(seen: Observed<'_>, history: &mut History) -> Decision {
    let Observed { hpa, scale, now, .. } = seen;
    let spec = &hpa.spec;
    let (current, min, max) = (scale.spec_replicas, spec.min_replicas.unwrap_or(1), spec.max_replicas);
    history.begin(current, now);
    let mut status = Status::of(hpa, now);
    status.next.current_replicas = Some(current);
    status.set(ABLE, true, "SucceededGetScale", "the HPA controller was able to get the target's current scale".into());
    let is_zero_ours = scaled_to_zero(hpa) && (min != 0 || measures_without_pods(hpa));
    if current == 0 && !is_zero_ours {
        let message = "scaling is disabled since the replica count of the target is zero";
        status.set(ACTIVE, false, "ScalingDisabled", message.into());
        status.next.desired_replicas = 0;
        return Decision { rescale: None, status: status.next, warnings: Vec::new() };
    }
    let bound = match current {
        current if current > max => Some((max, "Current number of replicas above Spec.MaxReplicas")),
        current if current < min => Some((min, "Current number of replicas below Spec.MinReplicas")),
        _ => None,
    };
    if let Some((to, reason)) = bound {
        return status.rescaled(current, to, reason.to_owned(), Vec::new());
    }
    by_metrics(seen, status, history)
}

/// The target is within its bounds: its metrics say what it should be.
fn by_metrics(seen: Observed<'_>, mut status: Status, history: &mut History) -> Decision {
    let Observed { hpa, scale, .. } = seen;
    let (current, min, max) = (scale.spec_replicas, hpa.spec.min_replicas.unwrap_or(1), hpa.spec.max_replicas);
    let wanted = match wanted(seen) {
        Ok(wanted) => wanted,
        Err(nothing) => {
            status.set(ACTIVE, false, nothing.reason, nothing.condition);
            status.next.current_metrics = Some(nothing.statuses).filter(|all| !all.is_empty());
            return Decision { rescale: None, status: status.next, warnings: nothing.warnings };
        }
    };
    let found = format!("the HPA was able to successfully calculate a replica count from {}", wanted.metric);
    status.set(ACTIVE, true, "ValidMetricFound", found);
    let reason = match wanted.replicas {
        replicas if replicas > current => format!("{} above target", wanted.metric),
        _ => "All metrics below target".to_owned(),
    };
    let wish = Wish { current, desired: wanted.replicas, min, max };
    let limited = behavior::limit(hpa.spec.behavior.as_ref(), wish, history, seen.now);
    status.set(ABLE, true, limited.able.0, limited.able.1.into());
    status.set(LIMITED, limited.is_limited, limited.limit.0, limited.limit.1.into());
    status.next.current_metrics = Some(wanted.statuses);
    if limited.replicas == current {
        status.next.desired_replicas = current;
        return Decision { rescale: None, status: status.next, warnings: wanted.warnings };
    }
    status.rescaled(current, limited.replicas, reason, wanted.warnings)
}

/// The largest of what the metrics ask for.
struct Wanted {
    replicas: i32,
    metric: String,
    statuses: Vec<MetricStatus>,
    warnings: Vec<Warning>,
}

/// Why nothing can be said of how much is wanted.
struct Nothing {
    reason: &'static str,
    condition: String,
    statuses: Vec<MetricStatus>,
    warnings: Vec<Warning>,
}

fn wanted(seen: Observed<'_>) -> Result<Wanted, Nothing> {
    let (pods, facts) = seen.pods.map_err(bad_selector)?;
    let scaled = Scaled {
        namespace: seen.hpa.metadata.namespace.as_deref().unwrap_or_default(),
        pods,
        facts,
        spec_replicas: seen.scale.spec_replicas,
        status_replicas: seen.scale.status_replicas,
        tolerances: tolerances(seen.hpa),
        now: seen.now,
    };
    let specs = seen.hpa.spec.metrics.as_deref().unwrap_or_default();
    let all: Vec<Result<Evaluated, Failure>> =
        specs.iter().zip(seen.readings).map(|(spec, reading)| metric::evaluate(spec, reading, scaled)).collect();
    // Where a metric is not known its place stays, empty, as upstream leaves it.
    let statuses =
        all.iter().map(|one| one.as_ref().map_or_else(|_| MetricStatus::default(), |one| one.status.clone()));
    let statuses: Vec<MetricStatus> = statuses.collect();
    let failures: Vec<&Failure> = all.iter().filter_map(|one| one.as_ref().err()).collect();
    let mut warnings: Vec<Warning> =
        failures.iter().map(|one| Warning { reason: one.reason, message: one.message.clone() }).collect();
    let mut largest: Option<&Evaluated> = None;
    for one in all.iter().flatten() {
        if largest.is_none_or(|largest| one.replicas > largest.replicas) {
            largest = Some(one);
        }
    }
    // What is not known could ask for more: it forbids to shrink, and not to grow.
    match (largest, failures.first()) {
        (Some(largest), first) if first.is_none() || largest.replicas >= seen.scale.spec_replicas => {
            Ok(Wanted { replicas: largest.replicas, metric: largest.name.clone(), statuses, warnings })
        }
        (_, first) => {
            let (reason, message, context) =
                first.map_or(("", "", ""), |first| (first.reason, first.message.as_str(), first.context.as_str()));
            let first_error = format!("first error is: {context}{message}");
            let invalid = format!("invalid metrics ({} invalid out of {}), {first_error}", failures.len(), specs.len());
            warnings.push(Warning { reason: "FailedComputeMetricsReplicas", message: invalid });
            let condition = format!("the HPA was unable to compute the replica count: {message}");
            Err(Nothing { reason, condition, statuses, warnings })
        }
    }
}

fn bad_selector(bad: &BadSelector) -> Nothing {
    let warning = |reason| Warning { reason, message: bad.message.clone() };
    Nothing {
        reason: bad.reason,
        condition: bad.condition.clone(),
        statuses: Vec::new(),
        warnings: vec![warning(bad.event), warning("FailedComputeMetricsReplicas")],
    }
}

fn tolerances(hpa: &HorizontalPodAutoscaler) -> Tolerances {
    let behavior = hpa.spec.behavior.as_ref();
    let of = |rules: Option<&corten_api::k8s_openapi::api::autoscaling::v2::HPAScalingRules>| {
        let given = rules.and_then(|rules| rules.tolerance.as_ref());
        let millis = given.and_then(|given| Quantity::from_wire(given).ok()).map(Quantity::millis);
        // Validation holds it below a million; the rest of what an i64 can say is of no matter.
        millis.and_then(|millis| i32::try_from(millis).ok()).map_or(TOLERANCE, |millis| f64::from(millis) / 1000.0)
    };
    Tolerances {
        up: of(behavior.and_then(|b| b.scale_up.as_ref())),
        down: of(behavior.and_then(|b| b.scale_down.as_ref())),
    }
}

/// The status that is being made.
struct Status {
    next: HorizontalPodAutoscalerStatus,
    /// Of the spec that it is about.
    generation: Option<i64>,
    /// With no replicas the autoscaler goes on.
    may_be_zero: bool,
    now: Time,
}

impl Status {
    /// As it is now, but for what is measured.
    fn of(hpa: &HorizontalPodAutoscaler, now: Timestamp) -> Self {
        let old = hpa.status.clone().unwrap_or_default();
        Self::after(HorizontalPodAutoscalerStatus { current_metrics: None, ..old }, hpa, now)
    }

    fn after(next: HorizontalPodAutoscalerStatus, hpa: &HorizontalPodAutoscaler, now: Timestamp) -> Self {
        let may_be_zero = hpa.spec.min_replicas == Some(0) && measures_without_pods(hpa);
        Self { next, generation: hpa.metadata.generation, may_be_zero, now: Time(now) }
    }

    fn set(&mut self, kind: &str, is: bool, reason: &str, message: String) {
        let status = if is { "True" } else { "False" };
        let condition = HorizontalPodAutoscalerCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            observed_generation: self.generation,
            last_transition_time: None,
        };
        conditions::set(self.next.conditions.get_or_insert_default(), condition, &self.now);
    }

    fn rescaled(mut self, from: i32, to: i32, reason: String, warnings: Vec<Warning>) -> Decision {
        let message = format!("the HPA controller was able to update the target scale to {to}");
        self.set(ABLE, true, "SucceededRescale", message);
        match from > 0 && to == 0 && self.may_be_zero {
            true => self.set(TO_ZERO, true, "ScaledToZero", "the HPA controller scaled the workload to zero".into()),
            false => {
                let message = "the HPA controller did not scale the workload to zero";
                self.set(TO_ZERO, false, "NotScaledToZero", message.into());
            }
        }
        self.next.desired_replicas = to;
        self.next.last_scale_time = Some(self.now);
        Decision { rescale: Some(Rescale { from, to, reason }), status: self.next, warnings }
    }
}

#[cfg(test)]
mod tests;
