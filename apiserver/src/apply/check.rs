//! Whether a configuration is of its type: fields that are not there, values of another sort, items that cannot be told
//! apart. In upstream's words, which tools look for.

use std::fmt;

use serde_json::{Map, Value};

use super::element::Element;
use super::place::{Form, Items, Place};
use super::told;
use crate::schema::{Node, Scalar, Shape};

/// Problems that are told. Whoever has more begins with these.
const MAX_PROBLEMS: usize = 100;

/// What is wrong with a value, each with its path: `.spec.foo: field not declared in schema`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatches {
    told: Vec<String>,
    /// Counted only.
    more: usize,
}

impl Mismatches {
    /// Looks through a value.
    pub(super) fn of(shape: Option<Shape<'_>>, value: &Value) -> Self {
        let mut found = Self::default();
        if let Some(shape) = shape {
            found.look(shape, value, &At::Root);
        }
        found
    }

    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    fn note(&mut self, at: &At<'_>, what: impl fmt::Display) {
        if self.told.len() < MAX_PROBLEMS {
            let what = told(what);
            self.told.push(if matches!(at, At::Root) { what } else { format!("{}: {what}", told(at)) });
        } else {
            self.more += 1;
        }
    }

    fn look(&mut self, shape: Shape<'_>, value: &Value, at: &At<'_>) {
        if value.is_null() {
            return;
        }
        match (shape.node(), value) {
            (Node::Struct(_) | Node::Map(_), Value::Object(fields)) => self.look_at_fields(shape, fields, at),
            (Node::Struct(_) | Node::Map(_), other) => {
                self.note(at, format_args!("expected map, got &{{{}}}", Shown(other)))
            }
            (Node::List(_), Value::Array(items)) => match Place::root(Some(shape)).form(None, None) {
                Form::Items(keys) => self.look_at_items(keys, items, at),
                Form::Leaf | Form::Object => self.look_at_places(shape, items, at),
            },
            (Node::List(_), other) => self.note(at, format_args!("expected list, got &{{{}}}", Shown(other))),
            (Node::Scalar(scalar), value) => self.look_at_scalar(*scalar, value, at),
            (Node::Any, _) => {}
        }
    }

    fn look_at_fields(&mut self, shape: Shape<'_>, fields: &Map<String, Value>, at: &At<'_>) {
        for (name, value) in fields {
            let at = At::Field(at, name);
            match shape.child(name) {
                Some(shape) => self.look(shape, value, &at),
                None if shape.as_struct().is_some_and(|of| of.open) => {}
                None => self.note(&at, "field not declared in schema"),
            }
        }
    }

    fn look_at_places(&mut self, shape: Shape<'_>, items: &[Value], at: &At<'_>) {
        for (nth, item) in items.iter().enumerate() {
            if let Some(shape) = shape.element() {
                self.look(shape, item, &At::Item(at, &Element::Index(i64::try_from(nth).unwrap_or(i64::MAX))));
            }
        }
    }

    fn look_at_items(&mut self, keys: Items<'_>, items: &[Value], at: &At<'_>) {
        let mut names = Vec::with_capacity(items.len());
        for (nth, item) in items.iter().enumerate() {
            match keys.element(item) {
                Ok(element) => {
                    if let Some(shape) = keys.place.shape() {
                        self.look(shape, item, &At::Item(at, &element));
                    }
                    names.push(element);
                }
                // What cannot be named cannot be looked into either.
                Err(err) => self.note(at, format_args!("element {nth}: {err}")),
            }
        }
        names.sort();
        for same in names.chunk_by(|one, next| one == next).filter(|same| same.len() > 1) {
            if let [element, ..] = same {
                self.note(at, format_args!("duplicate entries for key {element}"));
            }
        }
    }

    fn look_at_scalar(&mut self, scalar: Scalar, value: &Value, at: &At<'_>) {
        let shown = Shown(value);
        match scalar {
            Scalar::String | Scalar::Bytes if !value.is_string() => {
                self.note(at, format_args!("expected string, got &value.valueUnstructured{{Value:{value}}}"));
            }
            Scalar::Bool if !value.is_boolean() => self.note(at, format_args!("expected boolean, got &{{{shown}}}")),
            Scalar::Int32 | Scalar::Int64 | Scalar::Float64 if !value.is_number() => {
                self.note(at, format_args!("expected numeric (int or float), got {}", go_type(value)));
            }
            Scalar::Time | Scalar::MicroTime | Scalar::Quantity | Scalar::IntOrString
                if value.is_object() || value.is_array() =>
            {
                self.note(at, format_args!("expected any scalar, got &{{{shown}}}"));
            }
            Scalar::ExtraValue if !value.is_array() => self.note(at, format_args!("expected list, got &{{{shown}}}")),
            Scalar::String
            | Scalar::Bytes
            | Scalar::Bool
            | Scalar::Int32
            | Scalar::Int64
            | Scalar::Float64
            | Scalar::Time
            | Scalar::MicroTime
            | Scalar::Quantity
            | Scalar::IntOrString
            | Scalar::RawExtension
            | Scalar::FieldsV1
            | Scalar::ExtraValue
            | Scalar::SchemaOr(_) => {}
        }
    }
}

impl fmt::Display for Mismatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.told.as_slice() {
            return f.write_str(only);
        }
        f.write_str("errors:")?;
        self.told.iter().try_for_each(|told| write!(f, "\n  {told}"))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Where the look is: on the stack, and printed only when there is something to tell.
enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Item(&'a At<'a>, &'a Element),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, element) => write!(f, "{parent}{element}"),
        }
    }
}

/// A value as Go prints it within a message: texts without quotes.
struct Shown<'v>(&'v Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(text),
            other => write!(f, "{other}"),
        }
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests;
