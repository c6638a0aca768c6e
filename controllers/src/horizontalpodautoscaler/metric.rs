//! One metric of an autoscaler: what it asks for, what its status says, in upstream's words. Pure.

use std::collections::BTreeMap;
use std::fmt::Display;

use corten_api::k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricIdentifier, MetricSpec, MetricStatus, MetricTarget,
    MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
};
use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use corten_api::quantity::{Format, Quantity};
use jiff::Timestamp;

use super::replicas::{self, Asked, CalculationError, PodFacts, Proposal, Samples, Target, Tolerances};
use super::requests;

/// What was read of a metric; `Err` says why nothing was.
pub type Reading = Result<Read, String>;

#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// What each pod has.
    Pods(Samples),
    /// One number, in thousandths.
    Value(i64),
}

/// What there is to be scaled.
#[derive(Clone, Copy, Debug)]
pub struct Scaled<'a> {
    pub namespace: &'a str,
    pub pods: &'a [Pod],
    pub facts: &'a [PodFacts],
    /// What the target is to have, and what it has.
    pub spec_replicas: i32,
    pub status_replicas: i32,
    pub tolerances: Tolerances,
    pub now: Timestamp,
}

/// What a metric comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    pub replicas: i32,
    /// As events and conditions call it.
    pub name: String,
    pub status: MetricStatus,
}

/// Why it comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of the event, and of the condition ScalingActive.
    pub reason: &'static str,
    pub message: String,
    /// What the autoscaler's own error says before `message`.
    pub context: String,
}

impl Failure {
    fn new(reason: &'static str, context: impl Into<String>, message: impl Display) -> Self {
        Self { reason, message: message.to_string(), context: context.into() }
    }
}

pub fn evaluate(spec: &MetricSpec, reading: &Reading, scaled: Scaled<'_>) -> Result<Evaluated, Failure> {
    match spec.type_.as_str() {
        "Resource" => resource(spec, reading, scaled),
        "ContainerResource" => container_resource(spec, reading, scaled),
        "Pods" => pods(spec, reading, scaled),
        "Object" => object(spec, reading, scaled),
        "External" => external(spec, reading, scaled),
        other => Err(unknown(other)),
    }
}

/// Validation lets none through.
fn unknown(kind: &str) -> Failure {
    Failure::new("InvalidMetricSourceType", "", format!("unknown metric source type {kind:?}"))
}

fn resource(spec: &MetricSpec, reading: &Reading, scaled: Scaled<'_>) -> Result<Evaluated, Failure> {
    let source = spec.resource.as_ref().ok_or_else(|| unknown("Resource"))?;
    let fail = |why: String| {
        let context = format!("failed to get {} resource metric value: ", source.name);
        Failure::new("FailedGetResourceMetric", context, why)
    };
    let of = OfResource { name: &source.name, container: "", target: &source.target };
    let (replicas, name, current) = of.evaluate(reading, scaled).map_err(fail)?;
    let resource = Some(ResourceMetricStatus { name: source.name.clone(), current });
    Ok(Evaluated { replicas, name, status: MetricStatus { resource, ..status("Resource") } })
}

fn container_resource(spec: &MetricSpec, reading: &Reading, scaled: Scaled<'_>) -> Result<Evaluated, Failure> {
    let source = spec.container_resource.as_ref().ok_or_else(|| unknown("ContainerResource"))?;
    let fail = |why: String| {
        let context = format!("failed to get {} container metric value: ", source.container);
        Failure::new("FailedGetContainerResourceMetric", context, why)
    };
    let of = OfResource { name: &source.name, container: &source.container, target: &source.target };
    let (replicas, name, current) = of.evaluate(reading, scaled).map_err(fail)?;
    let container_resource =
        Some(ContainerResourceMetricStatus { name: source.name.clone(), container: source.container.clone(), current });
    Ok(Evaluated { replicas, name, status: MetricStatus { container_resource, ..status("ContainerResource") } })
}

/// A resource of pods, or of one of their containers.
struct OfResource<'a> {
    name: &'a str,
    /// "": the whole pod.
    container: &'a str,
    target: &'a MetricTarget,
}

