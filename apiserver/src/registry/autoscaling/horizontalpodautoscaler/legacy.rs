//! What v1 keeps in annotations: metrics under the names that they had before v2, behavior with capital letters.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, ContainerResourceMetricStatus, CrossVersionObjectReference, ExternalMetricSource,
    ExternalMetricStatus, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior, MetricIdentifier,
    MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricSource, ObjectMetricStatus,
    PodsMetricSource, PodsMetricStatus, ResourceMetricSource, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

/// A metric, or what is measured of it.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metric {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_resource: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<Source>,
}

/// The fields of all sources. Each type of source has some of them, and those of its status are `current…`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<CrossVersionObjectReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_value: Option<Wire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_value: Option<Wire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_utilization: Option<i32>,
    /// Of an object, in its status too.
    #[serde(skip_serializing_if = "Option::is_none")]
    average_value: Option<Wire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_value: Option<Wire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_average_value: Option<Wire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_average_utilization: Option<i32>,
}

impl Source {
    fn of_metric(metric: MetricIdentifier) -> Self {
        Self { metric_name: Some(metric.name), selector: metric.selector, ..Self::default() }
    }
    fn metric(&mut self) -> MetricIdentifier {
        let selector = self.selector.take().or(self.metric_selector.take());
        MetricIdentifier { name: self.metric_name.take().unwrap_or_default(), selector }
    }
    /// An amount of the whole, or for each pod. Earlier programs write a whole of nothing beside an amount for each.
    fn amounts(value: Option<Wire>, average_value: Option<Wire>) -> MetricTarget {
        let value = value.filter(|value| average_value.is_none() || value.0 != "0");
        let kind = if average_value.is_some() { "AverageValue" } else { "Value" };
        MetricTarget { type_: kind.into(), value, average_value, average_utilization: None }
    }
    fn usage(&mut self) -> MetricTarget {
        let (average_utilization, average_value) = (self.target_average_utilization, self.target_average_value.take());
        let kind = if average_utilization.is_some() { "Utilization" } else { "AverageValue" };
        MetricTarget { type_: kind.into(), value: None, average_value, average_utilization }
    }
    fn current(&mut self) -> MetricValueStatus {
        MetricValueStatus {
            value: self.current_value.take(),
            average_value: self.current_average_value.take().or(self.average_value.take()),
            average_utilization: self.current_average_utilization,
        }
    }
    fn with_target(self, target: MetricTarget) -> Self {
        Self {
            target_value: target.value,
            target_average_value: target.average_value,
            target_average_utilization: target.average_utilization,
            ..self
        }
    }
    fn with_current(self, current: MetricValueStatus) -> Self {
        Self {
            current_value: current.value,
            current_average_value: current.average_value,
            current_average_utilization: current.average_utilization,
            ..self
        }
    }
    /// Objects' averages have no prefix.
    fn of_object(mut self, object: CrossVersionObjectReference) -> Self {
        self.average_value = self.target_average_value.take().or(self.current_average_value.take());
        Self { target: Some(object), ..self }
    }
    /// External metrics' selectors have one.
    fn of_external(mut self) -> Self {
        self.metric_selector = self.selector.take();
        self
    }
}

impl From<MetricSpec> for Metric {
    fn from(spec: MetricSpec) -> Self {
        Self {
            kind: spec.type_,
            object: spec
                .object
                .map(|of| Source::of_metric(of.metric).with_target(of.target).of_object(of.described_object)),
            pods: spec.pods.map(|of| Source::of_metric(of.metric).with_target(of.target)),
            resource: spec
                .resource
                .map(|of| Source { name: Some(of.name), ..Source::default() }.with_target(of.target)),
            container_resource: spec.container_resource.map(|of| {
                let source = Source { name: Some(of.name), container: Some(of.container), ..Source::default() };
                source.with_target(of.target)
            }),
            external: spec.external.map(|of| Source::of_metric(of.metric).with_target(of.target).of_external()),
        }
    }
}

