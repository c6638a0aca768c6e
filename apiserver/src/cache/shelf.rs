//! One kind's objects, as an ordered set that is cheap to copy, and the ring of their recent changes.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use imbl::OrdSet;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{ByKey, Item, NODE_PORTS, ROOT, too_old};
use crate::registry::{Field, Registry};
use crate::resources::EventKind;
use crate::storage::{Change, Listed};
use corten_api::ApiError;

/// Changes kept for watchers, by number and by size; what a watcher that is further behind missed is lost to it.
const RING_CHANGES_MAX: usize = 8_192;
const RING_BYTES_MAX: usize = 4 << 20;
/// Snapshots kept for the pages that follow a first one. The store itself serves older ones.
const RETAINED_MAX: usize = 8;
const RETAINED_FOR: Duration = Duration::from_secs(60);

/// All objects of a kind at one revision.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) items: OrdSet<ByKey>,
    pub(crate) revision: i64,
}

/// One change, with the state before it: a watcher's selector may have held then and not now.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) old: Option<Arc<Item>>,
    /// For a deletion: the last state at the revision of the deletion.
    pub(super) item: Arc<Item>,
    pub(super) deleted: bool,
}

#[derive(Debug)]
pub(crate) struct Shelf {
    prefix: String,
    fields: Vec<Field>,
    state: RwLock<State>,
    /// The number that the next step will have; watchers wait for it to rise.
    next: watch::Sender<u64>,
    retained: Mutex<VecDeque<(Instant, Snapshot)>>,
}

#[derive(Debug, Default)]
struct State {
    items: OrdSet<ByKey>,
    /// Of the last change.
    revision: i64,
    ring: VecDeque<Step>,
    ring_bytes: usize,
    /// The number of the ring's first step.
    first: u64,
    /// All changes after this revision are in the ring.
    floor: i64,
}

/// One shelf for each prefix in the store, in order of the prefix. Kinds that are stored as another share its shelf.
pub(super) fn of(registry: &Registry) -> Vec<Arc<Shelf>> {
    let mut prefixes: Vec<&str> = registry.iter().map(|e| e.store_prefix()).chain([NODE_PORTS]).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let shelf = |prefix: &str| {
        let mut fields: Vec<Field> = Vec::new();
        for field in registry.iter().filter(|e| e.store_prefix() == prefix).flat_map(|e| e.fields()) {
            if !fields.iter().any(|f| f.name == field.name) {
                fields.push(*field);
            }
        }
        Arc::new(Shelf {
            prefix: format!("{ROOT}{prefix}/"),
            fields,
            state: RwLock::default(),
            next: watch::Sender::new(0),
            retained: Mutex::default(),
        })
    };
    let mut shelves: Vec<_> = prefixes.into_iter().map(shelf).collect();
    shelves.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    shelves
}

