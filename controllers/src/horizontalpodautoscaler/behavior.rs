//! How fast a target may grow and shrink: stabilisation windows, policies, bounds. Pure.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior>

use corten_api::k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};
use jiff::{SignedDuration, Timestamp};

/// How long a higher recommendation counts where nothing else is said.
pub const DOWNSCALE_STABILIZATION: SignedDuration = SignedDuration::from_mins(5);
/// Without a behavior a target doubles at most, or grows to this.
const GROWS_TO_AT_LEAST: i32 = 4;
/// The longest window and the longest period that validation takes.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);
/// An autoscaler is looked at every 15 seconds, and then some.
const REMEMBERED_MAX: usize = 1024;

/// What an autoscaler has recommended and done, newest last. In memory: a new leader begins with nothing, as upstream's does.
#[derive(Clone, Debug, Default)]
pub struct History {
    recommendations: Vec<(Timestamp, i32)>,
    /// How many replicas came, and went.
    ups: Vec<(Timestamp, i32)>,
    downs: Vec<(Timestamp, i32)>,
}

impl History {
    /// What the target has when it is first seen is what was recommended before.
    pub fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
    }

    fn recommend(&mut self, replicas: i32, now: Timestamp) {
        push(&mut self.recommendations, replicas, now);
    }

    /// The target has been scaled.
    pub fn scaled(&mut self, from: i32, to: i32, now: Timestamp) {
        let changes = if to > from { &mut self.ups } else { &mut self.downs };
        push(changes, (to - from).abs(), now);
    }

    fn recommended_since(&self, since: Timestamp) -> impl Iterator<Item = i32> {
        self.recommendations.iter().filter(move |(at, _)| *at > since).map(|(_, replicas)| *replicas)
    }

    /// The replicas that there were before the changes of the last `period`.
    fn before(&self, period: SignedDuration, current: i32, now: Timestamp) -> i32 {
        let sum = |changes: &[(Timestamp, i32)]| -> i32 {
            changes.iter().filter(|(at, _)| *at > now - period).map(|(_, replicas)| *replicas).sum()
        };
        current.saturating_sub(sum(&self.ups)).saturating_add(sum(&self.downs))
    }
}

fn push(entries: &mut Vec<(Timestamp, i32)>, replicas: i32, now: Timestamp) {
    entries.retain(|(at, _)| *at > now - REMEMBERED);
    if entries.len() == REMEMBERED_MAX {
        entries.remove(0);
    }
    entries.push((now, replicas));
}

/// What is asked for, and between what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub current: i32,
    pub desired: i32,
    pub min: i32,
    pub max: i32,
}

/// What comes of it, with what the conditions AbleToScale (True) and ScalingLimited say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    pub replicas: i32,
    pub able: Words,
    pub is_limited: bool,
    pub limit: Words,
}

/// A reason and a message.
pub type Words = (&'static str, &'static str);

const READY: Words = ("ReadyForNewScale", "recommended size matches current size");
const DOWN_STABILIZED: Words = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const UP_STABILIZED: Words = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const WITHIN: Words = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FEW: Words = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_MANY: Words = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const UP_LIMIT: Words = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: Words =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

/// Holds the wish to what is allowed, and remembers it.
pub fn limit(
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
    wish: Wish,
    history: &mut History,
    now: Timestamp,
) -> Limited {
    let (stable, able) = stabilized(behavior, wish, history, now);
    history.recommend(wish.desired, now);
    let (replicas, limit) = match behavior {
        None => within_bounds(wish, stable),
        Some(behavior) => within_rates(behavior, Wish { desired: stable, ..wish }, history, now),
    };
    Limited { replicas, able, is_limited: replicas != stable, limit }
}

