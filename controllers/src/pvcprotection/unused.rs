//! Since when no pod has wanted a claim: its condition `Unused`. Pure.

use corten_api::k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimCondition, PersistentVolumeClaimStatus,
};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::{Object, conditions};

use crate::pods::SeenPod;

const UNUSED: &str = "Unused";

/// A pod that has ended wants nothing any more; one that waits for a node does.
pub fn wants(pod: &SeenPod, claim: &PersistentVolumeClaim) -> bool {
    let is_over = pod.is_terminal() || pod.deleting.is_some() && pod.deletion_grace_secs == Some(0);
    let is_named =
        |name: &str, ephemeral: bool| name == claim.name() && (!ephemeral || claim.is_controlled_by(&pod.uid));
    !is_over && pod.claims.iter().any(|used| is_named(&used.name, used.ephemeral))
}

/// The status that says so. `None`: it is said already, or nothing is said of this claim: it has no volume yet, or goes.
pub fn told(claim: &PersistentVolumeClaim, is_wanted: bool, now: &Time) -> Option<PersistentVolumeClaimStatus> {
    let status = claim.status.as_ref().filter(|status| status.phase.as_deref() == Some("Bound"))?;
    let (is, reason, message) = match is_wanted {
        true => ("False", "PodUsingPVC", "A pod is currently referencing this PVC"),
        false => ("True", "NoPodsUsingPVC", "No pods are currently referencing this PVC"),
    };
    let had = conditions::find(status.conditions.as_ref(), UNUSED);
    if claim.is_deleting() || had.is_some_and(|had| had.status == is) {
        return None;
    }
    let condition = PersistentVolumeClaimCondition {
        type_: UNUSED.into(),
        status: is.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: None,
        last_transition_time: None,
    };
    let mut status = status.clone();
    conditions::set(status.conditions.get_or_insert_default(), condition, now);
    Some(status)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::pods::{Phase, UsedClaim};

    fn claim(meta: &Value, status: &Value) -> PersistentVolumeClaim {
        let mut all = json!({"name": "c", "namespace": "shop"});
        meta.as_object().unwrap().iter().for_each(|(field, value)| all[field] = value.clone());
        serde_json::from_value(json!({"metadata": all, "status": status})).unwrap()
    }

    #[test]
    fn wants_table() {
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p-uid", "controller": true});
        let claim = claim(&json!({"ownerReferences": [owner]}), &json!({}));
        let pod = |name: &str, ephemeral| SeenPod {
            uid: "p-uid".into(),
            claims: vec![UsedClaim { name: name.into(), ephemeral }],
            ..SeenPod::default()
        };
        let going = |grace: i64, pod| SeenPod {
            deleting: Some(Timestamp::UNIX_EPOCH),
            deletion_grace_secs: Some(grace),
            ..pod
        };
        for (why, pod, expected) in [
            ("waits for a node", pod("c", false), true),
            ("runs", SeenPod { phase: Phase::Running, node: Some("n".into()), ..pod("c", false) }, true),
            ("wants another", pod("d", false), false),
            ("has succeeded", SeenPod { phase: Phase::Succeeded, ..pod("c", false) }, false),
            ("has failed", SeenPod { phase: Phase::Failed, ..pod("c", false) }, false),
            ("ends", going(30, pod("c", false)), true),
            ("is shut down", going(0, pod("c", false)), false),
            ("has it for its own", pod("c", true), true),
            ("of its name before it", SeenPod { uid: "x".into(), ..pod("c", true) }, false),
        ] {
            assert_eq!(wants(&pod, &claim), expected, "{why}");
        }
    }

    #[test]
    fn told_table() {
        let at = |time: &str| Time(time.parse().unwrap());
        let (before, now) = (at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"));
        let unused = |status: &str| json!({"type": "Unused", "status": status, "lastTransitionTime": before});
        let resizing = json!({"type": "Resizing", "status": "True"});
        let bound = |conditions: Value| json!({"phase": "Bound", "conditions": conditions});
        let gone = json!({"deletionTimestamp": before});
        for (why, meta, status, is_wanted, expected) in [
            ("bound just now", json!({}), bound(json!([])), false, Some(("True", "NoPodsUsingPVC", &now))),
            ("a pod comes", json!({}), bound(json!([unused("True")])), true, Some(("False", "PodUsingPVC", &now))),
            (
                "the last pod goes",
                json!({}),
                bound(json!([unused("False")])),
                false,
                Some(("True", "NoPodsUsingPVC", &now)),
            ),
            ("said already", json!({}), bound(json!([unused("True")])), false, None),
            ("not bound", json!({}), json!({"phase": "Pending"}), false, None),
            ("it goes", gone, bound(json!([unused("False")])), false, None),
            ("beside others", json!({}), bound(json!([resizing])), false, Some(("True", "NoPodsUsingPVC", &now))),
        ] {
            let had = status["conditions"].as_array().map_or(0, Vec::len);
            let told = told(&claim(&meta, &status), is_wanted, &now);
            let said = told.as_ref().map(|status| {
                let said = conditions::find(status.conditions.as_ref(), UNUSED).unwrap();
                (&*said.status, said.reason.as_deref().unwrap(), said.last_transition_time.as_ref().unwrap())
            });
            assert_eq!(said, expected, "{why}");
            let left = told.and_then(|status| status.conditions).map_or(had, |all| all.len());
            assert!(left >= had, "{why}: others' conditions stay");
        }
    }
}
