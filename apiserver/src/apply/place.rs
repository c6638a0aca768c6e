//! Where a walk is in a type, and how the value there is owned: as one, field by field, or item by item. All walks of this
//! room go from place to place.

use std::sync::Arc;

use serde_json::Value;

use super::element::{Atom, Element};
use crate::decode::MAX_NESTING;
use crate::schema::{Field, ListKind, Node, Scalar, Shape};

/// Steps to a field, at most: what is deeper is owned as one. Managed fields have an object for each step, within an entry,
/// a list, the metadata and the object, and have to be no deeper than a body may be.
const STEPS_MAX: usize = MAX_NESTING - 5;

/// A place in a type, and how deep in the object it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'s> {
    /// `None`: nothing is known of the type, as in a custom resource without a schema.
    shape: Option<Shape<'s>>,
    steps_left: usize,
}

/// What a value's parts are to server-side apply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'s> {
    /// It has none: plain values, and objects and lists that are atomic.
    Leaf,
    /// Its fields, or its entries.
    Object,
    Items(Items<'s>),
}

/// A list whose items are owned one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Items<'s> {
    /// The fields that tell its items apart; `None` for a set, whose items are plain values.
    keys: Option<&'s [Arc<str>]>,
    /// Where its items are.
    pub(super) place: Place<'s>,
}

/// Why nobody can say which item of its list an item is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ItemError {
    #[error("associative list with keys may not have a null element")]
    Null,
    #[error("associative list with keys may not have non-map elements")]
    NotAnObject,
    #[error(
        "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
        quoted(.0)
    )]
    NoKeys(Vec<Arc<str>>),
    #[error("associative list with keys has an element whose key field {0:?} is not a scalar")]
    KeyWithParts(Arc<str>),
    #[error("associative list without keys has an element that's a map type")]
    SetOfObjects,
    #[error("not supported: associative list with lists as elements")]
    SetOfLists,
    #[error("associative list without keys has an element that's an explicit null")]
    SetOfNull,
}

fn quoted(names: &[Arc<str>]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" ")
}

/// Where nothing is known of a value there is no type.
fn known(shape: Option<Shape<'_>>) -> Option<Shape<'_>> {
    shape.filter(|shape| *shape.node() != Node::Any)
}

impl<'s> Place<'s> {
    pub(super) fn root(shape: Option<Shape<'s>>) -> Self {
        Self { shape: known(shape), steps_left: STEPS_MAX }
    }

    fn below(self, shape: Option<Shape<'s>>) -> Self {
        Self { shape: known(shape), steps_left: self.steps_left.saturating_sub(1) }
    }

    pub(super) fn shape(self) -> Option<Shape<'s>> {
        self.shape
    }

    /// The form of the values here. Where no type is known, objects have parts and nothing else has.
    pub(super) fn form(self, one: Option<&Value>, other: Option<&Value>) -> Form<'s> {
        if self.steps_left == 0 {
            return Form::Leaf;
        }
        let Some(shape) = self.shape else {
            let is_object = |value: Option<&Value>| value.is_some_and(Value::is_object);
            return if is_object(one) || is_object(other) { Form::Object } else { Form::Leaf };
        };
        let items = |keys| Form::Items(Items { keys, place: self.below(shape.element()) });
        match shape.node() {
            Node::Struct(of) if !of.atomic => Form::Object,
            Node::Map(map) if !map.atomic => Form::Object,
            Node::List(list) => match &list.kind {
                ListKind::Atomic => Form::Leaf,
                ListKind::Set => items(None),
                ListKind::Map(keys) => items(Some(keys)),
            },
            Node::Struct(_) | Node::Map(_) | Node::Scalar(_) | Node::Any => Form::Leaf,
        }
    }

    pub(super) fn part(self, name: &str) -> Part<'s> {
        let (field, shape) = match self.shape.map(|shape| (shape, shape.node())) {
            Some((shape, Node::Struct(_))) => shape.field(name).unzip(),
            Some((shape, Node::Map(_))) => (None, shape.element()),
            Some((_, Node::List(_) | Node::Scalar(_) | Node::Any)) | None => (None, None),
        };
        Part { field, place: self.below(shape) }
    }

    /// Where a step leads to.
    pub(super) fn child(self, element: &Element) -> Self {
        match element {
            Element::Field(name) => self.part(name).place,
            Element::Key(_) | Element::Value(_) | Element::Index(_) => {
                let list = self.shape.filter(|shape| matches!(shape.node(), Node::List(_)));
                self.below(list.and_then(Shape::element))
            }
        }
    }

    /// Whether a value here is owned as one though it has parts.
    pub(super) fn is_atomic(self) -> bool {
        self.shape.is_some_and(|shape| match shape.node() {
            Node::Struct(of) => of.atomic,
            Node::Map(map) => map.atomic,
            Node::List(list) => list.kind == ListKind::Atomic,
            Node::Scalar(scalar) => {
                matches!(scalar, Scalar::RawExtension | Scalar::ExtraValue | Scalar::SchemaOr(_))
            }
            Node::Any => false,
        })
    }

    pub(super) fn is_struct(self) -> bool {
        self.shape.is_some_and(|shape| shape.as_struct().is_some())
    }
}

impl Items<'_> {
    /// The step that leads to `item`.
    pub(super) fn element(&self, item: &Value) -> Result<Element, ItemError> {
        let Some(keys) = self.keys else {
            return match item {
                Value::Object(_) => Err(ItemError::SetOfObjects),
                Value::Array(_) => Err(ItemError::SetOfLists),
                Value::Null => Err(ItemError::SetOfNull),
                plain => Atom::of(plain).map(Element::Value).ok_or(ItemError::SetOfObjects),
            };
        };
        let fields = match item {
            Value::Object(fields) => fields,
            Value::Null => return Err(ItemError::Null),
            _ => return Err(ItemError::NotAnObject),
        };
        let mut found = Vec::with_capacity(keys.len());
        for name in keys {
            let default = || self.place.part(name).field?.default.as_ref();
            // A key that is not there is a value of its own: such items are different ones.
            if let Some(value) = fields.get(&**name).or_else(default) {
                let value = Atom::of(value).ok_or_else(|| ItemError::KeyWithParts(name.clone()))?;
                found.push((name.clone(), value));
            }
        }
        if found.is_empty() {
            return Err(ItemError::NoKeys(keys.to_vec()));
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Element::Key(found.into()))
    }

    /// Whether two items say the same of all that tells items apart. Looks only at what is written: one that leaves a default
    /// to be filled in may be the same as one that writes it.
    pub(super) fn are_same(&self, one: &Value, other: &Value) -> bool {
        match self.keys {
            Some(keys) => keys.iter().all(|name| one.get(&**name) == other.get(&**name)),
            None => one == other,
        }
    }
}

/// A struct's field or a map's entry.
#[derive(Clone, Copy)]
pub(super) struct Part<'s> {
    /// `None`: an entry of a map, or a field that the type does not have.
    pub(super) field: Option<&'s Field>,
    pub(super) place: Place<'s>,
}

impl Part<'_> {
    /// The step that leads to it. The names of fields are shared with the schema.
    pub(super) fn element(&self, name: &str) -> Element {
        self.field.map_or_else(|| Element::field(name), |field| Element::Field(field.name.clone()))
    }
}
