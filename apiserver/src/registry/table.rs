//! Which kinds are served now.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::ApiResource;
use super::apiregistration::routes::Routes;

/// The kinds that are served. They can come and go while the server runs. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    table: ArcSwap<Table>,
    /// What other servers answer.
    routes: ArcSwap<Routes>,
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
    /// Where those custom kinds are stored that clients are told of.
    announced: HashSet<Arc<str>>,
}

impl Table {
    fn new(generation: u64, resources: Vec<Arc<ApiResource>>, announced: HashSet<Arc<str>>) -> Self {
        let mut by_plural: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (at, resource) in resources.iter().enumerate() {
            by_plural.entry(resource.plural().into()).or_default().push(at);
        }
        Self { generation, resources, by_plural, announced }
    }
    /// Rises with each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ApiResource>> {
        self.resources.iter()
    }
    /// Those that clients are told of: a custom kind may be served some time before.
    pub fn announced(&self) -> impl Iterator<Item = &Arc<ApiResource>> {
        self.iter().filter(|resource| !resource.is_custom() || self.announced.contains(resource.store_prefix()))
    }
    fn named(&self, plural: &str) -> impl Iterator<Item = &Arc<ApiResource>> {
        let places = self.by_plural.get(plural).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|at| self.resources.get(*at))
    }
}

impl Registry {
    pub fn new(resources: Vec<ApiResource>) -> Self {
        let table = Table::new(0, resources.into_iter().map(Arc::new).collect(), HashSet::new());
        Self(Arc::new(Inner {
            table: ArcSwap::from_pointee(table),
            routes: ArcSwap::default(),
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
    /// Which group versions other servers answer for: their kinds are not in the table, or are not asked there.
    pub fn routes(&self) -> Arc<Routes> {
        self.0.routes.load_full()
    }
    pub(crate) fn set_routes(&self, routes: Arc<Routes>) {
        self.0.routes.store(routes);
    }
    /// Tells of each change of the table.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }
    /// Serves a kind from now on, in the place of one of the same names.
    pub(crate) fn put(&self, resource: ApiResource) {
        let resource = Arc::new(resource);
        self.change(|resources, _| match resources.iter_mut().find(|old| is_same(old, &resource)) {
            Some(old) => *old = resource,
            None => resources.push(resource),
        });
    }
    /// Serves a custom kind in these versions, in the place of those that are stored there, if any. All of it changes at one moment.
    /// Clients are told of it if they were before.
    pub(crate) fn put_custom(&self, store_prefix: &str, versions: &[Arc<ApiResource>]) {
        self.change(|resources, announced| {
            resources.retain(|old| old.store_prefix() != store_prefix);
            resources.extend(versions.iter().cloned());
            if versions.is_empty() {
                announced.remove(store_prefix);
            }
        });
    }
    /// Whether clients are told of a custom kind from now on.
    pub(crate) fn announce(&self, store_prefix: &str, is_announced: bool) {
        if self.table().announced.contains(store_prefix) == is_announced {
            return;
        }
        self.change(|_, announced| {
            if is_announced {
                announced.insert(store_prefix.into());
            } else {
                announced.remove(store_prefix);
            }
        });
    }
    /// Serves a kind no more.
    pub(crate) fn remove(&self, resource: &ApiResource) {
        self.change(|resources, _| resources.retain(|old| !is_same(old, resource)));
    }
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<ApiResource>>, &mut HashSet<Arc<str>>)) {
        let _one_at_a_time = self.0.changing.lock();
        let table = self.table();
        let (mut resources, mut announced) = (table.resources.clone(), table.announced.clone());
        change(&mut resources, &mut announced);
        let generation = table.generation + 1;
        self.0.table.store(Arc::new(Table::new(generation, resources, announced)));
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
    use crate::registry::custom::CustomKind;
    use crate::registry::custom::testing::{tabs, version};

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

    #[test]
    fn clients_are_told_of_a_custom_kind_later_than_it_is_served() {
        let version = version("v1", true, serde_json::json!({"type": "object"}));
        let kind = CustomKind::of(&tabs(vec![version]), false).unwrap();
        let registry = Registry::new(vec![ApiResource::of::<ConfigMap>()]);
        let (prefix, told) = ("example.com/tabs", || registry.table().announced().count());
        registry.put_custom(prefix, &kind.served);
        assert_eq!((registry.table().iter().count(), told()), (2, 1));
        registry.announce(prefix, true);
        let generation = registry.table().generation();
        registry.announce(prefix, true);
        assert_eq!((told(), registry.table().generation()), (2, generation), "nothing has changed");
        registry.put_custom(prefix, &kind.served);
        assert_eq!(told(), 2, "one that is defined otherwise is told of as before");
        registry.put_custom(prefix, &[]);
        registry.put_custom(prefix, &kind.served);
        assert_eq!(told(), 1, "one that comes again is not");
    }
}
