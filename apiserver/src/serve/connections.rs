//! Who may hold a connection: bounds on handshakes, on connections of nobody in particular, and on all.
//!
//! Handshakes are counted apart from connections, so that those who say nothing take no connection's place. Whoever shows no
//! certificate of ours has a small share. When a bound is met the idlest goes first (`evict`), and never one that has a
//! request at work: a kubelet's watch keeps its connection.

mod evict;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use corten_api::handshakes::{Handshakes, Ticket};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::evict::Idle;

/// Handshakes in flight are at most this share of all sockets, and so many.
const HANDSHAKES_SHARE: usize = 8;
const HANDSHAKES_MAX: usize = 1024;
/// Connections without a certificate of ours, of all connections.
const UNIDENTIFIED_SHARE: usize = 8;

/// How many there may be of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub handshakes: usize,
    pub connections: usize,
    /// Of the connections.
    pub unidentified: usize,
}

impl Bounds {
    /// `sockets`: what the process has file handles for.
    pub fn of(sockets: usize) -> Self {
        let handshakes = (sockets / HANDSHAKES_SHARE).clamp(1, HANDSHAKES_MAX);
        let connections = sockets.saturating_sub(handshakes).max(1);
        Self { handshakes, connections, unidentified: (connections / UNIDENTIFIED_SHARE).max(1) }
    }
}

/// All sockets of the server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectionLimiter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    began: Instant,
    handshakes: Mutex<Handshakes<CancellationToken>>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next_id: u64,
    open: HashMap<u64, Arc<State>>,
    unidentified: usize,
}

/// What a socket's own task and requests write, without a lock.
#[derive(Debug)]
struct State {
    identified: bool,
    /// Requests at work.
    busy: AtomicU32,
    /// Milliseconds after the server began: when the last request ended.
    since_ms: AtomicU64,
    evicted: CancellationToken,
}

impl State {
    fn new(identified: bool, now: Duration) -> Arc<Self> {
        Arc::new(Self {
            identified,
            busy: AtomicU32::new(0),
            since_ms: AtomicU64::new(ms(now)),
            evicted: CancellationToken::new(),
        })
    }
    fn since(&self) -> Duration {
        Duration::from_millis(self.since_ms.load(Ordering::Relaxed))
    }
}

fn ms(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl ConnectionLimiter {
    pub fn new(bounds: Bounds) -> Self {
        let handshakes = Mutex::new(Handshakes::new(bounds.handshakes));
        Self { inner: Arc::new(Inner { bounds, began: Instant::now(), handshakes, table: Mutex::default() }) }
    }

    /// A socket that has just been accepted from `peer`; `None` if there is no place for it and nobody to make room.
    pub(super) fn handshake(&self, peer: IpAddr) -> Option<Handshake> {
        let evicted = CancellationToken::new();
        let now = self.inner.began.elapsed();
        let (ticket, victim) = self.inner.handshakes.lock().begin(peer.into(), evicted.clone(), now)?;
        if let Some(victim) = victim {
            victim.cancel();
        }
        Some(Handshake { server: self.inner.clone(), ticket, evicted })
    }

    /// A connection whose owner is known, or nobody; `None`: there is no place for it.
    pub(super) fn open(&self, identified: bool) -> Option<Connection> {
        let now = self.inner.began.elapsed();
        let mut table = self.inner.table.lock();
        let Bounds { connections, unidentified, .. } = self.inner.bounds;
        let share_is_full = !identified && table.unidentified >= unidentified;
        if share_is_full || table.open.len() >= connections {
            let open = table.open.iter().map(|(id, state)| Idle {
                id: *id,
                identified: state.identified,
                busy: state.busy.load(Ordering::Relaxed) > 0,
                since: state.since(),
            });
            let victim = evict::connection(open, identified)?;
            if let Some(state) = table.close(victim) {
                state.evicted.cancel();
            }
        }
        let (id, state) = (table.id(), State::new(identified, now));
        table.open.insert(id, state.clone());
        table.unidentified += usize::from(!identified);
        Some(Connection { server: self.inner.clone(), id, state })
    }
}

impl Table {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
    fn close(&mut self, id: u64) -> Option<Arc<State>> {
        let state = self.open.remove(&id)?;
        self.unidentified -= usize::from(!state.identified);
        Some(state)
    }
}

/// A socket whose owner is not known yet. Counted until dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    server: Arc<Inner>,
    ticket: Ticket,
    evicted: CancellationToken,
}

