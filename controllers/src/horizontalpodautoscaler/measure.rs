//! What pods use, as metrics.k8s.io tells it. The other numbers that a metric may name come from APIs of others, of which none is
//! served.
//!
//! <https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/>

use std::collections::BTreeMap;

use corten_api::k8s_openapi::api::autoscaling::v2::MetricSpec;
use corten_api::k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use corten_api::k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use corten_api::quantity::Quantity;
use corten_client::Client;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::metric::{Read, Reading};
use super::replicas::{Sample, Samples};

const NOTHING: &str = "no metrics returned from resource metrics API";
const NO_CUSTOM: &str = "no custom metrics API (custom.metrics.k8s.io) registered";
const NO_EXTERNAL: &str = "no external metrics API (external.metrics.k8s.io) registered";

/// What a pod's containers used a moment ago.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodMetrics {
    pub metadata: ObjectMeta,
    pub timestamp: Option<Time>,
    /// As Go writes durations: `30s`.
    #[serde(default)]
    pub window: String,
    #[serde(default)]
    pub containers: Vec<ContainerMetrics>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerMetrics {
    pub name: String,
    #[serde(default)]
    pub usage: BTreeMap<String, Wire>,
}

impl Resource for PodMetrics {
    const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
    const GROUP: &'static str = "metrics.k8s.io";
    const KIND: &'static str = "PodMetrics";
    const VERSION: &'static str = "v1beta1";
    const URL_PATH_SEGMENT: &'static str = "pods";
    type Scope = NamespaceResourceScope;
}

corten_api::json_kinds!(PodMetrics);

impl Metadata for PodMetrics {
    type Ty = ObjectMeta;
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Reads what each of the metrics needs, of the pods that `selector` names.
pub async fn read(client: &Client, namespace: &str, selector: &str, metrics: &[MetricSpec]) -> Vec<Reading> {
    let of_resources = metrics.iter().any(|metric| metric.resource.is_some() || metric.container_resource.is_some());
    let measured = if of_resources {
        let listed = client.list_selected::<PodMetrics>(Some(namespace), selector, "").await;
        listed
            .map(|listed| listed.items)
            .map_err(|err| format!("unable to fetch metrics from resource metrics API: {err}"))
    } else {
        Ok(Vec::new())
    };
    metrics.iter().map(|metric| reading(metric, &measured)).collect()
}

fn reading(metric: &MetricSpec, measured: &Result<Vec<PodMetrics>, String>) -> Reading {
    let measured = || match measured {
        Ok(pods) if pods.is_empty() => Err(NOTHING.to_owned()),
        Ok(pods) => Ok(pods),
        Err(why) => Err(why.clone()),
    };
    if let Some(source) = &metric.resource {
        return Ok(Read::Pods(of_pods(measured()?, &source.name)));
    }
    if let Some(source) = &metric.container_resource {
        return Ok(Read::Pods(of_containers(measured()?, &source.container, &source.name)));
    }
    if metric.external.is_some() {
        return Err(format!("unable to fetch metrics from external metrics API: {NO_EXTERNAL}"));
    }
    Err(format!("unable to fetch metrics from custom metrics API: {NO_CUSTOM}"))
}

/// Of whole pods. One of which a container was not measured is left out.
fn of_pods(measured: &[PodMetrics], resource: &str) -> Samples {
    let sum = |pod: &PodMetrics| {
        let mut used = pod.containers.iter().map(|container| millis(container, resource));
        let sum = used.try_fold(0_i64, |sum, used| Some(sum.saturating_add(used?)))?;
        (!pod.containers.is_empty()).then_some(sum)
    };
    measured.iter().filter_map(|pod| sample(pod, sum(pod)?)).collect()
}

/// Of the containers of this name.
fn of_containers(measured: &[PodMetrics], name: &str, resource: &str) -> Samples {
    let used = |pod: &PodMetrics| {
        let container = pod.containers.iter().find(|container| container.name == name)?;
        millis(container, resource)
    };
    measured.iter().filter_map(|pod| sample(pod, used(pod)?)).collect()
}

fn millis(container: &ContainerMetrics, resource: &str) -> Option<i64> {
    Quantity::from_wire(container.usage.get(resource)?).ok().map(Quantity::millis)
}

/// Nothing of a pod that does not say when it was measured.
fn sample(pod: &PodMetrics, milli: i64) -> Option<(String, Sample)> {
    let (at, window) = (pod.timestamp.as_ref()?.0, pod.window.parse::<SignedDuration>().ok()?);
    Some((pod.metadata.name.clone()?, Sample { milli, at, window }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, containers: Value) -> PodMetrics {
        let pod = json!({
            "metadata": {"name": name},
            "timestamp": "2026-01-01T00:00:00Z",
            "window": "15.5s",
            "containers": containers,
        });
        serde_json::from_value(pod).unwrap()
    }

    fn used(reading: &Reading) -> Vec<(&str, i64)> {
        match reading {
            Ok(Read::Pods(samples)) => samples.iter().map(|(pod, sample)| (pod.as_str(), sample.milli)).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn metric(metric: Value) -> MetricSpec {
        serde_json::from_value(metric).unwrap()
    }

    #[test]
    fn what_pods_and_containers_use_is_read_of_those_that_were_measured() {
        let of = |name: &str, cpu: &str| json!({"name": name, "usage": {"cpu": cpu, "memory": "1Mi"}});
        let measured = Ok(vec![
            pod("both", json!([of("a", "100m"), of("b", "1500u")])),
            pod("half", json!([of("a", "7m"), {"name": "b", "usage": {}}])),
            pod("none", json!([])),
        ]);
        let target = json!({"type": "AverageValue", "averageValue": "1"});
        let whole = metric(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        assert_eq!(used(&reading(&whole, &measured)), [("both", 102)], "a thousandth that is begun counts");
        let source = json!({"name": "cpu", "container": "a", "target": target});
        let container = metric(json!({"type": "ContainerResource", "containerResource": source}));
        assert_eq!(used(&reading(&container, &measured)), [("both", 100), ("half", 7)]);
        let Ok(Read::Pods(samples)) = reading(&container, &measured) else { panic!("of pods") };
        assert_eq!(samples["both"].window, SignedDuration::from_millis(15_500));
    }

    #[test]
    fn what_nobody_serves_is_said_to_be_missing() {
        let target = json!({"type": "Value", "value": "1"});
        let of = json!({"name": "rps"});
        let object = json!({"describedObject": {"kind": "Service", "name": "web"}, "metric": of, "target": target});
        let cases = [
            (json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}), NOTHING.to_owned()),
            (
                json!({"type": "Object", "object": object}),
                format!("unable to fetch metrics from custom metrics API: {NO_CUSTOM}"),
            ),
            (
                json!({"type": "External", "external": {"metric": of, "target": target}}),
                format!("unable to fetch metrics from external metrics API: {NO_EXTERNAL}"),
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(reading(&metric(spec.clone()), &Ok(Vec::new())), Err(expected), "{spec}");
        }
    }
}
