//! As whom and with which rights containers run.

mod app_armor;
pub(super) mod windows;

use std::borrow::Cow;
use std::collections::HashSet;

pub use app_armor::profile as app_armor_profile;
use corten_api::Problems;
use k8s_openapi::api::core::v1::{PodSpec, SeccompProfile, SecurityContext, Sysctl};

use super::Around;
use crate::registry::check;
use crate::registry::path::Path;

const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";
const SYSCTL_NAME_BYTES_MAX: usize = 253;
const SYSCTL_NAME_WHY: &str = r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn id(value: Option<i64>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(value) = value.filter(|v| !(0..=i64::from(i32::MAX)).contains(v)) {
        problems.invalid(at, value, ID_RANGE);
    }
}

pub(super) fn pod(spec: &PodSpec, spec_at: &Path<'_>, problems: &mut Problems) {
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        problems.invalid(spec_at.field("shareProcessNamespace"), true, why);
    }
    let Some(context) = &spec.security_context else { return };
    let at = spec_at.field("securityContext");
    id(context.fs_group, &at.field("fsGroup"), problems);
    id(context.run_as_user, &at.field("runAsUser"), problems);
    id(context.run_as_group, &at.field("runAsGroup"), problems);
    for (i, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(Some(*group), &at.field("supplementalGroups").index(i), problems);
    }
    let policy = context.fs_group_change_policy.as_ref();
    check::optional_word(problems, &at.field("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    seccomp(context.seccomp_profile.as_ref(), &at.field("seccompProfile"), problems);
    windows::options(context.windows_options.as_ref(), &at.field("windowsOptions"), problems);
    app_armor_profile(context.app_armor_profile.as_ref(), &at.field("appArmorProfile"), problems);
    let policy = context.supplemental_groups_policy.as_ref();
    check::optional_word(problems, &at.field("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    let policy = context.se_linux_change_policy.as_ref();
    check::optional_word(problems, &at.field("seLinuxChangePolicy"), policy, &["MountOption", "Recursive"]);
    sysctls(spec, context.sysctls.as_deref().unwrap_or_default(), &at.field("sysctls"), problems);
}

fn sysctls(spec: &PodSpec, sysctls: &[Sysctl], list: &Path<'_>, problems: &mut Problems) {
    let mut seen = HashSet::new();
    for (i, sysctl) in sysctls.iter().enumerate() {
        let at = list.index(i);
        let (at, name) = (at.field("name"), sysctl.name.as_str());
        match name {
            "" => problems.required(at, ""),
            name if !is_sysctl_name(name) => problems.invalid(at, name, SYSCTL_NAME_WHY),
            name if !seen.insert(name) => problems.duplicate(at, name),
            _ => {}
        }
        let dotted = dotted(name);
        let is_of = |prefixes: &[&str]| prefixes.iter().any(|prefix| dotted.starts_with(prefix));
        if spec.host_network == Some(true) && is_of(&["net."]) {
            problems.invalid(at, name, "may not be specified when 'hostNetwork' is true");
        } else if spec.host_ipc == Some(true) && is_of(&["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."]) {
            problems.invalid(at, name, "may not be specified when 'hostIPC' is true");
        }
    }
}

/// Segments as labels have them, with `_` too, between dots or slashes.
fn is_sysctl_name(name: &str) -> bool {
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inside = |c: &u8| edge(Some(c)) || matches!(c, b'-' | b'_');
    let good = |segment: &[u8]| edge(segment.first()) && edge(segment.last()) && segment.iter().all(inside);
    name.len() <= SYSCTL_NAME_BYTES_MAX && name.as_bytes().split(|c| matches!(c, b'.' | b'/')).all(good)
}

/// sysctl(8): the first separator tells which of the two a name is written with.
fn dotted(name: &str) -> Cow<'_, str> {
    if name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/') {
        name.chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect::<String>()
            .into()
    } else {
        name.into()
    }
}

pub(super) fn container(context: &SecurityContext, around: &Around<'_>, at: &Path<'_>, problems: &mut Problems) {
    id(context.run_as_user, &at.field("runAsUser"), problems);
    id(context.run_as_group, &at.field("runAsGroup"), problems);
    let mounts = context.proc_mount.as_ref();
    check::optional_word(problems, &at.field("procMount"), mounts, &["Default", "Unmasked"]);
    // What is not masked there is the node's, unless root in the pod is nobody on the node.
    if around.host_users && mounts.is_some_and(|mounts| mounts == "Unmasked") {
        problems.invalid(at.field("procMount"), mounts, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(context.seccomp_profile.as_ref(), &at.field("seccompProfile"), problems);
    windows::options(context.windows_options.as_ref(), &at.field("windowsOptions"), problems);
    app_armor_profile(context.app_armor_profile.as_ref(), &at.field("appArmorProfile"), problems);
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    if context.privileged == Some(true) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        problems.invalid(at, context, why);
    }
    // Manifests name it as runtimes do, without the prefix, and are taken so. What is stored with it stays changeable.
    let mut added = context.capabilities.iter().filter_map(|c| c.add.as_ref()).flatten();
    if around.of.is_new() && added.any(|c| c == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        problems.invalid(at, context, why);
    }
}

fn seccomp(profile: Option<&SeccompProfile>, at: &Path<'_>, problems: &mut Problems) {
    let Some(profile) = profile else { return };
    check::word(problems, &at.field("type"), Some(&profile.type_), PROFILE_TYPES);
    match (profile.type_.as_str(), check::text(profile.localhost_profile.as_ref())) {
        ("Localhost", "") => {
            problems.required(at.field("localhostProfile"), "must be set when seccomp type is Localhost")
        }
        ("Localhost", path) => super::volumes::descending(path, &at.field("localhostProfile"), problems),
        (_, path) if !path.is_empty() => {
            let why = "can only be set when seccomp type is Localhost";
            problems.invalid(at.field("localhostProfile"), path, why);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
