//! How far back the store's history goes. One apiserver has the store forget what is old, for all of them, and says so in a key
//! ([`COMPACTION`]) that all of them see: what the store forgets they answer from their caches no longer either, so that a
//! client's list ends at all servers alike, whether or not anything of its kind has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;

use crate::storage::{Change, Storage, StorageError};

/// Written each time before the store's history is cut.
pub(crate) const COMPACTION: &str = "/registry/corten/compaction";

/// Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Forgotten(Arc<AtomicI64>);

#[derive(serde::Serialize, serde::Deserialize)]
struct Told {
    /// 0, or left out by servers of before: nothing is forgotten yet, or nobody knows what.
    #[serde(default)]
    before: i64,
}

/// The key's value: the state of all revisions before this one is forgotten.
pub(crate) fn told(before: i64) -> Bytes {
    // A number is always written.
    serde_json::to_vec(&Told { before }).unwrap_or_default().into()
}

impl Forgotten {
    /// The oldest revision whose state is known.
    pub(super) fn before(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }

    /// Of each change of the store.
    pub(super) fn note(&self, change: &Change) {
        if let Change::Put { key, value, .. } = change
            && key == COMPACTION
        {
            self.set(value);
        }
    }

    /// Where changes were missed.
    pub(super) async fn read(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        match storage.get(COMPACTION).await? {
            Some(stored) => self.set(&stored.value),
            None => self.0.store(0, Ordering::Release),
        }
        Ok(())
    }

    fn set(&self, value: &[u8]) {
        match serde_json::from_slice::<Told>(value) {
            Ok(told) => self.0.store(told.before, Ordering::Release),
            Err(err) => {
                tracing::warn!(%err, key = COMPACTION, "what the store has forgotten is not told as we tell it")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Write;
    use crate::storage::memory::Memory;

    fn put(key: &str, value: Bytes) -> Change {
        Change::Put { key: key.into(), value, revision: 9, created: false }
    }

    #[tokio::test]
    async fn what_is_told_is_known() {
        let forgotten = Forgotten::default();
        let cases = [
            ("a server of before", put(COMPACTION, "{}".into()), 0),
            ("a round", put(COMPACTION, told(7)), 7),
            ("another key", put("/registry/configmaps/n/a", told(8)), 7),
            ("nonsense", put(COMPACTION, "?".into()), 7),
            ("its end", Change::Deleted { key: COMPACTION.into(), revision: 9 }, 7),
        ];
        for (why, change, expected) in cases {
            forgotten.note(&change);
            assert_eq!(forgotten.before(), expected, "{why}");
        }
        let store = Memory::default();
        forgotten.read(&store).await.unwrap();
        assert_eq!(forgotten.before(), 0, "another store");
        let write = Write::Create { key: COMPACTION.into(), value: told(3), ttl_secs: None };
        store.commit(vec![write]).await.unwrap();
        forgotten.read(&store).await.unwrap();
        assert_eq!(forgotten.before(), 3);
    }
}
