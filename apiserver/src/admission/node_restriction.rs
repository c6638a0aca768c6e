//! What a kubelet may write, beyond what its role says: its own Node, pods bound to it, mirrors of its static pods.
//!
//! What it may name at all, `authz` has said before.
//! <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>

mod certificates;
mod claims;
mod mirrors;
mod tokens;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use corten_api::pod;
use k8s_openapi::api::core::v1::{Node, Pod, PodResourceClaimStatus};
use k8s_openapi::api::resource::v1::ResourceSlice;

use super::{AdmissionRequest, Refusal};
use crate::authn::{NODE_PREFIX, NODES_GROUP};
use crate::authz;
use crate::authz::node::LEASES;
use crate::registry::AnyObject;
use crate::request::Verb;

/// Labels in Kubernetes' own namespaces that a kubelet may set on its Node, besides those under [`OPEN_PREFIXES`].
const OPEN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/instance-type",
    "kubernetes.io/os",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OPEN_PREFIXES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.user.name == NODE_PREFIX && request.user.in_group(NODES_GROUP) {
        return Err(request.forbidden(format!("could not determine node from user {NODE_PREFIX:?}")));
    }
    let Some(node) = authz::node_name(request.user).map(str::to_owned) else { return Ok(()) };
    let verdict = if request.is("", "pods") {
        on_pod(request, &node)
    } else if request.is("", "nodes") {
        on_node(request, &node)
    } else if request.is("", "serviceaccounts") && request.target.subresource == "token" {
        return tokens::admit(request, &node);
    } else if request.is("", "persistentvolumeclaims") {
        claims::on_claim(request, &node)
    } else if request.is("", "persistentvolumes") {
        volumes::on_volume(request, &node)
    } else if request.is("certificates.k8s.io", "certificatesigningrequests") {
        certificates::on_request(request, &node)
    } else if request.is("certificates.k8s.io", "podcertificaterequests") {
        return certificates::on_pod_request(request, &node);
    } else if request.is("coordination.k8s.io", "leases") {
        on_lease(request, &node)
    } else if request.is("storage.k8s.io", "csinodes") {
        of_its_name(request, &node, "CSINode")
    } else if request.is("resource.k8s.io", "resourceslices") {
        on_slice(request, &node)
    } else {
        Ok(())
    };
    verdict.map_err(|why| request.forbidden(why))
}

fn on_pod(request: &AdmissionRequest<'_>, node: &str) -> Result<(), String> {
    let only = |what: &str, pod: Option<&Pod>| match pod.and_then(pod::node_name) {
        Some(name) if name == node => Ok(()),
        _ => Err(format!("node {node:?} can only {what} pods with spec.nodeName set to itself")),
    };
    match (request.target.subresource.as_str(), request.verb) {
        ("", Verb::Create) => {
            let pod = request.object::<Pod>();
            mirrors::mirror(pod, node)
                .and_then(|()| only("create", pod))
                .and_then(|()| mirrors::owned_by_node(request, pod, node))
                .and_then(|()| mirrors::refers_to_nothing(pod, node))
        }
        ("", Verb::Delete) => only("delete", request.old()),
        ("", verb) => {
            let verb = verb.as_str().to_uppercase();
            Err(format!("unexpected operation {verb:?}, node {node:?} can only create and delete mirror pods"))
        }
        ("status", Verb::Update) => {
            let (new, old) = (request.object::<Pod>(), request.old::<Pod>());
            only("update pod status for", old)?;
            let (Some(new), Some(old)) = (new, old) else { return Err("unexpected type".into()) };
            on_pod_status(new, old, node)
        }
        ("status", verb) => Err(format!("unexpected operation {:?}", verb.as_str().to_uppercase())),
        ("eviction", _) => only("evict", request.old()),
        (other, _) => Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")),
    }
}

/// Which devices a pod was given is the scheduler's and the controllers' to say: whose claims a node may read follows from it.
fn on_pod_status(new: &Pod, old: &Pod, node: &str) -> Result<(), String> {
    fn claims(pod: &Pod) -> &[PodResourceClaimStatus] {
        let status = pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_deref());
        status.unwrap_or_default()
    }
    let extended = |pod: &Pod| pod.status.as_ref().and_then(|status| status.extended_resource_claim_status.clone());
    let labels = |pod: &Pod| pod.metadata.labels.clone().unwrap_or_default();
    if labels(new) != labels(old) {
        return Err(format!("node {node:?} cannot update labels through pod status"));
    }
    if claims(new) != claims(old) {
        return Err(format!("node {node:?} cannot update resource claim statues"));
    }
    if extended(new) != extended(old) {
        return Err(format!("node {node:?} cannot update extended resource claim status"));
    }
    Ok(())
}

