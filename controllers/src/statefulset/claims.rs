//! The claims of a StatefulSet's pods: how they are made, and whose they should be by its retention policy.
//!
//! What a policy deletes, the garbage collector deletes: a claim that goes with the StatefulSet is owned by it, one that goes
//! with a pod that is scaled away is owned by that pod.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention>

use std::sync::Arc;

use corten_api::k8s_openapi::Resource;
use corten_api::k8s_openapi::api::apps::v1::StatefulSet;
use corten_api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use corten_api::{ApiError, Object};

use super::identity::{self, claim_name};
use crate::pods::SeenPod;

const DELETE: &str = "Delete";

/// When claims go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub when_deleted: bool,
    pub when_scaled: bool,
}

impl Policy {
    pub fn of(set: &StatefulSet) -> Self {
        let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
        Self {
            when_deleted: policy.and_then(|p| p.when_deleted.as_deref()) == Some(DELETE),
            when_scaled: policy.and_then(|p| p.when_scaled.as_deref()) == Some(DELETE),
        }
    }
}

/// The pod of an ordinal, as far as its claims are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    pub set: &'a StatefulSet,
    pub ordinal: i32,
    /// Its name, and its uid; "": it is not there.
    pub pod: (&'a str, &'a str),
}

impl<'a> Holder<'a> {
    pub fn of(set: &'a StatefulSet, ordinal: i32, pod: &'a SeenPod) -> Self {
        Self { set, ordinal, pod: (&pod.key.name, &pod.uid) }
    }

    fn is_scaled_away(&self) -> bool {
        !identity::wanted(self.set).contains(&self.ordinal)
    }

    /// The owners of its claims that we have to do with: (the StatefulSet, the pod).
    fn wanted(&self) -> (bool, bool) {
        let policy = Policy::of(self.set);
        let goes_with_pod = policy.when_scaled && self.is_scaled_away();
        (policy.when_deleted && !goes_with_pod, goes_with_pod)
    }

    fn names_set(&self, owner: &OwnerReference) -> bool {
        owner.api_version == StatefulSet::API_VERSION
            && owner.kind == StatefulSet::KIND
            && owner.name == self.set.name()
    }
    fn names_pod(&self, owner: &OwnerReference) -> bool {
        owner.api_version == Pod::API_VERSION && owner.kind == Pod::KIND && owner.name == self.pod.0
    }
    /// It is of one that had this name before.
    fn is_stale(&self, owner: &OwnerReference) -> bool {
        self.names_set(owner) && owner.uid != self.set.uid() || self.names_pod(owner) && owner.uid != self.pod.1
    }
    fn is_ours(&self, owner: &OwnerReference) -> bool {
        owner.uid == self.set.uid() || owner.uid == self.pod.1
    }
}

/// What the owners of a claim say.
#[derive(Clone, Debug, PartialEq)]
pub enum Owners {
    /// They are as the policy wants them, or it is not ours to change them.
    Stay,
    Become(Vec<OwnerReference>),
}

/// Whose a claim should be.
pub fn owners(claim: &PersistentVolumeClaim, holder: &Holder<'_>) -> Owners {
    let have = claim.metadata.owner_references.as_deref().unwrap_or_default();
    // It belongs to a StatefulSet or pod before, and goes with them.
    if have.iter().any(|owner| holder.is_stale(owner)) {
        return Owners::Stay;
    }
    let kept = || have.iter().filter(|owner| !holder.names_set(owner) && !holder.names_pod(owner)).cloned();
    if has_another_controller(claim, holder) {
        // Another looks after it: it is to have no second one.
        let ours = have.iter().any(|owner| holder.is_ours(owner));
        return if ours { Owners::Become(kept().collect()) } else { Owners::Stay };
    }
    let (of_set, of_pod) = holder.wanted();
    let has = |uid: &str| have.iter().any(|owner| owner.uid == uid);
    let all_control = have.iter().filter(|owner| holder.is_ours(owner)).all(|owner| owner.controller == Some(true));
    if all_control && has(holder.set.uid()) == of_set && has(holder.pod.1) == of_pod {
        return Owners::Stay;
    }
    let set = of_set.then(|| holder.set.controller_reference());
    let pod = of_pod.then(|| pod_reference(holder));
    Owners::Become(kept().chain(set).chain(pod).collect())
}

