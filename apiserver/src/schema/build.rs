//! Schemas that are made while the server runs, node by node: those of custom kinds.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::builtin;
use super::model::{Around, Field, List, ListKind, Map, Node, NodeId, PatchStrategy, Scalar, Schema, Struct, Zero};

/// A schema of a million nodes does not fit into the store.
const MAX_NODES: usize = 1 << 20;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema has more than {MAX_NODES} nodes")]
pub struct TooMany;

/// A schema as it grows. It has the metadata of objects from the beginning.
pub struct Builder {
    schema: Schema,
    metadata: NodeId,
}

/// An object whose fields are known.
pub struct Object {
    /// Field, its node, and what is meant where nothing is given.
    pub fields: Vec<(Arc<str>, NodeId, Option<Value>)>,
    pub atomic: bool,
    /// Other fields may be there too.
    pub open: bool,
}

impl Builder {
    pub fn new() -> Result<Self, TooMany> {
        let mut builder = Self { schema: Schema::default(), metadata: NodeId(0) };
        let of = builtin();
        builder.metadata = match of.types.get("meta.v1.ObjectMeta") {
            Some(metadata) => builder.copy(of, *metadata, &mut HashMap::new())?,
            None => builder.add(Node::Any)?,
        };
        Ok(builder)
    }
    /// Of every object.
    pub fn metadata(&self) -> NodeId {
        self.metadata
    }
    pub fn any(&mut self) -> Result<NodeId, TooMany> {
        self.add(Node::Any)
    }
    pub fn scalar(&mut self, scalar: Scalar) -> Result<NodeId, TooMany> {
        self.add(Node::Scalar(scalar))
    }
    pub fn list(&mut self, items: NodeId, kind: ListKind) -> Result<NodeId, TooMany> {
        self.add(Node::List(List { items, kind }))
    }
    pub fn map(&mut self, values: NodeId, atomic: bool) -> Result<NodeId, TooMany> {
        self.add(Node::Map(Map { values, atomic }))
    }
    pub fn object(&mut self, object: Object) -> Result<NodeId, TooMany> {
        let field = |(name, node, default)| Field {
            name,
            node,
            required: false,
            // What is not there is not the same as a zero: no Go type stands behind it.
            zero: Zero::Distinct,
            number: 0,
            around: Around::NONE,
            patch: PatchStrategy::default(),
            default,
        };
        let fields = object.fields.into_iter().map(field).collect();
        let mut of = Struct::new("".into(), object.atomic, Vec::new(), fields);
        of.open = object.open;
        self.add(Node::Struct(of))
    }
    pub fn finish(self) -> Schema {
        self.schema
    }

    fn add(&mut self, node: Node) -> Result<NodeId, TooMany> {
        let id = u32::try_from(self.schema.nodes.len()).map_err(|_| TooMany)?;
        if self.schema.nodes.len() >= MAX_NODES {
            return Err(TooMany);
        }
        self.schema.nodes.push(node);
        Ok(NodeId(id))
    }
    /// A node of another schema, and all that it refers to.
    fn copy(&mut self, of: &Schema, node: NodeId, known: &mut HashMap<NodeId, NodeId>) -> Result<NodeId, TooMany> {
        if let Some(copied) = known.get(&node) {
            return Ok(*copied);
        }
        // Its place, for what refers back to it.
        let at = self.add(Node::Any)?;
        known.insert(node, at);
        let mut copied = of.shape(node).node().clone();
        match &mut copied {
            Node::Struct(of_struct) => {
                for field in &mut of_struct.fields {
                    field.node = self.copy(of, field.node, known)?;
                }
            }
            Node::Map(map) => map.values = self.copy(of, map.values, known)?,
            Node::List(list) => list.items = self.copy(of, list.items, known)?,
            Node::Scalar(_) | Node::Any => {}
        }
        self.schema.nodes[at.0 as usize] = copied;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Shape;

    #[test]
    fn what_is_built_has_the_metadata_of_all_objects() {
        let mut builder = Builder::new().unwrap();
        let text = builder.scalar(Scalar::String).unwrap();
        let fields = vec![("metadata".into(), builder.metadata(), None), ("a".into(), text, Some("A".into()))];
        let root = builder.object(Object { fields, atomic: false, open: true }).unwrap();
        let schema = builder.finish();
        let shape = schema.shape(root);
        assert_eq!(shape.field("a").unwrap().0.default, Some("A".into()));
        let labels = shape.child("metadata").and_then(|meta| meta.child("labels")).and_then(Shape::element).unwrap();
        assert_eq!(*labels.node(), Node::Scalar(Scalar::String));
        let owners = shape.child("metadata").and_then(|meta| meta.child("ownerReferences")).unwrap();
        assert!(
            matches!(owners.node(), Node::List(list) if matches!(&list.kind, ListKind::Map(keys) if *keys == ["uid".into()].into()))
        );
    }
}
