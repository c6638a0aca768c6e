//! Keeps the shelves as the store is: fills them once, then follows one watch on the whole store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::watch;

use super::Shelf;
use crate::storage::{Change, Storage, StorageError};

/// How many revisions back the cache begins, where the store still has them: so far back may watchers resume after a
/// restart of this server.
const REPLAYED_REVISIONS: i64 = 2_000;
pub(super) const FILL_DEADLINE: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

pub(super) struct Feed {
    storage: Arc<dyn Storage>,
    shelves: Vec<Arc<Shelf>>,
    revision: watch::Sender<i64>,
}

impl Feed {
    pub(super) fn new(storage: Arc<dyn Storage>, shelves: Vec<Arc<Shelf>>, revision: watch::Sender<i64>) -> Self {
        Self { storage, shelves, revision }
    }

    /// Fills all shelves as of one revision, an older one if the store has it. Returns that revision.
    pub(super) async fn fill(&self) -> Result<i64, StorageError> {
        let newest = self.storage.current_revision().await?;
        match self.fill_at((newest - REPLAYED_REVISIONS).max(1)).await {
            Err(StorageError::Compacted { .. }) => {}
            filled => return filled,
        }
        self.fill_at(self.storage.current_revision().await?).await
    }

    async fn fill_at(&self, revision: i64) -> Result<i64, StorageError> {
        for shelf in &self.shelves {
            let listed = self.storage.list(shelf.prefix(), Some(revision)).await?;
            shelf.fill(listed);
        }
        self.revision.send_replace(revision);
        Ok(revision)
    }

    /// Follows the store for ever, whatever happens to it.
    pub(super) async fn run(self, after: i64) {
        let mut after = after;
        let mut retry = RETRY_MIN;
        loop {
            let reached = after;
            let err = self.follow(&mut after).await;
            if after > reached {
                retry = RETRY_MIN;
            }
            let err = match err {
                StorageError::Compacted { .. } => match self.relist().await {
                    Ok(revision) => {
                        tracing::warn!(%err, revision, "the store forgot what the cache missed; listed all again");
                        after = revision;
                        continue;
                    }
                    Err(err) => err,
                },
                StorageError::WentBack { now, .. } => match self.fill_at(now).await {
                    Ok(revision) => {
                        tracing::error!(%err, "all is read again, and every watch ends");
                        after = revision;
                        continue;
                    }
                    Err(err) => err,
                },
                err => err,
            };
            tracing::warn!(error = %err, source = ?std::error::Error::source(&err), after, "the watch on the store ended");
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Applies changes until the watch fails.
    async fn follow(&self, after: &mut i64) -> StorageError {
        // A watch from a revision that the store has yet to reach would be silent until it does.
        match self.storage.current_revision().await {
            Ok(now) if now < *after => return StorageError::WentBack { seen: *after, now },
            Ok(_) => {}
            Err(err) => return err,
        }
        let mut stream = match self.storage.watch("", *after).await {
            Ok(stream) => stream,
            Err(err) => return err,
        };
        while let Some(changes) = stream.next().await {
            match changes {
                Ok(changes) => *after = self.apply(changes).max(*after),
                Err(err) => return err,
            }
        }
        StorageError::Unavailable { what: "watching: the stream ended".into(), source: None }
    }

    /// Shelves first, the revision that says so last.
    fn apply(&self, changes: Vec<Change>) -> i64 {
        let Some(last) = changes.last().map(Change::revision) else { return 0 };
        let mut by_shelf: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
        for change in changes {
            if let Some(index) = self.shelf_of(change.key()) {
                by_shelf.entry(index).or_default().push(change);
            }
        }
        for (index, changes) in by_shelf {
            self.shelves[index].apply(changes);
        }
        self.revision.send_replace(last);
        last
    }

    fn shelf_of(&self, key: &str) -> Option<usize> {
        let index = self.shelves.partition_point(|s| s.prefix() <= key).checked_sub(1)?;
        key.starts_with(self.shelves[index].prefix()).then_some(index)
    }

    /// After a gap: what differs becomes changes, so that watchers converge without listing again.
    async fn relist(&self) -> Result<i64, StorageError> {
        let revision = self.storage.current_revision().await?;
        for shelf in &self.shelves {
            let listed = self.storage.list(shelf.prefix(), Some(revision)).await?;
            let changes = shelf.difference(listed);
            shelf.apply(changes);
        }
        self.revision.send_replace(revision);
        Ok(revision)
    }
}
