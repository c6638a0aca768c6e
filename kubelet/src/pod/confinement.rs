//! What a pod says of its confinement and this node does not serve: such a pod is refused, as who asks for it relies on it. Pure but for
//! one look at the kernel.

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, VolumeMount};

/// Upstream took profiles from annotations before there was a field.
const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What the node's kernel offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    pub apparmor: bool,
    /// Processes have labels.
    pub selinux: bool,
}

impl Kernel {
    /// As upstream's kubelet, and the runtime, look for it.
    pub fn look() -> Self {
        let apparmor = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        let selinux = std::path::Path::new("/sys/fs/selinux/enforce").exists();
        Self { apparmor: apparmor.is_ok_and(|enabled| enabled.starts_with('Y')), selinux }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("hostUsers: false asks for a user namespace, which this node cannot make")]
    UserNamespace,
    #[error("no runtime for {name:?} is configured: this node has no runtime handlers (runtimeClassName)")]
    RuntimeClass { name: String },
    #[error("Cannot enforce AppArmor: AppArmor is not enabled on the host")]
    NoAppArmor,
    #[error("Cannot enforce AppArmor: this node applies no profiles, and container {container} asks for {profile}")]
    AppArmor { container: String, profile: String },
    #[error("container {container} has seLinuxOptions, and this node labels no processes")]
    SeLinux { container: String },
    #[error("supplementalGroupsPolicy {given:?} is not known")]
    GroupsPolicy { given: String },
    #[error(
        "container {container} has procMount {given}, which is only for pods with a user namespace (hostUsers: false)"
    )]
    ProcMount { container: String, given: String },
    #[error("volume {volume:?} requested recursive read-only mode, but it is not supported by the runtime")]
    RecursiveReadOnly { volume: String },
    #[error("unknown recursive read-only mode {given:?}")]
    RecursiveReadOnlyKind { given: String },
    #[error("{field} is for nodes that run Windows")]
    Windows { field: &'static str },
    #[error("{field} is not supported by this node")]
    NotServed { field: &'static str },
}

/// The pod as a whole with its containers. One that is added for debugging is refused by itself when it is made: it must not
/// take a pod with it whose sandbox has to be made anew.
pub fn check(pod: &Pod, kernel: Kernel) -> Result<(), Refused> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    if spec.host_users == Some(false) {
        return Err(Refused::UserNamespace);
    }
    if let Some(name) = spec.runtime_class_name.as_ref().filter(|name| !name.is_empty()) {
        return Err(Refused::RuntimeClass { name: name.clone() });
    }
    if spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        return Err(Refused::NotServed { field: "resourceClaims" });
    }
    if let Some(context) = &spec.security_context {
        if context.windows_options.is_some() {
            return Err(Refused::Windows { field: "securityContext.windowsOptions" });
        }
        strict_groups(context)?;
    }
    let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.try_for_each(|c| check_container(pod, c, kernel))
}

/// One container of any kind, with what it takes over from its pod.
pub fn check_container(pod: &Pod, container: &Container, kernel: Kernel) -> Result<(), Refused> {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let own = container.security_context.as_ref();
    let name = || container.name.clone();
    if own.is_some_and(|c| c.windows_options.is_some()) {
        return Err(Refused::Windows { field: "securityContext.windowsOptions" });
    }
    if let Some(given) = own.and_then(|c| c.proc_mount.clone()).filter(|given| given != "Default") {
        return Err(Refused::ProcMount { container: name(), given });
    }
    let label = own.and_then(|c| c.se_linux_options.as_ref()).or(of_pod.and_then(|c| c.se_linux_options.as_ref()));
    // Where the kernel knows no labels they mean nothing, as with other runtimes: manifests of other clusters have them.
    if kernel.selinux && label.is_some_and(|label| *label != SELinuxOptions::default()) {
        return Err(Refused::SeLinux { container: name() });
    }
    let field = own.and_then(|c| c.app_armor_profile.as_ref()).or(of_pod.and_then(|c| c.app_armor_profile.as_ref()));
    if let Some(profile) = apparmor(pod, container, field) {
        return Err(match kernel.apparmor {
            true => Refused::AppArmor { container: name(), profile },
            false => Refused::NoAppArmor,
        });
    }
    if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
        return Err(Refused::NotServed { field: "volumeDevices" });
    }
    if container.resources.as_ref().and_then(|r| r.claims.as_ref()).is_some_and(|claims| !claims.is_empty()) {
        return Err(Refused::NotServed { field: "resources.claims" });
    }
    container.volume_mounts.iter().flatten().try_for_each(recursive_read_only)
}

/// `supplementalGroupsPolicy: Strict`: only the groups that the pod names, none of those that the image does.
pub fn strict_groups(context: &PodSecurityContext) -> Result<bool, Refused> {
    match context.supplemental_groups_policy.as_deref() {
        None | Some("Merge") => Ok(false),
        Some("Strict") => Ok(true),
        Some(other) => Err(Refused::GroupsPolicy { given: other.into() }),
    }
}

/// The profile that the container asks for, unless it is none.
fn apparmor(pod: &Pod, container: &Container, field: Option<&AppArmorProfile>) -> Option<String> {
    let annotation = || {
        let key = format!("{APPARMOR_ANNOTATION}{}", container.name);
        pod.metadata.annotations.as_ref()?.get(&key).cloned()
    };
    let asked = match field {
        None => annotation()?,
        Some(AppArmorProfile { localhost_profile: Some(name), .. }) => format!("localhost/{name}"),
        Some(profile) => profile.type_.clone(),
    };
    (!asked.is_empty() && !asked.eq_ignore_ascii_case("unconfined")).then_some(asked)
}

