//! The claims of a pod's volumes, and the persistent volumes that they are bound to.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/>

use std::sync::Arc;

use corten_api::Object as _;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};

use super::Looked;

/// The claim of one of the pod's volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRef {
    /// The pod's name for the volume.
    pub volume: String,
    pub name: String,
    /// It was made for this pod alone, and goes with it.
    pub ephemeral: bool,
}

/// A claim, and the volume that it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub claim: Arc<PersistentVolumeClaim>,
    pub volume: Arc<PersistentVolume>,
}

/// Why a claim gives no volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("persistentvolumeclaim {name:?} not found")]
    Missing { name: String },
    #[error("PVC {name:?} was not created for pod {pod:?} (pod is not owner)")]
    Foreign { name: String, pod: String },
    #[error("can't start pod because PVC {name:?} is being deleted")]
    Deleting { name: String },
    #[error("PVC {name:?} is not bound")]
    Unbound { name: String },
    #[error("persistentvolume {volume:?}, to which PVC {name:?} is bound, not found")]
    NoVolume { name: String, volume: String },
    #[error("persistentvolume {volume:?} is bound to another claim than PVC {name:?}")]
    Taken { name: String, volume: String },
    /// Its volume is a directory of this node that could not be had.
    #[error("{why}")]
    Directory { why: String },
    /// It may be there, but could not be asked for.
    #[error("failed to fetch {kind} {name:?}: {why}")]
    Unknown { kind: &'static str, name: String, why: String },
}

/// The claims that the pod's volumes name.
pub fn claims(pod: &Pod) -> Vec<ClaimRef> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| claim_of(pod, volume)).collect()
}

fn claim_of(pod: &Pod, volume: &Volume) -> Option<ClaimRef> {
    let named = |name: String, ephemeral| ClaimRef { volume: volume.name.clone(), name, ephemeral };
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(named(source.claim_name.clone(), false)),
        (None, Some(_)) => Some(named(format!("{}-{}", pod.name(), volume.name), true)),
        (None, None) => None,
    }
}

/// The claim, if the pod may use it, and the name of its volume. `runs`: the pod has its volumes already, and keeps them while
/// the claim waits for its deletion.
pub fn usable(
    pod: &Pod,
    wanted: &ClaimRef,
    looked: Looked<PersistentVolumeClaim>,
    runs: bool,
) -> Result<(Arc<PersistentVolumeClaim>, String), ClaimError> {
    let name = || wanted.name.clone();
    let unknown = |why| ClaimError::Unknown { kind: "persistentvolumeclaim", name: name(), why };
    let claim = looked.map_err(unknown)?.ok_or_else(|| ClaimError::Missing { name: name() })?;
    if wanted.ephemeral && claim.controller().is_none_or(|owner| owner.uid != pod.uid()) {
        return Err(ClaimError::Foreign { name: name(), pod: pod.name().to_owned() });
    }
    if claim.is_deleting() && !runs {
        return Err(ClaimError::Deleting { name: name() });
    }
    let is_bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|volume| !volume.is_empty());
    match volume.filter(|_| is_bound) {
        Some(volume) => Ok((claim, volume)),
        None => Err(ClaimError::Unbound { name: name() }),
    }
}

