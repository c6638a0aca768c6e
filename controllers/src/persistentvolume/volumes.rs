//! The next step of a volume: who has it, and what becomes of it when its claim is gone.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reclaiming>

use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use corten_client::EventType;

use super::matching::{claim_spec, same_volume_mode, volume_spec};
use super::step::{BOUND, BOUND_BY_CONTROLLER, Said, Write, phase_of, with_phase};

const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const AVAILABLE: &str = "Available";
const RELEASED: &str = "Released";
const FAILED: &str = "Failed";
const RETAIN: &str = "Retain";
const DELETE: &str = "Delete";
const RECYCLE: &str = "Recycle";

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub volume: &'a PersistentVolume,
    /// The claim that the volume names, by name and uid. `None`: the apiserver does not have it.
    pub claim: Option<&'a Arc<PersistentVolumeClaim>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    pub write: Option<Write>,
    pub events: Vec<Said>,
}

pub fn decide(seen: &Observed<'_>) -> Decision {
    let volume = seen.volume;
    let phase =
        |phase| Decision { write: with_phase(volume, phase, "").map(Write::VolumeStatus), ..Decision::default() };
    let claimed = volume_spec(volume).claim_ref.as_ref();
    // Without a uid it is only meant for a claim.
    if claimed.and_then(|claimed| claimed.uid.as_deref()).unwrap_or_default().is_empty() {
        return phase(AVAILABLE);
    }
    let Some(claim) = seen.claim else { return release(volume) };
    match claim_spec(claim).volume_name.as_deref().unwrap_or_default() {
        "" if !same_volume_mode(volume, claim) => mismatched(volume, claim),
        // The claim finishes the binding: whatever a volume changes asks for a look at the claim that it names.
        "" => Decision::default(),
        name if name == volume.name() => phase(BOUND),
        // The claim has another.
        _ if volume.annotation(PROVISIONED_BY).is_some() && policy(volume) == DELETE => release(volume),
        _ => unbind(volume),
    }
}

fn policy(volume: &PersistentVolume) -> &str {
    volume_spec(volume).persistent_volume_reclaim_policy.as_deref().unwrap_or(RETAIN)
}

/// Its claim was gone before, or what is on it could not be deleted then.
pub fn is_released(volume: &PersistentVolume) -> bool {
    matches!(phase_of(volume.status.as_ref().and_then(|s| s.phase.as_ref())), RELEASED | FAILED)
}

