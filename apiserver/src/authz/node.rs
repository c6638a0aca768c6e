//! The Node authorizer: what of the cluster is a kubelet's (its own Node, Lease and CSINode, the pods that are bound to it, what
//! those refer to, what names its node), and what is its proxy's. Pure.
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
    /// A pod of this namespace that is bound to the node refers to this; to a Secret, also the volume of a claim that such a pod
    /// refers to may.
    Referred { source: Source, namespace: String, name: String },
    /// This pod is bound to the node.
    Bound { namespace: String, name: String },
    /// The claim that this PersistentVolume is bound to is one that a pod on the node refers to, or it is a directory of the node.
    Claimed { volume: String },
    /// This PersistentVolume is a directory of the node, made and removed by its kubelet.
    Kept { volume: String },
    /// This object has the node's name as its `spec.nodeName`.
    Names { kind: Naming, namespace: String, name: String },
}

/// The kinds whose objects each belong to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    VolumeAttachment,
    ResourceSlice,
    PodCertificateRequest,
}

impl Naming {
    /// Group and plural.
    pub fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::VolumeAttachment => ("storage.k8s.io", "volumeattachments"),
            Self::ResourceSlice => ("resource.k8s.io", "resourceslices"),
            Self::PodCertificateRequest => ("certificates.k8s.io", "podcertificaterequests"),
        }
    }
}

/// `fields`: the field selector of a list or watch, which may name the one object that is meant.
pub fn judge(user: &User, verb: &str, target: &Target, fields: &FieldSelector) -> Verdict {
    match (node_name(user), proxy_node(user)) {
        (Some(node), _) => judge_kubelet(node, verb, target, fields),
        (None, Some(node)) => judge_proxy(node, verb, target, fields),
        (None, None) => Verdict::NoOpinion(String::new()),
    }
}

fn judge_kubelet(node: &str, verb: &str, target: &Target, fields: &FieldSelector) -> Verdict {
    let name = if target.name.is_empty() { selected(fields, "metadata.name") } else { &target.name };
    let asked = Asked { node, verb, target, name, fields };
    match (target.group.as_str(), target.resource.as_str()) {
        ("", "secrets") => asked.read(Source::Secret),
        ("", "configmaps") => asked.read(Source::ConfigMap),
        ("", "serviceaccounts") => asked.service_account(),
        ("", "persistentvolumeclaims") => asked.claim(),
        ("", "persistentvolumes") => asked.volume(),
        ("resource.k8s.io", "resourceclaims") => asked.get(|asked| asked.referred(Source::ResourceClaim)),
        ("storage.k8s.io", "volumeattachments") => asked.get(|asked| asked.names(Naming::VolumeAttachment)),
        ("", "pods") => asked.pod(),
        ("", "nodes") => asked.node(),
        ("coordination.k8s.io", "leases") => asked.lease(),
        ("storage.k8s.io", "csinodes") => asked.csi_node(),
        ("resource.k8s.io", "resourceslices") => asked.resource_slice(),
        ("certificates.k8s.io", "podcertificaterequests") => asked.pod_certificate_request(),
        _ => asked.any_nodes(),
    }
}

/// What a node's proxy may read beyond what all proxies may: the pods of its node, for their host ports, which are its work
/// here; upstream has a CNI plugin for them, that the kubelet runs. The kubelet reads them anyway.
fn judge_proxy(node: &str, verb: &str, target: &Target, fields: &FieldSelector) -> Verdict {
    let asked = Asked { node, verb, target, name: "", fields };
    let is_pods = target.group.is_empty() && target.resource == "pods" && target.subresource.is_empty();
    if is_pods && matches!(verb, "list" | "watch") {
        asked.of_node("can only list/watch pods with spec.nodeName field selector")
    } else {
        no_opinion("")
    }
}

fn no_opinion(why: impl Into<String>) -> Verdict {
    Verdict::NoOpinion(why.into())
}

/// The value that a field must have; "" if the selector does not say.
fn selected<'a>(fields: &'a FieldSelector, field: &str) -> &'a str {
    fields.0.iter().find(|t| t.field == field && !t.negated).map_or("", |t| t.value.as_str())
}

/// A request of a node's.
#[derive(Clone, Copy)]
struct Asked<'a> {
    node: &'a str,
    verb: &'a str,
    target: &'a Target,
    /// Of the path, or the one that the selector asks for.
    name: &'a str,
    fields: &'a FieldSelector,
}

