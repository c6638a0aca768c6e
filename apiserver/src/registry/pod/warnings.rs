//! What users are told of a pod, or of a template of pods, that is good and yet may surprise them.

mod overlaps;
mod ports;

use std::collections::HashSet;

use corten_api::pod::annotations::{APP_ARMOR_PREFIX, SECCOMP, SECCOMP_PREFIX};
use k8s_openapi::api::core::v1::{
    Affinity, Container, Pod, PodAffinityTerm, PodSpec, PodTemplateSpec, Volume, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::registry::check;
use crate::registry::path::Path;
use crate::registry::warnings::Warnings;

const NO_POD: &str = "a null labelSelector results in matching no pod";
const SECCOMP_WHY: &str = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;
const APPARMOR_WHY: &str = r#"deprecated since v1.30; use the "appArmorProfile" field instead"#;
const ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        r#"non-functional in v1.16+; use the "priorityClassName" field instead"#,
    ),
    ("security.alpha.kubernetes.io/sysctls", r#"non-functional in v1.11+; use the "sysctls" field instead"#),
    ("security.alpha.kubernetes.io/unsafe-sysctls", r#"non-functional in v1.11+; use the "sysctls" field instead"#),
];
const BYTES: [&str; 2] = ["memory", "ephemeral-storage"];

/// Where the parts of a pod stand, and whether it is a template.
struct At<'a> {
    spec: &'a Path<'a>,
    annotations: &'a Path<'a>,
    is_template: bool,
}

pub fn pod(pod: &Pod) -> Vec<String> {
    let mut warnings = Warnings::default();
    let (spec, annotations) = (Path::root("spec"), Path::root("metadata.annotations"));
    let at = At { spec: &spec, annotations: &annotations, is_template: false };
    if let Some(spec) = &pod.spec {
        spec_and_meta(spec, &pod.metadata, &at, &mut warnings);
    }
    warnings.into_vec()
}

/// `at`: of the template.
pub fn template(template: &PodTemplateSpec, at: &Path<'_>, warnings: &mut Warnings) {
    let (spec, metadata) = (at.field("spec"), at.field("metadata"));
    let at = At { spec: &spec, annotations: &metadata.field("annotations"), is_template: true };
    let none = ObjectMeta::default();
    if let Some(spec) = &template.spec {
        spec_and_meta(spec, template.metadata.as_ref().unwrap_or(&none), &at, warnings);
    }
}

fn spec_and_meta(spec: &PodSpec, meta: &ObjectMeta, at: &At<'_>, warnings: &mut Warnings) {
    for key in spec.node_selector.iter().flatten().map(|(key, _)| key) {
        warnings.node_label(&at.spec.field("nodeSelector").key(key), key);
    }
    node_affinity(spec, at, warnings);
    let list = at.spec.field("topologySpreadConstraints");
    for (i, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let at = list.index(i);
        warnings.node_label_at(&at.field("topologyKey"), &constraint.topology_key);
        if constraint.label_selector.is_none() {
            warnings.push(&at.field("labelSelector"), NO_POD);
        }
    }
    for (key, why) in ANNOTATIONS.iter().filter(|(key, _)| has_annotation(meta, key)) {
        warnings.push(&at.annotations.key(key), why);
    }
    let list = at.spec.field("volumes");
    for (i, one) in spec.volumes.iter().flatten().enumerate() {
        volume(one, &list.index(i), warnings);
    }
    overlaps::paths(spec, warnings);
    repeated(spec, at, warnings);
    for name in BYTES {
        warnings.fractional_bytes(&at.spec.field("overhead"), spec.overhead.as_ref(), name);
    }
    let has_profile = spec.security_context.as_ref().is_some_and(|context| context.seccomp_profile.is_some());
    if !has_profile && has_annotation(meta, SECCOMP) {
        warnings.push(&at.annotations.key(SECCOMP), SECCOMP_WHY);
    }
    each_container(spec, at.spec, &mut |one, place| container(one, spec, meta, place, at, warnings));
    ports::all(spec, at.spec, warnings);
    if spec.termination_grace_period_seconds.is_some_and(|secs| secs < 0) {
        let why = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.push(&at.spec.field("terminationGracePeriodSeconds"), why);
    }
    pod_affinity(spec.affinity.as_ref(), &at.spec.field("affinity"), warnings);
    let servers = at.spec.field("dnsConfig");
    let servers = servers.field("nameservers");
    for (i, server) in spec.dns_config.iter().flat_map(|dns| dns.nameservers.iter().flatten()).enumerate() {
        warnings.ip(&servers.index(i), server);
    }
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        warnings.ip(&at.spec.field("hostAliases").index(i).field("ip"), &alias.ip);
    }
}

/// Init containers, main ones; ephemeral ones are no business of who makes the pod.
fn each_container(spec: &PodSpec, at: &Path<'_>, visit: &mut dyn FnMut(&Container, &Path<'_>)) {
    let list = at.field("initContainers");
    for (i, container) in spec.init_containers.iter().flatten().enumerate() {
        visit(container, &list.index(i));
    }
    let list = at.field("containers");
    for (i, container) in spec.containers.iter().enumerate() {
        visit(container, &list.index(i));
    }
}

fn has_annotation(meta: &ObjectMeta, key: &str) -> bool {
    meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key))
}

fn node_affinity(spec: &PodSpec, at: &At<'_>, warnings: &mut Warnings) {
    let Some(affinity) = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()) else { return };
    let at = at.spec.field("affinity");
    let at = at.field("nodeAffinity");
    let required = at.field("requiredDuringSchedulingIgnoredDuringExecution");
    let required = required.field("nodeSelectorTerms");
    let terms = affinity.required_during_scheduling_ignored_during_execution.iter();
    for (i, term) in terms.flat_map(|required| &required.node_selector_terms).enumerate() {
        warnings.node_selector_term(&required.index(i), term, false);
    }
    let preferred = at.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
        warnings.node_selector_term(&preferred.index(i).field("preference"), &term.preference, true);
    }
}

