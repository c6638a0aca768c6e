//! The volume by which a pod's programs reach the API: a token, the root CA and the namespace, where all clients look for
//! them. Pure.

use corten_api::names;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector,
    PodSpec, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};

use crate::authn::tokens::POD_TOKEN_SECS;
use crate::registry::pod::defaults::FILE_MODE;

const NAME_PREFIX: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ROOT_CA: &str = "kube-root-ca.crt";
const CA_FILE: &str = "ca.crt";

/// The pod's wish goes before its account's.
pub(super) fn is_wanted(spec: &PodSpec, accounts: Option<bool>) -> bool {
    spec.automount_service_account_token.or(accounts).unwrap_or(true)
}

/// Mounts it in every container that has nothing else there. Doing so twice changes nothing.
pub(super) fn add(spec: &mut PodSpec) {
    let is_there = |volume: &&Volume| volume.name.starts_with(NAME_PREFIX);
    let there = spec.volumes.iter().flatten().find(is_there).map(|volume| volume.name.clone());
    let name = there.clone().unwrap_or_else(|| names::generate(NAME_PREFIX));
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    let mounted = containers.map(|container| mount(container, &name)).fold(false, |any, is_new| any | is_new);
    if mounted && there.is_none() {
        let projected = Some(source());
        spec.volumes.get_or_insert_default().push(Volume { name, projected, ..Volume::default() });
    }
}

fn mount(container: &mut Container, volume: &str) -> bool {
    let mounts = container.volume_mounts.get_or_insert_default();
    if mounts.iter().any(|mount| mount.mount_path == MOUNT_PATH) {
        return false;
    }
    mounts.push(VolumeMount {
        name: volume.to_owned(),
        mount_path: MOUNT_PATH.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    true
}

fn source() -> ProjectedVolumeSource {
    let token = ServiceAccountTokenProjection {
        path: "token".into(),
        expiration_seconds: Some(POD_TOKEN_SECS),
        ..ServiceAccountTokenProjection::default()
    };
    let ca = ConfigMapProjection {
        name: ROOT_CA.into(),
        items: Some(vec![KeyToPath { key: CA_FILE.into(), path: CA_FILE.into(), ..KeyToPath::default() }]),
        ..ConfigMapProjection::default()
    };
    let field = ObjectFieldSelector { api_version: Some("v1".into()), field_path: "metadata.namespace".into() };
    let namespace =
        DownwardAPIVolumeFile { path: "namespace".into(), field_ref: Some(field), ..DownwardAPIVolumeFile::default() };
    let parts = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(ca), ..VolumeProjection::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
            ..VolumeProjection::default()
        },
    ];
    ProjectedVolumeSource { default_mode: Some(FILE_MODE), sources: Some(parts), ..ProjectedVolumeSource::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(json: Value) -> PodSpec {
        serde_json::from_value(json).unwrap()
    }
    fn added(json: Value) -> Value {
        let mut spec = spec(json);
        add(&mut spec);
        let once = spec.clone();
        add(&mut spec);
        assert_eq!(spec, once, "twice is as once");
        serde_json::to_value(spec).unwrap()
    }

    #[test]
    fn every_container_without_its_own_has_it_mounted() {
        let own = json!([{"name": "mine", "mountPath": MOUNT_PATH}]);
        let spec = added(json!({
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, {"name": "b", "volumeMounts": own}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }));
        let name = spec["volumes"][1]["name"].as_str().unwrap();
        assert!(name.starts_with(NAME_PREFIX) && name.len() > NAME_PREFIX.len(), "{name}");
        let mount = json!({"name": name, "mountPath": MOUNT_PATH, "readOnly": true});
        assert_eq!(spec["initContainers"][0]["volumeMounts"], json!([mount]));
        assert_eq!(spec["containers"][0]["volumeMounts"][1], mount);
        assert_eq!(spec["containers"][1]["volumeMounts"], own);
        let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}});
        assert_eq!(spec["volumes"][1], volume);
    }

    #[test]
    fn who_has_one_keeps_it_and_who_needs_none_gets_none() {
        let theirs =
            json!({"containers": [{"name": "a"}], "volumes": [{"name": "kube-api-access-mine", "emptyDir": {}}]});
        let spec = added(theirs);
        assert_eq!(spec["volumes"].as_array().unwrap().len(), 1);
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-mine");
        let own = json!({"containers": [{"name": "a", "volumeMounts": [{"name": "mine", "mountPath": MOUNT_PATH}]}]});
        assert_eq!(added(own)["volumes"], Value::Null);
    }

    #[test]
    fn whose_wish_counts() {
        let pod = |wish| PodSpec { automount_service_account_token: wish, ..PodSpec::default() };
        for (of_pod, of_account, expected) in [
            (None, None, true),
            (None, Some(false), false),
            (None, Some(true), true),
            (Some(true), Some(false), true),
            (Some(false), Some(true), false),
        ] {
            assert_eq!(is_wanted(&pod(of_pod), of_account), expected, "{of_pod:?} {of_account:?}");
        }
    }
}
