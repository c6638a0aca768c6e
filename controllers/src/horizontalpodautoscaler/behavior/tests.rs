//! Growth and shrinkage over time, as scripts.

use corten_api::k8s_openapi::api::autoscaling::v2::HPAScalingPolicy;

use super::*;

fn at(secs: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(secs)
}

fn wish(current: i32, desired: i32) -> Wish {
    Wish { current, desired, min: 1, max: 100 }
}

fn rules(window: i32, select: &str, policies: &[(&str, i32, i32)]) -> HPAScalingRules {
    let policy = |(kind, value, period): &(&str, i32, i32)| HPAScalingPolicy {
        type_: (*kind).into(),
        value: *value,
        period_seconds: *period,
    };
    HPAScalingRules {
        policies: Some(policies.iter().map(policy).collect()),
        select_policy: Some(select.into()),
        stabilization_window_seconds: Some(window),
        tolerance: None,
    }
}

fn behavior(up: HPAScalingRules, down: HPAScalingRules) -> HorizontalPodAutoscalerBehavior {
    HorizontalPodAutoscalerBehavior { scale_up: Some(up), scale_down: Some(down) }
}

#[test]
fn without_a_behavior_a_target_doubles_and_stays_between_its_bounds() {
    let cases = [
        ("a small step", wish(3, 5), 5, "DesiredWithinRange"),
        ("more than double", wish(3, 50), 6, "ScaleUpLimit"),
        ("from one", wish(1, 50), 4, "ScaleUpLimit"),
        ("beyond the maximum", Wish { max: 5, ..wish(3, 6) }, 5, "TooManyReplicas"),
        ("below the minimum", Wish { min: 2, ..wish(3, 1) }, 2, "TooFewReplicas"),
        ("no change", wish(3, 3), 3, "DesiredWithinRange"),
    ];
    for (why, wish, replicas, reason) in cases {
        let got = limit(None, wish, &mut History::default(), at(0));
        assert_eq!((got.replicas, got.limit.0, got.is_limited), (replicas, reason, replicas != wish.desired), "{why}");
    }
}

#[test]
fn without_a_behavior_a_target_shrinks_when_five_minutes_have_not_asked_for_more() {
    let mut history = History::default();
    history.begin(10, at(0));
    let script = [
        (15, 4, 10, "ScaleDownStabilized"),
        (200, 6, 10, "ScaleDownStabilized"),
        (301, 4, 6, "ScaleDownStabilized"),
        (501, 4, 4, "ReadyForNewScale"),
        (510, 8, 8, "ReadyForNewScale"),
    ];
    for (secs, desired, replicas, reason) in script {
        let got = limit(None, wish(10, desired), &mut history, at(secs));
        assert_eq!((got.replicas, got.able.0), (replicas, reason), "after {secs} s");
    }
}

#[test]
fn windows_hold_back_both_ways() {
    let behavior = behavior(rules(60, "Max", &[("Pods", 100, 15)]), rules(120, "Max", &[("Percent", 100, 15)]));
    let mut history = History::default();
    history.begin(5, at(0));
    let script = [
        ("growth waits", 10, 5, 9, 5, "ScaleUpStabilized"),
        ("the least of a minute", 61, 5, 12, 9, "ScaleUpStabilized"),
        ("shrinkage waits for two", 80, 9, 2, 9, "ScaleDownStabilized"),
        ("the most of two minutes", 182, 9, 3, 3, "ReadyForNewScale"),
    ];
    for (why, secs, current, desired, replicas, reason) in script {
        let got = limit(Some(&behavior), wish(current, desired), &mut history, at(secs));
        assert_eq!((got.replicas, got.able.0), (replicas, reason), "{why}");
    }
}

#[test]
fn policies_bound_the_changes_of_their_periods() {
    let none = || rules(0, "Max", &[]);
    let up = |select: &str, policies: &[(&str, i32, i32)]| behavior(rules(0, select, policies), none());
    let down = |select: &str, policies: &[(&str, i32, i32)]| behavior(none(), rules(0, select, policies));
    let both = [("Pods", 4, 60), ("Percent", 50, 60)];
    let cases = [
        ("the larger step", up("Max", &both), wish(10, 50), 15, "ScaleUpLimit"),
        ("the smaller step", up("Min", &both), wish(10, 50), 14, "ScaleUpLimit"),
        ("no step", up("Disabled", &both), wish(10, 50), 10, "ScaleUpLimit"),
        (
            "no share of nothing is anything",
            up("Max", &[("Percent", 50, 60)]),
            Wish { min: 0, ..wish(0, 5) },
            1,
            "ScaleUpLimit",
        ),
        ("a percentage is rounded up", up("Max", &[("Percent", 10, 60)]), wish(1, 50), 2, "ScaleUpLimit"),
        ("within", up("Max", &both), wish(10, 12), 12, "DesiredWithinRange"),
        ("to the maximum", up("Max", &both), Wish { max: 12, ..wish(10, 13) }, 12, "TooManyReplicas"),
        ("the larger step down", down("Max", &both), wish(10, 1), 5, "ScaleDownLimit"),
        ("the smaller step down", down("Min", &both), wish(10, 1), 6, "ScaleDownLimit"),
        ("no step down", down("Disabled", &both), wish(10, 1), 10, "ScaleDownLimit"),
        ("no policy", down("Max", &[]), wish(10, 1), 1, "DesiredWithinRange"),
        ("to the minimum", down("Max", &[("Percent", 100, 60)]), Wish { min: 3, ..wish(10, 1) }, 3, "TooFewReplicas"),
    ];
    for (why, behavior, wish, replicas, reason) in cases {
        let got = limit(Some(&behavior), wish, &mut History::default(), at(0));
        assert_eq!((got.replicas, got.limit.0), (replicas, reason), "{why}");
    }
}

#[test]
fn what_was_done_in_a_period_counts_against_it() {
    let behavior = behavior(rules(0, "Max", &[("Pods", 4, 60)]), rules(0, "Max", &[("Pods", 2, 60)]));
    let mut history = History::default();
    history.scaled(10, 13, at(0));
    let ask = |history: &mut History, current, desired, secs| {
        limit(Some(&behavior), wish(current, desired), history, at(secs)).replicas
    };
    assert_eq!(ask(&mut history, 13, 50, 30), 14, "three of four have come");
    assert_eq!(ask(&mut history, 13, 50, 61), 17, "another minute");
    history.scaled(13, 11, at(62));
    assert_eq!(ask(&mut history, 11, 1, 70), 11, "both of two have gone");
    assert_eq!(ask(&mut history, 11, 1, 123), 9, "another minute");
}

#[test]
fn no_more_is_remembered_than_an_hour_and_never_without_end() {
    let mut history = History::default();
    for _ in 0..2 * REMEMBERED_MAX {
        limit(None, wish(3, 3), &mut history, at(0));
    }
    assert_eq!(history.recommendations.len(), REMEMBERED_MAX);
    limit(None, wish(3, 3), &mut history, at(3601));
    assert_eq!(history.recommendations.len(), 1);
}
