//! Who a pod of a StatefulSet is: its ordinal, its name, its labels, its volumes; and the pod that is made for an ordinal.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#pod-identity>

use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::apps::v1::StatefulSet;
use corten_api::k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::history::REVISION_LABEL;
use crate::pods::SeenPod;

pub const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
pub const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The name of the StatefulSet that a pod of this name may belong to, and its ordinal. Exactly the names that are given: one
/// with a leading zero would be a second pod of its ordinal.
pub fn parent_and_ordinal(pod: &str) -> Option<(&str, i32)> {
    let (parent, digits) = pod.rsplit_once('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    (!parent.is_empty() && ordinal.to_string() == digits).then_some((parent, ordinal))
}

/// The ordinal of a pod of this StatefulSet; `None`: a pod of this name is none of its pods.
pub fn ordinal_of(set: &StatefulSet, pod: &str) -> Option<i32> {
    parent_and_ordinal(pod).filter(|(parent, _)| *parent == set.name()).map(|(_, ordinal)| ordinal)
}

pub fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.name())
}

/// The first ordinal.
pub fn start(set: &StatefulSet) -> i32 {
    set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
}

/// The ordinals that are wanted. They end where a pod's number would no longer be one.
pub fn wanted(set: &StatefulSet) -> std::ops::Range<i32> {
    let start = start(set);
    start..start.saturating_add(set.spec.replicas.unwrap_or(1).max(0))
}

/// The templates of claims that each of its pods has.
pub fn claim_templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.volume_claim_templates.as_deref().unwrap_or_default()
}

pub fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", template.name(), set.name())
}

/// Every way to read a claim's name as one that a StatefulSet gave: (claim template, StatefulSet). There are as many as the
/// name has dashes.
pub fn givers(claim: &str) -> impl Iterator<Item = (&str, &str)> {
    let given = parent_and_ordinal(claim).map(|(given, _)| given);
    given.into_iter().flat_map(|given| given.match_indices('-').map(move |(at, _)| (&given[..at], &given[at + 1..])))
}

/// Whether the pod has the labels that say who it is.
pub fn is_labelled(pod: &SeenPod) -> bool {
    pod.labels.get(POD_NAME_LABEL) == Some(&pod.key.name)
}

/// Whether the pod has the claims of its ordinal. Volumes cannot be added to a pod.
pub fn has_claims(set: &StatefulSet, pod: &SeenPod, ordinal: i32) -> bool {
    claim_templates(set)
        .iter()
        .all(|template| pod.claims.iter().any(|had| !had.ephemeral && had.name == claim_name(set, template, ordinal)))
}

/// A pod that is to be made: what is known of it until it is sent. However many there are, their templates are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPod {
    pub set: Arc<StatefulSet>,
    /// What the revision keeps; `None`: what the set itself says.
    pub template: Option<Arc<PodTemplateSpec>>,
    /// The revision's name.
    pub revision: Arc<str>,
    pub ordinal: i32,
}

impl NewPod {
    pub fn name(&self) -> String {
        pod_name(&self.set, self.ordinal)
    }
    pub fn pod(&self) -> Pod {
        let template = self.template.as_deref().unwrap_or(&self.set.spec.template).clone();
        pod_of(&self.set, template, &self.revision, self.ordinal)
    }
}

