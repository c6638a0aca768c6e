//! What a write changed: two values of one type, compared field by field.
//!
//! Go's types write some fields whatever is in them, an empty `status` or a `resources: {}`. Objects here may leave them
//! out; they are compared as if they were there, so that nobody comes to own a `status` because it was not written before.

use serde_json::{Map, Value};

use super::element::{Element, compare_numbers};
use super::field_set::{FieldSet, Node};
use super::place::{Form, Items, Place};
use super::zero;
use crate::schema::Shape;

/// The fields that two values differ in, each in one of the three sets. All are empty if the values mean the same; the
/// order of lists whose items are told apart by keys does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub added: FieldSet,
    /// There before and after, with another value.
    pub modified: FieldSet,
    pub removed: FieldSet,
}

/// Compares two values.
///
/// Goes once through both, and allocates for what differs alone. Lists with keys whose items were added, taken away or moved
/// are sorted by their keys.
pub fn compare(shape: Option<Shape<'_>>, old: &Value, new: &Value) -> Comparison {
    // Nobody owns the whole.
    values(Place::root(shape), Some(old), Some(new)).below.into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Modified,
    Removed,
}

/// What became of a value.
#[derive(Default)]
struct Difference {
    itself: Option<Change>,
    below: Parts,
}

/// What became of a value's parts.
#[derive(Default)]
struct Parts {
    added: Vec<Node>,
    modified: Vec<Node>,
    removed: Vec<Node>,
}

impl Parts {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    fn put(&mut self, element: impl FnOnce() -> Element, difference: Difference) {
        let Difference { itself, below } = difference;
        if itself.is_none() && below.is_empty() {
            return;
        }
        let element = element();
        for (nodes, change, below) in [
            (&mut self.added, Change::Added, below.added),
            (&mut self.modified, Change::Modified, below.modified),
            (&mut self.removed, Change::Removed, below.removed),
        ] {
            let member = itself == Some(change);
            if member || !below.is_empty() {
                nodes.push(Node { element: element.clone(), member, below: below.into_iter().collect() });
            }
        }
    }
}

impl From<Parts> for Comparison {
    fn from(parts: Parts) -> Self {
        let Parts { added, modified, removed } = parts;
        let set = |nodes: Vec<Node>| nodes.into_iter().collect();
        Self { added: set(added), modified: set(modified), removed: set(removed) }
    }
}

/// A value that is not there is `None`. Values are bounded in depth by who decoded them.
fn values(place: Place<'_>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    match place.form(old, new) {
        Form::Leaf => leaf(place, old, new),
        Form::Object => object(place, old, new),
        Form::Items(items) => list(place, items, old, new),
    }
}

fn leaf(place: Place<'_>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let itself = match (old, new) {
        (None, None) => None,
        (None, Some(_)) => Some(Change::Added),
        (Some(_), None) => Some(Change::Removed),
        (Some(old), Some(new)) => (!same_at(place, old, new)).then_some(Change::Modified),
    };
    Difference { itself, below: Parts::default() }
}

/// What became of a value whose parts are looked at one by one. `old_fits`, `new_fits`: whether it has parts at all.
fn around(old: Option<&Value>, new: Option<&Value>, old_fits: bool, new_fits: bool) -> Option<Change> {
    match (old, new) {
        (None, _) => Some(Change::Added),
        (_, None) => Some(Change::Removed),
        // Parts on the one side, a plain value on the other.
        (Some(old), Some(new)) if old_fits != new_fits && !old.is_null() && !new.is_null() => Some(Change::Modified),
        (Some(_), Some(_)) => None,
    }
}

fn object(place: Place<'_>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let (was, is) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let is_bare = |fields: Option<&Map<String, Value>>| {
        fields.is_none_or(|fields| fields.is_empty() && zero::written(place).next().is_none())
    };
    // Null, empty and absent differ, though nothing is in them.
    if is_bare(was) && is_bare(is) {
        return leaf(place, old, new);
    }
    let (mut below, mut in_both) = (Parts::default(), 0);
    for (name, old) in was.into_iter().flatten() {
        let new = is.and_then(|is| is.get(name));
        in_both += usize::from(new.is_some());
        if has_parts(old) || new != Some(old) {
            let part = place.part(name);
            let new = new.or_else(|| is.and_then(|_| zero::of_part(part)));
            below.put(|| part.element(name), values(part.place, Some(old), new));
        }
    }
    // Most writes add nothing here.
    for (name, new) in is.into_iter().filter(|is| is.len() > in_both).flatten() {
        if was.is_none_or(|was| !was.contains_key(name)) {
            let part = place.part(name);
            let old = was.and_then(|_| zero::of_part(part));
            below.put(|| part.element(name), values(part.place, old, Some(new)));
        }
    }
    // What is always written, and was not here, comes and goes with the value around it.
    if let (Some(known), None) | (None, Some(known)) = (was, is) {
        for field in zero::written(place).filter(|field| !known.contains_key(&*field.name)) {
            let part = place.part(&field.name);
            let zero = zero::of_part(part);
            let (old, new) = if is.is_none() { (zero, None) } else { (None, zero) };
            below.put(|| part.element(&field.name), values(part.place, old, new));
        }
    }
    Difference { itself: around(old, new, was.is_some(), is.is_some()), below }
}