impl From<Metric> for MetricSpec {
    fn from(metric: Metric) -> Self {
        Self {
            type_: metric.kind,
            object: metric.object.map(|mut of| ObjectMetricSource {
                described_object: of.target.take().unwrap_or_default(),
                metric: of.metric(),
                target: Source::amounts(of.target_value, of.average_value),
            }),
            pods: metric.pods.map(|mut of| PodsMetricSource {
                metric: of.metric(),
                target: MetricTarget {
                    type_: "AverageValue".into(),
                    average_value: of.target_average_value,
                    ..MetricTarget::default()
                },
            }),
            resource: metric
                .resource
                .map(|mut of| ResourceMetricSource { target: of.usage(), name: of.name.unwrap_or_default() }),
            container_resource: metric.container_resource.map(|mut of| ContainerResourceMetricSource {
                target: of.usage(),
                name: of.name.unwrap_or_default(),
                container: of.container.unwrap_or_default(),
            }),
            external: metric.external.map(|mut of| ExternalMetricSource {
                metric: of.metric(),
                target: Source::amounts(of.target_value, of.target_average_value),
            }),
        }
    }
}

impl From<MetricStatus> for Metric {
    fn from(status: MetricStatus) -> Self {
        Self {
            kind: status.type_,
            object: status
                .object
                .map(|of| Source::of_metric(of.metric).with_current(of.current).of_object(of.described_object)),
            pods: status.pods.map(|of| Source::of_metric(of.metric).with_current(of.current)),
            resource: status
                .resource
                .map(|of| Source { name: Some(of.name), ..Source::default() }.with_current(of.current)),
            container_resource: status.container_resource.map(|of| {
                let source = Source { name: Some(of.name), container: Some(of.container), ..Source::default() };
                source.with_current(of.current)
            }),
            external: status.external.map(|of| Source::of_metric(of.metric).with_current(of.current).of_external()),
        }
    }
}

impl From<Metric> for MetricStatus {
    fn from(metric: Metric) -> Self {
        Self {
            type_: metric.kind,
            object: metric.object.map(|mut of| ObjectMetricStatus {
                described_object: of.target.take().unwrap_or_default(),
                metric: of.metric(),
                current: of.current(),
            }),
            pods: metric.pods.map(|mut of| PodsMetricStatus { metric: of.metric(), current: of.current() }),
            resource: metric
                .resource
                .map(|mut of| ResourceMetricStatus { current: of.current(), name: of.name.unwrap_or_default() }),
            container_resource: metric.container_resource.map(|mut of| ContainerResourceMetricStatus {
                current: of.current(),
                name: of.name.unwrap_or_default(),
                container: of.container.unwrap_or_default(),
            }),
            external: metric.external.map(|mut of| ExternalMetricStatus { metric: of.metric(), current: of.current() }),
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Behavior {
    #[serde(alias = "scaleUp")]
    scale_up: Option<Rules>,
    #[serde(alias = "scaleDown")]
    scale_down: Option<Rules>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
struct Rules {
    #[serde(alias = "stabilizationWindowSeconds")]
    stabilization_window_seconds: Option<i32>,
    #[serde(alias = "selectPolicy")]
    select_policy: Option<String>,
    #[serde(alias = "policies")]
    policies: Option<Vec<Policy>>,
    #[serde(alias = "tolerance")]
    tolerance: Option<Wire>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
struct Policy {
    #[serde(rename = "Type", alias = "type")]
    kind: String,
    #[serde(alias = "value")]
    value: i32,
    #[serde(alias = "periodSeconds")]
    period_seconds: i32,
}

impl Behavior {
    pub(super) fn is_empty(&self) -> bool {
        self.scale_up.is_none() && self.scale_down.is_none()
    }
}

impl From<HorizontalPodAutoscalerBehavior> for Behavior {
    fn from(behavior: HorizontalPodAutoscalerBehavior) -> Self {
        let policy =
            |of: HPAScalingPolicy| Policy { kind: of.type_, value: of.value, period_seconds: of.period_seconds };
        let rules = |of: HPAScalingRules| Rules {
            stabilization_window_seconds: of.stabilization_window_seconds,
            select_policy: of.select_policy,
            policies: of.policies.map(|all| all.into_iter().map(policy).collect()),
            tolerance: of.tolerance,
        };
        Self { scale_up: behavior.scale_up.map(rules), scale_down: behavior.scale_down.map(rules) }
    }
}

impl From<Behavior> for HorizontalPodAutoscalerBehavior {
    fn from(behavior: Behavior) -> Self {
        let policy =
            |of: Policy| HPAScalingPolicy { type_: of.kind, value: of.value, period_seconds: of.period_seconds };
        let rules = |of: Rules| HPAScalingRules {
            stabilization_window_seconds: of.stabilization_window_seconds,
            select_policy: of.select_policy,
            policies: of.policies.map(|all| all.into_iter().map(policy).collect()),
            tolerance: of.tolerance,
        };
        Self { scale_up: behavior.scale_up.map(rules), scale_down: behavior.scale_down.map(rules) }
    }
}
