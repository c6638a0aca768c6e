//! Reads the published OpenAPI v2 document: each type that a stable kind needs, its fields, and how they merge.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use serde_json::{Map, Value};

/// Where the built-in types' names begin in the document, and what stands for it in the table.
const PREFIXES: [(&str, &str); 4] = [
    ("io.k8s.api.", ""),
    ("io.k8s.apimachinery.pkg.apis.", ""),
    ("io.k8s.apiextensions-apiserver.pkg.apis.", ""),
    ("io.k8s.kube-aggregator.pkg.apis.", ""),
];
/// Types with a form of their own on the wire: the table calls them by one word and says nothing more.
const SCALARS: [(&str, &str); 11] = [
    ("io.k8s.apimachinery.pkg.api.resource.Quantity", "Quantity"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", "FieldsV1"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", "MicroTime"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", "Time"),
    ("io.k8s.apimachinery.pkg.runtime.RawExtension", "RawExtension"),
    ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", "IntOrString"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Patch", "RawExtension"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON", "RawExtension"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray", "SchemaOrArray"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool", "SchemaOrBool"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray", "SchemaOrStringArray"),
];

/// A type with fields.
#[derive(Debug, Default)]
pub(super) struct Type {
    /// Group, version and kind, where the type is one kind and not part of many.
    pub(super) kind: Option<[String; 3]>,
    /// Taken or left as a whole.
    pub(super) atomic: bool,
    /// The field that tells which of the others is meant, and those others (`x-kubernetes-unions`).
    pub(super) unions: Vec<String>,
    pub(super) fields: BTreeMap<String, Field>,
}

#[derive(Debug)]
pub(super) struct Field {
    /// As Go writes it, with the names of [`types`].
    pub(super) type_name: String,
    pub(super) required: bool,
    /// What is said beyond the type: `list=map(name)`, `patch=merge(name)`, …
    pub(super) marks: Vec<String>,
}

/// The types that the stable kinds are made of, by the table's names.
pub(super) fn types(document: &Value) -> anyhow::Result<BTreeMap<String, Type>> {
    let definitions = document["definitions"].as_object().context("the document has no definitions")?;
    let mut wanted: Vec<&str> = Vec::new();
    for (name, definition) in definitions {
        if kinds(definition).iter().any(|[_, version, _]| is_stable(version)) {
            wanted.push(name);
        }
    }
    let (mut seen, mut types) = (BTreeSet::new(), BTreeMap::new());
    while let Some(name) = wanted.pop() {
        if is_list_of_definitions(name, definitions) || !seen.insert(name) {
            continue;
        }
        let definition = definitions.get(name).with_context(|| format!("{name} is referred to and not defined"))?;
        references(definition, &mut wanted);
        if SCALARS.iter().all(|(scalar, _)| *scalar != name) {
            types.insert(short(name), type_of(definition).with_context(|| name.to_owned())?);
        }
    }
    Ok(types)
}

/// `v1`, `v2`: not `v1beta1`.
fn is_stable(version: &str) -> bool {
    version.strip_prefix('v').is_some_and(|digits| digits.parse::<u8>().is_ok())
}

/// Lists of kinds (`PodList`) are all alike, and so no types of the table.
fn is_list_of_definitions(name: &str, definitions: &Map<String, Value>) -> bool {
    let Some(item) = name.strip_suffix("List") else { return false };
    definitions.get(item).is_some_and(|item| !kinds(item).is_empty())
}

fn kinds(definition: &Value) -> Vec<[String; 3]> {
    let listed = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let of = |kind: &Value| [text(kind, "group"), text(kind, "version"), text(kind, "kind")];
    listed.into_iter().flatten().map(of).collect()
}

fn references<'d>(value: &'d Value, into: &mut Vec<&'d str>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(reference));
            map.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

/// `None` for a property that happens to be called `$ref`.
fn reference(value: &Value) -> Option<&str> {
    value.as_str()?.rsplit('/').next()
}

fn short(name: &str) -> String {
    let rest = PREFIXES.iter().find_map(|(prefix, short)| Some(format!("{short}{}", name.strip_prefix(prefix)?)));
    rest.unwrap_or_else(|| name.rsplit('.').next().unwrap_or(name).to_owned())
}

