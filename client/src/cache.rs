//! What a watch keeps: the newest state of each object. One writer, many readers.

mod follow;
mod index;
mod labels;
mod selectors;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corten_api::selector::{Labels, Matcher};
use corten_api::{Key, Scope};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use follow::{Followers, Follows};
use index::Index;
pub use index::IndexBy;
use labels::{Found, LabelIndex, Which};
pub use labels::{LabelSets, Labelled, SharedLabels};
pub use selectors::SelectBy;
use selectors::SelectorIndex;

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

/// Of which nobody writes: it stays empty, and is never complete. For tests of who reads one.
impl<T> Default for Cache<T> {
    fn default() -> Self {
        Writer::new().1
    }
}

#[cfg(feature = "test-support")]
impl<T> Cache<T> {
    /// Which is complete, and never changes. For tests of who reads one.
    pub fn holding(objects: impl IntoIterator<Item = (Key, T)>) -> Self {
        let (writer, cache) = Writer::new();
        writer.replace(objects.into_iter().map(|(key, object)| (key, (1, object))).collect(), &mut |_| {});
        writer.advance(1);
        cache
    }
}

#[derive(Debug)]
struct Shared<T> {
    /// Locked before `indexes`: a change is in both, or in none, for who begins an index.
    objects: RwLock<BTreeMap<Key, Kept<T>>>,
    indexes: Followers<T>,
    /// 0 until synced, then how far the watch has seen.
    revision: watch::Sender<i64>,
    /// The highest revision that somebody waits for and cannot wait until something happens to tell.
    wanted: watch::Sender<i64>,
    /// Nobody writes any more.
    stopped: CancellationToken,
    reads: Reads,
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
    pub fn keys(&self) -> Vec<Key> {
        self.shared.objects.read().keys().cloned().collect()
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
    /// How many objects this cache and its indexes have given to readers so far.
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
        if !self.reached_or_stopped(revision).await {
            std::future::pending::<()>().await;
        }
    }
    /// As [`Self::reached`], for a revision that is there already: the watch asks to be told when it has seen it, however
    /// little happens to its kind. Of a kind that is not served it is asked anew whether it is.
    pub async fn catch_up(&self, revision: i64) {
        self.shared.wanted.send_if_modified(|wanted| {
            let is_higher = revision > *wanted;
            *wanted = revision.max(*wanted);
            is_higher
        });
        self.reached(revision).await;
    }
    /// As [`Self::reached`], but returns false if the watch was stopped before.
    pub async fn reached_or_stopped(&self, revision: i64) -> bool {
        let mut receiver = self.shared.revision.subscribe();
        tokio::select! {
            biased;
            // Never closed: we hold it ourselves.
            seen = receiver.wait_for(|seen| *seen >= revision) => seen.is_ok(),
            () = self.shared.stopped.cancelled() => false,
        }
    }
}

impl<T: Send + Sync + 'static> Cache<T> {
    /// The objects of this namespace that have this value in the index, by name.
    pub fn with<I: IndexBy<T>>(&self, namespace: &str, value: &str) -> Vec<Arc<T>> {
        const { assert!(matches!(I::SCOPE, Scope::Namespaced), "this index is of the whole cluster: use `everywhere`") };
        self.read(self.index::<I>().with(namespace, value))
    }
    /// Those that have this value, and then those of the namespace that have none, as of one moment: one that goes from
    /// one to the other meanwhile is not missed.
    pub fn with_or_without<I: IndexBy<T>>(&self, namespace: &str, value: &str) -> Vec<Arc<T>> {
        const { assert!(matches!(I::SCOPE, Scope::Namespaced), "this index is of the whole cluster: use `everywhere`") };
        self.read(self.index::<I>().with_or_without(namespace, value))
    }
    /// The objects of the cluster that have this value, by namespace and name.
    pub fn everywhere<I: IndexBy<T>>(&self, value: &str) -> Vec<Arc<T>> {
        const { assert!(matches!(I::SCOPE, Scope::Cluster), "this index is of namespaces: use `with`") };
        self.read(self.index::<I>().with("", value))
    }
    fn index<I: IndexBy<T>>(&self) -> Arc<Index<T>> {
        self.follower(TypeId::of::<I>(), Index::by::<I>)
    }
    /// The objects of this namespace that select an object with these labels, by name. `I` tells what each selects by.
    /// Costs as many as have a required label in common with these, and those that require none.
    pub fn selecting<I: SelectBy<T>>(&self, namespace: &str, labels: &Labels) -> Vec<Arc<T>> {
        self.read(self.selectors::<I>().selecting(namespace, labels))
    }
    /// What this object selects by, made when it came; `None`: it is not here, or selects nothing.
    pub fn matcher<I: SelectBy<T>>(&self, key: &Key) -> Option<Arc<Matcher>> {
        self.selectors::<I>().matcher(key)
    }
    fn selectors<I: SelectBy<T>>(&self) -> Arc<SelectorIndex<T>> {
        self.follower(TypeId::of::<I>(), SelectorIndex::by::<I>)
    }
    /// The first call for an index costs a look at all objects.
    fn follower<F: Follows<T> + 'static>(&self, id: TypeId, make: impl FnOnce() -> F) -> Arc<F> {
        if let Some(known) = self.shared.indexes.get(id) {
            return known;
        }
        let objects = self.shared.objects.read();
        self.shared.indexes.get_or_begin(id, || {
            let index = make();
            for (key, kept) in &*objects {
                index.update(key, None, Some(&kept.object));
            }
            index
        })
    }
}

