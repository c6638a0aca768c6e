//! What a watch keeps: the newest state of each object. One writer, many readers.

mod index;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corten_api::Key;
use parking_lot::RwLock;
use tokio::sync::watch;

pub use index::{Index, IndexFunc};

/// A change that a cache has just taken in. `T` is the object, or what [`crate::Watch::start_reduced`] keeps of it.
#[derive(Debug)]
pub enum Change<'a, T> {
    Set {
        key: &'a Key,
        old: Option<&'a Arc<T>>,
        new: &'a Arc<T>,
    },
    Removed {
        key: &'a Key,
        old: &'a Arc<T>,
    },
    /// The state as of the start is complete. Comes once.
    Synced,
}

impl<T> Change<'_, T> {
    /// The key that changed; `None` for `Synced`.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Set { key, .. } | Self::Removed { key, .. } => Some(key),
            Self::Synced => None,
        }
    }
}

/// A read handle. Cheap to clone. Readers see every change before its callback runs.
#[derive(Debug)]
pub struct Cache<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared<T> {
    objects: RwLock<BTreeMap<Key, Kept<T>>>,
    /// 0 until synced, then how far the watch has seen.
    revision: watch::Sender<i64>,
    reads: Arc<Reads>,
}

/// How many objects readers were given. Tests go by it: what a look costs cannot be told by time.
#[derive(Debug, Default)]
struct Reads {
    objects: AtomicUsize,
}

