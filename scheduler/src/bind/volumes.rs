//! Tells the cluster which volumes a pod's claims get: volumes are reserved for them, or a node is named on which they are made.
//! That they are bound then is seen in the cluster, not waited for here.

use std::sync::Arc;

use corten_api::{ApiError, Key, Object};
use corten_client::{Client, panics};
use k8s_openapi::Resource as _;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use tokio::sync::OwnedSemaphorePermit;

use super::{Outcome, Try, Write, Writer, tell_of_refusal};
use crate::core::PANICS;
use crate::pod::PodInfo;
use crate::snapshot::volumes::matching::{ClaimRef, Plan};
use crate::snapshot::volumes::offers::SELECTED_NODE;
use crate::snapshot::volumes::progress::Written;

/// Who speaks where volumes could not be bound.
const PLUGIN: &str = "PreBind plugin \"VolumeBinding\"";
/// On a volume whose reference to its claim was not there before.
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

impl Writer {
    /// Writes what the plan of a pod that was given a node says; the outcome comes later.
    pub fn bind_volumes(&mut self, place: OwnedSemaphorePermit, pod: &PodInfo, plan: Arc<Plan>, of: Try) {
        let (client, recorder, outcomes, pod) =
            (self.client.clone(), self.recorder(pod), self.outcomes.clone(), pod.clone());
        self.spawn(async move {
            let made = panics::catch_future(PANICS, write(&client, &plan)).await;
            let made = made.unwrap_or_else(|panicked| Err(ApiError::internal(panicked.to_string())));
            let (written, result) = made.map_or_else(|err| (Written::default(), Err(err)), |written| (written, Ok(())));
            let refusal = result.as_ref().err().cloned();
            let (key, uid) = (pod.key.clone(), pod.uid.clone());
            // The scheduler may have stopped meanwhile; its successor looks at the pod itself.
            let _ = outcomes.send(Outcome { key, uid, of: Write::Volumes(of, written), result }).await;
            if let Some(err) = refusal {
                tell_of_refusal(&client, &recorder, &pod, PLUGIN, &err).await;
            }
            drop(place);
        });
    }

    /// Says on a pod that its claims did not get their volumes.
    pub fn refuse_volumes(&mut self, place: OwnedSemaphorePermit, pod: &PodInfo, err: ApiError) {
        let (client, recorder, pod) = (self.client.clone(), self.recorder(pod), pod.clone());
        self.spawn(async move {
            tell_of_refusal(&client, &recorder, &pod, PLUGIN, &err).await;
            drop(place);
        });
    }
}

/// Each object is written only as it was read: what was decided on may be somebody's by now.
async fn write(client: &Client, plan: &Plan) -> Result<Written, ApiError> {
    let mut written = Written::default();
    for (claim, volume) in &plan.bindings {
        let shown = client.get::<PersistentVolume>(&Key::cluster(volume.as_str())).await?;
        let revision = match reserved(&shown, claim)? {
            Some(reserved) => client.update(&reserved).await?.revision(),
            None => shown.revision(),
        };
        written.volumes.insert(volume.clone(), revision);
    }
    for claim in &plan.provisions {
        let shown = client.get::<PersistentVolumeClaim>(&claim.key).await?;
        let revision = match selecting(&shown, claim, &plan.node)? {
            Some(selecting) => client.update(&selecting).await?.revision(),
            None => shown.revision(),
        };
        written.claims.insert(claim.key.clone(), revision);
    }
    Ok(written)
}

/// The volume as the claim's. `None`: it is so.
fn reserved(volume: &PersistentVolume, claim: &ClaimRef) -> Result<Option<PersistentVolume>, ApiError> {
    let conflict = |why: &str| Err(ApiError::conflict("", "persistentvolumes", volume.name(), why));
    if volume.is_deleting() {
        return conflict("it is being deleted");
    }
    let claimed = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let uid = claimed.map(|claimed| claimed.uid.as_deref().unwrap_or_default());
    let is_claims = claimed.is_some_and(|claimed| {
        claimed.namespace.as_deref() == Some(claim.key.namespace.as_str())
            && claimed.name.as_deref() == Some(claim.key.name.as_str())
    });
    match uid {
        Some(uid) if is_claims && uid == claim.uid => return Ok(None),
        Some("") if is_claims => {}
        Some(_) => return conflict("it is bound to a different claim"),
        None => {}
    }
    let mut reserved = volume.clone();
    // Who has bound it otherwise is asked when the claim goes.
    if !is_claims {
        let annotations = reserved.metadata.annotations.get_or_insert_default();
        annotations.insert(BOUND_BY_CONTROLLER.into(), "yes".into());
    }
    reserved.spec.get_or_insert_default().claim_ref = Some(ObjectReference {
        api_version: Some(PersistentVolumeClaim::API_VERSION.into()),
        kind: Some(PersistentVolumeClaim::KIND.into()),
        namespace: Some(claim.key.namespace.clone()),
        name: Some(claim.key.name.clone()),
        uid: Some(claim.uid.clone()),
        ..ObjectReference::default()
    });
    Ok(Some(reserved))
}

