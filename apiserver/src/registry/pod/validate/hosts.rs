//! What of its node a pod has: users, and a name.

use corten_api::Problems;
use k8s_openapi::api::core::v1::PodSpec;

use super::every;
use crate::registry::check;
use crate::registry::path::Path;

/// What the kernel takes for a host's name.
const HOSTNAME_BYTES_MAX: usize = 64;
const OWN_USERS: &str = "when `hostUsers` is false";

/// Users of a pod's own go with none of the node's other namespaces.
/// <https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/>
pub(super) fn users(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    if spec.host_users != Some(false) {
        return;
    }
    // As upstream spells them.
    for (field, is_shared) in
        [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)]
    {
        if is_shared == Some(true) {
            problems.forbidden(at.field(field), OWN_USERS);
        }
    }
}

/// Raw devices have no owners to be mapped.
pub(super) fn devices(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    if spec.host_users == Some(false) {
        for container in every::container(spec).filter(|c| c.has_devices) {
            container.at(at, |at| problems.forbidden(at.field("volumeDevices"), OWN_USERS));
        }
    }
}

/// A name instead of all that Kubernetes would make of the pod's.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-hostname/>
pub(super) fn name(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let Some(name) = &spec.hostname_override else { return };
    let name_at = at.field("hostnameOverride");
    if spec.set_hostname_as_fqdn == Some(true) {
        problems.forbidden(name_at, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.host_network == Some(true) {
        problems.forbidden(name_at, "may not be specified when hostNetwork is true");
    }
    if name.len() > HOSTNAME_BYTES_MAX {
        problems.too_long(name_at, HOSTNAME_BYTES_MAX);
    }
    check::dns_subdomain(problems, &name_at, name);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{check, found_later, pod};

    #[test]
    fn users_of_its_own_go_with_no_namespace_of_the_node() {
        let own = |field: &str| pod(json!({"hostUsers": false, field: true}));
        let device = json!({"hostUsers": false, "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
            "containers": [{"name": "a", "image": "x", "volumeDevices": [{"name": "v", "devicePath": "/d"}]}]});
        check(vec![
            (own("setHostnameAsFQDN"), ""),
            (pod(json!({"hostUsers": true, "hostNetwork": true})), ""),
            (own("hostNetwork"), "spec.hostNetwork: Forbidden: when `hostUsers` is false"),
            (own("hostPID"), "spec.HostPID: Forbidden: when `hostUsers` is false"),
            (own("hostIPC"), "spec.HostIPC: Forbidden: when `hostUsers` is false"),
            (device.clone(), "spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false"),
        ]);
        assert_eq!(found_later(device), Vec::<String>::new(), "stored under older rules");
    }

    #[test]
    fn a_name_instead_of_all_others() {
        let named = |name: &str| pod(json!({ "hostnameOverride": name }));
        check(vec![
            (named("db.example"), ""),
            (named(&"a".repeat(64)), ""),
            (named(&"a".repeat(65)), "spec.hostnameOverride: Too long: may not be more than 64 bytes"),
            (
                pod(json!({"hostnameOverride": "a", "hostNetwork": true})),
                "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true",
            ),
            (
                pod(json!({"hostnameOverride": "a", "setHostnameAsFQDN": true})),
                "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
            ),
            (pod(json!({"schedulerName": "my_Scheduler"})), ""),
        ]);
        let bad = super::super::tests::found(named("A_b"));
        assert!(bad.len() == 1 && bad[0].starts_with("spec.hostnameOverride: Invalid value: \"A_b\""), "{bad:?}");
    }
}
