//! The store in memory: for tests and simulation. Keeps its whole history, until it is compacted.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Change, ChangeStream, Changes, Listed, Outcome, Storage, StorageError, Stored, Write};

/// A store that lives as long as its last clone.
#[derive(Clone, Debug)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    /// The newest revision, for watchers to wake up to.
    newest: watch::Sender<i64>,
}

#[derive(Debug)]
struct State {
    keys: BTreeMap<String, Stored>,
    /// The keys as they were before the first change in `history`.
    base: BTreeMap<String, Stored>,
    history: Vec<Change>,
    revision: i64,
    /// History before this revision is forgotten.
    compacted: i64,
}

impl Default for Memory {
    fn default() -> Self {
        // As in etcd, an empty store is at revision 1.
        let (keys, base) = (BTreeMap::new(), BTreeMap::new());
        let state = State { keys, base, history: Vec::new(), revision: 1, compacted: 0 };
        Self { state: Arc::new(Mutex::new(state)), newest: watch::Sender::new(1) }
    }
}

impl State {
    fn refusal(&self, writes: &[Write]) -> Option<Outcome> {
        let revision = |write: &Write| self.keys.get(write.key()).map(|stored| stored.revision);
        let index = writes.iter().position(|write| !write.holds_at(revision(write)))?;
        Some(Outcome::Refused { index, current: self.keys.get(writes[index].key()).cloned() })
    }
    fn apply(&mut self, write: Write) {
        let revision = self.revision;
        let change = match write {
            Write::Create { key, value, .. } | Write::Update { key, value, .. } => {
                let stored = Stored { key: key.clone(), value: value.clone(), revision };
                let created = self.keys.insert(key.clone(), stored).is_none();
                Change::Put { key, value, revision, created }
            }
            Write::Delete { key, .. } => {
                self.keys.remove(&key);
                Change::Deleted { key, revision }
            }
            Write::Expect { .. } => return,
        };
        self.history.push(change);
    }
    fn check(&self, wanted: i64) -> Result<(), StorageError> {
        if wanted < self.compacted {
            return Err(StorageError::Compacted { wanted, oldest: self.compacted });
        }
        Ok(())
    }
    /// The keys as they were at `revision`.
    fn at(&self, revision: i64) -> BTreeMap<String, Stored> {
        let mut keys = self.base.clone();
        self.history.iter().filter(|c| c.revision() <= revision).for_each(|c| replay(&mut keys, c));
        keys
    }
    fn since(&self, prefix: &str, after: i64) -> Result<Vec<Change>, StorageError> {
        self.check(after + 1)?;
        let first = self.history.partition_point(|c| c.revision() <= after);
        let under = |c: &&Change| match c {
            Change::Put { key, .. } | Change::Deleted { key, .. } => key.starts_with(prefix),
        };
        Ok(self.history[first..].iter().filter(under).cloned().collect())
    }
}

fn replay(keys: &mut BTreeMap<String, Stored>, change: &Change) {
    match change {
        Change::Put { key, value, revision, .. } => {
            let stored = Stored { key: key.clone(), value: value.clone(), revision: *revision };
            keys.insert(key.clone(), stored);
        }
        Change::Deleted { key, .. } => drop(keys.remove(key)),
    }
}

#[async_trait]
impl Storage for Memory {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        Ok(self.state.lock().keys.get(key).cloned())
    }
    async fn list(&self, prefix: &str, revision: Option<i64>) -> Result<Listed, StorageError> {
        let state = self.state.lock();
        let revision = revision.unwrap_or(state.revision);
        state.check(revision)?;
        let items = state.at(revision).into_values().filter(|s| s.key.starts_with(prefix)).collect();
        Ok(Listed { items, revision, unreadable_keys: 0 })
    }
    async fn current_revision(&self) -> Result<i64, StorageError> {
        Ok(self.state.lock().revision)
    }
    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StorageError> {
        let revision = {
            let mut state = self.state.lock();
            if let Some(refusal) = state.refusal(&writes) {
                return Ok(refusal);
            }
            state.revision += 1;
            writes.into_iter().for_each(|w| state.apply(w));
            state.revision
        };
        self.newest.send_if_modified(|newest| {
            let later = revision > *newest;
            *newest = revision.max(*newest);
            later
        });
        Ok(Outcome::Committed { revision })
    }
    async fn watch(&self, prefix: &str, after: i64) -> Result<ChangeStream, StorageError> {
        self.state.lock().check(after + 1)?;
        let (state, prefix, newest) = (self.state.clone(), prefix.to_owned(), self.newest.subscribe());
        let stream = futures::stream::try_unfold((after, newest), move |(after, mut newest)| {
            let (state, prefix) = (state.clone(), prefix.clone());
            async move {
                let mut after = after;
                loop {
                    newest.borrow_and_update();
                    let (changes, revision) = {
                        let state = state.lock();
                        (state.since(&prefix, after)?, state.revision)
                    };
                    after = revision;
                    if !changes.is_empty() {
                        let changes = Changes { changes, revision, unreadable_keys: 0 };
                        return Ok(Some((changes, (after, newest))));
                    }
                    let closed = |_| StorageError::Unavailable { what: "watch".into(), source: None };
                    newest.changed().await.map_err(closed)?;
                }
            }
        });
        Ok(stream.boxed())
    }
    async fn compact(&self, revision: i64) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        if revision > state.compacted {
            state.compacted = revision;
            let forgotten = state.history.partition_point(|c| c.revision() < revision);
            let forgotten: Vec<Change> = state.history.drain(..forgotten).collect();
            forgotten.iter().for_each(|c| replay(&mut state.base, c));
        }
        Ok(())
    }
}
