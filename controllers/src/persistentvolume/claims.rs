//! The next step of a claim: towards a volume, or to say why it has none.
//!
//! One write per call: what was written comes back as a change, which asks for the next. Whoever is stopped between two of the
//! four writes of a binding goes on where it was.

use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus,
};
use corten_api::k8s_openapi::api::storage::v1::StorageClass;
use corten_client::EventType;

use super::matching::{capacity, claim_spec, class_of_claim, find, is_bound_to, mismatch, storage, volume_spec};
use super::step::{BIND_COMPLETED, BOUND, BOUND_BY_CONTROLLER, LOST, PENDING, Said, Write, phase_of, with_phase};

pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Whom a claim waits for, and the annotation's name of old.
pub const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
/// Marks the class of claims that name none; the second is its name of old.
pub const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
pub const WAIT_FOR_FIRST_CONSUMER: &str = "WaitForFirstConsumer";
/// The provisioners of Kubernetes' own, of which none is here.
const IN_TREE: &str = "kubernetes.io/";

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub claim: &'a PersistentVolumeClaim,
    /// The class that the claim names, if it is there.
    pub class: Option<&'a StorageClass>,
    /// The name of the class of claims that name none.
    pub default_class: Option<&'a str>,
    /// The volume that the claim names, if it is there.
    pub named: Option<&'a Arc<PersistentVolume>>,
    /// The volumes that are meant for the claim, and those of its class that are nobody's.
    pub volumes: &'a [Arc<PersistentVolume>],
    /// The pods that use the claim, have not ended, and have no node yet.
    pub waiting_pods: &'a [String],
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    pub write: Option<Write>,
    pub events: Vec<Said>,
}

impl Decision {
    fn write(write: Option<Write>) -> Self {
        Self { write, events: Vec::new() }
    }
}

pub fn decide(seen: &Observed<'_>) -> Decision {
    let claim = seen.claim;
    match (claim.annotation(BIND_COMPLETED).is_some(), claim_spec(claim).volume_name.as_deref().unwrap_or_default()) {
        (false, "") => seek(seen),
        (false, name) => take_named(seen, name),
        (true, name) => keep(seen, name),
    }
}

/// It takes any volume that does.
fn seek(seen: &Observed<'_>) -> Decision {
    let waits = seen.class.and_then(|class| class.volume_binding_mode.as_deref()) == Some(WAIT_FOR_FIRST_CONSUMER);
    if let Some(volume) = find(seen.claim, seen.volumes, waits) {
        return Decision::write(bind(volume, seen.claim));
    }
    let claim = seen.claim;
    if let (None, Some(default)) = (class_of_claim(claim), seen.default_class) {
        let mut claim = claim.clone();
        claim.spec.get_or_insert_default().storage_class_name = Some(default.to_owned());
        return Decision::write(Some(Write::Claim(claim)));
    }
    if waits && claim.annotation(SELECTED_NODE).is_none() {
        let (reason, message) = match seen.waiting_pods {
            [] => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned()),
            [pod] => ("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
            pods => ("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", pods.join(","))),
        };
        return pending(claim, Some((EventType::Normal, reason, message)));
    }
    match class_of_claim(claim).filter(|class| !class.is_empty()) {
        Some(class) => provision(seen, class),
        None => {
            let message = "no persistent volumes available for this claim and no storage class is set";
            pending(claim, Some((EventType::Normal, "FailedBinding", message.to_owned())))
        }
    }
}

