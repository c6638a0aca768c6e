//! Mirrors of static pods: they say what runs on a node already, belong to its Node, and use nothing that others own.

use corten_api::pod;
use k8s_openapi::api::core::v1::{Node, Pod, Volume, VolumeProjection};

use crate::admission::AdmissionRequest;
use crate::registry::pod::references::{self, Source};

/// A node may only say which static pods it runs.
pub(super) fn mirror(pod: Option<&Pod>, node: &str) -> Result<(), String> {
    if pod.is_none_or(pod::is_mirror) {
        return Ok(());
    }
    let annotation = pod::MIRROR_ANNOTATION;
    Err(format!("pod does not have {annotation:?} annotation, node {node:?} can only create mirror pods"))
}

/// A mirror belongs to its Node alone. Without a controller it would be an orphan, which any ReplicaSet with a fitting
/// selector adopts, and then deletes a good pod for.
pub(super) fn owned_by_node(request: &AdmissionRequest<'_>, pod: Option<&Pod>, node: &str) -> Result<(), String> {
    let owner = match pod.and_then(|pod| pod.metadata.owner_references.as_deref()).unwrap_or_default() {
        [owner] => owner,
        [] => return Err(format!("node {node:?} can only create pods with an owner reference set to itself")),
        _ => return Err(format!("node {node:?} can only create pods with a single owner reference set to itself")),
    };
    if owner.api_version != "v1" || owner.kind != "Node" || owner.name != node {
        return Err(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if owner.controller != Some(true) {
        return Err(format!("node {node:?} can only create pods with a controller owner reference set to itself"));
    }
    if owner.block_owner_deletion == Some(true) {
        return Err(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    let Some(live) = request.find::<Node>("", "nodes", "", node) else {
        return Err(format!("error looking up node {node} to verify uid: nodes {node:?} not found"));
    };
    let uid = live.metadata.uid.unwrap_or_default();
    if owner.uid == uid { Ok(()) } else { Err(format!("node {node} UID mismatch: expected {} got {uid}", owner.uid)) }
}

/// Such a pod uses nothing that others own.
pub(super) fn refers_to_nothing(pod: Option<&Pod>, node: &str) -> Result<(), String> {
    match pod.and_then(reference) {
        Some(what) => Err(format!("node {node:?} can not create pods that reference {what}")),
        None => Ok(()),
    }
}

/// What of the API's a pod refers to, in words; `None` for nothing.
fn reference(pod: &Pod) -> Option<&'static str> {
    let (name, spec) = (pod.metadata.name.as_deref().unwrap_or_default(), pod.spec.as_ref()?);
    let (mut account, mut secrets, mut config_maps, mut claims) = (false, false, false, false);
    references::each(name, spec, |source, _| match source {
        Source::ServiceAccount => account = true,
        Source::Secret => secrets = true,
        Source::ConfigMap => config_maps = true,
        Source::PersistentVolumeClaim => claims = true,
        // Also those that are to be made from a template count, below.
        Source::ResourceClaim => {}
    });
    let devices = spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty());
    let all = [
        (account, "serviceaccounts"),
        (secrets, "secrets"),
        (config_maps, "configmaps"),
        (devices, "resourceclaims"),
        (claims, "persistentvolumeclaims"),
    ];
    let named = all.into_iter().find(|(refers, _)| *refers).map(|(_, what)| what);
    named.or_else(|| spec.volumes.iter().flatten().find_map(of_volume))
}

/// Volumes that take something of the API's, though they name no Secret, ConfigMap or claim.
fn of_volume(volume: &Volume) -> Option<&'static str> {
    if volume.csi.is_some() {
        return Some("csidrivers (via CSI volumes)");
    }
    if volume.glusterfs.is_some() {
        return Some("endpoints (via glusterFS volumes)");
    }
    volume.projected.iter().flat_map(|all| all.sources.iter().flatten()).find_map(of_source)
}

fn of_source(source: &VolumeProjection) -> Option<&'static str> {
    if source.config_map.is_some() {
        Some("configmaps (via projected volumes)")
    } else if source.secret.is_some() {
        Some("secrets (via projected volumes)")
    } else if source.service_account_token.is_some() {
        Some("serviceaccounts (via projected volumes)")
    } else if source.cluster_trust_bundle.is_some() {
        Some("clustertrustbundles")
    } else if source.pod_certificate.is_some() {
        Some("podcertificates")
    } else {
        None
    }
}
