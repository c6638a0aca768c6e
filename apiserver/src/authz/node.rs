//! What of the cluster is a kubelet's: its own Node and Lease, the pods that are bound to it, what those refer to; and what
//! is its proxy's. Pure.
//!
//! A stolen node opens no Secret of pods that others run, and learns nothing by guessing names: what is not there is refused
//! as what is another's is. <https://kubernetes.io/docs/reference/access-authn-authz/node/>

use corten_api::selector::FieldSelector;

use crate::registry::pod::references::Source;
use crate::request::Target;

const LEASES: &str = "kube-node-lease";

/// What a node's request depends on, beyond its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Role,
    Denied(String),
    Needs(Need),
}

/// What has to be so in the cluster, for as long as the request goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// A pod of this namespace that is bound to the node refers to this.
    Referred { source: Source, namespace: String, name: String },
    /// This pod is bound to the node.
    Bound { namespace: String, name: String },
}

/// `fields`: the field selector of a list or watch, which may name the one object that is meant.
pub fn judge(node: &str, verb: &str, target: &Target, fields: &FieldSelector) -> Verdict {
    let reads = matches!(verb, "get" | "list" | "watch");
    let name = if target.name.is_empty() { selected(fields, "metadata.name") } else { &target.name };
    match (target.group.as_str(), target.resource.as_str()) {
        ("", "secrets") => source(Source::Secret, reads, target, name),
        ("", "configmaps") => source(Source::ConfigMap, reads, target, name),
        ("", "serviceaccounts") => {
            let fits = matches!((verb, target.subresource.as_str()), ("get", "") | ("create", "token"));
            source(Source::ServiceAccount, fits, target, name)
        }
        ("", "persistentvolumeclaims") => source(Source::PersistentVolumeClaim, verb == "get", target, name),
        // Whose a volume is only its claim says, and claims are not kept yet.
        ("", "persistentvolumes") => Verdict::Denied("no relationship is known between nodes and volumes".into()),
        ("", "pods") => pods(node, verb, target, name, fields),
        ("", "nodes") => nodes(node, reads, name),
        ("coordination.k8s.io", "leases") => leases(node, verb, target, name),
        _ => Verdict::Role,
    }
}

/// What a node's proxy may read beyond what all proxies may: the pods of its node, for their host ports.
pub fn judge_proxy(node: &str, target: &Target, fields: &FieldSelector) -> Verdict {
    let is_pods = target.group.is_empty() && target.resource == "pods";
    if !is_pods || selected(fields, "spec.nodeName") == node {
        return Verdict::Role;
    }
    Verdict::Denied("can only list/watch pods with spec.nodeName field selector".into())
}

/// The value that a field must have; "" if the selector does not say.
fn selected<'a>(fields: &'a FieldSelector, field: &str) -> &'a str {
    fields.0.iter().find(|t| t.field == field && !t.negated).map_or("", |t| t.value.as_str())
}

/// `fits`: it is asked for in a way that nodes may.
fn source(source: Source, fits: bool, target: &Target, name: &str) -> Verdict {
    if !fits {
        return Verdict::Denied("can only read resources of this type".into());
    }
    if target.namespace.is_empty() {
        return Verdict::Denied("can only read namespaced object of this type".into());
    }
    if name.is_empty() {
        return Verdict::Denied("No Object name found".into());
    }
    Verdict::Needs(Need::Referred { source, namespace: target.namespace.clone(), name: name.to_owned() })
}

fn pods(node: &str, verb: &str, target: &Target, name: &str, fields: &FieldSelector) -> Verdict {
    match (verb, target.subresource.as_str()) {
        // Of its own only, by a field selector that goes on holding.
        ("list" | "watch", "") if selected(fields, "spec.nodeName") == node => return Verdict::Role,
        ("list" | "watch", "") if name.is_empty() => {
            return Verdict::Denied("can only list/watch pods with spec.nodeName field selector".into());
        }
        // Mirrors of static pods: admission looks at what is in them.
        ("create", "") => return Verdict::Role,
        ("get" | "list" | "watch" | "delete", "") | ("update" | "patch", "status") | ("create", "eviction") => {}
        _ => return Verdict::Denied(String::new()),
    }
    if target.namespace.is_empty() {
        return Verdict::Denied("can only list/watch pods with spec.nodeName field selector".into());
    }
    Verdict::Needs(Need::Bound { namespace: target.namespace.clone(), name: name.to_owned() })
}

fn nodes(node: &str, reads: bool, name: &str) -> Verdict {
    match name {
        // On a create the name is not known yet: admission looks at it.
        "" if !reads => Verdict::Role,
        "" => Verdict::Denied(format!("node '{node}' cannot read all nodes, only its own Node object")),
        name if name == node => Verdict::Role,
        name if reads => Verdict::Denied(format!("node '{node}' cannot read '{name}', only its own Node object")),
        _ => Verdict::Denied(format!("node '{node}' can only write its own Node object")),
    }
}

fn leases(node: &str, verb: &str, target: &Target, name: &str) -> Verdict {
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
        let (resource, subresource) = words[1].split_once('/').unwrap_or((words[1], ""));
        let target = Target {
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
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
            ("create secrets ns/ -", "denied"),
            ("delete secrets ns/s -", "denied"),
            ("get serviceaccounts ns/a -", "ServiceAccount ns/a"),
            ("list serviceaccounts ns/ metadata.name=a", "denied"),
            ("create serviceaccounts/token ns/a -", "ServiceAccount ns/a"),
            ("create serviceaccounts/token ns/ -", "denied"),
            ("get persistentvolumeclaims ns/v -", "PersistentVolumeClaim ns/v"),
            ("list persistentvolumeclaims ns/ metadata.name=v", "denied"),
            ("get persistentvolumes /v -", "denied"),
            ("get pods ns/web -", "bound ns/web"),
            ("get pods/log ns/web -", "denied"),
            ("get pods/exec ns/web -", "denied"),
            ("update pods ns/web -", "denied"),
            ("deletecollection pods ns/ spec.nodeName=n1", "denied"),
            ("patch pods/status ns/web -", "bound ns/web"),
            ("create pods/eviction ns/web -", "bound ns/web"),
            ("create pods/binding ns/web -", "denied"),
            ("create pods ns/ -", "role"),
            ("get pods ns/web spec.nodeName=n1", "bound ns/web"),
            ("list pods / metadata.name=web", "denied"),
            ("watch pods / spec.nodeName=n1", "role"),
            ("watch pods / spec.nodeName=n2", "denied"),
            ("watch pods / spec.nodeName!=n1", "denied"),
            ("list pods ns/ metadata.name=web", "bound ns/web"),
            ("delete pods ns/web -", "bound ns/web"),
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
