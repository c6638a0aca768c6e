//! The paths of one kind, and of what is only ever created.

use corten_api::Scope;

use super::params::{self, Param};
use super::{Answer, Body, Gvk, OK, Operation, Path};
use crate::openapi::capital;
use crate::openapi::schemas::{self, META};
use crate::registry::ApiResource;
use crate::registry::questions::Question;

const CREATED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created"), ("202", "Accepted")];
const WRITTEN: &[(&str, &str)] = &[("200", "OK"), ("201", "Created")];
const DELETED: &[(&str, &str)] = &[("200", "OK"), ("202", "Accepted")];

/// All that is passed on, in the words of operations' names.
const PROXIED: [(&str, &str); 7] = [
    ("delete", "Delete"),
    ("get", "Get"),
    ("head", "Head"),
    ("options", "Options"),
    ("patch", "Patch"),
    ("post", "Post"),
    ("put", "Put"),
];
/// Of streams: browsers can only GET.
const STREAMED: [(&str, &str); 2] = [("get", "Get"), ("post", "Post")];

/// `/api/v1` or `/apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    format!("/{}", crate::openapi::path_of(group, version))
}

/// All paths of one kind. `schema` is the name of the kind's schema.
pub(super) fn of(resource: &ApiResource, schema: &str) -> Vec<Path> {
    let kind = Described { resource, schema };
    let root = root(resource.group(), resource.version());
    let plural = resource.plural();
    let namespaced = resource.scope() == Scope::Namespaced;
    let within = if namespaced { format!("namespaces/{{namespace}}/{plural}") } else { plural.to_owned() };
    let collection = format!("{root}/{within}");
    let watch = |path: &str, id: String, action| {
        let operation = Operation { id, ..kind.watch(action) };
        Path { path: format!("{root}/watch/{path}"), operations: vec![operation] }
    };
    let mut paths = vec![
        Path { path: collection.clone(), operations: kind.of_collection() },
        Path {
            path: format!("{collection}/{{name}}"),
            operations: vec![kind.read(""), kind.replace(""), kind.patch(""), kind.delete()],
        },
        // The old way, which is still served.
        watch(&within, kind.id("watch", "List"), "watchlist"),
        watch(&format!("{within}/{{name}}"), kind.id("watch", ""), "watch"),
    ];
    if namespaced {
        paths.push(Path { path: format!("{root}/{plural}"), operations: vec![kind.list_in_all_namespaces()] });
        let id = format!("{}{}ListForAllNamespaces", kind.id_start("watch"), resource.kind());
        paths.push(watch(plural, id, "watchlist"));
    }
    for sub in resource.subresources() {
        let path = format!("{collection}/{{name}}/{sub}");
        if &**sub == "proxy" {
            let operations = kind.connect(sub, "WithPath", &PROXIED, params::PROXY);
            paths.push(Path { path: format!("{path}/{{path}}"), operations });
        }
        paths.push(Path { path, operations: kind.subresource(sub) });
    }
    paths
}

/// The path of what is only ever created: a question, or a Binding.
pub(super) fn created_only(question: &Question) -> Path {
    let within = if question.namespaced { "namespaces/{namespace}/" } else { "" };
    let namespaced = if question.namespaced { "Namespaced" } else { "" };
    let schema = question.schema();
    let operation = Operation {
        method: "post",
        action: "post",
        id: format!("{}{namespaced}{}", id_start("create", question.group, "v1"), question.kind),
        about: format!("create a {}", question.kind),
        gvk: Gvk(question.group.into(), "v1".into(), question.kind.into()),
        query: params::WRITE,
        body: Body::Object(schema.clone()),
        codes: CREATED,
        answer: Answer::Object(schema),
    };
    let path = format!("{}/{within}{}", root(question.group, "v1"), question.plural);
    Path { path, operations: vec![operation] }
}