fn has_parts(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

fn list(place: Place<'_>, items: Items<'_>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let (was, is) = (old.and_then(Value::as_array), new.and_then(Value::as_array));
    let (before, after) = (was.map_or(&[][..], Vec::as_slice), is.map_or(&[][..], Vec::as_slice));
    if before.is_empty() && after.is_empty() {
        return leaf(place, old, new);
    }
    let below = in_place(items, before, after).unwrap_or_else(|| by_key(items, before, after));
    Difference { itself: around(old, new, was.is_some(), is.is_some()), below }
}

/// Compares lists that have the same items in the same places, which most writes leave so. `None`: they have not, or some
/// items cannot be told apart.
fn in_place(items: Items<'_>, before: &[Value], after: &[Value]) -> Option<Parts> {
    let pairs = || before.iter().zip(after);
    if before.len() != after.len() || !pairs().all(|(old, new)| items.are_same(old, new)) {
        return None;
    }
    let differences: Vec<(usize, Difference)> = pairs()
        .map(|(old, new)| values(items.place, Some(old), Some(new)))
        .enumerate()
        .filter(|(_, difference)| difference.itself.is_some() || !difference.below.is_empty())
        .collect();
    let mut below = Parts::default();
    if differences.is_empty() {
        return Some(below);
    }
    let elements: Vec<Option<Element>> = after.iter().map(|item| items.element(item).ok()).collect();
    let mut sorted: Vec<&Element> = elements.iter().flatten().collect();
    sorted.sort();
    if !sorted.is_sorted_by(|one, next| one < next) {
        return None;
    }
    let mut differences: Vec<(&Element, Difference)> = differences
        .into_iter()
        // Nobody can own an item that nobody can name.
        .filter_map(|(at, difference)| Some((elements.get(at)?.as_ref()?, difference)))
        .collect();
    differences.sort_by_key(|(one, _)| *one);
    for (element, difference) in differences {
        below.put(|| element.clone(), difference);
    }
    Some(below)
}

/// Compares each item with the one that has the same keys. Items that are there more than once are compared as one value:
/// they are a field together, and have no fields of their own.
fn by_key(items: Items<'_>, before: &[Value], after: &[Value]) -> Parts {
    let mut below = Parts::default();
    for (element, old, new) in paired(&sorted(items, before), &sorted(items, after)) {
        let item = |old: &[(Element, &Value)], new: &[(Element, &Value)]| {
            values(items.place, old.first().map(|(_, value)| *value), new.first().map(|(_, value)| *value))
        };
        let all = |change| Difference { itself: Some(change), below: Parts::default() };
        match (old.len(), new.len()) {
            (0 | 1, 0 | 1) => below.put(|| element.clone(), item(old, new)),
            (2.., 2..) => {
                let equal =
                    |((_, old), (_, new)): (&(Element, &Value), &(Element, &Value))| same_at(items.place, old, new);
                if old.len() != new.len() || !old.iter().zip(new).all(equal) {
                    below.put(|| element.clone(), all(Change::Modified));
                }
            }
            (2.., 0 | 1) => {
                below.put(|| element.clone(), if new.is_empty() { Difference::default() } else { item(&[], new) });
                below.put(|| element.clone(), all(Change::Removed));
            }
            (0 | 1, 2..) => {
                below.put(|| element.clone(), if old.is_empty() { Difference::default() } else { item(old, &[]) });
                below.put(|| element.clone(), all(Change::Added));
            }
        }
    }
    below
}

type Named<'v> = (Element, &'v Value);

/// Items by their names; those of one name as the list has them.
fn sorted<'v>(items: Items<'_>, list: &'v [Value]) -> Vec<Named<'v>> {
    let mut named: Vec<Named<'v>> = list.iter().filter_map(|item| Some((items.element(item).ok()?, item))).collect();
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    named
}

/// Every name, with the items that have it on either side.
fn paired<'p, 'v>(
    old: &'p [Named<'v>],
    new: &'p [Named<'v>],
) -> impl Iterator<Item = (&'p Element, &'p [Named<'v>], &'p [Named<'v>])> {
    let (mut old, mut new) = (old, new);
    std::iter::from_fn(move || {
        let element = match (old.first(), new.first()) {
            (Some((old, _)), Some((new, _))) => old.min(new),
            (Some((element, _)), None) | (None, Some((element, _))) => element,
            (None, None) => return None,
        };
        let (old_ones, old_rest) = old.split_at(old.iter().take_while(|(other, _)| other == element).count());
        let (new_ones, new_rest) = new.split_at(new.iter().take_while(|(other, _)| other == element).count());
        (old, new) = (old_rest, new_rest);
        Some((element, old_ones, new_ones))
    })
}

/// Whether two values mean the same, whatever their type. Numbers do if they are equal, however they are written.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    same_at(Place::root(None), one, other)
}

/// Whether two values of one type mean the same: what Go always writes is there though it is not written.
fn same_at(place: Place<'_>, one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare_numbers(one, other).is_eq(),
        (Value::Array(these), Value::Array(those)) => {
            let item = place.child(&Element::Index(0));
            these.len() == those.len() && these.iter().zip(those).all(|(one, other)| same_at(item, one, other))
        }
        (Value::Object(these), Value::Object(those)) => {
            let mut in_both = 0;
            let mut all = |(name, one): (&String, &Value)| {
                let part = place.part(name);
                let other = those.get(name).inspect(|_| in_both += 1).or_else(|| zero::of_part(part));
                other.is_some_and(|other| same_at(part.place, one, other))
            };
            these.iter().all(&mut all)
                && (in_both == those.len()
                    || those.iter().filter(|(name, _)| !these.contains_key(*name)).all(|(name, other)| {
                        let part = place.part(name);
                        zero::of_part(part).is_some_and(|one| same_at(part.place, one, other))
                    }))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests;
