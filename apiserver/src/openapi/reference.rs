//! What the server describes, compared with the published document of the release, where `CORTEN_OPENAPI_DOCUMENT` names it:
//! type by type, and operation by operation. Texts are our own, and are not compared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::*;

/// What may differ, and why.
struct Known {
    /// In a difference's line.
    part: &'static str,
    why: &'static str,
}

const fn known(part: &'static str, why: &'static str) -> Known {
    Known { part, why }
}

const KNOWN: &[Known] = &[
    known(" query pretty: nothing", "objects are always sent as they are stored: the server does not read it"),
    known(" query shardSelector: nothing", "alpha, and off unless it is switched on"),
    known(
        " query ignoreStoreReadErrorWithClusterBreakingPotential: nothing",
        "alpha, and off unless it is switched on",
    ),
    known(
        "/log query insecureSkipTLSVerifyBackend: nothing",
        "a kubelet is always asked to show its certificate: the server does not read it",
    ),
    known("v1/: not described", "discovery is no kind's: clients know its paths"),
    known("v2/: not described", "discovery is no kind's: clients know its paths"),
    known("metrics.k8s.io/v1beta1/", "served by ourselves, published by metrics-server"),
    known("io.k8s.metrics.pkg.apis.metrics.v1beta1.", "served by ourselves, published by metrics-server"),
    known("Review: not described", "kubectl would look for CustomResourceDefinitions before it asks"),
    known("/bindings: not described", "kubectl would look for CustomResourceDefinitions before it asks"),
    known("/componentstatuses", "not served: upstream's own past, deprecated since 1.19"),
    known(
        "meta.v1.DeleteOptions x-kubernetes-group-version-kind",
        "upstream names every group and version it has ever had; there is one type",
    ),
    known(
        "meta.v1.WatchEvent x-kubernetes-group-version-kind",
        "upstream names every group and version it has ever had; there is one type",
    ),
    known(
        "v3 io.k8s.apimachinery.pkg.api.resource.Quantity",
        "the document is of version 2: 3 can say that it is either",
    ),
    known(
        "v3 io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        "the document is of version 2: 3 can say that it is either",
    ),
];

/// The published document; `None` if this run has none.
fn published() -> Option<Value> {
    let Ok(path) = std::env::var("CORTEN_OPENAPI_DOCUMENT") else {
        eprintln!("not compared: CORTEN_OPENAPI_DOCUMENT does not name the published document");
        return None;
    };
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// A schema in the form of version 2, without texts.
fn plain(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(all)) = map.get("allOf")
                && let [only] = all.as_slice()
            {
                let mut rest = map.clone();
                rest.remove("allOf");
                let (mut whole, rest) = (plain(only), plain(&Value::Object(rest)));
                whole.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
                return whole;
            }
            let mut kept = Map::new();
            for (key, value) in map {
                match key.as_str() {
                    "description" | "title" => {}
                    "$ref" => {
                        let name = value.as_str().unwrap().rsplit('/').next().unwrap();
                        kept.insert(key.clone(), name.into());
                    }
                    "required" => {
                        let mut names: Vec<&str> = value.as_array().unwrap().iter().filter_map(Value::as_str).collect();
                        names.sort_unstable();
                        kept.insert(key.clone(), json!(names));
                    }
                    _ => drop(kept.insert(key.clone(), plain(value))),
                }
            }
            Value::Object(kept)
        }
        Value::Array(list) => Value::Array(list.iter().map(plain).collect()),
        other => other.clone(),
    }
}

/// As `plain`, of a schema by its name: properties may have descriptions for names.
fn plain_type(schema: &Value) -> BTreeMap<String, Value> {
    let mut lines = BTreeMap::new();
    for (key, value) in schema.as_object().unwrap() {
        match (key.as_str(), value) {
            ("description", _) => {}
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    lines.insert(format!(".{name}"), plain(property));
                }
            }
            _ => drop(lines.insert(format!(" {key}"), plain(&json!({ key: value }))[key].clone())),
        }
    }
    lines
}

fn types(document: &Value, home: &str) -> BTreeMap<String, BTreeMap<String, Value>> {
    let all = document.pointer(home).unwrap().as_object().unwrap();
    all.iter().map(|(name, schema)| (name.clone(), plain_type(schema))).collect()
}

/// The lines of both, by key; one line for each that differs.
fn differing(place: &str, ours: &BTreeMap<String, Value>, theirs: &BTreeMap<String, Value>) -> Vec<String> {
    let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let of = |lines: &BTreeMap<String, Value>, key: &str| lines.get(key).map_or("nothing".into(), Value::to_string);
    let changed = keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key));
    changed.map(|key| format!("{place}{key}: {} instead of {}", of(ours, key), of(theirs, key))).collect()
}

