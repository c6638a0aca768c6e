//! Finds a cache's objects by what they have in common (their controller, their node) without a look at all the others.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use corten_api::{Key, Scope};
use parking_lot::RwLock;

use super::follow::Follows;

/// A way to find objects. It is known by its type: whoever asks a cache for the same one shares one index, which is made
/// for the first of them.
pub trait IndexBy<T>: 'static {
    /// Where a value counts. Namespaced: within its namespace only, as who may write in one namespace must not come into
    /// another's buckets. Cluster is for values that mean the same everywhere, as a node's name.
    const SCOPE: Scope = Scope::Namespaced;

    /// The values by which the object is found. Each counts once.
    fn values(object: &T) -> Vec<Cow<'_, str>>;
}

type ValuesOf<T> = fn(&T) -> Vec<Cow<'_, str>>;

/// Kept with its cache, so that who is told of a change finds it here too.
#[derive(Debug)]
pub(super) struct Index<T> {
    buckets: RwLock<Buckets<T>>,
}

impl<T: Send + Sync + 'static> Follows<T> for Index<T> {
    fn update(&self, key: &Key, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        self.buckets.write().update(key, old, new);
    }
}

impl<T> Index<T> {
    pub(super) fn by<I: IndexBy<T>>() -> Self {
        let buckets = Buckets { scope: I::SCOPE, values: I::values, namespaces: HashMap::new() };
        Self { buckets: RwLock::new(buckets) }
    }

    pub(super) fn with(&self, namespace: &str, value: &str) -> Vec<Arc<T>> {
        self.buckets.read().with(namespace, value).cloned().collect()
    }

    pub(super) fn with_or_without(&self, namespace: &str, value: &str) -> Vec<Arc<T>> {
        let buckets = self.buckets.read();
        buckets.with(namespace, value).chain(buckets.without(namespace)).cloned().collect()
    }
}

/// By name; by namespace and name in an index of the whole cluster.
type Bucket<T> = BTreeMap<Box<str>, Arc<T>>;

#[derive(Debug)]
struct Buckets<T> {
    scope: Scope,
    values: ValuesOf<T>,
    /// By namespace, or all under "". Neither a namespace nor a bucket is kept when it is empty.
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
    fn with(&self, namespace: &str, value: &str) -> impl Iterator<Item = &Arc<T>> {
        let bucket = self.namespaces.get(namespace).and_then(|all| all.with.get(value));
        bucket.into_iter().flat_map(BTreeMap::values)
    }

    fn without(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        self.namespaces.get(namespace).into_iter().flat_map(|all| all.without.values())
    }

    /// The namespace that counts, and the name within it.
    fn place(&self, key: &Key) -> (String, Box<str>) {
        match self.scope {
            Scope::Namespaced => (key.namespace.clone(), key.name.as_str().into()),
            Scope::Cluster => (String::new(), key.to_string().into()),
        }
    }

    fn update(&mut self, key: &Key, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        let (namespace, name) = self.place(key);
        if let Some(old) = old {
            self.take_out(&namespace, &name, old);
        }
        let Some(new) = new else { return };
        let namespace = self.namespaces.entry(namespace).or_default();
        let values = (self.values)(new);
        if values.is_empty() {
            namespace.without.insert(name, Arc::clone(new));
            return;
        }
        for value in values {
            namespace.with.entry(value.into_owned()).or_default().insert(name.clone(), Arc::clone(new));
        }
    }

    fn take_out(&mut self, at: &str, name: &str, old: &T) {
        let Some(namespace) = self.namespaces.get_mut(at) else { return };
        let values = (self.values)(old);
        if values.is_empty() {
            namespace.without.remove(name);
        }
        for value in values {
            let Some(bucket) = namespace.with.get_mut(&*value) else { continue };
            bucket.remove(name);
            if bucket.is_empty() {
                namespace.with.remove(&*value);
            }
        }
        if namespace.with.is_empty() && namespace.without.is_empty() {
            self.namespaces.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Object = (&'static str, Vec<&'static str>);

    struct Here;
    impl IndexBy<Object> for Here {
        fn values(object: &Object) -> Vec<Cow<'_, str>> {
            object.1.iter().map(|&value| value.into()).collect()
        }
    }
    struct Everywhere;
    impl IndexBy<Object> for Everywhere {
        const SCOPE: Scope = Scope::Cluster;
        fn values(object: &Object) -> Vec<Cow<'_, str>> {
            Here::values(object)
        }
    }

