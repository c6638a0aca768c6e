//! Finds the objects of a cache that select an object by its labels. A selector is read once, when its object comes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use corten_api::Key;
use corten_api::selector::{Labels, Matcher, Selector};
use parking_lot::RwLock;

use super::follow::Follows;

/// A selector is found by the values that a label may have only if these are at most so many; else by the label's key.
const VALUES_MAX: usize = 16;

/// What the objects of a kind select by. It is known by its type, as [`super::IndexBy`] is.
pub trait SelectBy<T>: 'static {
    /// `None`: it selects nothing.
    fn selector(object: &T) -> Option<Selector>;
}

#[derive(Debug)]
pub(super) struct SelectorIndex<T> {
    selector: fn(&T) -> Option<Selector>,
    hasher: RandomState,
    /// None is kept that is empty.
    namespaces: RwLock<HashMap<String, Namespace<T>>>,
}

#[derive(Debug)]
struct Selecting<T> {
    object: Arc<T>,
    matcher: Arc<Matcher>,
    /// Where it is found.
    places: Box<[Place]>,
}

/// By which the selectors are found that may match labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// The hash of a label, or of a key.
    Label(u64),
    /// It requires no label.
    Anywhere,
}

#[derive(Debug)]
struct Namespace<T> {
    by_name: BTreeMap<Arc<str>, Selecting<T>>,
    places: HashMap<Place, BTreeSet<Arc<str>>>,
}

impl<T> Default for Namespace<T> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), places: HashMap::new() }
    }
}

impl<T: Send + Sync + 'static> Follows<T> for SelectorIndex<T> {
    fn update(&self, key: &Key, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        let matcher = new.and_then(|new| (self.selector)(new)).map(Matcher::from);
        let mut namespaces = self.namespaces.write();
        if let Some(namespace) = namespaces.get_mut(&key.namespace).filter(|_| old.is_some()) {
            namespace.take_out(&key.name);
            if namespace.by_name.is_empty() && matcher.is_none() {
                namespaces.remove(&key.namespace);
            }
        }
        let (Some(object), Some(matcher)) = (new, matcher) else { return };
        let namespace = namespaces.entry(key.namespace.clone()).or_default();
        let places = namespace.places(&self.hasher, &matcher);
        let object = Arc::clone(object);
        namespace.put(key.name.as_str().into(), Selecting { object, matcher: Arc::new(matcher), places });
    }
}

impl<T> SelectorIndex<T> {
    pub(super) fn by<I: SelectBy<T>>() -> Self {
        Self { selector: I::selector, hasher: RandomState::new(), namespaces: RwLock::default() }
    }

    pub(super) fn selecting(&self, namespace: &str, labels: &Labels) -> Vec<Arc<T>> {
        let namespaces = self.namespaces.read();
        let Some(namespace) = namespaces.get(namespace) else { return Vec::new() };
        let candidates = namespace.candidates(&self.hasher, labels).into_iter();
        let found = candidates.filter_map(|name| namespace.by_name.get(name)).filter(|s| s.matcher.matches(labels));
        found.map(|selecting| Arc::clone(&selecting.object)).collect()
    }

    pub(super) fn matcher(&self, key: &Key) -> Option<Arc<Matcher>> {
        let namespaces = self.namespaces.read();
        Some(Arc::clone(&namespaces.get(&key.namespace)?.by_name.get(key.name.as_str())?.matcher))
    }
}

impl<T> Namespace<T> {
    /// By the required label by which the fewest others are found.
    fn places(&self, hasher: &RandomState, matcher: &Matcher) -> Box<[Place]> {
        let crowd = |place: &Place| self.places.get(place).map_or(0, BTreeSet::len);
        let ways = matcher.needs().map(|(key, values)| -> Box<[Place]> {
            match values.filter(|values| values.iter().len() <= VALUES_MAX) {
                Some(values) => values.iter().map(|value| of_label(hasher, key, value)).collect(),
                None => [of_key(hasher, key)].into(),
            }
        });
        let rarest = ways.min_by_key(|places| (places.iter().map(crowd).sum::<usize>(), places.len()));
        rarest.unwrap_or_else(|| [Place::Anywhere].into())
    }

