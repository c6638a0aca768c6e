//! Who keeps a connection when there are more than may be open at once. Pure: what each of them does is an argument.
//!
//! Connections whose owner is not authenticated have a share of their own, and places in it are divided by source address:
//! the address that has the most of them makes room, with its idlest connection first. A newcomer of an address that has
//! fewer is therefore always let in, whatever the others do. Nobody who is authenticated makes room for one who is not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::handshakes::Source;

/// How many there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of all together.
    pub connections: usize,
    /// Of those among them whose owner is not authenticated.
    pub unauthenticated: usize,
}

/// What a connection does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Activity {
    /// Whether a request of it is in flight.
    pub busy: bool,
    /// When its last request ended, or else when it was opened: a time since any fixed moment.
    pub since: Duration,
}

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    source: Source,
    id: u64,
}

/// The open connections. `T`: what the owner of the table needs to close one.
#[derive(Debug)]
pub struct Connections<T> {
    bounds: Bounds,
    next_id: u64,
    /// With where they come from.
    authenticated: HashMap<u64, (Source, T)>,
    /// No source's are empty.
    unauthenticated: BTreeMap<Source, BTreeMap<u64, T>>,
    unauthenticated_len: usize,
}

impl<T> Connections<T> {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next_id: 0,
            authenticated: HashMap::new(),
            unauthenticated: BTreeMap::new(),
            unauthenticated_len: 0,
        }
    }

    /// Takes a place. Gives it, and what was kept for the connection that has to make room for it. `None`: all places are
    /// taken, and nobody has to.
    ///
    /// Costs nothing more while there is room. Where there is none, as much as there are unauthenticated connections, and
    /// where none of those is left, as much as there are connections.
    pub fn open(
        &mut self,
        source: Source,
        is_authenticated: bool,
        value: T,
        activity: impl Fn(&T) -> Activity,
    ) -> Option<(Ticket, Option<T>)> {
        let share_is_full = !is_authenticated && self.unauthenticated_len >= self.bounds.unauthenticated;
        let evicted = if share_is_full || self.len() >= self.bounds.connections {
            let newcomer = (!is_authenticated).then_some(source);
            let victim = self.unauthenticated_victim(newcomer, &activity);
            let victim = victim.or_else(|| self.authenticated_victim(is_authenticated, &activity))?;
            self.close(victim)
        } else {
            None
        };
        self.next_id += 1;
        let id = self.next_id;
        if is_authenticated {
            self.authenticated.insert(id, (source, value));
        } else {
            self.unauthenticated.entry(source).or_default().insert(id, value);
            self.unauthenticated_len += 1;
        }
        Some((Ticket { source, id }, evicted))
    }

    /// Its owner is known now: it no longer counts to the share of those that are not. Nothing happens where it is closed
    /// already.
    pub fn authenticate(&mut self, ticket: Ticket) {
        if let Some(value) = self.take_unauthenticated(ticket) {
            self.authenticated.insert(ticket.id, (ticket.source, value));
        }
    }

    /// Gives the place back, if it was not taken from it before.
    pub fn close(&mut self, ticket: Ticket) -> Option<T> {
        let known = self.authenticated.remove(&ticket.id).map(|(_, value)| value);
        known.or_else(|| self.take_unauthenticated(ticket))
    }

    pub fn len(&self) -> usize {
        self.authenticated.len() + self.unauthenticated_len
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn unauthenticated_len(&self) -> usize {
        self.unauthenticated_len
    }

    /// Of the source with the most the idlest, and one with a request in flight only where it has no other. `newcomer`: for
    /// whom, if that one is not authenticated. It counts too, and its own source's requests are not cut off for it: that
    /// source would have as many connections as before, and one request less.
    fn unauthenticated_victim(&self, newcomer: Option<Source>, activity: &impl Fn(&T) -> Activity) -> Option<Ticket> {
        let own = newcomer.map_or(0, |source| self.unauthenticated.get(&source).map_or(0, BTreeMap::len) + 1);
        let may_go = self.unauthenticated.iter().flat_map(|(source, open)| {
            let is_own = newcomer == Some(*source);
            let count = if is_own { own } else { open.len() };
            let open = (count >= own).then_some(open).into_iter().flatten();
            open.map(move |(id, value)| (Reverse(count), activity(value), *id, *source))
                .filter(move |(_, does, ..)| !(is_own && does.busy))
        });
        let (.., id, source) = may_go.min()?;
        Some(Ticket { source, id })
    }

    /// The idlest of those without a request in flight, for a newcomer that is authenticated too.
    fn authenticated_victim(&self, for_authenticated: bool, activity: &impl Fn(&T) -> Activity) -> Option<Ticket> {
        let all = for_authenticated.then_some(&self.authenticated).into_iter().flatten();
        let idle = all.map(|(id, (source, value))| (activity(value), *id, *source)).filter(|(does, ..)| !does.busy);
        let (_, id, source) = idle.min()?;
        Some(Ticket { source, id })
    }

    fn take_unauthenticated(&mut self, ticket: Ticket) -> Option<T> {
        let open = self.unauthenticated.get_mut(&ticket.source)?;
        let value = open.remove(&ticket.id)?;
        if open.is_empty() {
            self.unauthenticated.remove(&ticket.source);
        }
        self.unauthenticated_len -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests;
