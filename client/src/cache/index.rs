//! Finds a cache's objects by what they have in common (their controller, say) without a look at all the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use corten_api::Key;
use parking_lot::RwLock;

use super::Reads;

/// The value by which an object is found; `None`: it has none.
pub type IndexFunc<T> = fn(&T) -> Option<&str>;

/// A read handle of an index: kept with its cache, so that who is told of a change finds it here too. Cheap to clone.
///
/// A value counts within its namespace only: who may write in one namespace must not come into another's buckets.
#[derive(Debug)]
pub struct Index<T> {
    buckets: Arc<RwLock<Buckets<T>>>,
    reads: Arc<Reads>,
}

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        Self { buckets: Arc::clone(&self.buckets), reads: Arc::clone(&self.reads) }
    }
}

impl<T> Index<T> {
    pub(super) fn new(func: IndexFunc<T>, reads: &Arc<Reads>) -> Self {
        Self { buckets: Arc::new(RwLock::new(Buckets::new(func))), reads: Arc::clone(reads) }
    }

    pub(super) fn update(&self, key: &Key, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        self.buckets.write().update(key, old, new);
    }

    /// The objects of this namespace that have this value, by name.
    pub fn with(&self, namespace: &str, value: &str) -> Vec<Arc<T>> {
        let found: Vec<_> = self.buckets.read().with(namespace, value).cloned().collect();
        self.reads.note(found.len());
        found
    }

    /// Those that have this value, and then those of the namespace that have none, as of one moment: one that goes from
    /// one to the other meanwhile is not missed.
    pub fn with_or_without(&self, namespace: &str, value: &str) -> Vec<Arc<T>> {
        let buckets = self.buckets.read();
        let found: Vec<_> = buckets.with(namespace, value).chain(buckets.without(namespace)).cloned().collect();
        drop(buckets);
        self.reads.note(found.len());
        found
    }
}

/// By name.
type Bucket<T> = BTreeMap<Box<str>, Arc<T>>;

#[derive(Debug)]
struct Buckets<T> {
    func: IndexFunc<T>,
    /// By namespace; neither a namespace nor a bucket is kept when it is empty.
    namespaces: HashMap<String, Namespace<T>>,
}

#[derive(Debug)]
struct Namespace<T> {
    with: HashMap<String, Bucket<T>>,
    without: Bucket<T>,
}

impl<T> Default for Namespace<T> {
    fn default() -> Self {
        Self { with: HashMap::new(), without: Bucket::new() }
    }
}

impl<T> Buckets<T> {
    fn new(func: IndexFunc<T>) -> Self {
        Self { func, namespaces: HashMap::new() }
    }

    fn with(&self, namespace: &str, value: &str) -> impl Iterator<Item = &Arc<T>> {
        let bucket = self.namespaces.get(namespace).and_then(|all| all.with.get(value));
        bucket.into_iter().flat_map(BTreeMap::values)
    }

    fn without(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        self.namespaces.get(namespace).into_iter().flat_map(|all| all.without.values())
    }

    fn update(&mut self, key: &Key, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        if let Some(old) = old {
            self.take_out(key, old);
        }
        let Some(new) = new else { return };
        let namespace = self.namespaces.entry(key.namespace.clone()).or_default();
        let bucket = match (self.func)(new) {
            Some(value) => namespace.with.entry(value.to_owned()).or_default(),
            None => &mut namespace.without,
        };
        bucket.insert(key.name.as_str().into(), Arc::clone(new));
    }

    fn take_out(&mut self, key: &Key, old: &T) {
        let Some(namespace) = self.namespaces.get_mut(&key.namespace) else { return };
        match (self.func)(old) {
            Some(value) => {
                let Some(bucket) = namespace.with.get_mut(value) else { return };
                bucket.remove(key.name.as_str());
                if bucket.is_empty() {
                    namespace.with.remove(value);
                }
            }
            None => drop(namespace.without.remove(key.name.as_str())),
        }
        if namespace.with.is_empty() && namespace.without.is_empty() {
            self.namespaces.remove(&key.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Object = (&'static str, Option<&'static str>);

    fn found(objects: Vec<Arc<Object>>) -> Vec<&'static str> {
        objects.iter().map(|object| object.0).collect()
    }

    #[test]
    fn objects_are_found_by_their_value_in_their_own_namespace_alone() {
        let index = Index::new(|object: &Object| object.1, &Arc::default());
        let put = |namespace: &str, old: Option<Object>, new: Option<Object>| {
            let name = old.or(new).map(|object| object.0).unwrap();
            index.update(&Key::new(namespace, name), old.map(Arc::new).as_ref(), new.map(Arc::new).as_ref());
        };
        put("a", None, Some(("two", Some("x"))));
        put("a", None, Some(("one", Some("x"))));
        put("a", None, Some(("three", Some("y"))));
        put("a", None, Some(("orphan", None)));
        put("b", None, Some(("stranger", Some("x"))));
        assert_eq!(found(index.with("a", "x")), ["one", "two"], "by name, and none of another namespace");
        assert_eq!(found(index.with_or_without("a", "x")), ["one", "two", "orphan"]);
        assert_eq!(found(index.with_or_without("b", "y")), Vec::<&str>::new());

        put("a", Some(("two", Some("x"))), Some(("two", None)));
        assert_eq!(found(index.with_or_without("a", "x")), ["one", "orphan", "two"], "it was let go");
        put("a", Some(("orphan", None)), Some(("orphan", Some("x"))));
        assert_eq!(found(index.with("a", "x")), ["one", "orphan"], "it was taken up");
        assert_eq!(found(index.with_or_without("a", "x")), ["one", "orphan", "two"]);
    }

    #[test]
    fn nothing_is_kept_of_objects_that_are_gone() {
        let mut buckets = Buckets::new(|object: &Object| object.1);
        let (owned, orphan) = (Arc::new(("owned", Some("x"))), Arc::new(("orphan", None)));
        for object in [&owned, &orphan] {
            buckets.update(&Key::new("a", object.0), None, Some(object));
        }
        for object in [&owned, &orphan] {
            buckets.update(&Key::new("a", object.0), Some(object), None);
        }
        assert!(buckets.namespaces.is_empty(), "{:?}", buckets.namespaces);
        assert_eq!(Arc::strong_count(&owned), 1);
    }
}