impl OfResource<'_> {
    fn evaluate(&self, reading: &Reading, scaled: Scaled<'_>) -> Result<(i32, String, MetricValueStatus), String> {
        let name = self.name;
        let (target, failed) = match (millis(self.target.average_value.as_ref()), self.target.average_utilization) {
            (Some(value), _) => (Ok(Target::AverageValue(value)), "usage"),
            (None, Some(percent)) => {
                let requests = || requests::of_pods(scaled.pods, self.container, name);
                (requests().map(|requests| Target::Utilization { percent, requests }), "utilization")
            }
            (None, None) => {
                return Err(
                    "invalid resource metric source: neither an average utilization target nor an average value \
                            (usage) target was set"
                        .into(),
                );
            }
        };
        let fail = |why: &dyn Display| format!("failed to get {name} {failed}: {why}");
        let unread = |why: &String| fail(&format!("unable to get metrics for resource {name}: {why}"));
        let Read::Pods(samples) = reading.as_ref().map_err(unread)? else { return Err(not_of_pods()) };
        let target = target.map_err(|why| fail(&why))?;
        let proposal = of_pods(samples, &target, name == "cpu", scaled).map_err(|why| fail(&why))?;
        let of_container = if self.container.is_empty() { "" } else { "container " };
        let called = match proposal.utilization {
            Some(_) => format!("{name} {of_container}resource utilization (percentage of request)"),
            None => format!("{name} resource"),
        };
        let current = MetricValueStatus {
            average_utilization: proposal.utilization,
            average_value: Some(quantity(name, proposal.average_milli)),
            value: None,
        };
        Ok((proposal.replicas, called, current))
    }
}

fn pods(spec: &MetricSpec, reading: &Reading, scaled: Scaled<'_>) -> Result<Evaluated, Failure> {
    let source = spec.pods.as_ref().ok_or_else(|| unknown("Pods"))?;
    let name = &source.metric.name;
    let fail = |why: String| Failure::new("FailedGetPodsMetric", "failed to get pods metric value: ", why);
    let Some(target) = millis(source.target.average_value.as_ref()) else {
        return Err(fail("invalid pods metric source: no average value target was set".into()));
    };
    let samples = match reading {
        Ok(Read::Pods(samples)) => samples,
        Ok(Read::Value(_)) => return Err(fail(not_of_pods())),
        Err(why) => return Err(fail(format!("unable to get metric {name}: {why}"))),
    };
    let proposal =
        of_pods(samples, &Target::AverageValue(target), false, scaled).map_err(|why| fail(why.to_string()))?;
    let current = average(proposal.average_milli);
    let pods = Some(PodsMetricStatus { current, metric: source.metric.clone() });
    let name = format!("pods metric {name}");
    Ok(Evaluated { replicas: proposal.replicas, name, status: MetricStatus { pods, ..status("Pods") } })
}

fn object(spec: &MetricSpec, reading: &Reading, scaled: Scaled<'_>) -> Result<Evaluated, Failure> {
    let source = spec.object.as_ref().ok_or_else(|| unknown("Object"))?;
    let (object, metric) = (&source.described_object, &source.metric);
    let fail = |why: String| Failure::new("FailedGetObjectMetric", "failed to get object metric value: ", why);
    let unread = |why: &str| {
        format!("unable to get metric {}: {why} on {} {}/{}", metric.name, object.kind, scaled.namespace, object.name)
    };
    let kind = ValueKind::of(&source.target).ok_or_else(|| {
        fail("invalid object metric source: neither a value target nor an average value target was set".into())
    })?;
    let used = match reading {
        Ok(Read::Value(used)) => *used,
        Ok(Read::Pods(_)) => return Err(fail(not_one_value())),
        Err(why) if matches!(kind, ValueKind::Share(_)) => {
            return Err(fail(format!("failed to get {} object metric: {}", metric.name, unread(why))));
        }
        Err(why) => return Err(fail(unread(why))),
    };
    let (replicas, current) =
        kind.evaluate(used, scaled).map_err(|why| fail(format!("unable to calculate ready pods: {why}")))?;
    let name = match kind {
        ValueKind::Whole(_) => format!("{} metric {}", object.kind, metric.name),
        ValueKind::Share(_) => external_name(metric),
    };
    let object = Some(ObjectMetricStatus { current, described_object: object.clone(), metric: metric.clone() });
    Ok(Evaluated { replicas, name, status: MetricStatus { object, ..status("Object") } })
}

