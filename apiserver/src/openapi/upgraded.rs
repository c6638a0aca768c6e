//! Version 3 of what is described in version 2 alone. Pure.
//!
//! <https://spec.openapis.org/oas/v3.0.0>: bodies stand apart from parameters, each with the media types that it may have; what a
//! parameter may be is a schema; types stand among components.

use serde_json::{Map, Value, json};

const DEFINITIONS: &str = "#/definitions/";
const SCHEMAS: &str = "#/components/schemas/";
const PARAMETERS: &str = "#/parameters/";
/// Where nothing is said of media types.
const ANY_MEDIA: &str = "*/*";
/// What a parameter says beside what it may be.
const OF_PARAMETERS: [&str; 4] = ["name", "in", "description", "required"];
/// What there is no more.
const GONE: [&str; 2] = ["collectionFormat", "allowEmptyValue"];

/// `v2`: a document whose paths have been checked.
pub fn upgraded(v2: &Value) -> Value {
    let shared = &v2["parameters"];
    let paths = v2["paths"].as_object().into_iter().flatten();
    let paths: Map<String, Value> = paths.map(|(at, item)| (at.clone(), item_of(item, shared))).collect();
    let mut v3 = json!({"openapi": "3.0.0", "info": v2["info"], "paths": paths,
        "components": {"schemas": v2["definitions"]}});
    refer(&mut v3);
    v3
}

fn item_of(item: &Value, shared: &Value) -> Value {
    let all = item.as_object().into_iter().flatten();
    let entry = |(key, value): (&String, &Value)| {
        let value = match key.as_str() {
            "parameters" => Value::Array(list(value, shared).filter(|one| !is_body(one)).map(parameter).collect()),
            key if key == "$ref" || key.starts_with("x-") => value.clone(),
            _ => operation(value, shared),
        };
        (key.clone(), value)
    };
    Value::Object(all.map(entry).collect())
}

/// Each where it is used: no client looks for one that stands elsewhere.
fn list<'v>(parameters: &'v Value, shared: &'v Value) -> impl Iterator<Item = &'v Value> {
    parameters.as_array().into_iter().flatten().map(|one| {
        let name = one["$ref"].as_str().and_then(|of| of.strip_prefix(PARAMETERS));
        name.and_then(|name| shared.get(name)).unwrap_or(one)
    })
}

fn is_body(parameter: &Value) -> bool {
    // A form is a body of many parameters, which no server of Kubernetes' kind has.
    matches!(parameter["in"].as_str(), Some("body" | "formData"))
}

fn operation(v2: &Value, shared: &Value) -> Value {
    let mut v3 = Map::new();
    for (key, value) in v2.as_object().into_iter().flatten() {
        match key.as_str() {
            "consumes" | "produces" | "schemes" => {}
            "parameters" => {
                let own: Vec<Value> = list(value, shared).filter(|one| !is_body(one)).map(parameter).collect();
                v3.insert(key.clone(), own.into());
                if let Some(body) = list(value, shared).find(|one| one["in"] == "body") {
                    v3.insert("requestBody".into(), request_body(body, &v2["consumes"]));
                }
            }
            "responses" => {
                let all = value.as_object().into_iter().flatten();
                let all: Map<String, Value> =
                    all.map(|(code, of)| (code.clone(), response(of, &v2["produces"]))).collect();
                v3.insert(key.clone(), all.into());
            }
            _ => drop(v3.insert(key.clone(), value.clone())),
        }
    }
    v3.into()
}

fn parameter(v2: &Value) -> Value {
    let (mut v3, mut schema) = (Map::new(), Map::new());
    for (key, value) in v2.as_object().into_iter().flatten().filter(|(key, _)| !GONE.contains(&key.as_str())) {
        let is_own = OF_PARAMETERS.contains(&key.as_str()) || key.starts_with("x-");
        let to = if is_own { &mut v3 } else { &mut schema };
        to.insert(key.clone(), value.clone());
    }
    v3.insert("schema".into(), schema.into());
    v3.into()
}

fn request_body(v2: &Value, media: &Value) -> Value {
    let mut v3 = json!({ "content": content(&v2["schema"], media) });
    for key in ["description", "required"] {
        if let Some(value) = v2.get(key) {
            v3[key] = value.clone();
        }
    }
    v3
}

fn response(v2: &Value, media: &Value) -> Value {
    let mut v3 = json!({"description": v2["description"].as_str().unwrap_or_default()});
    if let Some(schema) = v2.get("schema") {
        v3["content"] = content(schema, media);
    }
    v3
}

fn content(schema: &Value, media: &Value) -> Value {
    let named: Vec<&str> = media.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let named = if named.is_empty() { vec![ANY_MEDIA] } else { named };
    let all: Map<String, Value> = named.into_iter().map(|one| (one.to_owned(), json!({ "schema": schema }))).collect();
    all.into()
}

/// Types stand elsewhere.
fn refer(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|of| of.strip_prefix(DEFINITIONS)) {
                let to = format!("{SCHEMAS}{name}");
                map.insert("$ref".into(), to.into());
            }
            map.values_mut().for_each(refer);
        }
        Value::Array(items) => items.iter_mut().for_each(refer),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_version_2_is_said_in_version_3() {
        let old = |name: &str| json!({ "$ref": format!("{DEFINITIONS}{name}") });
        let new = |name: &str| json!({ "$ref": format!("{SCHEMAS}{name}") });
        let v2 = json!({"swagger": "2.0", "info": {"title": "wardle", "version": "1"},
            "paths": {"/apis/a/v1/tabs": {
                "parameters": [{"$ref": "#/parameters/pretty"}],
                "x-mine": 1,
                "post": {
                    "operationId": "createTab", "consumes": ["application/json", "application/yaml"],
                    "produces": ["application/json"], "schemes": ["https"], "x-kubernetes-action": "post",
                    "parameters": [
                        {"in": "body", "name": "body", "required": true, "schema": old("Tab")},
                        {"in": "query", "name": "dryRun", "type": "string", "uniqueItems": true},
                    ],
                    "responses": {"200": {"description": "OK", "schema": old("Tab")}, "401": {"description": "no"}},
                },
                "get": {"responses": {"200": {"schema": {"type": "string"}}}},
            }},
            "parameters": {"pretty": {"in": "query", "name": "pretty", "type": "string", "description": "p"}},
            "definitions": {"Tab": {"type": "object", "properties": {"meta": old("Meta")}}, "Meta": {}},
        });
        let tab = json!({"schema": new("Tab")});
        let expected = json!({"openapi": "3.0.0", "info": {"title": "wardle", "version": "1"},
            "paths": {"/apis/a/v1/tabs": {
                "parameters": [{"in": "query", "name": "pretty", "description": "p", "schema": {"type": "string"}}],
                "x-mine": 1,
                "post": {
                    "operationId": "createTab", "x-kubernetes-action": "post",
                    "parameters": [
                        {"in": "query", "name": "dryRun", "schema": {"type": "string", "uniqueItems": true}},
                    ],
                    "requestBody": {"required": true, "content": {"application/json": tab, "application/yaml": tab}},
                    "responses": {"200": {"description": "OK", "content": {"application/json": tab}},
                        "401": {"description": "no"}},
                },
                "get": {"responses": {"200": {"description": "", "content": {"*/*": {"schema": {"type": "string"}}}}}},
            }},
            "components": {"schemas": {"Tab": {"type": "object", "properties": {"meta": new("Meta")}}, "Meta": {}}},
        });
        assert_eq!(upgraded(&v2), expected);
    }
}
