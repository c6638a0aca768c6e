//! The Node authorizer: what of the cluster is a kubelet's (its own Node and Lease, the pods that are bound to it, what those
//! refer to), and what is its proxy's. Pure.
//!
//! It is asked before roles are, and what it does not allow, roles may. A stolen node opens no Secret of pods that others run,
//! and learns nothing by guessing names: what is not there is refused as what is another's is.
//! <https://kubernetes.io/docs/reference/access-authn-authz/node/>

use corten_api::selector::FieldSelector;

use super::rbac::{bootstrap, rule};
use super::{Attributes, node_name, proxy_node};
use crate::registry::pod::references::Source;
use crate::request::{Target, User};

/// Where the Leases of nodes are.
pub const LEASES: &str = "kube-node-lease";
/// What a kubelet may do is known, and depends on what is there.
pub const NO_RULES: &str = "node authorizer does not support user rule resolution";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Needs(Need),
    /// And why; empty for what is none of its business.
    NoOpinion(String),
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
pub fn judge(user: &User, verb: &str, target: &Target, fields: &FieldSelector) -> Verdict {
    let asked = Attributes::Resource { verb, target };
    match (node_name(user), proxy_node(user)) {
        (Some(node), _) if bootstrap::node_rules().iter().any(|own| rule::allows(own, asked)) => {
            judge_kubelet(node, verb, target, fields)
        }
        (None, Some(node)) => judge_proxy(node, verb, target, fields),
        _ => Verdict::NoOpinion(String::new()),
    }
}

/// Of a request that the rules of all kubelets allow.
fn judge_kubelet(node: &str, verb: &str, target: &Target, fields: &FieldSelector) -> Verdict {
    let reads = matches!(verb, "get" | "list" | "watch");
    let name = if target.name.is_empty() { selected(fields, "metadata.name") } else { &target.name };
    match (target.group.as_str(), target.resource.as_str()) {
        ("", "secrets") => source(Source::Secret, reads, target, name),
        ("", "configmaps") => source(Source::ConfigMap, reads, target, name),
        ("", "serviceaccounts") => {
            let fits = matches!((verb, target.subresource.as_str()), ("get", "") | ("create", "token"));
            source(Source::ServiceAccount, fits, target, name)
        }
        ("", "persistentvolumeclaims") => {
            let is_status = target.subresource == "status" && matches!(verb, "update" | "patch");
            let fits = is_status || (target.subresource.is_empty() && verb == "get");
            source(Source::PersistentVolumeClaim, fits, target, name)
        }
        // Whose these are, only their claims and pods say, which are not followed so far yet.
        ("", "persistentvolumes") | ("storage.k8s.io", "volumeattachments") | ("resource.k8s.io", "resourceclaims") => {
            no_opinion(format!("no relationship found between node '{node}' and this object"))
        }
        ("", "pods") => pods(node, verb, target, name, fields),
        ("", "nodes") => nodes(node, reads, name),
        ("coordination.k8s.io", "leases") => leases(node, verb, target, name),
        ("storage.k8s.io", "csinodes") => csi_nodes(node, verb, name),
        ("resource.k8s.io", "resourceslices") => of_node(node, fields, "list/watch/deletecollection resourceslices"),
        ("certificates.k8s.io", "podcertificaterequests") => match verb {
            "list" | "watch" => of_node(node, fields, "list/watch podcertificaterequests"),
            // Whose a request is, and whether what it asks for is its node's, nobody looks at yet.
            _ => no_opinion(format!("nodes may not {verb} podcertificaterequests")),
        },
        _ => Verdict::Allowed,
    }
}

/// What a node's proxy may read beyond what all proxies may: the pods of its node, for their host ports, which are its work
/// here; upstream has a CNI plugin for them, that the kubelet runs. The kubelet reads them anyway.
fn judge_proxy(node: &str, verb: &str, target: &Target, fields: &FieldSelector) -> Verdict {
    let is_pods = target.group.is_empty() && target.resource == "pods" && target.subresource.is_empty();
    if is_pods && matches!(verb, "list" | "watch") { of_node(node, fields, "list/watch pods") } else { no_opinion("") }
}

fn no_opinion(why: impl Into<String>) -> Verdict {
    Verdict::NoOpinion(why.into())
}

/// Only by a field selector, which goes on holding.
fn of_node(node: &str, fields: &FieldSelector, what: &str) -> Verdict {
    match selected(fields, "spec.nodeName") {
        own if own == node => Verdict::Allowed,
        _ => no_opinion(format!("can only {what} with spec.nodeName field selector")),
    }
}

