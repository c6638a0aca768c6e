//! Keeps the kinds' caches as the store is: fills them once, then follows one watch on the whole store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{KindCache, Unreadable, replay};
use crate::storage::{Change, Changes, Storage, StorageError};

pub(super) const FILL_DEADLINE: Duration = Duration::from_secs(60);
/// A cache that could not follow the store for so long is of no use to who watches it: other servers' may be.
const STALLED_AFTER: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

pub(super) struct Feed {
    storage: Arc<dyn Storage>,
    /// By prefix, in order.
    kinds: Vec<Arc<KindCache>>,
    revision: watch::Sender<i64>,
    unreadable: Arc<Unreadable>,
    /// Rises each time that the store is lost for long.
    stalls: watch::Sender<u64>,
    /// Since when it cannot be followed, and whether that was told.
    lost: Option<(Instant, bool)>,
}

impl Feed {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        kinds: Vec<Arc<KindCache>>,
        revision: watch::Sender<i64>,
        unreadable: Arc<Unreadable>,
        stalls: watch::Sender<u64>,
    ) -> Self {
        Self { storage, kinds, revision, unreadable, stalls, lost: None }
    }

    /// Fills all of them as of one revision, an older one if the store has it. Returns that revision.
    pub(super) async fn fill(&self) -> Result<i64, StorageError> {
        let newest = self.storage.current_revision().await?;
        match self.fill_at(replay::beginning(&*self.storage, newest).await?).await {
            // It forgot more meanwhile.
            Err(StorageError::Compacted { .. }) => {}
            filled => return filled,
        }
        self.fill_at(self.storage.current_revision().await?).await
    }

    async fn fill_at(&self, revision: i64) -> Result<i64, StorageError> {
        for kind in &self.kinds {
            let listed = self.storage.list(kind.prefix(), Some(revision)).await?;
            self.unreadable.keys(listed.unreadable_keys);
            kind.fill(listed);
        }
        self.revision.send_replace(revision);
        Ok(revision)
    }

    /// Follows the store for ever, whatever happens to it.
    pub(super) async fn run(mut self, after: i64) {
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
            self.note_loss();
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Told once for each time: who watches again, as no other server is better, is left alone.
    fn note_loss(&mut self) {
        let (since, told) = self.lost.get_or_insert((Instant::now(), false));
        if !*told && since.elapsed() >= STALLED_AFTER {
            *told = true;
            tracing::error!("the store cannot be followed: every watch ends");
            self.stalls.send_modify(|stalls| *stalls += 1);
        }
    }

    /// Applies changes until the watch fails.
    async fn follow(&mut self, after: &mut i64) -> StorageError {
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
        self.lost = None;
        while let Some(changes) = stream.next().await {
            match changes {
                Ok(changes) => *after = self.apply(changes).max(*after),
                Err(err) => return err,
            }
        }
        StorageError::Unavailable { what: "watching: the stream ended".into(), source: None }
    }

    /// The kinds' caches first, the revision that says so last.
    fn apply(&self, told: Changes) -> i64 {
        self.unreadable.keys(told.unreadable_keys);
        let mut by_kind: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
        for change in told.changes {
            if let Some(index) = self.kind_of(change.key()) {
                by_kind.entry(index).or_default().push(change);
            }
        }
        for (index, changes) in by_kind {
            self.kinds[index].apply(changes);
        }
        self.revision.send_replace(told.revision);
        told.revision
    }

    /// `None`: the key is nothing of the API's.
    fn kind_of(&self, key: &str) -> Option<usize> {
        let index = self.kinds.partition_point(|kind| kind.prefix() <= key).checked_sub(1)?;
        key.starts_with(self.kinds[index].prefix()).then_some(index)
    }

    /// After a gap: what differs becomes changes, so that watchers converge without listing again.
    async fn relist(&self) -> Result<i64, StorageError> {
        let revision = self.storage.current_revision().await?;
        for kind in &self.kinds {
            let listed = self.storage.list(kind.prefix(), Some(revision)).await?;
            let changes = kind.difference(listed);
            kind.apply(changes);
        }
        self.revision.send_replace(revision);
        Ok(revision)
    }
}
