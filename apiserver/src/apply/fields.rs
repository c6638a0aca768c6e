//! The fields of a value, by its schema: what somebody who applies the value owns. And sets of fields, fitted to a schema.

use serde_json::{Map, Value};

use super::element::Element;
use super::field_set::{FieldSet, Node};
use super::place::{Form, Items, Place};
use crate::schema::Shape;

/// All fields that `value` says something of. Its parents are no fields of their own, but for the items of lists: who
/// names an item owns it.
///
/// Costs a walk over the value, and a step for each field.
pub fn fields_of(shape: Option<Shape<'_>>, value: &Value) -> FieldSet {
    below(Place::root(shape), value).unwrap_or_default()
}

/// The fields within a value; `None` if it is one.
fn below(place: Place<'_>, value: &Value) -> Option<FieldSet> {
    match (place.form(Some(value), None), value) {
        (Form::Leaf, _) => None,
        (Form::Object, Value::Object(fields)) => Some(object(place, fields)),
        (Form::Items(items), Value::Array(list)) => Some(list_items(items, list)),
        // What is null is a field where its parent says so.
        (Form::Object | Form::Items(_), _) => Some(FieldSet::default()),
    }
}

fn object(place: Place<'_>, fields: &Map<String, Value>) -> FieldSet {
    let nodes = fields.iter().map(|(name, value)| {
        let part = place.part(name);
        let below = below(part.place, value);
        let is_bare = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        let member = below.is_none() || is_bare || part.field.is_none();
        Node { element: part.element(name), member, below: below.unwrap_or_default() }
    });
    nodes.collect()
}

/// An item that is there more than once is a field, and its parts are none: nobody can say which one's they are.
fn list_items(items: Items<'_>, list: &[Value]) -> FieldSet {
    let mut found: Vec<(Element, &Value)> =
        list.iter().filter_map(|item| Some((items.element(item).ok()?, item))).collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let nodes = found.chunk_by(|(one, _), (other, _)| one == other).filter_map(|same| match same {
        [] => None,
        [(element, item)] => {
            let below = below(items.place, item).unwrap_or_default();
            Some(Node { element: element.clone(), member: true, below })
        }
        [(element, _), ..] => Some(Node { element: element.clone(), member: true, below: FieldSet::default() }),
    });
    nodes.collect()
}

/// Adds the fields of structs that something is below. Who owns `.spec.replicas` does not own `.spec`; but where fields are
/// taken away, the struct goes with the last of them.
pub(super) fn with_structs(fields: &mut FieldSet, place: Place<'_>) {
    fields.retain_nodes(|node| {
        if let (Element::Field(name), false) = (&node.element, node.below.is_empty()) {
            node.member |= place.part(name).field.is_some();
        }
        with_structs(&mut node.below, place.child(&node.element));
    });
}

/// Fits a set that was written under an earlier schema to this one: what has become atomic is owned as one. What was
/// atomic and is no more is taken as if it had never been.
pub(super) fn fit(fields: &mut FieldSet, place: Place<'_>) {
    fields.retain_nodes(|node| {
        let place = place.child(&node.element);
        if place.is_atomic() && !node.below.is_empty() {
            (node.member, node.below) = (true, FieldSet::default());
        } else {
            fit(&mut node.below, place);
        }
    });
}

#[cfg(test)]
mod tests;
