//! What /metrics tells of scheduling, by upstream's names and in its buckets.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/metrics/>

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::queue::{Incoming, Sizes};

/// Pods that were tried so often, or more often, are counted together.
const ATTEMPTS_MAX: u32 = 15;

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Scheduled,
    /// No node would do.
    Unschedulable,
    /// A node was found and could not be given.
    Error,
}

impl Attempt {
    fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Unschedulable => "unschedulable",
            Self::Error => "error",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    result: &'static str,
    profile: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IncomingLabels {
    queue: &'static str,
    event: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptsLabels {
    attempts: String,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// Of all terms of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    attempts: Family<AttemptLabels, Counter>,
    attempt_durations: Durations<AttemptLabels>,
    algorithm_durations: Histogram,
    sli_durations: Durations<AttemptsLabels>,
    attempts_of_scheduled: Histogram,
    preemption_attempts: Counter,
    preemption_victims: Histogram,
    pending: Family<QueueLabels, Gauge>,
    incoming: Family<IncomingLabels, Counter>,
}

/// From a millisecond to 16 seconds.
fn attempt_durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}
/// From 10 milliseconds to 87 minutes.
fn sli_durations() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 20))
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            attempt_durations: Family::new_with_constructor(attempt_durations as fn() -> Histogram),
            algorithm_durations: attempt_durations(),
            sli_durations: Family::new_with_constructor(sli_durations as fn() -> Histogram),
            attempts_of_scheduled: Histogram::new(exponential_buckets(1.0, 2.0, 5)),
            preemption_attempts: Counter::default(),
            preemption_victims: Histogram::new(exponential_buckets(1.0, 2.0, 7)),
            pending: Family::default(),
            incoming: Family::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("scheduler");
        let help = "Tries to schedule pods, by what came of them: `unschedulable` says that no node would do";
        registry.register("schedule_attempts", help, self.attempts.clone());
        let help = "How long tries took, with the binding";
        registry.register("scheduling_attempt_duration_seconds", help, self.attempt_durations.clone());
        let help = "How long decisions took";
        registry.register("scheduling_algorithm_duration_seconds", help, self.algorithm_durations.clone());
        let help = "From a pod's first try to its binding, by the number of tries";
        registry.register("pod_scheduling_sli_duration_seconds", help, self.sli_durations.clone());
        let help = "How many tries pods took that have a node now";
        registry.register("pod_scheduling_attempts", help, self.attempts_of_scheduled.clone());
        let help = "How often it was found out whether room could be made for a pod";
        registry.register("preemption_attempts", help, self.preemption_attempts.clone());
        let help = "How many pods had to go for another";
        registry.register("preemption_victims", help, self.preemption_victims.clone());
        let help = "Pods that wait: to be tried, for their backoff, for an event that could help, for their gates";
        registry.register("pending_pods", help, self.pending.clone());
        let help = "Pods that came into a part of the queue, by the event";
        registry.register("queue_incoming_pods", help, self.incoming.clone());
    }

    pub(crate) fn decided(&self, took: Duration) {
        self.algorithm_durations.observe(took.as_secs_f64());
    }
    pub(crate) fn tried(&self, profile: &str, result: Attempt, took: Duration) {
        let labels = AttemptLabels { result: result.as_str(), profile: profile.into() };
        self.attempts.get_or_create(&labels).inc();
        self.attempt_durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
    /// A pod has its node, after so many tries, and so long after the first.
    pub(crate) fn placed(&self, tries: u32, since_first: Duration) {
        self.attempts_of_scheduled.observe(tries.into());
        let attempts = if tries >= ATTEMPTS_MAX { format!("{ATTEMPTS_MAX}+") } else { tries.to_string() };
        self.sli_durations.get_or_create(&AttemptsLabels { attempts }).observe(since_first.as_secs_f64());
    }
    /// It was looked for pods that could go; `None`: that would not have helped.
    pub(crate) fn preempted(&self, victims: Option<usize>) {
        self.preemption_attempts.inc();
        if let Some(victims) = victims {
            self.preemption_victims.observe(victims as f64);
        }
    }
    pub(crate) fn note_queue(&self, (sizes, gated): (Sizes, usize), incoming: Incoming) {
        let Sizes { active, backoff, unschedulable } = sizes;
        let parts = [("active", active), ("backoff", backoff), ("unschedulable", unschedulable), ("gated", gated)];
        for (queue, pods) in parts {
            self.pending.get_or_create(&QueueLabels { queue }).set(i64::try_from(pods).unwrap_or(i64::MAX));
        }
        for ((queue, event), pods) in incoming {
            self.incoming.get_or_create(&IncomingLabels { queue, event }).inc_by(pods);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_upstreams() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let ms = Duration::from_millis(3);
        metrics.tried("me", Attempt::Scheduled, ms);
        metrics.tried("me", Attempt::Unschedulable, ms);
        metrics.tried("me", Attempt::Error, ms);
        metrics.decided(ms);
        metrics.placed(2, ms);
        metrics.placed(40, ms);
        metrics.preempted(Some(3));
        metrics.preempted(None);
        let sizes = Sizes { active: 1, backoff: 2, unschedulable: 3 };
        metrics.note_queue((sizes, 4), [(("active", "NodeAdd"), 5)].into());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"scheduler_schedule_attempts_total{result="scheduled",profile="me"} 1"#,
            r#"scheduler_schedule_attempts_total{result="unschedulable",profile="me"} 1"#,
            r#"scheduler_schedule_attempts_total{result="error",profile="me"} 1"#,
            r#"scheduler_scheduling_attempt_duration_seconds_bucket{le="0.004",result="scheduled",profile="me"} 1"#,
            "scheduler_scheduling_algorithm_duration_seconds_count 1",
            r#"scheduler_pod_scheduling_sli_duration_seconds_count{attempts="2"} 1"#,
            r#"scheduler_pod_scheduling_sli_duration_seconds_count{attempts="15+"} 1"#,
            "scheduler_pod_scheduling_attempts_sum 42.0",
            "scheduler_preemption_attempts_total 2",
            "scheduler_preemption_victims_sum 3.0",
            r#"scheduler_pending_pods{queue="active"} 1"#,
            r#"scheduler_pending_pods{queue="backoff"} 2"#,
            r#"scheduler_pending_pods{queue="unschedulable"} 3"#,
            r#"scheduler_pending_pods{queue="gated"} 4"#,
            r#"scheduler_queue_incoming_pods_total{queue="active",event="NodeAdd"} 5"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }
}
