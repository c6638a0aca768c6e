//! One kind's objects, as an ordered set that is cheap to copy, the ring of their recent changes, and who watches them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use imbl::OrdSet;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::graph::{Graph, References, Referring};
use super::interest::{Interest, Topics, Wakes};
use super::ring::{Ring, Step};
use super::snapshot::{Index, Snapshot};
use super::{ByKey, Closed, Filter, Item, ROOT, Unreadable, too_old};
use crate::registry::pod::references::Source;
use crate::registry::{ApiResource, SelectableField};
use crate::resources::EventKind;
use crate::storage::{Change, Listed};
use corten_api::ApiError;

/// Snapshots kept for the pages that follow a first one. The store itself serves older ones.
const RETAINED_MAX: usize = 8;
const RETAINED_FOR: Duration = Duration::from_secs(60);
/// Objects that are read between two times that others may run.
const READ_AT_ONCE: usize = 64;

#[derive(Debug)]
pub(crate) struct KindCache {
    prefix: String,
    fields: Vec<SelectableField>,
    /// The kind as it is stored, if it was stored by servers before this one.
    stored: Option<Arc<ApiResource>>,
    /// The versions of a custom kind, as they are served from here.
    versions: ArcSwap<Vec<Arc<ApiResource>>>,
    /// Whether its references are kept, and by what.
    referring: Option<Referring>,
    state: RwLock<State>,
    retained: Mutex<VecDeque<(Instant, Snapshot)>>,
    unreadable: Arc<Unreadable>,
}

#[derive(Debug, Default)]
struct State {
    items: OrdSet<ByKey>,
    index: Option<Index>,
    /// Only for kinds whose references are kept.
    graph: Option<Graph>,
    /// Of the last change.
    revision: i64,
    /// It is followed no more, and stays as it was for who reads it just now.
    closed: bool,
    ring: Ring,
    topics: Topics,
}

/// A watcher's place in the changes. Dropped, it costs nothing any more.
#[derive(Debug)]
pub(super) struct Subscription {
    kind: Arc<KindCache>,
    interest: Interest,
    changed: watch::Receiver<u64>,
    /// The number of the next step to read.
    next: u64,
}

