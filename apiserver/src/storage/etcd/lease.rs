//! Leases that forget keys: one for each lifetime and minute, shared by all keys of that minute.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::members::Members;
use super::{RETRY_AFTER, deadline, failed, unavailable};
use crate::storage::StorageError;

const WHAT: &str = "granting a lease";
const TRIES: u32 = 3;
/// How long one lease takes in new keys. A key may live this much longer than it asks.
const SHARED_FOR: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
pub(super) struct Leases {
    /// By lifetime; as many as there are different lifetimes.
    current: Arc<Mutex<HashMap<u32, Lease>>>,
}

struct Lease {
    id: i64,
    since: Instant,
}

impl Leases {
    /// The lease for a key that lives `ttl_secs`. Concurrent callers wait for one grant.
    pub(super) async fn of(&self, members: &Members, ttl_secs: u32) -> Result<i64, StorageError> {
        let mut current = self.current.lock().await;
        if let Some(lease) = current.get(&ttl_secs)
            && lease.since.elapsed() < SHARED_FOR
        {
            return Ok(lease.id);
        }
        let ttl = i64::from(ttl_secs) + SHARED_FOR.as_secs().cast_signed();
        let since = Instant::now();
        let id = grant(members, ttl).await?;
        current.insert(ttl_secs, Lease { id, since });
        Ok(id)
    }
    /// Makes new leases from here on.
    pub(super) async fn forget(&self) {
        self.current.lock().await.clear();
    }
}

/// A grant that was not answered and made again only leaves a lease that ends unused.
async fn grant(members: &Members, ttl_secs: i64) -> Result<i64, StorageError> {
    let mut last = None;
    for _ in 0..TRIES {
        let view = members.view();
        let mut client = members.lease(view);
        let granted = tokio::select! {
            granted = deadline(WHAT, client.grant(ttl_secs, None)) => granted?,
            () = members.overtaken(view) => continue,
        };
        match granted {
            Ok(granted) => return Ok(granted.id()),
            Err(err) => {
                last = Some(failed(WHAT, 0, err));
                members.failed(view, RETRY_AFTER).await;
            }
        }
    }
    Err(last.unwrap_or_else(|| unavailable(WHAT, "each member that was asked fell silent".into())))
}
