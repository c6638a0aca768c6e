//! What an autoscaler does where its author said nothing.

use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget, ResourceMetricSource,
};

pub const CPU: &str = "cpu";
/// Percent of what pods ask for.
const CPU_UTILIZATION: i32 = 80;
const PERIOD_SECS: i32 = 15;

pub fn spec(spec: &mut HorizontalPodAutoscalerSpec) {
    spec.min_replicas.get_or_insert(1);
    metrics(&mut spec.metrics);
    if let Some(behavior) = &mut spec.behavior {
        // Doubled, or four more, whichever is more, and at once.
        let up = vec![policy("Pods", 4), policy("Percent", 100)];
        rules(behavior.scale_up.get_or_insert_default(), up).stabilization_window_seconds.get_or_insert(0);
        // As few as may be. How long that waits is the controller's flag to say.
        rules(behavior.scale_down.get_or_insert_default(), vec![policy("Percent", 100)]);
    }
}

pub fn metrics(metrics: &mut Option<Vec<MetricSpec>>) {
    if metrics.as_ref().is_none_or(Vec::is_empty) {
        *metrics = Some(vec![cpu(CPU_UTILIZATION)]);
    }
}

/// A metric of the pods' cpu, in percent of what they ask for.
pub fn cpu(utilization: i32) -> MetricSpec {
    let target =
        MetricTarget { type_: "Utilization".into(), average_utilization: Some(utilization), ..MetricTarget::default() };
    let resource = Some(ResourceMetricSource { name: CPU.into(), target });
    MetricSpec { type_: "Resource".into(), resource, ..MetricSpec::default() }
}

fn rules(rules: &mut HPAScalingRules, policies: Vec<HPAScalingPolicy>) -> &mut HPAScalingRules {
    rules.select_policy.get_or_insert_with(|| "Max".into());
    rules.policies.get_or_insert(policies);
    rules
}

fn policy(kind: &str, value: i32) -> HPAScalingPolicy {
    HPAScalingPolicy { type_: kind.into(), value, period_seconds: PERIOD_SECS }
}