impl KindCache {
    /// Of what stands under `prefix` (without [`ROOT`]); `fields` can be selected by. Empty until it is filled.
    pub(super) fn new(
        prefix: &str,
        fields: Vec<SelectableField>,
        stored: Option<Arc<ApiResource>>,
        unreadable: &Arc<Unreadable>,
    ) -> Self {
        let index = Index::of(&fields);
        let referring = match prefix {
            "pods" => index.as_ref().map(|index| Referring::Pods { node: index.field() }),
            "persistentvolumes" => Some(Referring::Volumes),
            _ => None,
        };
        let graph = referring.map(|_| Graph::default());
        Self {
            prefix: format!("{ROOT}{prefix}/"),
            fields,
            stored,
            versions: ArcSwap::default(),
            referring,
            state: RwLock::new(State { index, graph, ..State::default() }),
            retained: Mutex::default(),
            unreadable: unreadable.clone(),
        }
    }
    /// Says which versions of a custom kind are served from here: all that is in it is read as these want it.
    pub(super) fn define(&self, versions: Vec<Arc<ApiResource>>) {
        self.versions.store(Arc::new(versions));
    }
    /// The kind as it is served from here: a custom kind may have been defined otherwise since the resource was found, and what is
    /// here may not fit it. `None`: not in this version any more.
    pub(crate) fn as_served(&self, resource: Arc<ApiResource>) -> Option<Arc<ApiResource>> {
        if !resource.is_custom() {
            return Some(resource);
        }
        self.versions.load().iter().find(|version| version.version() == resource.version()).cloned()
    }
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }
    /// The prefix without [`ROOT`] and the slash at its end: `pods`, `services/specs`.
    pub(crate) fn store_prefix(&self) -> &str {
        self.prefix.get(ROOT.len()..).and_then(|prefix| prefix.strip_suffix('/')).unwrap_or_default()
    }
    /// A key of the store without the prefix: `namespace/name`.
    pub(super) fn short_key<'k>(&self, key: &'k str) -> &'k str {
        key.get(self.prefix.len()..).unwrap_or_default()
    }
    pub(crate) fn fields(&self) -> &[SelectableField] {
        &self.fields
    }
    /// `key` without the prefix: `namespace/name`. For who has just been given this cache; who has waited since asks for
    /// [`current`](Self::current).
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Item>> {
        self.state.read().items.get(key).map(|row| row.0.clone())
    }
    /// As [`get`](Self::get), of a cache that may have given way to another since it was found: what is not in it may be in that.
    pub(crate) fn current(&self, key: &str) -> Result<Option<Arc<Item>>, Closed> {
        Ok(self.state.read().open()?.items.get(key).map(|row| row.0.clone()))
    }
    /// The objects as they are now. `reached`: the revision that the cache had reached before this was called.
    pub(crate) fn snapshot(&self, reached: i64) -> Snapshot {
        self.state.read().snapshot(reached)
    }
    /// As [`snapshot`](Self::snapshot), of a cache that may have given way to another since it was found.
    pub(crate) fn current_snapshot(&self, reached: i64) -> Result<Snapshot, Closed> {
        Ok(self.state.read().open()?.snapshot(reached))
    }
    /// Whether a pod on this node, or the volume of this claim (`namespace/name`), refers to `name` in `namespace`, as the cache
    /// has it now.
    pub(crate) fn refers(&self, owner: &str, source: Source, namespace: &str, name: &str) -> bool {
        self.state.read().graph.as_ref().is_some_and(|graph| graph.refers(owner, source, namespace, name))
    }
    /// All of a kind that they refer to, by `namespace/name`.
    pub(crate) fn referred(&self, owner: &str, source: Source) -> Vec<Arc<str>> {
        self.state.read().graph.as_ref().map_or_else(Vec::new, |graph| graph.referred(owner, source))
    }
    /// As of exactly `revision`, if that is the present state or was retained.
    pub(crate) fn snapshot_at(&self, revision: i64, reached: i64) -> Option<Snapshot> {
        {
            let state = self.state.read();
            if !state.closed && state.revision <= revision && revision <= reached {
                return Some(Snapshot { revision, ..state.snapshot(revision) });
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
    /// Drops snapshots that nobody continued for long, and changes that need not be kept any more.
    pub(crate) fn release(&self) {
        self.retained.lock().retain(|(since, _)| since.elapsed() < RETAINED_FOR);
        self.state.write().expire();
    }
    /// A snapshot of what the store had at some revision.
    pub(crate) fn snapshot_of(&self, listed: Listed) -> Snapshot {
        let items = listed.items.iter().filter_map(|s| self.item(&s.key, &s.value, s.revision, EventKind::Added));
        Snapshot { items: items.map(ByKey).collect(), revision: listed.revision, index: None }
    }

    fn item(&self, key: &str, value: &[u8], revision: i64, kind: EventKind) -> Option<Arc<Item>> {
        let short = key.get(self.prefix.len()..)?;
        match self.read(short, value, revision, kind) {
            Ok(item) => Some(Arc::new(item)),
            Err(err) => {
                self.unreadable.value(key, revision, &err);
                None
            }
        }
    }
    /// From what is stored under `short` (`namespace/name`), however long ago it was written: who watches a Deployment must not
    /// take the zeros that an older server kept of it for another template.
    pub(crate) fn read(
        &self,
        short: &str,
        value: &[u8],
        revision: i64,
        kind: EventKind,
    ) -> Result<Item, serde_json::Error> {
        let mended = self.stored.as_ref().and_then(|resource| resource.mended(value));
        Item::new(short, mended.as_deref().unwrap_or(value), revision, kind, &self.fields)
    }

    /// What an object refers to, for the graph; nothing where there is none.
    fn references(&self, item: &Item) -> References {
        let found = self.referring.map(|referring| referring.references_of(item)).transpose();
        let found = found.inspect_err(|err| self.unreadable.value(item.key(), item.revision, err));
        found.ok().flatten().unwrap_or_default()
    }

    /// Follows nothing any more: the kind is served no more, or by another cache. Who watches is cut off. What it has stays until
    /// nobody reads it: one that were emptied would tell a request that found it before that there are no objects.
    pub(super) fn close(&self) {
        self.retained.lock().clear();
        let mut wakes = Wakes::new();
        let first = {
            let mut state = self.state.write();
            state.closed = true;
            let first = state.ring.next() + 1;
            state.topics.reset(first, &mut wakes);
            state.ring = Ring::new(first, state.revision);
            first
        };
        tell(&wakes, first);
    }

    /// As [`fill`](Self::fill), of a cache that nobody reads yet: others run in between, however many objects there are.
    pub(super) async fn fill_beside(&self, listed: Listed) {
        let mut items = OrdSet::new();
        for part in listed.items.chunks(READ_AT_ONCE) {
            let read = part.iter().filter_map(|s| self.item(&s.key, &s.value, s.revision, EventKind::Added));
            read.for_each(|item| drop(items.insert(ByKey(item))));
            tokio::task::yield_now().await;
        }
        self.hold(Snapshot { items, revision: listed.revision, index: None });
    }
    /// Begins anew: who watched what was here before is cut off.
    pub(super) fn fill(&self, listed: Listed) {
        self.hold(self.snapshot_of(listed));
    }
    fn hold(&self, all: Snapshot) {
        let Snapshot { items, revision, .. } = all;
        let mut index = Index::of(&self.fields);
        if let Some(index) = &mut index {
            items.iter().for_each(|row| index.insert(&row.0));
        }
        let graph = self.referring.map(|_| {
            let mut graph = Graph::default();
            items.iter().for_each(|row| graph.put(row.0.key(), self.references(&row.0)));
            graph
        });
        self.retained.lock().clear();
        let mut wakes = Wakes::new();
        let first = {
            let mut state = self.state.write();
            // One more than the next step would have had: no watcher has come so far.
            let first = state.ring.next() + 1;
            let mut topics = std::mem::take(&mut state.topics);
            topics.reset(first, &mut wakes);
            *state = State { items, index, graph, revision, closed: false, ring: Ring::new(first, revision), topics };
            first
        };
        tell(&wakes, first);
    }

    /// All of it at once for readers.
    pub(super) fn apply(&self, changes: Vec<Change>) {
        let built: Vec<_> = changes
            .into_iter()
            .map(|change| {
                let item = match &change {
                    Change::Put { key, value, revision, created } => {
                        let kind = if *created { EventKind::Added } else { EventKind::Modified };
                        self.item(key, value, *revision, kind).map(|item| (item.clone(), self.references(&item)))
                    }
                    Change::Deleted { .. } => None,
                };
                (change, item)
            })
            .collect();
        let mut wakes = Wakes::new();
        let next = {
            let mut state = self.state.write();
            state.topics.begin_batch();
            for (change, item) in built {
                state.apply(self.short_key(change.key()), change.revision(), item, &self.fields, &mut wakes);
            }
            state.expire();
            state.ring.next()
        };
        tell(&wakes, next);
    }

    /// The changes that make this cache what was listed.
    pub(super) fn difference(&self, listed: Listed) -> Vec<Change> {
        let have = self.state.read().items.clone();
        let listed_keys: HashSet<&str> = listed.items.iter().map(|s| s.key.as_str()).collect();
        let gone = have.iter().map(|row| format!("{}{}", self.prefix, row.0.key()));
        let gone = gone.filter(|key| !listed_keys.contains(key.as_str()));
        let mut changes: Vec<Change> = gone.map(|key| Change::Deleted { key, revision: listed.revision }).collect();
        for stored in listed.items {
            let known = have.get(self.short_key(&stored.key)).map(|row| &row.0);
            if known.is_some_and(|known| known.revision >= stored.revision) {
                continue;
            }
            // Deleted and made again in the gap: another object. Its deletion was before its first revision.
            let replaced = known.is_some_and(|known| uid(&known.object()) != uid(&stored.value));
            if replaced {
                changes.push(Change::Deleted { key: stored.key.clone(), revision: stored.revision - 1 });
            }
            let (created, revision) = (replaced || known.is_none(), stored.revision);
            changes.push(Change::Put { key: stored.key, value: stored.value, revision, created });
        }
        changes.sort_by_key(Change::revision);
        changes
    }

    #[cfg(test)]
    pub(super) fn graph_is_empty(&self) -> bool {
        self.state.read().graph.as_ref().is_some_and(Graph::is_empty)
    }
    #[cfg(test)]
    pub(super) fn is_unwatched(&self) -> bool {
        self.state.read().topics.is_empty()
    }
    fn subscription(self: &Arc<Self>, state: &mut State, interest: Interest, next: u64) -> Subscription {
        let State { topics, ring, .. } = state;
        let changed = topics.join(&interest, next, ring);
        Subscription { kind: self.clone(), interest, changed, next }
    }
    /// To the changes after `revision` that `filter` may want; refused within if they are not all kept.
    pub(super) fn subscribe_after(
        self: &Arc<Self>,
        revision: i64,
        filter: &Filter,
    ) -> Result<Result<Subscription, ApiError>, Closed> {
        let mut state = self.state.write();
        state.open()?;
        let Some(next) = state.ring.seek(revision) else { return Ok(Err(too_old(revision, state.ring.floor()))) };
        let interest = filter.interest(state.index.as_ref().map(Index::field));
        Ok(Ok(self.subscription(&mut state, interest, next)))
    }
    /// The objects, and a subscription to the changes after them.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        reached: i64,
        filter: &Filter,
    ) -> Result<(Snapshot, Subscription), Closed> {
        let mut state = self.state.write();
        let (snapshot, next) = (state.open()?.snapshot(reached), state.ring.next());
        let interest = filter.interest(state.index.as_ref().map(Index::field));
        Ok((snapshot, self.subscription(&mut state, interest, next)))
    }
}

impl Subscription {
    /// Returns when there may be steps to read that came after the last [`read`](Self::read).
    pub(super) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // The topic lives as long as this subscription to it.
            std::future::pending::<()>().await;
        }
    }
    /// Up to `max` steps, and whether there may be more now. Fails once some of them are gone; `seen`: how far the
    /// watcher has come.
    pub(super) fn read(&mut self, max: usize, seen: i64) -> Result<(Vec<Step>, bool), ApiError> {
        self.changed.borrow_and_update();
        let state = self.kind.state.read();
        let read = state.topics.read(&self.interest, self.next, max, &state.ring);
        let (steps, next) = read.ok_or_else(|| too_old(seen, state.ring.floor()))?;
        self.next = next;
        Ok((steps, next < state.ring.next()))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.kind.state.write().topics.leave(&self.interest);
    }
}