/// The value that a field must have; "" if the selector does not say.
fn selected<'a>(fields: &'a FieldSelector, field: &str) -> &'a str {
    fields.0.iter().find(|t| t.field == field && !t.negated).map_or("", |t| t.value.as_str())
}

/// `fits`: it is asked for in a way that nodes may.
fn source(source: Source, fits: bool, target: &Target, name: &str) -> Verdict {
    if !fits {
        return no_opinion("can only read resources of this type");
    }
    if target.namespace.is_empty() {
        return no_opinion("can only read namespaced object of this type");
    }
    if name.is_empty() {
        return no_opinion("No Object name found");
    }
    Verdict::Needs(Need::Referred { source, namespace: target.namespace.clone(), name: name.to_owned() })
}

fn pods(node: &str, verb: &str, target: &Target, name: &str, fields: &FieldSelector) -> Verdict {
    match (verb, target.subresource.as_str()) {
        // Of its own only, by a field selector that goes on holding.
        ("list" | "watch", "") if selected(fields, "spec.nodeName") == node => return Verdict::Allowed,
        ("list" | "watch", "") if name.is_empty() => {
            return no_opinion("can only list/watch pods with spec.nodeName field selector");
        }
        // Mirrors of static pods: admission looks at what is in them.
        ("create", "") => return Verdict::Allowed,
        ("get" | "list" | "watch" | "delete", "") | ("update" | "patch", "status") | ("create", "eviction") => {}
        _ => return no_opinion(""),
    }
    if target.namespace.is_empty() {
        return no_opinion("can only list/watch pods with spec.nodeName field selector");
    }
    Verdict::Needs(Need::Bound { namespace: target.namespace.clone(), name: name.to_owned() })
}

fn nodes(node: &str, reads: bool, name: &str) -> Verdict {
    match name {
        // On a create the name is not known yet: admission looks at it.
        "" if !reads => Verdict::Allowed,
        "" => no_opinion(format!("node '{node}' cannot read all nodes, only its own Node object")),
        name if name == node => Verdict::Allowed,
        name if reads => no_opinion(format!("node '{node}' cannot read '{name}', only its own Node object")),
        _ => no_opinion(format!("node '{node}' can only write its own Node object")),
    }
}