/// Asks the class's provisioner for a volume: by the claim's annotations, which it watches.
fn provision(seen: &Observed<'_>, class: &str) -> Decision {
    let claim = seen.claim;
    let say = |kind, reason, message| Decision { write: None, events: vec![said(claim, kind, reason, message)] };
    let Some(found) = seen.class else {
        let message = format!("storageclass.storage.k8s.io {class:?} not found");
        return say(EventType::Warning, "ProvisioningFailed", message);
    };
    let provisioner = found.provisioner.as_str();
    if provisioner.starts_with(IN_TREE) {
        let message = format!("no volume plugin matched name: {provisioner}");
        return say(EventType::Warning, "ProvisioningFailed", message);
    }
    if PROVISIONER.iter().any(|key| claim.annotation(key) != Some(provisioner)) {
        let mut claim = claim.clone();
        let annotations = claim.metadata.annotations.get_or_insert_default();
        annotations.extend(PROVISIONER.map(|key| (key.to_owned(), provisioner.to_owned())));
        return Decision::write(Some(Write::Claim(claim)));
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    say(EventType::Normal, "ExternalProvisioning", message)
}

/// It names its volume.
fn take_named(seen: &Observed<'_>, name: &str) -> Decision {
    let claim = seen.claim;
    let Some(volume) = seen.named else { return pending(claim, None) };
    if is_bound_to(volume, claim) {
        return Decision::write(bind(volume, claim));
    }
    if volume_spec(volume).claim_ref.is_some() {
        let message = format!("volume {name:?} already bound to a different claim.");
        return pending(claim, Some((EventType::Warning, "FailedBinding", message)));
    }
    match mismatch(volume, claim) {
        Some(why) => {
            let message = format!("Cannot bind to requested volume {name:?}: {why}");
            pending(claim, Some((EventType::Warning, "VolumeMismatch", message)))
        }
        None => Decision::write(bind(volume, claim)),
    }
}

/// It was bound: it stays so, or is lost for good.
fn keep(seen: &Observed<'_>, name: &str) -> Decision {
    let claim = seen.claim;
    let lost = |reason, message: &str| {
        if phase_of(claim.status.as_ref().and_then(|s| s.phase.as_ref())) == LOST {
            return Decision::default();
        }
        let events = vec![said(claim, EventType::Warning, reason, message.to_owned())];
        Decision { write: status(claim, LOST, None), events }
    };
    if name.is_empty() {
        return lost("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    }
    let Some(volume) = seen.named else {
        return lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    };
    let owner = volume_spec(volume).claim_ref.as_ref().map(|claimed| claimed.uid.as_deref().unwrap_or_default());
    match owner {
        Some(uid) if uid != claim.uid() => {
            lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
        }
        _ => Decision::write(bind(volume, claim)),
    }
}

/// The first of the writes of a binding that is not done: the volume first, so that no two claims get it.
fn bind(volume: &Arc<PersistentVolume>, claim: &PersistentVolumeClaim) -> Option<Write> {
    volume_for(volume, claim)
        .or_else(|| with_phase(volume, BOUND, "").map(Write::VolumeStatus))
        .or_else(|| claim_to(claim, volume.name()))
        .or_else(|| status(claim, BOUND, Some(volume)))
}

fn volume_for(volume: &Arc<PersistentVolume>, claim: &PersistentVolumeClaim) -> Option<Write> {
    let right =
        volume_spec(volume).claim_ref.as_ref().is_some_and(|claimed| claimed.uid.as_deref() == Some(claim.uid()));
    if is_bound_to(volume, claim) && right {
        return None;
    }
    let mut bound = PersistentVolume::clone(volume);
    // Who has bound it otherwise is asked when the claim goes.
    if !is_bound_to(volume, claim) {
        let annotations = bound.metadata.annotations.get_or_insert_default();
        annotations.insert(BOUND_BY_CONTROLLER.into(), "yes".into());
    }
    bound.spec.get_or_insert_default().claim_ref = Some(claim.reference());
    Some(Write::Volume(bound))
}

fn claim_to(claim: &PersistentVolumeClaim, volume: &str) -> Option<Write> {
    let is_named = claim_spec(claim).volume_name.as_deref() == Some(volume);
    if is_named && claim.annotation(BIND_COMPLETED).is_some() {
        return None;
    }
    let mut claim = claim.clone();
    let annotations = claim.metadata.annotations.get_or_insert_default();
    annotations.insert(BIND_COMPLETED.into(), "yes".into());
    if !is_named {
        annotations.insert(BOUND_BY_CONTROLLER.into(), "yes".into());
        claim.spec.get_or_insert_default().volume_name = Some(volume.to_owned());
    }
    Some(Write::Claim(claim))
}

/// The status with this phase, and what it says of the volume. `None`: it is so.
fn status(claim: &PersistentVolumeClaim, phase: &str, volume: Option<&PersistentVolume>) -> Option<Write> {
    let old = claim.status.clone().unwrap_or_default();
    let mut new = PersistentVolumeClaimStatus { phase: Some(phase.to_owned()), ..old.clone() };
    let is_news = phase_of(old.phase.as_ref()) != phase;
    match volume {
        None => (new.access_modes, new.capacity, new.current_volume_attributes_class_name) = (None, None, None),
        Some(volume) => {
            new.access_modes.clone_from(&volume_spec(volume).access_modes);
            // A claim that is bound already may have less than its volume while its file system grows.
            if is_news && storage(old.capacity.as_ref()) != capacity(volume) {
                new.capacity.clone_from(&volume_spec(volume).capacity);
            }
            if is_news && phase_of(old.phase.as_ref()) == PENDING {
                new.current_volume_attributes_class_name.clone_from(&volume_spec(volume).volume_attributes_class_name);
            }
        }
    }
    if new == old {
        return None;
    }
    Some(Write::ClaimStatus(PersistentVolumeClaim { status: Some(new), ..claim.clone() }))
}

fn pending(claim: &PersistentVolumeClaim, event: Option<(EventType, &'static str, String)>) -> Decision {
    let events = event.into_iter().map(|(kind, reason, message)| said(claim, kind, reason, message)).collect();
    Decision { write: status(claim, PENDING, None), events }
}

fn said(claim: &PersistentVolumeClaim, kind: EventType, reason: &'static str, message: String) -> Said {
    let about: ObjectReference = claim.reference();
    Said { about, kind, reason, message }
}

/// The class of claims that name none: of several the newest, as the one that somebody has just made so.
pub fn default_class(classes: &[Arc<StorageClass>]) -> Option<&str> {
    let is_default = |class: &&Arc<StorageClass>| IS_DEFAULT.iter().any(|key| class.annotation(key) == Some("true"));
    let age = |class: &&Arc<StorageClass>| class.created().map(|at| at.0);
    let newest =
        classes.iter().filter(is_default).max_by(|a, b| age(a).cmp(&age(b)).then_with(|| b.name().cmp(a.name())));
    newest.map(|class| class.name())
}

#[cfg(test)]
mod tests;
