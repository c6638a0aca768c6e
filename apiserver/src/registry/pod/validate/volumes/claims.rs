//! Volumes behind claims: of those that are there, and of those that are made for the pod from a template.

use std::collections::HashSet;

use corten_api::pod::ephemeral_claim_name;
use corten_api::{Problems, names};
use k8s_openapi::api::core::v1::{PodSpec, Volume};

use crate::registry::path::Path;
use crate::registry::persistentvolumeclaim::validate::template;
use crate::registry::volume_source::required;

/// The names of all claims that are made for the pod; none while its own name is not known.
pub(super) fn made_for(pod: &str, spec: &PodSpec) -> HashSet<String> {
    let ephemeral = spec.volumes.iter().flatten().filter(|volume| volume.ephemeral.is_some() && !pod.is_empty());
    ephemeral.map(|volume| ephemeral_claim_name(pod, &volume.name)).collect()
}

/// `pod`: its name, or empty; `made`: what [`made_for`] gives.
pub(super) fn validate(volume: &Volume, pod: &str, made: &HashSet<String>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(claim) = &volume.persistent_volume_claim {
        let at = at.field("persistentVolumeClaim");
        required(&[("claimName", &claim.claim_name)], &at, problems);
        if made.contains(&claim.claim_name) {
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            problems.invalid(at.field("claimName"), &claim.claim_name, why);
        }
    }
    let Some(ephemeral) = &volume.ephemeral else { return };
    let template_at = at.field("ephemeral");
    let template_at = template_at.field("volumeClaimTemplate");
    match &ephemeral.volume_claim_template {
        None => problems.required(template_at, ""),
        Some(claim) => template(claim, &template_at, problems),
    }
    if pod.is_empty() || volume.name.is_empty() {
        return;
    }
    let name = ephemeral_claim_name(pod, &volume.name);
    if !names::is_dns1123_subdomain(&name) {
        let why = format!("PVC name {name:?}: {}", names::DNS1123_SUBDOMAIN_WHY);
        problems.invalid(at.field("name"), &volume.name, &why);
    }
}
