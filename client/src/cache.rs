//! What a watch keeps: the newest state of each object. One writer, many readers.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use corten_api::Key;
use parking_lot::RwLock;
use tokio::sync::watch;

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
}

#[derive(Debug)]
struct Kept<T> {
    revision: i64,
    object: Arc<T>,
}

impl<T> Cache<T> {
    pub fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.shared.objects.read().get(key).map(|kept| Arc::clone(&kept.object))
    }
    pub fn list(&self) -> Vec<Arc<T>> {
        self.shared.objects.read().values().map(|kept| Arc::clone(&kept.object)).collect()
    }
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let objects = self.shared.objects.read();
        let from = Bound::Included(Key::new(namespace, ""));
        let range = objects.range((from, Bound::Unbounded)).take_while(|(key, _)| key.namespace == namespace);
        range.map(|(_, kept)| Arc::clone(&kept.object)).collect()
    }
    pub fn entries(&self) -> Vec<(Key, Arc<T>)> {
        self.shared.objects.read().iter().map(|(key, kept)| (key.clone(), Arc::clone(&kept.object))).collect()
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
}

impl<T> Writer<T> {
    pub(crate) fn new() -> (Self, Cache<T>) {
        let shared = Arc::new(Shared { objects: RwLock::new(BTreeMap::new()), revision: watch::Sender::new(0) });
        (Self { shared: Arc::clone(&shared) }, Cache { shared })
    }
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.shared.objects.read().get(key).map(|kept| Arc::clone(&kept.object))
    }
    pub(crate) fn set(&self, key: Key, revision: i64, object: T, on_change: &mut dyn FnMut(Change<'_, T>)) {
        let new = Arc::new(object);
        let kept = Kept { revision, object: Arc::clone(&new) };
        let old = self.shared.objects.write().insert(key.clone(), kept).map(|kept| kept.object);
        on_change(Change::Set { key: &key, old: old.as_ref(), new: &new });
    }
    pub(crate) fn remove(&self, key: &Key, on_change: &mut dyn FnMut(Change<'_, T>)) {
        let old = self.shared.objects.write().remove(key);
        if let Some(old) = old {
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
    fn synced_comes_once() {
        let (writer, cache) = Writer::<()>::new();
        assert!(!cache.is_synced());
        assert!(writer.advance(7));
        assert!(!writer.advance(8));
        assert_eq!(cache.revision(), 8);
    }
}