impl Handshake {
    /// Its first bytes have come: it is no longer among those that go first.
    pub(super) fn speaks(&self) {
        self.server.handshakes.lock().speaks(self.ticket);
    }
    /// Done when it is to make room for another.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.server.handshakes.lock().end(self.ticket);
    }
}

/// An open connection. Counted until dropped.
#[derive(Debug)]
pub(super) struct Connection {
    server: Arc<Inner>,
    id: u64,
    state: Arc<State>,
}

impl Connection {
    /// Done when it is to make room for another.
    pub(super) fn evicted(&self) -> impl Future<Output = ()> + use<> {
        self.state.evicted.clone().cancelled_owned()
    }
    /// How its requests say that they are at work.
    pub(super) fn worker(&self) -> Worker {
        Worker { server: self.server.clone(), state: self.state.clone() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.table.lock().close(self.id);
    }
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    server: Arc<Inner>,
    state: Arc<State>,
}

impl Worker {
    /// A request is at work until this is dropped, with its response's body.
    pub(super) fn begin(&self) -> Busy {
        self.state.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }
}

#[derive(Debug)]
pub(super) struct Busy(Worker);

impl Drop for Busy {
    fn drop(&mut self) {
        let Worker { server, state } = &self.0;
        state.since_ms.store(ms(server.began.elapsed()), Ordering::Relaxed);
        state.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(connection: &Connection) -> bool {
        connection.state.evicted.is_cancelled()
    }

    #[test]
    fn bounds_follow_the_sockets_there_are() {
        for (sockets, handshakes, connections, unidentified) in
            [(1, 1, 1, 1), (768, 96, 672, 84), (9216, 1024, 8192, 1024), (50_000, 1024, 48_976, 6122)]
        {
            assert_eq!(Bounds::of(sockets), Bounds { handshakes, connections, unidentified }, "{sockets}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_strangers_make_room_for_each_other_and_for_those_we_know() {
        let all = ConnectionLimiter::new(Bounds { handshakes: 1, connections: 4, unidentified: 2 });
        let turn = || tokio::time::advance(Duration::from_secs(1));
        let first = all.open(false).unwrap();
        turn().await;
        let second = all.open(false).unwrap();
        let busy = first.worker().begin();
        let third = all.open(false).unwrap();
        assert_eq!((is_evicted(&first), is_evicted(&second), is_evicted(&third)), (false, true, false));
        let at_work = third.worker().begin();
        assert!(all.open(false).is_none(), "all of the share are at work");
        let known = [all.open(true).unwrap(), all.open(true).unwrap()];
        drop(at_work);
        turn().await;
        let another = all.open(true).unwrap();
        assert!(is_evicted(&third) && !known.iter().any(is_evicted), "strangers go before those we know");
        drop(busy);
        let fourth = all.open(true).unwrap();
        assert!(is_evicted(&first));
        let _at_work: Vec<Busy> = [&known[1], &another, &fourth].map(|c| c.worker().begin()).into();
        assert!(all.open(false).is_none(), "a stranger drives out nobody we know");
        let _fifth = all.open(true).unwrap();
        assert!(is_evicted(&known[0]), "the only idle one");
        drop((first, second, third));
        assert_eq!(all.inner.table.lock().open.len(), 4, "those that were evicted are counted out once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_handshake_makes_room_and_gives_its_place_back_once() {
        let all = ConnectionLimiter::new(Bounds { handshakes: 2, connections: 1, unidentified: 1 });
        let from = |n| IpAddr::from([10, 0, 0, n]);
        let silent = all.handshake(from(1)).unwrap();
        let speaking = all.handshake(from(2)).unwrap();
        speaking.speaks();
        let third = all.handshake(from(3)).unwrap();
        assert!(silent.evicted.is_cancelled() && !speaking.evicted.is_cancelled());
        third.speaks();
        assert!(all.handshake(from(4)).is_none(), "both are at it");
        tokio::time::advance(Duration::from_secs(3)).await;
        let _fourth = all.handshake(from(4)).unwrap();
        assert!(speaking.evicted.is_cancelled(), "one that takes so long goes too");
        drop((silent, speaking, third));
        assert_eq!(all.inner.handshakes.lock().len(), 1);
    }
}
