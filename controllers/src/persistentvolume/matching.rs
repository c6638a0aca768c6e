//! Which volume a claim gets: one that is meant for it, or the smallest that has all that it asks for.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding>

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
};
use corten_api::k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use corten_api::quantity::Quantity;
use corten_api::selector::Selector;

/// The name of old of the field storageClassName.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const STORAGE: &str = "storage";
const FILESYSTEM: &str = "Filesystem";
const AVAILABLE: &str = "Available";

pub fn claim_spec(claim: &PersistentVolumeClaim) -> &PersistentVolumeClaimSpec {
    static NONE: std::sync::LazyLock<PersistentVolumeClaimSpec> =
        std::sync::LazyLock::new(PersistentVolumeClaimSpec::default);
    claim.spec.as_ref().unwrap_or(&NONE)
}

pub fn volume_spec(volume: &PersistentVolume) -> &PersistentVolumeSpec {
    static NONE: std::sync::LazyLock<PersistentVolumeSpec> = std::sync::LazyLock::new(PersistentVolumeSpec::default);
    volume.spec.as_ref().unwrap_or(&NONE)
}

/// `None`: it wants the class that is the default. "": it wants a volume without a class.
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.annotation(CLASS_ANNOTATION).or(claim_spec(claim).storage_class_name.as_deref())
}

pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    volume.annotation(CLASS_ANNOTATION).or(volume_spec(volume).storage_class_name.as_deref()).unwrap_or_default()
}

/// Whether the volume is meant for the claim, by whoever has said so.
pub fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(claimed) = &volume_spec(volume).claim_ref else { return false };
    let same_uid = claimed.uid.as_deref().is_none_or(|uid| uid.is_empty() || uid == claim.uid());
    claimed.name.as_deref() == Some(claim.name()) && claimed.namespace.as_deref() == Some(claim.namespace()) && same_uid
}

/// The volume for this claim. `waits`: the claim waits for a pod that uses it, so that it gets a volume on that pod's node;
/// only one that is meant for it is taken then.
pub fn find<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
    waits: bool,
) -> Option<&'a Arc<PersistentVolume>> {
    let fitting: Vec<_> = volumes.iter().filter(|volume| fits(volume, claim)).collect();
    let meant = fitting.iter().find(|volume| is_bound_to(volume, claim)).copied();
    if meant.is_some() || waits {
        return meant;
    }
    let selector = claim_spec(claim).selector.as_ref();
    // A selector that cannot be read selects nothing.
    let selector = selector.map_or(Ok(Selector::everything()), |s| Selector::from_label_selector(Some(s))).ok()?;
    let class = class_of_claim(claim).unwrap_or_default();
    let free = fitting.into_iter().filter(|volume| {
        volume_spec(volume).claim_ref.is_none()
            && volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(AVAILABLE)
            && selector.matches_opt(volume.metadata.labels.as_ref())
            && class_of_volume(volume) == class
    });
    // What is asked for most closely: few more access modes, then little more room.
    free.min_by(|a, b| {
        let modes = |volume: &PersistentVolume| modes(volume_spec(volume).access_modes.as_ref()).len();
        let by_modes = modes(a).cmp(&modes(b));
        by_modes.then(compared(capacity(a), capacity(b))).then_with(|| a.name().cmp(b.name()))
    })
}

/// Whether it could be this claim's at all.
fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    !volume.is_deleting()
        && (volume_spec(volume).claim_ref.is_none() || is_bound_to(volume, claim))
        && is_large_enough(volume, claim)
        && same_volume_mode(volume, claim)
        && has_modes(volume, claim)
        && attributes_class(volume) == attributes_class_of_claim(claim)
}

/// Why a volume that a claim names does not do for it, in upstream's words.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    if volume.is_deleting() {
        return Some(format!("the volume is marked for deletion {:?}", volume.name()));
    }
    let checks = [
        (is_large_enough(volume, claim), "requested PV is too small"),
        (class_of_volume(volume) == class_of_claim(claim).unwrap_or_default(), "storageClassName does not match"),
        (attributes_class(volume) == attributes_class_of_claim(claim), "volumeAttributesClassName does not match"),
        (same_volume_mode(volume, claim), "incompatible volumeMode"),
        (has_modes(volume, claim), "incompatible accessMode"),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why.to_owned())
}

pub fn same_volume_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| FILESYSTEM.into());
    mode(&volume_spec(volume).volume_mode) == mode(&claim_spec(claim).volume_mode)
}

fn is_large_enough(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let asked = claim_spec(claim).resources.as_ref().and_then(|r| storage(r.requests.as_ref()));
    compared(capacity(volume), asked) != Ordering::Less
}

fn has_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    modes(claim_spec(claim).access_modes.as_ref()).is_subset(&modes(volume_spec(volume).access_modes.as_ref()))
}

fn modes(list: Option<&Vec<String>>) -> BTreeSet<&str> {
    list.into_iter().flatten().map(String::as_str).collect()
}

