//! Finds a cache's objects by their labels. Objects with the same labels share them, and are looked at once together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use corten_api::Key;
use corten_api::selector::{Labels, Matcher};
use parking_lot::RwLock;

use super::follow::Follows;

/// The labels of an object, shared with others that have the same ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SharedLabels(Arc<Labels>);

impl SharedLabels {
    fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl Deref for SharedLabels {
    type Target = Labels;
    fn deref(&self) -> &Labels {
        &self.0
    }
}

/// Who changes them has labels of his own from then on.
impl DerefMut for SharedLabels {
    fn deref_mut(&mut self) -> &mut Labels {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Labels> for SharedLabels {
    fn from(labels: Labels) -> Self {
        Self(Arc::new(labels))
    }
}

impl<const N: usize> From<[(String, String); N]> for SharedLabels {
    fn from(labels: [(String, String); N]) -> Self {
        Labels::from(labels).into()
    }
}

impl FromIterator<(String, String)> for SharedLabels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        labels.into_iter().collect::<Labels>().into()
    }
}

/// Of fewer sets than this, those that nobody uses are not looked for.
const SWEEP_MIN: usize = 1024;

/// The sets of labels that are in use: of equal ones there is one. Those that are not used any more are forgotten when
/// there are twice as many as after the last look for them.
#[derive(Debug, Default)]
pub struct LabelSets {
    all: HashSet<SharedLabels>,
    sweep_at: usize,
}

impl LabelSets {
    pub fn share(&mut self, labels: SharedLabels) -> SharedLabels {
        if let Some(known) = self.all.get(&labels) {
            return known.clone();
        }
        if self.all.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.all.retain(|labels| Arc::strong_count(&labels.0) > 1);
            self.sweep_at = 2 * self.all.len();
        }
        self.all.insert(labels.clone());
        labels
    }
}

/// What is selected by labels.
pub trait Labelled: Send + Sync + 'static {
    fn name(&self) -> &str;
    fn labels(&self) -> &SharedLabels;
    /// Whether no owner controls it.
    fn is_orphan(&self) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Orphans,
}

#[derive(Debug)]
pub(super) struct Found<T> {
    /// By name.
    pub(super) objects: Vec<Arc<T>>,
    /// How many sets of labels were looked at that do not match.
    pub(super) others: usize,
}

/// By namespace, label key and label value.
#[derive(Debug)]
pub(super) struct LabelIndex<T> {
    hasher: RandomState,
    /// None is kept that is empty.
    namespaces: RwLock<HashMap<String, Namespace<T>>>,
}

/// The objects that share one set of labels, by the address of each.
type Objects<T> = HashMap<usize, Arc<T>>;

#[derive(Debug)]
struct Set<T> {
    /// Keeps the address that this set is known by.
    labels: SharedLabels,
    orphans: Objects<T>,
    owned: Objects<T>,
}

#[derive(Debug)]
struct Namespace<T> {
    /// By the address of their labels.
    sets: BTreeMap<usize, Set<T>>,
    /// The sets that have a label key, or a key with a value, by its hash: no text is kept twice, and two that have one
    /// hash only make a look longer.
    by_label: HashMap<u64, BTreeSet<usize>>,
}

impl<T> Default for Namespace<T> {
    fn default() -> Self {
        Self { sets: BTreeMap::new(), by_label: HashMap::new() }
    }
}

impl<T: Labelled> Follows<T> for LabelIndex<T> {
    fn update(&self, key: &Key, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        let mut namespaces = self.namespaces.write();
        // First what is new: an object that keeps its labels never leaves their set empty.
        if let Some(new) = new {
            let namespace = match namespaces.get_mut(&key.namespace) {
                Some(namespace) => namespace,
                None => namespaces.entry(key.namespace.clone()).or_default(),
            };
            namespace.put(&self.hasher, new);
        }
        let (Some(old), Some(namespace)) = (old, namespaces.get_mut(&key.namespace)) else { return };
        namespace.take_out(&self.hasher, old);
        if namespace.sets.is_empty() {
            namespaces.remove(&key.namespace);
        }
    }
}

