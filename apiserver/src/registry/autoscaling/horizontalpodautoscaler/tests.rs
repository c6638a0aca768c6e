//! HorizontalPodAutoscalers: defaults, who writes what, validation, columns.

mod versions;

use serde_json::{Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{defaulted, found, object, prepare, row, texts};

type V1 = v1::HorizontalPodAutoscaler;
type V2 = v2::HorizontalPodAutoscaler;

fn target_ref() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})
}
/// A good spec with these fields.
fn with(fields: &Value) -> String {
    let mut spec = json!({"scaleTargetRef": target_ref(), "maxReplicas": 3});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "spec": spec }).to_string()
}
fn of_spec(fields: Value) -> Vec<String> {
    found::<V2>(&with(&fields))
}
fn of_metric(metric: Value) -> Vec<String> {
    of_spec(json!({"metrics": [metric]}))
}
fn cpu(target: Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}
fn percent(n: i32) -> Value {
    json!({"type": "Utilization", "averageUtilization": n})
}
fn external(target: Value) -> Value {
    json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": target}})
}

#[test]
fn defaults() {
    let filled: V2 = defaulted(&with(&json!({})));
    let spec = serde_json::to_value(&filled.spec).unwrap();
    assert_eq!((&spec["minReplicas"], &spec["metrics"]), (&json!(1), &json!([cpu(percent(80))])));
    assert_eq!(spec["behavior"], Value::Null);

    let behavior = |behavior: Value| {
        let filled: V2 = defaulted(&with(&json!({ "behavior": behavior })));
        serde_json::to_value(filled.spec.behavior).unwrap()
    };
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    let all = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, all]});
    let down = json!({"selectPolicy": "Max", "policies": [all]});
    assert_eq!(behavior(json!({})), json!({"scaleUp": up, "scaleDown": down}));
    let mine = json!({"stabilizationWindowSeconds": 5, "selectPolicy": "Min", "tolerance": "0.05",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]});
    assert_eq!(behavior(json!({"scaleDown": mine})), json!({"scaleUp": up, "scaleDown": mine}));
}