/// `readCoreV1`, `createRbacAuthorizationV1`.
fn id_start(verb: &str, group: &str, version: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    let words: String = group.split('.').map(capital).collect();
    format!("{verb}{words}{}", capital(version))
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
    fn id_start(&self, verb: &str) -> String {
        id_start(verb, self.resource.group(), self.resource.version())
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
            query: params::NONE,
            body: Body::None,
            codes: OK,
            answer: Answer::Object(self.schema.to_owned()),
        }
    }
    fn list(&self) -> Operation {
        let answer = Answer::Object(format!("{}List", self.schema));
        Operation { query: params::LIST, answer, ..self.operation("get", "list", "list", "") }
    }
    fn list_in_all_namespaces(&self) -> Operation {
        Operation { id: format!("{}{}ForAllNamespaces", self.id_start("list"), self.resource.kind()), ..self.list() }
    }
    fn watch(&self, action: &'static str) -> Operation {
        let about = format!("watch {}; deprecated: use the parameter watch of a list", self.resource.kind());
        let answer = Answer::Object(schemas::WATCH_EVENT.to_owned());
        Operation { about, query: params::LIST, answer, ..self.operation("get", action, "watch", "") }
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
        Operation { query: params::WRITE, body, codes: CREATED, ..self.operation("post", "post", "create", "") }
    }
    fn delete_collection(&self) -> Operation {
        let answer = Answer::Object(format!("{META}.Status"));
        let start = self.id_start("delete");
        let id = self.id("delete", "").replacen(&start, &format!("{start}Collection"), 1);
        let (query, body) = (params::DELETE_COLLECTION, Body::DeleteOptions);
        Operation { id, query, body, answer, ..self.operation("delete", "deletecollection", "delete", "") }
    }
    fn read(&self, sub: &str) -> Operation {
        self.operation("get", "get", "read", sub)
    }
    fn replace(&self, sub: &str) -> Operation {
        let body = Body::Object(self.schema.to_owned());
        Operation { query: params::WRITE, body, codes: WRITTEN, ..self.operation("put", "put", "replace", sub) }
    }
    fn patch(&self, sub: &str) -> Operation {
        let operation = self.operation("patch", "patch", "patch", sub);
        Operation { query: params::PATCH, body: Body::Patch, codes: WRITTEN, ..operation }
    }
    fn delete(&self) -> Operation {
        let answer =
            if self.resource.delete_returns_object() { self.schema.to_owned() } else { format!("{META}.Status") };
        let (query, body, answer) = (params::DELETE, Body::DeleteOptions, Answer::Object(answer));
        Operation { query, body, answer, codes: DELETED, ..self.operation("delete", "delete", "delete", "") }
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
            "log" => vec![Operation { query: params::LOG, answer: Answer::Text, ..self.read(sub) }],
            "portforward" => self.connect(sub, "", &STREAMED, params::FORWARD),
            "attach" => self.connect(sub, "", &STREAMED, params::ATTACH),
            "proxy" => self.connect(sub, "", &PROXIED, params::PROXY),
            _ => self.connect(sub, "", &STREAMED, params::EXEC),
        }
    }
    fn create_other(&self, sub: &str, gvk: (&str, &str, &str), schema: &str) -> Operation {
        let body = Body::Object(schema.to_owned());
        let create = self.operation("post", "post", "create", sub);
        let mut create = Operation { query: params::WRITE, body, codes: CREATED, ..create };
        about_other(&mut create, gvk, schema);
        create
    }
    /// `end`: of the operations' names.
    fn connect(
        &self,
        sub: &str,
        end: &str,
        methods: &[(&'static str, &'static str)],
        query: &'static [Param],
    ) -> Vec<Operation> {
        let options = match sub {
            "attach" => "PodAttachOptions".to_owned(),
            "exec" => "PodExecOptions".to_owned(),
            "portforward" => "PodPortForwardOptions".to_owned(),
            "proxy" => format!("{}ProxyOptions", self.resource.kind()),
            _ => self.resource.kind().to_owned(),
        };
        let start = self.id_start("connect");
        let with = |(method, in_id): &(&'static str, &'static str)| {
            let id = self.id("connect", sub).replacen(&start, &format!("{start}{in_id}"), 1) + end;
            let gvk = Gvk(String::new(), "v1".into(), options.clone());
            let answer = Answer::Text;
            Operation { query, answer, id, gvk, ..self.operation(method, "connect", "connect to", sub) }
        };
        methods.iter().map(with).collect()
    }
}

fn about_other(operation: &mut Operation, (group, version, kind): (&str, &str, &str), schema: &str) {
    operation.gvk = Gvk(group.into(), version.into(), kind.into());
    operation.answer = Answer::Object(schema.to_owned());
    if let Body::Object(body) = &mut operation.body {
        schema.clone_into(body);
    }
}