impl<T: Labelled> LabelIndex<T> {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), namespaces: RwLock::default() }
    }

    pub(super) fn selected(&self, namespace: &str, matcher: &Matcher, which: Which) -> Found<T> {
        let namespaces = self.namespaces.read();
        let Some(namespace) = namespaces.get(namespace).filter(|_| !matcher.is_nothing()) else {
            return Found { objects: Vec::new(), others: 0 };
        };
        let mut found = Found { objects: Vec::new(), others: 0 };
        for set in namespace.candidates(&self.hasher, matcher) {
            if !matcher.matches(&set.labels) {
                found.others += 1;
                continue;
            }
            found.objects.extend(set.orphans.values().cloned());
            if which == Which::All {
                found.objects.extend(set.owned.values().cloned());
            }
        }
        drop(namespaces);
        found.objects.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        found
    }
}

fn hashes(hasher: &RandomState, labels: &Labels) -> impl Iterator<Item = u64> {
    labels.iter().flat_map(|(key, value)| [of_key(hasher, key), of_label(hasher, key, value)])
}

fn of_key(hasher: &RandomState, key: &str) -> u64 {
    hasher.hash_one(key)
}

fn of_label(hasher: &RandomState, key: &str, value: &str) -> u64 {
    hasher.hash_one((key, value))
}

fn address<T>(object: &Arc<T>) -> usize {
    Arc::as_ptr(object) as usize
}

impl<T: Labelled> Namespace<T> {
    fn put(&mut self, hasher: &RandomState, object: &Arc<T>) {
        let labels = object.labels();
        let by_label = &mut self.by_label;
        let set = self.sets.entry(labels.id()).or_insert_with(|| {
            hashes(hasher, labels).for_each(|hash| {
                by_label.entry(hash).or_default().insert(labels.id());
            });
            Set { labels: labels.clone(), orphans: Objects::new(), owned: Objects::new() }
        });
        let objects = if object.is_orphan() { &mut set.orphans } else { &mut set.owned };
        objects.insert(address(object), Arc::clone(object));
    }

    fn take_out(&mut self, hasher: &RandomState, object: &Arc<T>) {
        let id = object.labels().id();
        let Some(set) = self.sets.get_mut(&id) else { return };
        let objects = if object.is_orphan() { &mut set.orphans } else { &mut set.owned };
        objects.remove(&address(object));
        if !set.orphans.is_empty() || !set.owned.is_empty() {
            return;
        }
        self.sets.remove(&id);
        for hash in hashes(hasher, object.labels()) {
            let Some(sets) = self.by_label.get_mut(&hash) else { continue };
            sets.remove(&id);
            if sets.is_empty() {
                self.by_label.remove(&hash);
            }
        }
    }

