//! What a pod says of the system it is for, and fields that the other system does not have.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/#pod-os>

use corten_api::Problems;
use k8s_openapi::api::core::v1::PodSpec;

use super::every;
use crate::registry::path::Path;

pub(super) const LINUX: &str = "linux";
pub(super) const WINDOWS: &str = "windows";
const NOT_OF_LINUX: &str = "windows options cannot be set for a linux pod";
const NOT_OF_WINDOWS: &str = "cannot be set for a windows pod";

pub(super) fn validate(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let Some(os) = &spec.os else { return };
    let os_at = at.field("os");
    match os.name.as_str() {
        LINUX => of_linux(spec, at, problems),
        WINDOWS => of_windows(spec, at, problems),
        "" => problems.required(os_at.field("name"), ""),
        other => problems.unsupported(os_at, other, &[LINUX, WINDOWS]),
    }
}

fn of_linux(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    if spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
        problems.forbidden(at.field("securityContext.windowsOptions"), NOT_OF_LINUX);
    }
    let with_options = |c: &every::Seen<'_>| c.context.is_some_and(|context| context.windows_options.is_some());
    for container in every::container(spec).filter(with_options) {
        container.at(at, |at| problems.forbidden(at.field("securityContext.windowsOptions"), NOT_OF_LINUX));
    }
}

fn of_windows(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let none = Default::default();
    let context = spec.security_context.as_ref().unwrap_or(&none);
    for (field, is_set) in [
        ("securityContext.appArmorProfile", context.app_armor_profile.is_some()),
        ("securityContext.seLinuxOptions", context.se_linux_options.is_some()),
        ("hostUsers", spec.host_users.is_some()),
        ("hostPID", spec.host_pid == Some(true)),
        ("hostIPC", spec.host_ipc == Some(true)),
        ("securityContext.seccompProfile", context.seccomp_profile.is_some()),
        ("securityContext.fsGroup", context.fs_group.is_some()),
        ("securityContext.fsGroupChangePolicy", context.fs_group_change_policy.is_some()),
        ("securityContext.sysctls", context.sysctls.as_ref().is_some_and(|sysctls| !sysctls.is_empty())),
        ("shareProcessNamespace", spec.share_process_namespace.is_some()),
        ("securityContext.runAsUser", context.run_as_user.is_some()),
        ("securityContext.runAsGroup", context.run_as_group.is_some()),
        ("securityContext.supplementalGroups", context.supplemental_groups.is_some()),
        ("securityContext.supplementalGroupsPolicy", context.supplemental_groups_policy.is_some()),
        ("securityContext.seLinuxChangePolicy", context.se_linux_change_policy.is_some()),
    ] {
        if is_set {
            problems.forbidden(at.field(field), NOT_OF_WINDOWS);
        }
    }
    for container in every::container(spec) {
        let Some(context) = container.context else { continue };
        for (field, is_set) in [
            ("appArmorProfile", context.app_armor_profile.is_some()),
            ("seLinuxOptions", context.se_linux_options.is_some()),
            ("seccompProfile", context.seccomp_profile.is_some()),
            ("capabilities", context.capabilities.is_some()),
            ("readOnlyRootFilesystem", context.read_only_root_filesystem.is_some()),
            ("privileged", context.privileged.is_some()),
            ("allowPrivilegeEscalation", context.allow_privilege_escalation.is_some()),
            ("procMount", context.proc_mount.is_some()),
            ("runAsUser", context.run_as_user.is_some()),
            ("runAsGroup", context.run_as_group.is_some()),
        ] {
            if is_set {
                container.at(at, |at| problems.forbidden(at.field("securityContext").field(field), NOT_OF_WINDOWS));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{check, container, found, pod};

    #[test]
    fn a_pod_says_nothing_that_its_system_does_not_have() {
        let of = |os: &str, mut spec: Value| {
            spec["os"] = json!({ "name": os });
            spec
        };
        let context = |more: Value| container(json!({ "securityContext": more }));
        let options = json!({"windowsOptions": {"runAsUserName": "me"}});
        check(vec![
            (of("windows", context(options.clone())), ""),
            (of("linux", context(json!({"privileged": true, "appArmorProfile": {"type": "Unconfined"}}))), ""),
            (of("", pod(json!({}))), "spec.os.name: Required value"),
            (
                of("plan9", pod(json!({}))),
                r#"spec.os: Unsupported value: "plan9": supported values: "linux", "windows""#,
            ),
            (
                of("linux", context(options.clone())),
                "spec.containers[0].securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
            ),
            (
                of("linux", pod(json!({ "securityContext": options }))),
                "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
            ),
            (of("windows", pod(json!({"hostPID": true}))), "spec.hostPID: Forbidden: cannot be set for a windows pod"),
            (
                of("windows", pod(json!({"resources": {"limits": {"cpu": "1"}}}))),
                "spec.resources: Forbidden: may not be set for a windows pod",
            ),
        ]);
        let all = json!({"appArmorProfile": {"type": "Unconfined"}, "seLinuxOptions": {}, "runAsUser": 1, "runAsGroup": 1,
            "seccompProfile": {"type": "Unconfined"}});
        let mut of_pod = all.clone();
        of_pod.as_object_mut().unwrap().extend(
            json!({"fsGroup": 1, "fsGroupChangePolicy": "Always", "sysctls": [{"name": "a", "value": "1"}],
                "supplementalGroups": [1], "supplementalGroupsPolicy": "Merge", "seLinuxChangePolicy": "Recursive"})
            .as_object()
            .unwrap()
            .clone(),
        );
        let shared = json!({"securityContext": of_pod, "shareProcessNamespace": false, "hostUsers": true});
        let refused = found(of("windows", pod(shared)));
        assert_eq!(refused.len(), 13, "{refused:?}");
        let mut of_container = all;
        of_container.as_object_mut().unwrap().extend(
            json!({"capabilities": {}, "readOnlyRootFilesystem": false, "privileged": false,
                "allowPrivilegeEscalation": true, "procMount": "Default"})
            .as_object()
            .unwrap()
            .clone(),
        );
        let refused = found(of("windows", context(of_container)));
        assert_eq!(refused.len(), 10, "{refused:?}");
        assert!(refused.iter().all(|text| text.ends_with("cannot be set for a windows pod")), "{refused:?}");
    }

    #[test]
    fn stop_signals_are_those_of_the_pods_system() {
        let stop = |os: Value, signal: &str| {
            let mut spec = container(json!({"lifecycle": {"stopSignal": signal}}));
            spec["os"] = os;
            spec
        };
        let (linux, windows) = (json!({"name": "linux"}), json!({"name": "windows"}));
        check(vec![
            (stop(linux.clone(), "SIGUSR1"), ""),
            (stop(linux.clone(), "SIGRTMIN+15"), ""),
            (stop(windows.clone(), "SIGTERM"), ""),
            (
                stop(windows, "SIGUSR1"),
                r#"spec.containers[0].lifecycle.stopSignal: Unsupported value: "SIGUSR1": supported values: "SIGKILL", "SIGTERM""#,
            ),
            (
                stop(Value::Null, "SIGTERM"),
                "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
            ),
        ]);
        let refused = found(stop(linux, "TERM"));
        assert!(refused.len() == 1 && refused[0].contains(r#"Unsupported value: "TERM""#), "{refused:?}");
    }
}