/// The pod of this ordinal, made from `template`, which the revision of this name keeps.
pub fn pod_of(set: &StatefulSet, template: PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let name = pod_name(set, ordinal);
    let meta = template.metadata.unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(POD_NAME_LABEL.into(), name.clone());
    labels.insert(POD_INDEX_LABEL.into(), ordinal.to_string());
    labels.insert(REVISION_LABEL.into(), revision.into());
    let mut spec = template.spec.unwrap_or_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = set.spec.service_name.clone();
    let claims: Vec<Volume> = claim_templates(set).iter().map(|template| volume(set, template, ordinal)).collect();
    let mut own = spec.volumes.take().unwrap_or_default();
    own.retain(|volume| claims.iter().all(|claim| claim.name != volume.name));
    spec.volumes = Some(claims.into_iter().chain(own).collect()).filter(|volumes: &Vec<_>| !volumes.is_empty());
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            generate_name: Some(format!("{}-", set.name())),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![set.controller_reference()]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

fn volume(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> Volume {
    let claim_name = claim_name(set, template, ordinal);
    let source = PersistentVolumeClaimVolumeSource { claim_name, read_only: None };
    Volume { name: template.name().into(), persistent_volume_claim: Some(source), ..Volume::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(changes: &Value) -> StatefulSet {
        let mut spec = json!({
            "serviceName": "db", "selector": {}, "template": {},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}, {"metadata": {"name": "log"}}],
        });
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let meta = json!({"name": "db-a", "namespace": "ns", "uid": "me"});
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
    }

    #[test]
    fn names_table() {
        let cases = [
            ("db-a-0", Some(("db-a", 0)), Some(0)),
            ("db-a-17", Some(("db-a", 17)), Some(17)),
            ("db-7", Some(("db", 7)), None),
            ("db-a-07", None, None),
            ("db-a--1", Some(("db-a-", 1)), None),
            ("db-a-+1", None, None),
            ("db-a", None, None),
            ("-1", None, None),
            ("db-a-2147483648", None, None),
        ];
        for (name, expected, ordinal) in cases {
            assert_eq!(parent_and_ordinal(name), expected, "{name}");
            assert_eq!(ordinal_of(&set(&json!({})), name), ordinal, "{name}");
        }
    }

    #[test]
    fn wanted_table() {
        let cases = [
            ("one, where nobody says more", json!({}), 0..1),
            ("so many", json!({"replicas": 3}), 0..3),
            ("none", json!({"replicas": 0}), 0..0),
            ("from another start", json!({"replicas": 3, "ordinals": {"start": 5}}), 5..8),
            (
                "as far as numbers go",
                json!({"replicas": 9, "ordinals": {"start": i32::MAX - 1}}),
                i32::MAX - 1..i32::MAX,
            ),
        ];
        for (why, changes, expected) in cases {
            assert_eq!(wanted(&set(&changes)), expected, "{why}");
        }
    }

    #[test]
    fn a_claims_name_is_read_in_every_way() {
        let read: Vec<_> = givers("my-data-db-a-3").collect();
        assert_eq!(read, [("my", "data-db-a"), ("my-data", "db-a"), ("my-data-db", "a")]);
        assert_eq!(givers("data").count() + givers("data-3").count() + givers("data-db-x").count(), 0);
        let set = set(&json!({}));
        let name = claim_name(&set, &claim_templates(&set)[0], 3);
        assert_eq!(name, "data-db-a-3");
        assert!(givers(&name).any(|giver| giver == ("data", "db-a")));
    }

    #[test]
    fn a_pod_has_its_name_its_service_and_its_claims() {
        let template = json!({
            "metadata": {"labels": {"app": "db"}, "annotations": {"a": "b"}},
            "spec": {"containers": [], "hostname": "other", "volumes": [
                {"name": "log", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}},
            ]},
        });
        let set = set(&json!({}));
        let pod = pod_of(&set, serde_json::from_value(template).unwrap(), "db-a-1234", 3);
        assert_eq!((pod.name(), pod.namespace()), ("db-a-3", "ns"));
        let labels = [POD_NAME_LABEL, POD_INDEX_LABEL, REVISION_LABEL, "app"].map(|label| pod.label(label).unwrap());
        assert_eq!(labels, ["db-a-3", "3", "db-a-1234", "db"]);
        assert!(pod.is_controlled_by("me") && pod.annotation("a") == Some("b"));
        let spec = pod.spec.clone().unwrap();
        assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-a-3"), Some("db")));
        let volumes = spec.volumes.unwrap();
        let claimed = |v: &Volume| v.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
        let volumes: Vec<_> = volumes.iter().map(|v| (v.name.as_str(), claimed(v))).collect();
        let expected = [("data", Some("data-db-a-3")), ("log", Some("log-db-a-3")), ("scratch", None)];
        assert_eq!(volumes, expected.map(|(name, claim)| (name, claim.map(str::to_owned))));
        let seen = SeenPod::of(pod);
        assert!(is_labelled(&seen) && has_claims(&set, &seen, 3));
        assert!(!has_claims(&set, &seen, 4) && !has_claims(&set, &SeenPod::default(), 3));
    }
}
