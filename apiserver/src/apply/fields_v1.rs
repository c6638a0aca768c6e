//! FieldsV1: a set of fields as JSON, as managedFields have it. Printed exactly as upstream prints it.
//!
//! ```text
//! {"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}
//! ```
//!
//! An object stands for what is below a step. A step is a field of the set if its object is empty or has a `.`.

use serde_json::{Map, Value};

use super::element::{Element, ElementError};
use super::field_set::{FieldSet, Node};
use super::json::{self, Escape};
use crate::decode::MAX_NESTING;

/// Fields, and steps to fields, of one set. What fits into the store has fewer: none takes less than nine bytes there.
const MAX_STEPS: usize = 200_000;
/// The step that says that its parent is a field of the set.
pub(super) const SELF: &str = ".";

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsV1Error {
    #[error(transparent)]
    Element(#[from] ElementError),
    #[error("fields are objects within objects, not {0}")]
    NotAnObject(&'static str),
    #[error("the set is nested more than {MAX_NESTING} deep")]
    TooDeep,
    #[error("the set has more than {MAX_STEPS} fields")]
    TooMany,
}

impl FieldSet {
    /// Reads FieldsV1. Steps in any order, and steps that a later version may know, are taken as upstream takes them.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, FieldsV1Error> {
        Ok(Reader { steps_left: MAX_STEPS }.read(fields, MAX_NESTING)?.below)
    }

    /// FieldsV1 as text, in upstream's order.
    pub fn to_fields_v1_text(&self) -> String {
        let mut writer = Writer::default();
        writer.write(self, false);
        writer.out
    }

    /// FieldsV1 as a part of an object. Its order is that of all objects here, by name.
    pub fn to_fields_v1(&self) -> Value {
        let value = |node: &Node| {
            let mut key = String::new();
            node.element.push_key(&mut key);
            let mut below = node.below.to_fields_v1();
            if let (true, Value::Object(fields)) = (node.member && !node.below.is_empty(), &mut below) {
                fields.insert(SELF.to_owned(), Value::Object(Map::new()));
            }
            (key, below)
        };
        Value::Object(self.nodes().iter().map(value).collect())
    }
}

struct Reader {
    steps_left: usize,
}

/// What an object says of the step that it stands for.
struct Said {
    member: bool,
    below: FieldSet,
}

impl Reader {
    fn read(&mut self, fields: &Value, depth_left: usize) -> Result<Said, FieldsV1Error> {
        let depth_left = depth_left.checked_sub(1).ok_or(FieldsV1Error::TooDeep)?;
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null => return Ok(Said { member: true, below: FieldSet::default() }),
            Value::Bool(_) => return Err(FieldsV1Error::NotAnObject("a boolean")),
            Value::Number(_) => return Err(FieldsV1Error::NotAnObject("a number")),
            Value::String(_) => return Err(FieldsV1Error::NotAnObject("a string")),
            Value::Array(_) => return Err(FieldsV1Error::NotAnObject("an array")),
        };
        self.steps_left = self.steps_left.checked_sub(fields.len()).ok_or(FieldsV1Error::TooMany)?;
        let mut nodes = Vec::with_capacity(fields.len());
        for (key, value) in fields.iter().filter(|(key, _)| *key != SELF) {
            if let Some(element) = Element::parse(key)? {
                let Said { member, below } = self.read(value, depth_left)?;
                nodes.push(Node { element, member, below });
            }
        }
        let member = nodes.is_empty() || fields.contains_key(SELF);
        Ok(Said { member, below: nodes.into_iter().collect() })
    }
}

#[derive(Default)]
struct Writer {
    out: String,
    /// The key that is being written, before it is escaped.
    key: String,
}

impl Writer {
    fn write(&mut self, set: &FieldSet, with_self: bool) {
        self.out.push('{');
        if with_self {
            self.out.push_str(r#"".":{}"#);
        }
        for (nth, node) in set.nodes().iter().enumerate() {
            if with_self || nth > 0 {
                self.out.push(',');
            }
            self.key.clear();
            node.element.push_key(&mut self.key);
            json::push_text(&mut self.out, &self.key, Escape::Few);
            self.out.push(':');
            self.write(&node.below, node.member && !node.below.is_empty());
        }
        self.out.push('}');
    }
}

#[cfg(test)]
mod tests;
