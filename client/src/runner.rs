//! Workers of a queue: what to do with an item that is done, waits, or failed.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::panics;
use crate::pulse::{Hang, Pulse};
use crate::queue::{Item, WorkQueue};

/// An item's work takes no longer, though it may send a thousand requests that are refused and sent again meanwhile.
const WORK_MAX: Duration = Duration::from_mins(10);

/// What a worker says of an item that it handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something changes.
    Done,
    /// Look again after this time, whatever changes.
    After(Duration),
}

/// Runs `workers` tasks until `stop`; returns when the last has finished its item. A failed item is logged and comes
/// again with backoff; so does one whose work panics, and no other item notices.
pub async fn run_workers<Q, F, E>(
    name: &'static str,
    queue: &WorkQueue<Q>,
    workers: usize,
    stop: &CancellationToken,
    work: impl Fn(Q) -> F + Send + Sync + 'static,
) where
    Q: Item + Sync + std::fmt::Debug,
    F: Future<Output = Result<Next, E>> + Send,
    E: Display + Send,
{
    let (work, metrics) = (Arc::new(work), Arc::new(Metrics::of(name)));
    let pulse = Pulse::new(WORK_MAX, Instant::now());
    let _watched = Watched::begin(name, &pulse, queue);
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (queue, stop, work, metrics) = (queue.clone(), stop.clone(), Arc::clone(&work), Arc::clone(&metrics));
        let pulse = pulse.clone();
        tasks.spawn(async move {
            while let Some(item) = stop.run_until_cancelled(queue.next()).await {
                let _under_way = pulse.begin(Instant::now());
                match panics::catch_future(name, async { work(item.clone()).await }).await {
                    Ok(Ok(Next::Done)) => queue.forget(&item),
                    Ok(Ok(Next::After(delay))) => {
                        queue.forget(&item);
                        queue.add_after(item.clone(), delay);
                    }
                    Ok(Err(err)) => {
                        warn!(controller = name, ?item, %err, "will try again");
                        queue.add_failed(item.clone());
                        metrics.retries.inc();
                    }
                    Err(panicked) => {
                        error!(controller = name, ?item, %panicked, "a bug; will try again");
                        queue.add_failed(item.clone());
                        metrics.retries.inc();
                    }
                }
                queue.done(&item);
                metrics.note(queue.adds(), queue.len());
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

type Check = Box<dyn Fn(Instant) -> Result<(), Hang> + Send>;

/// What is asked of each queue, and its name.
type Queues = BTreeMap<u64, (&'static str, Check)>;

/// The queues that are worked on at this moment, by a number of their own, and the last number. As many as controllers run.
static WATCHED: Mutex<(u64, Queues)> = Mutex::new((0, BTreeMap::new()));

/// For /healthz: `Err` names the queues whose workers hang.
pub(crate) fn check() -> Result<(), String> {
    let now = Instant::now();
    let watched = WATCHED.lock();
    let hangs = watched.1.values().filter_map(|(name, check)| check(now).err().map(|hang| format!("{name}: {hang}")));
    let hangs: Vec<String> = hangs.collect();
    if hangs.is_empty() { Ok(()) } else { Err(hangs.join("; ")) }
}

/// A queue is among those that are checked until this is dropped.
struct Watched(u64);

impl Watched {
    fn begin<Q: Item>(name: &'static str, pulse: &Pulse, queue: &WorkQueue<Q>) -> Self {
        let (pulse, queue) = (pulse.clone(), queue.clone());
        let check: Check = Box::new(move |now| pulse.check(now, queue.waiting_since(now)));
        let mut watched = WATCHED.lock();
        watched.0 += 1;
        let id = watched.0;
        watched.1.insert(id, (name, check));
        Self(id)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Dropped outside of the lock: with it may go the last of a queue.
        let _gone = WATCHED.lock().1.remove(&self.0);
    }
}

type ByName<M> = Family<[(&'static str, &'static str); 1], M>;

static ADDS: LazyLock<ByName<Counter>> = LazyLock::new(Family::default);
static RETRIES: LazyLock<ByName<Counter>> = LazyLock::new(Family::default);
static DEPTH: LazyLock<ByName<Gauge>> = LazyLock::new(Family::default);

/// Upstream's names.
pub(crate) fn register(registry: &mut Registry) {
    registry.register("workqueue_adds", "Items added to a work queue, by its controller", ADDS.clone());
    registry.register("workqueue_retries", "Items that failed and come again, by controller", RETRIES.clone());
    registry.register("workqueue_depth", "Items ready to be worked on, by controller", DEPTH.clone());
}

/// What one queue tells of itself.
struct Metrics {
    adds: Counter,
    retries: Counter,
    depth: Gauge,
    /// How many of the queue's adds are counted already.
    noted: AtomicU64,
}

impl Metrics {
    fn of(name: &'static str) -> Self {
        let labels = [("name", name)];
        Self {
            adds: ADDS.get_or_create(&labels).clone(),
            retries: RETRIES.get_or_create(&labels).clone(),
            depth: DEPTH.get_or_create(&labels).clone(),
            noted: AtomicU64::new(0),
        }
    }

    fn note(&self, adds: u64, depth: usize) {
        let before = self.noted.fetch_max(adds, Ordering::Relaxed);
        self.adds.inc_by(adds.saturating_sub(before));
        self.depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_item_that_never_ends_is_a_hang_while_it_is_worked_on_and_one_that_waits_is_not() {
        let of_hangs = || check().err().is_some_and(|hangs| hangs.contains("hangs: work that began"));
        let (queue, stop) = (WorkQueue::new(), CancellationToken::new());
        queue.add("item");
        {
            let running = run_workers("hangs", &queue, 1, &stop, |_| async {
                std::future::pending::<()>().await;
                Ok::<_, std::convert::Infallible>(Next::Done)
            });
            assert!(tokio::time::timeout(WORK_MAX, running).await.is_err());
            queue.add("another");
        }
        assert!(!of_hangs(), "nobody works on it any more");
        let running = run_workers("hangs", &queue, 1, &stop, |_| async {
            std::future::pending::<()>().await;
            Ok::<_, std::convert::Infallible>(Next::Done)
        });
        let seen = async {
            tokio::time::sleep(WORK_MAX - Duration::from_secs(1)).await;
            let before = of_hangs();
            tokio::time::sleep(Duration::from_secs(2)).await;
            (before, of_hangs())
        };
        tokio::select! {
            () = running => panic!("it never ends"),
            seen = seen => assert_eq!(seen, (false, true)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_over_one_item_costs_the_others_nothing_and_is_tried_again() {
        let (queue, stop) = (WorkQueue::new(), CancellationToken::new());
        ["bad", "good", "worse"].into_iter().for_each(|item| queue.add(item));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let work = move |item: &'static str| {
            tell.send(item).unwrap();
            // Not only in the future: also what makes it may panic.
            assert_ne!(item, "worse", "on purpose");
            async move {
                assert_ne!(item, "bad", "on purpose");
                Ok::<_, std::convert::Infallible>(Next::Done)
            }
        };
        let running = run_workers("panics", &queue, 1, &stop, work);
        let seen = async {
            let mut seen = std::collections::BTreeMap::new();
            while seen.get("bad") != Some(&3) || seen.get("worse") != Some(&3) {
                *seen.entry(told.recv().await.unwrap()).or_insert(0) += 1;
            }
            stop.cancel();
            seen
        };
        let both = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(running, seen).1 });
        assert_eq!(both.await.unwrap().get("good"), Some(&1));
        assert!(panics::count("panics") >= 5);
    }
}
