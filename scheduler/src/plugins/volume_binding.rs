//! A pod goes where the volumes of its claims are, and where those that wait for it can get one.
//!
//! <https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode>

use std::sync::Arc;

use corten_api::node::selector;
use k8s_openapi::api::core::v1::NodeSelector;

use crate::framework::{Cycle, Filter, Hint, Plugin, Refusal};
use crate::pod::PodClass;
use crate::snapshot::event::Event;
use crate::snapshot::volumes::matching::Wants;
use crate::snapshot::{NodeInfo, Snapshot};

const CONFLICT: &str = "node(s) didn't match PersistentVolume's node affinity";
const NO_MATCH: &str = "node(s) didn't find available persistent volumes to bind";
const NO_VOLUME: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

#[derive(Debug)]
pub struct VolumeBinding;

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }
    fn is_local(&self) -> bool {
        false
    }
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Result<(), String> {
        let volumes = &cycle.snapshot.volumes;
        volumes.of_pod(cycle.class).find_map(|claim| volumes.unusable(&claim)).map_or(Ok(()), Err)
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        if cycle.class.claims.is_empty() {
            return None;
        }
        let volumes = &cycle.snapshot.volumes;
        let lacks = volumes.of_pod(cycle.class).any(|claim| claim.lacks_volume());
        let wanted = volumes.of_pod(cycle.class).filter_map(|claim| claim.volume?.nodes.as_ref()).collect();
        let wants = Arc::new(Wants::of(volumes, cycle.class));
        Some(Box::new(Having { wanted, lacks, wants }))
    }
    fn hint(&self, snapshot: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        match event {
            Event::NodeAdded(_) | Event::NodeUpdated { .. } => Hint::when(!class.claims.is_empty()),
            event => Hint::when(snapshot.volumes.concerns(class, event)),
        }
    }
}

#[derive(Clone)]
struct Having<'a> {
    /// Of the volumes that claims have and that are not on all nodes.
    wanted: Vec<&'a NodeSelector>,
    /// A volume that a claim has does not exist.
    lacks: bool,
    wants: Arc<Wants<'a>>,
}

