//! Whether an autoscaler makes sense: what it scales, between which bounds, by which metrics, and how fast.

use corten_api::Problems;
use corten_api::quantity::Quantity;
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec,
};

use super::metrics;
use crate::registry::path::Path;
use crate::registry::{check, quantities};

const PERIOD_SECS_MAX: i32 = 1800;
const STABILIZATION_SECS_MAX: i32 = 3600;
const SELECT_POLICIES: &[&str] = &["Disabled", "Max", "Min"];
const POLICY_TYPES: &[&str] = &["Percent", "Pods"];

pub fn spec(spec: &HorizontalPodAutoscalerSpec, at: &Path<'_>, problems: &mut Problems) {
    let max_at = at.field("maxReplicas");
    check::not_negative(problems, &at.field("minReplicas"), spec.min_replicas);
    match spec.max_replicas {
        0 => problems.required(max_at, ""),
        n if n < 0 => problems.invalid(max_at, n, "must be greater than or equal to 1"),
        _ => {}
    }
    if spec.min_replicas.is_some_and(|min| spec.max_replicas < min) {
        problems.invalid(max_at, spec.max_replicas, "must be greater than or equal to `minReplicas`");
    }
    named(&spec.scale_target_ref, &at.field("scaleTargetRef"), problems);
    let list = at.field("metrics");
    let all = spec.metrics.as_deref().unwrap_or_default();
    for (i, one) in all.iter().enumerate() {
        metrics::spec(one, &list.index(i), problems);
    }
    // Without pods nothing can be measured on them.
    if spec.min_replicas == Some(0) && !all.iter().any(|one| matches!(one.type_.as_str(), "External" | "Object")) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        problems.forbidden(list, why);
    }
    let behavior_at = at.field("behavior");
    let behavior = spec.behavior.as_ref();
    for (field, of) in [
        ("scaleUp", behavior.and_then(|b| b.scale_up.as_ref())),
        ("scaleDown", behavior.and_then(|b| b.scale_down.as_ref())),
    ] {
        if let Some(of) = of {
            rules(of, &behavior_at.field(field), problems);
        }
    }
}

/// What is scaled, of an autoscaler that is new or now scales something else: older rules let its apiVersion be empty.
pub fn target(target: &CrossVersionObjectReference, at: &Path<'_>, problems: &mut Problems) {
    // The one kind of the core that can be scaled is also the only one whose apiVersion has no group.
    version(target, target.kind != "ReplicationController", at, problems);
}

pub(super) fn reference(reference: &CrossVersionObjectReference, at: &Path<'_>, problems: &mut Problems) {
    named(reference, at, problems);
    version(reference, false, at, problems);
}

fn named(reference: &CrossVersionObjectReference, at: &Path<'_>, problems: &mut Problems) {
    check::path_segment(problems, &at.field("kind"), &reference.kind);
    check::path_segment(problems, &at.field("name"), &reference.name);
}

fn version(reference: &CrossVersionObjectReference, needs_group: bool, at: &Path<'_>, problems: &mut Problems) {
    let version = check::text(reference.api_version.as_ref());
    let group = version.split_once('/').map_or("", |(group, _)| group);
    if version.matches('/').count() > 1 {
        let why = format!("unexpected GroupVersion string: {version}");
        problems.invalid(at.field("apiVersion"), version, &why);
    } else if needs_group && group.is_empty() {
        problems.invalid(at.field("apiVersion"), version, "apiVersion must specify API group");
    }
}

fn rules(rules: &HPAScalingRules, at: &Path<'_>, problems: &mut Problems) {
    let window_at = at.field("stabilizationWindowSeconds");
    match rules.stabilization_window_seconds {
        Some(secs) if secs < 0 => problems.invalid(window_at, secs, "must be greater than or equal to zero"),
        Some(secs) if secs > STABILIZATION_SECS_MAX => {
            problems.invalid(window_at, secs, &format!("must be less than or equal to {STABILIZATION_SECS_MAX}"));
        }
        Some(_) | None => {}
    }
    check::optional_word(problems, &at.field("selectPolicy"), rules.select_policy.as_ref(), SELECT_POLICIES);
    let (list, policies) = (at.field("policies"), rules.policies.as_deref().unwrap_or_default());
    if policies.is_empty() {
        problems.required(list, "must specify at least one Policy");
    }
    for (i, one) in policies.iter().enumerate() {
        policy(one, &list.index(i), problems);
    }
    if let Some(tolerance) = &rules.tolerance {
        let at = at.field("tolerance");
        let amount = quantities::well_formed(problems, &at, tolerance);
        if amount.is_some_and(Quantity::is_negative) {
            problems.invalid(at, &tolerance.0, check::NEGATIVE);
        }
    }
}

fn policy(policy: &HPAScalingPolicy, at: &Path<'_>, problems: &mut Problems) {
    check::optional_word(problems, &at.field("type"), Some(&policy.type_), POLICY_TYPES);
    let period_at = at.field("periodSeconds");
    for (at, n) in [(&at.field("value"), policy.value), (&period_at, policy.period_seconds)] {
        if n <= 0 {
            problems.invalid(at, n, "must be greater than zero");
        }
    }
    if policy.period_seconds > PERIOD_SECS_MAX {
        let why = format!("must be less than or equal to {PERIOD_SECS_MAX}");
        problems.invalid(period_at, policy.period_seconds, &why);
    }
}