impl State {
    fn open(&self) -> Result<&Self, Closed> {
        if self.closed { Err(Closed) } else { Ok(self) }
    }
    fn snapshot(&self, reached: i64) -> Snapshot {
        Snapshot { items: self.items.clone(), revision: self.revision.max(reached), index: self.index.clone() }
    }
    /// `item`: `None` for a deletion, or for what is stored but is no object.
    fn apply(
        &mut self,
        key: &str,
        revision: i64,
        item: Option<(Arc<Item>, References)>,
        fields: &[SelectableField],
        wakes: &mut Wakes,
    ) {
        self.revision = self.revision.max(revision);
        let step = match item {
            Some((item, references)) => {
                if let Some(graph) = &mut self.graph {
                    graph.put(key, references);
                }
                let old = self.items.insert(ByKey(item.clone())).map(|row| row.0);
                Step { old, item, deleted: false }
            }
            None => {
                let Some(ByKey(old)) = self.items.remove(key) else { return };
                if let Some(graph) = &mut self.graph {
                    graph.remove(key);
                }
                let last = old.deleted(revision, fields);
                if let Some(index) = &mut self.index {
                    index.remove(&old);
                }
                match last {
                    Ok(last) => Step { old: Some(old), item: Arc::new(last), deleted: true },
                    Err(err) => {
                        tracing::error!(key, revision, %err, "a deleted object's last state is unreadable");
                        return;
                    }
                }
            }
        };
        if let (Some(index), false) = (&mut self.index, step.deleted) {
            if let Some(old) = &step.old {
                index.remove(old);
            }
            index.insert(&step.item);
        }
        let number = self.ring.next();
        self.topics.record(number, &step, wakes);
        self.ring.push(step, Instant::now());
    }
    /// Takes out of the ring what need not be kept any more.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((number, step)) = self.ring.expire(now) {
            self.topics.expire(number, &step);
        }
    }
}

/// Wakes the watchers of topics. Not under the cache's lock, as who wakes up takes it.
fn tell(wakes: &Wakes, next: u64) {
    for topic in wakes {
        topic.send_replace(next);
    }
}

/// Which of the objects that a name has had this is.
fn uid(object: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Meta {
        uid: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Named {
        metadata: Meta,
    }
    serde_json::from_slice::<Named>(object).ok()?.metadata.uid
}
