//! What is decided and told, from targets that cannot be scaled to such as grow.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::horizontalpodautoscaler::metric::Read;
use crate::horizontalpodautoscaler::replicas::{Phase, Sample};

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24)
}

/// Between 2 and 10 replicas that use 100m of a processor each; with `metrics` of them.
fn hpa(metrics: usize) -> HorizontalPodAutoscaler {
    let target = json!({"type": "AverageValue", "averageValue": "100m"});
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    let spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 2,
        "maxReplicas": 10,
        "metrics": vec![metric; metrics],
    });
    serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})).unwrap()
}

fn facts(count: i32) -> Vec<PodFacts> {
    let long = now() - SignedDuration::from_hours(1);
    let pod = |i| PodFacts {
        name: format!("p{i}"),
        deleting: false,
        phase: Phase::Running,
        started: Some(long),
        ready: Some((true, long)),
    };
    (0..count).map(pod).collect()
}

fn each(count: i32, milli: i64) -> Reading {
    let sample = Sample { milli, at: now(), window: SignedDuration::from_secs(30) };
    Ok(Read::Pods((0..count).map(|i| (format!("p{i}"), sample)).collect()))
}

fn away() -> Reading {
    Err("away".into())
}

fn ask(hpa: &HorizontalPodAutoscaler, replicas: i32, readings: &[Reading]) -> Decision {
    let (scale, facts) = (Scale { spec_replicas: replicas, status_replicas: replicas }, facts(replicas));
    let seen = Observed { hpa, scale: &scale, pods: Ok((&[], &facts)), readings, now: now() };
    decide(seen, &mut History::default())
}

/// `Type=Status Reason` of each condition.
fn told(status: &HorizontalPodAutoscalerStatus) -> BTreeMap<&str, String> {
    let conditions = status.conditions.iter().flatten();
    let told =
        conditions.map(|c| (c.type_.as_str(), format!("{} {}", c.status, c.reason.as_deref().unwrap_or_default())));
    told.collect()
}

#[test]
fn decisions_table() {
    let cases = [
        ("as it should be", 3, vec![each(3, 100)], None, "True ValidMetricFound", "True ReadyForNewScale"),
        (
            "too busy",
            3,
            vec![each(3, 200)],
            Some((6, "cpu resource above target")),
            "True ValidMetricFound",
            "True SucceededRescale",
        ),
        ("idle, for no time yet", 3, vec![each(3, 10)], None, "True ValidMetricFound", "True ScaleDownStabilized"),
        ("switched off", 0, vec![each(0, 0)], None, "False ScalingDisabled", "True SucceededGetScale"),
        (
            "below its minimum",
            1,
            vec![each(1, 0)],
            Some((2, "Current number of replicas below Spec.MinReplicas")),
            "",
            "True SucceededRescale",
        ),
        (
            "above its maximum",
            11,
            vec![each(11, 900)],
            Some((10, "Current number of replicas above Spec.MaxReplicas")),
            "",
            "True SucceededRescale",
        ),
        ("nothing is known", 3, vec![away()], None, "False FailedGetResourceMetric", "True SucceededGetScale"),
        (
            "the busier of two counts",
            3,
            vec![each(3, 100), each(3, 150)],
            Some((5, "cpu resource above target")),
            "True ValidMetricFound",
            "True SucceededRescale",
        ),
        (
            "one is not known, and the other asks for more",
            3,
            vec![away(), each(3, 200)],
            Some((6, "cpu resource above target")),
            "True ValidMetricFound",
            "True SucceededRescale",
        ),
        (
            "one is not known, and the other for less",
            3,
            vec![each(3, 10), away()],
            None,
            "False FailedGetResourceMetric",
            "True SucceededGetScale",
        ),
    ];
    for (why, replicas, readings, to, active, able) in cases {
        let got = ask(&hpa(readings.len()), replicas, &readings);
        let rescale = got.rescale.as_ref().map(|rescale| (rescale.to, rescale.reason.as_str()));
        assert_eq!(rescale, to, "{why}");
        let told = told(&got.status);
        let of = |kind: &str| told.get(kind).map_or("", String::as_str);
        assert_eq!((of(ACTIVE), of(ABLE)), (active, able), "{why}");
        let desired = to.map(|(to, _)| to).or((active == "True ValidMetricFound").then_some(replicas));
        assert_eq!(got.status.desired_replicas, desired.unwrap_or(0), "{why}");
        assert_eq!(got.status.last_scale_time.is_some(), to.is_some(), "{why}");
    }
}

#[test]
fn what_is_not_known_is_told_once_for_each_and_once_for_all() {
    let got = ask(&hpa(2), 3, &[away(), each(3, 10)]);
    let message = "failed to get cpu usage: unable to get metrics for resource cpu: away";
    let warnings: Vec<(&str, &str)> = got.warnings.iter().map(|w| (w.reason, w.message.as_str())).collect();
    let all = format!(
        "invalid metrics (1 invalid out of 2), first error is: failed to get cpu resource metric value: {message}"
    );
    assert_eq!(warnings, [("FailedGetResourceMetric", message), ("FailedComputeMetricsReplicas", all.as_str())]);
    let conditions = got.status.conditions.as_deref().unwrap_or_default();
    let active = conditions.iter().find(|condition| condition.type_ == ACTIVE).unwrap();
    assert_eq!(active.message, Some(format!("the HPA was unable to compute the replica count: {message}")));
    assert_eq!(got.status.current_metrics.map(|all| all.len()), Some(2), "each has its place");
}