/// Every operation as lines: `GET /api/v1/pods` with what it takes and gives.
fn operations(document: &Value) -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            let mut lines = BTreeMap::new();
            for key in ["operationId", "x-kubernetes-action", "x-kubernetes-group-version-kind"] {
                if let Some(value) = operation.get(key) {
                    lines.insert(format!(" {key}"), value.clone());
                }
            }
            let of = |holder: &Value| holder["parameters"].as_array().cloned().unwrap_or_default();
            for parameter in of(item).into_iter().chain(of(operation)) {
                let parameter = match parameter["$ref"].as_str() {
                    Some(at) => document.pointer(&at[1..]).unwrap().clone(),
                    None => parameter,
                };
                let (name, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
                let schema = parameter.get("schema").map(plain);
                let kind = parameter.get("type").cloned().or(schema).unwrap_or_default();
                let kind = kind.get("type").cloned().unwrap_or(kind);
                let required = parameter["required"].as_bool().unwrap_or_default();
                lines.insert(format!(" {place} {name}"), json!([kind, required]));
            }
            if let Some(body) = operation.get("requestBody") {
                let content = body["content"].as_object().unwrap().values().next().unwrap();
                let required = body["required"].as_bool().unwrap_or_default();
                lines.insert(" body body".into(), json!([plain(&content["schema"]), required]));
            }
            for (code, response) in operation["responses"].as_object().unwrap() {
                let content = response["content"].as_object().and_then(|content| content.values().next());
                let schema = content.map_or(&response["schema"], |content| &content["schema"]);
                lines.insert(format!(" {code}"), plain(schema));
            }
            all.insert(format!("{} {path}", method.to_ascii_uppercase()), lines);
        }
    }
    all
}

/// Fails with all that differs and is not known to.
fn judge(differences: &[String]) {
    let is_known = |line: &&String| KNOWN.iter().any(|known| line.contains(known.part));
    let unknown: Vec<&String> = differences.iter().filter(|line| !is_known(line)).collect();
    for line in &unknown {
        eprintln!("{line}");
    }
    assert!(unknown.is_empty(), "{} differences from the published document, above", unknown.len());
}

#[test]
fn types_and_operations_are_described_as_the_release_does() {
    let Some(published) = published() else { return };
    let mut differences = differing_types(&published);
    differences.extend(differing_operations(&published));
    judge(&differences);
    for known in KNOWN {
        let is_so = differences.iter().any(|line| line.contains(known.part));
        assert!(is_so, "no longer so, and no longer to be named here: {} ({})", known.part, known.why);
    }
}

fn differing_types(published: &Value) -> Vec<String> {
    let published = types(published, "/definitions");
    let table = Registry::default().table();
    let ours: Value = serde_json::from_slice(&v2(&table)).unwrap();
    let mut documents = vec![("v2", types(&ours, "/definitions"))];
    for path in paths(&table) {
        let ours: Value = serde_json::from_slice(&v3_document(&table, &path).unwrap()).unwrap();
        documents.push(("v3", types(&ours, "/components/schemas")));
    }
    let mut differences = BTreeSet::new();
    for (version, ours) in documents {
        for (name, lines) in ours {
            match published.get(&name) {
                Some(theirs) => differences.extend(differing(&format!("{version} {name}"), &lines, theirs)),
                None => drop(differences.insert(format!("{version} {name}: not published"))),
            }
        }
    }
    differences.into_iter().collect()
}

fn differing_operations(published: &Value) -> Vec<String> {
    let published = operations(published);
    let table = Registry::default().table();
    let v2: Value = serde_json::from_slice(&v2(&table)).unwrap();
    let ours = operations(&v2);
    let mut differences = Vec::new();
    for (name, lines) in &ours {
        match published.get(name) {
            Some(theirs) => differences.extend(differing(name, lines, theirs)),
            None => differences.push(format!("{name}: not published")),
        }
    }
    let served = |path: &str| super::paths(&table).iter().any(|root| path.contains(&format!("/{root}/")));
    for name in published.keys().filter(|name| !ours.contains_key(*name)) {
        if name.split_once(' ').is_some_and(|(_, path)| served(path)) {
            differences.push(format!("{name}: not described"));
        }
    }
    for path in super::paths(&table) {
        let document: Value = serde_json::from_slice(&v3_document(&table, &path).unwrap()).unwrap();
        for (name, lines) in operations(&document) {
            let of_v2 = ours.get(&name).cloned().unwrap_or_default();
            differences.extend(differing(&format!("v3 {name}"), &lines, &of_v2));
        }
    }
    differences
}
