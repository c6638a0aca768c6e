//! Tables of pods, what they use, and what is wanted of it.

use super::*;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24)
}

fn ago(secs: i64) -> Timestamp {
    now() - SignedDuration::from_secs(secs)
}

/// A pod that has been ready for an hour.
fn pod(name: &str) -> PodFacts {
    PodFacts {
        name: name.into(),
        deleting: false,
        phase: Phase::Running,
        started: Some(ago(3700)),
        ready: Some((true, ago(3600))),
    }
}

fn sample(milli: i64) -> Sample {
    Sample { milli, at: ago(10), window: SignedDuration::from_secs(30) }
}

/// Pods `p0`, `p1`, …, each with what it uses, if that is known.
fn pods(used: &[Option<i64>]) -> (Vec<PodFacts>, Samples) {
    let pods: Vec<PodFacts> = (0..used.len()).map(|i| pod(&format!("p{i}"))).collect();
    let samples = pods.iter().zip(used).filter_map(|(pod, used)| Some((pod.name.clone(), sample((*used)?))));
    let samples = samples.collect();
    (pods, samples)
}

fn utilization(pods: &[PodFacts], percent: i32, request: i64) -> Target {
    Target::Utilization { percent, requests: pods.iter().map(|pod| (pod.name.clone(), request)).collect() }
}

fn ask(pods: &[PodFacts], samples: &Samples, target: &Target) -> Result<Proposal, CalculationError> {
    let current = i32::try_from(pods.len()).unwrap();
    let tolerances = Tolerances::default();
    of_pods(Asked { pods, samples, target, current, tolerances, is_cpu: true, now: now() })
}

#[test]
fn replicas_follow_the_pods_usage() {
    let cases = [
        ("as it should be", vec![Some(500), Some(500)], 2, 50),
        ("nearly so", vec![Some(540), Some(540)], 2, 54),
        ("too much", vec![Some(1000), Some(1000)], 4, 100),
        ("too little", vec![Some(100), Some(100), Some(100), Some(100)], 1, 10),
        ("one is not known, others use too much: it uses nothing", vec![Some(1000), Some(1000), None], 4, 100),
        ("one is not known, others use too little: it uses its request", vec![Some(100), Some(100), None], 3, 10),
        ("with it the direction would turn", vec![Some(600), None], 2, 60),
    ];
    for (why, used, replicas, percent) in cases {
        let (pods, samples) = pods(&used);
        let got = ask(&pods, &samples, &utilization(&pods, 50, 1000)).unwrap();
        assert_eq!((got.replicas, got.utilization), (replicas, Some(percent)), "{why}");
    }
}

#[test]
fn an_average_value_needs_no_requests() {
    let cases = [
        ("as it should be", vec![Some(500), Some(500)], 2, 500),
        ("too much", vec![Some(1500), Some(500)], 4, 1000),
        ("one is not known, others use too little: it uses its share", vec![Some(100), Some(100), None], 2, 100),
    ];
    for (why, used, replicas, average) in cases {
        let (pods, samples) = pods(&used);
        let got = ask(&pods, &samples, &Target::AverageValue(500)).unwrap();
        assert_eq!((got.replicas, got.average_milli), (replicas, average), "{why}");
    }
}

#[test]
fn pods_that_say_little_of_the_rest_do_not_count() {
    let (all, samples) = pods(&[Some(1000), Some(1000), Some(1000)]);
    let with = |change: fn(&mut PodFacts)| {
        let mut pods = all.clone();
        change(&mut pods[2]);
        ask(&pods, &samples, &utilization(&all, 50, 1000)).map(|got| got.replicas)
    };
    type Row = (&'static str, fn(&mut PodFacts), i32);
    let cases: [Row; 9] = [
        ("all count", |_| {}, 6),
        ("one goes", |pod| pod.deleting = true, 4),
        ("one has failed", |pod| pod.phase = Phase::Failed, 4),
        ("one is pending: it will take its part", |pod| pod.phase = Phase::Pending, 4),
        (
            "one has just started and is not ready",
            |pod| {
                (pod.started, pod.ready) = (Some(ago(60)), Some((false, ago(60))));
            },
            4,
        ),
        (
            "one has just become ready: what it used was its start",
            |pod| {
                (pod.started, pod.ready) = (Some(ago(60)), Some((true, ago(30))));
            },
            4,
        ),
        (
            "one has become ready a while ago",
            |pod| {
                (pod.started, pod.ready) = (Some(ago(120)), Some((true, ago(60))));
            },
            6,
        ),
        ("one has never been ready", |pod| pod.ready = Some((false, ago(3690))), 4),
        ("one was ready once", |pod| pod.ready = Some((false, ago(60))), 6),
    ];
    for (why, change, replicas) in cases {
        assert_eq!(with(change), Ok(replicas), "{why}");
    }
}

#[test]
fn nothing_is_made_up() {
    let (all, samples) = pods(&[Some(1000)]);
    let target = utilization(&all, 50, 1000);
    assert_eq!(ask(&[], &samples, &target), Err(CalculationError::NoPods));
    assert_eq!(ask(&all, &Samples::new(), &target), Err(CalculationError::NoMetrics));
    assert_eq!(ask(&all, &samples, &utilization(&[], 50, 1000)), Err(CalculationError::NoRequests));
    let mut pending = all.clone();
    pending[0].phase = Phase::Pending;
    assert_eq!(ask(&pending, &samples, &target), Err(CalculationError::NoMetrics));
}

#[test]
fn one_value_for_all() {
    let of = |used, current, ready| of_value(used, 1000, current, Tolerances::default(), || Ok(ready)).unwrap();
    assert_eq!(of(1050, 3, 3), 3, "nearly so");
    assert_eq!(of(2000, 3, 3), 6);
    assert_eq!(of(2000, 3, 2), 4, "one is not ready");
    assert_eq!(of(2500, 0, 0), 3, "from nothing");
    assert_eq!(of(0, 0, 0), 0);
    assert_eq!(of(i64::MAX, 3, 3), i32::MAX, "no overflow");
    assert_eq!(of_value(2000, 1000, 3, Tolerances::default(), || ready(&[])), Err(CalculationError::NoPods));
}

#[test]
fn a_share_of_one_value_for_each() {
    let of = |used, current| of_share(used, 1000, current, Tolerances::default());
    assert_eq!(of(3050, 3), (3, 1017), "nearly so");
    assert_eq!(of(6000, 3), (6, 2000));
    assert_eq!(of(500, 3), (1, 167));
    assert_eq!((of(500, 0), of(0, 0)), ((1, 500), (0, 0)), "nobody is there to share it");
    assert_eq!(of(i64::MAX, 3).0, i32::MAX, "no overflow");
}

#[test]
fn tolerances_may_differ_by_direction() {
    let wide = Tolerances { up: 0.5, down: 0.0 };
    assert!(wide.include(1.4) && wide.include(1.0) && !wide.include(0.99) && !wide.include(1.51));
}
