//! Which objects of a kind a reader means, and the quickest way to them.

use std::sync::Arc;

use corten_api::selector::Selector;

use super::interest::Interest;
use super::snapshot::Snapshot;
use super::{FieldTerms, Item};

/// Which objects of a kind are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// `namespace/`, or empty for all of them.
    namespace_slash: String,
    labels: Selector,
    fields: FieldTerms,
}

impl Filter {
    pub(crate) fn new(namespace: &str, labels: Selector, fields: FieldTerms) -> Self {
        let namespace_slash = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        Self { namespace_slash, labels, fields }
    }
    pub(crate) fn matches(&self, item: &Item) -> bool {
        item.key().starts_with(&self.namespace_slash) && item.matches(&self.labels, &self.fields)
    }
    /// All objects that are where this filter looks, by their names, whatever is in them.
    pub(crate) fn of_place(&self) -> Self {
        Self {
            namespace_slash: self.namespace_slash.clone(),
            labels: Selector::everything(),
            fields: self.fields.of_place(),
        }
    }
    /// Whether what is in an object matters.
    pub(crate) fn is_by_content(&self) -> bool {
        !self.labels.is_everything() || !self.fields.are_of_place()
    }
    /// Whether every object of the namespace is meant.
    pub(crate) fn is_whole(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
    /// The objects meant, in order, from behind `after` on. Where the snapshot has an index that fits, only that part of
    /// it is looked at.
    pub(crate) fn select<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        after: &str,
    ) -> impl Iterator<Item = &'a Arc<Item>> + use<'a> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let (only, end) = match self.only_key(snapshot) {
            Some(key) => (Some(key.clone()), Some(format!("{key}\0"))),
            // "0" follows "/": the first key behind those of the namespace.
            None => (None, self.namespace_slash.strip_suffix('/').map(|ns| format!("{ns}0"))),
        };
        let first = only.as_deref().unwrap_or(&self.namespace_slash);
        let start = match after {
            "" if first.is_empty() => Unbounded,
            after if after < first => Included(first),
            after => Excluded(after),
        };
        let value = snapshot.indexed().and_then(|field| self.fields.equal_to(field));
        let items = value.map_or(Some(&snapshot.items), |value| snapshot.with_value(value));
        let range = items.map(|items| match &end {
            // A range that would end before it begins is none.
            Some(end) if after >= end.as_str() => items.range::<_, str>((Included(after), Excluded(after))),
            Some(end) => items.range::<_, str>((start, Excluded(end.as_str()))),
            None => items.range::<_, str>((start, Unbounded)),
        });
        let whole = self.is_whole();
        let meant = move |item: &&Arc<Item>| whole || item.matches(&self.labels, &self.fields);
        range.into_iter().flatten().map(|row| &row.0).filter(meant)
    }
    /// The key of the one object that can be meant.
    fn only_key(&self, snapshot: &Snapshot) -> Option<String> {
        let name = self.fields.name()?;
        if !self.namespace_slash.is_empty() {
            return Some(format!("{}{name}", self.namespace_slash));
        }
        // A kind without namespaces has names for keys.
        let is_cluster_wide = snapshot.items.get_min().is_some_and(|row| row.0.namespace().is_empty());
        is_cluster_wide.then(|| name.to_owned())
    }
    /// The narrowest interest that includes all that is meant. `indexed`: the field whose values are many.
    pub(super) fn interest(&self, indexed: Option<usize>) -> Interest {
        let namespace =
            self.namespace_slash.strip_suffix('/').or_else(|| self.fields.namespace().filter(|ns| !ns.is_empty()));
        if let Some(name) = self.fields.name() {
            return match namespace {
                Some(namespace) => Interest::Object(format!("{namespace}/{name}").into()),
                None => Interest::Name(name.into()),
            };
        }
        if let Some((field, value)) = indexed.and_then(|field| Some((field, self.fields.equal_to(field)?))) {
            return Interest::Field(field, value.into());
        }
        match (namespace, self.fields.equality()) {
            (Some(namespace), _) => Interest::Namespace(namespace.into()),
            (None, Some((field, value))) => Interest::Field(field, value.into()),
            (None, None) => Interest::All,
        }
    }
}
