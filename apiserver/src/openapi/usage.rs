//! metrics.k8s.io in the documents: its kinds are none of the registry's, and have no types of the crate's.

use serde_json::{Value, json};

use super::operations::{Answer, Body, Gvk, OK, Operation, Path, params};
use super::schemas::{META, QUANTITY, Version, list_of};
use crate::usage::{GROUP, KINDS, Kind, VERSION};

/// What metrics-server's own documents call them.
const TYPES: &str = "io.k8s.metrics.pkg.apis.metrics.v1beta1";

pub(super) fn path() -> String {
    super::path_of(GROUP, VERSION)
}

/// (name, schema)
pub(super) fn schemas(version: Version) -> Vec<(String, Value)> {
    let quantities = json!({
        "type": "object",
        "additionalProperties": version.reference(QUANTITY),
        "description": "How much of each resource: of cpu on average over the window, of memory at its end.",
    });
    let container = json!({
        "type": "object",
        "description": "What one container uses.",
        "required": ["name", "usage"],
        "properties": {"name": {"type": "string", "description": "Of the container."}, "usage": quantities},
    });
    let mut all = vec![(format!("{TYPES}.ContainerMetrics"), container)];
    for kind in KINDS {
        let (field, value) = match kind {
            Kind::Nodes => ("usage", quantities.clone()),
            Kind::Pods => {
                let items = version.reference(&format!("{TYPES}.ContainerMetrics"));
                let about = "What each container uses.";
                ("containers", json!({"type": "array", "items": items, "description": about}))
            }
        };
        let name = format!("{TYPES}.{}", kind.name());
        let mut list = list_of(&name, version);
        list["x-kubernetes-group-version-kind"] = gvks(format!("{}List", kind.name()));
        all.push((format!("{name}List"), list));
        all.push((name, object(kind, field, value, version)));
    }
    all
}

fn gvks(kind: String) -> Value {
    json!([{"group": GROUP, "version": VERSION, "kind": kind}])
}

fn object(kind: Kind, field: &str, value: Value, version: Version) -> Value {
    let metadata = version.reference(&format!("{META}.ObjectMeta"));
    let metadata = if version == Version::V3 { json!({ "allOf": [metadata] }) } else { metadata };
    let mut properties = json!({
        "apiVersion": {"type": "string", "description": "The version of the API that the object is in."},
        "kind": {"type": "string", "description": kind.name()},
        "metadata": metadata,
        "timestamp": {"type": "string", "format": "date-time", "description": "The end of the window."},
        "window": {"type": "string", "description": "How long was measured, as 15s."},
    });
    properties[field] = value;
    json!({
        "type": "object",
        "description": format!("What {} use.", kind.plural()),
        "required": ["timestamp", "window", field],
        "properties": properties,
        "x-kubernetes-group-version-kind": gvks(kind.name().into()),
    })
}

pub(super) fn paths() -> Vec<Path> {
    let root = format!("/{}", path());
    let mut paths = Vec::new();
    for kind in KINDS {
        let (plural, name) = (kind.plural(), kind.name());
        let (scope, place) = if kind.namespaced() { ("Namespaced", "/namespaces/{namespace}") } else { ("", "") };
        let list = list_operation(kind, format!("listMetricsV1beta1{scope}{name}"));
        let read = Operation {
            method: "get",
            action: "get",
            id: format!("readMetricsV1beta1{scope}{name}"),
            about: format!("read {name}"),
            gvk: gvk(kind),
            query: params::NONE,
            body: Body::None,
            codes: OK,
            answer: Answer::Object(format!("{TYPES}.{name}")),
        };
        paths.push(Path { path: format!("{root}{place}/{plural}"), operations: vec![list] });
        paths.push(Path { path: format!("{root}{place}/{plural}/{{name}}"), operations: vec![read] });
        if kind.namespaced() {
            let everywhere = list_operation(kind, format!("listMetricsV1beta1{name}ForAllNamespaces"));
            paths.push(Path { path: format!("{root}/{plural}"), operations: vec![everywhere] });
        }
    }
    paths
}

fn gvk(kind: Kind) -> Gvk {
    Gvk(GROUP.into(), VERSION.into(), kind.name().into())
}

fn list_operation(kind: Kind, id: String) -> Operation {
    Operation {
        method: "get",
        action: "list",
        id,
        about: format!("list {}", kind.name()),
        gvk: gvk(kind),
        query: params::LIST,
        body: Body::None,
        codes: OK,
        answer: Answer::Object(format!("{TYPES}.{}List", kind.name())),
    }
}