fn type_of(definition: &Value) -> anyhow::Result<Type> {
    let mut kinds = kinds(definition);
    let required: BTreeSet<&str> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fields = BTreeMap::new();
    for (name, property) in definition["properties"].as_object().into_iter().flatten() {
        let type_name = type_name(property).with_context(|| name.clone())?;
        let field = Field { type_name, required: required.contains(name.as_str()), marks: marks(property) };
        fields.insert(name.clone(), field);
    }
    let unions = definition["x-kubernetes-unions"].as_array().into_iter().flatten();
    Ok(Type {
        kind: if kinds.len() == 1 { kinds.pop() } else { None },
        atomic: definition["x-kubernetes-map-type"] == "atomic",
        unions: unions.map(union_mark).collect(),
        fields,
    })
}

/// `type(queuing:Queuing)`, or `(pod:Pod)` for a union that no field tells apart.
fn union_mark(union: &Value) -> String {
    let fields = union["fields-to-discriminateBy"].as_object().into_iter().flatten();
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}:{}", value.as_str().unwrap_or(""))).collect();
    format!("{}({})", union["discriminator"].as_str().unwrap_or_default(), fields.join(","))
}

fn type_name(property: &Value) -> anyhow::Result<String> {
    if let Some(name) = property.get("$ref").and_then(reference) {
        let scalar = SCALARS.iter().find(|(full, _)| *full == name);
        return Ok(scalar.map_or_else(|| short(name), |(_, word)| (*word).to_owned()));
    }
    let format = property["format"].as_str();
    Ok(match (property["type"].as_str(), format) {
        (Some("array"), _) => format!("[]{}", type_name(&property["items"])?),
        (Some("object"), _) if property["additionalProperties"].is_object() => {
            format!("map[string]{}", type_name(&property["additionalProperties"])?)
        }
        (Some("object") | None, _) => "RawExtension".into(),
        (Some("string"), Some("byte")) => "bytes".into(),
        (Some("string"), Some("date-time")) => "Time".into(),
        (Some("string"), _) => "string".into(),
        (Some("boolean"), _) => "bool".into(),
        (Some("integer"), format) => format.unwrap_or("int64").into(),
        (Some("number"), _) => "float64".into(),
        (Some(other), _) => bail!("a type of {other:?} is not known"),
    })
}

fn marks(property: &Value) -> Vec<String> {
    let mut marks = Vec::new();
    let text = |key: &str| property[key].as_str();
    if let Some(list) = text("x-kubernetes-list-type") {
        let keys = property["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let keys: Vec<&str> = keys.collect();
        marks.push(if keys.is_empty() { format!("list={list}") } else { format!("list={list}({})", keys.join(",")) });
    }
    if text("x-kubernetes-map-type") == Some("atomic") {
        marks.push("map=atomic".into());
    }
    if let Some(strategy) = text("x-kubernetes-patch-strategy") {
        let key = text("x-kubernetes-patch-merge-key").map(|key| format!("({key})")).unwrap_or_default();
        // `merge,retainKeys` is written `merge(name)+retainKeys`.
        let words: Vec<String> = strategy
            .split(',')
            .map(|word| if word == "merge" { format!("merge{key}") } else { word.to_owned() })
            .collect();
        marks.push(format!("patch={}", words.join("+")));
    }
    marks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn properties_become_go_like_types() {
        let reference = |name: &str| json!({ "$ref": format!("#/definitions/{name}") });
        for (property, expected) in [
            (json!({"type": "string"}), "string"),
            (json!({"type": "string", "format": "byte"}), "bytes"),
            (json!({"type": "integer", "format": "int32"}), "int32"),
            (json!({"type": "integer"}), "int64"),
            (json!({"type": "number", "format": "double"}), "float64"),
            (reference("io.k8s.api.core.v1.PodSpec"), "core.v1.PodSpec"),
            (reference("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"), "meta.v1.ObjectMeta"),
            (reference("io.k8s.apimachinery.pkg.api.resource.Quantity"), "Quantity"),
            (json!({"type": "array", "items": {"type": "string"}}), "[]string"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "map[string]string"),
            (json!({"type": "object"}), "RawExtension"),
        ] {
            assert_eq!(type_name(&property).unwrap(), expected, "{property}");
        }
        assert!(type_name(&json!({"type": "null"})).is_err());
    }

    #[test]
    fn how_lists_and_maps_merge_is_kept() {
        let property = json!({
            "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"], "x-kubernetes-patch-strategy": "merge,retainKeys",
            "x-kubernetes-patch-merge-key": "port",
        });
        assert_eq!(marks(&property), ["list=map(port,protocol)", "patch=merge(port)+retainKeys"]);
        assert!(marks(&json!({"type": "string"})).is_empty());
    }
}
