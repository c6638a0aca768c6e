//! The one next write, and what is said with it.

use corten_api::k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use corten_client::EventType;

/// A claim that has it was bound: what it says of its volume is final.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On the side whose reference to the other was not there before.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

pub const PENDING: &str = "Pending";
pub const BOUND: &str = "Bound";
pub const LOST: &str = "Lost";

/// The one next write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Volume(PersistentVolume),
    VolumeStatus(PersistentVolume),
    Claim(PersistentVolumeClaim),
    ClaimStatus(PersistentVolumeClaim),
}

/// An event to record.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub about: ObjectReference,
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

pub fn phase_of(phase: Option<&String>) -> &str {
    phase.map_or(PENDING, String::as_str)
}

/// The volume in this phase. `None`: it is in it.
pub fn with_phase(volume: &PersistentVolume, phase: &str, message: &str) -> Option<PersistentVolume> {
    let old = volume.status.clone().unwrap_or_default();
    if old.phase.as_deref() == Some(phase) {
        return None;
    }
    let mut volume = volume.clone();
    let status = volume.status.get_or_insert_default();
    status.phase = Some(phase.to_owned());
    status.message = (!message.is_empty()).then(|| message.to_owned());
    Some(volume)
}
