//! The parts of a configuration that are owned as one: lists, maps and structs that it can only replace.

use serde_json::Value;

use crate::schema::{ListKind, Node, Shape};

/// More are not told.
const TOLD_MAX: usize = 20;

/// The paths of those in a value, as upstream writes them.
pub(super) fn of(shape: Option<Shape<'_>>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(shape) = shape {
        look(shape, value, &mut String::new(), &mut found);
    }
    found
}

fn look(shape: Shape<'_>, value: &Value, at: &mut String, found: &mut Vec<String>) {
    if found.len() >= TOLD_MAX {
        return;
    }
    let len = at.len();
    match value {
        Value::Object(fields) => {
            if is_atomic(shape) {
                found.push(at.clone());
            }
            // Into declared fields alone, as upstream's look.
            let is_struct = matches!(shape.node(), Node::Struct(_));
            for (name, field) in fields.iter().filter(|_| is_struct) {
                if let Some(shape) = shape.child(name) {
                    at.push('.');
                    at.push_str(name);
                    look(shape, field, at, found);
                    at.truncate(len);
                }
            }
        }
        Value::Array(items) => {
            if is_atomic(shape) {
                found.push(at.clone());
            }
            let Some(shape) = shape.element() else { return };
            for (index, item) in items.iter().enumerate() {
                at.push_str(&format!("[{index}]"));
                look(shape, item, at, found);
                at.truncate(len);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_atomic(shape: Shape<'_>) -> bool {
    match shape.node() {
        Node::Struct(of) => of.atomic,
        Node::Map(map) => map.atomic,
        Node::List(list) => list.kind == ListKind::Atomic,
        Node::Scalar(_) | Node::Any => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::merged;
    use crate::schema::builtin;

    #[test]
    fn what_is_owned_as_one_is_not_merged() {
        let shape = builtin().kind("v1", "Pod");
        let pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let with =
            |spec: serde_json::Value| merged(shape, &pod, &json!({ "spec": spec })).map_err(|err| err.to_string());
        let new =
            with(json!({"containers": [{"name": "c", "env": [{"name": "e", "value": "v"}]}, {"name": "d"}]})).unwrap();
        assert_eq!(
            new["spec"]["containers"],
            json!([{"name": "c", "image": "i", "env": [{"name": "e", "value": "v"}]}, {"name": "d"}])
        );
        assert_eq!(
            with(json!({"containers": [{"name": "c", "args": ["a"]}], "nodeSelector": {"a": "b"}})),
            Err("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].args, .spec.nodeSelector".into())
        );
        let why = with(json!({"unknown": 1})).unwrap_err();
        assert_eq!(why, "failed to convert patch object to typed object: .spec.unknown: field not declared in schema");
    }
}