impl Shelf {
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }
    /// `key` without the prefix: `namespace/name`.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Item>> {
        self.state.read().items.get(key).map(|row| row.0.clone())
    }
    /// The objects as they are now. `reached`: the revision that the cache had reached before this was called.
    pub(crate) fn snapshot(&self, reached: i64) -> Snapshot {
        let state = self.state.read();
        Snapshot { items: state.items.clone(), revision: state.revision.max(reached) }
    }
    /// As of exactly `revision`, if that is the present state or was retained.
    pub(crate) fn snapshot_at(&self, revision: i64, reached: i64) -> Option<Snapshot> {
        {
            let state = self.state.read();
            if state.revision <= revision && revision <= reached {
                return Some(Snapshot { items: state.items.clone(), revision });
            }
        }
        let retained = self.retained.lock();
        retained.iter().map(|(_, s)| s).find(|s| s.revision == revision).cloned()
    }
    /// Keeps a snapshot for a while.
    pub(crate) fn retain(&self, snapshot: &Snapshot) {
        let mut retained = self.retained.lock();
        retained.retain(|(since, _)| since.elapsed() < RETAINED_FOR);
        if retained.iter().any(|(_, s)| s.revision == snapshot.revision) {
            return;
        }
        if retained.len() == RETAINED_MAX {
            retained.pop_front();
        }
        retained.push_back((Instant::now(), snapshot.clone()));
    }
    /// Drops snapshots that nobody continued for long.
    pub(crate) fn release(&self) {
        self.retained.lock().retain(|(since, _)| since.elapsed() < RETAINED_FOR);
    }
    /// A snapshot of what the store had at some revision.
    pub(crate) fn snapshot_of(&self, listed: Listed) -> Snapshot {
        let items = listed.items.iter().filter_map(|s| self.item(&s.key, &s.value, s.revision, EventKind::Added));
        Snapshot { items: items.map(ByKey).collect(), revision: listed.revision }
    }

    fn item(&self, key: &str, value: &[u8], revision: i64, kind: EventKind) -> Option<Arc<Item>> {
        let short = key.get(self.prefix.len()..)?;
        match Item::new(short, value, revision, kind, &self.fields) {
            Ok(item) => Some(Arc::new(item)),
            Err(err) => {
                tracing::error!(key, revision, %err, "what is stored here is no object: it is left out");
                None
            }
        }
    }

    /// Begins anew: who watched what was here before is cut off.
    pub(super) fn fill(&self, listed: Listed) {
        let snapshot = self.snapshot_of(listed);
        self.retained.lock().clear();
        let first = {
            let mut state = self.state.write();
            // One more than the next step would have had: no watcher has come so far.
            let first = state.first + state.ring.len() as u64 + 1;
            let (items, revision) = (snapshot.items, snapshot.revision);
            *state = State { items, revision, floor: revision, first, ..State::default() };
            first
        };
        self.next.send_replace(first);
    }

    /// All of it at once for readers.
    pub(super) fn apply(&self, changes: Vec<Change>) {
        let built: Vec<(Change, Option<Arc<Item>>)> = changes
            .into_iter()
            .map(|change| {
                let item = match &change {
                    Change::Put { key, value, revision, created } => {
                        let kind = if *created { EventKind::Added } else { EventKind::Modified };
                        self.item(key, value, *revision, kind)
                    }
                    Change::Deleted { .. } => None,
                };
                (change, item)
            })
            .collect();
        let next = {
            let mut state = self.state.write();
            for (change, item) in built {
                let short = change.key().get(self.prefix.len()..).unwrap_or_default();
                state.apply(short, change.revision(), item, &self.fields);
            }
            state.first + state.ring.len() as u64
        };
        self.next.send_replace(next);
    }

    /// The changes that make this shelf what was listed.
    pub(super) fn difference(&self, listed: Listed) -> Vec<Change> {
        let have = self.state.read().items.clone();
        let listed_keys: HashSet<&str> = listed.items.iter().map(|s| s.key.as_str()).collect();
        let gone = have.iter().map(|row| format!("{}{}", self.prefix, row.0.key()));
        let gone = gone.filter(|key| !listed_keys.contains(key.as_str()));
        let mut changes: Vec<Change> = gone.map(|key| Change::Deleted { key, revision: listed.revision }).collect();
        for stored in listed.items {
            let known = have.get(stored.key.get(self.prefix.len()..).unwrap_or_default());
            if known.is_none_or(|row| row.0.revision < stored.revision) {
                let (created, revision) = (known.is_none(), stored.revision);
                changes.push(Change::Put { key: stored.key, value: stored.value, revision, created });
            }
        }
        changes.sort_by_key(Change::revision);
        changes
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }
    /// The number of the first step after `revision`.
    pub(super) fn seek(&self, revision: i64) -> Result<u64, ApiError> {
        let state = self.state.read();
        if revision < state.floor {
            return Err(too_old(revision, state.floor));
        }
        let skipped = state.ring.partition_point(|s| s.item.revision <= revision);
        Ok(state.first + skipped as u64)
    }
    /// The objects, and the number of the first step after them.
    pub(super) fn begin(&self, reached: i64) -> (Snapshot, u64) {
        let state = self.state.read();
        let snapshot = Snapshot { items: state.items.clone(), revision: state.revision.max(reached) };
        (snapshot, state.first + state.ring.len() as u64)
    }
    /// Up to `max` steps from number `from` on; `None` if some of them are gone.
    pub(super) fn steps(&self, from: u64, max: usize) -> Option<Vec<Step>> {
        let state = self.state.read();
        let skip = usize::try_from(from.checked_sub(state.first)?).ok()?.min(state.ring.len());
        Some(state.ring.range(skip..).take(max).cloned().collect())
    }
    pub(super) fn floor(&self) -> i64 {
        self.state.read().floor
    }
}

impl State {
    /// `item`: `None` for a deletion, or for what is stored but is no object.
    fn apply(&mut self, key: &str, revision: i64, item: Option<Arc<Item>>, fields: &[Field]) {
        self.revision = self.revision.max(revision);
        let step = match item {
            Some(item) => {
                let old = self.items.insert(ByKey(item.clone())).map(|row| row.0);
                Step { old, item, deleted: false }
            }
            None => {
                let Some(ByKey(old)) = self.items.remove(key) else { return };
                match old.deleted(revision, fields) {
                    Ok(last) => Step { old: Some(old), item: Arc::new(last), deleted: true },
                    Err(err) => {
                        tracing::error!(key, revision, %err, "a deleted object's last state is unreadable");
                        return;
                    }
                }
            }
        };
        self.ring_bytes += step.item.weight();
        self.ring.push_back(step);
        while self.ring.len() > RING_CHANGES_MAX || (self.ring_bytes > RING_BYTES_MAX && self.ring.len() > 1) {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.item.weight();
            self.first += 1;
            self.floor = oldest.item.revision;
        }
    }
}