impl Reads {
    fn note(&self, objects: usize) {
        self.objects.fetch_add(objects, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Kept<T> {
    revision: i64,
    object: Arc<T>,
}

impl<T> Cache<T> {
    pub fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.shared.reads.note(1);
        self.shared.objects.read().get(key).map(|kept| Arc::clone(&kept.object))
    }
    pub fn list(&self) -> Vec<Arc<T>> {
        self.read(self.shared.objects.read().values().map(|kept| Arc::clone(&kept.object)).collect())
    }
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let objects = self.shared.objects.read();
        let from = Bound::Included(Key::new(namespace, ""));
        let range = objects.range((from, Bound::Unbounded)).take_while(|(key, _)| key.namespace == namespace);
        self.read(range.map(|(_, kept)| Arc::clone(&kept.object)).collect())
    }
    pub fn entries(&self) -> Vec<(Key, Arc<T>)> {
        let objects = self.shared.objects.read();
        self.read(objects.iter().map(|(key, kept)| (key.clone(), Arc::clone(&kept.object))).collect())
    }
    fn read<O>(&self, objects: Vec<O>) -> Vec<O> {
        self.shared.reads.note(objects.len());
        objects
    }
    /// How many objects this cache and its index have given to readers so far.
    pub fn objects_read(&self) -> usize {
        self.shared.reads.objects.load(Ordering::Relaxed)
    }
    pub fn len(&self) -> usize {
        self.shared.objects.read().len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// How far the watch has seen; 0 before it is synced.
    pub fn revision(&self) -> i64 {
        *self.shared.revision.borrow()
    }
    pub fn is_synced(&self) -> bool {
        self.revision() > 0
    }
    /// Returns once the state is complete.
    pub async fn synced(&self) {
        self.reached(1).await;
    }
    /// Returns once the cache has seen `revision`: its holder then reads its own write.
    /// Never returns if the watch was stopped before; race it with the same token.
    pub async fn reached(&self, revision: i64) {
        let mut receiver = self.shared.revision.subscribe();
        if receiver.wait_for(|seen| *seen >= revision).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The write side: owned by the watch's task.
pub(crate) struct Writer<T> {
    shared: Arc<Shared<T>>,
    index: Option<Index<T>>,
}

impl<T> Writer<T> {
    pub(crate) fn new() -> (Self, Cache<T>) {
        let (objects, reads) = (RwLock::new(BTreeMap::new()), Arc::default());
        let shared = Arc::new(Shared { objects, revision: watch::Sender::new(0), reads });
        (Self { shared: Arc::clone(&shared), index: None }, Cache { shared })
    }
    /// As `new`, with an index of the objects by what `func` says of each.
    pub(crate) fn indexed(func: IndexFunc<T>) -> (Self, Cache<T>, Index<T>) {
        let (mut writer, cache) = Self::new();
        let index = Index::new(func, &cache.shared.reads);
        writer.index = Some(index.clone());
        (writer, cache, index)
    }
    fn note_in_index(&self, key: &Key, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        if let Some(index) = &self.index {
            index.update(key, old, new);
        }
    }
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.shared.objects.read().get(key).map(|kept| Arc::clone(&kept.object))
    }
    pub(crate) fn set(&self, key: Key, revision: i64, object: T, on_change: &mut dyn FnMut(Change<'_, T>)) {
        let new = Arc::new(object);
        let kept = Kept { revision, object: Arc::clone(&new) };
        let old = self.shared.objects.write().insert(key.clone(), kept).map(|kept| kept.object);
        self.note_in_index(&key, old.as_ref(), Some(&new));
        on_change(Change::Set { key: &key, old: old.as_ref(), new: &new });
    }
    pub(crate) fn remove(&self, key: &Key, on_change: &mut dyn FnMut(Change<'_, T>)) {
        let old = self.shared.objects.write().remove(key);
        if let Some(old) = old {
            self.note_in_index(key, Some(&old.object), None);
            on_change(Change::Removed { key, old: &old.object });
        }
    }
    /// Takes in a whole state: what is in it is set (if it changed), what is not is removed.
    pub(crate) fn replace(&self, state: BTreeMap<Key, (i64, T)>, on_change: &mut dyn FnMut(Change<'_, T>)) {
        let gone: Vec<Key> =
            self.shared.objects.read().keys().filter(|key| !state.contains_key(key)).cloned().collect();
        for key in gone {
            self.remove(&key, on_change);
        }
        for (key, (revision, object)) in state {
            let known = self.shared.objects.read().get(&key).is_some_and(|kept| kept.revision == revision);
            if !known {
                self.set(key, revision, object, on_change);
            }
        }
    }
    pub(crate) fn revision(&self) -> i64 {
        *self.shared.revision.borrow()
    }
    /// True the first time that the cache is complete.
    pub(crate) fn advance(&self, revision: i64) -> bool {
        let first = *self.shared.revision.borrow() == 0;
        self.shared.revision.send_replace(revision.max(1));
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(writer: &Writer<&'static str>, state: &[(&str, i64, &'static str)]) -> Vec<String> {
        let mut told = Vec::new();
        let state = state.iter().map(|(name, rev, value)| (Key::new("ns", *name), (*rev, *value))).collect();
        writer.replace(state, &mut |change| {
            told.push(match change {
                Change::Set { key, old, new } => format!("{} {:?}→{new}", key.name, old.map(|o| **o)),
                Change::Removed { key, .. } => format!("{} gone", key.name),
                Change::Synced => "synced".into(),
            });
        });
        told
    }

    #[test]
    fn a_new_state_tells_only_what_differs() {
        let (writer, cache) = Writer::new();
        assert_eq!(told(&writer, &[("a", 1, "x"), ("b", 2, "y")]), ["a None→x", "b None→y"]);
        assert_eq!(told(&writer, &[("b", 2, "y"), ("c", 3, "z")]), ["a gone", "c None→z"]);
        assert_eq!(told(&writer, &[("b", 4, "Y")]), ["c gone", "b Some(\"y\")→Y"]);
        assert_eq!(cache.in_namespace("ns").len(), 1);
        assert!(cache.in_namespace("n").is_empty());
    }

    #[test]
    fn an_index_follows_every_change_before_it_is_told_of() {
        let (writer, cache, index) = Writer::indexed(|value: &&str| value.strip_prefix("of-"));
        let told = |state: &[(&str, i64, &'static str)]| {
            let state = state.iter().map(|(name, rev, value)| (Key::new("ns", *name), (*rev, *value))).collect();
            let mut told = Vec::new();
            writer.replace(state, &mut |_| told.push(index.with("ns", "x").len()));
            told
        };
        assert_eq!(told(&[("a", 1, "of-x"), ("b", 2, "of-x"), ("c", 3, "free")]), [1, 2, 2]);
        assert_eq!(told(&[("a", 4, "of-y"), ("c", 3, "free")]), [1, 0], "b is gone, then a is another's");
        let read = cache.objects_read();
        assert_eq!(index.with_or_without("ns", "y").len(), 2);
        assert_eq!(cache.objects_read() - read, 2);
        assert_eq!(cache.in_namespace("ns").len(), 2);
        assert_eq!(cache.objects_read() - read, 4);
    }

    #[test]
    fn synced_comes_once() {
        let (writer, cache) = Writer::<()>::new();
        assert!(!cache.is_synced());
        assert!(writer.advance(7));
        assert!(!writer.advance(8));
        assert_eq!(cache.revision(), 8);
    }
}
