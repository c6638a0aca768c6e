//! Whether a loop still moves: when its work began, and whether any is left lying. What `/healthz` knows of hangs.
//!
//! A loop that waits for work is well, for however long. It hangs where work has begun and does not end, or where work
//! waits and none is taken up. The time is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Work that stands still, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hang {
    #[error("work that began {}s ago has not ended, at most {}s are normal", .since.as_secs(), .limit.as_secs())]
    UnderWay { since: Duration, limit: Duration },
    #[error("work waits and none was taken up for {}s, at most {}s are normal", .since.as_secs(), .limit.as_secs())]
    NotTakenUp { since: Duration, limit: Duration },
}

/// One loop's, or that of all pieces of work of a kind. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Pulse {
    limit: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    next_id: u64,
    /// When each piece of work began that has not ended. Ids grow with time, so the first is the oldest. Bounded by the
    /// tasks that do such work.
    under_way: BTreeMap<u64, Instant>,
    /// When work last began or ended.
    moved: Instant,
}

impl Pulse {
    /// `limit`: what a piece of work, or the wait for it to be taken up, may last.
    pub fn new(limit: Duration, now: Instant) -> Self {
        let state = State { next_id: 0, under_way: BTreeMap::new(), moved: now };
        Self { limit, state: Arc::new(Mutex::new(state)) }
    }

    /// A piece of work begins. It ends when the [`Beat`] is dropped, whatever ends it: an answer, a panic, or the loss of
    /// who wanted it.
    pub fn begin(&self, now: Instant) -> Beat {
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.under_way.insert(id, now);
        state.moved = now;
        Beat { id, state: Arc::clone(&self.state) }
    }

    /// `Err`: something hangs. `waiting_since`: when the oldest work that waits now could have been taken up; `None` if
    /// none waits. A loop that goes on taking work up is slow and does not hang, however much waits.
    pub fn check(&self, now: Instant, waiting_since: Option<Instant>) -> Result<(), Hang> {
        let state = self.state.lock();
        let limit = self.limit;
        let for_too_long = |since: Instant| Some(now.saturating_duration_since(since)).filter(|since| *since > limit);
        if let Some(since) = state.under_way.values().next().copied().and_then(for_too_long) {
            return Err(Hang::UnderWay { since, limit });
        }
        match waiting_since.map(|since| since.max(state.moved)).and_then(for_too_long) {
            Some(since) => Err(Hang::NotTakenUp { since, limit }),
            None => Ok(()),
        }
    }
}

/// A piece of work that is under way until this is dropped.
#[derive(Debug)]
#[must_use = "work that has begun ends when this is dropped"]
pub struct Beat {
    id: u64,
    state: Arc<Mutex<State>>,
}

impl Drop for Beat {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.under_way.remove(&self.id);
        state.moved = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[derive(Clone, Copy)]
    enum Did {
        Begins,
        /// The piece of work that began as the nth ends.
        Ends(usize),
    }

    /// What a reader finds `at` these seconds. `waits`: since when work waits.
    struct Case {
        why: &'static str,
        did: &'static [(u64, Did)],
        waits: Option<u64>,
        at: u64,
        expected: Result<(), Hang>,
    }

    fn under_way(secs: u64) -> Result<(), Hang> {
        Err(Hang::UnderWay { since: Duration::from_secs(secs), limit: LIMIT })
    }
    fn not_taken_up(secs: u64) -> Result<(), Hang> {
        Err(Hang::NotTakenUp { since: Duration::from_secs(secs), limit: LIMIT })
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_and_what_only_waits() {
        use Did::{Begins, Ends};
        let cases = [
            Case { why: "nothing to do, for ever", did: &[], waits: None, at: 9999, expected: Ok(()) },
            Case { why: "done, long ago", did: &[(1, Begins), (2, Ends(0))], waits: None, at: 9999, expected: Ok(()) },
            Case { why: "at work", did: &[(10, Begins)], waits: None, at: 70, expected: Ok(()) },
            Case { why: "at work for too long", did: &[(10, Begins)], waits: None, at: 71, expected: under_way(61) },
            Case {
                why: "of several the oldest counts",
                did: &[(10, Begins), (50, Begins), (60, Ends(1))],
                waits: None,
                at: 71,
                expected: under_way(61),
            },
            Case {
                why: "a younger one goes on",
                did: &[(10, Begins), (50, Begins), (60, Ends(0))],
                waits: None,
                at: 100,
                expected: Ok(()),
            },
            Case { why: "work waits, not for long", did: &[], waits: Some(40), at: 100, expected: Ok(()) },
            Case { why: "work waits and nobody comes", did: &[], waits: Some(40), at: 101, expected: not_taken_up(61) },
            Case { why: "it is due later", did: &[], waits: Some(500), at: 400, expected: Ok(()) },
            Case {
                why: "work waits, other work is done",
                did: &[(0, Begins), (200, Ends(0))],
                waits: Some(40),
                at: 260,
                expected: Ok(()),
            },
            Case {
                why: "and then no more",
                did: &[(0, Begins), (200, Ends(0))],
                waits: Some(40),
                at: 261,
                expected: not_taken_up(61),
            },
        ];
        for Case { why, did, waits, at, expected } in cases {
            let start = Instant::now();
            let time = |secs| start + Duration::from_secs(secs);
            let pulse = Pulse::new(LIMIT, start);
            let mut beats = Vec::new();
            for (secs, did) in did {
                // Only what a piece of work ends at is read from the clock.
                tokio::time::advance(time(*secs) - Instant::now()).await;
                match did {
                    Begins => beats.push(Some(pulse.begin(time(*secs)))),
                    Ends(nth) => drop(beats[*nth].take()),
                }
            }
            assert_eq!(pulse.check(time(at), waits.map(time)), expected, "{why}");
        }
    }

    #[test]
    fn a_panic_ends_what_panicked() {
        let (start, pulse) = (Instant::now(), Pulse::new(LIMIT, Instant::now()));
        let panicked = crate::panics::catch("pulse", || {
            let _beat = pulse.begin(start);
            panic!("on purpose")
        });
        assert!(panicked.is_err());
        assert_eq!(pulse.check(start + 2 * LIMIT, None), Ok(()));
    }

    #[test]
    fn a_hang_says_for_how_long_and_what_is_normal() {
        let said = under_way(75).unwrap_err().to_string();
        assert_eq!(said, "work that began 75s ago has not ended, at most 60s are normal");
        let said = not_taken_up(75).unwrap_err().to_string();
        assert_eq!(said, "work waits and none was taken up for 75s, at most 60s are normal");
    }
}
