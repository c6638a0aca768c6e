//! Every request that the server takes, as data: what the v2 and v3 documents say in their own ways.

use corten_api::Scope;
use serde_json::{Map, Value};

use crate::openapi::schemas::{self, META};
use crate::registry::ApiResource;

/// The media types of patches, and of objects.
pub const PATCHES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
pub const OBJECTS: &[&str] = &["application/json", "application/yaml"];

/// The paths of some kinds. `names`: of the kinds' schemas.
pub fn of_all(resources: &[&ApiResource], names: &[String]) -> Vec<Path> {
    resources.iter().zip(names).flat_map(|(resource, name)| of(resource, name)).collect()
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
        let named = ["name", "namespace"].into_iter().filter(|name| path.path.contains(&format!("{{{name}}}")));
        item.insert("parameters".into(), named.map(&path_parameter).collect());
        paths.insert(path.path, Value::Object(item));
    }
    paths
}

/// A parameter of the query.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: &'static str,
    /// `string`, `integer`, `boolean`.
    pub kind: &'static str,
    pub about: &'static str,
}

const fn param(name: &'static str, kind: &'static str, about: &'static str) -> Param {
    Param { name, kind, about }
}

const DRY_RUN: Param = param("dryRun", "string", "All: the request is checked in full and nothing is stored.");
const MANAGER: Param = param("fieldManager", "string", "Who makes the change.");
const VALIDATION: Param = param(
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: Ignore drops them, Warn drops and names them, Strict refuses.",
);
pub const WRITE: &[Param] = &[DRY_RUN, MANAGER, VALIDATION];
pub const PATCH: &[Param] =
    &[DRY_RUN, MANAGER, VALIDATION, param("force", "boolean", "Apply takes fields from other managers.")];
