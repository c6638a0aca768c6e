//! autoscaling/v1 ↔ autoscaling/v2: v1 has fields for cpu; what it lacks stands in its annotations.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::{v1, v2};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::defaults::{self, CPU};
use super::legacy::{Behavior, Metric};
use crate::decode;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// Those, and two that only versions before v2 had.
const ALL: &[&str] = &[
    METRICS,
    BEHAVIOR,
    CURRENT_METRICS,
    CONDITIONS,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// Stored JSON → autoscaling/v1 JSON.
pub(super) fn from_stored(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&from_v2(serde_json::from_slice(json)?)?)
}
/// autoscaling/v1 JSON → the JSON to store.
pub(super) fn to_stored(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&to_v2(&serde_json::from_slice(json)?))
}

/// Nobody but this conversion says what is in them.
pub(super) fn drop_annotations(meta: &mut ObjectMeta) {
    let Some(annotations) = &mut meta.annotations else { return };
    annotations.retain(|key, _| !ALL.contains(&key.as_str()));
    meta.annotations.take_if(|annotations| annotations.is_empty());
}

/// What an annotation holds; nothing, if it holds something else.
fn read<T: DeserializeOwned>(meta: &ObjectMeta, key: &str) -> Option<T> {
    let text = meta.annotations.as_ref()?.get(key)?;
    let mut value = decode::value(text.as_bytes()).ok()?;
    drop_nulls(&mut value);
    serde_json::from_value(value).ok()
}

/// What is null is what is missing.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn write(meta: &mut ObjectMeta, key: &str, value: &impl Serialize) -> Result<(), serde_json::Error> {
    let annotations: &mut BTreeMap<String, String> = meta.annotations.get_or_insert_default();
    annotations.insert(key.into(), serde_json::to_string(value)?);
    Ok(())
}

/// Of the metrics those that v1 has a field for: percent of the cpu that pods ask for.
fn cpu_utilization(metric: &v2::MetricSpec) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|resource| metric.type_ == "Resource" && resource.name == CPU)?;
    resource.target.average_utilization
}

fn current_cpu_utilization(status: &v2::MetricStatus) -> Option<i32> {
    let resource = status.resource.as_ref().filter(|resource| status.type_ == "Resource" && resource.name == CPU)?;
    resource.current.average_utilization
}

pub(super) fn to_v2(object: &v1::HorizontalPodAutoscaler) -> v2::HorizontalPodAutoscaler {
    let (meta, spec) = (&object.metadata, &object.spec);
    let others = read::<Vec<Metric>>(meta, METRICS).unwrap_or_default();
    let cpu = spec.target_cpu_utilization_percentage.map(defaults::cpu);
    let mut metrics = Some(others.into_iter().map(v2::MetricSpec::from).chain(cpu).collect());
    defaults::metrics(&mut metrics);
    let behavior = read::<Behavior>(meta, BEHAVIOR).filter(|behavior| !behavior.is_empty());
    let mut metadata = meta.clone();
    drop_annotations(&mut metadata);
    v2::HorizontalPodAutoscaler {
        metadata,
        spec: v2::HorizontalPodAutoscalerSpec {
            behavior: behavior.map(Into::into),
            max_replicas: spec.max_replicas,
            metrics,
            min_replicas: spec.min_replicas,
            scale_target_ref: v2::CrossVersionObjectReference {
                api_version: spec.scale_target_ref.api_version.clone(),
                kind: spec.scale_target_ref.kind.clone(),
                name: spec.scale_target_ref.name.clone(),
            },
        },
        status: status_to_v2(object.status.as_ref(), meta),
    }
}

fn status_to_v2(
    status: Option<&v1::HorizontalPodAutoscalerStatus>,
    meta: &ObjectMeta,
) -> Option<v2::HorizontalPodAutoscalerStatus> {
    let conditions: Option<Vec<v2::HorizontalPodAutoscalerCondition>> = read(meta, CONDITIONS);
    let measured = read::<Vec<Metric>>(meta, CURRENT_METRICS);
    if status.is_none() && conditions.is_none() && measured.is_none() {
        return None;
    }
    let status = status.cloned().unwrap_or_default();
    // The annotation says more than the field.
    let current_metrics = match measured {
        Some(measured) => Some(measured.into_iter().map(Into::into).collect()),
        None => status.current_cpu_utilization_percentage.map(|percent| vec![current_cpu(percent)]),
    };
    Some(v2::HorizontalPodAutoscalerStatus {
        conditions,
        current_metrics,
        current_replicas: Some(status.current_replicas),
        desired_replicas: status.desired_replicas,
        last_scale_time: status.last_scale_time,
        observed_generation: status.observed_generation,
    })
}

fn current_cpu(percent: i32) -> v2::MetricStatus {
    let current = v2::MetricValueStatus { average_utilization: Some(percent), ..Default::default() };
    let resource = v2::ResourceMetricStatus { name: CPU.into(), current };
    v2::MetricStatus { type_: "Resource".into(), resource: Some(resource), ..Default::default() }
}

pub(super) fn from_v2(object: v2::HorizontalPodAutoscaler) -> Result<v1::HorizontalPodAutoscaler, serde_json::Error> {
    let v2::HorizontalPodAutoscaler { mut metadata, spec, status } = object;
    drop_annotations(&mut metadata);
    let metrics = spec.metrics.unwrap_or_default();
    let cpu = metrics.iter().find_map(cpu_utilization);
    let others: Vec<Metric> =
        metrics.into_iter().filter(|metric| cpu_utilization(metric).is_none()).map(Metric::from).collect();
    if !others.is_empty() {
        write(&mut metadata, METRICS, &others)?;
    }
    if let Some(behavior) = spec.behavior {
        write(&mut metadata, BEHAVIOR, &Behavior::from(behavior))?;
    }
    let status = status.map(|status| status_from_v2(status, &mut metadata)).transpose()?;
    Ok(v1::HorizontalPodAutoscaler {
        metadata,
        spec: v1::HorizontalPodAutoscalerSpec {
            max_replicas: spec.max_replicas,
            min_replicas: spec.min_replicas,
            scale_target_ref: v1::CrossVersionObjectReference {
                api_version: spec.scale_target_ref.api_version,
                kind: spec.scale_target_ref.kind,
                name: spec.scale_target_ref.name,
            },
            target_cpu_utilization_percentage: cpu,
        },
        status,
    })
}

fn status_from_v2(
    status: v2::HorizontalPodAutoscalerStatus,
    meta: &mut ObjectMeta,
) -> Result<v1::HorizontalPodAutoscalerStatus, serde_json::Error> {
    let measured = status.current_metrics.unwrap_or_default();
    // As everywhere upstream, the last one counts.
    let current_cpu_utilization_percentage = measured.iter().filter_map(current_cpu_utilization).next_back();
    if !measured.is_empty() {
        let measured: Vec<Metric> = measured.into_iter().map(Metric::from).collect();
        write(meta, CURRENT_METRICS, &measured)?;
    }
    if let Some(conditions) = status.conditions.filter(|conditions| !conditions.is_empty()) {
        write(meta, CONDITIONS, &conditions)?;
    }
    Ok(v1::HorizontalPodAutoscalerStatus {
        current_cpu_utilization_percentage,
        current_replicas: status.current_replicas.unwrap_or(0),
        desired_replicas: status.desired_replicas,
        last_scale_time: status.last_scale_time,
        observed_generation: status.observed_generation,
    })
}
