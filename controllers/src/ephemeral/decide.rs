//! The claims that a pod's ephemeral volumes need.

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::pods::ephemeral_claim_name;

/// Somebody else's claim has the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PVC {claim:?} was not created for pod {pod:?} (pod is not owner)")]
pub struct NotOurs {
    pub claim: String,
    pub pod: String,
}

/// The claim of a volume of this pod, as it is to be made. `None`: the volume needs none.
pub fn wanted(pod: &Pod, volume: &Volume) -> Option<PersistentVolumeClaim> {
    let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
    let meta = template.metadata.clone().unwrap_or_default();
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(ephemeral_claim_name(pod.name(), &volume.name)),
            namespace: pod.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            // With the pod the claim goes.
            owner_references: Some(vec![pod.controller_reference()]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        ..PersistentVolumeClaim::default()
    })
}

/// Whether the claim that is there was made for this pod, and not for another that had its name, or for nobody.
pub fn check(pod: &Pod, claim: &PersistentVolumeClaim) -> Result<(), NotOurs> {
    if claim.is_controlled_by(pod.uid()) {
        return Ok(());
    }
    Err(NotOurs { claim: claim.key().to_string(), pod: pod.key().to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_the_pods_own_and_as_its_template_says() {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "k"});
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "shop", "uid": "p-uid"},
            "spec": {"containers": [], "volumes": [
                {"name": "data", "ephemeral": {"volumeClaimTemplate": template}}, {"name": "tmp", "emptyDir": {}},
            ]},
        }))
        .unwrap();
        let volumes = pod.spec.as_ref().unwrap().volumes.clone().unwrap();
        let claim = wanted(&pod, &volumes[0]).unwrap();
        assert_eq!(claim.key().to_string(), "shop/p-data");
        assert_eq!(
            (claim.label("a"), claim.spec.as_ref().unwrap().storage_class_name.as_deref()),
            (Some("b"), Some("k"))
        );
        assert_eq!(check(&pod, &claim), Ok(()));
        assert_eq!(wanted(&pod, &volumes[1]), None);

        let mut others = claim;
        others.metadata.owner_references.as_mut().unwrap()[0].uid = "of another".into();
        let refused = check(&pod, &others).unwrap_err();
        assert_eq!(refused.to_string(), r#"PVC "shop/p-data" was not created for pod "shop/p" (pod is not owner)"#);
    }
}
