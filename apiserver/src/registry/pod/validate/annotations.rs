//! Annotations that say what fields say, and must say the same.

use std::collections::BTreeMap;

use corten_api::Problems;
use corten_api::pod::MIRROR_ANNOTATION;
use corten_api::pod::annotations::{self, APP_ARMOR_PREFIX, DELETION_COST, SECCOMP, SECCOMP_PREFIX};
use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile};

use super::volumes::descending;
use super::{Of, every, os};
use crate::registry::check;
use crate::registry::path::Path;

const LOCALHOST: &str = "localhost/";
const RUNTIME_DEFAULT: &str = "runtime/default";
/// What `runtime/default` was called when there was one runtime.
const DOCKER_DEFAULT: &str = "docker/default";
const UNCONFINED: &str = "unconfined";

type Annotations = BTreeMap<String, String>;

/// `at` and `spec_at` are the paths of the annotations and of the spec.
pub(super) fn validate(spec: &PodSpec, of: Of<'_>, at: &Path<'_>, spec_at: &Path<'_>, problems: &mut Problems) {
    let Some(all) = of.annotations() else { return };
    // Only the kubelet of a node makes mirrors: of what runs on it already.
    let mirror = all.get(MIRROR_ANNOTATION);
    if let Some(value) = mirror.filter(|_| check::text(spec.node_name.as_ref()).is_empty()) {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        problems.invalid(at.key(MIRROR_ANNOTATION), value, why);
    }
    for (key, value) in all {
        if key == SECCOMP || key.starts_with(SECCOMP_PREFIX) {
            seccomp(value, &at.field(key), problems);
        } else if let Some(container) = key.strip_prefix(APP_ARMOR_PREFIX) {
            app_armor(value, container, spec, &at.key(key), problems);
        }
    }
    if of.is_new() || !of.is_pod() {
        same_seccomp(all, spec, spec_at, problems);
        same_app_armor(all, spec, spec_at, problems);
    }
}

pub(super) fn deletion_cost(all: Option<&Annotations>, at: &Path<'_>, problems: &mut Problems) {
    if annotations::deletion_cost(all).is_none() {
        let given = all.and_then(|all| all.get(DELETION_COST));
        problems.invalid(at.key(DELETION_COST), given, "must be a 32bit integer");
    }
}

fn seccomp(value: &str, at: &Path<'_>, problems: &mut Problems) {
    match value.strip_prefix(LOCALHOST) {
        Some(path) => descending(path, at, problems),
        None if [RUNTIME_DEFAULT, DOCKER_DEFAULT, UNCONFINED].contains(&value) => {}
        None => problems.invalid(at, value, "must be a valid seccomp profile"),
    }
}

fn app_armor(value: &str, container: &str, spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    if !every::container(spec).any(|c| c.name == container) {
        problems.invalid(at, container, "container not found");
    }
    if !["", RUNTIME_DEFAULT, UNCONFINED].contains(&value) && !value.starts_with(LOCALHOST) {
        problems.invalid(at, value, &format!("invalid AppArmor profile name: {value:?}"));
    }
}

fn same_seccomp(all: &Annotations, spec: &PodSpec, spec_at: &Path<'_>, problems: &mut Problems) {
    let of_pod = spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
    if let (Some(profile), Some(annotation)) = (of_pod, all.get(SECCOMP)) {
        one_seccomp(profile, annotation, &spec_at.field("securityContext"), problems);
    }
    for container in every::container(spec) {
        let profile = container.context.and_then(|context| context.seccomp_profile.as_ref());
        let annotation = all.get(&format!("{SECCOMP_PREFIX}{}", container.name));
        if let (Some(profile), Some(annotation)) = (profile, annotation) {
            container.at(spec_at, |at| one_seccomp(profile, annotation, &at.field("securityContext"), problems));
        }
    }
}

fn one_seccomp(profile: &SeccompProfile, annotation: &str, context: &Path<'_>, problems: &mut Problems) {
    let at = context.field("seccompProfile");
    let (same, local) = match profile.type_.as_str() {
        "Unconfined" => (annotation == UNCONFINED, None),
        "RuntimeDefault" => ([RUNTIME_DEFAULT, DOCKER_DEFAULT].contains(&annotation), None),
        "Localhost" => (annotation.starts_with(LOCALHOST), annotation.strip_prefix(LOCALHOST)),
        _ => return,
    };
    if !same {
        problems.forbidden(at.field("type"), "seccomp type in annotation and field must match");
    } else if local.is_some() && local != profile.localhost_profile.as_deref() {
        problems.forbidden(at.field("localhostProfile"), "seccomp profile in annotation and field must match");
    }
}

fn same_app_armor(all: &Annotations, spec: &PodSpec, spec_at: &Path<'_>, problems: &mut Problems) {
    if spec.os.as_ref().is_some_and(|os| os.name == os::WINDOWS) {
        return;
    }
    let of_pod = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    for container in every::container(spec) {
        let profile = container.context.and_then(|context| context.app_armor_profile.as_ref()).or(of_pod);
        let annotation = all.get(&format!("{APP_ARMOR_PREFIX}{}", container.name));
        if let (Some(profile), Some(annotation)) = (profile, annotation) {
            container.at(spec_at, |at| one_app_armor(profile, annotation, &at.field("securityContext"), problems));
        }
    }
}

fn one_app_armor(profile: &AppArmorProfile, annotation: &str, context: &Path<'_>, problems: &mut Problems) {
    let at = context.field("appArmorProfile");
    let (same, local) = match profile.type_.as_str() {
        "Unconfined" => (annotation == UNCONFINED, None),
        "RuntimeDefault" => (annotation == RUNTIME_DEFAULT, None),
        "Localhost" => (annotation.starts_with(LOCALHOST), annotation.strip_prefix(LOCALHOST)),
        _ => return,
    };
    if !same {
        problems.forbidden(at.field("type"), "apparmor type in annotation and field must match");
    } else if local.is_some() && local != profile.localhost_profile.as_deref() {
        problems.forbidden(at.field("localhostProfile"), "apparmor profile in annotation and field must match");
    }
}

#[cfg(test)]
mod tests;
