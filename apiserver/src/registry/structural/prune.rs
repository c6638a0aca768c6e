//! What a schema does not declare goes.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{Additional, Structural};

/// Fields that are told of; whoever has more begins with these.
const MAX_TOLD: usize = 100;
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Takes from a whole object what its schema does not declare, and gives the paths of it, in their order:
/// `spec.template.foo`, `spec.items[0].bar`. Type and metadata are not looked at.
pub fn prune(object: &mut Map<String, Value>, of: &Structural) -> Vec<String> {
    let mut pruning = Pruning { path: String::new(), unknown: Vec::new() };
    pruning.fields(object, Some(of), of.preserves, true);
    let mut unknown = pruning.unknown;
    unknown.sort();
    unknown
}

/// As [`prune`], of any value.
pub fn prune_value(value: &mut Value, of: &Structural) -> Vec<String> {
    let mut pruning = Pruning { path: String::new(), unknown: Vec::new() };
    pruning.value(value, Some(of), false);
    pruning.unknown
}

struct Pruning {
    path: String,
    unknown: Vec<String>,
}

impl Pruning {
    /// `of`: `None` where nothing is known, so that no field is. `keeps`: unknown fields of this value stay.
    fn value(&mut self, value: &mut Value, of: Option<&Structural>, keeps: bool) {
        let keeps = keeps || of.is_some_and(|of| of.preserves);
        match value {
            Value::Object(fields) => self.fields(fields, of, keeps, of.is_some_and(|of| of.embedded)),
            Value::Array(items) => {
                let of = of.and_then(|of| of.items.as_deref());
                if keeps && of.is_none() {
                    return;
                }
                for (at, item) in items.iter_mut().enumerate() {
                    let len = self.path.len();
                    // Writing to a String cannot fail.
                    let _ = write!(self.path, "[{at}]");
                    self.value(item, of, keeps);
                    self.path.truncate(len);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn fields(&mut self, fields: &mut Map<String, Value>, of: Option<&Structural>, keeps: bool, has_meta: bool) {
        fields.retain(|name, value| {
            if has_meta && META.contains(&name.as_str()) {
                return true;
            }
            let len = self.path.len();
            if len > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            let known = match of.map(|of| (of.properties.get(name), &of.additional)) {
                Some((Some(property), _)) => Some(Some(property)),
                Some((None, Some(Additional::Schema(schema)))) => Some(Some(&**schema)),
                Some((None, Some(Additional::Any(_)))) => Some(None),
                Some((None, None)) | None => None,
            };
            let stays = match known {
                Some(of) => {
                    self.value(value, of, false);
                    true
                }
                None if keeps => true,
                None => {
                    if self.unknown.len() < MAX_TOLD {
                        self.unknown.push(self.path.clone());
                    }
                    false
                }
            };
            self.path.truncate(len);
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::schema;
    use super::*;

    #[test]
    fn what_is_not_declared_goes_and_is_told_of() {
        let of = schema(json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "known": {"type": "string"},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                    "closed": {"type": "object", "properties": {"a": {"type": "string"}}},
                }},
                "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
                "any": {"type": "object", "additionalProperties": true},
                "within": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            }},
        }}));
        let mut object = json!({
            "apiVersion": "a/v1", "kind": "A", "metadata": {"x": 1}, "unknown": 1,
            "spec": {
                "known": "a", "new": {"a": 1},
                "open": {"free": {"a": 1}, "closed": {"a": "b", "b": "c"}},
                "list": [{"a": 1, "b": 2}],
                "map": {"k": {"a": "b", "c": "d"}},
                "any": {"k": "v"},
                "within": {"apiVersion": "b/v1", "metadata": {"y": 1}, "spec": {"z": 1}},
            },
        });
        let told = prune(object.as_object_mut().unwrap(), &of);
        assert_eq!(
            told,
            ["spec.list[0].b", "spec.map.k.c", "spec.new", "spec.open.closed.b", "spec.within.spec.z", "unknown"]
        );
        assert_eq!(
            object,
            json!({
                "apiVersion": "a/v1", "kind": "A", "metadata": {"x": 1},
                "spec": {
                    "known": "a", "open": {"free": {"a": 1}, "closed": {"a": "b"}}, "list": [{"a": 1}],
                    "map": {"k": {"a": "b"}}, "any": {"k": "v"},
                    "within": {"apiVersion": "b/v1", "metadata": {"y": 1}, "spec": {}},
                },
            })
        );
    }

    #[test]
    fn so_many_are_told_of_and_all_go() {
        let fields: Map<String, Value> = (0..500).map(|n| (format!("f{n}"), json!(1))).collect();
        let mut object = fields;
        assert_eq!(prune(&mut object, &schema(json!({"type": "object"}))).len(), MAX_TOLD);
        assert!(object.is_empty());
    }
}
