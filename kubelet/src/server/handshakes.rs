//! TLS handshakes in flight: counted apart from connections, so that those who say nothing take no connection's place.
//!
//! The apiserver's door has the same rule (`apiserver/src/serve/connections`); the two share no crate that knows sockets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// At once. Those who call a node are the apiservers and a few administrators.
pub(super) const HANDSHAKES_MAX: usize = 64;
/// A handshake that has begun takes no longer, unless its other end is slow or gone.
const SLOW_HANDSHAKE: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct State {
    since: Instant,
    spoke: AtomicBool,
    evicted: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    next_id: u64,
    all: HashMap<u64, Arc<State>>,
}

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes {
    table: Arc<Mutex<Table>>,
}

impl Handshakes {
    /// A socket that has just been accepted. When there are too many, the oldest that has said nothing makes room, or one
    /// that is slow; `None` if there is none.
    pub(super) fn begin(&self) -> Option<Handshake> {
        let now = Instant::now();
        let mut table = self.table.lock();
        if table.all.len() >= HANDSHAKES_MAX {
            let seen = table.all.iter().map(|(id, state)| {
                let spoke = state.spoke.load(Ordering::Relaxed);
                (spoke, state.since, *id)
            });
            let victim = victim(seen, now)?;
            if let Some(state) = table.all.remove(&victim) {
                state.evicted.cancel();
            }
        }
        table.next_id += 1;
        let id = table.next_id;
        let state = Arc::new(State { since: now, spoke: AtomicBool::new(false), evicted: CancellationToken::new() });
        table.all.insert(id, state.clone());
        Some(Handshake { table: self.table.clone(), id, state })
    }
}

/// `seen`: whether it spoke, since when it is there, its id.
fn victim(seen: impl Iterator<Item = (bool, Instant, u64)>, now: Instant) -> Option<u64> {
    let may_go = seen.filter(|(spoke, since, _)| !spoke || now.duration_since(*since) >= SLOW_HANDSHAKE);
    may_go.min().map(|(.., id)| id)
}

/// Counted until dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    table: Arc<Mutex<Table>>,
    id: u64,
    state: Arc<State>,
}

impl Handshake {
    /// Its first bytes have come.
    pub(super) fn speaks(&self) {
        self.state.spoke.store(true, Ordering::Relaxed);
    }
    /// Done when it is to make room for another.
    pub(super) async fn evicted(&self) {
        self.state.evicted.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.table.lock().all.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_room() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        for (why, seen, expected) in [
            ("the oldest silent one", vec![(true, at(0), 1), (false, at(9), 2), (false, at(8), 3)], Some(3)),
            ("else one that is slow", vec![(true, at(9), 1), (true, at(8), 2)], Some(2)),
            ("nobody who is quick", vec![(true, at(9), 1)], None),
        ] {
            assert_eq!(victim(seen.into_iter(), at(10)), expected, "{why}");
        }
    }
}
