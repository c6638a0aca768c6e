//! What of others' a pod refers to by name in its namespace: Secrets, ConfigMaps, its account, claims of volumes and devices.

use corten_api::pod::ephemeral_claim_name;
use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, LocalObjectReference, PodSpec, PodStatus, Volume, VolumeProjection,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    ConfigMap,
    Secret,
    ServiceAccount,
    PersistentVolumeClaim,
    ResourceClaim,
}

/// Every reference of a spec: its containers' environment, its volumes, its image pulls, its account. An empty name is none.
/// `pod`: its own name, after which the claims of its ephemeral volumes are called. Claims of devices: [`each_claim`].
pub fn each(pod: &str, spec: &PodSpec, mut found: impl FnMut(Source, &str)) {
    let mut tell = |source, name: &str| {
        if !name.is_empty() {
            found(source, name);
        }
    };
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        of_environment(container.env.as_deref(), container.env_from.as_deref(), &mut tell);
    }
    // These come while the pod runs.
    for container in spec.ephemeral_containers.iter().flatten() {
        of_environment(container.env.as_deref(), container.env_from.as_deref(), &mut tell);
    }
    for volume in spec.volumes.iter().flatten() {
        of_volume(pod, volume, &mut tell);
    }
    for secret in spec.image_pull_secrets.iter().flatten() {
        tell(Source::Secret, &secret.name);
    }
    tell(Source::ServiceAccount, spec.service_account_name.as_deref().unwrap_or_default());
}

/// The ResourceClaims of a pod by their names: those that its spec names, and those that were made for it, which its status
/// tells.
pub fn each_claim<'a>(spec: &'a PodSpec, status: Option<&'a PodStatus>, mut found: impl FnMut(&'a str)) {
    let made = status.and_then(|status| status.resource_claim_statuses.as_deref()).unwrap_or_default();
    for claim in spec.resource_claims.iter().flatten() {
        let made = || made.iter().find(|made| made.name == claim.name)?.resource_claim_name.as_deref();
        let named = claim.resource_claim_name.as_deref().or_else(made);
        named.filter(|name| !name.is_empty()).into_iter().for_each(&mut found);
    }
    let extended = status.and_then(|status| status.extended_resource_claim_status.as_ref());
    let extended = extended.map(|status| status.resource_claim_name.as_str()).filter(|name| !name.is_empty());
    extended.into_iter().for_each(found);
}

/// What of the API a pod needs, in upstream's words; `None`: nothing, as must be of a static pod.
pub fn api_object(spec: &PodSpec) -> Option<&'static str> {
    let mut kinds = Vec::new();
    // The name of the pod has no meaning: claims of ephemeral volumes are told of below.
    each("", spec, |source, _| kinds.push(source));
    let of_spec =
        [(Source::ServiceAccount, "serviceaccounts"), (Source::Secret, "secrets"), (Source::ConfigMap, "configmaps")];
    let named = of_spec.into_iter().find(|(source, _)| kinds.contains(source)).map(|(_, what)| what);
    let devices = spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty());
    let of_devices = || devices.then_some("resourceclaims");
    named.or_else(of_devices).or_else(|| spec.volumes.iter().flatten().find_map(api_object_of_volume))
}

fn api_object_of_volume(volume: &Volume) -> Option<&'static str> {
    let whole = [
        (volume.config_map.is_some(), "configmaps (via configmap volumes)"),
        (volume.secret.is_some(), "secrets (via secret volumes)"),
        (volume.csi.is_some(), "csidrivers (via CSI volumes)"),
        (volume.glusterfs.is_some(), "endpoints (via glusterFS volumes)"),
        (volume.persistent_volume_claim.is_some(), "persistentvolumeclaims"),
        (volume.ephemeral.is_some(), "persistentvolumeclaims (via ephemeral volumes)"),
        (volume.azure_file.is_some(), "secrets (via azureFile volumes)"),
    ];
    let of_part = |part: &VolumeProjection| {
        let all = [
            (part.config_map.is_some(), "configmaps (via projected volumes)"),
            (part.secret.is_some(), "secrets (via projected volumes)"),
            (part.service_account_token.is_some(), "serviceaccounts (via projected volumes)"),
            (part.cluster_trust_bundle.is_some(), "clustertrustbundles"),
            (part.pod_certificate.is_some(), "podcertificates"),
        ];
        all.into_iter().find(|(is, _)| *is).map(|(_, what)| what)
    };
    let mut parts = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    whole.into_iter().find(|(is, _)| *is).map(|(_, what)| what).or_else(|| parts.find_map(of_part))
}