    /// The sets with the rarest label that is required; all, if none is.
    fn candidates(&self, hasher: &RandomState, matcher: &Matcher) -> Vec<&Set<T>> {
        let mut rarest: Option<(usize, Vec<&BTreeSet<usize>>)> = None;
        for (key, values) in matcher.needs() {
            let Some(with_key) = self.by_label.get(&of_key(hasher, key)) else { return Vec::new() };
            let mut buckets = vec![with_key];
            // A long list of values is no help to find few sets.
            if let Some(values) = values.filter(|values| values.iter().len() < with_key.len().max(2)) {
                let bucket = |value| self.by_label.get(&of_label(hasher, key, value));
                buckets = values.iter().filter_map(bucket).collect();
            }
            let count = buckets.iter().map(|bucket| bucket.len()).sum();
            if rarest.as_ref().is_none_or(|(least, _)| count < *least) {
                rarest = Some((count, buckets));
            }
        }
        match rarest {
            Some((_, buckets)) => buckets.into_iter().flatten().filter_map(|id| self.sets.get(id)).collect(),
            None => self.sets.values().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use corten_api::selector::Selector;

    use super::*;

    #[derive(Debug)]
    struct Pod {
        name: String,
        labels: SharedLabels,
        orphan: bool,
    }

    impl Labelled for Pod {
        fn name(&self) -> &str {
            &self.name
        }
        fn labels(&self) -> &SharedLabels {
            &self.labels
        }
        fn is_orphan(&self) -> bool {
            self.orphan
        }
    }

    #[derive(Default)]
    struct Filled {
        sets: LabelSets,
        index: Option<LabelIndex<Pod>>,
    }

    impl Filled {
        fn pod(&mut self, name: &str, labels: &str, orphan: bool) -> Arc<Pod> {
            let labels =
                labels.split(',').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
            Arc::new(Pod { name: name.into(), labels: self.sets.share(labels), orphan })
        }
        fn put(&mut self, namespace: &str, old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>) {
            let name = old.or(new).map(|pod| pod.name.clone()).unwrap();
            self.index.get_or_insert_with(LabelIndex::new).update(&Key::new(namespace, name), old, new);
        }
        fn found(&mut self, namespace: &str, selector: &str, which: Which) -> (String, usize) {
            let matcher = Matcher::from(Selector::parse(selector).unwrap());
            let found = self.index.get_or_insert_with(LabelIndex::new).selected(namespace, &matcher, which);
            let names: Vec<&str> = found.objects.iter().map(|pod| pod.name.as_str()).collect();
            (names.join(" "), found.others)
        }
    }

    #[test]
    fn who_selects_by_a_label_that_few_have_looks_at_these_alone() {
        let mut filled = Filled::default();
        for n in 0..500 {
            let (shared, own) = (filled.pod(&format!("o{n}"), "app=other", true), format!("app=db,n={n}"));
            filled.put("ns", None, Some(&shared));
            let own = filled.pod(&format!("d{n}"), &own, false);
            filled.put("ns", None, Some(&own));
        }
        for (name, labels) in [("w2", "app=web,tier=front"), ("w1", "app=web,tier=front"), ("x", "app=web,odd=yes")] {
            let pod = filled.pod(name, labels, name == "w1");
            filled.put("ns", None, Some(&pod));
            filled.put("elsewhere", None, Some(&pod));
        }
        let many = format!("n in ({})", (0..900).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        let cases = [
            ("app=web", "w1 w2 x", 0),
            ("app=web,tier=front", "w1 w2", 0),
            ("tier=front,app", "w1 w2", 0),
            ("app=web,tier!=front", "x", 1),
            ("app=web,odd", "x", 0),
            ("app in (db,web),n in (7,8)", "d7 d8", 0),
            ("app=db,n=12", "d12", 0),
            ("app=nobody", "", 0),
            ("app=web,nobody=has-it", "", 0),
            ("!app", "", 503),
            (&format!("{many},odd"), "", 1),
        ];
        for (selector, expected, others) in cases {
            assert_eq!(filled.found("ns", selector, Which::All), (expected.to_owned(), others), "{selector}");
        }
        assert_eq!(filled.found("ns", &many, Which::All).0.split(' ').count(), 500);
        assert_eq!(filled.found("ns", "app=web", Which::Orphans), ("w1".to_owned(), 0));
        assert_eq!(filled.found("nowhere", "", Which::All), (String::new(), 0));
        assert_eq!(filled.found("elsewhere", "", Which::All), ("w1 w2 x".to_owned(), 0));
        let nothing = filled.index.unwrap().selected("ns", &Selector::nothing().into(), Which::All);
        assert!(nothing.objects.is_empty() && nothing.others == 0);
    }

    #[test]
    fn an_object_that_changes_is_found_as_it_is_now_and_nothing_is_kept_of_it_when_it_is_gone() {
        let mut filled = Filled::default();
        let (was, is) = (filled.pod("p", "app=web,a=1", true), filled.pod("p", "app=web,a=2", true));
        let adopted = filled.pod("p", "app=web,a=2", false);
        filled.put("ns", None, Some(&was));
        filled.put("ns", Some(&was), Some(&is));
        let found = |filled: &mut Filled, selector: &str, which| filled.found("ns", selector, which).0;
        assert_eq!(
            (found(&mut filled, "a=1", Which::All), found(&mut filled, "a=2", Which::All)),
            ("".into(), "p".into())
        );
        filled.put("ns", Some(&is), Some(&adopted));
        assert_eq!(found(&mut filled, "app=web", Which::Orphans), "");
        assert_eq!(found(&mut filled, "app=web", Which::All), "p");
        filled.put("ns", Some(&adopted), None);
        assert!(filled.index.unwrap().namespaces.read().is_empty());
        assert_eq!(Arc::strong_count(&adopted), 1);
    }

    #[test]
    fn equal_labels_are_kept_once_and_those_that_nobody_has_are_forgotten() {
        let mut sets = LabelSets::default();
        let labels = |n: usize| SharedLabels::from([("n".to_owned(), n.to_string())]);
        let kept = sets.share(labels(0));
        assert_eq!(sets.share(labels(0)).id(), kept.id());
        for n in 0..10 * SWEEP_MIN {
            sets.share(labels(n));
            assert!(sets.all.len() <= SWEEP_MIN, "{}", sets.all.len());
        }
        assert_eq!(sets.share(labels(0)).id(), kept.id());
        let mut own = kept.clone();
        own.insert("more".into(), String::new());
        assert_eq!((kept.len(), own.len()), (1, 2));
    }
}
