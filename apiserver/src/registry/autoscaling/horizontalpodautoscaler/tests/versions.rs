//! The two versions: what is stored survives the older one, and what is written there is kept.

use super::*;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// Stored → v1 → stored.
fn around(stored: &Value) -> (Value, Value) {
    let convert = V1::conversion().unwrap();
    let served = (convert.from_stored)(stored.to_string().as_bytes()).unwrap();
    let back = (convert.to_stored)(&served).unwrap();
    (serde_json::from_slice(&served).unwrap(), serde_json::from_slice(&back).unwrap())
}
fn stored(spec: Value, status: Value) -> Value {
    let filled: V2 = defaulted(&with(&spec));
    let mut stored = serde_json::to_value(filled).unwrap();
    stored["metadata"] = json!({"name": "a", "annotations": {"mine": "x"}});
    if !status.is_null() {
        stored["status"] = status;
    }
    stored
}

#[test]
fn what_is_stored_survives_the_older_version() {
    let rps = json!({"name": "rps", "selector": {"matchLabels": {"a": "b"}}});
    let on = json!({"kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1"});
    let value = json!({"type": "Value", "value": "10"});
    let average = json!({"type": "AverageValue", "averageValue": "1k"});
    let metrics = [
        json!({"type": "Object", "object": {"describedObject": on, "metric": rps, "target": value}}),
        json!({"type": "Object", "object": {"describedObject": on, "metric": rps, "target": average}}),
        json!({"type": "Pods", "pods": {"metric": rps, "target": average}}),
        json!({"type": "Resource", "resource": {"name": "memory", "target": percent(70)}}),
        cpu(average.clone()),
        json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": percent(5)}}),
        json!({"type": "External", "external": {"metric": rps, "target": value}}),
        json!({"type": "External", "external": {"metric": rps, "target": average}}),
        cpu(percent(60)),
    ];
    let measured = [
        json!({"type": "Object", "object": {"describedObject": on, "metric": rps, "current": {"value": "9", "averageValue": "3"}}}),
        json!({"type": "Pods", "pods": {"metric": rps, "current": {"averageValue": "0"}}}),
        json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 55}}}),
        json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
            "current": {"averageUtilization": 55, "averageValue": "50m"}}}),
        json!({"type": "External", "external": {"metric": rps, "current": {"averageValue": "3"}}}),
    ];
    let condition = json!({"type": "AbleToScale", "status": "True", "reason": "r", "message": "m", "observedGeneration": 2,
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let mut cases = vec![
        (
            "all of it",
            stored(
                json!({"metrics": metrics, "behavior": {"scaleUp": {"tolerance": "0.1"}}}),
                json!({
            "currentMetrics": measured, "conditions": [condition], "currentReplicas": 2, "desiredReplicas": 3,
            "lastScaleTime": "2026-01-01T00:00:00Z", "observedGeneration": 7}),
            ),
        ),
        ("nothing but cpu", stored(json!({}), Value::Null)),
        ("nothing but another metric", stored(json!({"metrics": [external(value)]}), Value::Null)),
    ];
    cases.extend(metrics.into_iter().map(|metric| ("one metric", stored(json!({"metrics": [metric]}), Value::Null))));
    for (why, stored) in cases {
        assert_eq!(around(&stored).1, stored, "{why}");
    }
}

#[test]
fn the_older_version_says_in_annotations_what_it_has_no_fields_for() {
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": percent(70)}});
    let policy = json!({"type": "Pods", "value": 1, "periodSeconds": 60});
    let spec = json!({"metrics": [cpu(percent(60)), memory], "behavior": {"scaleDown": {"policies": [policy]}}});
    let used = json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 55, "averageValue": "50m"}}});
    let condition = json!({"type": "AbleToScale", "status": "True"});
    let status =
        json!({"currentMetrics": [used], "conditions": [condition], "currentReplicas": 2, "desiredReplicas": 3});
    let (served, _) = around(&stored(spec, status));
    assert_eq!(
        served["spec"],
        json!({"scaleTargetRef": target_ref(), "minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 60})
    );
    assert_eq!(
        served["status"],
        json!({"currentReplicas": 2, "desiredReplicas": 3, "currentCPUUtilizationPercentage": 55})
    );
    let annotation = |key: &str| -> Value {
        serde_json::from_str(served["metadata"]["annotations"][key].as_str().unwrap_or_default()).unwrap_or_default()
    };
    assert_eq!(served["metadata"]["annotations"]["mine"], "x");
    let source = json!({"name": "memory", "targetAverageUtilization": 70});
    assert_eq!(annotation(METRICS), json!([{"type": "Resource", "resource": source}]));
    let source = json!({"name": "cpu", "currentAverageUtilization": 55, "currentAverageValue": "50m"});
    assert_eq!(annotation(CURRENT_METRICS), json!([{"type": "Resource", "resource": source}]));
    assert_eq!(annotation(CONDITIONS), json!([condition]));
    let policies = json!([{"Type": "Pods", "Value": 1, "PeriodSeconds": 60}]);
    let rules =
        json!({"StabilizationWindowSeconds": null, "SelectPolicy": "Max", "Policies": policies, "Tolerance": null});
    assert_eq!(annotation(BEHAVIOR)["ScaleDown"], rules);
}

/// v1 as it is stored.
fn written(annotations: Value, cpu: Value) -> Value {
    let spec = json!({"scaleTargetRef": target_ref(), "maxReplicas": 3, "targetCPUUtilizationPercentage": cpu});
    let filled: V1 = defaulted(&json!({"metadata": {"annotations": annotations}, "spec": spec}).to_string());
    let convert = V1::conversion().unwrap();
    let stored = (convert.to_stored)(&serde_json::to_vec(&filled).unwrap()).unwrap();
    serde_json::from_slice(&stored).unwrap()
}

#[test]
fn what_is_written_in_the_older_version_is_stored_in_the_newer() {
    let metrics = |annotations: Value, cpu: Value| written(annotations, cpu)["spec"]["metrics"].clone();
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": percent(70)}});
    let said =
        json!([{"type": "Resource", "resource": {"name": "memory", "targetAverageUtilization": 70}}]).to_string();
    assert_eq!(metrics(json!({}), Value::Null), json!([cpu(percent(80))]), "percent of cpu by default");
    assert_eq!(metrics(json!({}), json!(50)), json!([cpu(percent(50))]));
    assert_eq!(metrics(json!({METRICS: said}), Value::Null), json!([memory]));
    assert_eq!(metrics(json!({METRICS: said}), json!(50)), json!([memory, cpu(percent(50))]));
    assert_eq!(metrics(json!({METRICS: "{"}), json!(50)), json!([cpu(percent(50))]), "nonsense is ignored");
    let object = json!([{"type": "Object", "object": {"target": {"kind": "K", "name": "n"}, "metricName": "m",
        "targetValue": "0", "averageValue": 5}}]);
    assert_eq!(
        metrics(json!({METRICS: object.to_string()}), Value::Null)[0]["object"]["target"],
        json!({"type": "AverageValue", "averageValue": "5"}),
        "what earlier programs write"
    );
    let behavior = |text: &str| written(json!({ BEHAVIOR: text }), Value::Null)["spec"]["behavior"].clone();
    let rules = json!({"stabilizationWindowSeconds": 9, "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]});
    assert_eq!(behavior(r#"{"ScaleDown":{"StabilizationWindowSeconds":9}}"#)["scaleDown"], rules);
    assert_eq!(behavior(r#"{"scaleDown":{"stabilizationWindowSeconds":9}}"#)["scaleDown"], rules);
    assert_eq!(behavior("{}"), Value::Null);
    let left = written(json!({METRICS: said, BEHAVIOR: "{}", CONDITIONS: "x", "mine": "x"}), Value::Null);
    assert_eq!(left["metadata"]["annotations"], json!({"mine": "x"}));
    let v2: V2 = defaulted(&json!({"metadata": {"annotations": {METRICS: said}}, "spec": {}}).to_string());
    assert_eq!(v2.metadata.annotations, None, "v2 has fields for it");
}

#[test]
fn the_older_version_keeps_the_rules_of_the_newer() {
    let conditions = json!([{"type": "AbleToScale", "status": "True"}]).to_string();
    let of = |max: i32, status: &str| {
        let metadata = json!({"annotations": {CONDITIONS: status}});
        let spec = json!({"scaleTargetRef": target_ref(), "maxReplicas": max});
        json!({"metadata": metadata, "spec": spec, "status": {"currentReplicas": max, "desiredReplicas": max}})
            .to_string()
    };
    let old: V1 = defaulted(&of(3, &conditions));
    let (mut new, mut same): (V1, V1) = (defaulted(&of(5, "[]")), defaulted(&of(3, "[]")));
    prepare(Strategy::Update(&old), &mut new);
    assert!(new.status == old.status && new.spec_changed(&old));
    assert_eq!(new.metadata.annotations, old.metadata.annotations, "the status that stands there stays, too");
    prepare(Strategy::Update(&old), &mut same);
    assert!(same == old && !same.spec_changed(&old));
    let mut status: V1 = defaulted(&of(5, "[]"));
    prepare(Strategy::Status(&old), &mut status);
    assert!(status.spec == old.spec && status.metadata.annotations.is_none());
    let mut created = old.clone();
    prepare(Strategy::Create, &mut created);
    assert!(created.metadata.annotations.is_none());
    let bad = json!({"spec": {"scaleTargetRef": target_ref(), "targetCPUUtilizationPercentage": 0}}).to_string();
    assert_eq!(
        found::<V1>(&bad),
        [
            "spec.maxReplicas: Required value",
            "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"
        ]
    );
}
