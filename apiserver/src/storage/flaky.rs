//! The store in memory behind a line that can be cut: for tests of what a store's failures do.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::PollNext;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::memory::Memory;
use super::{ChangeStream, Changes, Listed, Outcome, Storage, StorageError, Stored, Write};

/// Two lines: one for watches, one for all else.
#[derive(Debug, Default)]
pub(crate) struct Flaky {
    memory: RwLock<Memory>,
    cut: watch::Sender<bool>,
    away: AtomicBool,
    panics: AtomicBool,
    asked: AtomicU64,
    /// Lists under this prefix fail; empty for none.
    failing: RwLock<&'static str>,
    failed_lists: watch::Sender<u64>,
    /// Updates of this key are larger than the store takes; empty for none.
    too_large: RwLock<&'static str>,
}

fn lost() -> StorageError {
    StorageError::Unavailable { what: "the line is cut".into(), source: None }
}

impl Flaky {
    /// Running watches end, new ones fail.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }
    pub(crate) fn mend(&self) {
        self.cut.send_replace(false);
    }
    /// Whether calls other than watches fail.
    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }
    /// How often it was asked how new it is.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
    /// Lists of what stands under this prefix fail from now on; "": none.
    pub(crate) fn fail_lists_of(&self, prefix: &'static str) {
        *self.failing.write() = prefix;
    }
    /// What is there under this key is too large from now on to be written again.
    pub(crate) fn is_too_large(&self, key: &'static str) {
        *self.too_large.write() = key;
    }
    /// Tells how many have failed.
    pub(crate) fn failed_lists(&self) -> watch::Receiver<u64> {
        self.failed_lists.subscribe()
    }
    /// From now on whoever begins a watch dies of it.
    pub(crate) fn panic_when_watched(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }
    /// Puts another store in this one's place.
    pub(crate) fn restore(&self, backup: Memory) {
        *self.memory.write() = backup;
    }
    fn here(&self) -> Result<Memory, StorageError> {
        if self.away.load(Ordering::SeqCst) { Err(lost()) } else { Ok(self.memory.read().clone()) }
    }
}

#[async_trait]
impl Storage for Flaky {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        self.here()?.get(key).await
    }
    async fn list(&self, prefix: &str, revision: Option<i64>) -> Result<Listed, StorageError> {
        let failing = *self.failing.read();
        if !failing.is_empty() && prefix.starts_with(failing) {
            self.failed_lists.send_modify(|failed| *failed += 1);
            return Err(lost());
        }
        self.here()?.list(prefix, revision).await
    }
    async fn current_revision(&self) -> Result<i64, StorageError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.here()?.current_revision().await
    }
    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StorageError> {
        let too_large = *self.too_large.read();
        if writes.iter().any(|write| matches!(write, Write::Update { key, .. } if key == too_large)) {
            return Err(StorageError::TooLarge { what: too_large.into(), bytes: 1 << 21 });
        }
        self.here()?.commit(writes).await
    }
    async fn watch(&self, prefix: &str, after: i64) -> Result<ChangeStream, StorageError> {
        assert!(!self.panics.load(Ordering::SeqCst), "a watch that is no good");
        let mut cut = self.cut.subscribe();
        if *cut.borrow_and_update() {
            return Err(lost());
        }
        let cut = async move {
            // Any change means a cut, however short: who looks late sees it too.
            drop(cut.changed().await);
            Err::<Changes, _>(lost())
        };
        let memory = self.memory.read().clone();
        let changes = memory.watch(prefix, after).await?;
        // Nothing comes through once it is cut, though it be ready.
        let first = |(): &mut ()| PollNext::Left;
        Ok(futures::stream::select_with_strategy(futures::stream::once(cut), changes, first).boxed())
    }
    async fn compact(&self, revision: i64) -> Result<(), StorageError> {
        self.here()?.compact(revision).await
    }
}