/// The claim with the node that its volume is to be made on. `None`: it says so, or has a volume.
fn selecting(
    claim: &PersistentVolumeClaim,
    of: &ClaimRef,
    node: &str,
) -> Result<Option<PersistentVolumeClaim>, ApiError> {
    if claim.uid() != of.uid {
        return Err(ApiError::not_found("", "persistentvolumeclaims", claim.name()));
    }
    let has_volume =
        claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).is_some_and(|name| !name.is_empty());
    match claim.annotation(SELECTED_NODE) {
        Some(selected) if selected == node => return Ok(None),
        _ if has_volume => return Ok(None),
        Some(_) => {
            let why = "its volume is made on another node";
            return Err(ApiError::conflict("", "persistentvolumeclaims", claim.name(), why));
        }
        None => {}
    }
    let mut selecting = claim.clone();
    selecting.metadata.annotations.get_or_insert_default().insert(SELECTED_NODE.into(), node.to_owned());
    Ok(Some(selecting))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim() -> ClaimRef {
        ClaimRef { key: Key::new("ns", "data"), uid: "c-uid".into() }
    }

    #[test]
    fn a_volume_is_reserved_once_and_for_one_claim() {
        let volume = |claim_ref: Value| -> PersistentVolume {
            serde_json::from_value(json!({"metadata": {"name": "v"}, "spec": {"claimRef": claim_ref}})).unwrap()
        };
        let of = |name: &str, uid: &str| volume(json!({"namespace": "ns", "name": name, "uid": uid}));
        let mut going = volume(json!(null));
        going.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        let cases = [
            ("nobody's", volume(json!(null)), "reserved by us"),
            ("meant for it", volume(json!({"namespace": "ns", "name": "data"})), "reserved"),
            ("its own", of("data", "c-uid"), "is so"),
            ("that of a claim of before", of("data", "old"), "conflict"),
            ("another's", of("other", "x"), "conflict"),
            ("it goes", going, "conflict"),
        ];
        for (why, volume, expected) in cases {
            let got = match reserved(&volume, &claim()) {
                Ok(None) => "is so",
                Ok(Some(made)) => {
                    let claimed = made.spec.clone().unwrap().claim_ref.unwrap();
                    assert_eq!(
                        (claimed.name.as_deref(), claimed.uid.as_deref()),
                        (Some("data"), Some("c-uid")),
                        "{why}"
                    );
                    if made.annotation(BOUND_BY_CONTROLLER).is_some() { "reserved by us" } else { "reserved" }
                }
                Err(err) => {
                    assert!(err.is(corten_api::Reason::Conflict), "{why}: {err}");
                    "conflict"
                }
            };
            assert_eq!(got, expected, "{why}");
        }
    }

    #[test]
    fn a_node_is_selected_once() {
        let shown = |uid: &str, node: Option<&str>, volume: &str| -> PersistentVolumeClaim {
            let annotations = node.map(|node| json!({SELECTED_NODE: node}));
            serde_json::from_value(
                json!({"metadata": {"name": "data", "namespace": "ns", "uid": uid, "annotations": annotations},
                "spec": {"volumeName": volume}}),
            )
            .unwrap()
        };
        let cases = [
            ("new", shown("c-uid", None, ""), "n1"),
            ("selected before", shown("c-uid", Some("n1"), ""), "is so"),
            ("bound meanwhile", shown("c-uid", None, "v"), "is so"),
            ("another node was", shown("c-uid", Some("n2"), ""), "Conflict"),
            ("another claim", shown("x", None, ""), "NotFound"),
        ];
        for (why, shown, expected) in cases {
            let got = match selecting(&shown, &claim(), "n1") {
                Ok(None) => "is so".to_owned(),
                Ok(Some(made)) => made.annotation(SELECTED_NODE).unwrap().to_owned(),
                Err(err) => format!("{:?}", err.reason()),
            };
            assert_eq!(got, expected, "{why}");
        }
    }
}
