//! As whom and with which rights containers run.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{PodSpec, SeccompProfile, SecurityContext};

use crate::registry::check;
use crate::registry::path::Path;

const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";
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
    let list = at.field("sysctls");
    for (i, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let at = list.index(i);
        if sysctl.name.is_empty() {
            problems.required(at.field("name"), "");
        } else if spec.host_network == Some(true) && sysctl.name.starts_with("net.") {
            problems.invalid(at.field("name"), &sysctl.name, "may not be specified when 'hostNetwork' is true");
        }
    }
}

pub(super) fn container(context: &SecurityContext, at: &Path<'_>, problems: &mut Problems) {
    id(context.run_as_user, &at.field("runAsUser"), problems);
    id(context.run_as_group, &at.field("runAsGroup"), problems);
    let mounts = context.proc_mount.as_ref();
    check::optional_word(problems, &at.field("procMount"), mounts, &["Default", "Unmasked"]);
    seccomp(context.seccomp_profile.as_ref(), &at.field("seccompProfile"), problems);
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    if context.privileged == Some(true) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        problems.invalid(at, context, why);
    }
    let added = context.capabilities.iter().filter_map(|c| c.add.as_ref()).flatten();
    if added.into_iter().any(|c| c == "SYS_ADMIN" || c == "CAP_SYS_ADMIN") {
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
