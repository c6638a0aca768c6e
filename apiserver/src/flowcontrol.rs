//! API priority and fairness: who waits for whom when more is asked than can be done at once.
//!
//! A request belongs to a flow, by who asks for what (`classify`), and its flow to a priority level. Each level has seats of
//! its own (`allocation`), so that no flood takes those of leases, nodes or administrators, and lends those that it does not
//! use (`demand`). When they are taken a request waits in a queue that is fair to all flows of its level (`queueset`),
//! before its body is read. It is refused with 429 only when its queue is full or it waited too long.
//!
//! <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>. REST and gRPC both enter by
//! [`FlowControl::admit`]. The configuration is a value that may be replaced at run time: it is made of the cluster's
//! PriorityLevelConfigurations and FlowSchemas (`objects`) whenever they change (`keeper`). The server keeps its own up to date
//! (`upkeep`), and says which of them lead nowhere (`dangling`). `dump` shows the queues to administrators.

mod allocation;
pub mod bootstrap;
mod classify;
pub mod configuration;
pub mod dangling;
mod demand;
pub mod dump;
mod engine;
pub mod keeper;
mod level;
pub mod long_running;
mod metrics;
pub mod objects;
mod queueset;
mod request_digest;
mod retry;
pub mod seat;
mod shuffle;
#[cfg(test)]
mod tests;
mod uids;
pub mod upkeep;
pub mod work;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use corten_api::ApiError;
use http::HeaderMap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::configuration::Configuration;
use self::dump::Moment;
use self::engine::{Engine, Schema};
use self::level::Level;
use self::long_running::{LongRunning, Places};
use self::metrics::Metrics;
use self::request_digest::RequestDigest;
use self::seat::{Admission, Seat};
use crate::authz::Attributes;
use crate::request::User;

/// Upstream's `--max-requests-inflight` and `--max-mutating-requests-inflight`: together they are the server's seats.
pub const DEFAULT_MAX_READ_ONLY: u32 = 400;
pub const DEFAULT_MAX_MUTATING: u32 = 200;
/// A quarter of a request's deadline, as upstream: who waited longer is told to come back.
pub const QUEUE_WAIT_MAX: Duration = Duration::from_secs(15);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct FlowControl {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    seats: u32,
    engine: ArcSwap<Engine>,
    /// One at a time replaces the configuration or moves seats between levels.
    changing: Mutex<()>,
    /// Milliseconds after `began` at which borrowing was last decided.
    adjusted_at: AtomicU64,
    began: Instant,
    /// Random for each process: nobody can choose names whose flows collide.
    hasher: RandomState,
    metrics: Metrics,
    mutating: AtomicUsize,
    read_only: AtomicUsize,
    long_running: Arc<Places>,
}

/// Where a request belongs: to be admitted there, and to be told of in its response.
#[derive(Debug)]
pub struct Classified<'a> {
    server: Arc<Inner>,
    level: Arc<Level>,
    schema: Arc<Schema>,
    user: &'a User,
    asked: Attributes<'a>,
    distinguisher: &'a str,
}

/// Where a request was sorted.
#[derive(Clone, Debug)]
pub struct Sorted {
    level: Arc<Level>,
    schema: Arc<Schema>,
}

impl Default for FlowControl {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_READ_ONLY + DEFAULT_MAX_MUTATING, bootstrap::configuration())
    }
}