impl Asked<'_> {
    fn is_plain(&self) -> bool {
        self.target.subresource.is_empty()
    }
    fn referred(&self, source: Source) -> Need {
        Need::Referred { source, namespace: self.target.namespace.clone(), name: self.name.to_owned() }
    }
    fn names(&self, kind: Naming) -> Need {
        Need::Names { kind, namespace: self.target.namespace.clone(), name: self.name.to_owned() }
    }
    fn needs(&self, need: Need) -> Verdict {
        if self.name.is_empty() { no_opinion("No Object name found") } else { Verdict::Needs(need) }
    }
    /// What all nodes may alike.
    fn any_nodes(&self) -> Verdict {
        let asked = Attributes::Resource { verb: self.verb, target: self.target };
        let is_allowed = bootstrap::node_rules().iter().any(|own| rule::allows(own, asked));
        if is_allowed { Verdict::Allowed } else { no_opinion("") }
    }
    /// Only by a field selector, which goes on holding.
    fn of_node(&self, why: &str) -> Verdict {
        if selected(self.fields, "spec.nodeName") == self.node { Verdict::Allowed } else { no_opinion(why) }
    }

    fn get(&self, need: impl FnOnce(&Self) -> Need) -> Verdict {
        if self.verb != "get" {
            return no_opinion("can only get individual resources of this type");
        }
        if !self.is_plain() {
            return no_opinion("cannot get subresource");
        }
        self.needs(need(self))
    }
    fn read(&self, source: Source) -> Verdict {
        if !matches!(self.verb, "get" | "list" | "watch") {
            return no_opinion("can only read resources of this type");
        }
        if !self.is_plain() {
            return no_opinion("cannot read subresource");
        }
        if self.target.namespace.is_empty() {
            return no_opinion("can only read namespaced object of this type");
        }
        self.needs(self.referred(source))
    }
    fn service_account(&self) -> Verdict {
        if self.verb == "get" && self.is_plain() {
            return self.read(Source::ServiceAccount);
        }
        if self.verb != "create" || self.name.is_empty() {
            return no_opinion("can only create tokens for individual service accounts");
        }
        if self.target.subresource != "token" {
            return no_opinion("can only create token subresource of serviceaccount");
        }
        Verdict::Needs(self.referred(Source::ServiceAccount))
    }
    fn claim(&self) -> Verdict {
        if self.target.subresource != "status" {
            return self.get(|asked| asked.referred(Source::PersistentVolumeClaim));
        }
        match self.verb {
            "update" | "patch" => self.needs(self.referred(Source::PersistentVolumeClaim)),
            _ => no_opinion("can only get/update/patch this type"),
        }
    }
    /// Upstream's kubelets read volumes alone. What of it ours may write, admission looks at.
    fn volume(&self) -> Verdict {
        let volume = self.name.to_owned();
        match self.verb {
            "list" | "watch" | "update" if self.is_plain() && !volume.is_empty() => {
                Verdict::Needs(Need::Kept { volume })
            }
            _ => self.get(|_| Need::Claimed { volume }),
        }
    }
    fn pod(&self) -> Verdict {
        const SELECTED_ONLY: &str = "can only list/watch pods with spec.nodeName field selector";
        let Target { namespace, subresource, .. } = self.target;
        match (self.verb, subresource.as_str()) {
            // Of its own only, by a field selector that goes on holding.
            ("list" | "watch", "") if selected(self.fields, "spec.nodeName") == self.node => return Verdict::Allowed,
            ("list" | "watch", "") if self.name.is_empty() => return no_opinion(SELECTED_ONLY),
            // Mirrors of static pods: admission looks at what is in them.
            ("create", "") => return Verdict::Allowed,
            ("get" | "list" | "watch" | "delete", "") | ("update" | "patch", "status") | ("create", "eviction") => {}
            _ => return no_opinion(""),
        }
        if namespace.is_empty() {
            return no_opinion(SELECTED_ONLY);
        }
        Verdict::Needs(Need::Bound { namespace: namespace.clone(), name: self.name.to_owned() })
    }
    fn node(&self) -> Verdict {
        let Self { node, name, .. } = self;
        match (self.verb, self.target.subresource.as_str()) {
            ("get" | "list" | "watch", "") => match *name {
                "" => no_opinion(format!("node '{node}' cannot read all nodes, only its own Node object")),
                name if name == *node => Verdict::Allowed,
                _ => no_opinion(format!("node '{node}' cannot read '{name}', only its own Node object")),
            },
            // On a create the name is not known yet: admission looks at it.
            ("create", "") => Verdict::Allowed,
            ("update" | "patch", "" | "status") if name == node => Verdict::Allowed,
            ("update" | "patch", "" | "status") => {
                no_opinion(format!("node '{node}' can only write its own Node object"))
            }
            _ => no_opinion(""),
        }
    }
    fn lease(&self) -> Verdict {
        if !self.writes_its_own() {
            return no_opinion("can only get, create, update, patch, or delete a node lease");
        }
        if self.target.namespace != LEASES {
            return no_opinion(format!("can only access leases in the {LEASES:?} system namespace"));
        }
        // On a create the name is not known yet: admission looks at it.
        if self.verb != "create" && self.name != self.node {
            return no_opinion("can only access node lease with the same name as the requesting node");
        }
        Verdict::Allowed
    }
    fn csi_node(&self) -> Verdict {
        if !self.writes_its_own() {
            return no_opinion("can only get, create, update, patch, or delete a CSINode");
        }
        if !self.is_plain() {
            return no_opinion("cannot authorize CSINode subresources");
        }
        if self.verb != "create" && self.name != self.node {
            return no_opinion("can only access CSINode with the same name as the requesting node");
        }
        Verdict::Allowed
    }
    fn writes_its_own(&self) -> bool {
        matches!(self.verb, "get" | "create" | "update" | "patch" | "delete")
    }
    fn resource_slice(&self) -> Verdict {
        if !self.is_plain() {
            return no_opinion("cannot authorize ResourceSlice subresources");
        }
        match self.verb {
            // What is in it, admission looks at.
            "create" => Verdict::Allowed,
            "get" | "update" | "patch" | "delete" => self.needs(self.names(Naming::ResourceSlice)),
            "watch" | "list" | "deletecollection" => {
                self.of_node("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no_opinion(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, \
                 deletecollection",
            ),
        }
    }
    fn pod_certificate_request(&self) -> Verdict {
        if !self.is_plain() {
            return no_opinion("nodes may not access the status subresource of PodCertificateRequests");
        }
        match self.verb {
            // What is in it, admission looks at.
            "create" => Verdict::Allowed,
            "get" => self.needs(self.names(Naming::PodCertificateRequest)),
            "list" | "watch" => self.of_node("can only list/watch podcertificaterequests with nodeName field selector"),
            verb => no_opinion(format!("nodes may not {verb} podcertificaterequests")),
        }
    }
}

#[cfg(test)]
mod tests;