impl Filter for Having<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        let label = |key: &str| node.spec.labels.get(key).map(String::as_str);
        let is_here = self.wanted.iter().all(|terms| selector::matches(terms, node.name(), label));
        let checks = [
            (is_here, CONFLICT),
            (self.wants.is_empty() || self.wants.plan(&node.spec).is_some(), NO_MATCH),
            (!self.lacks, NO_VOLUME),
        ];
        let mut reasons = checks.into_iter().filter(|(holds, _)| !holds).map(|(_, why)| why);
        let Some(first) = reasons.next() else { return Ok(()) };
        Err(Refusal { others: reasons.map(Into::into).collect(), ..Refusal::unresolvable(first) })
    }
    fn fork<'a>(&self) -> Box<dyn Filter + 'a>
    where
        Self: 'a,
    {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use corten_api::Key;
    use serde_json::{Value, json};

    use super::*;
    use crate::framework::Inclusion;
    use crate::snapshot::NodeId;
    use crate::snapshot::tests::node;
    use crate::snapshot::volumes::{Claim, Class, Volume};

    const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims";

    fn snapshot(claim: Option<Value>, volume: Option<Value>) -> Snapshot {
        let mut snapshot = Snapshot::new();
        snapshot.set_node(&node("n1", "1", "1Gi"));
        let claim = claim.map(|claim| Claim::of(&serde_json::from_value(claim).unwrap()));
        let volume = volume.map(|volume| Volume::of(&serde_json::from_value(volume).unwrap()));
        snapshot.volumes.set_claim(&Key::new("ns", "data"), claim.as_ref());
        snapshot.volumes.set_volume("v", volume.as_ref());
        snapshot.volumes.set_class("late", Some(&Class { waits: true, ..Class::default() }));
        snapshot
    }

    fn class() -> Arc<PodClass> {
        Arc::new(PodClass { namespace: "ns".into(), claims: vec!["data".into()], ..PodClass::default() })
    }

    #[test]
    fn a_pod_goes_where_the_volume_of_its_claim_is() {
        let claim = |phase: &str, class: &str| {
            let spec = json!({"volumeName": "v", "storageClassName": class});
            Some(json!({"metadata": {"name": "data"}, "spec": spec, "status": {"phase": phase}}))
        };
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Pending"}});
        let on = |node: &str| {
            let named = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
            let affinity = json!({"required": {"nodeSelectorTerms": [{"matchFields": named}]}});
            Some(json!({"metadata": {}, "spec": {"nodeAffinity": affinity}}))
        };
        let anywhere = || Some(json!({"metadata": {}, "spec": {}}));
        let late = |changes: Value| {
            let mut spec = json!({"storageClassName": "late", "resources": {"requests": {"storage": "1Gi"}}});
            spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            Some(json!({"metadata": {"name": "data"}, "spec": spec, "status": {"phase": "Pending"}}))
        };
        let free = |size: &str| {
            let spec = json!({"storageClassName": "late", "capacity": {"storage": size}});
            Some(json!({"metadata": {}, "spec": spec, "status": {"phase": "Available"}}))
        };
        let cases = [
            ("it is here", claim("Bound", ""), on("n1"), ""),
            ("it is anywhere", claim("Bound", ""), anywhere(), ""),
            ("it is elsewhere", claim("Bound", ""), on("n2"), CONFLICT),
            ("it does not exist", claim("Bound", ""), None, NO_VOLUME),
            ("no claim", None, anywhere(), "persistentvolumeclaim \"data\" not found"),
            ("it has none yet", claim("Pending", ""), anywhere(), UNBOUND),
            ("it waits for the pod, and there is one for it", late(json!({})), free("1Gi"), ""),
            ("it waits for the pod, and there is none", late(json!({})), free("500Mi"), NO_MATCH),
            ("it names its volume: others bind it", late(json!({"volumeName": "v"})), free("1Gi"), UNBOUND),
            ("it goes", Some(going), anywhere(), "persistentvolumeclaim \"data\" is being deleted"),
            (
                "its volume went",
                claim("Lost", ""),
                None,
                "persistentvolumeclaim \"data\" bound to non-existent persistentvolume \"v\"",
            ),
        ];
        for (why, claim, volume, expected) in cases {
            let (snapshot, class, inclusion) = (snapshot(claim, volume), class(), Inclusion::default());
            let cycle = Cycle { snapshot: &snapshot, class: &class, inclusion: &inclusion };
            let told = VolumeBinding.pre_filter(&cycle).err().or_else(|| {
                let refusal = VolumeBinding.filter(&cycle)?.check(snapshot.node(NodeId(0))).err()?;
                Some(refusal.reason.into_owned())
            });
            assert_eq!(told.unwrap_or_default(), expected, "{why}");
        }
    }

    #[test]
    fn a_pod_is_woken_by_its_own_claims_and_their_volumes() {
        let bound =
            json!({"metadata": {}, "spec": {"volumeName": "v", "storageClassName": "c"}, "status": {"phase": "Bound"}});
        let (snapshot, class) = (snapshot(Some(bound), None), class());
        let cases = [
            (Event::ClaimChanged(Key::new("ns", "data")), Hint::Queue),
            (Event::ClaimChanged(Key::new("ns", "other")), Hint::Skip),
            (Event::ClaimChanged(Key::new("elsewhere", "data")), Hint::Skip),
            (snapshot.volumes.changed("v", None), Hint::Queue),
            (snapshot.volumes.changed("w", None), Hint::Skip),
            (Event::StorageClassChanged("c".into()), Hint::Queue),
            (Event::StorageClassChanged("d".into()), Hint::Skip),
            (Event::NamespaceUpdated("ns".into()), Hint::Skip),
        ];
        for (event, expected) in cases {
            assert_eq!(VolumeBinding.hint(&snapshot, &class, &event), expected, "{event:?}");
        }
    }

    #[test]
    fn a_pod_is_woken_by_a_volume_of_its_claims_class_that_comes_or_goes() {
        let waiting =
            json!({"metadata": {"name": "data"}, "spec": {"storageClassName": "late"}, "status": {"phase": "Pending"}});
        let volume = |class: &str| {
            Volume::of(&serde_json::from_value(json!({"metadata": {}, "spec": {"storageClassName": class}})).unwrap())
        };
        let (late, other) = (volume("late"), volume("other"));
        let cases = [
            ("it comes", None, Some(&late), Hint::Queue),
            ("it goes: the claim may have been meant to have it, elsewhere", Some(&late), None, Hint::Queue),
            ("it leaves the class", Some(&late), Some(&other), Hint::Queue),
            ("it gets into the class", Some(&other), Some(&late), Hint::Queue),
            ("one of another class comes", None, Some(&other), Hint::Skip),
            ("one of another class goes", Some(&other), None, Hint::Skip),
        ];
        for (why, before, after, expected) in cases {
            let (mut snapshot, class) = (snapshot(Some(waiting.clone()), None), class());
            snapshot.volumes.set_volume("v", before);
            let event = snapshot.volumes.set_volume("v", after).unwrap();
            assert_eq!(VolumeBinding.hint(&snapshot, &class, &event), expected, "{why}");
        }
    }
}
