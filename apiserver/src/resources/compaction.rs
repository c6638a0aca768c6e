//! Forgets the store's history older than five minutes or so: one apiserver does it for all.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{COMPACTION, forgotten_before};
use crate::storage::{Outcome, Storage, StorageError, Write};

/// History is kept at least this long, and at most twice as long.
const COMPACT_EVERY: Duration = Duration::from_secs(300);

pub(super) async fn run(storage: Arc<dyn Storage>) {
    let mut seen = 0;
    loop {
        tokio::time::sleep(COMPACT_EVERY).await;
        match round(&*storage, seen).await {
            Ok(revision) => seen = revision,
            Err(err) => tracing::warn!(%err, "old history was not compacted; again later"),
        }
    }
}

/// One round. `seen`: the revision that the last round gave, 0 before the first. Who writes the key compacts up to its
/// last writing, and says so in the key for all servers to see; who finds it written by another takes that for the present round.
pub(super) async fn round(storage: &dyn Storage, seen: i64) -> Result<i64, StorageError> {
    let (key, value) = (COMPACTION.to_owned(), forgotten_before(seen));
    let write = match seen {
        0 => Write::Create { key, value, ttl_secs: None },
        expected => Write::Update { key, value, expected, ttl_secs: None },
    };
    match storage.commit(vec![write]).await? {
        Outcome::Committed { revision } => {
            if seen > 0 {
                storage.compact(seen).await?;
                tracing::debug!(revision = seen, "compacted");
            }
            Ok(revision)
        }
        Outcome::Refused { current, .. } => Ok(current.map_or(0, |c| c.revision)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ROOT;
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn one_of_two_servers_compacts_up_to_the_round_before() {
        let store = Memory::default();
        let a = round(&store, 0).await.unwrap();
        let b = round(&store, 0).await.unwrap();
        assert_eq!(a, b, "the second server joins the first one's round");
        let next = round(&store, a).await.unwrap();
        assert!(matches!(store.list(ROOT, Some(a - 1)).await, Err(StorageError::Compacted { .. })));
        store.list(ROOT, Some(a)).await.expect("the round itself is kept");
        assert_eq!(round(&store, b).await.unwrap(), next);
        store.list(ROOT, Some(a)).await.expect("the slower server compacts nothing");
    }
}
