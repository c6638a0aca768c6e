//! The kinds' caches, found by their keys in the store. They come and go with the kinds that are served.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{FENCES, KindCache, NODE_PORTS, QUOTAS, ROOT, Unreadable};
use crate::registry::{SelectableField, Table};

/// One cache for each prefix in the store. Cheap to clone; only the feed changes it.
#[derive(Clone, Debug)]
pub(super) struct Shelves(Arc<ArcSwap<Vec<Arc<KindCache>>>>);

impl Shelves {
    /// Of the kinds that are served, and of what is no kind of the API and cached as one. All are empty.
    pub(super) fn of(table: &Table, unreadable: &Arc<Unreadable>) -> Self {
        let ours = [FENCES, NODE_PORTS, QUOTAS];
        let mut prefixes: Vec<&str> = table.iter().map(|r| r.store_prefix()).chain(ours).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let shelf = |prefix: &str| {
            let of_prefix = || table.iter().filter(|r| r.store_prefix() == prefix);
            // Any version of a custom kind reads what is stored, in whichever.
            let stored = of_prefix().find(|r| r.is_custom() || r.conversion().is_none());
            let shelf = KindCache::new(prefix, fields_of(table, prefix), stored.cloned(), unreadable);
            shelf.define(of_prefix().filter(|r| r.is_custom()).cloned().collect());
            Arc::new(shelf)
        };
        let mut all: Vec<_> = prefixes.into_iter().map(shelf).collect();
        all.sort_by(|a, b| a.prefix().cmp(b.prefix()));
        Self(Arc::new(ArcSwap::from_pointee(all)))
    }
    /// By prefix, in order.
    pub(super) fn all(&self) -> Arc<Vec<Arc<KindCache>>> {
        self.0.load_full()
    }
    /// By the part of the key behind [`ROOT`]: `pods`, `services/specs`.
    pub(super) fn get(&self, store_prefix: &str) -> Option<Arc<KindCache>> {
        let all = self.0.load();
        let wanted = || ROOT.bytes().chain(store_prefix.bytes()).chain(*b"/");
        let at = all.binary_search_by(|shelf| shelf.prefix().bytes().cmp(wanted())).ok()?;
        all.get(at).cloned()
    }
    /// In the place of one with the same prefix, which is given back.
    pub(super) fn put(&self, shelf: Arc<KindCache>) -> Option<Arc<KindCache>> {
        let mut all = Vec::clone(&self.0.load());
        let before = match all.binary_search_by(|have| have.prefix().cmp(shelf.prefix())) {
            Ok(at) => Some(std::mem::replace(&mut all[at], shelf)),
            Err(at) => {
                all.insert(at, shelf);
                None
            }
        };
        self.0.store(Arc::new(all));
        before
    }
    pub(super) fn remove(&self, store_prefix: &str) -> Option<Arc<KindCache>> {
        let shelf = self.get(store_prefix)?;
        let mut all = Vec::clone(&self.0.load());
        all.retain(|have| !Arc::ptr_eq(have, &shelf));
        self.0.store(Arc::new(all));
        Some(shelf)
    }
    /// Where a key's changes go: the place in [`all`](Self::all). `None`: the key is nothing of the API's.
    pub(super) fn place_of(all: &[Arc<KindCache>], key: &str) -> Option<usize> {
        let at = all.partition_point(|shelf| shelf.prefix() <= key).checked_sub(1)?;
        key.starts_with(all.get(at)?.prefix()).then_some(at)
    }
}

/// The fields that can be selected by in any of the kinds that are stored under a prefix.
pub(super) fn fields_of(table: &Table, store_prefix: &str) -> Vec<SelectableField> {
    let mut fields: Vec<SelectableField> = Vec::new();
    for field in table.iter().filter(|r| r.store_prefix() == store_prefix).flat_map(|r| r.fields()) {
        if !fields.iter().any(|f| f.name == field.name) {
            fields.push(field.clone());
        }
    }
    fields
}
