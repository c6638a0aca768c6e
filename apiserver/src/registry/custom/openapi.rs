//! How a custom kind is described: its author's schema, with the type and metadata of every object.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

/// Where the types of the server itself, and of Kubernetes' own libraries, have their names: a group may be called so that a kind of its
/// would have the name of one of these.
const RESERVED: [&str; 5] = [
    "io.k8s.api.",
    "io.k8s.apimachinery.",
    "io.k8s.apiextensions-apiserver.",
    "io.k8s.kube-aggregator.",
    "io.k8s.metrics.",
];
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// What the types of all kinds say of these fields.
static DESCRIPTIONS: LazyLock<[Value; 3]> = LazyLock::new(|| {
    let of = schemars::SchemaGenerator::default().into_root_schema_for::<Namespace>();
    META.map(|field| of.as_value()["properties"][field]["description"].clone())
});

#[derive(Debug)]
pub(super) struct Described {
    /// `com.example.v1.Tab`: of the group, backwards; with `_v2` behind where the server's own types are called so.
    name: String,
    /// As it was written, as text, which takes a tenth of the room.
    schema: Box<str>,
    /// `spec.color`: what field selectors may name.
    selectable: Vec<String>,
}

impl Described {
    pub(super) fn of(group: &str, kind: &str, version: &CustomResourceDefinitionVersion) -> Self {
        let group: Vec<&str> = group.split('.').rev().collect();
        let written = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let schema = written.and_then(|written| serde_json::to_string(written).ok()).unwrap_or_default().into();
        let selectable = version.selectable_fields.iter().flatten();
        let selectable = selectable.map(|field| field.json_path.trim_start_matches('.').to_owned()).collect();
        let mut name = format!("{}.{}.{kind}", group.join("."), version.name);
        if RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
            // As upstream calls it when it puts two documents together.
            name.push_str("_v2");
        }
        Self { name, schema, selectable }
    }
    /// Adds it to a document's definitions, and gives the reference to it.
    pub(super) fn add(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let home = generator.settings().definitions_path.to_string();
        let is_v2 = home.contains("definitions");
        let reference = |name: &str| format!("#{}/{name}", home.trim_start_matches('#').trim_end_matches('/'));
        let metadata = generator.subschema_for::<ObjectMeta>();
        let metadata = metadata.get("$ref").and_then(Value::as_str).unwrap_or_default().to_owned();
        let schema = self.schema(&metadata, is_v2);
        generator.definitions_mut().insert(self.name.clone(), schema);
        schemars::json_schema!({ "$ref": reference(&self.name) })
    }

    fn schema(&self, metadata: &str, is_v2: bool) -> Value {
        let mut schema = self.whole(metadata, is_v2);
        if !self.selectable.is_empty() {
            let fields: Vec<Value> = self.selectable.iter().map(|path| json!({ "fieldPath": path })).collect();
            schema["x-kubernetes-selectable-fields"] = fields.into();
        }
        schema
    }

    fn whole(&self, metadata: &str, is_v2: bool) -> Value {
        // What was JSON when it was written is; "" is no schema.
        let mut schema: Value = serde_json::from_str(&self.schema).unwrap_or(Value::Null);
        let preserves = schema["x-kubernetes-preserve-unknown-fields"] == true;
        if !schema.is_object() || (is_v2 && preserves) {
            // Clients would take the fields that are named for all that there are.
            return json!({"type": "object"});
        }
        if is_v2 {
            in_v2(&mut schema);
        } else {
            unfold(&mut schema);
        }
        embed(&mut schema, metadata, is_v2);
        put_meta(&mut schema, metadata, is_v2);
        schema
    }
}

/// All schemas that stand in a schema as parts of values.
fn parts(schema: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for (name, part) in schema {
        match (name.as_str(), part) {
            ("properties", Value::Object(all)) => found.extend(all.values_mut()),
            ("items" | "additionalProperties", part @ Value::Object(_)) => found.push(part),
            _ => {}
        }
    }
    found
}

fn reference(metadata: &str, about: &Value, is_v2: bool) -> Value {
    if is_v2 {
        json!({"$ref": metadata, "description": about})
    } else {
        json!({"allOf": [{"$ref": metadata}], "description": about})
    }
}

fn put_meta(schema: &mut Value, metadata: &str, is_v2: bool) {
    let [api_version, kind, about] = &*DESCRIPTIONS;
    let values = [
        json!({"type": "string", "description": api_version}),
        json!({"type": "string", "description": kind}),
        reference(metadata, about, is_v2),
    ];
    let Some(schema) = schema.as_object_mut() else { return };
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(META.into_iter().map(str::to_owned).zip(values));
    }
}

/// The type and metadata of objects within.
fn embed(schema: &mut Value, metadata: &str, is_v2: bool) {
    let Some(object) = schema.as_object_mut() else { return };
    parts(object).into_iter().for_each(|part| embed(part, metadata, is_v2));
    let preserves = object.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if object.get("x-kubernetes-embedded-resource") != Some(&json!(true)) || (is_v2 && preserves) {
        return;
    }
    let required = object.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        for name in ["kind", "apiVersion"] {
            if !required.contains(&json!(name)) {
                required.push(name.into());
            }
        }
    }
    put_meta(schema, metadata, is_v2);
}

