//! How many writes of the controllers are under way at once: few at first, more while all goes well, fewer when the
//! apiserver says that it has too much.
//!
//! One width for all controllers of this program, as they share one apiserver. It grows as a TCP window does: doubling
//! up to the width that was too much last time, then one by one.

use std::sync::Arc;
use std::time::Duration;

use corten_api::{ApiError, Reason};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const WIDTH_FIRST: usize = 8;
/// Well below what an apiserver lets in at once, so that users' requests have room beside ours.
pub const WIDTH_MAX: usize = 96;
/// Tries of a write that is refused with 429. It was not done, so it may be sent again.
const TRIES_MAX: u32 = 10;
/// The longest wait that a `Retry-After` is heeded for.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Cheap to clone; clones share the width.
#[derive(Clone, Debug, Default)]
pub struct Width {
    shared: Arc<(Mutex<State>, Notify)>,
}

#[derive(Debug)]
struct State {
    width: usize,
    /// Up to here it doubles.
    threshold: usize,
    in_flight: usize,
    /// Writes that went well since the width changed last.
    good: usize,
    /// Rises with each shrinking: what was sent before it says nothing about the width after it.
    epoch: u64,
    not_before: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        Self { width: WIDTH_FIRST, threshold: WIDTH_MAX, in_flight: 0, good: 0, epoch: 0, not_before: None }
    }
}

impl State {
    fn went_well(&mut self) {
        self.good += 1;
        if self.good >= self.width {
            let next = if self.width < self.threshold { (self.width * 2).min(self.threshold) } else { self.width + 1 };
            (self.width, self.good) = (next.min(WIDTH_MAX), 0);
        }
    }

    /// The writes of one moment are refused together; they are one reason to shrink, not many.
    fn overloaded(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.width = (self.width / 2).max(1);
            (self.threshold, self.good, self.epoch) = (self.width, 0, self.epoch + 1);
        }
    }
}

/// A place among the writes under way, given back when dropped.
struct Place<'a> {
    width: &'a Width,
    epoch: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.width.shared.0.lock().in_flight -= 1;
        self.width.shared.1.notify_one();
    }
}

impl Width {
    /// Sends `write` when there is room, and again after a while when it is refused with 429. What is large is made in `write`:
    /// then there is no more of it than is under way.
    pub async fn send<T, F>(&self, write: impl Fn() -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let mut tries = 1;
        loop {
            let place = self.enter().await;
            let sent = write().await;
            self.learn(&sent, place.epoch);
            drop(place);
            match sent {
                Err(err) if err.is(Reason::TooManyRequests) && tries < TRIES_MAX => tries += 1,
                sent => return sent,
            }
        }
    }

    /// How many may be under way now.
    pub fn current(&self) -> usize {
        self.shared.0.lock().width
    }

    fn learn<T>(&self, sent: &Result<T, ApiError>, epoch: u64) {
        let mut state = self.shared.0.lock();
        match sent {
            Err(err) if err.is(Reason::TooManyRequests) => {
                state.overloaded(epoch);
                state.not_before = Some(Instant::now() + pause(err));
            }
            Err(err) if err.is_doubtful() => state.overloaded(epoch),
            // A refusal of this one write is an answer like any other.
            _ => state.went_well(),
        }
        drop(state);
        // The width may have grown by more than the one place that is given back.
        self.shared.1.notify_one();
    }

    async fn enter(&self) -> Place<'_> {
        loop {
            let notified = self.shared.1.notified();
            let wait = {
                let mut state = self.shared.0.lock();
                let wait = state.not_before.filter(|at| *at > Instant::now());
                if wait.is_none() && state.in_flight < state.width {
                    state.in_flight += 1;
                    if state.in_flight < state.width {
                        self.shared.1.notify_one();
                    }
                    return Place { width: self, epoch: state.epoch };
                }
                wait
            };
            match wait {
                Some(at) => tokio::time::sleep_until(at).await,
                None => notified.await,
            }
        }
    }
}

fn pause(err: &ApiError) -> Duration {
    let secs = err.status().details.as_ref().and_then(|d| d.retry_after_seconds).unwrap_or(1);
    Duration::from_secs(u64::try_from(secs).unwrap_or(0)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    #[test]
    fn widths_table() {
        let mut state = State::default();
        let mut seen = Vec::new();
        for what in ["8 well", "16 well", "32 well", "refused", "refused of before", "24 well", "25 well"] {
            match what {
                "refused" => state.overloaded(state.epoch),
                "refused of before" => state.overloaded(state.epoch - 1),
                well => {
                    let count: usize = well.trim_end_matches(" well").parse().unwrap();
                    (0..count).for_each(|_| state.went_well());
                }
            }
            seen.push(state.width);
        }
        assert_eq!(seen, [16, 32, 64, 32, 32, 32, 33], "it doubles, is halved once, and then grows by ones");
        (0..100_000).for_each(|_| state.went_well());
        assert_eq!(state.width, WIDTH_MAX);
        (0..20).for_each(|_| state.overloaded(state.epoch));
        assert_eq!(state.width, 1);
    }

    /// An apiserver that lets so many in at once and refuses the others.
    #[derive(Default)]
    struct Server {
        room: usize,
        inside: AtomicUsize,
        widest: AtomicUsize,
        refused: AtomicUsize,
    }

    impl Server {
        async fn write(&self) -> Result<(), ApiError> {
            let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
            self.widest.fetch_max(inside, Ordering::SeqCst);
            let refused = inside > self.room;
            if !refused {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
            if refused {
                self.refused.fetch_add(1, Ordering::SeqCst);
                return Err(ApiError::too_many_requests("too many requests, please try again later", 1));
            }
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_writes_lose_none_to_429() {
        for (room, refused_max) in [(200, 0), (20, 60)] {
            let (server, width) = (Server { room, ..Server::default() }, Width::default());
            let sent = join_all((0..1000).map(|_| width.send(|| server.write()))).await;
            assert!(sent.iter().all(Result::is_ok), "room for {room}: {:?}", sent.iter().find(|s| s.is_err()));
            let (widest, refused) = (server.widest.load(Ordering::SeqCst), server.refused.load(Ordering::SeqCst));
            assert!(widest <= WIDTH_MAX, "{widest} at once");
            assert!(refused <= refused_max, "room for {room}: {refused} refusals");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_dropped_half_way_gives_its_place_back() {
        let width = Width::default();
        let never = || std::future::pending::<Result<(), ApiError>>();
        for _ in 0..3 * WIDTH_MAX {
            let sent = tokio::time::timeout(Duration::from_millis(1), width.send(never)).await;
            assert!(sent.is_err());
        }
        assert!(width.send(|| std::future::ready(Ok(()))).await.is_ok());
    }
}
