//! Leases that forget keys: one for each lifetime and minute, shared by all keys of that minute.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::LeaseClient;
use tokio::sync::Mutex;

use super::{deadline, failed};
use crate::storage::StorageError;

/// How long one lease takes in new keys. A key may live this much longer than it asks.
const SHARED_FOR: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Leases {
    client: LeaseClient,
    /// By lifetime; as many as there are different lifetimes.
    current: Arc<Mutex<HashMap<u32, Lease>>>,
}

struct Lease {
    id: i64,
    since: Instant,
}

impl Leases {
    pub(super) fn new(client: LeaseClient) -> Self {
        Self { client, current: Arc::default() }
    }
    /// The lease for a key that lives `ttl_secs`. Concurrent callers wait for one grant.
    pub(super) async fn of(&self, ttl_secs: u32) -> Result<i64, StorageError> {
        let mut current = self.current.lock().await;
        if let Some(lease) = current.get(&ttl_secs)
            && lease.since.elapsed() < SHARED_FOR
        {
            return Ok(lease.id);
        }
        let mut client = self.client.clone();
        let ttl = i64::from(ttl_secs) + SHARED_FOR.as_secs().cast_signed();
        let since = Instant::now();
        let granted = deadline("granting a lease", client.grant(ttl, None)).await?;
        let id = granted.map_err(|err| failed("granting a lease", 0, err))?.id();
        current.insert(ttl_secs, Lease { id, since });
        Ok(id)
    }
    /// Makes new leases from here on.
    pub(super) async fn forget(&self) {
        self.current.lock().await.clear();
    }
}
