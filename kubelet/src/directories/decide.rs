//! What becomes of the directory of a volume, by what the cluster shows of the volume. Pure.

use std::path::Path;

use corten_api::volumes::{DIRECTORY_FINALIZER, LOCAL_DIRECTORY, ON_NODE, PROVISIONED_BY};
use corten_api::{Key, Object as _};
use k8s_openapi::api::core::v1::PersistentVolume;

/// While a volume has it, it may still be bound.
const PROTECTION: &str = "kubernetes.io/pv-protection";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Keep,
    /// The directory first, then our finalizer.
    Remove,
    /// Our finalizer alone: who deleted the volume wants its data to stay.
    LetGo,
}

/// Whether it is a directory of this node.
pub fn is_of(volume: &PersistentVolume, node: &str) -> bool {
    volume.annotation(PROVISIONED_BY) == Some(LOCAL_DIRECTORY) && volume.annotation(ON_NODE) == Some(node)
}

pub fn has_finalizer(volume: &PersistentVolume) -> bool {
    volume.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == DIRECTORY_FINALIZER)
}

/// The claim that it names.
pub fn claim_of(volume: &PersistentVolume) -> Option<Key> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(Key::new(claim.namespace.clone()?, claim.name.clone()?))
}

pub fn decide(volume: &PersistentVolume) -> Step {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_protected = volume.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == PROTECTION);
    if !volume.is_deleting() || !has_finalizer(volume) || is_protected || phase == Some("Bound") {
        return Step::Keep;
    }
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if policy == Some("Delete") { Step::Remove } else { Step::LetGo }
}

/// Whether a pod may still have it, as it is now.
pub fn may_be_mounted(volume: &PersistentVolume) -> Result<(), String> {
    if volume.is_deleting() && (decide(volume) != Step::Keep || !has_finalizer(volume)) {
        return Err(format!("persistentvolume {:?} is being deleted", volume.name()));
    }
    Ok(())
}

/// That it is where its directory is made, and nowhere else.
pub fn place(volume: &PersistentVolume, root: &Path) -> Result<(), String> {
    let said = volume.spec.as_ref().and_then(|spec| spec.local.as_ref()).map(|local| Path::new(&local.path));
    let name = volume.name();
    let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    if is_plain && said == Some(root.join(name).as_path()) {
        return Ok(());
    }
    Err(format!("persistentvolume {name:?} is not in {}, where {LOCAL_DIRECTORY} has its volumes", root.display()))
}
