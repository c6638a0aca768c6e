//! What other servers say of the group versions that they answer for, in our documents. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Document;

const DEFINITIONS: &str = "#/definitions/";
const PARAMETERS: &str = "#/parameters/";

/// One group version, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// `apis/wardle.example.com/v1`.
    pub path: String,
    pub v3: Option<Document>,
    pub v2: Option<Arc<Part>>,
}

/// By name.
type Shared = BTreeMap<String, Arc<Value>>;

/// A document of version 2, whose parts share its types and parameters.
#[derive(Debug, Default)]
pub struct Source {
    paths: Map<String, Value>,
    definitions: Shared,
    parameters: Shared,
}

impl Source {
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut document: Map<String, Value> = serde_json::from_slice(json)?;
        let mut section = |name: &str| match document.remove(name) {
            Some(Value::Object(section)) => section,
            _ => Map::new(),
        };
        let paths = section("paths");
        let mut shared = |name| section(name).into_iter().map(|(name, of)| (name, Arc::new(of))).collect();
        Ok(Self { paths, definitions: shared("definitions"), parameters: shared("parameters") })
    }

    /// `path`: as [`Described`] has it. Its paths and types have the shapes that the form says: whoever reads our document would
    /// fall over those of one server, and know nothing of all others.
    pub fn part(&self, path: &str) -> Result<Part, Misshapen> {
        let (exact, below) = (format!("/{path}"), format!("/{path}/"));
        let is_of = |at: &str| at == exact || at.starts_with(&below);
        let own = self.paths.iter().filter(|(at, _)| is_of(at));
        let paths: Map<String, Value> = own.map(|(at, item)| (at.clone(), item.clone())).collect();
        if let Some((at, _)) = paths.iter().find(|(_, item)| !is_item(item)) {
            return Err(Misshapen(at.clone()));
        }
        let mut wanted = Vec::new();
        paths.values().for_each(|item| references(item, &mut wanted));
        let mut part = Part { paths, ..Part::default() };
        while let Some(reference) = wanted.pop() {
            let definition =
                reference.strip_prefix(DEFINITIONS).map(|name| (&self.definitions, &mut part.definitions, name));
            let (from, into, name) = match (definition, reference.strip_prefix(PARAMETERS)) {
                (Some(definition), _) => definition,
                (None, Some(name)) => (&self.parameters, &mut part.parameters, name),
                (None, None) => continue,
            };
            if into.contains_key(name) {
                continue;
            }
            let shared = match from.get(name) {
                Some(shared) if shared.is_object() => shared.clone(),
                // A type that says nothing stands for any object; a parameter needs to say what it is.
                None if reference.starts_with(DEFINITIONS) => Arc::new(Value::Object(Map::new())),
                Some(_) | None => return Err(Misshapen(name.to_owned())),
            };
            references(&shared, &mut wanted);
            into.insert(name.to_owned(), shared);
        }
        Ok(part)
    }
}

/// A path, or a type, that is described in no way that clients can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not described as OpenAPI 2.0 says")]
pub struct Misshapen(String);

fn is_item(item: &Value) -> bool {
    let has_shape = |(key, value): (&String, &Value)| match key.as_str() {
        "parameters" => are_parameters(value),
        "$ref" => value.is_string(),
        key if key.starts_with("x-") => true,
        _ => is_operation(value),
    };
    item.as_object().is_some_and(|item| item.iter().all(has_shape))
}

fn is_operation(value: &Value) -> bool {
    let has_shape = |(key, value): (&String, &Value)| match key.as_str() {
        "parameters" => are_parameters(value),
        "responses" => value.as_object().is_some_and(|all| all.values().all(Value::is_object)),
        _ => true,
    };
    value.as_object().is_some_and(|operation| operation.iter().all(has_shape))
}

fn are_parameters(value: &Value) -> bool {
    value.as_array().is_some_and(|all| all.iter().all(Value::is_object))
}

/// What of a document of version 2 is about one group version: its paths, and the types and parameters that these need.
#[derive(Debug, Default, PartialEq)]
pub struct Part {
    paths: Map<String, Value>,
    definitions: Shared,
    parameters: Shared,
}

/// What types and parameters are called where they are put: those that are left out are there already.
#[derive(Debug, Default)]
struct Names {
    definitions: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
}

impl Names {
    /// What a reference reads then.
    fn renamed(&self, reference: &str) -> Option<String> {
        let to = |prefix: &str, names: &BTreeMap<String, String>| {
            reference.strip_prefix(prefix).and_then(|name| names.get(name)).map(|to| format!("{prefix}{to}"))
        };
        to(DEFINITIONS, &self.definitions).or_else(|| to(PARAMETERS, &self.parameters))
    }
}

impl Part {
    /// As a document by itself.
    pub fn document(&self) -> Value {
        let mut document = serde_json::json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1"}});
        self.merge(&mut document);
        document
    }

