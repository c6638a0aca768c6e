//! Which kinds are served now.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::ApiResource;

/// The kinds that are served. They can come and go while the server runs. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    table: ArcSwap<Table>,
    /// Held by who changes the table: each change is made from the one before.
    changing: Mutex<()>,
    changed: watch::Sender<u64>,
}

/// The kinds that were served at one moment, in the order that they came.
#[derive(Debug)]
pub struct Table {
    generation: u64,
    resources: Vec<Arc<ApiResource>>,
    /// Places in `resources`, by plural: kinds of several groups and versions share one.
    by_plural: HashMap<Box<str>, Vec<usize>>,
}

impl Table {
    fn new(generation: u64, resources: Vec<Arc<ApiResource>>) -> Self {
        let mut by_plural: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (at, resource) in resources.iter().enumerate() {
            by_plural.entry(resource.plural().into()).or_default().push(at);
        }
        Self { generation, resources, by_plural }
    }
    /// Rises with each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ApiResource>> {
        self.resources.iter()
    }
    fn named(&self, plural: &str) -> impl Iterator<Item = &Arc<ApiResource>> {
        let places = self.by_plural.get(plural).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|at| self.resources.get(*at))
    }
}

impl Registry {
    pub fn new(resources: Vec<ApiResource>) -> Self {
        let table = Table::new(0, resources.into_iter().map(Arc::new).collect());
        Self(Arc::new(Inner {
            table: ArcSwap::from_pointee(table),
            changing: Mutex::default(),
            changed: watch::Sender::new(0),
        }))
    }
    /// All kinds as they are now.
    pub fn table(&self) -> Arc<Table> {
        self.0.table.load_full()
    }
    /// By the names in a request's path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<ApiResource>> {
        let is_it = |r: &&Arc<ApiResource>| r.group() == group && r.version() == version;
        self.0.table.load().named(plural).find(is_it).cloned()
    }
    /// In whichever version comes first.
    pub fn find_any_version(&self, group: &str, plural: &str) -> Option<Arc<ApiResource>> {
        self.0.table.load().named(plural).find(|r| r.group() == group).cloned()
    }
    /// Tells of each change of the table.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }
    /// Serves a kind from now on, in the place of one of the same names.
    pub(crate) fn put(&self, resource: ApiResource) {
        let resource = Arc::new(resource);
        self.change(|resources| match resources.iter_mut().find(|old| is_same(old, &resource)) {
            Some(old) => *old = resource,
            None => resources.push(resource),
        });
    }
    /// Serves a custom kind in these versions, in the place of those that are stored there, if any. All of it changes at one moment.
    pub(crate) fn put_custom(&self, store_prefix: &str, versions: &[Arc<ApiResource>]) {
        self.change(|resources| {
            resources.retain(|old| old.store_prefix() != store_prefix);
            resources.extend(versions.iter().cloned());
        });
    }
    /// Serves a kind no more.
    pub(crate) fn remove(&self, resource: &ApiResource) {
        self.change(|resources| resources.retain(|old| !is_same(old, resource)));
    }
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<ApiResource>>)) {
        let _one_at_a_time = self.0.changing.lock();
        let table = self.table();
        let mut resources = table.resources.clone();
        change(&mut resources);
        let generation = table.generation + 1;
        self.0.table.store(Arc::new(Table::new(generation, resources)));
        self.0.changed.send_replace(generation);
    }
}

fn is_same(a: &ApiResource, b: &ApiResource) -> bool {
    (a.group(), a.version(), a.plural()) == (b.group(), b.version(), b.plural())
}

impl Default for Registry {
    /// All built-in kinds.
    fn default() -> Self {
        Self::new(super::builtin())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.table().iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::{ConfigMap, Event};

    use super::*;

    #[test]
    fn kinds_come_and_go() {
        let registry = Registry::new(vec![ApiResource::of::<ConfigMap>(), ApiResource::of::<Event>()]);
        let before = registry.table();
        let mut changes = registry.changes();
        registry.put(ApiResource::of::<Lease>());
        assert!(changes.has_changed().unwrap());
        assert_eq!(*changes.borrow_and_update(), 1);
        let lease = registry.find("coordination.k8s.io", "v1", "leases").unwrap();
        registry.put(ApiResource::of::<Lease>());
        assert_eq!(registry.table().iter().count(), 3, "one of the same names is replaced");
        assert!(registry.find("coordination.k8s.io", "v1beta1", "leases").is_none());
        assert!(registry.find("", "v1", "leases").is_none());
        registry.remove(&lease);
        assert!(registry.find_any_version("coordination.k8s.io", "leases").is_none());
        assert_eq!(registry.table().generation(), 3);
        assert_eq!(before.iter().count(), 2, "who holds an older table is not disturbed");
    }
}