#[test]
fn a_target_whose_pods_cannot_be_told_apart_is_left_alone() {
    let bad = BadSelector {
        event: "SelectorRequired",
        reason: "InvalidSelector",
        message: "selector is required".into(),
        condition: "the HPA target's scale is missing a selector".into(),
    };
    let (hpa, scale) = (hpa(1), Scale { spec_replicas: 3, status_replicas: 3 });
    let seen = Observed { hpa: &hpa, scale: &scale, pods: Err(&bad), readings: &[], now: now() };
    let got = decide(seen, &mut History::default());
    assert_eq!(got.rescale, None);
    assert_eq!(told(&got.status)[ACTIVE], "False InvalidSelector");
    assert_eq!(got.warnings[0].reason, "SelectorRequired");
}

#[test]
fn a_target_that_was_not_scaled_has_not_been_scaled() {
    let hpa = hpa(1);
    let decision = ask(&hpa, 3, &[each(3, 200)]);
    let status = without_rescale(&hpa, &decision, "it is away", now());
    assert_eq!(told(&status)[ABLE], "False FailedUpdateScale");
    assert_eq!((status.desired_replicas, status.last_scale_time), (0, None));
    assert_eq!(told(&without_scale(&hpa, "no such kind", now()))[ABLE], "False FailedGetScale");
}

#[test]
fn tolerances_are_the_spec_s() {
    let mut hpa = hpa(1);
    assert_eq!(tolerances(&hpa), Tolerances::default());
    let rules =
        |tolerance: &str| json!({"tolerance": tolerance, "stabilizationWindowSeconds": 0, "selectPolicy": "Max"});
    let behavior = json!({"scaleUp": rules("50m"), "scaleDown": rules("0.2")});
    hpa.spec.behavior = serde_json::from_value(behavior).unwrap();
    assert_eq!(tolerances(&hpa), Tolerances { up: 0.05, down: 0.2 });
}

/// Between none and ten replicas, by a number that nobody's pods have.
fn from_zero(min: i32, metric: &str, status: &serde_json::Value) -> HorizontalPodAutoscaler {
    let mut hpa = hpa(1);
    let target = json!({"type": "Value", "value": "10"});
    let external = json!([{"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}]);
    if metric == "External" {
        hpa.spec.metrics = serde_json::from_value(external).unwrap();
    }
    hpa.spec.min_replicas = Some(min);
    hpa.status = serde_json::from_value(status.clone()).unwrap();
    hpa
}

#[test]
fn from_zero_it_grows_where_the_zero_is_its_own() {
    let zero = |status: &str| json!({"desiredReplicas": 0, "conditions": [{"type": "ScaledToZero", "status": status}]});
    let none = json!({"desiredReplicas": 0});
    let (grows, stays) = (Some((3, "external metric queue(nil) above target")), None);
    let (off, on) = ("False ScalingDisabled", "True ValidMetricFound");
    let cases = [
        ("its own", 0, "External", zero("True"), 30, grows, on, "False NotScaledToZero"),
        ("its own, and nothing to do", 0, "External", zero("True"), 0, stays, on, "True "),
        ("an administrator's", 0, "External", zero("False"), 30, stays, off, "False "),
        ("an administrator's from the beginning", 0, "External", none.clone(), 30, stays, off, ""),
        ("nothing is measured without pods", 0, "Resource", zero("True"), 30, stays, off, "True "),
        (
            "its own, and no longer what it may be",
            2,
            "External",
            zero("True"),
            0,
            Some((2, "Current number of replicas below Spec.MinReplicas")),
            "",
            "False NotScaledToZero",
        ),
    ];
    for (why, min, metric, status, value, to, active, to_zero) in cases {
        let hpa = from_zero(min, metric, &status);
        let got = ask(&hpa, 0, &[Ok(Read::Value(value * 1000))]);
        let rescale = got.rescale.as_ref().map(|rescale| (rescale.to, rescale.reason.as_str()));
        assert_eq!(rescale, to, "{why}");
        let told = told(&got.status);
        let of = |kind: &str| told.get(kind).map_or("", String::as_str);
        assert_eq!((of(ACTIVE), of(TO_ZERO)), (active, to_zero), "{why}");
    }
}

#[test]
fn who_takes_the_last_replica_says_so_once_it_is_taken() {
    let mut hpa = from_zero(0, "External", &json!({"desiredReplicas": 1}));
    let rules = json!({"scaleDown": {"stabilizationWindowSeconds": 0}});
    hpa.spec.behavior = serde_json::from_value(rules).unwrap();
    let got = ask(&hpa, 1, &[Ok(Read::Value(0))]);
    assert_eq!(got.rescale.as_ref().map(|rescale| rescale.to), Some(0));
    assert_eq!(told(&got.status)[TO_ZERO], "True ScaledToZero");
    let failed = without_rescale(&hpa, &got, "it is away", now());
    assert_eq!(told(&failed).get(TO_ZERO), None, "it has its last replica still");
}