/// Says that an integer or a text may stand where the schema says so in one word, which not all clients know.
fn unfold(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    parts(object).into_iter().for_each(unfold);
    if object.get("x-kubernetes-int-or-string") != Some(&json!(true)) {
        return;
    }
    let types = json!([{"type": "integer"}, {"type": "string"}]);
    let is_said = object.get("anyOf") == Some(&types)
        || object.get("allOf").and_then(|all| all.get(0)) == Some(&json!({ "anyOf": types }));
    if is_said {
        return;
    }
    if object.contains_key("anyOf") {
        let all = object.entry("allOf").or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.insert(0, json!({ "anyOf": types }));
        }
    } else {
        object.insert("anyOf".into(), types);
    }
}

/// Without what version 2 has no words for, and what clients of it stumble over.
fn in_v2(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for name in ["allOf", "anyOf", "oneOf", "not"] {
        object.remove(name);
    }
    let is = |object: &Map<String, Value>, mark: &str| object.get(mark) == Some(&json!(true));
    let may_be_null: Vec<String> = match object.get("properties") {
        Some(Value::Object(all)) => {
            let nullable = all.iter().filter(|(_, property)| property["nullable"] == true);
            nullable.map(|(name, _)| name.clone()).collect()
        }
        _ => Vec::new(),
    };
    let values_may_be_null = object.get("additionalProperties").is_some_and(|values| values["nullable"] == true);
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.retain(|name| !values_may_be_null && !may_be_null.iter().any(|nullable| name == nullable.as_str()));
        if required.is_empty() {
            object.remove("required");
        }
    }
    let (nullable, preserves) = (is(object, "nullable"), is(object, "x-kubernetes-preserve-unknown-fields"));
    if nullable {
        object.remove("type");
        object.remove("nullable");
    }
    if nullable || preserves {
        object.remove("items");
        object.remove("properties");
    }
    let kind = object.get("type").and_then(Value::as_str);
    let is_untyped_list = kind == Some("array") && !object.contains_key("items");
    if is_untyped_list || (preserves && kind == Some("object")) {
        object.remove("type");
    }
    parts(object).into_iter().for_each(in_v2);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(written: Value, is_v2: bool) -> Value {
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": written},
            "selectableFields": [{"jsonPath": ".spec.color"}]});
        let mut schema =
            Described::of("example.com", "Tab", &serde_json::from_value(version).unwrap()).schema("#/meta", is_v2);
        let selectable = schema.as_object_mut().unwrap().remove("x-kubernetes-selectable-fields");
        assert_eq!(selectable, Some(json!([{"fieldPath": "spec.color"}])));
        schema
    }

    #[test]
    fn a_schema_is_described_as_it_was_written() {
        let spec = json!({"type": "object", "description": "What is wanted", "properties": {"a": {"type": "string", "enum": ["x"]}}});
        let written = json!({"type": "object", "description": "A tab", "properties": {"spec": spec}});
        for is_v2 in [true, false] {
            let shown = described(written.clone(), is_v2);
            assert_eq!((&shown["properties"]["spec"], &shown["description"]), (&spec, &json!("A tab")));
            assert_eq!(shown["properties"]["kind"]["type"], "string");
        }
        let bare = serde_json::from_value(json!({"name": "v1", "served": true, "storage": true})).unwrap();
        assert_eq!(Described::of("stable.example.com", "Tab", &bare).name, "com.example.stable.v1.Tab");
        for (group, name) in [
            ("core.api.k8s.io", "io.k8s.api.core.v1.Tab_v2"),
            ("meta.apis.pkg.apimachinery.k8s.io", "io.k8s.apimachinery.pkg.apis.meta.v1.Tab_v2"),
            ("gateway.networking.k8s.io", "io.k8s.networking.gateway.v1.Tab"),
        ] {
            assert_eq!(Described::of(group, "Tab", &bare).name, name);
        }
        let port = json!({"type": "object", "properties": {"port": {"x-kubernetes-int-or-string": true}}});
        assert_eq!(
            described(port, false)["properties"]["port"]["anyOf"],
            json!([{"type": "integer"}, {"type": "string"}])
        );
    }

    #[test]
    fn version_2_is_not_told_what_it_has_no_words_for() {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        assert_eq!(described(open.clone(), true), json!({"type": "object"}));
        let within = json!({"type": "object", "required": ["n"], "properties": {
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}}},
            "n": {"type": "string", "nullable": true},
            "one": {"type": "string", "oneOf": [{"pattern": "a"}]},
        }});
        let shown = described(within.clone(), true);
        assert_eq!(shown["properties"]["open"], json!({"x-kubernetes-preserve-unknown-fields": true}));
        assert_eq!((&shown["properties"]["n"], &shown["required"]), (&json!({}), &Value::Null));
        assert_eq!(shown["properties"]["one"], json!({"type": "string"}));
        assert_eq!(described(within.clone(), false)["properties"]["one"], within["properties"]["one"]);
    }
}