    /// Puts it into a document. A type, or parameter, of a name that is taken is called otherwise, unless both say the same.
    pub fn merge(&self, document: &mut Value) {
        let mut names =
            Names { definitions: names(&self.definitions, section(document, "definitions")), ..Names::default() };
        if !self.parameters.is_empty() {
            names.parameters = self::names(&self.parameters, section(document, "parameters"));
        }
        let all = [
            ("definitions", &self.definitions, &names.definitions),
            ("parameters", &self.parameters, &names.parameters),
        ];
        for (name, shared, called) in all {
            for (name_there, name_here) in called {
                let mut value = shared.get(name_there).map(|of| (**of).clone()).unwrap_or_default();
                rename(&mut value, &names);
                section(document, name).insert(name_here.clone(), value);
            }
        }
        let paths = section(document, "paths");
        for (path, item) in &self.paths {
            let mut item = item.clone();
            rename(&mut item, &names);
            paths.insert(path.clone(), item);
        }
    }
}

/// What those are called that are put in beside what is there.
fn names(new: &Shared, there: &Map<String, Value>) -> BTreeMap<String, String> {
    let is_taken = |name: &str| there.contains_key(name) || new.contains_key(name);
    let mut names = BTreeMap::new();
    for (name, value) in new {
        let free = match there.get(name) {
            Some(known) if is_same(known, value) => continue,
            Some(_) => (2_u32..).map(|n| format!("{name}_v{n}")).find(|name| !is_taken(name)),
            None => None,
        };
        names.insert(name.clone(), free.unwrap_or_else(|| name.clone()));
    }
    names
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

fn references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

fn rename(value: &mut Value, names: &Names) {
    match value {
        Value::Object(map) => {
            if let Some(to) = map.get("$ref").and_then(Value::as_str).and_then(|of| names.renamed(of)) {
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

    fn source(document: &Value) -> Source {
        Source::read(document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_part_has_its_own_paths_and_the_types_that_they_need() {
        let document = json!({
            "paths": {"/apis/a/v1/tabs": {"get": of("Tab")}, "/apis/a/v1": {}, "/apis/a/v11/x": {"get": of("X")},
                "/version": 1},
            "definitions": {"Tab": {"properties": {"meta": of("Meta"), "again": of("Tab")}}, "Meta": {}, "X": {}},
        });
        let source = source(&document);
        let part = source.part("apis/a/v1").unwrap();
        assert_eq!(part.paths.keys().collect::<Vec<_>>(), ["/apis/a/v1", "/apis/a/v1/tabs"]);
        assert_eq!(part.definitions.keys().collect::<Vec<_>>(), ["Meta", "Tab"]);
        assert!(Arc::ptr_eq(&part.definitions["Tab"], &source.definitions["Tab"]), "parts share what they need");
    }

    #[test]
    fn what_clients_cannot_read_is_not_merged() {
        let cases = [
            ("nothing", json!({}), true),
            ("an operation", json!({"get": {"parameters": [{"name": "x"}], "responses": {"200": {}}}}), true),
            ("of all operations", json!({"parameters": [{"name": "x"}], "x-kubernetes": 1, "$ref": "#/x"}), true),
            ("no item", json!([]), false),
            ("no operation", json!({"get": 1}), false),
            ("no parameters", json!({"get": {"parameters": {}}}), false),
            ("no parameter", json!({"get": {"parameters": [null]}}), false),
            ("no parameters of all", json!({"parameters": 1}), false),
            ("no responses", json!({"get": {"responses": []}}), false),
            ("no response", json!({"get": {"responses": {"200": "OK"}}}), false),
            ("no type", json!({"get": of("Broken")}), false),
            ("no type far away", json!({"get": of("Tab")}), false),
            ("a type that there is not", json!({"get": of("Missing")}), true),
        ];
        for (why, item, expected) in cases {
            let document = json!({"paths": {"/apis/a/v1/x": item, "/apis/a/v2/x": {}},
                "definitions": {"Broken": "x", "Tab": {"items": of("Broken")}}});
            let source = source(&document);
            assert_eq!(source.part("apis/a/v1").is_ok(), expected, "{why}");
            assert!(source.part("apis/a/v2").is_ok(), "{why}");
        }
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
        source(&theirs).part("apis/a/v1").unwrap().merge(&mut ours);
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
    fn parameters_that_stand_elsewhere_come_along() {
        let parameter = |name: &str| json!({ "$ref": format!("{PARAMETERS}{name}") });
        let theirs = json!({
            "paths": {"/apis/a/v1/x": {"parameters": [parameter("body"), parameter("pretty")]}},
            "definitions": {"Tab": {"type": "object"}},
            "parameters": {"body": {"in": "body", "name": "body", "schema": of("Tab")},
                "pretty": {"in": "query", "name": "pretty", "type": "string"}, "unused": {"in": "query"}},
        });
        let mut ours = json!({"definitions": {"Tab": {"type": "string"}},
            "parameters": {"pretty": {"in": "header", "name": "pretty", "type": "string"}}});
        source(&theirs).part("apis/a/v1").unwrap().merge(&mut ours);
        assert_eq!(ours["paths"]["/apis/a/v1/x"]["parameters"], json!([parameter("body"), parameter("pretty_v2")]));
        let names: Vec<&String> = ours["parameters"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["body", "pretty", "pretty_v2"]);
        assert_eq!(ours["parameters"]["body"]["schema"], of("Tab_v2"));
        let dangling = json!({"paths": {"/apis/a/v1/x": {"parameters": [parameter("missing")]}}});
        assert_eq!(source(&dangling).part("apis/a/v1"), Err(Misshapen("missing".into())));
        let none = source(&json!({"paths": {"/apis/a/v1/x": {}}})).part("apis/a/v1").unwrap().document();
        assert!(none.get("parameters").is_none());
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
