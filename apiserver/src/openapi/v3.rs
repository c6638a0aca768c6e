//! `/openapi/v3/…`: one OpenAPI 3.0 document for each group and version.

use std::collections::BTreeMap;

use corten_api::version;
use serde_json::{Value, json};

use super::operations::{self, Answer, Body, OBJECTS, Operation, PATCHES};
use super::schemas::{self, META, Version};
use super::usage;
use crate::registry::questions::Question;
use crate::registry::{ApiResource, Table};

/// The document of `api/v1`, `apis/apps/v1`, …, as JSON; `None` if nothing is served there.
pub fn document(table: &Table, path: &str) -> Option<Vec<u8>> {
    if path == usage::path() {
        let mut schemas = schemas::common(Version::V3);
        schemas.extend(usage::schemas(Version::V3));
        return Some(described(usage::paths(), &schemas));
    }
    let resources: Vec<&ApiResource> =
        table.announced().map(AsRef::as_ref).filter(|e| super::path_of(e.group(), e.version()) == path).collect();
    let of_path = |question: &&Question| super::path_of(question.group, "v1") == path;
    let questions: Vec<&Question> = super::described_questions().filter(of_path).collect();
    if resources.is_empty() && questions.is_empty() {
        return None;
    }
    let schemas = schemas::of(&resources, &questions, Version::V3);
    Some(described(operations::of_all(&resources, &schemas.names, &questions), &schemas.by_name))
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
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
}

fn shown(operation: &Operation) -> Value {
    let parameter = |p: &operations::params::Param| {
        let schema = json!({"type": p.kind, "uniqueItems": true});
        json!({"name": p.name, "in": "query", "schema": schema, "description": p.about})
    };
    let parameters: Vec<Value> = operation.query.iter().map(parameter).collect();
    let (group, version, kind) = (&operation.gvk.0, &operation.gvk.1, &operation.gvk.2);
    let answer = match &operation.answer {
        Answer::Object(schema) => content(OBJECTS, &Version::V3.reference(schema)),
        Answer::Text => content(&["*/*"], &json!({"type": "string"})),
    };
    let mut responses = json!({"401": {"description": "Unauthorized"}});
    for (code, text) in operation.codes {
        responses[*code] = json!({"description": text, "content": answer});
    }
    let mut shown = json!({
        "operationId": operation.id,
        "description": operation.about,
        "parameters": parameters,
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    let of = |schema: &str| Version::V3.reference(schema);
    match &operation.body {
        Body::None => {}
        Body::Object(schema) => {
            shown["requestBody"] = json!({"content": content(&["*/*"], &of(schema)), "required": true});
        }
        Body::Patch => {
            let patch = of(&format!("{META}.Patch"));
            shown["requestBody"] = json!({"content": content(PATCHES, &patch), "required": true});
        }
        Body::DeleteOptions => {
            shown["requestBody"] = json!({ "content": content(&["*/*"], &of(&format!("{META}.DeleteOptions"))) });
        }
    }
    shown
}

fn content(types: &[&str], schema: &Value) -> Value {
    Value::Object(types.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect())
}
