//! What of the cluster is a kubelet's: its own Node and Lease, the pods that are bound to it, what those refer to. Pure.
//!
//! A stolen node opens no Secret of pods that others run.
//! <https://kubernetes.io/docs/reference/access-authn-authz/node/>

use corten_api::selector::FieldSelector;

use crate::registry::pod::references::Source;
use crate::request::Target;

const LEASES: &str = "kube-node-lease";

/// What a node's request depends on, beyond its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    Role,
    Denied(String),
    Needs(Need<'a>),
}

/// What has to be so in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// A pod of this namespace that is bound to the node refers to this.
    Referred { source: Source, namespace: &'a str, name: &'a str },
    /// This pod is bound to the node.
    Bound { namespace: &'a str, name: &'a str },
}

/// `fields`: the field selector of a list or watch, which may name the one object that is meant.
pub fn judge<'a>(node: &str, verb: &str, target: &'a Target, fields: &'a FieldSelector) -> Verdict<'a> {
    let reads = matches!(verb, "get" | "list" | "watch");
    let name = if target.name.is_empty() { selected(fields, "metadata.name") } else { &target.name };
    match (target.group.as_str(), target.resource.as_str()) {
        ("", "secrets") if reads => source(Source::Secret, target, name),
        ("", "configmaps") if reads => source(Source::ConfigMap, target, name),
        ("", "pods") if reads && target.subresource.is_empty() => pods(node, verb, target, name, fields),
        ("", "nodes") => nodes(node, reads, name),
        ("coordination.k8s.io", "leases") => leases(node, verb, target, name),
        _ => Verdict::Role,
    }
}

/// The value that a field must have; "" if the selector does not say.
fn selected<'a>(fields: &'a FieldSelector, field: &str) -> &'a str {
    fields.0.iter().find(|t| t.field == field && !t.negated).map_or("", |t| t.value.as_str())
}

fn source<'a>(source: Source, target: &'a Target, name: &'a str) -> Verdict<'a> {
    if target.namespace.is_empty() {
        return Verdict::Denied("can only read namespaced object of this type".into());
    }
    if name.is_empty() {
        return Verdict::Denied("No Object name found".into());
    }
    Verdict::Needs(Need::Referred { source, namespace: &target.namespace, name })
}

fn pods<'a>(node: &str, verb: &str, target: &'a Target, name: &'a str, fields: &FieldSelector) -> Verdict<'a> {
    if verb != "get" && selected(fields, "spec.nodeName") == node {
        return Verdict::Role;
    }
    if name.is_empty() {
        return Verdict::Denied("can only list/watch pods with spec.nodeName field selector".into());
    }
    Verdict::Needs(Need::Bound { namespace: &target.namespace, name })
}

fn nodes(node: &str, reads: bool, name: &str) -> Verdict<'static> {
    match name {
        // On a create the name is not known yet: admission looks at it.
        "" if !reads => Verdict::Role,
        "" => Verdict::Denied(format!("node '{node}' cannot read all nodes, only its own Node object")),
        name if name == node => Verdict::Role,
        name if reads => Verdict::Denied(format!("node '{node}' cannot read '{name}', only its own Node object")),
        _ => Verdict::Denied(format!("node '{node}' can only write its own Node object")),
    }
}

fn leases(node: &str, verb: &str, target: &Target, name: &str) -> Verdict<'static> {
    if matches!(verb, "list" | "watch") {
        return Verdict::Denied("can only get, create, update, patch, or delete a node lease".into());
    }
    if target.namespace != LEASES {
        return Verdict::Denied(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    // On a create the name is not known yet: admission looks at it.
    if verb == "create" || name == node {
        return Verdict::Role;
    }
    Verdict::Denied("can only access node lease with the same name as the requesting node".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `verb resource namespace/name fields`, `-` for none.
    fn judged(line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let (namespace, name) = words[2].split_once('/').unwrap();
        let group = if words[1] == "leases" { "coordination.k8s.io" } else { "" };
        let target = Target {
            group: group.into(),
            version: "v1".into(),
            resource: words[1].into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Target::default()
        };
        let fields = FieldSelector::parse(words[3].trim_matches('-')).unwrap();
        match judge("n1", words[0], &target, &fields) {
            Verdict::Role => "role".into(),
            Verdict::Denied(_) => "denied".into(),
            Verdict::Needs(Need::Bound { namespace, name }) => format!("bound {namespace}/{name}"),
            Verdict::Needs(Need::Referred { source, namespace, name }) => format!("{source:?} {namespace}/{name}"),
        }
    }

    #[test]
    fn what_each_request_needs() {
        for (line, expected) in [
            ("get secrets ns/s -", "Secret ns/s"),
            ("watch secrets ns/ metadata.name=s", "Secret ns/s"),
            ("list configmaps ns/ metadata.name=c", "ConfigMap ns/c"),
            ("list secrets ns/ -", "denied"),
            ("list secrets / -", "denied"),
            ("watch secrets ns/ metadata.name!=s", "denied"),
            ("create secrets ns/ -", "role"),
            ("get pods ns/web -", "bound ns/web"),
            ("watch pods / spec.nodeName=n1", "role"),
            ("watch pods / spec.nodeName=n2", "denied"),
            ("watch pods / spec.nodeName!=n1", "denied"),
            ("list pods ns/ metadata.name=web", "bound ns/web"),
            ("delete pods ns/web -", "role"),
            ("get nodes /n1 -", "role"),
            ("get nodes /n2 -", "denied"),
            ("list nodes / -", "denied"),
            ("watch nodes / metadata.name=n1", "role"),
            ("create nodes / -", "role"),
            ("patch nodes /n2 -", "denied"),
            ("update leases kube-node-lease/n1 -", "role"),
            ("update leases kube-node-lease/n2 -", "denied"),
            ("update leases kube-system/n1 -", "denied"),
            ("create leases kube-node-lease/ -", "role"),
            ("list leases kube-node-lease/ -", "denied"),
            ("create events ns/ -", "role"),
        ] {
            assert_eq!(judged(line), expected, "{line}");
        }
    }
}
