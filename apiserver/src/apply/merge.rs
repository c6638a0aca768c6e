//! Merging a configuration into an object: what the configuration says is so, and all else stays.
//!
//! Nothing is ever removed here: `prune` does that.

use std::collections::BTreeMap;

use serde_json::Value;

use super::element::Element;
use super::place::{Form, Items, Place};

/// Merges `configuration`, in whose lists no two items have the same keys, into `object`.
///
/// Costs a walk over the configuration, and over the lists with keys that it names.
pub(super) fn merge(place: Place<'_>, object: &mut Value, configuration: &Value) {
    match place.form(Some(&*object), Some(configuration)) {
        Form::Leaf => object.clone_from(configuration),
        Form::Object => match (object, configuration) {
            (Value::Object(fields), Value::Object(said)) => {
                for (name, value) in said {
                    match fields.get_mut(name) {
                        Some(field) => merge(place.part(name).place, field, value),
                        None => drop(fields.insert(name.clone(), value.clone())),
                    }
                }
            }
            // Who says that there is nothing takes nothing from what others have said.
            (Value::Object(fields), Value::Null) if !fields.is_empty() => {}
            (object, _) => object.clone_from(configuration),
        },
        Form::Items(items) => match (object, configuration) {
            (Value::Array(list), Value::Array(said)) => merge_items(items, list, said),
            (Value::Array(list), Value::Null) if !list.is_empty() => {}
            (object, _) => object.clone_from(configuration),
        },
    }
}

/// Upstream's order: items of the configuration as it has them, and each item that only the object has before the first
/// of those that it was in front of.
fn merge_items(items: Items<'_>, list: &mut Vec<Value>, said: &[Value]) {
    let before = std::mem::take(list);
    let names: Vec<Option<Element>> = before.iter().map(|item| items.element(item).ok()).collect();
    let said: Vec<(Element, &Value)> =
        said.iter().filter_map(|item| items.element(item).ok().map(|name| (name, item))).collect();
    let mut merging = Merging::new(items, &names, &said, before);
    let (mut left, mut right) = (0, 0);
    while left < names.len() || right < said.len() {
        let name = names.get(left).map(Option::as_ref);
        let next = said.get(right).map(|(name, _)| name);
        if let (Some(Some(name)), Some(next)) = (name, next) {
            if name == next {
                merging.take_said(right);
                (left, right) = (left + 1, right + 1);
                continue;
            }
            if merging.said_at.contains_key(name) && merging.expected().is_some_and(|expected| expected != name) {
                // The configuration has it elsewhere.
                left += 1;
                continue;
            }
        }
        if let Some(name) = name {
            match name.and_then(|name| merging.said_at.get(name)) {
                None => {
                    merging.keep(left);
                    left += 1;
                    continue;
                }
                Some(at) if *at < right => left += 1,
                Some(_) => {}
            }
        }
        if next.is_some() {
            merging.take_said(right);
            right += 1;
        }
    }
    *list = merging.merged;
}

/// A list that is being merged.
struct Merging<'m> {
    items: Items<'m>,
    said: &'m [(Element, &'m Value)],
    /// Where the configuration has each item.
    said_at: BTreeMap<&'m Element, usize>,
    /// The object's items, each until it is taken.
    before: Vec<Option<Value>>,
    /// Where the object has an item; `None` for one that it has more than once.
    before_at: BTreeMap<&'m Element, Option<usize>>,
    /// Places in `said` of the items that both have, in the configuration's order, and how many have been met.
    shared: Vec<usize>,
    met: usize,
    merged: Vec<Value>,
}

impl<'m> Merging<'m> {
    fn new(
        items: Items<'m>,
        names: &'m [Option<Element>],
        said: &'m [(Element, &'m Value)],
        before: Vec<Value>,
    ) -> Self {
        let mut before_at = BTreeMap::new();
        for (at, name) in names.iter().enumerate() {
            if let Some(name) = name {
                before_at.entry(name).and_modify(|at| *at = None).or_insert(Some(at));
            }
        }
        let shared = (0..said.len()).filter(|at| said.get(*at).is_some_and(|(name, _)| before_at.contains_key(name)));
        Self {
            items,
            said,
            said_at: said.iter().enumerate().map(|(at, (name, _))| (name, at)).collect(),
            shared: shared.collect(),
            met: 0,
            merged: Vec::with_capacity(before.len().max(said.len())),
            before: before.into_iter().map(Some).collect(),
            before_at,
        }
    }

    /// The item that both have and that comes next.
    fn expected(&self) -> Option<&'m Element> {
        let at = *self.shared.get(self.met)?;
        self.said.get(at).map(|(name, _)| name)
    }

    /// An item that the object alone has.
    fn keep(&mut self, at: usize) {
        self.merged.extend(self.before.get_mut(at).and_then(Option::take));
    }

    /// An item of the configuration, merged into the object's. One that the object has several times is replaced: nobody can
    /// say which of them is meant.
    fn take_said(&mut self, at: usize) {
        let Some((name, said)) = self.said.get(at) else { return };
        let place = self.before_at.get(name).copied();
        self.met += usize::from(place.is_some());
        let merged = match place.flatten().and_then(|place| self.before.get_mut(place)).and_then(Option::take) {
            Some(mut item) => {
                merge(self.items.place, &mut item, said);
                item
            }
            None => (*said).clone(),
        };
        self.merged.push(merged);
    }
}

#[cfg(test)]
mod tests;
