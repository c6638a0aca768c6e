//! All objects of a kind at one revision, in order, and by the one field that many are found by.

use std::sync::Arc;

use imbl::OrdSet;

use super::{ByKey, Item};
use crate::registry::SelectableField;

/// The selectable field whose values are many, and that lists and watches ask for by each: a kubelet's pods.
const INDEXED_FIELD: &str = "spec.nodeName";

/// All objects of a kind at one revision. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) items: OrdSet<ByKey>,
    pub(crate) revision: i64,
    pub(super) index: Option<Index>,
}

/// The objects by their value of one field.
#[derive(Clone, Debug)]
pub(super) struct Index {
    field: usize,
    by_value: imbl::HashMap<Arc<str>, OrdSet<ByKey>>,
}

impl Snapshot {
    /// The field by whose values [`with_value`](Self::with_value) finds.
    pub(super) fn indexed(&self) -> Option<usize> {
        self.index.as_ref().map(|index| index.field)
    }
    /// The objects whose indexed field has this value; `None`: there are none.
    pub(super) fn with_value(&self, value: &str) -> Option<&OrdSet<ByKey>> {
        self.index.as_ref()?.by_value.get(value)
    }
}

impl Index {
    pub(super) fn field(&self) -> usize {
        self.field
    }
    pub(super) fn of(fields: &[SelectableField]) -> Option<Self> {
        let field = fields.iter().position(|f| f.name == INDEXED_FIELD)?;
        Some(Self { field, by_value: imbl::HashMap::new() })
    }
    pub(super) fn insert(&mut self, item: &Arc<Item>) {
        let (value, row) = (item.field(self.field), ByKey(item.clone()));
        match self.by_value.get_mut(value) {
            Some(rows) => drop(rows.insert(row)),
            None => drop(self.by_value.insert(value.into(), OrdSet::unit(row))),
        }
    }
    pub(super) fn remove(&mut self, item: &Item) {
        let value = item.field(self.field);
        let Some(rows) = self.by_value.get_mut(value) else { return };
        rows.remove(item.key());
        if rows.is_empty() {
            self.by_value.remove(value);
        }
    }
}
