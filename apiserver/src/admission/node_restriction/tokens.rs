//! The tokens that a kubelet gets: for a pod of its node, and for an audience that the pod needs.

use corten_api::{ApiError, Object as _, pod};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::CSIDriver;

use crate::admission::{AdmissionRequest, Refusal};

/// Who may do this may ask for tokens of an audience that stands in no volume: the resource is the audience.
const AUDIENCE_VERB: &str = "request-serviceaccounts-token-audience";

/// A token is for a pod of the node, and for an audience that the pod has in a volume.
pub(super) fn admit(request: &AdmissionRequest<'_>, node: &str) -> Result<(), Refusal> {
    let forbidden = |why: &str| Err(request.forbidden(why));
    let spec = request.object::<TokenRequest>().and_then(|asked| asked.spec.as_ref());
    let reference = spec.and_then(|spec| spec.bound_object_ref.as_ref());
    let is_pod = |bound: &&BoundObjectReference| {
        bound.api_version.as_deref() == Some("v1") && bound.kind.as_deref() == Some("Pod")
    };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let bound = reference.filter(is_pod).map(|bound| (text(&bound.name), text(&bound.uid)));
    let Some((name, uid)) = bound.filter(|(name, _)| !name.is_empty()) else {
        return forbidden("node requested token not bound to a pod");
    };
    if uid.is_empty() {
        return forbidden("node requested token with a pod binding without a uid");
    }
    let Some(pod) = request.find::<Pod>("", "pods", &request.target.namespace, &name) else {
        return Err(Refusal::Final(ApiError::not_found("", "pods", &name)));
    };
    if pod.uid() != uid {
        return forbidden(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        ));
    }
    if pod::node_name(&pod) != Some(node) {
        return forbidden("node requested token bound to a pod scheduled on a different node");
    }
    let audience = match spec.and_then(|spec| spec.audiences.as_deref()).unwrap_or_default() {
        [] => "",
        [one] => one.as_str(),
        _ => return forbidden("node may only request 0 or 1 audiences"),
    };
    if has_audience(request, &pod, audience) || request.may(AUDIENCE_VERB, audience) {
        return Ok(());
    }
    forbidden(&format!(
        "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
        request.user.name
    ))
}

/// In a volume of its own, or in what the driver of one asks for. An empty one stands for the API's own.
fn has_audience(request: &AdmissionRequest<'_>, pod: &Pod, audience: &str) -> bool {
    let volumes = || pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let parts = volumes().flat_map(|volume| volume.projected.iter().flat_map(|all| all.sources.iter().flatten()));
    let mut tokens = parts.filter_map(|part| part.service_account_token.as_ref());
    if tokens.any(|token| token.audience.as_deref().unwrap_or_default() == audience) {
        return true;
    }
    let mut drivers = volumes().filter_map(|volume| driver(request, pod, volume));
    drivers.any(|driver| {
        let driver = request.find::<CSIDriver>("storage.k8s.io", "csidrivers", "", &driver);
        driver.is_some_and(|driver| driver.spec.token_requests.iter().flatten().any(|asked| asked.audience == audience))
    })
}

/// The CSI driver that mounts a volume: inline, or of the PersistentVolume behind the pod's claim.
fn driver(request: &AdmissionRequest<'_>, pod: &Pod, volume: &Volume) -> Option<String> {
    if let Some(inline) = &volume.csi {
        return Some(inline.driver.clone());
    }
    let named = volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
    let made = || volume.ephemeral.as_ref().map(|_| pod::ephemeral_claim_name(pod.name(), &volume.name));
    let claim = named.or_else(made)?;
    let claim: PersistentVolumeClaim = request.find("", "persistentvolumeclaims", &request.target.namespace, &claim)?;
    let bound: PersistentVolume = request.find("", "persistentvolumes", "", &claim.spec?.volume_name?)?;
    Some(bound.spec?.csi?.driver)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::testing::{Write, ask_as};
    use crate::request::{User, Verb};
    use crate::view::testing::Cluster;

    #[test]
    fn a_driver_of_a_pods_volume_has_its_tokens() {
        let pod = |volume: Value| {
            let spec = json!({"nodeName": "n1", "containers": [], "volumes": [volume]});
            json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec})
        };
        let driver = |audience: &str| json!({"metadata": {}, "spec": {"tokenRequests": [{"audience": audience}]}});
        let volume = json!({"metadata": {}, "spec": {"csi": {"driver": "bound.io", "volumeHandle": "h"}}});
        let world = Cluster::of(&[
            ("pods/ns/plain", pod(json!({"name": "v", "emptyDir": {}}))),
            ("pods/ns/inline", pod(json!({"name": "v", "csi": {"driver": "inline.io"}}))),
            ("pods/ns/claimed", pod(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}))),
            ("persistentvolumeclaims/ns/c", json!({"metadata": {}, "spec": {"volumeName": "pv"}})),
            ("persistentvolumes//pv", volume),
            ("csidrivers//inline.io", driver("for-inline")),
            ("csidrivers//bound.io", driver("for-bound")),
        ]);
        let kubelet = User { name: "system:node:n1".into(), groups: vec!["system:nodes".into()], ..User::default() };
        for (name, audience, allowed) in [
            ("inline", "for-inline", true),
            ("claimed", "for-bound", true),
            ("inline", "for-bound", false),
            ("claimed", "for-inline", false),
            ("plain", "for-bound", false),
        ] {
            let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u"});
            let new = json!({"metadata": {}, "spec": {"boundObjectRef": bound, "audiences": [audience]}});
            let write = Write { verb: Verb::Create, target: "/serviceaccounts/token ns/sa", new, old: Value::Null };
            let asked = ask_as::<TokenRequest>(&kubelet, super::super::admit, &world, write);
            assert_eq!(asked.is_ok(), allowed, "{name} {audience}: {asked:?}");
        }
    }
}
