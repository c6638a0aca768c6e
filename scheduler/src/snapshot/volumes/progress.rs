//! How far the claims of a pod that is being bound have come: all bound, not yet, or never on this node. Pure.

use std::collections::BTreeMap;

use super::Volumes;
use super::matching::{ClaimRef, Plan, is_on};
use crate::snapshot::NodeSpec;
use corten_api::Key;

/// The revisions of what was written for a pod: what the cluster shows of before says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub volumes: BTreeMap<String, i64>,
    pub claims: BTreeMap<Key, i64>,
}

/// Whether all claims have their volumes; an error: they will not, and the pod is to be decided on again. The words are upstream's.
pub fn check(volumes: &Volumes, plan: &Plan, written: &Written, node: Option<&NodeSpec>) -> Result<bool, String> {
    let Some(node) = node else { return Err(format!("failed to get node {0:?}: node {0:?} not found", plan.node)) };
    for (claim, volume) in &plan.bindings {
        if !is_bound_to(volumes, claim, volume, written, node)? {
            return Ok(false);
        }
    }
    for claim in &plan.provisions {
        if !is_provisioned(volumes, claim, written, node)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_bound_to(
    volumes: &Volumes,
    claim: &ClaimRef,
    name: &str,
    written: &Written,
    node: &NodeSpec,
) -> Result<bool, String> {
    let Some(volume) = volumes.volume(name) else {
        return Err(format!("failed to check binding: could not find v1.PersistentVolume {name:?}"));
    };
    let Some(kept) = volumes.claims.get(&claim.key) else {
        return Err(format!(
            "failed to check binding: could not find v1.PersistentVolumeClaim {:?}",
            claim.key.to_string()
        ));
    };
    if volume.offer.revision < written.volumes.get(name).copied().unwrap_or(0) {
        return Ok(false);
    }
    if !is_on(volume, node) {
        return Err(elsewhere(name, node));
    }
    if volume.offer.claim.as_ref().is_none_or(|(_, uid)| uid.is_empty()) {
        return Err(format!("ClaimRef got reset for pv {name:?}"));
    }
    match &kept.volume {
        None => Ok(false),
        Some(volume) if volume == name => Ok(true),
        // Nobody has asked whether that one can be had on the node.
        Some(other) => {
            Err(format!("claim {:?} is bound to pv {other:?} instead of pv {name:?}", claim.key.to_string()))
        }
    }
}

fn is_provisioned(volumes: &Volumes, claim: &ClaimRef, written: &Written, node: &NodeSpec) -> Result<bool, String> {
    let Some(kept) = volumes.claims.get(&claim.key) else {
        let key = claim.key.to_string();
        return Err(format!("failed to check provisioning pvc: could not find v1.PersistentVolumeClaim {key:?}"));
    };
    if let Some(wanted) = &kept.wanted {
        if wanted.revision < written.claims.get(&claim.key).copied().unwrap_or(0) {
            return Ok(false);
        }
        // Who could not make the volume takes the node off the claim.
        if wanted.node.as_deref() != Some(node.name.as_str()) {
            return Err(format!("provisioning failed for PVC {:?}", claim.key.name));
        }
    }
    let Some(name) = &kept.volume else { return Ok(false) };
    match volumes.volume(name) {
        // It comes, or its claim is told that it went.
        None => Ok(false),
        Some(volume) if !is_on(volume, node) => Err(elsewhere(name, node)),
        Some(_) => Ok(true),
    }
}

fn elsewhere(volume: &str, node: &NodeSpec) -> String {
    format!("pv {volume:?} node affinity doesn't match node {:?}: no matching NodeSelectorTerms", node.name)
}
