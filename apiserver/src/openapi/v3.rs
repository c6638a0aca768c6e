//! `/openapi/v3/…`: one OpenAPI 3.0 document for each group and version.

use std::collections::BTreeMap;

use corten_api::version;
use serde_json::{Value, json};

use super::operations::{self, Body, OBJECTS, Operation, PATCHES};
use super::schemas::{self, META, Version};
use super::usage;
use crate::registry::{ApiResource, Table};

/// The document of `api/v1`, `apis/apps/v1`, …, as JSON; `None` if nothing is served there.
pub fn document(table: &Table, path: &str) -> Option<Vec<u8>> {
    if path == usage::path() {
        let mut schemas = schemas::common(Version::V3);
        schemas.extend(usage::schemas(Version::V3));
        return Some(described(usage::paths(), &schemas));
    }
    let resources: Vec<&ApiResource> =
        table.iter().map(AsRef::as_ref).filter(|e| super::path_of(e.group(), e.version()) == path).collect();
    if resources.is_empty() {
        return None;
    }
    let schemas = schemas::of(&resources, Version::V3);
    Some(described(operations::of_all(&resources, &schemas.names), &schemas.by_name))
}

fn described(paths: Vec<operations::Path>, schemas: &BTreeMap<String, Value>) -> Vec<u8> {
    let paths = operations::paths(paths, shown, path_parameter);
    let document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version::API},
        "paths": paths,
        "components": {"schemas": schemas},
    });
    document.to_string().into_bytes()
}

fn path_parameter(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
}

fn shown(operation: &Operation) -> Value {
    let parameters: Vec<Value> = operation
        .query
        .iter()
        .map(|p| json!({"name": p.name, "in": "query", "schema": {"type": p.kind}, "description": p.about}))
        .collect();
    let (group, version, kind) = (&operation.gvk.0, &operation.gvk.1, &operation.gvk.2);
    let mut answer = json!({"description": "OK"});
    if let Some(schema) = &operation.answer {
        answer["content"] = content(OBJECTS, schema);
    }
    let mut shown = json!({
        "operationId": operation.id,
        "description": operation.about,
        "parameters": parameters,
        "responses": {"200": answer, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    match &operation.body {
        Body::None => {}
        Body::Object(schema) => shown["requestBody"] = json!({"content": content(&["*/*"], schema), "required": true}),
        Body::Patch => {
            shown["requestBody"] = json!({"content": content(PATCHES, &format!("{META}.Patch")), "required": true});
        }
        Body::DeleteOptions => {
            shown["requestBody"] = json!({ "content": content(&["*/*"], &format!("{META}.DeleteOptions")) });
        }
    }
    shown
}

fn content(types: &[&str], schema: &str) -> Value {
    let each = |media: &&str| ((*media).to_owned(), json!({"schema": Version::V3.reference(schema)}));
    Value::Object(types.iter().map(each).collect())
}