/// Whether somebody else manages a claim that the policy wants to delete some time.
pub fn has_another_controller(claim: &PersistentVolumeClaim, holder: &Holder<'_>) -> bool {
    let policy = Policy::of(holder.set);
    let have = claim.metadata.owner_references.as_deref().unwrap_or_default();
    let others = |owner: &&OwnerReference| !holder.names_set(owner) && !holder.names_pod(owner);
    (policy.when_deleted || policy.when_scaled)
        && have.iter().filter(others).any(|owner| owner.controller == Some(true))
}

/// The claim is that of a pod of this name that was scaled away, and goes soon: a new pod must not begin with it.
pub fn is_going_with_a_pod_before(claim: &PersistentVolumeClaim, holder: &Holder<'_>) -> bool {
    let have = claim.metadata.owner_references.as_deref().unwrap_or_default();
    Policy::of(holder.set).when_scaled && have.iter().any(|owner| holder.names_pod(owner) && owner.uid != holder.pod.1)
}

fn pod_reference(holder: &Holder<'_>) -> OwnerReference {
    let (name, uid) = holder.pod;
    OwnerReference {
        api_version: Pod::API_VERSION.into(),
        kind: Pod::KIND.into(),
        name: name.into(),
        uid: uid.into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// A claim that is to be made, as [`identity::NewPod`] is a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct NewClaim {
    pub set: Arc<StatefulSet>,
    /// Which of the set's templates it is made from.
    pub template: usize,
    pub ordinal: i32,
}

impl NewClaim {
    fn of(&self) -> Option<&PersistentVolumeClaim> {
        identity::claim_templates(&self.set).get(self.template)
    }
    pub fn name(&self) -> String {
        self.of().map(|template| claim_name(&self.set, template, self.ordinal)).unwrap_or_default()
    }
    pub fn claim(&self) -> Result<PersistentVolumeClaim, ApiError> {
        let template = self.of().ok_or_else(|| ApiError::internal("a claim of a template that there is not"))?;
        Ok(made(&self.set, template, self.ordinal))
    }
}

/// The claim of an ordinal, made from a claim template.
pub fn made(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> PersistentVolumeClaim {
    let mut labels = template.metadata.labels.clone().unwrap_or_default();
    labels.extend(set.spec.selector.match_labels.clone().unwrap_or_default());
    let goes_with_set = Policy::of(set).when_deleted;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(claim_name(set, template, ordinal)),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels).filter(|labels| !labels.is_empty()),
            annotations: template.metadata.annotations.clone(),
            finalizers: template.metadata.finalizers.clone(),
            owner_references: goes_with_set.then(|| vec![set.controller_reference()]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(when_deleted: &str, when_scaled: &str) -> StatefulSet {
        let template = json!({
            "metadata": {"name": "data", "labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"]},
            "status": {"phase": "Pending"},
        });
        let spec = json!({
            "replicas": 2, "selector": {"matchLabels": {"app": "db"}}, "template": {}, "volumeClaimTemplates": [template],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted, "whenScaled": when_scaled},
        });
        let meta = json!({"name": "db", "namespace": "ns", "uid": "set"});
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
    }

    fn owner(text: &str) -> OwnerReference {
        let (kind, uid) = text.split_once(' ').unwrap();
        let (api_version, name) = match kind {
            "StatefulSet" => ("apps/v1", "db"),
            "Pod" => ("v1", "db-1"),
            _ => ("example.com/v1", "x"),
        };
        OwnerReference {
            api_version: api_version.into(),
            kind: kind.into(),
            name: name.into(),
            uid: uid.trim_end_matches('-').into(),
            controller: (!uid.ends_with('-')).then_some(true),
            block_owner_deletion: Some(true),
        }
    }

    fn claim(owners: &[&str]) -> PersistentVolumeClaim {
        let owner_references = Some(owners.iter().map(|text| owner(text)).collect());
        let name = Some("data-db-1".into());
        let metadata = ObjectMeta { name, owner_references, ..ObjectMeta::default() };
        PersistentVolumeClaim { metadata, ..PersistentVolumeClaim::default() }
    }

    /// `-` after a uid: it is no controller. `=`: they stay.
    #[test]
    fn owners_table() {
        let (set_, pod) = ("StatefulSet set", "Pod pod");
        type Row<'a> = (&'a str, &'a str, &'a [&'a str], i32, &'a [&'a str]);
        // why, policy (whenDeleted whenScaled), owners, ordinal, expected
        let cases: &[Row<'_>] = &[
            ("kept: nobody's", "Retain Retain", &[], 1, &["="]),
            ("kept from now on: no more ours", "Retain Retain", &[set_], 1, &[]),
            ("kept from now on, of a pod", "Retain Retain", &[pod], 5, &[]),
            ("kept, and another's: as it is", "Retain Retain", &["App app"], 1, &["="]),
            ("goes with the set", "Delete Retain", &[], 1, &[set_]),
            ("goes with the set already", "Delete Retain", &[set_], 1, &["="]),
            ("goes with the set, not with its pod", "Delete Retain", &[pod], 5, &[set_]),
            ("goes when scaled: not yet", "Retain Delete", &[], 1, &["="]),
            ("goes when scaled: scaled", "Retain Delete", &[], 5, &[pod]),
            ("goes when scaled: and back", "Retain Delete", &[pod], 1, &[]),
            ("goes with both: the set's", "Delete Delete", &[], 1, &[set_]),
            ("goes with both: the pod's when scaled", "Delete Delete", &[set_], 5, &[pod]),
            ("goes with both: settled", "Delete Delete", &[pod], 5, &["="]),
            ("owners beside us stay", "Delete Retain", &["App app-"], 1, &["App app-", set_]),
            ("an owner that is no controller becomes one", "Delete Retain", &["StatefulSet set-"], 1, &[set_]),
            ("of a set before: left to go", "Delete Delete", &["StatefulSet old"], 1, &["="]),
            ("of a pod before: left to go", "Delete Delete", &["Pod old"], 1, &["="]),
            ("another manages it: not ours", "Delete Delete", &["App app"], 1, &["="]),
            ("another manages it: no more ours", "Delete Delete", &["App app", set_], 1, &["App app"]),
        ];
        for (why, policy, have, ordinal, expected) in cases {
            let (deleted, scaled) = policy.split_once(' ').unwrap();
            let set = set(deleted, scaled);
            let holder = Holder { set: &set, ordinal: *ordinal, pod: ("db-1", "pod") };
            let expected = match expected {
                ["="] => Owners::Stay,
                owners => Owners::Become(owners.iter().map(|text| owner(text)).collect()),
            };
            assert_eq!(owners(&claim(have), &holder), expected, "{why}");
        }
    }

    #[test]
    fn a_claim_of_a_pod_before_is_waited_for_where_scaling_deletes() {
        for (why, scaled, have, expected) in [
            ("of a pod before", "Delete", &["Pod old"][..], true),
            ("nobody's", "Delete", &[], false),
            ("the set's", "Delete", &["StatefulSet set"], false),
            ("kept when scaled", "Retain", &["Pod old"], false),
        ] {
            let set = set("Retain", scaled);
            let holder = Holder { set: &set, ordinal: 1, pod: ("db-1", "") };
            assert_eq!(is_going_with_a_pod_before(&claim(have), &holder), expected, "{why}");
        }
    }

    #[test]
    fn a_claim_is_made_with_the_labels_that_find_the_pods() {
        let set = set("Delete", "Retain");
        let made = made(&set, &identity::claim_templates(&set)[0], 3);
        assert_eq!((made.name(), made.namespace()), ("data-db-3", "ns"));
        assert_eq!((made.label("a"), made.label("app")), (Some("b"), Some("db")));
        assert!(made.is_controlled_by("set"), "it goes with its set from the beginning");
        assert!(made.status.is_none() && made.spec.is_some());
    }
}