fn recursive_read_only(mount: &VolumeMount) -> Result<(), Refused> {
    match mount.recursive_read_only.as_deref() {
        // As upstream: where it is not possible the mount is read-only, and what is mounted in it is as it is.
        None | Some("Disabled" | "IfPossible") => Ok(()),
        Some("Enabled") => Err(Refused::RecursiveReadOnly { volume: mount.name.clone() }),
        Some(other) => Err(Refused::RecursiveReadOnlyKind { given: other.into() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(pod: Value) -> Option<String> {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        check(&pod, Kernel { apparmor: false, selinux: true }).err().map(|err| err.to_string())
    }

    /// A pod with something in its own securityContext or in that of a container of each kind.
    fn everywhere(context: &Value) -> Vec<Value> {
        let with = |own: Value| json!({"name": "c", "securityContext": own});
        vec![
            json!({"spec": {"securityContext": context, "containers": [{"name": "c"}]}}),
            json!({"spec": {"containers": [with(context.clone())]}}),
            json!({"spec": {"containers": [{"name": "d"}], "initContainers": [with(context.clone())]}}),
        ]
    }

    #[test]
    fn confinement_that_is_not_served_refuses_the_pod_wherever_it_stands() {
        let cases = [
            (json!({"appArmorProfile": {"type": "RuntimeDefault"}}), Some("AppArmor is not enabled on the host")),
            (
                json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}}),
                Some("AppArmor is not enabled"),
            ),
            (json!({"appArmorProfile": {"type": "Unconfined"}}), None),
            (json!({"seLinuxOptions": {"level": "s0:c1"}}), Some("seLinuxOptions")),
            (json!({"seLinuxOptions": {}}), None),
            (json!({"windowsOptions": {"runAsUserName": "u"}}), Some("Windows")),
            (json!({"runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}}), None),
        ];
        for (context, expected) in cases {
            for pod in everywhere(&context) {
                let got = refused(pod.clone());
                let as_expected = match expected {
                    Some(text) => got.as_ref().is_some_and(|got| got.contains(text)),
                    None => got.is_none(),
                };
                assert!(as_expected, "{pod}: {got:?}");
            }
        }
    }

    #[test]
    fn labels_mean_nothing_to_a_kernel_that_knows_none() {
        for pod in everywhere(&json!({"seLinuxOptions": {"level": "s0:c1"}})) {
            let pod: Pod = serde_json::from_value(pod).unwrap();
            assert_eq!(check(&pod, Kernel { apparmor: false, selinux: false }), Ok(()));
        }
    }

    #[test]
    fn a_container_for_debugging_is_refused_alone() {
        let debugger = json!({"name": "d", "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}});
        let pod = json!({"spec": {"containers": [{"name": "c"}], "ephemeralContainers": [debugger]}});
        assert_eq!(refused(pod.clone()), None);
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let own = super::super::container::find(&pod, "d").unwrap();
        assert_eq!(check_container(&pod, &own, Kernel::default()), Err(Refused::NoAppArmor));
    }

    #[test]
    fn fields_of_the_pod_and_of_containers() {
        let pod = |spec: Value| {
            let mut whole = json!({"spec": {"containers": [{"name": "c"}]}});
            whole["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            whole
        };
        let container = |more: Value| {
            let mut c = json!({"name": "c"});
            c.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"spec": {"containers": [c]}})
        };
        let mount = |mode: &str| {
            container(json!({"volumeMounts": [
            {"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": mode}]}))
        };
        let annotated = |value: &str| {
            let mut whole = pod(json!({}));
            whole["metadata"]["annotations"][format!("{APPARMOR_ANNOTATION}c")] = value.into();
            whole
        };
        let cases = [
            (pod(json!({"hostUsers": false})), Some("hostUsers: false")),
            (pod(json!({"hostUsers": true})), None),
            (pod(json!({"runtimeClassName": "gvisor"})), Some("no runtime for \"gvisor\" is configured")),
            (pod(json!({"runtimeClassName": ""})), None),
            (pod(json!({"resourceClaims": [{"name": "gpu"}]})), Some("resourceClaims")),
            (pod(json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}})), None),
            (pod(json!({"securityContext": {"supplementalGroupsPolicy": "Merge"}})), None),
            (pod(json!({"securityContext": {"supplementalGroupsPolicy": "Other"}})), Some("is not known")),
            (container(json!({"securityContext": {"procMount": "Unmasked"}})), Some("procMount Unmasked")),
            (container(json!({"securityContext": {"procMount": "Default"}})), None),
            (container(json!({"volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]})), Some("volumeDevices")),
            (container(json!({"resources": {"claims": [{"name": "gpu"}]}})), Some("resources.claims")),
            (mount("Enabled"), Some("volume \"v\" requested recursive read-only mode")),
            (mount("IfPossible"), None),
            (mount("Disabled"), None),
            (mount("Maybe"), Some("unknown recursive read-only mode")),
            (annotated("runtime/default"), Some("AppArmor")),
            (annotated("unconfined"), None),
            (
                json!({"spec": {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}, "containers": [
                {"name": "c", "securityContext": {"appArmorProfile": {"type": "Unconfined"}}}]}}),
                None,
            ),
        ];
        for (pod, expected) in cases {
            let got = refused(pod.clone());
            let as_expected = match expected {
                Some(text) => got.as_ref().is_some_and(|got| got.contains(text)),
                None => got.is_none(),
            };
            assert!(as_expected, "{pod}: {got:?}");
        }
    }
}
