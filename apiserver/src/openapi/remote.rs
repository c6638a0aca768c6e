//! What other servers say of the group versions that they answer for, in our documents. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Document;

const DEFINITIONS: &str = "#/definitions/";

/// One group version, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// `apis/wardle.example.com/v1`.
    pub path: String,
    pub v3: Option<Document>,
    pub v2: Option<Part>,
}

/// What of a document of version 2 is about one group version: its paths, and the types that these need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    paths: Map<String, Value>,
    definitions: Map<String, Value>,
}

impl Part {
    /// `path`: as [`Described`] has it.
    pub fn of(document: &Value, path: &str) -> Self {
        let (exact, below) = (format!("/{path}"), format!("/{path}/"));
        let all = |name: &str| document[name].as_object().into_iter().flatten();
        let is_of = |at: &str| at == exact || at.starts_with(&below);
        let paths: Map<String, Value> =
            all("paths").filter(|(at, _)| is_of(at)).map(|(at, item)| (at.clone(), item.clone())).collect();
        let mut wanted = Vec::new();
        paths.values().for_each(|item| references(item, &mut wanted));
        let mut definitions = Map::new();
        while let Some(name) = wanted.pop() {
            if definitions.contains_key(&name) {
                continue;
            }
            let definition = document["definitions"].get(&name).cloned().unwrap_or_else(|| Value::Object(Map::new()));
            references(&definition, &mut wanted);
            definitions.insert(name, definition);
        }
        Self { paths, definitions }
    }

    /// As a document by itself.
    pub fn document(&self) -> Value {
        let mut document = serde_json::json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1"}});
        self.merge(&mut document);
        document
    }

    /// Puts it into a document. A type of a name that is taken is called otherwise, unless both say the same.
    pub fn merge(&self, document: &mut Value) {
        let definitions = section(document, "definitions");
        let mut names = BTreeMap::new();
        for (name, definition) in &self.definitions {
            let free = match definitions.get(name) {
                Some(known) if is_same(known, definition) => continue,
                Some(_) => (2_u32..).map(|n| format!("{name}_v{n}")).find(|name| !self.is_taken(definitions, name)),
                None => None,
            };
            names.insert(name.clone(), free.unwrap_or_else(|| name.clone()));
        }
        for (name, called) in &names {
            let mut definition = self.definitions.get(name).cloned().unwrap_or_default();
            rename(&mut definition, &names);
            definitions.insert(called.clone(), definition);
        }
        let paths = section(document, "paths");
        for (path, item) in &self.paths {
            let mut item = item.clone();
            rename(&mut item, &names);
            paths.insert(path.clone(), item);
        }
    }

    fn is_taken(&self, definitions: &Map<String, Value>, name: &str) -> bool {
        definitions.contains_key(name) || self.definitions.contains_key(name)
    }
}

fn section<'d>(document: &'d mut Value, name: &str) -> &'d mut Map<String, Value> {
    if !document[name].is_object() {
        document[name] = Value::Object(Map::new());
    }
    match &mut document[name] {
        Value::Object(section) => section,
        _ => unreachable!("it has just been made one"),
    }
}

/// Takes a group version out, which another server answers for.
pub fn take_out(document: &mut Value, path: &str) {
    let (exact, below) = (format!("/{path}"), format!("/{path}/"));
    section(document, "paths").retain(|at, _| *at != exact && !at.starts_with(&below));
}

fn reference(value: &Value) -> Option<&str> {
    value.as_str()?.strip_prefix(DEFINITIONS)
}

fn references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(reference).map(str::to_owned));
            map.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            if let Some(to) = map.get("$ref").and_then(reference).and_then(|name| names.get(name)) {
                let to = format!("{DEFINITIONS}{to}");
                map.insert("$ref".into(), to.into());
            }
            map.values_mut().for_each(|value| rename(value, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| rename(value, names)),
        _ => {}
    }
}

/// But for texts, and which kinds a type stands for: those of the options of all requests name every group that there is.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let is_text = |key: &str, map: &Map<String, Value>| match key {
                "description" => map.get(key).is_none_or(Value::is_string),
                "x-kubernetes-group-version-kind" => true,
                _ => false,
            };
            keys.into_iter().all(|key| {
                is_text(key, one) && is_text(key, other)
                    || matches!((one.get(key), other.get(key)), (Some(one), Some(other)) if is_same(one, other))
            })
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(name: &str) -> Value {
        json!({ "$ref": format!("{DEFINITIONS}{name}") })
    }

    #[test]
    fn a_part_has_its_own_paths_and_the_types_that_they_need() {
        let document = json!({
            "paths": {"/apis/a/v1/tabs": {"get": of("Tab")}, "/apis/a/v1": {}, "/apis/a/v11/x": {"get": of("X")}, "/version": {}},
            "definitions": {"Tab": {"properties": {"meta": of("Meta"), "again": of("Tab")}}, "Meta": {}, "X": {}},
        });
        let part = Part::of(&document, "apis/a/v1");
        let names = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&part.paths), ["/apis/a/v1", "/apis/a/v1/tabs"]);
        assert_eq!(names(&part.definitions), ["Meta", "Tab"]);
    }

    #[test]
    fn a_type_of_a_name_that_is_taken_is_called_otherwise() {
        let theirs = json!({
            "paths": {"/apis/a/v1/tabs": {"get": of("Tab")}},
            "definitions": {"Tab": {"properties": {"meta": of("Meta"), "other": of("Other")}},
                "Meta": {"description": "theirs", "type": "object"}, "Other": {"type": "string"}},
        });
        let mut ours = json!({
            "paths": {"/api/v1/pods": {"get": of("Other")}},
            "definitions": {"Meta": {"description": "ours", "type": "object"}, "Other": {"type": "integer"},
                "Other_v2": {}},
        });
        Part::of(&theirs, "apis/a/v1").merge(&mut ours);
        let definitions = &ours["definitions"];
        assert_eq!(
            (&definitions["Other"]["type"], &definitions["Other_v3"]["type"]),
            (&json!("integer"), &json!("string"))
        );
        assert_eq!(definitions["Meta"]["description"], "ours");
        assert_eq!(definitions["Tab"]["properties"], json!({"meta": of("Meta"), "other": of("Other_v3")}));
        assert_eq!(ours["paths"]["/apis/a/v1/tabs"]["get"], of("Tab"));
        assert_eq!(ours["paths"]["/api/v1/pods"]["get"], of("Other"));
        take_out(&mut ours, "apis/a/v1");
        assert!(ours["paths"]["/apis/a/v1/tabs"].is_null() && ours["paths"]["/api/v1/pods"].is_object());
    }

    #[test]
    fn what_texts_say_makes_no_other_type() {
        let cases = [
            (json!({"description": "a"}), json!({}), true),
            (json!({"description": "a", "type": "x"}), json!({"description": "b", "type": "x"}), true),
            (json!({"type": "x"}), json!({"type": "y"}), false),
            (json!({"type": "x"}), json!({}), false),
            (json!({"properties": {"description": {"type": "x"}}}), json!({"properties": {}}), false),
            (json!({"required": ["a"]}), json!({"required": ["b"]}), false),
            (json!({"x-kubernetes-group-version-kind": [1]}), json!({}), true),
        ];
        for (one, other, expected) in cases {
            assert_eq!(is_same(&one, &other), expected, "{one} {other}");
        }
    }
}
