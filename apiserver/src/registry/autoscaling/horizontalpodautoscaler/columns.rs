//! What `kubectl get horizontalpodautoscalers` shows: above all what is measured, and what is aimed at.

use corten_api::quantity::Quantity;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::registry::{Cell, Column, cells};

/// Metrics shown; more are only counted.
const SHOWN_MAX: usize = 2;

pub const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Reference", "What is scaled"),
    cells::text("Targets", "What is measured, and what it should be"),
    cells::text("MinPods", "Pods that there are at least"),
    cells::text("MaxPods", "Pods that there are at most"),
    cells::text("Replicas", "Pods that there are"),
    cells::AGE,
];

pub fn row(object: &HorizontalPodAutoscaler, now_secs: i64) -> Vec<Cell> {
    let (spec, status) = (&object.spec, object.status.as_ref());
    let target = &spec.scale_target_ref;
    let measured = status.and_then(|s| s.current_metrics.as_deref()).unwrap_or_default();
    vec![
        cells::name(&object.metadata),
        Cell::text(format!("{}/{}", target.kind, target.name)),
        Cell::text(targets(spec.metrics.as_deref().unwrap_or_default(), measured)),
        Cell::text(spec.min_replicas.map_or("<unset>".into(), |n| n.to_string())),
        Cell::Int(spec.max_replicas.into()),
        Cell::Int(status.and_then(|s| s.current_replicas).unwrap_or(0).into()),
        cells::age(&object.metadata, now_secs),
    ]
}

fn targets(specs: &[MetricSpec], statuses: &[MetricStatus]) -> String {
    if specs.is_empty() {
        return cells::NONE.into();
    }
    let shown = specs.iter().enumerate().take(SHOWN_MAX).map(|(i, spec)| one(spec, statuses.get(i)));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match specs.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn one(spec: &MetricSpec, status: Option<&MetricStatus>) -> String {
    let text = match spec.type_.as_str() {
        "External" => spec
            .external
            .as_ref()
            .map(|metric| whole(&metric.target, status.and_then(|s| s.external.as_ref()).map(|s| &s.current))),
        "Object" => spec
            .object
            .as_ref()
            .map(|metric| whole(&metric.target, status.and_then(|s| s.object.as_ref()).map(|s| &s.current))),
        "Pods" => spec
            .pods
            .as_ref()
            .map(|metric| average(&metric.target, status.and_then(|s| s.pods.as_ref()).map(|s| &s.current))),
        "Resource" => spec.resource.as_ref().map(|metric| {
            let current = status.and_then(|s| s.resource.as_ref()).map(|s| &s.current);
            format!("{}: {}", metric.name, usage(&metric.target, current))
        }),
        "ContainerResource" => spec.container_resource.as_ref().map(|metric| {
            let current = status.and_then(|s| s.container_resource.as_ref()).map(|s| &s.current);
            format!("{}: {}", metric.name, usage(&metric.target, current))
        }),
        _ => None,
    };
    text.unwrap_or_else(|| "<unknown type>".into())
}

/// Of a metric that is not the pods': as it is, or shared out among them.
fn whole(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    if target.average_value.is_some() {
        return format!("{} (avg)", average(target, current));
    }
    format!("{}/{}", amount(current.and_then(|c| c.value.as_ref())), amount(target.value.as_ref()))
}

fn average(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    let current = current.and_then(|c| c.average_value.as_ref());
    format!("{}/{}", amount(current), amount(target.average_value.as_ref()))
}

/// Of a resource: an amount for each pod, or percent of what they ask for.
fn usage(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    if target.average_value.is_some() {
        return average(target, current);
    }
    let percent = |n: Option<i32>, otherwise: &str| n.map_or(otherwise.to_owned(), |n| format!("{n}%"));
    let current = percent(current.and_then(|c| c.average_utilization), cells::UNKNOWN);
    format!("{current}/{}", percent(target.average_utilization, "<auto>"))
}

fn amount(wire: Option<&Wire>) -> String {
    let shown = |wire: &Wire| Quantity::from_wire(wire).map_or_else(|_| wire.0.clone(), |amount| amount.to_string());
    wire.map_or(cells::UNKNOWN.into(), shown)
}
