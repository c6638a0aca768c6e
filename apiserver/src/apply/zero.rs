//! The values that Go's types write though nobody set them.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::place::{Part, Place};
use crate::schema::{Field, Node, Scalar, Shape, Struct, Zero};

/// The fields of a struct that are written whatever is in them.
pub(super) fn written<'s>(place: Place<'s>) -> impl Iterator<Item = &'s Field> {
    let fields = place.shape().and_then(Shape::as_struct).map(Struct::fields);
    fields.into_iter().flatten().filter(|field| field.zero == Zero::Written)
}

/// What a field is that is not there, if its struct is; `None`: it is not there.
pub(super) fn of_part(part: Part<'_>) -> Option<&'static Value> {
    part.field.filter(|field| field.zero == Zero::Written)?;
    part.place.shape().map(of)
}

/// The value of a field that nobody set.
fn of(shape: Shape<'_>) -> &'static Value {
    static ZEROS: LazyLock<Zeros> = LazyLock::new(|| Zeros {
        object: Value::Object(Map::new()),
        number: json!(0),
        text: json!(""),
        quantity: json!("0"),
    });
    match shape.node() {
        Node::Struct(_) => &ZEROS.object,
        Node::Map(_) | Node::List(_) | Node::Any => &Value::Null,
        Node::Scalar(scalar) => match scalar {
            Scalar::String => &ZEROS.text,
            Scalar::Bool => &Value::Bool(false),
            Scalar::Int32 | Scalar::Int64 | Scalar::Float64 | Scalar::IntOrString => &ZEROS.number,
            Scalar::Quantity => &ZEROS.quantity,
            Scalar::Bytes
            | Scalar::Time
            | Scalar::MicroTime
            | Scalar::RawExtension
            | Scalar::FieldsV1
            | Scalar::ExtraValue
            | Scalar::SchemaOr(_) => &Value::Null,
        },
    }
}

struct Zeros {
    object: Value,
    number: Value,
    text: Value,
    quantity: Value,
}