fn leases(node: &str, verb: &str, target: &Target, name: &str) -> Verdict {
    if matches!(verb, "list" | "watch") {
        return no_opinion("can only get, create, update, patch, or delete a node lease");
    }
    if target.namespace != LEASES {
        return no_opinion(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    // On a create the name is not known yet: admission looks at it.
    if verb == "create" || name == node {
        return Verdict::Allowed;
    }
    no_opinion("can only access node lease with the same name as the requesting node")
}

fn csi_nodes(node: &str, verb: &str, name: &str) -> Verdict {
    match name {
        name if name == node => Verdict::Allowed,
        // On a create the name is not known, and nobody looks at it yet.
        _ if verb == "create" => no_opinion("cannot create CSINodes"),
        _ => no_opinion("can only access CSINode with the same name as the requesting node"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::{NODES_GROUP, PROXIES_GROUP};

    fn agent(name: &str, group: &str) -> User {
        User { name: name.into(), groups: vec![group.into()], ..User::default() }
    }

    /// `verb resource namespace/name fields`, `-` for none.
    fn judged(user: &User, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let (namespace, name) = words[2].split_once('/').unwrap();
        let (resource, subresource) = words[1].split_once('/').unwrap_or((words[1], ""));
        let group = match resource {
            "leases" => "coordination.k8s.io",
            "csinodes" | "volumeattachments" | "csidrivers" => "storage.k8s.io",
            "resourceclaims" | "resourceslices" => "resource.k8s.io",
            "podcertificaterequests" => "certificates.k8s.io",
            _ => "",
        };
        let target = Target {
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        let fields = FieldSelector::parse(words[3].trim_matches('-')).unwrap();
        match judge(user, words[0], &target, &fields) {
            Verdict::Allowed => "allowed".into(),
            Verdict::NoOpinion(_) => "-".into(),
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
            ("list secrets ns/ -", "-"),
            ("list secrets / -", "-"),
            ("watch secrets ns/ metadata.name!=s", "-"),
            ("create secrets ns/ -", "-"),
            ("delete secrets ns/s -", "-"),
            ("get serviceaccounts ns/a -", "ServiceAccount ns/a"),
            ("list serviceaccounts ns/ metadata.name=a", "-"),
            ("create serviceaccounts/token ns/a -", "ServiceAccount ns/a"),
            ("create serviceaccounts/token ns/ -", "-"),
            ("get persistentvolumeclaims ns/v -", "PersistentVolumeClaim ns/v"),
            ("list persistentvolumeclaims ns/ metadata.name=v", "-"),
            ("get persistentvolumes /v -", "-"),
            ("get pods ns/web -", "bound ns/web"),
            ("get pods/log ns/web -", "-"),
            ("get pods/exec ns/web -", "-"),
            ("update pods ns/web -", "-"),
            ("deletecollection pods ns/ spec.nodeName=n1", "-"),
            ("patch pods/status ns/web -", "bound ns/web"),
            ("create pods/eviction ns/web -", "bound ns/web"),
            ("create pods/binding ns/web -", "-"),
            ("create pods ns/ -", "allowed"),
            ("get pods ns/web spec.nodeName=n1", "bound ns/web"),
            ("list pods / metadata.name=web", "-"),
            ("watch pods / spec.nodeName=n1", "allowed"),
            ("watch pods / spec.nodeName=n2", "-"),
            ("watch pods / spec.nodeName!=n1", "-"),
            ("list pods ns/ metadata.name=web", "bound ns/web"),
            ("delete pods ns/web -", "bound ns/web"),
            ("get nodes /n1 -", "allowed"),
            ("get nodes /n2 -", "-"),
            ("list nodes / -", "-"),
            ("watch nodes / metadata.name=n1", "allowed"),
            ("create nodes / -", "allowed"),
            ("patch nodes /n2 -", "-"),
            ("update leases kube-node-lease/n1 -", "allowed"),
            ("update leases kube-node-lease/n2 -", "-"),
            ("update leases kube-system/n1 -", "-"),
            ("create leases kube-node-lease/ -", "allowed"),
            ("list leases kube-node-lease/ -", "-"),
            ("create events ns/ -", "allowed"),
            ("patch persistentvolumeclaims/status ns/v -", "PersistentVolumeClaim ns/v"),
            ("update persistentvolumeclaims ns/v -", "-"),
            ("get volumeattachments /v -", "-"),
            ("get resourceclaims ns/c -", "-"),
            ("update csinodes /n1 -", "allowed"),
            ("get csinodes /n2 -", "-"),
            ("create csinodes / -", "-"),
            ("list csidrivers / -", "allowed"),
            ("deletecollection resourceslices / spec.nodeName=n1", "allowed"),
            ("deletecollection resourceslices / spec.nodeName=n2", "-"),
            ("watch podcertificaterequests / spec.nodeName=n1", "allowed"),
            ("watch podcertificaterequests / -", "-"),
            ("get podcertificaterequests ns/r -", "-"),
            ("create podcertificaterequests ns/ -", "-"),
            ("get nodes/proxy /n1 -", "-"),
            ("list namespaces / -", "-"),
        ] {
            assert_eq!(judged(&agent("system:node:n1", NODES_GROUP), line), expected, "{line}");
        }
    }

    #[test]
    fn a_nodes_proxy_reads_the_pods_of_its_node() {
        for (line, expected) in [
            ("watch pods / spec.nodeName=n1", "allowed"),
            ("list pods ns/ spec.nodeName=n1", "allowed"),
            ("watch pods / spec.nodeName=n2", "-"),
            ("watch pods / spec.nodeName!=n2", "-"),
            ("watch pods / -", "-"),
            ("get pods ns/web spec.nodeName=n1", "-"),
            ("watch pods/status / spec.nodeName=n1", "-"),
            ("deletecollection pods / spec.nodeName=n1", "-"),
            ("watch services / -", "-"),
        ] {
            assert_eq!(judged(&agent("system:kube-proxy:n1", PROXIES_GROUP), line), expected, "{line}");
        }
    }

    #[test]
    fn others_are_none_of_its_business() {
        let others = [
            agent("system:node:n1", "dev"),
            agent("system:node:", NODES_GROUP),
            agent("n1", NODES_GROUP),
            agent("system:kube-proxy:n1", "dev"),
            agent("system:kube-proxy", PROXIES_GROUP),
            agent("system:kube-proxy:", PROXIES_GROUP),
        ];
        for user in others {
            for line in ["watch pods / spec.nodeName=n1", "watch pods / spec.nodeName=", "get nodes /n1 -"] {
                assert_eq!(judged(&user, line), "-", "{} {line}", user.name);
            }
        }
    }
}
