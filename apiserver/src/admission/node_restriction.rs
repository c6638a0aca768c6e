//! What a kubelet may write, beyond what its role says: its own Node, pods bound to it, mirrors of its static pods.
//!
//! What it may name at all, `authz` has said before.
//! <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>

use std::collections::{BTreeMap, BTreeSet};

use corten_api::pod;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use super::{AdmissionRequest, Refusal};
use crate::authz;
use crate::registry::AnyObject;
use crate::registry::pod::references::{self, Source};
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
    let Some(node) = authz::node_name(request.user).map(str::to_owned) else { return Ok(()) };
    let verdict = if request.is("", "pods") {
        on_pod(request, &node)
    } else if request.is("", "nodes") {
        on_node(request, &node)
    } else if request.is("coordination.k8s.io", "leases") {
        on_lease(request, &node)
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
        ("", Verb::Create) => mirror(request.object(), node).and_then(|()| only("create", request.object())),
        ("", Verb::Delete) => only("delete", request.old()),
        ("", verb) => {
            let verb = verb.as_str().to_uppercase();
            Err(format!("unexpected operation {verb:?}, node {node:?} can only create and delete mirror pods"))
        }
        ("status", _) => {
            let (new, old) = (request.object::<Pod>(), request.old::<Pod>());
            only("update pod status for", old)?;
            let same = |a: &Pod, b: &Pod| a.metadata.labels == b.metadata.labels;
            match (new, old) {
                (Some(new), Some(old)) if !same(new, old) => {
                    Err(format!("node {node:?} cannot update labels through pod status"))
                }
                _ => Ok(()),
            }
        }
        ("eviction", _) => only("evict", request.old()),
        (other, _) => Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")),
    }
}

/// A node may only say which static pods it runs; such a pod refers to nothing that others own.
fn mirror(pod: Option<&Pod>, node: &str) -> Result<(), String> {
    let Some(pod) = pod else { return Ok(()) };
    if !pod::is_mirror(pod) {
        let annotation = pod::MIRROR_ANNOTATION;
        return Err(format!("pod does not have {annotation:?} annotation, node {node:?} can only create mirror pods"));
    }
    if let Some(what) = pod.spec.as_ref().and_then(reference) {
        return Err(format!("node {node:?} can not create pods that reference {what}"));
    }
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    match owners {
        [] => Ok(()),
        [owner] if owner.kind == "Node" && owner.api_version == "v1" && owner.name == node => Ok(()),
        [_] => Err(format!("node {node:?} can only create pods with an owner reference set to itself")),
        _ => Err(format!("node {node:?} can only create pods with a single owner reference set to itself")),
    }
}

/// What of others' a pod refers to, in words; `None` for nothing.
fn reference(spec: &PodSpec) -> Option<&'static str> {
    let (mut account, mut secrets, mut config_maps, mut claims) = (false, false, false, false);
    references::each(spec, |source, _| match source {
        Source::ServiceAccount => account = true,
        Source::Secret => secrets = true,
        Source::ConfigMap => config_maps = true,
        Source::PersistentVolumeClaim => claims = true,
    });
    let all = [
        (account, "a service account"),
        (secrets, "secrets"),
        (config_maps, "configmaps"),
        (claims, "persistentvolumeclaims"),
    ];
    all.into_iter().find(|(refers, _)| *refers).map(|(_, what)| what)
}

fn on_node(request: &AdmissionRequest<'_>, node: &str) -> Result<(), String> {
    if request.name() != node {
        return Err(format!("node {node:?} is not allowed to modify node {:?}", request.name()));
    }
    let Some(new) = request.object::<Node>() else { return Ok(()) };
    let old = request.old::<Node>();
    let closed = closed_labels(new.metadata.labels.as_ref(), old.and_then(|o| o.meta().labels.as_ref()));
    if !closed.is_empty() {
        let verb = if old.is_some() { "modify" } else { "set" };
        return Err(format!("node {node:?} is not allowed to {verb} labels: {}", closed.join(", ")));
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
    if request.name() == node {
        return Ok(());
    }
    Err(format!("can only access node lease with the same name as the requesting node, not {:?}", request.name()))
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
