//! What priority and fairness counts of itself, under upstream's names.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::allocation::Claim;
use super::queueset::Rejection;

/// Names of configured objects only: no client can make new series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SchemaLabels {
    priority_level: Arc<str>,
    flow_schema: Arc<str>,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectedLabels {
    priority_level: Arc<str>,
    flow_schema: Arc<str>,
    reason: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitLabels {
    priority_level: Arc<str>,
    flow_schema: Arc<str>,
    execute: bool,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExecutionLabels {
    priority_level: Arc<str>,
    flow_schema: Arc<str>,
    r#type: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    priority_level: Arc<str>,
}

/// Seconds. Upstream's.
const BUCKETS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

const LENGTH_BUCKETS: [f64; 8] = [0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const SEAT_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];
const REGULAR: &str = "regular";
const WATCH: &str = "watch";

type SchemaGauge = Family<SchemaLabels, Gauge<i64, AtomicI64>>;
type LevelGauge = Family<LevelLabels, Gauge<i64, AtomicI64>>;
type ExactGauge = Gauge<f64, AtomicU64>;
type ExactLevelGauge = Family<LevelLabels, ExactGauge>;
type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug)]
pub(super) struct Metrics {
    dispatched: Family<SchemaLabels, Counter>,
    rejected: Family<RejectedLabels, Counter>,
    in_queue: SchemaGauge,
    in_queue_seats: SchemaGauge,
    executing: SchemaGauge,
    executing_seats: SchemaGauge,
    wait: Durations<WaitLabels>,
    execution: Durations<ExecutionLabels>,
    queue_length: Durations<SchemaLabels>,
    estimated_seats: Durations<SchemaLabels>,
    high_watermark: ExactLevelGauge,
    average: ExactLevelGauge,
    deviation: ExactLevelGauge,
    smoothed: ExactLevelGauge,
    target: ExactLevelGauge,
    fair: ExactGauge,
    nominal: LevelGauge,
    lower: LevelGauge,
    upper: LevelGauge,
    current: LevelGauge,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            dispatched: Family::default(),
            rejected: Family::default(),
            in_queue: Family::default(),
            in_queue_seats: Family::default(),
            executing: Family::default(),
            executing_seats: Family::default(),
            wait: Family::new_with_constructor(histogram as fn() -> Histogram),
            execution: Family::new_with_constructor(histogram as fn() -> Histogram),
            queue_length: Family::new_with_constructor((|| Histogram::new(LENGTH_BUCKETS)) as fn() -> Histogram),
            estimated_seats: Family::new_with_constructor((|| Histogram::new(SEAT_BUCKETS)) as fn() -> Histogram),
            high_watermark: Family::default(),
            average: Family::default(),
            deviation: Family::default(),
            smoothed: Family::default(),
            target: Family::default(),
            fair: Gauge::default(),
            nominal: Family::default(),
            lower: Family::default(),
            upper: Family::default(),
            current: Family::default(),
        }
    }
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("apiserver_flowcontrol");
        registry.register("dispatched_requests", "Requests that were given seats", self.dispatched.clone());
        registry.register("rejected_requests", "Requests that were turned away", self.rejected.clone());
        registry.register("current_inqueue_requests", "Requests that wait in queues", self.in_queue.clone());
        registry.register("current_inqueue_seats", "Seats that waiting requests want", self.in_queue_seats.clone());
        registry.register("current_executing_requests", "Requests that hold seats", self.executing.clone());
        registry.register("current_executing_seats", "Seats that requests hold", self.executing_seats.clone());
        registry.register("request_wait_duration_seconds", "How long requests waited", self.wait.clone());
        registry.register("request_execution_seconds", "How long requests held seats", self.execution.clone());
        let help = "How many waited in a queue, with the request that came to it";
        registry.register("request_queue_length_after_enqueue", help, self.queue_length.clone());
        registry.register("work_estimated_seats", "Seats that requests took", self.estimated_seats.clone());
        let help = "The most seats that a level could use, over the last period";
        registry.register("demand_seats_high_watermark", help, self.high_watermark.clone());
        let help = "How many seats a level could use on average, over the last period";
        registry.register("demand_seats_average", help, self.average.clone());
        registry.register("demand_seats_stdev", "And the standard deviation of that", self.deviation.clone());
        registry.register("demand_seats_smoothed", "And what is made of that over many periods", self.smoothed.clone());
        registry.register("target_seats", "Seats that a level would have if there were enough", self.target.clone());
        let help = "What part of its target each level gets that can use it";
        registry.register("seat_fair_frac", help, self.fair.clone());
        registry.register("nominal_limit_seats", "Seats by a level's shares", self.nominal.clone());
        registry.register("lower_limit_seats", "Seats that a level always has", self.lower.clone());
        registry.register("upper_limit_seats", "Seats that a level may have", self.upper.clone());
        registry.register("current_limit_seats", "Seats that a level has now", self.current.clone());
    }

    pub(super) fn of_schema(&self, priority_level: &Arc<str>, flow_schema: &Arc<str>) -> SchemaMetrics {
        let labels = SchemaLabels { priority_level: priority_level.clone(), flow_schema: flow_schema.clone() };
        let wait = |execute| {
            let (priority_level, flow_schema) = (priority_level.clone(), flow_schema.clone());
            self.wait.get_or_create(&WaitLabels { priority_level, flow_schema, execute }).clone()
        };
        let rejected = |why: Rejection| {
            let (priority_level, flow_schema) = (priority_level.clone(), flow_schema.clone());
            let labels = RejectedLabels { priority_level, flow_schema, reason: why.as_str() };
            self.rejected.get_or_create(&labels).clone()
        };
        let execution = |r#type| {
            let (priority_level, flow_schema) = (priority_level.clone(), flow_schema.clone());
            self.execution.get_or_create(&ExecutionLabels { priority_level, flow_schema, r#type }).clone()
        };
        SchemaMetrics {
            dispatched: self.dispatched.get_or_create(&labels).clone(),
            queue_full: rejected(Rejection::QueueFull),
            concurrency_limit: rejected(Rejection::ConcurrencyLimit),
            time_out: rejected(Rejection::TimeOut),
            in_queue: self.in_queue.get_or_create(&labels).clone(),
            in_queue_seats: self.in_queue_seats.get_or_create(&labels).clone(),
            executing: self.executing.get_or_create(&labels).clone(),
            executing_seats: self.executing_seats.get_or_create(&labels).clone(),
            waited_and_executed: wait(true),
            waited_in_vain: wait(false),
            execution: execution(REGULAR),
            watch_execution: execution(WATCH),
            queue_length: self.queue_length.get_or_create(&labels).clone(),
            estimated_seats: self.estimated_seats.get_or_create(&labels).clone(),
        }
    }
    /// Its series end: there is no such schema any more, or it leads elsewhere.
    pub(super) fn forget_schema(&self, priority_level: &Arc<str>, flow_schema: &Arc<str>) {
        let (priority_level, flow_schema) = (priority_level.clone(), flow_schema.clone());
        let labels = SchemaLabels { priority_level: priority_level.clone(), flow_schema: flow_schema.clone() };
        self.dispatched.remove(&labels);
        for family in [&self.in_queue, &self.in_queue_seats, &self.executing, &self.executing_seats] {
            family.remove(&labels);
        }
        self.queue_length.remove(&labels);
        self.estimated_seats.remove(&labels);
        for reason in [Rejection::QueueFull, Rejection::ConcurrencyLimit, Rejection::TimeOut].map(Rejection::as_str) {
            let (priority_level, flow_schema) = (priority_level.clone(), flow_schema.clone());
            self.rejected.remove(&RejectedLabels { priority_level, flow_schema, reason });
        }
        for execute in [true, false] {
            let (priority_level, flow_schema) = (priority_level.clone(), flow_schema.clone());
            self.wait.remove(&WaitLabels { priority_level, flow_schema, execute });
        }
        for r#type in [REGULAR, WATCH] {
            let (priority_level, flow_schema) = (priority_level.clone(), flow_schema.clone());
            self.execution.remove(&ExecutionLabels { priority_level, flow_schema, r#type });
        }
    }
    pub(super) fn forget_level(&self, name: &Arc<str>) {
        let labels = LevelLabels { priority_level: name.clone() };
        for family in [&self.nominal, &self.lower, &self.upper, &self.current] {
            family.remove(&labels);
        }
        for family in [&self.high_watermark, &self.average, &self.deviation, &self.smoothed, &self.target] {
            family.remove(&labels);
        }
    }
    /// `fair`: what part of its target each level gets.
    pub(super) fn adjusted(&self, fair: f64) {
        self.fair.set(fair);
    }
    pub(super) fn of_level(&self, name: &Arc<str>) -> LevelMetrics {
        let labels = LevelLabels { priority_level: name.clone() };
        LevelMetrics {
            nominal: self.nominal.get_or_create(&labels).clone(),
            lower: self.lower.get_or_create(&labels).clone(),
            upper: self.upper.get_or_create(&labels).clone(),
            current: self.current.get_or_create(&labels).clone(),
            high_watermark: self.high_watermark.get_or_create(&labels).clone(),
            average: self.average.get_or_create(&labels).clone(),
            deviation: self.deviation.get_or_create(&labels).clone(),
            smoothed: self.smoothed.get_or_create(&labels).clone(),
            target: self.target.get_or_create(&labels).clone(),
        }
    }
}

/// A schema's series, looked up once.
#[derive(Debug)]
pub(super) struct SchemaMetrics {
    dispatched: Counter,
    queue_full: Counter,
    concurrency_limit: Counter,
    time_out: Counter,
    in_queue: Gauge<i64, AtomicI64>,
    in_queue_seats: Gauge<i64, AtomicI64>,
    executing: Gauge<i64, AtomicI64>,
    executing_seats: Gauge<i64, AtomicI64>,
    waited_and_executed: Histogram,
    waited_in_vain: Histogram,
    execution: Histogram,
    watch_execution: Histogram,
    queue_length: Histogram,
    estimated_seats: Histogram,
}

impl SchemaMetrics {
    /// `change`: 1 or -1.
    pub(super) fn queued(&self, change: i64, seats: u32) {
        self.in_queue.inc_by(change);
        self.in_queue_seats.inc_by(change * i64::from(seats));
    }
    pub(super) fn enqueued(&self, length: usize) {
        // Far below what an f64 counts exactly.
        self.queue_length.observe(length as f64);
    }
    pub(super) fn estimated(&self, seats: u32) {
        self.estimated_seats.observe(f64::from(seats));
    }
    pub(super) fn waited(&self, waited: Duration, executed: bool) {
        let histogram = if executed { &self.waited_and_executed } else { &self.waited_in_vain };
        histogram.observe(waited.as_secs_f64());
    }
    pub(super) fn begun(&self, seats: u32) {
        self.dispatched.inc();
        self.executing.inc();
        self.executing_seats.inc_by(i64::from(seats));
    }
    pub(super) fn done(&self, seats: u32, took: Duration, is_watch: bool) {
        self.executing.dec();
        self.executing_seats.dec_by(i64::from(seats));
        let execution = if is_watch { &self.watch_execution } else { &self.execution };
        execution.observe(took.as_secs_f64());
    }
    pub(super) fn rejected(&self, why: Rejection) {
        match why {
            Rejection::QueueFull => self.queue_full.inc(),
            Rejection::ConcurrencyLimit => self.concurrency_limit.inc(),
            Rejection::TimeOut => self.time_out.inc(),
        };
    }
}

#[derive(Debug)]
pub(super) struct LevelMetrics {
    nominal: Gauge<i64, AtomicI64>,
    lower: Gauge<i64, AtomicI64>,
    upper: Gauge<i64, AtomicI64>,
    current: Gauge<i64, AtomicI64>,
    high_watermark: ExactGauge,
    average: ExactGauge,
    deviation: ExactGauge,
    smoothed: ExactGauge,
    target: ExactGauge,
}

impl LevelMetrics {
    pub(super) fn demanded(&self, claim: &Claim, target: f64) {
        self.high_watermark.set(claim.demand.high_watermark);
        self.average.set(claim.demand.average);
        self.deviation.set(claim.demand.deviation);
        self.smoothed.set(claim.smoothed);
        self.target.set(target);
    }
    pub(super) fn configured(&self, nominal: u32, lower: u32, upper: u32) {
        self.nominal.set(i64::from(nominal));
        self.lower.set(i64::from(lower));
        self.upper.set(i64::from(upper));
    }
    pub(super) fn current_limit(&self, seats: u32) {
        self.current.set(i64::from(seats));
    }
}
