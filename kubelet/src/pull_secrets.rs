//! Who a pod is to image registries: its imagePullSecrets, decoded.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/>

use corten_api::{Key, Object as _};
use k8s_openapi::api::core::v1::{Pod, Secret};
use tracing::warn;

use crate::images::{RegistryAuth, auth};
use crate::place::Place;

/// What the pod's pull secrets say. One that is missing or broken is left out, and said so: the registry decides.
pub async fn of(place: &Place, pod: &Pod) -> Vec<RegistryAuth> {
    let (cluster, mut found) = (place.cluster.as_ref(), Vec::new());
    for reference in pod.spec.iter().flat_map(|s| s.image_pull_secrets.iter().flatten()) {
        let key = Key::new(pod.namespace(), reference.name.as_str());
        match place.sources.secret(cluster, &key).await.object {
            Ok(Some(secret)) => found.extend(decode(&secret)),
            Ok(None) => {
                let message = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    reference.name
                );
                cluster.event(&pod.reference(), true, "FailedToRetrieveImagePullSecret", &message);
            }
            Err(err) => warn!(%err, secret = %key, "cannot read a pull secret"),
        }
    }
    found
}

/// One that cannot be read is left out, and said so.
fn decode(secret: &Secret) -> Vec<RegistryAuth> {
    let data = |key: &str| secret.data.as_ref().and_then(|d| d.get(key)).map(|bytes| bytes.0.as_slice());
    let Some(json) = data(".dockerconfigjson").or_else(|| data(".dockercfg")) else { return Vec::new() };
    auth::parse(json).unwrap_or_else(|err| {
        warn!(%err, secret = %secret.key(), "a pull secret is left out");
        Vec::new()
    })
}