fn pod_affinity(affinity: Option<&Affinity>, at: &Path<'_>, warnings: &mut Warnings) {
    let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let near = near.map(|a| {
        (
            &a.required_during_scheduling_ignored_during_execution,
            &a.preferred_during_scheduling_ignored_during_execution,
        )
    });
    let apart = apart.map(|a| {
        (
            &a.required_during_scheduling_ignored_during_execution,
            &a.preferred_during_scheduling_ignored_during_execution,
        )
    });
    for (field, terms) in [("podAffinity", near), ("podAntiAffinity", apart)] {
        let Some((required, preferred)) = terms else { continue };
        let at = at.field(field);
        affinity_terms(required.as_deref(), preferred.as_deref(), &at, warnings);
    }
}

fn affinity_terms(
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
    at: &Path<'_>,
    warnings: &mut Warnings,
) {
    let list = at.field("requiredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in required.unwrap_or_default().iter().enumerate() {
        if term.label_selector.is_none() {
            warnings.push(&list.index(i).field("labelSelector"), NO_POD);
        }
    }
    let list = at.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in preferred.unwrap_or_default().iter().enumerate() {
        if term.pod_affinity_term.label_selector.is_none() {
            warnings.push(&list.index(i).field("podAffinityTerm").field("labelSelector"), NO_POD);
        }
    }
}

/// Drivers that are gone.
fn volume(volume: &Volume, at: &Path<'_>, warnings: &mut Warnings) {
    for (is_there, field, why) in [
        (
            volume.photon_persistent_disk.is_some(),
            "photonPersistentDisk",
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        (volume.git_repo.is_some(), "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
        (volume.scale_io.is_some(), "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        (volume.flocker.is_some(), "flocker", "deprecated in v1.22, non-functional in v1.25+"),
        (volume.storageos.is_some(), "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        (volume.quobyte.is_some(), "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
        (volume.glusterfs.is_some(), "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        (volume.cephfs.is_some(), "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        (volume.rbd.is_some(), "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if is_there {
            warnings.push(&at.field(field), why);
        }
    }
    let claim = volume.ephemeral.as_ref().and_then(|ephemeral| ephemeral.volume_claim_template.as_ref());
    if let Some(claim) = claim {
        warnings.claim_spec(&at.field("ephemeral").field("volumeClaimTemplate").field("spec"), &claim.spec);
    }
}

/// What stands twice in a list that has keys: an apply would drop one.
fn repeated(spec: &PodSpec, at: &At<'_>, warnings: &mut Warnings) {
    let list = at.spec.field("hostAliases");
    let mut seen = HashSet::new();
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        if !seen.insert(&alias.ip) {
            warnings.push(&list.index(i).field("ip"), format_args!("duplicate ip {:?}", alias.ip));
        }
    }
    let list = at.spec.field("imagePullSecrets");
    let mut seen = HashSet::new();
    for (i, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if !seen.insert(&secret.name) {
            warnings.push(&list.index(i).field("name"), format_args!("duplicate name {:?}", secret.name));
        }
    }
    for (i, _) in spec.image_pull_secrets.iter().flatten().enumerate().filter(|(_, secret)| secret.name.is_empty()) {
        warnings.push(&list.index(i).field("name"), r#"invalid empty name """#);
    }
}

fn container(
    one: &Container,
    spec: &PodSpec,
    meta: &ObjectMeta,
    place: &Path<'_>,
    at: &At<'_>,
    warnings: &mut Warnings,
) {
    let context = one.security_context.as_ref();
    let seccomp = format!("{SECCOMP_PREFIX}{}", one.name);
    if context.is_none_or(|context| context.seccomp_profile.is_none()) && has_annotation(meta, &seccomp) {
        warnings.push(&at.annotations.key(&seccomp), SECCOMP_WHY);
    }
    // Of a pod the annotation becomes the field.
    let of_pod = spec.security_context.as_ref().is_some_and(|context| context.app_armor_profile.is_some());
    let of_container = context.is_some_and(|context| context.app_armor_profile.is_some());
    let apparmor = format!("{APP_ARMOR_PREFIX}{}", one.name);
    if at.is_template && !of_pod && !of_container && has_annotation(meta, &apparmor) {
        warnings.push(&at.annotations.key(&apparmor), APPARMOR_WHY);
    }
    let resources = one.resources.as_ref();
    let resources_at = place.field("resources");
    for name in BYTES {
        let limits = resources.and_then(|resources| resources.limits.as_ref());
        warnings.fractional_bytes(&resources_at.field("limits"), limits, name);
        let requests = resources.and_then(|resources| resources.requests.as_ref());
        warnings.fractional_bytes(&resources_at.field("requests"), requests, name);
    }
    hidden(one, &place.field("env"), warnings);
}

/// Variables that hide earlier ones of their name without using them.
fn hidden(container: &Container, list: &Path<'_>, warnings: &mut Warnings) {
    let mut seen = HashSet::new();
    for (i, variable) in container.env.iter().flatten().enumerate() {
        if seen.insert(&variable.name) {
            continue;
        }
        let before = format!("$({})", variable.name);
        let value = check::text(variable.value.as_ref());
        if variable.value_from.is_some() || value == before || !value.contains(&before) {
            let why = "which may be dropped when using apply";
            warnings.push(&list.index(i), format_args!("hides previous definition of {:?}, {why}", variable.name));
        }
    }
}

#[cfg(test)]
mod tests;
