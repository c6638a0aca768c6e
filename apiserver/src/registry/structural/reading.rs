//! What of a schema matters to how stored objects are read: what [`prune`](super::prune) and [`fill`](super::fill) look at. A change of
//! anything else reads none of them anew.

use sha2::{Digest, Sha256};

use super::{Additional, Structural};

impl Structural {
    /// Adds it to a digest: two schemas that add the same read all objects alike.
    pub fn reading_digest(&self, digest: &mut Sha256) {
        let Self {
            kind: _,
            nullable,
            default,
            properties,
            additional,
            items,
            preserves,
            embedded,
            int_or_string: _,
            list: _,
            map_is_atomic: _,
            limits: _,
        } = self;
        digest.update([u8::from(*nullable), u8::from(*preserves), u8::from(*embedded)]);
        digest.update([u8::from(default.is_some())]);
        if let Some(default) = default {
            text(&default.to_string(), digest);
        }
        length(properties.iter().count(), digest);
        for (name, property) in properties.iter() {
            text(name, digest);
            property.reading_digest(digest);
        }
        match additional {
            None => digest.update([0]),
            Some(Additional::Any(_)) => digest.update([1]),
            Some(Additional::Schema(schema)) => {
                digest.update([2]);
                schema.reading_digest(digest);
            }
        }
        digest.update([u8::from(items.is_some())]);
        if let Some(items) = items {
            items.reading_digest(digest);
        }
    }
}

fn length(length: usize, digest: &mut Sha256) {
    digest.update(length.to_le_bytes());
}
fn text(text: &str, digest: &mut Sha256) {
    length(text.len(), digest);
    digest.update(text);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::schema;
    use super::*;

    #[test]
    fn what_makes_a_difference_to_who_reads() {
        let digest = |of: Value| {
            let mut digest = Sha256::new();
            schema(json!({"type": "object", "properties": {"a": of}})).reading_digest(&mut digest);
            digest.finalize()
        };
        let plain = digest(json!({"type": "string"}));
        for (why, of, differs) in [
            ("nothing", json!({"type": "string"}), false),
            ("a description", json!({"type": "string", "description": "a"}), false),
            ("a rule for writes", json!({"type": "string", "pattern": "a", "enum": ["a"]}), false),
            ("the type", json!({"type": "integer"}), false),
            ("of two types", json!({"x-kubernetes-int-or-string": true}), false),
            ("whose map it is", json!({"type": "object", "x-kubernetes-map-type": "atomic"}), false),
            ("a default", json!({"type": "string", "default": "a"}), true),
            ("null", json!({"type": "string", "nullable": true}), true),
            ("a field within", json!({"type": "object", "properties": {"description": {"type": "string"}}}), true),
            ("any fields", json!({"type": "object", "additionalProperties": true}), true),
            ("fields of a kind", json!({"type": "object", "additionalProperties": {"type": "string"}}), true),
            ("items", json!({"type": "array", "items": {"type": "string"}}), true),
            ("what is not named", json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), true),
            ("an object within", json!({"type": "object", "x-kubernetes-embedded-resource": true}), true),
        ] {
            assert_eq!(digest(of) != plain, differs, "{why}");
        }
    }
}
