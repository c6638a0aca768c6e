//! What of others' a pod refers to by name in its namespace: Secrets, ConfigMaps, its account, claims of volumes.

use corten_api::pod::ephemeral::as_container;
use corten_api::pod::ephemeral_claim_name;
use k8s_openapi::api::core::v1::{Container, LocalObjectReference, PodSpec, Volume};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    ConfigMap,
    Secret,
    ServiceAccount,
    PersistentVolumeClaim,
}

/// Every reference: its containers' environment, its volumes, its image pulls, its account. An empty name is none. `pod`:
/// its own name, after which the claims of its ephemeral volumes are called.
pub fn each(pod: &str, spec: &PodSpec, mut found: impl FnMut(Source, &str)) {
    let mut tell = |source, name: &str| {
        if !name.is_empty() {
            found(source, name);
        }
    };
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        of_container(container, &mut tell);
    }
    for debugger in spec.ephemeral_containers.iter().flatten() {
        of_container(&as_container(debugger), &mut tell);
    }
    for volume in spec.volumes.iter().flatten() {
        of_volume(pod, volume, &mut tell);
    }
    for secret in spec.image_pull_secrets.iter().flatten() {
        tell(Source::Secret, &secret.name);
    }
    tell(Source::ServiceAccount, spec.service_account_name.as_deref().unwrap_or_default());
}

fn of_container(container: &Container, found: &mut impl FnMut(Source, &str)) {
    for from in container.env_from.iter().flatten() {
        from.config_map_ref.iter().for_each(|r| found(Source::ConfigMap, &r.name));
        from.secret_ref.iter().for_each(|r| found(Source::Secret, &r.name));
    }
    for from in container.env.iter().flatten().filter_map(|v| v.value_from.as_ref()) {
        from.config_map_key_ref.iter().for_each(|r| found(Source::ConfigMap, &r.name));
        from.secret_key_ref.iter().for_each(|r| found(Source::Secret, &r.name));
    }
}

fn of_volume(pod: &str, volume: &Volume, found: &mut impl FnMut(Source, &str)) {
    volume.config_map.iter().for_each(|v| found(Source::ConfigMap, &v.name));
    let secret = volume.secret.iter().filter_map(|v| v.secret_name.as_ref());
    secret.for_each(|name| found(Source::Secret, name));
    volume.persistent_volume_claim.iter().for_each(|v| found(Source::PersistentVolumeClaim, &v.claim_name));
    for part in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        part.config_map.iter().for_each(|v| found(Source::ConfigMap, &v.name));
        part.secret.iter().for_each(|v| found(Source::Secret, &v.name));
    }
    if volume.ephemeral.is_some() {
        found(Source::PersistentVolumeClaim, &ephemeral_claim_name(pod, &volume.name));
    }
    volume.azure_file.iter().for_each(|v| found(Source::Secret, &v.secret_name));
    volume.scale_io.iter().for_each(|v| found(Source::Secret, &v.secret_ref.name));
    for secret in drivers_secrets(volume).into_iter().flatten() {
        found(Source::Secret, &secret.name);
    }
}

/// What the kubelet hands to whoever mounts the volume.
fn drivers_secrets(volume: &Volume) -> [Option<&LocalObjectReference>; 7] {
    [
        volume.cephfs.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.cinder.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.csi.as_ref().and_then(|v| v.node_publish_secret_ref.as_ref()),
        volume.flex_volume.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.iscsi.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.rbd.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.storageos.as_ref().and_then(|v| v.secret_ref.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_places_where_a_name_can_stand() {
        let spec = r#"{"imagePullSecrets":[{"name":"s-pull"}],
            "initContainers":[{"name":"i","envFrom":[{"secretRef":{"name":"s-all"}},{"configMapRef":{"name":"c-all"}}]}],
            "containers":[{"name":"c","env":[
                {"name":"A","valueFrom":{"secretKeyRef":{"name":"s-key","key":"k"}}},
                {"name":"B","valueFrom":{"configMapKeyRef":{"name":"c-key","key":"k"}}},
                {"name":"C","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]}],
            "ephemeralContainers":[{"name":"d","envFrom":[{"secretRef":{"name":"s-debug"}}]}],
            "volumes":[{"name":"a","secret":{"secretName":"s-vol"}},{"name":"b","configMap":{"name":"c-vol"}},
                {"name":"d","projected":{"sources":[{"secret":{"name":"s-part"}},{"configMap":{"name":"c-part"}}]}},
                {"name":"e","configMap":{}},{"name":"f","persistentVolumeClaim":{"claimName":"v-claim"}},
                {"name":"g","ephemeral":{}},{"name":"h","csi":{"driver":"d","nodePublishSecretRef":{"name":"s-csi"}}},
                {"name":"i","azureFile":{"secretName":"s-azure","shareName":"s"}},
                {"name":"j","scaleIO":{"gateway":"g","system":"s","secretRef":{"name":"s-io"}}},
                {"name":"k","rbd":{"monitors":[],"image":"i","secretRef":{"name":"s-rbd"}}}],
            "serviceAccountName":"a-account"}"#;
        let spec: PodSpec = serde_json::from_str(spec).unwrap();
        let mut found = Vec::new();
        each("p", &spec, |source, name| found.push((source, name.to_owned())));
        found.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
        let names = |kind| found.iter().filter(|(s, _)| *s == kind).map(|(_, n)| n.as_str()).collect::<Vec<_>>();
        assert_eq!(names(Source::ConfigMap), ["c-all", "c-key", "c-part", "c-vol"]);
        assert_eq!(
            names(Source::Secret),
            ["s-all", "s-azure", "s-csi", "s-debug", "s-io", "s-key", "s-part", "s-pull", "s-rbd", "s-vol"]
        );
        assert_eq!(names(Source::ServiceAccount), ["a-account"]);
        assert_eq!(names(Source::PersistentVolumeClaim), ["p-g", "v-claim"]);
    }
}