fn stabilized(
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
    wish: Wish,
    history: &History,
    now: Timestamp,
) -> (i32, Words) {
    let window = |rules: Option<&HPAScalingRules>| {
        rules.and_then(|rules| rules.stabilization_window_seconds).map(|secs| SignedDuration::from_secs(secs.into()))
    };
    let down = window(behavior.and_then(|b| b.scale_down.as_ref())).unwrap_or(DOWNSCALE_STABILIZATION);
    let highest = history.recommended_since(now - down).fold(wish.desired, i32::max);
    if behavior.is_none() {
        return (highest, if highest == wish.desired { READY } else { DOWN_STABILIZED });
    }
    let up = window(behavior.and_then(|b| b.scale_up.as_ref())).unwrap_or(SignedDuration::ZERO);
    let lowest = history.recommended_since(now - up).fold(wish.desired, i32::min);
    let stable = wish.current.max(lowest).min(highest);
    let able = match stable {
        stable if stable == wish.desired => READY,
        _ if wish.desired >= wish.current => UP_STABILIZED,
        _ => DOWN_STABILIZED,
    };
    (stable, able)
}

fn within_bounds(wish: Wish, desired: i32) -> (i32, Words) {
    let grows_to = wish.current.saturating_mul(2).max(GROWS_TO_AT_LEAST);
    let (most, why) = if wish.max > grows_to { (grows_to, UP_LIMIT) } else { (wish.max, TOO_MANY) };
    match desired {
        desired if desired < wish.min => (wish.min, TOO_FEW),
        desired if desired > most => (most, why),
        desired => (desired, WITHIN),
    }
}

fn within_rates(
    behavior: &HorizontalPodAutoscalerBehavior,
    wish: Wish,
    history: &History,
    now: Timestamp,
) -> (i32, Words) {
    let Wish { current, desired, min, max } = wish;
    if desired > current {
        let limit = rate(behavior.scale_up.as_ref(), Direction::Up, current, history, now).max(current);
        let (most, why) = if max > limit { (limit, UP_LIMIT) } else { (max, TOO_MANY) };
        return if desired > most { (most, why) } else { (desired, WITHIN) };
    }
    if desired < current {
        let limit = rate(behavior.scale_down.as_ref(), Direction::Down, current, history, now).min(current);
        let (least, why) = if min < limit { (limit, DOWN_LIMIT) } else { (min, TOO_FEW) };
        return if desired < least { (least, why) } else { (desired, WITHIN) };
    }
    (desired, WITHIN)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// As far as the policies let the target go now.
fn rate(rules: Option<&HPAScalingRules>, direction: Direction, current: i32, history: &History, now: Timestamp) -> i32 {
    let select = rules.and_then(|rules| rules.select_policy.as_deref()).unwrap_or("Max");
    if select == "Disabled" {
        return current;
    }
    let policies = rules.iter().flat_map(|rules| rules.policies.iter().flatten());
    let ends = policies.map(|policy| {
        let before = history.before(SignedDuration::from_secs(policy.period_seconds.into()), current, now);
        match (policy.type_.as_str(), direction) {
            ("Pods", Direction::Up) => before.saturating_add(policy.value),
            ("Pods", Direction::Down) => before.saturating_sub(policy.value),
            // Up, so that a small target grows at all; what it may lose is rounded up, too.
            // No share of nothing is anything.
            (_, Direction::Up) if before == 0 => 1,
            (_, Direction::Up) => rounded((f64::from(before) * (1.0 + f64::from(policy.value) / 100.0)).ceil()),
            (_, Direction::Down) => rounded((f64::from(before) * (1.0 - f64::from(policy.value) / 100.0)).trunc()),
        }
    });
    // The larger change is the higher end on the way up and the lower one on the way down.
    let is_higher = (select == "Max") == (direction == Direction::Up);
    let end = if is_higher { ends.max() } else { ends.min() };
    // Without a policy nothing limits.
    end.unwrap_or(if direction == Direction::Up { i32::MAX } else { i32::MIN })
}

/// A whole number of replicas, held to what one can count.
#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
pub fn rounded(replicas: f64) -> i32 {
    replicas as i32
}

#[cfg(test)]
mod tests;