pub const LIST: &[Param] = &[
    param("allowWatchBookmarks", "boolean", "The watch may send bookmarks."),
    param("continue", "string", "Where the page before ended."),
    param("fieldSelector", "string", "Which objects, by fields."),
    param("labelSelector", "string", "Which objects, by labels."),
    param("limit", "integer", "How many objects a page has at most."),
    param("resourceVersion", "string", "How new the answer must be."),
    param("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    param("sendInitialEvents", "boolean", "The watch begins with the state."),
    param("timeoutSeconds", "integer", "How long the watch lasts."),
    param("watch", "boolean", "Changes instead of a list."),
];
pub const DELETE: &[Param] = &[
    DRY_RUN,
    param("gracePeriodSeconds", "integer", "How long the object has to end."),
    param("orphanDependents", "boolean", "Older form of propagationPolicy."),
    param("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
];
pub const LOG: &[Param] = &[
    param("container", "string", "Which container; may be left out where there is one."),
    param("follow", "boolean", "The log goes on as it is written."),
    param("limitBytes", "integer", "How much of it at most."),
    param("previous", "boolean", "Of the container's run before this one."),
    param("sinceSeconds", "integer", "How far back."),
    param("sinceTime", "string", "From when, RFC 3339."),
    param("tailLines", "integer", "How many lines from the end."),
    param("timestamps", "boolean", "Each line begins with its time."),
];
pub const STREAM: &[Param] = &[
    param("command", "string", "What to run; once for each argument."),
    param("container", "string", "Which container; may be left out where there is one."),
    param("stderr", "boolean", "Standard error is wanted."),
    param("stdin", "boolean", "Standard input is given."),
    param("stdout", "boolean", "Standard output is wanted."),
    param("tty", "boolean", "The streams are a terminal's."),
];
pub const FORWARD: &[Param] = &[param("ports", "integer", "Which ports.")];

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
    /// Schema of the answer; `None` for text and streams.
    pub answer: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Path {
    pub path: String,
    pub operations: Vec<Operation>,
}

/// All paths of one kind. `schema` is the name of the kind's schema.
pub fn of(resource: &ApiResource, schema: &str) -> Vec<Path> {
    let kind = Described { resource, schema };
    let root = match resource.group() {
        "" => format!("/api/{}", resource.version()),
        group => format!("/apis/{group}/{}", resource.version()),
    };
    let plural = resource.plural();
    let namespaced = resource.scope() == Scope::Namespaced;
    let collection =
        if namespaced { format!("{root}/namespaces/{{namespace}}/{plural}") } else { format!("{root}/{plural}") };
    let mut paths = vec![
        Path { path: collection.clone(), operations: kind.of_collection() },
        Path {
            path: format!("{collection}/{{name}}"),
            operations: vec![kind.read(""), kind.replace(""), kind.patch(""), kind.delete()],
        },
    ];
    if namespaced {
        paths.push(Path { path: format!("{root}/{plural}"), operations: vec![kind.list_in_all_namespaces()] });
    }
    for sub in resource.subresources() {
        let operations = kind.subresource(sub);
        paths.push(Path { path: format!("{collection}/{{name}}/{sub}"), operations });
    }
    paths
}

struct Described<'a> {
    resource: &'a ApiResource,
    schema: &'a str,
}

impl Described<'_> {
    /// `readCoreV1NamespacedPodStatus`
    fn id(&self, verb: &str, sub: &str) -> String {
        let namespaced = if self.resource.scope() == Scope::Namespaced { "Namespaced" } else { "" };
        format!("{}{namespaced}{}{}", self.id_start(verb), self.resource.kind(), capital(sub))
    }
    /// `readCoreV1`
    fn id_start(&self, verb: &str) -> String {
        let group = self.resource.group().split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
        format!("{verb}{}{}", capital(group), capital(self.resource.version()))
    }
    fn gvk(&self) -> Gvk {
        Gvk(self.resource.group().into(), self.resource.version().into(), self.resource.kind().into())
    }
    fn operation(&self, method: &'static str, action: &'static str, verb: &str, sub: &str) -> Operation {
        let of = if sub.is_empty() { String::new() } else { format!("{sub} of ") };
        Operation {
            method,
            action,
            id: self.id(verb, sub),
            about: format!("{verb} {of}{}", self.resource.kind()),
            gvk: self.gvk(),
            query: &[],
            body: Body::None,
            answer: Some(self.schema.to_owned()),
        }
    }
    fn list(&self) -> Operation {
        let answer = Some(format!("{}List", self.schema));
        Operation { query: LIST, answer, ..self.operation("get", "list", "list", "") }
    }
    fn list_in_all_namespaces(&self) -> Operation {
        Operation { id: format!("{}{}ForAllNamespaces", self.id_start("list"), self.resource.kind()), ..self.list() }
    }
    fn of_collection(&self) -> Vec<Operation> {
        let mut operations = vec![self.list(), self.create()];
        if self.resource.has_delete_collection() {
            operations.push(self.delete_collection());
        }
        operations
    }
    fn create(&self) -> Operation {
        let body = Body::Object(self.schema.to_owned());
        Operation { query: WRITE, body, ..self.operation("post", "post", "create", "") }
    }
    fn delete_collection(&self) -> Operation {
        let answer = Some(format!("{META}.Status"));
        let start = self.id_start("delete");
        let id = self.id("delete", "").replacen(&start, &format!("{start}Collection"), 1);
        let body = Body::DeleteOptions;
        Operation { id, query: DELETE, body, answer, ..self.operation("delete", "deletecollection", "delete", "") }
    }
    fn read(&self, sub: &str) -> Operation {
        self.operation("get", "get", "read", sub)
    }
    fn replace(&self, sub: &str) -> Operation {
        let body = Body::Object(self.schema.to_owned());
        Operation { query: WRITE, body, ..self.operation("put", "put", "replace", sub) }
    }
    fn patch(&self, sub: &str) -> Operation {
        Operation { query: PATCH, body: Body::Patch, ..self.operation("patch", "patch", "patch", sub) }
    }
    fn delete(&self) -> Operation {
        let operation = self.operation("delete", "delete", "delete", "");
        let status = || Some(format!("{META}.Status"));
        let answer = if self.resource.delete_returns_object() { operation.answer } else { status() };
        Operation { query: DELETE, body: Body::DeleteOptions, answer, ..operation }
    }
    fn subresource(&self, sub: &str) -> Vec<Operation> {
        match sub {
            "approval" | "ephemeralcontainers" | "resize" | "status" => {
                vec![self.read(sub), self.replace(sub), self.patch(sub)]
            }
            "finalize" => vec![self.replace(sub)],
            "scale" => {
                let mut all = vec![self.read(sub), self.replace(sub), self.patch(sub)];
                for operation in &mut all {
                    about_other(operation, ("autoscaling", "v1", "Scale"), schemas::SCALE);
                }
                all
            }
            "binding" => vec![self.create_other(sub, ("", "v1", "Binding"), schemas::BINDING)],
            "eviction" => vec![self.create_other(sub, ("policy", "v1", "Eviction"), schemas::EVICTION)],
            "token" => {
                let of = ("authentication.k8s.io", "v1", "TokenRequest");
                vec![self.create_other(sub, of, schemas::TOKEN_REQUEST)]
            }
            "log" => vec![Operation { query: LOG, answer: None, ..self.read(sub) }],
            "portforward" => self.connect(sub, FORWARD),
            _ => self.connect(sub, STREAM),
        }
    }
    fn create_other(&self, sub: &str, gvk: (&str, &str, &str), schema: &str) -> Operation {
        let body = Body::Object(schema.to_owned());
        let mut create = Operation { query: WRITE, body, ..self.operation("post", "post", "create", sub) };
        about_other(&mut create, gvk, schema);
        create
    }
    fn connect(&self, sub: &str, query: &'static [Param]) -> Vec<Operation> {
        let options = match sub {
            "attach" => "PodAttachOptions",
            "exec" => "PodExecOptions",
            "portforward" => "PodPortForwardOptions",
            _ => self.resource.kind(),
        };
        let start = self.id_start("connect");
        let with = |method, method_in_id: &str| {
            let id = self.id("connect", sub).replacen(&start, &format!("{start}{method_in_id}"), 1);
            let gvk = Gvk(String::new(), "v1".into(), options.into());
            Operation { query, answer: None, id, gvk, ..self.operation(method, "connect", "connect to", sub) }
        };
        vec![with("get", "Get"), with("post", "Post")]
    }
}

fn about_other(operation: &mut Operation, (group, version, kind): (&str, &str, &str), schema: &str) {
    operation.gvk = Gvk(group.into(), version.into(), kind.into());
    operation.answer = Some(schema.to_owned());
    if let Body::Object(body) = &mut operation.body {
        schema.clone_into(body);
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}
