//! The cluster's roles and bindings as they are judged by, kept as the store is.
//!
//! The feed alone changes them, and shows the next state to readers as a whole, before the revision that says so: whoever has
//! seen that the cache has reached his write is judged by it. A role and a binding that change together are never seen apart.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::KindCache;
use crate::authz::rbac::Index;
use crate::authz::rbac::index::Source;
use crate::storage::{Change, Stored};

/// Objects that cannot be read, told of one by one each time; the others are counted.
const TOLD_MAX: usize = 16;

/// A next state on its way. An event of other kinds costs a look at its kind, one of these what the index says, and nothing is
/// shown before [`show`](Self::show).
pub(super) struct NextRoles<'a> {
    shown: &'a ArcSwap<Index>,
    /// `None`: nothing has changed so far.
    next: Option<Index>,
    unreadable: usize,
}

impl<'a> NextRoles<'a> {
    pub(super) fn after(shown: &'a ArcSwap<Index>) -> Self {
        Self { shown, next: None, unreadable: 0 }
    }
    pub(super) fn is_concerned(kind: &KindCache) -> bool {
        source_of(kind).is_some()
    }
    /// All that there is of a kind: what was there before counts no more.
    pub(super) fn fill(&mut self, kind: &KindCache, items: &[Stored]) {
        let Some(source) = source_of(kind) else { return };
        self.index().clear(source);
        for stored in items {
            self.put(source, kind, &stored.key, &stored.value);
        }
    }
    pub(super) fn apply(&mut self, kind: &KindCache, changes: &[Change]) {
        let Some(source) = source_of(kind) else { return };
        for change in changes {
            match change {
                Change::Put { key, value, .. } => self.put(source, kind, key, value),
                Change::Deleted { key, .. } => {
                    let short = kind.short_key(key);
                    self.index().remove(source, short);
                }
            }
        }
    }
    /// From now on requests are judged by it.
    pub(super) fn show(self) {
        if self.unreadable > TOLD_MAX {
            tracing::error!(
                more = self.unreadable - TOLD_MAX,
                "more roles and bindings cannot be read, and give nothing"
            );
        }
        if let Some(next) = self.next {
            self.shown.store(Arc::new(next));
        }
    }

    fn put(&mut self, source: Source, kind: &KindCache, key: &str, json: &[u8]) {
        let Err(err) = self.index().put(source, kind.short_key(key), json) else { return };
        self.unreadable += 1;
        if self.unreadable <= TOLD_MAX {
            tracing::error!(key, %err, "this role or binding cannot be read: it gives nothing");
        }
    }
    fn index(&mut self) -> &mut Index {
        self.next.get_or_insert_with(|| Index::clone(&self.shown.load()))
    }
}

fn source_of(kind: &KindCache) -> Option<Source> {
    Source::of(kind.store_prefix())
}
