//! Whether a metric makes sense: one source, of the type that it says, with a target that can be reached.

use corten_api::Problems;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, ExternalMetricSource, MetricIdentifier, MetricSpec, MetricTarget,
    ObjectMetricSource, PodsMetricSource, ResourceMetricSource,
};

use super::validate::reference;
use crate::registry::path::Path;
use crate::registry::{check, quantities, resource_names};

/// Types, and the fields of their sources.
const TYPES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
const TARGET_TYPES: &[&str] = &["Utilization", "Value", "AverageValue"];
const RAW_OR_UTILIZATION: &str = "must set either a target raw value or a target utilization";

pub(super) fn spec(spec: &MetricSpec, at: &Path<'_>, problems: &mut Problems) {
    let expected = TYPES.iter().find(|(kind, _)| *kind == spec.type_).map(|(_, field)| *field);
    match expected {
        None if spec.type_.is_empty() => problems.required(at.field("type"), "must specify a metric source type"),
        None => problems.unsupported(at.field("type"), &spec.type_, &TYPES.map(|(kind, _)| kind)),
        Some(_) => {}
    }
    let present = present(spec);
    // Of several all but one are told of below.
    match present.first() {
        Some(&"object") => spec.object.iter().for_each(|of| object(of, &at.field("object"), problems)),
        Some(&"external") => spec.external.iter().for_each(|of| external(of, &at.field("external"), problems)),
        Some(&"pods") => spec.pods.iter().for_each(|of| pods(of, &at.field("pods"), problems)),
        Some(&"resource") => spec.resource.iter().for_each(|of| resource(of, &at.field("resource"), problems)),
        Some(_) => {
            let of = spec.container_resource.iter();
            of.for_each(|of| container_resource(of, &at.field("containerResource"), problems));
        }
        None => {}
    }
    if let Some(expected) = expected.filter(|field| !present.contains(field)) {
        problems.required(at.field(expected), "must populate information for the given metric source");
    }
    if present.len() > 1 {
        for field in present.iter().filter(|field| Some(**field) != expected) {
            problems.forbidden(at.field(field), "must populate the given metric source only");
        }
    }
}

/// Fields of the sources that there are.
fn present(spec: &MetricSpec) -> Vec<&'static str> {
    let all = [
        ("object", spec.object.is_some()),
        ("external", spec.external.is_some()),
        ("pods", spec.pods.is_some()),
        ("resource", spec.resource.is_some()),
        ("containerResource", spec.container_resource.is_some()),
    ];
    all.into_iter().filter(|(_, is_there)| *is_there).map(|(field, _)| field).collect()
}

fn object(source: &ObjectMetricSource, at: &Path<'_>, problems: &mut Problems) {
    reference(&source.described_object, &at.field("describedObject"), problems);
    identifier(&source.metric, &at.field("metric"), problems);
    let target_at = at.field("target");
    target(&source.target, &target_at, problems);
    if source.target.value.is_none() && source.target.average_value.is_none() {
        problems.required(target_at.field("averageValue"), "must set either a target value or averageValue");
    }
}

fn external(source: &ExternalMetricSource, at: &Path<'_>, problems: &mut Problems) {
    identifier(&source.metric, &at.field("metric"), problems);
    let target_at = at.field("target");
    target(&source.target, &target_at, problems);
    match (&source.target.value, &source.target.average_value) {
        (None, None) => {
            let why = "must set either a target value for metric or a per-pod target";
            problems.required(target_at.field("averageValue"), why);
        }
        (Some(_), Some(_)) => {
            let why = "may not set both a target value for metric and a per-pod target";
            problems.forbidden(target_at.field("value"), why);
        }
        _ => {}
    }
}

fn pods(source: &PodsMetricSource, at: &Path<'_>, problems: &mut Problems) {
    identifier(&source.metric, &at.field("metric"), problems);
    let target_at = at.field("target");
    target(&source.target, &target_at, problems);
    if source.target.average_value.is_none() {
        problems.required(target_at.field("averageValue"), "must specify a positive target averageValue");
    }
}

fn resource(source: &ResourceMetricSource, at: &Path<'_>, problems: &mut Problems) {
    if source.name.is_empty() {
        problems.required(at.field("name"), "must specify a resource name");
    }
    resource_target(&source.target, &at.field("target"), problems);
}

fn container_resource(source: &ContainerResourceMetricSource, at: &Path<'_>, problems: &mut Problems) {
    match source.name.as_str() {
        "" => problems.required(at.field("name"), "must specify a resource name"),
        name => resource_names::of_containers(problems, &at.field("name"), name),
    }
    match source.container.as_str() {
        "" => problems.required(at.field("container"), "must specify a container"),
        name => check::dns_label(problems, &at.field("container"), name),
    }
    resource_target(&source.target, &at.field("target"), problems);
}

fn resource_target(of: &MetricTarget, at: &Path<'_>, problems: &mut Problems) {
    target(of, at, problems);
    match (of.average_utilization, &of.average_value) {
        (None, None) => problems.required(at.field("averageUtilization"), RAW_OR_UTILIZATION),
        (Some(_), Some(_)) => {
            let why = "may not set both a target raw value and a target utilization";
            problems.forbidden(at.field("averageValue"), why);
        }
        _ => {}
    }
}

fn target(target: &MetricTarget, at: &Path<'_>, problems: &mut Problems) {
    let kind = target.type_.as_str();
    if kind.is_empty() {
        problems.required(at.field("type"), "must specify a metric target type");
    } else if !TARGET_TYPES.contains(&kind) {
        problems.invalid(at.field("type"), kind, "must be either Utilization, Value, or AverageValue");
    }
    for (field, value) in [("value", &target.value), ("averageValue", &target.average_value)] {
        let Some(value) = value else { continue };
        let at = at.field(field);
        let amount = quantities::well_formed(problems, &at, value);
        if amount.is_some_and(|amount| amount.is_negative() || amount.is_zero()) {
            problems.invalid(at, &value.0, "must be positive");
        }
    }
    if let Some(percent) = target.average_utilization.filter(|percent| *percent < 1) {
        problems.invalid(at.field("averageUtilization"), percent, check::NOT_POSITIVE);
    }
}

fn identifier(metric: &MetricIdentifier, at: &Path<'_>, problems: &mut Problems) {
    match metric.name.as_str() {
        "" => problems.required(at.field("name"), "must specify a metric name"),
        name => check::path_segment(problems, &at.field("name"), name),
    }
}
