//! Who may hold a connection: bounds on handshakes, on connections of nobody in particular, and on all.
//!
//! Handshakes are counted apart from connections, so that those who say nothing take no connection's place. A connection
//! whose owner is not authenticated counts to a small share until it carries a request that is: a certificate is known
//! with the handshake, all else with the first request that shows it. Who makes room where a bound is met is decided in
//! `corten_api::connections`, and for handshakes in `corten_api::handshakes`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use corten_api::connections::{self, Activity, Connections};
use corten_api::handshakes::{self, Handshakes};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Handshakes in flight are at most this share of all sockets, and so many.
const HANDSHAKES_SHARE: usize = 8;
const HANDSHAKES_MAX: usize = 1024;
/// Connections of those that are not authenticated, of all connections.
const UNAUTHENTICATED_SHARE: usize = 8;
/// And at most so many: each may make the server hold what its windows allow, and a head.
const UNAUTHENTICATED_MAX: usize = 4096;

/// How many there may be of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub handshakes: usize,
    pub open: connections::Bounds,
}

impl Bounds {
    /// `sockets`: what the process has file handles for.
    pub fn of(sockets: usize) -> Self {
        let handshakes = (sockets / HANDSHAKES_SHARE).clamp(1, HANDSHAKES_MAX);
        let connections = sockets.saturating_sub(handshakes).max(1);
        let unauthenticated = (connections / UNAUTHENTICATED_SHARE).clamp(1, UNAUTHENTICATED_MAX);
        Self { handshakes, open: connections::Bounds { connections, unauthenticated } }
    }
}

/// All sockets of the server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectionLimiter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    handshakes: Mutex<Handshakes<CancellationToken>>,
    open: Mutex<Connections<Arc<State>>>,
}

/// What a socket's own task and requests write, without a lock.
#[derive(Debug)]
struct State {
    is_authenticated: AtomicBool,
    /// Requests at work.
    busy: AtomicU32,
    /// Milliseconds after the server began: when the last request ended.
    since_ms: AtomicU64,
    evicted: CancellationToken,
}

impl State {
    fn new(is_authenticated: bool, now: Duration) -> Arc<Self> {
        Arc::new(Self {
            is_authenticated: AtomicBool::new(is_authenticated),
            busy: AtomicU32::new(0),
            since_ms: AtomicU64::new(ms(now)),
            evicted: CancellationToken::new(),
        })
    }
    fn activity(&self) -> Activity {
        let since = Duration::from_millis(self.since_ms.load(Ordering::Relaxed));
        Activity { busy: self.busy.load(Ordering::Relaxed) > 0, since }
    }
}

