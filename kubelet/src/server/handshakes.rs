//! TLS handshakes in flight: counted apart from connections, so that those who say nothing take no connection's place.
//!
//! Who makes room when there are too many is decided by the same table as at the apiserver's door.

use std::net::IpAddr;
use std::sync::Arc;

use corten_api::handshakes::{Handshakes as Table, Ticket};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// At once. Those who call a node are the apiservers and a few administrators.
pub(super) const HANDSHAKES_MAX: usize = 64;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Handshakes {
    began: Instant,
    table: Arc<Mutex<Table<CancellationToken>>>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { began: Instant::now(), table: Arc::new(Mutex::new(Table::new(HANDSHAKES_MAX))) }
    }
}

impl Handshakes {
    /// A socket that has just been accepted from `peer`; `None` if there is no place for it and nobody to make room.
    pub(super) fn begin(&self, peer: IpAddr) -> Option<Handshake> {
        let evicted = CancellationToken::new();
        let (ticket, victim) = self.table.lock().begin(peer.into(), evicted.clone(), self.began.elapsed())?;
        if let Some(victim) = victim {
            victim.cancel();
        }
        Some(Handshake { table: self.table.clone(), ticket, evicted })
    }
}

/// Counted until dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    table: Arc<Mutex<Table<CancellationToken>>>,
    ticket: Ticket,
    evicted: CancellationToken,
}

impl Handshake {
    /// Its first bytes have come.
    pub(super) fn speaks(&self) {
        self.table.lock().speaks(self.ticket);
    }
    /// Done when it is to make room for another.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.table.lock().end(self.ticket);
    }
}