/// Its claim is gone. What is on it is kept, or deleted by whoever has made it, who waits for the phase.
fn release(volume: &PersistentVolume) -> Decision {
    if !is_released(volume) {
        return Decision { write: with_phase(volume, RELEASED, "").map(Write::VolumeStatus), ..Decision::default() };
    }
    match policy(volume) {
        RETAIN => Decision::default(),
        DELETE if volume.annotation(PROVISIONED_BY).is_some() => Decision::default(),
        DELETE => fail(
            volume,
            "VolumeFailedDelete",
            format!("error getting deleter volume plugin for volume {:?}: no volume plugin matched", volume.name()),
        ),
        RECYCLE => fail(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!".into()),
        _ => fail(volume, "VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy".into()),
    }
}

/// Said once: a volume that has failed stays so.
fn fail(volume: &PersistentVolume, reason: &'static str, message: String) -> Decision {
    let Some(failed) = with_phase(volume, FAILED, &message) else { return Decision::default() };
    let events = vec![Said { about: volume.reference(), kind: EventType::Warning, reason, message }];
    Decision { write: Some(Write::VolumeStatus(failed)), events }
}

/// It is free again, or meant for whoever gets the claim's name.
fn unbind(volume: &PersistentVolume) -> Decision {
    let mut free = volume.clone();
    let spec = free.spec.get_or_insert_default();
    if volume.annotation(BOUND_BY_CONTROLLER).is_some() {
        spec.claim_ref = None;
        let annotations = free.metadata.annotations.take().map(|mut all| {
            all.remove(BOUND_BY_CONTROLLER);
            all
        });
        free.metadata.annotations = annotations.filter(|all| !all.is_empty());
    } else if let Some(claimed) = &mut spec.claim_ref {
        claimed.uid = None;
    }
    Decision { write: Some(Write::Volume(free)), ..Decision::default() }
}

fn mismatched(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Decision {
    let said = |about, message| Said { about, kind: EventType::Warning, reason: "VolumeMismatch", message };
    let of_volume = format!(
        "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
        claim.name()
    );
    let of_claim = format!(
        "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to incompatible volumeMode.",
        volume.name()
    );
    let events = vec![said(volume.reference(), of_volume), said(claim.reference(), of_claim)];
    Decision { events, ..Decision::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{claim, volume};
    use super::*;

    fn shown(decision: &Decision) -> String {
        let write = match &decision.write {
            None => String::new(),
            Some(Write::VolumeStatus(volume)) => volume.status.clone().unwrap().phase.unwrap(),
            Some(Write::Volume(volume)) => match &volume_spec(volume).claim_ref {
                None => format!("free {:?}", volume.metadata.annotations),
                Some(claimed) => format!("meant for {} {:?}", claimed.name.clone().unwrap(), claimed.uid),
            },
            Some(other) => format!("{other:?}"),
        };
        let reasons = decision.events.iter().map(|said| said.reason);
        let words: Vec<&str> = std::iter::once(write.as_str()).chain(reasons).filter(|w| !w.is_empty()).collect();
        words.join(" ")
    }

    #[test]
    fn volumes_table() {
        let of = |claim_ref: Value, phase: &str, policy: &str, annotations: Value| {
            let mut made = volume("v", json!({"claimRef": claim_ref, "persistentVolumeReclaimPolicy": policy}));
            made.status.as_mut().unwrap().phase = Some(phase.into());
            made.metadata.annotations = serde_json::from_value(annotations).unwrap();
            made
        };
        let (bound, meant) =
            (json!({"namespace": "shop", "name": "c", "uid": "c-uid"}), json!({"namespace": "shop", "name": "c"}));
        let none = || json!({});
        let ours = || json!({BOUND_BY_CONTROLLER: "yes"});
        let made = || json!({PROVISIONED_BY: "example.org/disk"});
        let has = |name: &str| Some(claim(json!({"volumeName": name})));
        let block = Some(claim(json!({"volumeMode": "Block"})));
        let cases = [
            ("new", of(json!(null), "Pending", RETAIN, none()), None, "Available"),
            ("nobody's", of(json!(null), AVAILABLE, RETAIN, none()), None, ""),
            ("meant for somebody", of(meant, "Pending", RETAIN, none()), None, "Available"),
            ("its claim has it", of(bound.clone(), AVAILABLE, RETAIN, ours()), has("v"), "Bound"),
            ("so it is", of(bound.clone(), BOUND, RETAIN, ours()), has("v"), ""),
            ("its claim does not know yet", of(bound.clone(), BOUND, RETAIN, ours()), has(""), ""),
            ("it never will", of(bound.clone(), BOUND, RETAIN, ours()), block, "VolumeMismatch VolumeMismatch"),
            ("its claim is gone", of(bound.clone(), BOUND, RETAIN, ours()), None, "Released"),
            ("and it is kept", of(bound.clone(), RELEASED, RETAIN, ours()), None, ""),
            ("its maker deletes it", of(bound.clone(), RELEASED, DELETE, made()), None, ""),
            ("nobody deletes it", of(bound.clone(), RELEASED, DELETE, ours()), None, "Failed VolumeFailedDelete"),
            ("that was said", of(bound.clone(), FAILED, DELETE, ours()), None, ""),
            ("nobody wipes it", of(bound.clone(), RELEASED, RECYCLE, ours()), None, "Failed VolumeFailedRecycle"),
            ("its claim took another: we had tried", of(bound.clone(), BOUND, RETAIN, ours()), has("w"), "free None"),
            (
                "its claim took another: it stays meant for it",
                of(bound.clone(), BOUND, RETAIN, none()),
                has("w"),
                "meant for c None",
            ),
            ("its claim took another, and it was made for it", of(bound, BOUND, DELETE, made()), has("w"), "Released"),
        ];
        for (why, volume, claim, expected) in cases {
            let claim = claim.map(Arc::new);
            let decision = decide(&Observed { volume: &volume, claim: claim.as_ref() });
            assert_eq!(shown(&decision), expected, "{why}");
        }
    }
}