/// Both together, if the volume says the same: a claim that names a volume does not have it yet.
pub fn bound(
    claim: Arc<PersistentVolumeClaim>,
    volume: &str,
    looked: Looked<PersistentVolume>,
) -> Result<Bound, ClaimError> {
    let name = || claim.name().to_owned();
    let unknown = |why| ClaimError::Unknown { kind: "persistentvolume", name: volume.to_owned(), why };
    let found =
        looked.map_err(unknown)?.ok_or_else(|| ClaimError::NoVolume { name: name(), volume: volume.to_owned() })?;
    let holder = found.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).and_then(|claim| claim.uid.as_deref());
    if holder != Some(claim.uid()) {
        return Err(ClaimError::Taken { name: name(), volume: volume.to_owned() });
    }
    Ok(Bound { claim, volume: found })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod() -> Pod {
        let volumes = json!([
            {"name": "data", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"name": "rest", "emptyDir": {}},
        ]);
        let pod = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [], "volumes": volumes}});
        serde_json::from_value(pod).unwrap()
    }

    /// A bound claim, with `value` at the place that the JSON pointer `at` names.
    fn claim_with(at: &str, value: Value) -> Arc<PersistentVolumeClaim> {
        let mut claim = json!({
            "metadata": {"name": "c", "uid": "claim", "deletionTimestamp": null, "ownerReferences": null},
            "spec": {"volumeName": "v"},
            "status": {"phase": "Bound"},
        });
        *claim.pointer_mut(at).unwrap() = value;
        Arc::new(serde_json::from_value(claim).unwrap())
    }
    fn claim() -> Arc<PersistentVolumeClaim> {
        claim_with("/metadata/name", json!("c"))
    }

    #[test]
    fn a_pod_names_claims_and_has_some_of_its_own() {
        let named =
            |volume: &str, name: &str, ephemeral| ClaimRef { volume: volume.into(), name: name.into(), ephemeral };
        assert_eq!(claims(&pod()), [named("data", "c", false), named("scratch", "p-scratch", true)]);
    }

    #[test]
    fn a_claim_is_usable_once_it_is_bound() {
        let owned = |uid: &str| {
            let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true}]);
            Ok(Some(claim_with("/metadata/ownerReferences", owner)))
        };
        let deleting = || Ok(Some(claim_with("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))));
        let phase = |phase: &str| Ok(Some(claim_with("/status/phase", json!(phase))));
        let cases = [
            ("it is", Ok(Some(claim())), false, false, "v"),
            ("no claim", Ok(None), false, false, "persistentvolumeclaim \"c\" not found"),
            ("nobody answers", Err("away".into()), false, false, "failed to fetch persistentvolumeclaim \"c\": away"),
            ("pending", phase("Pending"), false, false, "PVC \"c\" is not bound"),
            ("lost", phase("Lost"), false, false, "PVC \"c\" is not bound"),
            ("no volume", Ok(Some(claim_with("/spec/volumeName", json!("")))), false, false, "PVC \"c\" is not bound"),
            ("it goes", deleting(), false, false, "can't start pod because PVC \"c\" is being deleted"),
            ("it goes, and waits for this pod", deleting(), false, true, "v"),
            ("another's", owned("x"), true, false, "PVC \"c\" was not created for pod \"p\" (pod is not owner)"),
            ("its own", owned("u"), true, false, "v"),
        ];
        for (why, looked, ephemeral, runs, expected) in cases {
            let wanted = ClaimRef { volume: "data".into(), name: "c".into(), ephemeral };
            let got = usable(&pod(), &wanted, looked, runs);
            assert_eq!(got.map_or_else(|err| err.to_string(), |(_, volume)| volume), expected, "{why}");
        }
    }

    #[test]
    fn a_volume_is_had_when_it_says_so_too() {
        let volume = |uid: Option<&str>| {
            let spec = json!({"claimRef": uid.map(|uid| json!({"name": "c", "uid": uid}))});
            Ok(Some(Arc::new(serde_json::from_value(json!({"metadata": {"name": "v"}, "spec": spec})).unwrap())))
        };
        let cases = [
            ("both say so", volume(Some("claim")), ""),
            ("another's", volume(Some("x")), "persistentvolume \"v\" is bound to another claim than PVC \"c\""),
            ("nobody's", volume(None), "persistentvolume \"v\" is bound to another claim than PVC \"c\""),
            ("none", Ok(None), "persistentvolume \"v\", to which PVC \"c\" is bound, not found"),
            ("nobody answers", Err("away".to_owned()), "failed to fetch persistentvolume \"v\": away"),
        ];
        for (why, looked, expected) in cases {
            let got = bound(claim(), "v", looked);
            assert_eq!(got.err().map(|err| err.to_string()).unwrap_or_default(), expected, "{why}");
        }
    }
}