#[test]
fn good_autoscalers() {
    for fields in [
        json!({}),
        json!({"minReplicas": 3}),
        json!({"minReplicas": 0, "metrics": [external(json!({"type": "Value", "value": "5"}))]}),
        json!({"scaleTargetRef": {"apiVersion": "v1", "kind": "ReplicationController", "name": "a"}}),
        json!({"scaleTargetRef": {"kind": "ReplicationController", "name": "a"}}),
        json!({"metrics": [cpu(json!({"type": "AverageValue", "averageValue": "500m"})), cpu(percent(1))]}),
        json!({"behavior": {"scaleUp": {"tolerance": "0", "stabilizationWindowSeconds": 3600}}}),
        json!({"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}),
    ] {
        assert_eq!(of_spec(fields.clone()), Vec::<String>::new(), "{fields}");
    }
    for metric in [
        json!({"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "1k"}}}),
        json!({"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "a"}, "metric": {"name": "rps"},
            "target": {"type": "Value", "value": 10}}}),
        json!({"type": "ContainerResource", "containerResource": {"name": "memory", "container": "c", "target": percent(50)}}),
        json!({"type": "ContainerResource", "containerResource": {"name": "a.b/gpu", "container": "c", "target": percent(50)}}),
    ] {
        assert_eq!(of_metric(metric.clone()), Vec::<String>::new(), "{metric}");
    }
}

#[test]
fn bad_bounds_and_references() {
    let at_least_min = "must be greater than or equal to `minReplicas`";
    for (fields, expected) in [
        (
            json!({"maxReplicas": 0}),
            vec!["maxReplicas: Required value".to_owned(), format!("maxReplicas: Invalid value: 0: {at_least_min}")],
        ),
        (
            json!({"maxReplicas": -1, "minReplicas": -2}),
            vec![
                "minReplicas: Invalid value: -2: must be greater than or equal to 0".into(),
                "maxReplicas: Invalid value: -1: must be greater than or equal to 1".into(),
            ],
        ),
        (json!({"minReplicas": 4}), vec![format!("maxReplicas: Invalid value: 3: {at_least_min}")]),
        (
            json!({"minReplicas": 0}),
            vec!["metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas".into()],
        ),
        (
            json!({"scaleTargetRef": {"apiVersion": "v1", "kind": "", "name": "a/b"}}),
            vec![
                "scaleTargetRef.kind: Required value".into(),
                r#"scaleTargetRef.name: Invalid value: "a/b": may not contain '/'"#.into(),
                r#"scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group"#.into(),
            ],
        ),
        (
            json!({"scaleTargetRef": {"apiVersion": "a/b/c", "kind": "K", "name": ""}}),
            vec![
                "scaleTargetRef.name: Required value".into(),
                r#"scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#.into(),
            ],
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|text| format!("spec.{text}")).collect();
        assert_eq!(of_spec(fields.clone()), expected, "{fields}");
    }
}

#[test]
fn bad_behavior() {
    let up = |rules: Value| of_spec(json!({"behavior": {"scaleUp": rules}}));
    let policy = |policy: Value| up(json!({"policies": [policy]}));
    for (found, expected) in [
        (
            up(json!({"stabilizationWindowSeconds": -1})),
            "stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero",
        ),
        (
            up(json!({"stabilizationWindowSeconds": 3601})),
            "stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
        ),
        (
            up(json!({"selectPolicy": "max"})),
            r#"selectPolicy: Unsupported value: "max": supported values: "Disabled", "Max", "Min""#,
        ),
        (up(json!({"policies": []})), "policies: Required value: must specify at least one Policy"),
        (up(json!({"tolerance": "-0.1"})), r#"tolerance: Invalid value: "-0.1": must be greater than or equal to 0"#),
        (
            policy(json!({"type": "pods", "value": 1, "periodSeconds": 1})),
            r#"policies[0].type: Unsupported value: "pods": supported values: "Percent", "Pods""#,
        ),
        (
            policy(json!({"type": "Pods", "value": 0, "periodSeconds": 1})),
            "policies[0].value: Invalid value: 0: must be greater than zero",
        ),
        (
            policy(json!({"type": "Pods", "value": 1, "periodSeconds": 0})),
            "policies[0].periodSeconds: Invalid value: 0: must be greater than zero",
        ),
        (
            policy(json!({"type": "Pods", "value": 1, "periodSeconds": 1801})),
            "policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
        ),
    ] {
        assert_eq!(found, [format!("spec.behavior.scaleUp.{expected}")]);
    }
}

#[test]
fn a_metric_has_one_source_of_its_type() {
    let types = r#""ContainerResource", "External", "Object", "Pods", "Resource""#;
    let source = json!({"name": "cpu", "target": percent(5)});
    let pods = json!({"metric": {"name": "a"}, "target": {"type": "AverageValue", "averageValue": "1"}});
    for (metric, expected) in [
        (json!({"resource": source}), vec!["type: Required value: must specify a metric source type".to_owned()]),
        (
            json!({"type": "cpu", "resource": source}),
            vec![format!(r#"type: Unsupported value: "cpu": supported values: {types}"#)],
        ),
        (
            json!({"type": "Pods", "resource": source}),
            vec!["pods: Required value: must populate information for the given metric source".into()],
        ),
        (
            json!({"type": "ContainerResource"}),
            vec!["containerResource: Required value: must populate information for the given metric source".into()],
        ),
        (
            json!({"type": "Resource", "resource": source, "pods": pods}),
            vec!["pods: Forbidden: must populate the given metric source only".into()],
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|text| format!("spec.metrics[0].{text}")).collect();
        assert_eq!(of_metric(metric.clone()), expected, "{metric}");
    }
}

#[test]
fn bad_sources() {
    let of = |kind: &str, field: &str, source: Value| {
        let metric = json!({"type": kind, field: source});
        let head = format!("spec.metrics[0].{field}.");
        of_metric(metric).iter().map(|text| text.strip_prefix(&head).unwrap_or(text).to_owned()).collect::<Vec<_>>()
    };
    let object = |target: Value| {
        of(
            "Object",
            "object",
            json!({"describedObject": {"kind": "K", "name": "n"}, "metric": {"name": "m"}, "target": target}),
        )
    };
    let external = |target: Value| of("External", "external", json!({"metric": {"name": "m"}, "target": target}));
    let pods = |metric: Value, target: Value| of("Pods", "pods", json!({"metric": metric, "target": target}));
    let resource = |target: Value| of("Resource", "resource", json!({"name": "cpu", "target": target}));
    let container = |name: &str, container: &str| {
        let source = json!({"name": name, "container": container, "target": percent(5)});
        of("ContainerResource", "containerResource", source)
    };
    let one = json!({"type": "AverageValue", "averageValue": "1"});
    let m = json!({"name": "m"});
    for (found, expected) in [
        (
            object(json!({"type": "Value"})),
            "target.averageValue: Required value: must set either a target value or averageValue",
        ),
        (
            of(
                "Object",
                "object",
                json!({"describedObject": {"kind": "K", "name": "n", "apiVersion": "a/b/c"},
                "metric": m, "target": one}),
            ),
            r#"describedObject.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#,
        ),
        (
            external(json!({"type": "Value"})),
            "target.averageValue: Required value: must set either a target value for metric or a per-pod target",
        ),
        (
            external(json!({"type": "Value", "value": "1", "averageValue": "1"})),
            "target.value: Forbidden: may not set both a target value for metric and a per-pod target",
        ),
        (
            pods(m.clone(), json!({"type": "Value"})),
            "target.averageValue: Required value: must specify a positive target averageValue",
        ),
        (pods(json!({}), one.clone()), "metric.name: Required value: must specify a metric name"),
        (pods(json!({"name": "a%"}), one.clone()), r#"metric.name: Invalid value: "a%": may not contain '%'"#),
        (
            pods(m.clone(), json!({"averageValue": "1"})),
            "target.type: Required value: must specify a metric target type",
        ),
        (
            pods(m, json!({"type": "value", "averageValue": "1"})),
            r#"target.type: Invalid value: "value": must be either Utilization, Value, or AverageValue"#,
        ),
        (
            resource(json!({"type": "Value"})),
            "target.averageUtilization: Required value: must set either a target raw value or a target utilization",
        ),
        (
            resource(json!({"type": "Value", "averageValue": "1", "averageUtilization": 1})),
            "target.averageValue: Forbidden: may not set both a target raw value and a target utilization",
        ),
        (resource(percent(0)), "target.averageUtilization: Invalid value: 0: must be greater than 0"),
        (
            resource(json!({"type": "AverageValue", "averageValue": "0"})),
            r#"target.averageValue: Invalid value: "0": must be positive"#,
        ),
        (
            of("Resource", "resource", json!({"target": percent(5)})),
            "name: Required value: must specify a resource name",
        ),
        (container("", "c"), "name: Required value: must specify a resource name"),
        (
            container("requests.a/b", "c"),
            r#"name: Invalid value: "requests.a/b": doesn't follow extended resource name standard"#,
        ),
        (container("cpu", ""), "container: Required value: must specify a container"),
    ] {
        assert_eq!(found, [expected]);
    }
    let both = [
        r#"name: Invalid value: "gpu": must be a standard resource type or fully qualified"#,
        r#"name: Invalid value: "gpu": must be a standard resource for containers"#,
    ];
    assert_eq!(container("gpu", "c"), both);
    assert!(container("a b", "C").iter().all(|text| text.contains("Invalid value")));
}

#[test]
fn spec_and_status_are_written_apart() {
    let old: V2 = defaulted(
        &json!({"spec": {"scaleTargetRef": target_ref(), "maxReplicas": 3}, "status": {"currentReplicas": 2, "desiredReplicas": 3}})
            .to_string(),
    );
    let fresh: V2 = defaulted(&with(&json!({"maxReplicas": 4})));
    let (mut created, mut new, mut status) = (old.clone(), fresh.clone(), fresh);
    prepare(Strategy::Create, &mut created);
    assert_eq!(serde_json::to_value(&created.status).unwrap(), json!({"desiredReplicas": 0}));
    prepare(Strategy::Update(&old), &mut new);
    assert!(new.status == old.status && new.spec_changed(&old));
    prepare(Strategy::Status(&old), &mut status);
    assert!(status.spec == old.spec && status.status.is_none());
    let bad: V2 = object(r#"{"status":{"currentReplicas":-1,"desiredReplicas":-2}}"#);
    let mut problems = Problems::default();
    bad.validate_status(&old, &mut problems);
    assert_eq!(
        texts(&problems),
        [
            "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0",
            "status.desiredReplicas: Invalid value: -2: must be greater than or equal to 0"
        ]
    );
}

#[test]
fn columns() {
    let shown = |metrics: Value, measured: Value| {
        let json = json!({"metadata": {"name": "a"}, "spec": {"scaleTargetRef": target_ref(), "maxReplicas": 3,
            "metrics": metrics}, "status": {"currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": measured}});
        row::<V2>(&json.to_string(), 0)
    };
    assert_eq!(shown(json!([]), json!([])), "a|Deployment/web|<none>|<unset>|3|2|<unknown>");
    let targets = |metric: Value, measured: Value| {
        shown(json!([metric]), measured).split('|').nth(2).unwrap_or_default().to_owned()
    };
    let measured = |field: &str, current: Value| json!([{field: {"current": current}}]);
    let average = json!({"type": "AverageValue", "averageValue": "1000m"});
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": average}});
    let container = json!({"type": "ContainerResource", "containerResource": {"name": "memory", "container": "c", "target": average}});
    for (metric, measured, expected) in [
        (cpu(percent(80)), measured("resource", json!({"averageUtilization": 7})), "cpu: 7%/80%"),
        (cpu(percent(80)), json!([]), "cpu: <unknown>/80%"),
        (cpu(json!({"type": "Utilization"})), json!([]), "cpu: <unknown>/<auto>"),
        (cpu(average.clone()), measured("resource", json!({"averageValue": "20m"})), "cpu: 20m/1"),
        (container, measured("containerResource", json!({"averageValue": "2Ki"})), "memory: 2Ki/1"),
        (pods, measured("pods", json!({"averageValue": "3"})), "3/1"),
        (external(json!({"type": "Value", "value": "5"})), measured("external", json!({"value": "4"})), "4/5"),
        (external(average.clone()), measured("external", json!({"averageValue": "4"})), "4/1 (avg)"),
        (
            json!({"type": "Object", "object": {"describedObject": {}, "metric": {}, "target": average}}),
            json!([]),
            "<unknown>/1 (avg)",
        ),
        (json!({"type": "x"}), json!([]), "<unknown type>"),
    ] {
        assert_eq!(targets(metric, measured), expected);
    }
    let three = shown(json!([cpu(percent(1)), cpu(percent(2)), cpu(percent(3))]), json!([]));
    assert!(three.contains("|cpu: <unknown>/1%, cpu: <unknown>/2% + 1 more...|"), "{three}");
    let old = json!({"metadata": {"name": "a"}, "spec": {"scaleTargetRef": target_ref(), "minReplicas": 1, "maxReplicas": 3,
        "targetCPUUtilizationPercentage": 50}, "status": {"currentCPUUtilizationPercentage": 40, "currentReplicas": 2}});
    assert_eq!(row::<V1>(&old.to_string(), 0), "a|Deployment/web|cpu: 40%/50%|1|3|2|<unknown>");
}
