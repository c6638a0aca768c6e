//! How volumes are found for claims, and claims for volumes, without a look at all the others.

use std::borrow::Cow;

use corten_api::k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use corten_api::{Key, Object, Scope};
use corten_client::IndexBy;

use super::matching::{claim_spec, class_of_claim, class_of_volume, volume_spec};
use super::step::BIND_COMPLETED;

/// Volumes: those that are somebody's by their claim, the others by their class.
#[derive(Debug)]
pub struct ByClaimOrClass;

impl IndexBy<PersistentVolume> for ByClaimOrClass {
    const SCOPE: Scope = Scope::Cluster;
    fn values(volume: &PersistentVolume) -> Vec<Cow<'_, str>> {
        let value = match &volume_spec(volume).claim_ref {
            Some(claim) => meant_for(&Key::new(
                claim.namespace.clone().unwrap_or_default(),
                claim.name.clone().unwrap_or_default(),
            )),
            None => of_class(class_of_volume(volume)),
        };
        vec![value.into()]
    }
}

/// Claims: those that name their volume by its name, those that wait for one by their class.
#[derive(Debug)]
pub struct ByVolumeOrClass;

impl IndexBy<PersistentVolumeClaim> for ByVolumeOrClass {
    const SCOPE: Scope = Scope::Cluster;
    fn values(claim: &PersistentVolumeClaim) -> Vec<Cow<'_, str>> {
        let value = match claim_spec(claim).volume_name.as_deref().filter(|name| !name.is_empty()) {
            Some(volume) => named(volume),
            // It has lost its volume for good.
            None if claim.annotation(BIND_COMPLETED).is_some() => "lost".into(),
            None => class_of_claim(claim).map_or_else(of_default_class, of_class),
        };
        vec![value.into()]
    }
}

/// Volumes that name this claim.
pub fn meant_for(claim: &Key) -> String {
    format!("claim/{claim}")
}
/// Claims that name this volume.
pub fn named(volume: &str) -> String {
    format!("volume/{volume}")
}
/// Volumes that are nobody's, or claims that wait, of this class.
pub fn of_class(class: &str) -> String {
    format!("class/{class}")
}
/// Claims that wait, and name no class.
pub fn of_default_class() -> String {
    "default".into()
}
