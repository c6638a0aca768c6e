//! The OpenAPI v2 document in the one form that kubectl up to 1.29 asks for: protobuf, as gnostic's `openapi.v2.Document`.
//!
//! Field numbers: <https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto>. Of a document only
//! what the API server's own documents hold is written.

use serde_json::{Map, Value};

/// What clients ask for.
pub const MEDIA: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What they are given: the same without the `@`, which no Content-Type may hold.
pub const CONTENT_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n as u8 & 0x7f) | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }
    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
    fn message(&mut self, field: u32, message: Self) {
        self.bytes(field, &message.0);
    }
    fn flag(&mut self, field: u32, value: Option<&Value>) {
        if value == Some(&Value::Bool(true)) {
            self.varint(u64::from(field) << 3);
            self.0.push(1);
        }
    }
    fn text(&mut self, field: u32, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }
    fn texts(&mut self, field: u32, value: Option<&Value>) {
        for text in value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }
    /// `Any`, which holds YAML: JSON is YAML.
    fn any(&mut self, field: u32, value: Option<&Value>) {
        if let Some(value) = value {
            self.message(field, any(value));
        }
    }
    /// `x-…` keys.
    fn extensions(&mut self, field: u32, of: &Map<String, Value>) {
        for (name, value) in of.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.message(field, named(name, any(value)));
        }
    }
    /// `oneof` wrappers: each level's field number, outermost first.
    fn wrapped(self, fields: &[u32]) -> Self {
        fields.iter().rev().fold(self, |inner, field| {
            let mut outer = Self::default();
            outer.message(*field, inner);
            outer
        })
    }
}

fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.bytes(2, value.to_string().as_bytes());
    out
}
fn named(name: &str, value: Message) -> Message {
    let mut out = Message::default();
    out.bytes(1, name.as_bytes());
    out.message(2, value);
    out
}
/// The pairs of the object at `key`.
fn pairs<'a>(of: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = (&'a String, &'a Map<String, Value>)> {
    let object = of.get(key).and_then(Value::as_object);
    object.into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_object()?)))
}

/// The document's JSON in protobuf.
pub fn encode(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let document: Map<String, Value> = serde_json::from_slice(json)?;
    let mut out = Message::default();
    out.text(1, document.get("swagger"));
    if let Some(about) = document.get("info").and_then(Value::as_object) {
        let mut info = Message::default();
        info.text(1, about.get("title"));
        info.text(2, about.get("version"));
        info.text(3, about.get("description"));
        out.message(2, info);
    }
    let mut paths = Message::default();
    for (name, item) in pairs(&document, "paths") {
        paths.message(2, named(name, path_item(item)));
    }
    out.message(8, paths);
    let mut definitions = Message::default();
    for (name, definition) in pairs(&document, "definitions") {
        definitions.message(1, named(name, schema(definition)));
    }
    out.message(9, definitions);
    if document.contains_key("parameters") {
        let mut parameters = Message::default();
        for (name, parameter) in pairs(&document, "parameters") {
            parameters.message(1, named(name, parameter_of(parameter)));
        }
        out.message(10, parameters);
    }
    Ok(out.0)
}