fn external(spec: &MetricSpec, reading: &Reading, scaled: Scaled<'_>) -> Result<Evaluated, Failure> {
    let source = spec.external.as_ref().ok_or_else(|| unknown("External"))?;
    let metric = &source.metric;
    let fail = |why: String| {
        let context = format!("failed to get {} external metric value: ", metric.name);
        Failure::new("FailedGetExternalMetric", context, why)
    };
    let kind = ValueKind::of(&source.target).ok_or_else(|| {
        fail("invalid external metric source: neither a value target nor an average value target was set".into())
    })?;
    let used = match reading {
        Ok(Read::Value(used)) => *used,
        Ok(Read::Pods(_)) => return Err(fail(not_one_value())),
        Err(why) => {
            let what = match kind {
                ValueKind::Share(_) => format!("{} external metric", metric.name),
                ValueKind::Whole(_) => format!("external metric {}", metric.name),
            };
            let of = format!("{}/{}/{}", scaled.namespace, metric.name, selector(metric));
            return Err(fail(format!("failed to get {what}: unable to get external metric {of}: {why}")));
        }
    };
    let (replicas, current) =
        kind.evaluate(used, scaled).map_err(|why| fail(format!("unable to calculate ready pods: {why}")))?;
    let external = Some(ExternalMetricStatus { current, metric: metric.clone() });
    let name = external_name(metric);
    Ok(Evaluated { replicas, name, status: MetricStatus { external, ..status("External") } })
}

/// What one number is to be: for all replicas together, or for each its share. In thousandths.
enum ValueKind {
    Whole(i64),
    Share(i64),
}

impl ValueKind {
    fn of(target: &MetricTarget) -> Option<Self> {
        let share = millis(target.average_value.as_ref()).map(Self::Share);
        share.or_else(|| millis(target.value.as_ref()).map(Self::Whole))
    }

    fn evaluate(&self, used: i64, scaled: Scaled<'_>) -> Result<(i32, MetricValueStatus), CalculationError> {
        let tolerances = scaled.tolerances;
        match *self {
            Self::Whole(target) => {
                let ready = || replicas::ready(scaled.facts);
                let replicas = replicas::of_value(used, target, scaled.spec_replicas, tolerances, ready)?;
                Ok((replicas, MetricValueStatus { value: Some(decimal(used)), ..MetricValueStatus::default() }))
            }
            Self::Share(target) => {
                let (replicas, share) = replicas::of_share(used, target, scaled.status_replicas, tolerances);
                Ok((replicas, average(share)))
            }
        }
    }
}

fn of_pods(samples: &Samples, target: &Target, is_cpu: bool, scaled: Scaled<'_>) -> Result<Proposal, CalculationError> {
    let Scaled { facts, spec_replicas, tolerances, now, .. } = scaled;
    replicas::of_pods(Asked { pods: facts, samples, target, current: spec_replicas, tolerances, is_cpu, now })
}

fn status(kind: &str) -> MetricStatus {
    MetricStatus { type_: kind.into(), ..MetricStatus::default() }
}

fn average(milli: i64) -> MetricValueStatus {
    MetricValueStatus { average_value: Some(decimal(milli)), ..MetricValueStatus::default() }
}

fn not_of_pods() -> String {
    "one number was read where each pod has its own".into()
}

fn not_one_value() -> String {
    "the numbers of pods were read where there is one for all".into()
}

fn millis(quantity: Option<&Wire>) -> Option<i64> {
    quantity.and_then(|quantity| Quantity::from_wire(quantity).ok()).map(Quantity::millis)
}

fn decimal(milli: i64) -> Wire {
    Quantity::from_millis(milli).to_wire()
}

/// Memory is told in Ki, Mi, …, all else in thousandths.
fn quantity(resource: &str, milli: i64) -> Wire {
    if resource == "memory" && milli % 1000 == 0 {
        return Quantity::from_units(milli / 1000, Format::BinarySi).to_wire();
    }
    decimal(milli)
}

fn external_name(metric: &MetricIdentifier) -> String {
    format!("external metric {}({})", metric.name, selector(metric))
}

/// As Go prints the selector.
fn selector(metric: &MetricIdentifier) -> String {
    let Some(selector) = &metric.selector else { return "nil".into() };
    let empty = BTreeMap::new();
    let labels = selector.match_labels.as_ref().unwrap_or(&empty);
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions = selector.match_expressions.as_deref().unwrap_or_default().iter().map(|one| {
        let values = one.values.as_deref().unwrap_or_default().join(" ");
        format!("{{{} {} [{values}]}}", one.key, one.operator)
    });
    let expressions: Vec<String> = expressions.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.join(""),
        expressions.join(",")
    )
}

#[cfg(test)]
mod tests;