fn on_node(request: &AdmissionRequest<'_>, node: &str) -> Result<(), String> {
    if request.name() != node {
        return Err(format!("node {node:?} is not allowed to modify node {:?}", request.name()));
    }
    let Some(new) = request.object::<Node>() else { return Ok(()) };
    let old = request.old::<Node>();
    // What a node may read follows from its spec.
    let source = |node: &Node| node.spec.as_ref().and_then(|spec| spec.config_source.clone());
    match (source(new), old) {
        (Some(_), None) => {
            return Err(format!("node {node:?} is not allowed to create pods with a non-nil configSource"));
        }
        (Some(new), Some(old)) if Some(&new) != source(old).as_ref() => {
            return Err(format!("node {node:?} is not allowed to update configSource to a new non-nil configSource"));
        }
        _ => {}
    }
    let closed = closed_labels(new.metadata.labels.as_ref(), old.and_then(|o| o.meta().labels.as_ref()));
    if !closed.is_empty() {
        let closed = closed.join(", ");
        return Err(match old {
            Some(_) => format!("is not allowed to modify labels: {closed}"),
            None => format!("node {node:?} is not allowed to set the following labels: {closed}"),
        });
    }
    if pod_cidrs(new) != old.map(pod_cidrs).unwrap_or_default() {
        return Err(format!("node {node:?} is not allowed to set podCIDRs"));
    }
    let Some(old) = old else { return Ok(()) };
    let taints = |node: &Node| node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    if taints(new) != taints(old) {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    if new.metadata.owner_references != old.metadata.owner_references {
        return Err(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    Ok(())
}

/// Which addresses a node's pods have the cluster says: every other node leads packets there, so that a stolen node could
/// have those of others' pods.
fn pod_cidrs(node: &Node) -> BTreeSet<&str> {
    let spec = node.spec.as_ref();
    let listed = spec.and_then(|s| s.pod_cidrs.as_deref()).unwrap_or_default().iter();
    listed.chain(spec.and_then(|s| s.pod_cidr.as_ref())).map(String::as_str).filter(|cidr| !cidr.is_empty()).collect()
}

fn on_lease(request: &AdmissionRequest<'_>, node: &str) -> Result<(), String> {
    if request.target.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    of_its_name(request, node, "node lease")
}

fn of_its_name(request: &AdmissionRequest<'_>, node: &str, what: &str) -> Result<(), String> {
    if request.name() == node {
        return Ok(());
    }
    Err(format!("can only access {what} with the same name as the requesting node"))
}

/// Of each that a node makes, and of each that a deletion of many finds; which others it may touch, `authz` has said.
fn on_slice(request: &AdmissionRequest<'_>, node: &str) -> Result<(), String> {
    let (slice, what) = match request.verb {
        Verb::Create => (request.object::<ResourceSlice>(), "create"),
        Verb::Delete => (request.old(), "delete"),
        _ => return Ok(()),
    };
    if slice.is_some_and(|slice| slice.spec.node_name.as_deref() == Some(node)) {
        return Ok(());
    }
    Err(format!("can only {what} ResourceSlice with the same NodeName as the requesting node"))
}

/// Labels that differ and that are not a kubelet's to say: roles above all, by which pods choose trusted nodes.
fn closed_labels<'a>(
    new: Option<&'a BTreeMap<String, String>>,
    old: Option<&'a BTreeMap<String, String>>,
) -> Vec<&'a str> {
    let none = BTreeMap::new();
    let (new_map, old_map) = (new.unwrap_or(&none), old.unwrap_or(&none));
    let differs = |key: &str| new_map.get(key) != old_map.get(key);
    let keys = new.into_iter().flatten().chain(old.into_iter().flatten()).map(|(key, _)| key.as_str());
    let mut closed: Vec<&str> = keys.filter(|key| differs(key) && is_closed(key)).collect();
    closed.sort_unstable();
    closed.dedup();
    closed
}

fn is_closed(key: &str) -> bool {
    let Some((namespace, _)) = key.split_once('/') else { return false };
    let within = |domain: &str| namespace.strip_suffix(domain).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    (within("kubernetes.io") || within("k8s.io"))
        && !OPEN_LABELS.contains(&key)
        && !OPEN_PREFIXES.iter().any(|p| within(p))
}

#[cfg(test)]
mod tests;
