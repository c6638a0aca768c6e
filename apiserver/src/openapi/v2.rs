//! `/openapi/v2`: one Swagger 2.0 document for everything.

use serde_json::{Value, json};

use super::operations::{self, Answer, Body, OBJECTS, Operation, PATCHES};
use super::schemas::{self, META, Version};
use super::usage;
use crate::registry::questions::Question;
use crate::registry::{ApiResource, Table};

/// The document, as JSON.
pub fn document(table: &Table) -> Vec<u8> {
    let resources: Vec<&ApiResource> = table.announced().map(AsRef::as_ref).collect();
    let questions: Vec<&Question> = super::described_questions().collect();
    let mut schemas = schemas::of(&resources, &questions, Version::V2);
    schemas.by_name.extend(usage::schemas(Version::V2));
    let mut all = operations::of_all(&resources, &schemas.names, &questions);
    all.extend(usage::paths());
    let paths = operations::paths(all, shown, path_parameter);
    let document = json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": corten_api::version::API},
        "paths": paths,
        "definitions": schemas.by_name,
    });
    document.to_string().into_bytes()
}

fn path_parameter(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "type": "string", "uniqueItems": true})
}

fn shown(operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = operation
        .query
        .iter()
        .map(|p| json!({"name": p.name, "in": "query", "type": p.kind, "description": p.about, "uniqueItems": true}))
        .collect();
    let body = match &operation.body {
        Body::None => None,
        Body::Object(schema) => Some((schema.clone(), true)),
        Body::Patch => Some((format!("{META}.Patch"), true)),
        Body::DeleteOptions => Some((format!("{META}.DeleteOptions"), false)),
    };
    if let Some((schema, required)) = body {
        let schema = Version::V2.reference(&schema);
        parameters.insert(0, json!({"name": "body", "in": "body", "required": required, "schema": schema}));
    }
    let (schema, produces) = match &operation.answer {
        Answer::Object(schema) => (Version::V2.reference(schema), OBJECTS),
        Answer::Text => (json!({"type": "string"}), &["*/*"][..]),
    };
    let mut responses = json!({"401": {"description": "Unauthorized"}});
    for (code, text) in operation.codes {
        responses[*code] = json!({"description": text, "schema": schema});
    }
    let (group, version, kind) = (&operation.gvk.0, &operation.gvk.1, &operation.gvk.2);
    json!({
        "operationId": operation.id,
        "description": operation.about,
        "consumes": if operation.body == Body::Patch { PATCHES } else { &["*/*"] },
        "produces": produces,
        "schemes": ["https"],
        "parameters": parameters,
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    })
}