fn of_environment(env: Option<&[EnvVar]>, from: Option<&[EnvFromSource]>, found: &mut impl FnMut(Source, &str)) {
    for from in from.unwrap_or_default() {
        from.config_map_ref.iter().for_each(|r| found(Source::ConfigMap, &r.name));
        from.secret_ref.iter().for_each(|r| found(Source::Secret, &r.name));
    }
    for from in env.unwrap_or_default().iter().filter_map(|v| v.value_from.as_ref()) {
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
            "ephemeralContainers":[{"name":"d","envFrom":[{"secretRef":{"name":"s-debug"}}],
                "env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"c-debug","key":"k"}}}]}],
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
        assert_eq!(names(Source::ConfigMap), ["c-all", "c-debug", "c-key", "c-part", "c-vol"]);
        assert_eq!(
            names(Source::Secret),
            ["s-all", "s-azure", "s-csi", "s-debug", "s-io", "s-key", "s-part", "s-pull", "s-rbd", "s-vol"]
        );
        assert_eq!(names(Source::ServiceAccount), ["a-account"]);
        assert_eq!(names(Source::PersistentVolumeClaim), ["p-g", "v-claim"]);
    }

    #[test]
    fn claims_of_devices_are_named_or_were_made() {
        let spec = r#"{"containers":[],"resourceClaims":[{"name":"a","resourceClaimName":"own"},
            {"name":"b","resourceClaimTemplateName":"t"},{"name":"c","resourceClaimTemplateName":"t"},
            {"name":"d","resourceClaimTemplateName":"t"}]}"#;
        let status = r#"{"resourceClaimStatuses":[{"name":"b","resourceClaimName":"made"},{"name":"c"},
            {"name":"z","resourceClaimName":"others"}],
            "extendedResourceClaimStatus":{"resourceClaimName":"extended","requestMappings":[]}}"#;
        let (spec, status) = (serde_json::from_str(spec).unwrap(), serde_json::from_str(status).unwrap());
        let found = |status| {
            let mut found = Vec::new();
            each_claim(&spec, status, |name| found.push(name));
            found
        };
        assert_eq!((found(Some(&status)), found(None)), (vec!["own", "made", "extended"], vec!["own"]));
    }

    #[test]
    fn what_a_static_pod_may_not_need() {
        let projected = |source: &str| format!(r#""volumes":[{{"name":"v","projected":{{"sources":[{source}]}}}}]"#);
        for (fields, expected) in [
            (r#""volumes":[{"name":"v","emptyDir":{}},{"name":"w","hostPath":{"path":"/x"}}]"#.into(), None),
            (projected(r#"{"downwardAPI":{}}"#), None),
            (
                r#""serviceAccountName":"a","volumes":[{"name":"v","secret":{"secretName":"s"}}]"#.into(),
                Some("serviceaccounts"),
            ),
            (r#""imagePullSecrets":[{"name":"s"}]"#.into(), Some("secrets")),
            (r#""volumes":[{"name":"v","configMap":{"name":"c"}}]"#.into(), Some("configmaps")),
            (
                r#""resourceClaims":[{"name":"a"}],"volumes":[{"name":"v","csi":{"driver":"d"}}]"#.into(),
                Some("resourceclaims"),
            ),
            (r#""volumes":[{"name":"v","csi":{"driver":"d"}}]"#.into(), Some("csidrivers (via CSI volumes)")),
            (r#""volumes":[{"name":"v","secret":{}}]"#.into(), Some("secrets (via secret volumes)")),
            (
                r#""volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]"#.into(),
                Some("persistentvolumeclaims"),
            ),
            (
                r#""volumes":[{"name":"v","ephemeral":{}}]"#.into(),
                Some("persistentvolumeclaims (via ephemeral volumes)"),
            ),
            (
                projected(r#"{"downwardAPI":{}},{"serviceAccountToken":{"path":"t"}}"#),
                Some("serviceaccounts (via projected volumes)"),
            ),
            (projected(r#"{"clusterTrustBundle":{"path":"t"}}"#), Some("clustertrustbundles")),
            (projected(r#"{"podCertificate":{"keyType":"ED25519","signerName":"s/n"}}"#), Some("podcertificates")),
        ] {
            let spec: PodSpec = serde_json::from_str(&format!(r#"{{"containers":[],{fields}}}"#)).unwrap();
            assert_eq!(api_object(&spec), expected, "{fields}");
        }
    }
}