fn path_item(item: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    let methods = [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")];
    for (field, method) in methods {
        if let Some(operation) = item.get(method).and_then(Value::as_object) {
            out.message(field, operation_of(operation));
        }
    }
    parameters(&mut out, 9, item);
    out.extensions(10, item);
    out
}

fn operation_of(operation: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    out.texts(1, operation.get("tags"));
    out.text(2, operation.get("summary"));
    out.text(3, operation.get("description"));
    out.text(5, operation.get("operationId"));
    out.texts(6, operation.get("produces"));
    out.texts(7, operation.get("consumes"));
    parameters(&mut out, 8, operation);
    let mut responses = Message::default();
    for (code, response) in pairs(operation, "responses") {
        responses.message(1, named(code, response_of(response).wrapped(&[1])));
    }
    out.message(9, responses);
    out.texts(10, operation.get("schemes"));
    out.flag(11, operation.get("deprecated"));
    out.extensions(13, operation);
    out
}

fn response_of(response: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    out.text(1, response.get("description"));
    if let Some(body) = response.get("schema").and_then(Value::as_object) {
        out.message(2, schema(body).wrapped(&[1]));
    }
    out
}

fn parameters(out: &mut Message, field: u32, of: &Map<String, Value>) {
    let list = of.get("parameters").and_then(Value::as_array).into_iter().flatten();
    for parameter in list.filter_map(Value::as_object) {
        if parameter.contains_key("$ref") {
            let mut reference = Message::default();
            reference.text(1, parameter.get("$ref"));
            out.message(field, reference.wrapped(&[2]));
        } else {
            out.message(field, parameter_of(parameter).wrapped(&[1]));
        }
    }
}

fn parameter_of(parameter: &Map<String, Value>) -> Message {
    let mut inner = Message::default();
    let place = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
    if place == "body" {
        inner.text(1, parameter.get("description"));
        inner.text(2, parameter.get("name"));
        inner.text(3, parameter.get("in"));
        inner.flag(4, parameter.get("required"));
        if let Some(body) = parameter.get("schema").and_then(Value::as_object) {
            inner.message(5, schema(body));
        }
        return inner.wrapped(&[1]);
    }
    inner.flag(1, parameter.get("required"));
    inner.text(2, parameter.get("in"));
    inner.text(3, parameter.get("description"));
    inner.text(4, parameter.get("name"));
    let (kind, form) = match place {
        "header" => (1, 5),
        "path" => (4, 5),
        // Between name and type, query parameters have one field more.
        _ => (3, 6),
    };
    inner.text(form, parameter.get("type"));
    inner.text(form + 1, parameter.get("format"));
    inner.wrapped(&[2, kind])
}

fn schema(of: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    out.text(1, of.get("$ref"));
    out.text(2, of.get("format"));
    out.text(3, of.get("title"));
    out.text(4, of.get("description"));
    out.any(5, of.get("default"));
    out.texts(19, of.get("required"));
    for value in of.get("enum").and_then(Value::as_array).into_iter().flatten() {
        out.message(20, any(value));
    }
    match of.get("additionalProperties") {
        Some(Value::Object(values)) => out.message(21, schema(values).wrapped(&[1])),
        Some(value @ Value::Bool(_)) => {
            let mut inner = Message::default();
            inner.flag(2, Some(value));
            out.message(21, inner);
        }
        _ => {}
    }
    if let Some(kind) = of.get("type").and_then(Value::as_str) {
        let mut inner = Message::default();
        inner.bytes(1, kind.as_bytes());
        out.message(22, inner);
    }
    if let Some(items) = of.get("items").and_then(Value::as_object) {
        out.message(23, schema(items).wrapped(&[1]));
    }
    for part in of.get("allOf").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        out.message(24, schema(part));
    }
    if of.contains_key("properties") {
        let mut properties = Message::default();
        for (name, property) in pairs(of, "properties") {
            properties.message(1, named(name, schema(property)));
        }
        out.message(25, properties);
    }
    out.extensions(31, of);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field numbers and payloads of a message's length-delimited fields.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let (mut n, mut shift) = (0, 0);
            loop {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                n |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return n;
                }
            }
        }
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let n = varint(&mut bytes);
            if key & 7 == 0 {
                continue;
            }
            let (payload, rest) = bytes.split_at(usize::try_from(n).unwrap());
            out.push((key >> 3, payload));
            bytes = rest;
        }
        out
    }
    /// Follows field numbers down.
    fn at<'a>(bytes: &'a [u8], path: &[u64]) -> &'a [u8] {
        path.iter().fold(bytes, |bytes, n| fields(bytes).into_iter().find(|(field, _)| field == n).unwrap().1)
    }

    #[test]
    fn a_document_keeps_what_kubectl_looks_for() {
        let json = serde_json::json!({
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": corten_api::version::API},
            "paths": {"/api/v1/namespaces": {"patch": {
                "parameters": [{"name": "fieldValidation", "in": "query", "type": "string"}],
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-group-version-kind": {"group": "", "version": "v1", "kind": "Namespace"}}}},
            "definitions": {"Pod": {"type": "object", "properties": {"spec": {"$ref": "#/definitions/PodSpec"}}}},
            "parameters": {"pretty": {"name": "pretty", "in": "query", "type": "string"}},
        });
        let bytes = encode(json.to_string().as_bytes()).unwrap();
        assert_eq!(at(&bytes, &[1]), b"2.0");
        let patch = at(&bytes, &[8, 2, 2, 8]);
        assert_eq!(at(patch, &[8, 1, 2, 3, 4]), b"fieldValidation", "parameter, non-body, query, name");
        assert_eq!(at(patch, &[13, 1]), b"x-kubernetes-group-version-kind");
        assert_eq!(at(&bytes, &[10, 1, 1]), b"pretty");
        assert_eq!(at(&bytes, &[10, 1, 2, 2, 3, 4]), b"pretty", "parameter, non-body, query, name");
        let pod = at(&bytes, &[9, 1]);
        assert_eq!(at(pod, &[1]), b"Pod");
        assert_eq!(at(pod, &[2, 25, 1, 2, 1]), b"#/definitions/PodSpec");
    }
}