fn ms(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl ConnectionLimiter {
    pub fn new(bounds: Bounds) -> Self {
        let handshakes = Mutex::new(Handshakes::new(bounds.handshakes));
        let open = Mutex::new(Connections::new(bounds.open));
        Self { inner: Arc::new(Inner { began: Instant::now(), handshakes, open }) }
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

    /// A connection from `peer` whose handshake is done, and whether that has shown whose it is; `None`: there is no place
    /// for it.
    pub(super) fn open(&self, peer: IpAddr, is_authenticated: bool) -> Option<Connection> {
        let state = State::new(is_authenticated, self.inner.began.elapsed());
        let opened = self.inner.open.lock().open(peer.into(), is_authenticated, state.clone(), |one| one.activity());
        let (ticket, victim) = opened?;
        if let Some(victim) = victim {
            victim.evicted.cancel();
        }
        Some(Connection { server: self.inner.clone(), ticket, state })
    }
}

/// A socket whose owner is not known yet. Counted until dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    server: Arc<Inner>,
    ticket: handshakes::Ticket,
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
    ticket: connections::Ticket,
    state: Arc<State>,
}

impl Connection {
    /// Done when it is to make room for another.
    pub(super) fn evicted(&self) -> impl Future<Output = ()> + use<> {
        self.state.evicted.clone().cancelled_owned()
    }
    /// How its requests say that they are at work.
    pub(super) fn worker(&self) -> Worker {
        Worker { server: self.server.clone(), ticket: self.ticket, state: self.state.clone() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.open.lock().close(self.ticket);
    }
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    server: Arc<Inner>,
    ticket: connections::Ticket,
    state: Arc<State>,
}

impl Worker {
    /// A request is at work until this is dropped, with its response's body.
    pub(super) fn begin(&self) -> Busy {
        self.state.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }
    /// A request has shown whose connection this is. Takes a lock the first time only.
    pub(super) fn authenticated(&self) {
        let Self { server, ticket, state } = self;
        if !state.is_authenticated.swap(true, Ordering::Relaxed) {
            server.open.lock().authenticate(*ticket);
        }
    }
}

#[derive(Debug)]
pub(super) struct Busy(Worker);

impl Drop for Busy {
    fn drop(&mut self) {
        let Worker { server, state, .. } = &self.0;
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

    fn bounds(handshakes: usize, connections: usize, unauthenticated: usize) -> Bounds {
        Bounds { handshakes, open: connections::Bounds { connections, unauthenticated } }
    }

    fn from(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn bounds_follow_the_sockets_there_are() {
        for (sockets, handshakes, connections, unauthenticated) in
            [(1, 1, 1, 1), (768, 96, 672, 84), (9216, 1024, 8192, 1024), (50_000, 1024, 48_976, 4096)]
        {
            assert_eq!(Bounds::of(sockets), bounds(handshakes, connections, unauthenticated), "{sockets}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_strangers_make_room_for_each_other_and_for_those_we_know() {
        let all = ConnectionLimiter::new(bounds(1, 4, 2));
        let turn = || tokio::time::advance(Duration::from_secs(1));
        let first = all.open(from(1), false).unwrap();
        turn().await;
        let second = all.open(from(1), false).unwrap();
        let busy = first.worker().begin();
        let third = all.open(from(1), false).unwrap();
        assert_eq!((is_evicted(&first), is_evicted(&second), is_evicted(&third)), (false, true, false));
        let at_work = third.worker().begin();
        assert!(all.open(from(1), false).is_none(), "all of the share are at work, and from the same address");
        let known = [all.open(from(1), true).unwrap(), all.open(from(1), true).unwrap()];
        drop(at_work);
        turn().await;
        let another = all.open(from(1), true).unwrap();
        assert!(is_evicted(&third) && !known.iter().any(is_evicted), "strangers go before those we know");
        drop(busy);
        let fourth = all.open(from(1), true).unwrap();
        assert!(is_evicted(&first));
        let _at_work: Vec<Busy> = [&known[1], &another, &fourth].map(|c| c.worker().begin()).into();
        assert!(all.open(from(1), false).is_none(), "a stranger drives out nobody we know");
        let _fifth = all.open(from(1), true).unwrap();
        assert!(is_evicted(&known[0]), "the only idle one");
        drop((first, second, third));
        assert_eq!(all.inner.open.lock().len(), 4, "those that were evicted are counted out once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_leaves_the_strangers_share_with_its_first_authenticated_request_and_not_before() {
        let all = ConnectionLimiter::new(bounds(1, 4, 1));
        let one = all.open(from(1), false).unwrap();
        // Requests of nobody in particular change nothing.
        drop(one.worker().begin());
        assert_eq!(all.inner.open.lock().unauthenticated_len(), 1);
        one.worker().authenticated();
        one.worker().authenticated();
        assert_eq!(all.inner.open.lock().unauthenticated_len(), 0);
        let two = all.open(from(2), false).unwrap();
        let three = all.open(from(3), false).unwrap();
        assert_eq!((is_evicted(&one), is_evicted(&two)), (false, true));
        drop((one, two, three));
        assert!(all.inner.open.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_handshake_makes_room_and_gives_its_place_back_once() {
        let all = ConnectionLimiter::new(bounds(2, 1, 1));
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