impl<T: Labelled> Cache<T> {
    /// The objects of this namespace that `matcher` matches, by name. Costs as many as there are different sets of labels
    /// with the rarest label that it requires, and what it returns.
    pub fn selected(&self, namespace: &str, matcher: &Matcher) -> Vec<Arc<T>> {
        self.found(self.labels().selected(namespace, matcher, Which::All))
    }
    /// Those that have this value, and those that `matcher` matches and nobody controls, as of one moment: one that goes
    /// from one to the other meanwhile is not missed.
    pub fn with_or_selected_orphans<I: IndexBy<T>>(
        &self,
        namespace: &str,
        value: &str,
        matcher: &Matcher,
    ) -> Vec<Arc<T>> {
        const { assert!(matches!(I::SCOPE, Scope::Namespaced), "this index is of the whole cluster: use `everywhere`") };
        let (index, labels) = (self.index::<I>(), self.labels());
        // Nothing changes while this is held.
        let _objects = self.shared.objects.read();
        let mut with = self.read(index.with(namespace, value));
        with.extend(self.found(labels.selected(namespace, matcher, Which::Orphans)));
        with
    }
    fn labels(&self) -> Arc<LabelIndex<T>> {
        self.follower(TypeId::of::<LabelIndex<T>>(), LabelIndex::new)
    }
    fn found(&self, found: Found<T>) -> Vec<Arc<T>> {
        self.shared.reads.note(found.objects.len() + found.others);
        found.objects
    }
}

/// The write side: owned by the watch's task.
pub(crate) struct Writer<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Writer<T> {
    pub(crate) fn new() -> (Self, Cache<T>) {
        let (objects, indexes) = (RwLock::new(BTreeMap::new()), Followers::default());
        let (revision, wanted, reads) = (watch::Sender::new(0), watch::Sender::new(0), Reads::default());
        let shared = Arc::new(Shared { objects, indexes, revision, wanted, stopped: CancellationToken::new(), reads });
        (Self { shared: Arc::clone(&shared) }, Cache { shared })
    }
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.shared.objects.read().get(key).map(|kept| Arc::clone(&kept.object))
    }
    pub(crate) fn set(&self, key: Key, revision: i64, object: T, on_change: &mut dyn FnMut(Change<'_, T>)) {
        let new = Arc::new(object);
        let kept = Kept { revision, object: Arc::clone(&new) };
        let old = {
            let mut objects = self.shared.objects.write();
            let old = objects.insert(key.clone(), kept).map(|kept| kept.object);
            self.shared.indexes.update(&key, old.as_ref(), Some(&new));
            old
        };
        on_change(Change::Set { key: &key, old: old.as_ref(), new: &new });
    }
    pub(crate) fn remove(&self, key: &Key, on_change: &mut dyn FnMut(Change<'_, T>)) {
        let old = {
            let mut objects = self.shared.objects.write();
            let old = objects.remove(key);
            self.shared.indexes.update(key, old.as_ref().map(|kept| &kept.object), None);
            old
        };
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
    pub(crate) fn revision(&self) -> i64 {
        *self.shared.revision.borrow()
    }
    /// The highest revision that somebody asked to be told of.
    pub(crate) fn wanted(&self) -> i64 {
        *self.shared.wanted.borrow()
    }
    /// Returns once somebody wants to be told of a higher revision than this. Cancel-safe.
    pub(crate) async fn wanted_above(&self, revision: i64) {
        let mut wanted = self.shared.wanted.subscribe();
        // Never closed: we hold it ourselves.
        drop(wanted.wait_for(|wanted| *wanted > revision).await);
    }
    /// True the first time that the cache is complete.
    pub(crate) fn advance(&self, revision: i64) -> bool {
        let first = *self.shared.revision.borrow() == 0;
        self.shared.revision.send_replace(revision.max(1));
        first
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.shared.stopped.cancel();
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

    /// What comes after `of-`.
    struct Owner;
    impl IndexBy<&'static str> for Owner {
        fn values<'a>(object: &'a &'static str) -> Vec<std::borrow::Cow<'a, str>> {
            object.strip_prefix("of-").map(Into::into).into_iter().collect()
        }
    }

    #[test]
    fn an_index_that_is_asked_for_late_has_what_was_there_before() {
        let (writer, cache) = Writer::new();
        told(&writer, &[("a", 1, "of-x"), ("b", 2, "of-y")]);
        assert_eq!(cache.with::<Owner>("ns", "x").len(), 1);
        told(&writer, &[("a", 1, "of-x"), ("b", 3, "of-x")]);
        assert_eq!(cache.with::<Owner>("ns", "x").len(), 2);
    }

    #[test]
    fn an_index_follows_every_change_before_it_is_told_of() {
        let (writer, cache) = Writer::new();
        let told = |state: &[(&str, i64, &'static str)]| {
            let state = state.iter().map(|(name, rev, value)| (Key::new("ns", *name), (*rev, *value))).collect();
            let mut told = Vec::new();
            writer.replace(state, &mut |_| told.push(cache.with::<Owner>("ns", "x").len()));
            told
        };
        assert_eq!(told(&[("a", 1, "of-x"), ("b", 2, "of-x"), ("c", 3, "free")]), [1, 2, 2]);
        assert_eq!(told(&[("a", 4, "of-y"), ("c", 3, "free")]), [1, 0], "b is gone, then a is another's");
        let read = cache.objects_read();
        assert_eq!(cache.with_or_without::<Owner>("ns", "y").len(), 2);
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

    #[tokio::test]
    async fn who_waits_is_told_that_nobody_writes_any_more() {
        let (writer, cache) = Writer::<()>::new();
        writer.advance(7);
        let waits = tokio::spawn({
            let cache = cache.clone();
            async move { cache.reached_or_stopped(8).await }
        });
        tokio::task::yield_now().await;
        drop(writer);
        assert!(!waits.await.unwrap());
        assert!(cache.reached_or_stopped(7).await, "what was seen before");
    }
}
