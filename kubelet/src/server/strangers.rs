//! Connections of those whose certificate opens nothing here: few, shared by address, and apart from all others.
//!
//! Who makes room when there are too many is decided by the same table as at the apiserver's door.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use corten_api::connections::{Activity, Bounds, Connections, Ticket};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// At once.
pub(super) const STRANGERS_MAX: usize = 16;
/// Each has as long as it takes to tell that it may not call.
pub(super) const STRANGER_STAYS_MAX: Duration = Duration::from_secs(10);

/// What ends a connection, and when it was opened.
type Opened = (CancellationToken, Duration);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Strangers {
    began: Instant,
    table: Arc<Mutex<Connections<Opened>>>,
}

impl Default for Strangers {
    fn default() -> Self {
        let bounds = Bounds { connections: STRANGERS_MAX, unauthenticated: STRANGERS_MAX };
        Self { began: Instant::now(), table: Arc::new(Mutex::new(Connections::new(bounds))) }
    }
}

impl Strangers {
    /// A connection from `peer`; `None` if there is no place for it and nobody to make room.
    pub(super) fn open(&self, peer: IpAddr) -> Option<Stranger> {
        let evicted = CancellationToken::new();
        let opened = (evicted.clone(), self.began.elapsed());
        let (ticket, victim) = self.table.lock().open(peer.into(), false, opened, activity)?;
        if let Some((victim, _)) = victim {
            victim.cancel();
        }
        Some(Stranger { table: self.table.clone(), ticket, evicted })
    }
}

/// Its requests are refused as they come, so none of them is ever in flight.
fn activity((_, since): &Opened) -> Activity {
    Activity { busy: false, since: *since }
}

/// Counted until dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    table: Arc<Mutex<Connections<Opened>>>,
    ticket: Ticket,
    evicted: CancellationToken,
}

impl Stranger {
    /// Done when it was there long enough, or is to make room for another.
    pub(super) async fn over(&self) {
        // Elapsed or evicted: it goes either way.
        let _ = tokio::time::timeout(STRANGER_STAYS_MAX, self.evicted.cancelled()).await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.table.lock().close(self.ticket);
    }
}
