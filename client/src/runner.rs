//! Workers of a queue: what to do with an item that is done, waits, or failed.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::panics;
use crate::queue::{Item, WorkQueue};

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
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (queue, stop, work, metrics) = (queue.clone(), stop.clone(), Arc::clone(&work), Arc::clone(&metrics));
        tasks.spawn(async move {
            while let Some(item) = stop.run_until_cancelled(queue.next()).await {
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
