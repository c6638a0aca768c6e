//! What follows from the lines of a table: how much values take in memory, and which fields are always there.

use super::super::model::{Node, NodeId, Scalar, Schema, Struct, Zero};

/// Of a text, a list, a map.
const POINTER_LENGTH_ROOM: u32 = 24;
/// Of a struct within itself, which stands elsewhere.
const POINTER: u32 = 8;
/// Of any JSON.
const ANY: u32 = 32;

/// What a value of each node takes where it stands: of structs, the sum of their fields, as the typed objects have them.
pub(super) fn held(schema: &Schema) -> Vec<u32> {
    let mut known = vec![None; schema.nodes.len()];
    (0..schema.nodes.len()).map(|at| of_node(schema, at, &mut known)).collect()
}

fn of_node(schema: &Schema, at: usize, known: &mut [Option<u32>]) -> u32 {
    if let Some(bytes) = known[at] {
        return bytes;
    }
    let bytes = match &schema.nodes[at] {
        Node::Map(_) | Node::List(_) => POINTER_LENGTH_ROOM,
        Node::Scalar(scalar) => of_scalar(*scalar),
        Node::Any => ANY,
        Node::Struct(of) => {
            // What it says of itself while its fields are summed up.
            known[at] = Some(POINTER);
            let fields = of.fields().iter().map(|field| of_node(schema, place(field.node), known));
            fields.sum::<u32>().next_multiple_of(POINTER)
        }
    };
    known[at] = Some(bytes);
    bytes
}

fn of_scalar(scalar: Scalar) -> u32 {
    match scalar {
        Scalar::Bool => 1,
        Scalar::Int32 => 8,
        Scalar::Int64 | Scalar::Float64 => 16,
        Scalar::String | Scalar::Bytes | Scalar::Quantity | Scalar::IntOrString | Scalar::ExtraValue => {
            POINTER_LENGTH_ROOM
        }
        Scalar::Time | Scalar::MicroTime => 24,
        Scalar::RawExtension | Scalar::FieldsV1 | Scalar::SchemaOr(_) => ANY,
    }
}

/// The fields that Go writes whatever is in them and that have no parts. The typed objects have no zero of their own for
/// required times and quantities; of the time of an event they know that it may be missing.
pub(super) fn filled(of: &Struct, schema: &Schema) -> Box<[u16]> {
    let is_filled = |node: NodeId, required: bool| match &schema.nodes[place(node)] {
        Node::Scalar(Scalar::Time | Scalar::MicroTime | Scalar::Quantity) => required,
        Node::Scalar(Scalar::String | Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Float64) => !required,
        Node::Scalar(_) | Node::Struct(_) | Node::Map(_) | Node::List(_) | Node::Any => false,
    };
    let fields = of.fields().iter().zip(0_u16..);
    let filled = fields.filter(|(field, _)| {
        field.zero == Zero::Written && is_filled(field.node, field.required) && &*field.name != "eventTime"
    });
    filled.map(|(_, at)| at).collect()
}

/// Below the bound of nodes, which is below 2^32.
fn place(node: NodeId) -> usize {
    node.0 as usize
}
