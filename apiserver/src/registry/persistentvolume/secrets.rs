//! The Secrets that a kubelet needs to mount a volume.

use k8s_openapi::api::core::v1::{PersistentVolumeSpec, SecretReference};

/// Their namespaces and names. Some kinds of volumes may leave the namespace to their claim.
pub fn each<'a>(spec: &'a PersistentVolumeSpec, mut found: impl FnMut(&'a str, &'a str)) {
    let of_claim = spec.claim_ref.as_ref().and_then(|claim| claim.namespace.as_deref());
    let mut tell = |namespace: Option<&'a str>, name: Option<&'a str>| {
        let is_given = |text: &&str| !text.is_empty();
        if let (Some(namespace), Some(name)) = (namespace.filter(is_given), name.filter(is_given)) {
            found(namespace, name);
        }
    };
    let of = |secret: &'a SecretReference| (secret.namespace.as_deref(), secret.name.as_deref());
    let azure = spec.azure_file.as_ref().map(|v| (v.secret_namespace.as_deref(), Some(v.secret_name.as_str())));
    let may_leave_it = [
        azure,
        spec.cephfs.as_ref().and_then(|v| v.secret_ref.as_ref()).map(of),
        spec.flex_volume.as_ref().and_then(|v| v.secret_ref.as_ref()).map(of),
        spec.rbd.as_ref().and_then(|v| v.secret_ref.as_ref()).map(of),
        spec.scale_io.as_ref().map(|v| of(&v.secret_ref)),
        spec.iscsi.as_ref().and_then(|v| v.secret_ref.as_ref()).map(of),
    ];
    for (namespace, name) in may_leave_it.into_iter().flatten() {
        tell(namespace.filter(|namespace| !namespace.is_empty()).or(of_claim), name);
    }
    let storage_os = spec.storageos.as_ref().and_then(|v| v.secret_ref.as_ref());
    let csi = spec.csi.as_ref();
    let must_say = [
        spec.cinder.as_ref().and_then(|v| v.secret_ref.as_ref()).map(of),
        storage_os.map(|secret| (secret.namespace.as_deref(), secret.name.as_deref())),
        // The others of CSI are for who attaches and grows volumes, not for nodes.
        csi.and_then(|v| v.node_publish_secret_ref.as_ref()).map(of),
        csi.and_then(|v| v.node_stage_secret_ref.as_ref()).map(of),
        csi.and_then(|v| v.node_expand_secret_ref.as_ref()).map(of),
    ];
    must_say.into_iter().flatten().for_each(|(namespace, name)| tell(namespace, name));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_needs_and_no_more() {
        let csi = r#""csi":{"driver":"d","volumeHandle":"h","nodePublishSecretRef":{"namespace":"a","name":"publish"},
            "nodeStageSecretRef":{"namespace":"b","name":"stage"},"nodeExpandSecretRef":{"namespace":"c","name":"expand"},
            "controllerPublishSecretRef":{"namespace":"a","name":"x"},"controllerExpandSecretRef":{"namespace":"a","name":"y"}}"#;
        for (source, expected) in [
            (csi, vec!["a/publish", "b/stage", "c/expand"]),
            (r#""azureFile":{"secretName":"s","shareName":"x"}"#, vec!["n/s"]),
            (r#""azureFile":{"secretName":"s","secretNamespace":"m","shareName":"x"}"#, vec!["m/s"]),
            (r#""cephfs":{"monitors":[],"secretRef":{"name":"s"}}"#, vec!["n/s"]),
            (r#""cinder":{"volumeID":"v","secretRef":{"name":"s","namespace":"m"}}"#, vec!["m/s"]),
            (r#""flexVolume":{"driver":"d","secretRef":{"name":"s","namespace":""}}"#, vec!["n/s"]),
            (r#""rbd":{"monitors":[],"image":"i","secretRef":{"name":"s"}}"#, vec!["n/s"]),
            (r#""scaleIO":{"gateway":"g","system":"y","secretRef":{"name":"s"}}"#, vec!["n/s"]),
            (r#""iscsi":{"iqn":"q","lun":0,"targetPortal":"p","secretRef":{"name":"s"}}"#, vec!["n/s"]),
            (r#""storageos":{"secretRef":{"name":"s","namespace":"m"}}"#, vec!["m/s"]),
            (r#""cinder":{"volumeID":"v","secretRef":{"name":"s"}}"#, vec![]),
            (r#""hostPath":{"path":"/x"}"#, vec![]),
            (r#""rbd":{"monitors":[],"image":"i","secretRef":{"name":""}}"#, vec![]),
        ] {
            let spec = format!(r#"{{"claimRef":{{"namespace":"n","name":"c"}},{source}}}"#);
            let spec = serde_json::from_str(&spec).unwrap();
            let mut found = Vec::new();
            each(&spec, |namespace, name| found.push(format!("{namespace}/{name}")));
            assert_eq!(found, expected, "{source}");
        }
    }
}
