//! A structural schema as a [`Schema`]: what server-side apply walks objects by.

use std::sync::Arc;

use super::{Additional, SchemaType, Structural};
use crate::schema::build::{Builder, Object, TooMany};
use crate::schema::{ListKind, NodeId, Scalar, Schema};

/// The schema of a kind's objects, and the node that they are of.
pub fn of(root: &Structural) -> Result<(Schema, NodeId), TooMany> {
    let mut builder = Builder::new()?;
    let node = object(&mut builder, root, true)?;
    Ok((builder.finish(), node))
}

fn node(builder: &mut Builder, of: &Structural) -> Result<NodeId, TooMany> {
    if of.int_or_string {
        return builder.scalar(Scalar::IntOrString);
    }
    match of.kind {
        None => builder.any(),
        Some(SchemaType::Boolean) => builder.scalar(Scalar::Bool),
        Some(SchemaType::Integer) => builder.scalar(Scalar::Int64),
        Some(SchemaType::Number) => builder.scalar(Scalar::Float64),
        Some(SchemaType::String) => builder.scalar(Scalar::String),
        Some(SchemaType::Array) => {
            let items = match &of.items {
                Some(items) => node(builder, items)?,
                None => builder.any()?,
            };
            builder.list(items, of.list.clone().unwrap_or(ListKind::Atomic))
        }
        Some(SchemaType::Object) => match &of.additional {
            Some(Additional::Schema(values)) if of.properties.is_empty() => {
                let values = node(builder, values)?;
                builder.map(values, of.map_is_atomic)
            }
            Some(Additional::Any(true)) if of.properties.is_empty() => {
                let values = builder.any()?;
                builder.map(values, of.map_is_atomic)
            }
            _ => object(builder, of, of.embedded),
        },
    }
}

/// `has_meta`: it says its type and has metadata, whatever the schema says of them.
fn object(builder: &mut Builder, of: &Structural, has_meta: bool) -> Result<NodeId, TooMany> {
    let mut fields: Vec<(Arc<str>, NodeId, _)> = Vec::new();
    for (name, property) in of.properties.iter() {
        if !(has_meta && matches!(name, "apiVersion" | "kind" | "metadata")) {
            fields.push((name.into(), node(builder, property)?, property.default.clone()));
        }
    }
    if has_meta {
        for name in ["apiVersion", "kind"] {
            fields.push((name.into(), builder.scalar(Scalar::String)?, None));
        }
        fields.push(("metadata".into(), builder.metadata(), None));
    }
    builder.object(Object { fields, atomic: of.map_is_atomic, open: of.preserves })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::schema;
    use super::*;
    use crate::schema::{Node, Shape};

    #[test]
    fn lists_and_maps_merge_as_their_schema_says() {
        let (schema, root) = of(&schema(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "plain": {"type": "array", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string", "default": "K"}}}},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
            "port": {"x-kubernetes-int-or-string": true},
        }}}})))
        .unwrap();
        let spec = schema.shape(root).child("spec").unwrap();
        let of = |name| spec.child(name).unwrap().node();
        assert!(matches!(of("set"), Node::List(list) if list.kind == ListKind::Set));
        assert!(matches!(of("plain"), Node::List(list) if list.kind == ListKind::Atomic));
        assert!(matches!(of("map"), Node::List(list) if list.kind == ListKind::Map(["k".into()].into())));
        let key = spec.child("map").and_then(Shape::element).unwrap();
        assert_eq!(key.field("k").unwrap().0.default, Some(json!("K")));
        assert!(matches!(of("whole"), Node::Map(map) if map.atomic));
        assert!(matches!(of("open"), Node::Struct(of) if of.open));
        assert_eq!(*of("any"), Node::Any);
        assert_eq!(*of("port"), Node::Scalar(Scalar::IntOrString));
    }
}