fn attributes_class(volume: &PersistentVolume) -> &str {
    volume_spec(volume).volume_attributes_class_name.as_deref().unwrap_or_default()
}
fn attributes_class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    claim_spec(claim).volume_attributes_class_name.as_deref().unwrap_or_default()
}

pub fn capacity(volume: &PersistentVolume) -> Option<Quantity> {
    storage(volume_spec(volume).capacity.as_ref())
}

/// What is stored passed validation; what cannot be read is nothing.
pub fn storage(resources: Option<&BTreeMap<String, Wire>>) -> Option<Quantity> {
    Quantity::from_wire(resources?.get(STORAGE)?).ok()
}

fn compared(a: Option<Quantity>, b: Option<Quantity>) -> Ordering {
    a.unwrap_or_default().partial_cmp(&b.unwrap_or_default()).unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{claim, volume};
    use super::*;

    fn found(claim: &PersistentVolumeClaim, volumes: Vec<PersistentVolume>, waits: bool) -> String {
        let volumes: Vec<_> = volumes.into_iter().map(Arc::new).collect();
        find(claim, &volumes, waits).map_or_else(|| "none".into(), |volume| volume.name().to_owned())
    }

    #[test]
    fn matching_table() {
        let asked = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "5Gi"}}});
        let with = |changes: Value| {
            let mut spec = asked.clone();
            for (field, value) in changes.as_object().unwrap() {
                spec[field] = value.clone();
            }
            claim(spec)
        };
        let sized = |name: &str, size: &str| volume(name, json!({"capacity": {"storage": size}}));
        let meant = |uid: &str| volume("meant", json!({"claimRef": {"namespace": "shop", "name": "c", "uid": uid}}));
        let plain = || with(json!({}));
        let cases = [
            (
                "the smallest that is large enough",
                plain(),
                vec![sized("a", "10Gi"), sized("b", "5Gi"), sized("c", "1Gi")],
                "b",
            ),
            ("none is", plain(), vec![sized("a", "4Gi")], "none"),
            ("the same amount in other words", plain(), vec![sized("a", "5120Mi")], "a"),
            (
                "the one that can no more than is asked",
                plain(),
                vec![
                    volume(
                        "a",
                        json!({"accessModes": ["ReadWriteOnce", "ReadWriteMany"], "capacity": {"storage": "5Gi"}}),
                    ),
                    sized("b", "10Gi"),
                ],
                "b",
            ),
            ("another access mode", with(json!({"accessModes": ["ReadWriteMany"]})), vec![sized("a", "5Gi")], "none"),
            ("another volume mode", with(json!({"volumeMode": "Block"})), vec![sized("a", "5Gi")], "none"),
            (
                "of its class",
                with(json!({"storageClassName": "fast"})),
                vec![volume("a", json!({"storageClassName": "fast"})), sized("b", "5Gi")],
                "a",
            ),
            ("of no class", plain(), vec![volume("a", json!({"storageClassName": "fast"}))], "none"),
            (
                "of other attributes",
                with(json!({"volumeAttributesClassName": "gold"})),
                vec![sized("a", "5Gi")],
                "none",
            ),
            (
                "by its labels",
                with(json!({"selector": {"matchLabels": {"volume": "b"}}})),
                vec![sized("a", "5Gi"), sized("b", "9Gi")],
                "b",
            ),
            (
                "another's",
                plain(),
                vec![volume("a", json!({"claimRef": {"namespace": "shop", "name": "other"}}))],
                "none",
            ),
            ("meant for it, though another is smaller", plain(), vec![sized("a", "5Gi"), meant("")], "meant"),
            ("meant for it by name and uid", plain(), vec![meant("c-uid")], "meant"),
            ("meant for one of its name before it", plain(), vec![meant("old")], "none"),
        ];
        for (why, claim, volumes, expected) in cases {
            assert_eq!(found(&claim, volumes, false), expected, "{why}");
        }
        assert_eq!(found(&plain(), vec![sized("a", "5Gi")], true), "none", "it waits for its pod");
        assert_eq!(found(&plain(), vec![meant("")], true), "meant", "somebody has chosen for it");
        let mut released = sized("a", "5Gi");
        released.status.as_mut().unwrap().phase = Some("Released".into());
        assert_eq!(found(&plain(), vec![released], false), "none");
    }

    #[test]
    fn mismatches_table() {
        let asked = claim(
            json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "5Gi"}}}),
        );
        for (spec, expected) in [
            (json!({}), None),
            (json!({"capacity": {"storage": "1Gi"}}), Some("requested PV is too small")),
            (json!({"storageClassName": "x"}), Some("storageClassName does not match")),
            (json!({"volumeAttributesClassName": "x"}), Some("volumeAttributesClassName does not match")),
            (json!({"volumeMode": "Block"}), Some("incompatible volumeMode")),
            (json!({"accessModes": ["ReadOnlyMany"]}), Some("incompatible accessMode")),
        ] {
            assert_eq!(mismatch(&volume("a", spec.clone()), &asked).as_deref(), expected, "{spec}");
        }
    }
}
