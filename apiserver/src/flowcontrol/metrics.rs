//! What priority and fairness counts of itself, under upstream's names.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

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
struct LevelLabels {
    priority_level: Arc<str>,
}

/// Seconds. Upstream's.
const BUCKETS: [f64; 12] = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

type SchemaGauge = Family<SchemaLabels, Gauge<i64, AtomicI64>>;
type LevelGauge = Family<LevelLabels, Gauge<i64, AtomicI64>>;
type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug)]
pub(super) struct Metrics {
    dispatched: Family<SchemaLabels, Counter>,
    rejected: Family<RejectedLabels, Counter>,
    in_queue: SchemaGauge,
    executing: SchemaGauge,
    executing_seats: SchemaGauge,
    wait: Durations<WaitLabels>,
    execution: Durations<SchemaLabels>,
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
            executing: Family::default(),
            executing_seats: Family::default(),
            wait: Family::new_with_constructor(histogram as fn() -> Histogram),
            execution: Family::new_with_constructor(histogram as fn() -> Histogram),
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
        registry.register("current_executing_requests", "Requests that hold seats", self.executing.clone());
        registry.register("current_executing_seats", "Seats that requests hold", self.executing_seats.clone());
        registry.register("request_wait_duration_seconds", "How long requests waited", self.wait.clone());
        registry.register("request_execution_seconds", "How long requests held seats", self.execution.clone());
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
        SchemaMetrics {
            dispatched: self.dispatched.get_or_create(&labels).clone(),
            queue_full: rejected(Rejection::QueueFull),
            concurrency_limit: rejected(Rejection::ConcurrencyLimit),
            time_out: rejected(Rejection::TimeOut),
            in_queue: self.in_queue.get_or_create(&labels).clone(),
            executing: self.executing.get_or_create(&labels).clone(),
            executing_seats: self.executing_seats.get_or_create(&labels).clone(),
            waited_and_executed: wait(true),
            waited_in_vain: wait(false),
            execution: self.execution.get_or_create(&labels).clone(),
        }
    }
    pub(super) fn of_level(&self, name: &Arc<str>) -> LevelMetrics {
        let labels = LevelLabels { priority_level: name.clone() };
        LevelMetrics {
            nominal: self.nominal.get_or_create(&labels).clone(),
            lower: self.lower.get_or_create(&labels).clone(),
            upper: self.upper.get_or_create(&labels).clone(),
            current: self.current.get_or_create(&labels).clone(),
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
    executing: Gauge<i64, AtomicI64>,
    executing_seats: Gauge<i64, AtomicI64>,
    waited_and_executed: Histogram,
    waited_in_vain: Histogram,
    execution: Histogram,
}

impl SchemaMetrics {
    pub(super) fn queued(&self, change: i64) {
        self.in_queue.inc_by(change);
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
    pub(super) fn done(&self, seats: u32, took: Duration) {
        self.executing.dec();
        self.executing_seats.dec_by(i64::from(seats));
        self.execution.observe(took.as_secs_f64());
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
}

impl LevelMetrics {
    pub(super) fn configured(&self, nominal: u32, lower: u32, upper: u32) {
        self.nominal.set(i64::from(nominal));
        self.lower.set(i64::from(lower));
        self.upper.set(i64::from(upper));
    }
    pub(super) fn current_limit(&self, seats: u32) {
        self.current.set(i64::from(seats));
    }
}
