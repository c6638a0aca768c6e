//! The writes of one leadership: which are under way, and that none begins once it has ended.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Writes {
    ended: CancellationToken,
    under_way: TaskTracker,
}

impl Writes {
    /// Of a leadership that has ended once `ended` is cancelled.
    pub fn until(ended: &CancellationToken) -> Self {
        Self { ended: ended.clone(), under_way: TaskTracker::new() }
    }

    /// A write begins; it is under way until what this returns is dropped. Once the leadership has ended this does not
    /// return: an error would be decided on, and told of in events. Who waits here is dropped with the term.
    pub(crate) async fn begin(&self) -> TaskTrackerToken {
        // Counted before the look: either the look sees the end, or who waits for the end sees the write.
        let under_way = self.under_way.token();
        if self.ended.is_cancelled() {
            drop(under_way);
            return std::future::pending().await;
        }
        under_way
    }

    /// Returns once the leadership has ended and no write of it is under way.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
        self.under_way.close();
        self.under_way.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn an_end_waits_for_what_is_under_way_and_lets_nothing_more_begin() {
        let leading = CancellationToken::new();
        let writes = Writes::until(&leading);
        let under_way = writes.begin().await;
        drop(writes.begin().await);
        assert!(tokio::time::timeout(LONG, writes.ended()).await.is_err(), "the leadership has not ended");
        leading.cancel();
        assert!(tokio::time::timeout(LONG, writes.ended()).await.is_err(), "one is under way");
        assert!(tokio::time::timeout(LONG, writes.begin()).await.is_err(), "none begins any more");
        drop(under_way);
        assert!(tokio::time::timeout(LONG, writes.ended()).await.is_ok(), "who waits to begin is not under way");
    }
}
