//! What each sort of metric asks for, and how it is told of.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::horizontalpodautoscaler::replicas::{Phase, Sample};

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24)
}

/// Two pods that are ready and request a tenth of a processor.
fn pods() -> (Vec<Pod>, Vec<PodFacts>) {
    let names = ["p0", "p1"];
    let pod = |name: &&str| {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "1Mi"}}});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"containers": [container]}})).unwrap()
    };
    let long = now() - SignedDuration::from_hours(1);
    let facts = |name: &&str| PodFacts {
        name: (*name).into(),
        deleting: false,
        phase: Phase::Running,
        started: Some(long),
        ready: Some((true, long)),
    };
    (names.iter().map(pod).collect(), names.iter().map(facts).collect())
}

fn each(milli: i64) -> Reading {
    let sample = Sample { milli, at: now(), window: SignedDuration::from_secs(30) };
    Ok(Read::Pods([("p0".to_owned(), sample), ("p1".to_owned(), sample)].into()))
}

fn ask(spec: Value, reading: &Reading) -> Result<Evaluated, Failure> {
    let (pods, facts) = pods();
    let spec: MetricSpec = serde_json::from_value(spec).unwrap();
    let scaled = Scaled {
        namespace: "ns",
        pods: &pods,
        facts: &facts,
        spec_replicas: 2,
        status_replicas: 2,
        tolerances: Tolerances::default(),
        now: now(),
    };
    evaluate(&spec, reading, scaled)
}

fn resource(name: &str, target: Value) -> Value {
    json!({"type": "Resource", "resource": {"name": name, "target": target}})
}

#[test]
fn each_sort_of_metric_asks_and_tells_in_its_own_way() {
    let percent = json!({"type": "Utilization", "averageUtilization": 50});
    let average = |value: &str| json!({"type": "AverageValue", "averageValue": value});
    let whole = json!({"type": "Value", "value": "1k"});
    let metric = json!({"name": "rps", "selector": {"matchLabels": {"verb": "GET"}}});
    let object = |target: &Value| {
        let described = json!({"kind": "Service", "name": "web", "apiVersion": "v1"});
        json!({"type": "Object", "object": {"describedObject": described, "metric": metric, "target": target}})
    };
    let external = |target: &Value| json!({"type": "External", "external": {"metric": metric, "target": target}});
    let of_container = json!({"type": "ContainerResource", "containerResource":
        {"name": "cpu", "container": "c", "target": percent}});
    let selected =
        "rps(&LabelSelector{MatchLabels:map[string]string{verb: GET,},MatchExpressions:[]LabelSelectorRequirement{},})";
    let cases = [
        (
            resource("cpu", percent.clone()),
            each(100),
            4,
            "cpu resource utilization (percentage of request)".to_owned(),
            json!({"averageUtilization": 100, "averageValue": "100m"}),
        ),
        (resource("cpu", average("100m")), each(250), 5, "cpu resource".into(), json!({"averageValue": "250m"})),
        (
            resource("memory", average("1Mi")),
            each(2 * 1024 * 1024 * 1000),
            4,
            "memory resource".into(),
            json!({"averageValue": "2Mi"}),
        ),
        (
            of_container,
            each(100),
            4,
            "cpu container resource utilization (percentage of request)".into(),
            json!({"averageUtilization": 100, "averageValue": "100m"}),
        ),
        (
            json!({"type": "Pods", "pods": {"metric": metric, "target": average("10")}}),
            each(20_000),
            4,
            "pods metric rps".into(),
            json!({"averageValue": "20"}),
        ),
        (object(&whole), Ok(Read::Value(3_000_000)), 6, "Service metric rps".into(), json!({"value": "3k"})),
        (
            object(&average("1k")),
            Ok(Read::Value(3_000_000)),
            3,
            format!("external metric {selected}"),
            json!({"averageValue": "1500"}),
        ),
        (external(&whole), Ok(Read::Value(500_000)), 1, format!("external metric {selected}"), json!({"value": "500"})),
        (
            external(&average("100")),
            Ok(Read::Value(500_000)),
            5,
            format!("external metric {selected}"),
            json!({"averageValue": "250"}),
        ),
    ];
    for (spec, reading, replicas, name, current) in cases {
        let got = ask(spec.clone(), &reading).unwrap();
        let status = serde_json::to_value(&got.status).unwrap();
        let kind = status["type"].as_str().unwrap();
        let part = format!("{}{}", kind[..1].to_lowercase(), &kind[1..]);
        assert_eq!((got.replicas, got.name), (replicas, name), "{spec}");
        assert_eq!(status[part]["current"], current, "{spec}");
    }
}

#[test]
fn what_cannot_be_read_is_told_as_upstream_tells_it() {
    let away = || Err("no custom metrics API (custom.metrics.k8s.io) registered".to_owned());
    let average = json!({"type": "AverageValue", "averageValue": "10"});
    let metric = json!({"name": "rps"});
    let described = json!({"kind": "Service", "name": "web", "apiVersion": "v1"});
    let cases = [
        (
            resource("cpu", json!({"type": "Utilization", "averageUtilization": 50})),
            Err("no metrics returned from resource metrics API".to_owned()),
            "FailedGetResourceMetric",
            "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API",
        ),
        (
            resource("disk", json!({"type": "Utilization", "averageUtilization": 50})),
            each(1),
            "FailedGetResourceMetric",
            "failed to get disk utilization: missing request for disk in container c of Pod p0",
        ),
        (
            json!({"type": "Pods", "pods": {"metric": metric, "target": average}}),
            away(),
            "FailedGetPodsMetric",
            "unable to get metric rps: no custom metrics API (custom.metrics.k8s.io) registered",
        ),
        (
            json!({"type": "Object", "object": {"describedObject": described, "metric": metric,
                "target": {"type": "Value", "value": "1"}}}),
            away(),
            "FailedGetObjectMetric",
            "unable to get metric rps: no custom metrics API (custom.metrics.k8s.io) registered on Service ns/web",
        ),
        (
            json!({"type": "External", "external": {"metric": metric, "target": average}}),
            Err("away".to_owned()),
            "FailedGetExternalMetric",
            "failed to get rps external metric: unable to get external metric ns/rps/nil: away",
        ),
        (json!({"type": "Moon"}), each(1), "InvalidMetricSourceType", "unknown metric source type \"Moon\""),
    ];
    for (spec, reading, reason, message) in cases {
        let got = ask(spec.clone(), &reading).unwrap_err();
        assert_eq!((got.reason, got.message.as_str()), (reason, message), "{spec}");
    }
}
