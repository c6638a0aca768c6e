//! Objects as clients write them whose types have values for what nobody set.

use corten_apiserver::schema::{Node, Scalar, Shape, Zero};
use serde_json::{Map, Value, json};

/// Which of the fields that are not there are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zeros {
    /// As a Go client has them: those whose struct tag lets zeros stand, lists and maps and times as null.
    OfGo,
    /// Every zero that is no pointer's.
    All,
    /// Every field, as null.
    Nulls,
}

impl Zeros {
    pub(crate) const EACH: [Self; 3] = [Self::OfGo, Self::All, Self::Nulls];

    /// Adds them to an object of this type.
    pub(crate) fn fill(self, of: Shape<'_>, value: &mut Value) {
        match (of.node(), value) {
            (Node::Struct(known), Value::Object(map)) => {
                for field in known.fields().iter().filter(|field| !matches!(&*field.name, "apiVersion" | "kind")) {
                    if let Some(value) = map.get_mut(&*field.name) {
                        self.fill(of.of(field), value);
                        continue;
                    }
                    let zero = match (self, field.zero) {
                        (Self::Nulls, _) => Value::Null,
                        (Self::All | Self::OfGo, Zero::Distinct) | (Self::OfGo, Zero::Omitted) => continue,
                        (Self::All, Zero::Written | Zero::Omitted) | (Self::OfGo, Zero::Written) => {
                            self.zero(of.of(field))
                        }
                    };
                    map.insert(field.name.to_string(), zero);
                }
            }
            (_, Value::Object(map)) => {
                let Some(element) = of.element() else { return };
                map.values_mut().for_each(|value| self.fill(element, value));
            }
            (_, Value::Array(items)) => {
                let Some(element) = of.element() else { return };
                items.iter_mut().for_each(|value| self.fill(element, value));
            }
            _ => {}
        }
    }

    fn zero(self, of: Shape<'_>) -> Value {
        match of.node() {
            Node::Struct(_) => {
                let mut value = Value::Object(Map::new());
                self.fill(of, &mut value);
                value
            }
            Node::Map(_) | Node::List(_) | Node::Scalar(Scalar::ExtraValue | Scalar::Bytes) if self == Self::OfGo => {
                Value::Null
            }
            Node::Map(_) => json!({}),
            Node::List(_) | Node::Scalar(Scalar::ExtraValue) => json!([]),
            Node::Scalar(Scalar::String | Scalar::Bytes) => json!(""),
            Node::Scalar(Scalar::Bool) => json!(false),
            Node::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Float64 | Scalar::IntOrString) => json!(0),
            Node::Scalar(Scalar::Quantity) => json!("0"),
            Node::Scalar(
                Scalar::Time | Scalar::MicroTime | Scalar::RawExtension | Scalar::FieldsV1 | Scalar::SchemaOr(_),
            )
            | Node::Any => Value::Null,
        }
    }
}
