//! Who may be in a TLS handshake when there are more than may be at once. Pure: time is an argument.
//!
//! The apiserver (6443) and the kubelet (10250) both keep such a table. Places are shared by source address, so that one
//! address cannot keep all others out however quickly it renews its handshakes. While places are free, nobody is bounded:
//! many clients behind one NAT get in like any others.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// A handshake that has begun takes no longer, unless its other end is slow or gone.
const SLOW: Duration = Duration::from_secs(2);
/// A source with no more than these has none of its quick handshakes driven out: a machine of ours makes as many
/// connections at once, and after a restart of the server all machines do.
const FEW: usize = 4;

/// Whom a connection is counted to: an IPv4 address, or the /64 of an IPv6 one, as whoever has one address of it has all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    source: Source,
    id: u64,
}

#[derive(Debug)]
struct Shaking<T> {
    id: u64,
    /// Whether anything has come from it.
    spoke: bool,
    since: Duration,
    value: T,
}

/// The handshakes in flight. `T`: what the owner of the table needs to end one.
#[derive(Debug)]
pub struct Handshakes<T> {
    max: usize,
    next_id: u64,
    len: usize,
    /// Each source's in the order in which they came; none is empty.
    by_source: BTreeMap<Source, Vec<Shaking<T>>>,
}

impl<T> Handshakes<T> {
    /// `max`: at once, of all sources together.
    pub fn new(max: usize) -> Self {
        Self { max, next_id: 0, len: 0, by_source: BTreeMap::new() }
    }

    /// Takes a place for a socket that was accepted `now`, a time since any fixed moment. Gives the place, and what was
    /// kept for the one that has to make room for it.
    ///
    /// `None`: all places are taken, and the newcomer's own source has the most of them or nobody is slow. Costs as much as
    /// there are handshakes of sources that have as many as the newcomer's.
    pub fn begin(&mut self, source: Source, value: T, now: Duration) -> Option<(Ticket, Option<T>)> {
        let evicted = if self.len < self.max { None } else { Some(self.evict(source, now)?) };
        self.next_id += 1;
        let id = self.next_id;
        self.by_source.entry(source).or_default().push(Shaking { id, spoke: false, since: now, value });
        self.len += 1;
        Some((Ticket { source, id }, evicted))
    }

    /// Its first bytes have come: it no longer goes before those that said something.
    pub fn speaks(&mut self, ticket: Ticket) {
        let all = self.by_source.get_mut(&ticket.source);
        if let Some(found) = all.and_then(|all| at(all, ticket.id).and_then(|at| all.get_mut(at))) {
            found.spoke = true;
        }
    }

    /// Gives the place back, if it was not taken from it before.
    pub fn end(&mut self, ticket: Ticket) {
        self.remove(ticket);
    }

    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The source with the most loses its idlest: the oldest that said nothing, else the oldest. The newcomer counts too, so
    /// that nobody is driven out for one whose source has more already. What speaks and is quick goes only where its
    /// source has many, and more than the newcomer's.
    fn evict(&mut self, newcomer: Source, now: Duration) -> Option<T> {
        let own = self.by_source.get(&newcomer).map_or(0, Vec::len) + 1;
        let heavy = self.by_source.iter().filter_map(|(source, all)| {
            let count = if *source == newcomer { own } else { all.len() };
            (count >= own).then_some((*source, count, all))
        });
        let may_go = heavy.flat_map(|(source, count, all)| {
            let quick_ones_too = count > own.max(FEW);
            let idle = move |h: &&Shaking<T>| quick_ones_too || !h.spoke || now.saturating_sub(h.since) >= SLOW;
            all.iter().filter(idle).map(move |h| (Reverse(count), h.spoke, h.since, h.id, source))
        });
        let (.., id, source) = may_go.min()?;
        self.remove(Ticket { source, id })
    }

    fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let all = self.by_source.get_mut(&ticket.source)?;
        let gone = all.remove(at(all, ticket.id)?);
        if all.is_empty() {
            self.by_source.remove(&ticket.source);
        }
        self.len -= 1;
        Some(gone.value)
    }
}

/// Ids only grow, so each source's are sorted.
fn at<T>(all: &[Shaking<T>], id: u64) -> Option<usize> {
    all.binary_search_by_key(&id, |h| h.id).ok()
}

#[cfg(test)]
mod tests;