impl FlowControl {
    pub fn new(seats: u32, configuration: Configuration) -> Self {
        let metrics = Metrics::default();
        let engine = Engine::new(configuration, seats, &metrics, Duration::ZERO, None);
        let inner = Inner {
            seats,
            engine: ArcSwap::from_pointee(engine),
            changing: Mutex::default(),
            adjusted_at: AtomicU64::new(0),
            began: Instant::now(),
            hasher: RandomState::new(),
            metrics,
            mutating: AtomicUsize::new(0),
            read_only: AtomicUsize::new(0),
            long_running: Arc::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// From now on requests are sorted so. Levels that keep their name keep who waits and works in them; a level that is gone
    /// keeps its share until the last of its requests is done. Gives whether this is another configuration than before.
    pub fn configure(&self, configuration: Configuration) -> bool {
        let _one = self.inner.changing.lock();
        let before = self.inner.engine.load_full();
        let is_new = before.configuration != configuration;
        if is_new {
            self.inner.replace(configuration, &before);
        }
        is_new
    }

    /// Where a request belongs as things are now.
    pub fn classify<'a>(&self, user: &'a User, asked: Attributes<'a>) -> Classified<'a> {
        self.inner.adjust_if_due();
        let engine = self.inner.engine.load();
        let flow = classify::classify(&engine.configuration, user, asked);
        let schema = engine.schemas[flow.schema].clone();
        let level = engine.levels[schema.level].clone();
        let (server, distinguisher) = (self.inner.clone(), flow.distinguisher);
        Classified { server, level, schema, user, asked, distinguisher }
    }

    /// Lets a request in when its turn has come. `seats`: what it takes (see [`work`]); a level may have a lower bound on it.
    /// The error is the 429 that it is to be answered with.
    pub async fn admit(&self, user: &User, asked: Attributes<'_>, seats: u32) -> Result<Seat, ApiError> {
        self.classify(user, asked).admit(seats).await
    }

    /// What stands in the queues. `details`: of requests, who asks for what.
    pub fn dump(&self, of: dump::Table, details: bool, timestamp: Timestamp) -> String {
        let engine = self.inner.engine.load();
        let levels: Vec<_> = engine.all().map(|(_, level)| level.dump(engine.is_leaving(level))).collect();
        dump::table(of, &levels, details, Moment { now: self.inner.now(), timestamp })
    }

    /// A watch, log, exec or the like begins: it needs no seat while it lasts, and is counted.
    pub fn enter_long(&self, user: &User) -> Result<LongRunning, ApiError> {
        LongRunning::enter(&self.inner.long_running, &user.name)
    }
    /// (mutating, read only) at work, for metrics.
    pub fn executing(&self) -> (usize, usize) {
        (self.inner.mutating.load(Ordering::Relaxed), self.inner.read_only.load(Ordering::Relaxed))
    }
    pub fn long_running(&self) -> usize {
        self.inner.long_running.count()
    }
    /// Puts the metrics of priority and fairness beside the server's others.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.inner.metrics.register(registry);
    }
}

impl Classified<'_> {
    /// As [`FlowControl::admit`].
    pub async fn admit(&self, seats: u32) -> Result<Seat, ApiError> {
        let Self { server, level, schema, user, asked, distinguisher } = self;
        let flow = server.hasher.hash_one((&schema.name, distinguisher));
        let seats = seats.clamp(1, level.widest());
        schema.metrics.estimated(seats);
        let (is_write, is_watch) = (is_write(*asked), verb(*asked) == "watch");
        let digest = Arc::new(RequestDigest::new(&schema.name, distinguisher, user, *asked));
        let (server, level, schema) = (server.clone(), level.clone(), schema.clone());
        Seat::take(Admission { server, level, schema, flow, seats, is_write, is_watch, digest }).await
    }
    /// Where that is, for who outlives the question.
    pub fn sorted(&self) -> Sorted {
        Sorted { level: self.level.clone(), schema: self.schema.clone() }
    }
}

impl Sorted {
    /// The flow schema's name.
    pub fn flow_schema(&self) -> &str {
        &self.schema.name
    }
    /// The priority level's name.
    pub fn priority_level(&self) -> &str {
        self.level.name()
    }
    /// Says in a response's headers where the request was sorted.
    pub fn tell(&self, headers: &mut HeaderMap) {
        self.schema.uids.put(headers);
    }
}

impl Inner {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whoever calls this holds the lock `changing`.
    fn replace(&self, configuration: Configuration, before: &Engine) {
        let now = self.now();
        let engine = Engine::new(configuration, self.seats, &self.metrics, now, Some(before));
        engine.adjust(self.seats, now, &self.metrics);
        self.engine.store(Arc::new(engine));
    }

    /// Decides every so often who borrows from whom. There is no timer: while nobody asks nothing changes.
    fn adjust_if_due(&self) {
        let now = self.now();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let last_ms = self.adjusted_at.load(Ordering::Relaxed);
        let period_ms = u64::try_from(demand::ADJUSTMENT_PERIOD.as_millis()).unwrap_or(u64::MAX);
        if now_ms.saturating_sub(last_ms) < period_ms {
            return;
        }
        // Whoever is busy with it does it for all.
        let Some(_one) = self.changing.try_lock() else { return };
        self.adjusted_at.store(now_ms, Ordering::Relaxed);
        let engine = self.engine.load_full();
        if engine.has_left() {
            self.replace(engine.configuration.clone(), &engine);
        } else {
            engine.adjust(self.seats, now, &self.metrics);
        }
    }

    fn working(&self, is_write: bool) -> &AtomicUsize {
        if is_write { &self.mutating } else { &self.read_only }
    }
}

fn verb(asked: Attributes<'_>) -> &str {
    let (Attributes::Resource { verb, .. } | Attributes::Path { verb, .. }) = asked;
    verb
}
fn is_write(asked: Attributes<'_>) -> bool {
    !matches!(verb(asked), "get" | "list" | "watch" | "head")
}