    fn found(objects: Vec<Arc<Object>>) -> Vec<&'static str> {
        objects.iter().map(|object| object.0).collect()
    }

    fn put(index: &Index<Object>, namespace: &str, old: Option<Object>, new: Option<Object>) {
        let name = old.as_ref().or(new.as_ref()).map(|object| object.0).unwrap();
        index.update(&Key::new(namespace, name), old.map(Arc::new).as_ref(), new.map(Arc::new).as_ref());
    }

    #[test]
    fn objects_are_found_by_their_value_in_their_own_namespace_alone() {
        let index = Index::by::<Here>();
        let put = |namespace: &str, old, new| put(&index, namespace, old, new);
        put("a", None, Some(("two", vec!["x"])));
        put("a", None, Some(("one", vec!["x"])));
        put("a", None, Some(("three", vec!["y"])));
        put("a", None, Some(("orphan", vec![])));
        put("b", None, Some(("stranger", vec!["x"])));
        assert_eq!(found(index.with("a", "x")), ["one", "two"], "by name, and none of another namespace");
        assert_eq!(found(index.with_or_without("a", "x")), ["one", "two", "orphan"]);
        assert_eq!(found(index.with_or_without("b", "y")), Vec::<&str>::new());

        put("a", Some(("two", vec!["x"])), Some(("two", vec![])));
        assert_eq!(found(index.with_or_without("a", "x")), ["one", "orphan", "two"], "it was let go");
        put("a", Some(("orphan", vec![])), Some(("orphan", vec!["x"])));
        assert_eq!(found(index.with("a", "x")), ["one", "orphan"], "it was taken up");
        assert_eq!(found(index.with_or_without("a", "x")), ["one", "orphan", "two"]);
    }

    #[test]
    fn an_object_with_several_values_is_found_by_each_and_leaves_all() {
        let index = Index::by::<Here>();
        put(&index, "a", None, Some(("o", vec!["x", "y"])));
        assert_eq!((found(index.with("a", "x")), found(index.with("a", "y"))), (vec!["o"], vec!["o"]));
        put(&index, "a", Some(("o", vec!["x", "y"])), Some(("o", vec!["y", "z"])));
        assert_eq!((found(index.with("a", "x")), found(index.with("a", "z"))), (vec![], vec!["o"]));
        assert_eq!(found(index.with("a", "y")), ["o"]);
    }

    #[test]
    fn an_index_of_the_cluster_finds_the_same_name_in_every_namespace() {
        let index = Index::by::<Everywhere>();
        put(&index, "a", None, Some(("pod", vec!["node"])));
        put(&index, "b", None, Some(("pod", vec!["node"])));
        assert_eq!(found(index.with("", "node")), ["pod", "pod"]);
        put(&index, "a", Some(("pod", vec!["node"])), None);
        assert_eq!(found(index.with("", "node")), ["pod"]);
    }

    #[test]
    fn nothing_is_kept_of_objects_that_are_gone() {
        let index = Index::by::<Here>();
        let (owned, orphan) = (Arc::new(("owned", vec!["x", "y"])), Arc::new(("orphan", vec![])));
        for object in [&owned, &orphan] {
            index.update(&Key::new("a", object.0), None, Some(object));
        }
        for object in [&owned, &orphan] {
            index.update(&Key::new("a", object.0), Some(object), None);
        }
        assert!(index.buckets.read().namespaces.is_empty());
        assert_eq!(Arc::strong_count(&owned), 1);
    }
}
