//! One priority level at work: its queues, who waits in them, and how they are told that their turn has come.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::allocation::{Claim, Limits};
use super::configuration::Enablement;
use super::dump::{LevelDump, Present, Totals};
use super::metrics::{LevelMetrics, Metrics, SchemaMetrics};
use super::queueset::{QueueSet, Rejection, RequestId};
use super::request_digest::RequestDigest;
use super::retry::RetryAfter;

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
    /// All that are here, as they are told of.
    present: HashMap<RequestId, Present>,
    totals: Totals,
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
    Rejected(Rejection, i32),
}

impl Level {
    pub(super) fn new(
        name: Arc<str>,
        enablement: &Enablement,
        limits: Limits,
        metrics: &Metrics,
        now: Duration,
    ) -> Self {
        // Half of what it may lend is lent until somebody asks.
        let first = limits.nominal - (limits.nominal - limits.lower) / 2;
        let state = State {
            set: QueueSet::new(enablement, first, now),
            waiting: HashMap::new(),
            present: HashMap::new(),
            totals: Totals::default(),
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

    pub(super) fn configure(&self, enablement: &Enablement, limits: Limits, now: Duration) {
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

    pub(super) fn name(&self) -> &str {
        &self.name
    }
    /// How many seats its widest request takes.
    pub(super) fn widest(&self) -> u32 {
        self.widest.load(Ordering::Relaxed)
    }
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().present.is_empty()
    }
    #[cfg(test)]
    pub(super) fn waiting(&self) -> u32 {
        self.state.lock().set.waiting()
    }

    pub(super) fn claim(&self, now: Duration) -> Claim {
        let mut state = self.state.lock();
        let demand = state.set.demand().take(now);
        state.smoothed = demand.smooth(state.smoothed);
        Claim { exempt: state.exempt, limits: state.limits, demand, smoothed: state.smoothed }
    }
    pub(super) fn set_limit(&self, limit: u32, claim: &Claim, target: f64, now: Duration) {
        let mut state = self.state.lock();
        state.set.set_limit(limit);
        state.pump(now);
        self.metrics.current_limit(limit);
        self.metrics.demanded(claim, target);
    }

    pub(super) fn arrive(
        &self,
        now: Duration,
        flow: u64,
        seats: u32,
        digest: &Arc<RequestDigest>,
        metrics: &SchemaMetrics,
    ) -> Arrival {
        let mut state = self.state.lock();
        match state.set.arrive(now, flow, seats) {
            Err(rejection) => {
                state.totals.rejected += 1;
                Arrival::Rejected(rejection, state.retry.refused(now.as_secs()))
            }
            Ok(id) => {
                state.present.insert(id, Present { digest: digest.clone(), arrived: now });
                if let Some(length) = state.set.queue_length(id) {
                    metrics.enqueued(length);
                } else {
                    state.totals.dispatched += 1;
                }
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
        if !state.set.is_executing(id) {
            state.totals.rejected += 1;
            state.totals.cancelled += 1;
        }
        state.waiting.remove(&id);
        state.present.remove(&id);
        state.set.leave(now, id);
        state.pump(now);
    }

    /// All that is here, as it is now.
    pub(super) fn dump(&self, is_quiescing: bool) -> LevelDump {
        let state = self.state.lock();
        let (set, present) = (state.set.dump(), state.present.clone());
        LevelDump { name: self.name.clone(), is_quiescing, totals: state.totals, set, present }
    }
}

impl State {
    fn pump(&mut self, now: Duration) {
        while let Some(id) = self.set.dispatch(now) {
            self.totals.dispatched += 1;
            // One that went away meanwhile leaves by itself.
            if let Some(told) = self.waiting.remove(&id) {
                told.send(()).ok();
            }
        }
    }
}
