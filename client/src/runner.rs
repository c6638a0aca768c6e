//! Workers of a queue: what to do with an item that is done, waits, or failed.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

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
/// again with backoff. Returns before `stop` only if a worker panicked.
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
    let work = Arc::new(work);
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (queue, stop, work) = (queue.clone(), stop.clone(), Arc::clone(&work));
        tasks.spawn(async move {
            while let Some(item) = stop.run_until_cancelled(queue.next()).await {
                match work(item.clone()).await {
                    Ok(Next::Done) => queue.forget(&item),
                    Ok(Next::After(delay)) => {
                        queue.forget(&item);
                        queue.add_after(item.clone(), delay);
                    }
                    Err(err) => {
                        warn!(controller = name, ?item, %err, "will try again");
                        queue.add_failed(item.clone());
                    }
                }
                queue.done(&item);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(err) = ended {
            // A bug, and its item would stay with a worker that is no more: all end, and our caller sees it.
            tracing::error!(controller = name, %err, "a worker ended by itself");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_whole_and_not_one_worker() {
        let (queue, stop) = (WorkQueue::new(), CancellationToken::new());
        queue.add("bad");
        let work = |item: &'static str| async move {
            assert_ne!(item, "bad");
            Ok::<_, std::convert::Infallible>(Next::Done)
        };
        let ended = tokio::time::timeout(Duration::from_secs(5), run_workers("test", &queue, 3, &stop, work)).await;
        assert!(ended.is_ok() && !stop.is_cancelled());
    }
}