    fn candidates(&self, hasher: &RandomState, labels: &Labels) -> BTreeSet<&Arc<str>> {
        let places = labels.iter().flat_map(|(key, value)| [of_key(hasher, key), of_label(hasher, key, value)]);
        places.chain([Place::Anywhere]).filter_map(|place| self.places.get(&place)).flatten().collect()
    }

    fn put(&mut self, name: Arc<str>, selecting: Selecting<T>) {
        for place in &selecting.places {
            self.places.entry(*place).or_default().insert(Arc::clone(&name));
        }
        self.by_name.insert(name, selecting);
    }

    fn take_out(&mut self, name: &str) {
        let Some(gone) = self.by_name.remove(name) else { return };
        for place in gone.places {
            let Some(names) = self.places.get_mut(&place) else { continue };
            names.remove(name);
            if names.is_empty() {
                self.places.remove(&place);
            }
        }
    }
}

fn of_key(hasher: &RandomState, key: &str) -> Place {
    Place::Label(hasher.hash_one(key))
}

fn of_label(hasher: &RandomState, key: &str, value: &str) -> Place {
    Place::Label(hasher.hash_one((key, value)))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static READ: Cell<usize> = const { Cell::new(0) };
    }

    /// A name, and a selector in its query form.
    type Object = (&'static str, &'static str);

    struct Reads;
    impl SelectBy<Object> for Reads {
        fn selector(object: &Object) -> Option<Selector> {
            READ.set(READ.get() + 1);
            (object.1 != "nothing").then(|| Selector::parse(object.1).unwrap())
        }
    }

    fn put(index: &SelectorIndex<Object>, old: Option<Object>, new: Option<Object>) {
        let name = old.or(new).map(|object| object.0).unwrap();
        index.update(&Key::new("ns", name), old.map(Arc::new).as_ref(), new.map(Arc::new).as_ref());
    }

    fn labels(text: &str) -> Labels {
        text.split(',').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn found(index: &SelectorIndex<Object>, namespace: &str, on: &str) -> String {
        let found = index.selecting(namespace, &labels(on));
        found.iter().map(|object| object.0).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_selects_an_object_is_found_and_each_selector_is_read_once() {
        let index = SelectorIndex::by::<Reads>();
        let all = [
            ("both", "app=web,tier=front"),
            ("all", ""),
            ("none", "nothing"),
            ("not", "!app"),
            ("set", "app in (web,db)"),
            ("has", "tier"),
            ("long", "n in (1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17)"),
            ("never", "app=web,app=db"),
        ];
        for object in all {
            put(&index, None, Some(object));
        }
        let cases = [
            ("app=web,tier=front", "all both has set"),
            ("app=web", "all set"),
            ("app=db,tier=back", "all has set"),
            ("app=other", "all"),
            ("n=17", "all long not"),
            ("n=18", "all not"),
            ("", "all not"),
        ];
        for (on, expected) in cases {
            assert_eq!(found(&index, "ns", on), expected, "{on}");
            assert_eq!(found(&index, "elsewhere", on), "", "{on}");
        }
        assert!(index.matcher(&Key::new("ns", "none")).is_none());
        assert!(index.matcher(&Key::new("ns", "both")).unwrap().matches(&labels("app=web,tier=front,more=")));
        assert_eq!(READ.get(), all.len(), "whatever was asked");

        put(&index, Some(all[0]), Some(("both", "app=other")));
        assert_eq!(found(&index, "ns", "app=other"), "all both");
        assert_eq!(found(&index, "ns", "app=web,tier=front"), "all has set");
        put(&index, Some(("both", "app=other")), Some(("both", "nothing")));
        assert_eq!(found(&index, "ns", "app=other"), "all");
        for object in all {
            put(&index, Some(object), None);
        }
        assert!(index.namespaces.read().is_empty());
    }

    #[test]
    fn selectors_that_have_a_label_in_common_are_found_by_what_tells_them_apart() {
        let index = SelectorIndex::by::<Reads>();
        for (name, n) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")] {
            let selector: &'static str = format!("app=web,n={n}").leak();
            put(&index, None, Some((name, selector)));
        }
        let namespaces = index.namespaces.read();
        let candidates = namespaces["ns"].candidates(&index.hasher, &labels("app=web,n=3"));
        assert!(candidates.len() <= 2, "{candidates:?}");
    }
}
