//! Every request that the server takes, as data: what the v2 and v3 documents say in their own ways.

mod of_kind;
pub mod params;

use serde_json::{Map, Value};

use self::of_kind::{created_only, of};
use self::params::Param;
use crate::registry::ApiResource;
use crate::registry::questions::Question;

/// The media types of patches, and of objects.
pub const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
pub const OBJECTS: &[&str] = &["application/json", "application/yaml"];
/// What stands in paths, and is said once for each.
const IN_PATHS: [&str; 3] = ["name", "namespace", "path"];

/// The paths of some kinds and questions. `names`: of the kinds' schemas.
pub fn of_all(resources: &[&ApiResource], names: &[String], questions: &[&Question]) -> Vec<Path> {
    let of_kinds = resources.iter().zip(names).flat_map(|(resource, name)| of(resource, name));
    of_kinds.chain(questions.iter().map(|question| created_only(question))).collect()
}

/// A document's `paths`. `shown` and `path_parameter` say an operation, and a parameter that stands in the path, as the
/// document's version does.
pub fn paths(
    all: Vec<Path>,
    shown: impl Fn(&Operation) -> Value,
    path_parameter: impl Fn(&str) -> Value,
) -> Map<String, Value> {
    let mut paths = Map::new();
    for path in all {
        let mut item: Map<String, Value> = path.operations.iter().map(|o| (o.method.into(), shown(o))).collect();
        let named = IN_PATHS.into_iter().filter(|name| path.path.contains(&format!("{{{name}}}")));
        item.insert("parameters".into(), named.map(&path_parameter).collect());
        paths.insert(path.path, Value::Object(item));
    }
    paths
}

/// What most operations succeed with.
pub const OK: &[(&str, &str)] = &[("200", "OK")];

/// Group, version and kind of what an operation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gvk(pub String, pub String, pub String);

/// What an operation's body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    /// Of this schema.
    Object(String),
    Patch,
    /// DeleteOptions, which may be left out.
    DeleteOptions,
}

/// What an operation answers with when it succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of this schema.
    Object(String),
    /// Text, or what is behind a connection.
    Text,
}

#[derive(Clone, Debug)]
pub struct Operation {
    /// `get`, `post`, …
    pub method: &'static str,
    /// `list`, `connect`, …, as authorization names it.
    pub action: &'static str,
    pub id: String,
    pub about: String,
    pub gvk: Gvk,
    pub query: &'static [Param],
    pub body: Body,
    /// HTTP codes of success, with their texts.
    pub codes: &'static [(&'static str, &'static str)],
    pub answer: Answer,
}

#[derive(Clone, Debug)]
pub struct Path {
    pub path: String,
    pub operations: Vec<Operation>,
}
