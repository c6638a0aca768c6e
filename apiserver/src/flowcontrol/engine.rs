//! A configuration at work: its levels with their queues, its schemas with their counters.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::allocation::{Claim, Limits, allocate, limits};
use super::configuration::{Configuration, Enablement, FlowSchema};
use super::metrics::{LevelMetrics, Metrics, SchemaMetrics};
use super::queueset::{QueueSet, RequestId};
use super::retry::RetryAfter;

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) configuration: Configuration,
    /// In the configuration's order, as are the schemas.
    pub(super) levels: Vec<Arc<Level>>,
    pub(super) schemas: Vec<Arc<Schema>>,
}

#[derive(Debug)]
pub(super) struct Schema {
    pub(super) name: Arc<str>,
    /// The index of its level.
    pub(super) level: usize,
    pub(super) metrics: SchemaMetrics,
}

/// A priority level: it outlives configurations that keep its name.
#[derive(Debug)]
pub(super) struct Level {
    name: Arc<str>,
    widest: AtomicU32,
    state: Mutex<State>,
    metrics: LevelMetrics,
}

#[derive(Debug)]
struct State {
    set: QueueSet,
    /// How those that wait are told.
    waiting: HashMap<RequestId, oneshot::Sender<()>>,
    limits: Limits,
    exempt: bool,
    smoothed: f64,
    retry: RetryAfter,
}

/// What a request gets at once.
pub(super) enum Arrival {
    Executing(RequestId),
    /// Told when its turn has come.
    Waiting(RequestId, oneshot::Receiver<()>),
    /// And when it may try again, in seconds.
    Rejected(super::queueset::Rejection, i32),
}

impl Engine {
    pub(super) fn new(
        configuration: Configuration,
        seats: u32,
        metrics: &Metrics,
        now: Duration,
        before: Option<&Self>,
    ) -> Self {
        let limits = limits(seats, &configuration);
        let there: HashMap<&str, &Arc<Level>> =
            before.into_iter().flat_map(|before| &before.levels).map(|level| (&*level.name, level)).collect();
        let levels: Vec<Arc<Level>> = configuration
            .levels()
            .iter()
            .zip(limits)
            .map(|(level, limits)| match there.get(&*level.name).copied() {
                Some(kept) => {
                    kept.configure(&level.enablement, limits, now);
                    kept.clone()
                }
                None => Arc::new(Level::new(level.name.clone(), &level.enablement, limits, metrics, now)),
            })
            .collect();
        let indexes: HashMap<&str, usize> = levels.iter().enumerate().map(|(i, level)| (&*level.name, i)).collect();
        let schema = |schema: &FlowSchema| {
            let metrics = metrics.of_schema(&schema.priority_level, &schema.name);
            let level = indexes.get(&*schema.priority_level).copied().unwrap_or(0);
            Arc::new(Schema { name: schema.name.clone(), level, metrics })
        };
        Self { schemas: configuration.schemas().iter().map(schema).collect(), levels, configuration }
    }

    /// How many wait, at all levels.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> u32 {
        self.levels.iter().map(|level| level.state.lock().set.waiting()).sum()
    }

    /// Moves seats to where they are wanted.
    pub(super) fn adjust(&self, seats: u32, now: Duration) {
        let claims: Vec<Claim> = self.levels.iter().map(|level| level.claim(now)).collect();
        // Limits are rounded up: what they sum to is shared, so that idle levels have at least their own.
        let total = claims.iter().map(|c| c.limits.nominal).sum::<u32>().max(seats);
        for (level, limit) in self.levels.iter().zip(allocate(total, &claims)) {
            level.set_limit(limit, now);
        }
    }
}

impl Level {
    fn new(name: Arc<str>, enablement: &Enablement, limits: Limits, metrics: &Metrics, now: Duration) -> Self {
        // Half of what it may lend is lent until somebody asks.
        let first = limits.nominal - (limits.nominal - limits.lower) / 2;
        let state = State {
            set: QueueSet::new(enablement, first, now),
            waiting: HashMap::new(),
            limits,
            exempt: *enablement == Enablement::Exempt,
            smoothed: 0.0,
            retry: RetryAfter::default(),
        };
        let metrics = metrics.of_level(&name);
        metrics.configured(limits.nominal, limits.lower, limits.upper);
        metrics.current_limit(first);
        Self { name, widest: AtomicU32::new(limits.widest), state: Mutex::new(state), metrics }
    }

    fn configure(&self, enablement: &Enablement, limits: Limits, now: Duration) {
        let mut state = self.state.lock();
        state.set.configure(enablement);
        state.exempt = *enablement == Enablement::Exempt;
        state.limits = limits;
        let limit = state.set.limit().clamp(limits.lower, limits.upper);
        state.set.set_limit(limit);
        state.pump(now);
        self.widest.store(limits.widest, Ordering::Relaxed);
        self.metrics.configured(limits.nominal, limits.lower, limits.upper);
        self.metrics.current_limit(limit);
    }

    /// How many seats its widest request takes.
    pub(super) fn widest(&self) -> u32 {
        self.widest.load(Ordering::Relaxed)
    }

    fn claim(&self, now: Duration) -> Claim {
        let mut state = self.state.lock();
        let demand = state.set.demand().take(now);
        state.smoothed = demand.smooth(state.smoothed);
        Claim { exempt: state.exempt, limits: state.limits, demand, smoothed: state.smoothed }
    }
    fn set_limit(&self, limit: u32, now: Duration) {
        let mut state = self.state.lock();
        state.set.set_limit(limit);
        state.pump(now);
        self.metrics.current_limit(limit);
    }

    pub(super) fn arrive(&self, now: Duration, flow: u64, seats: u32) -> Arrival {
        let mut state = self.state.lock();
        match state.set.arrive(now, flow, seats) {
            Err(rejection) => Arrival::Rejected(rejection, state.retry.refused(now.as_secs())),
            Ok(id) => {
                state.pump(now);
                if state.set.is_executing(id) {
                    return Arrival::Executing(id);
                }
                let (told, turn) = oneshot::channel();
                state.waiting.insert(id, told);
                Arrival::Waiting(id, turn)
            }
        }
    }

    pub(super) fn is_executing(&self, id: RequestId) -> bool {
        self.state.lock().set.is_executing(id)
    }

    /// One that waited too long: how long it shall stay away, in seconds.
    pub(super) fn timed_out(&self, now: Duration) -> i32 {
        self.state.lock().retry.refused(now.as_secs())
    }

    /// A request is done, or waits no longer.
    pub(super) fn leave(&self, now: Duration, id: RequestId) {
        let mut state = self.state.lock();
        state.waiting.remove(&id);
        state.set.leave(now, id);
        state.pump(now);
    }
}

impl State {
    fn pump(&mut self, now: Duration) {
        while let Some(id) = self.set.dispatch(now) {
            // One that went away meanwhile leaves by itself.
            if let Some(told) = self.waiting.remove(&id) {
                told.send(()).ok();
            }
        }
    }
}
