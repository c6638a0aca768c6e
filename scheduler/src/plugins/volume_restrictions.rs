//! A claim that one pod alone may use (`ReadWriteOncePod`) keeps others waiting, wherever they would go, until that pod is gone:
//! a more urgent one may take its place.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes>

use corten_api::Key;

use crate::framework::{Cycle, Filter, Hint, Other, Plugin, Refusal};
use crate::pod::PodClass;
use crate::snapshot::event::Event;
use crate::snapshot::{NodeId, NodeInfo, Snapshot};

const IN_USE: &str =
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";

#[derive(Debug)]
pub struct VolumeRestrictions;

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }
    fn is_local(&self) -> bool {
        false
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let snapshot = cycle.snapshot;
        let for_one_pod =
            snapshot.volumes.of_pod(cycle.class).filter(|claim| claim.claim.is_some_and(|claim| claim.is_for_one_pod));
        let claims: Vec<Key> = for_one_pod.map(|claim| claim.key).collect();
        let users = claims.iter().map(|key| snapshot.users_of_claim(key)).sum();
        (!claims.is_empty()).then(|| Box::new(InUse { claims, users }) as Box<dyn Filter + 'a>)
    }
    fn hint(&self, snapshot: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        match event {
            Event::PodRemoved(gone) => Hint::when(
                gone.class.namespace == class.namespace && gone.class.claims.iter().any(|c| class.claims.contains(c)),
            ),
            Event::ClaimChanged(_) => Hint::when(snapshot.volumes.concerns(class, event)),
            _ => Hint::Skip,
        }
    }
}

#[derive(Clone)]
struct InUse {
    /// Those that one pod alone may use.
    claims: Vec<Key>,
    /// How often others use them.
    users: usize,
}

impl InUse {
    fn used_by(&self, other: &PodClass) -> usize {
        other.claim_keys().filter(|key| self.claims.contains(key)).count()
    }
}

impl Filter for InUse {
    fn check(&self, _: &NodeInfo) -> Result<(), Refusal> {
        if self.users > 0 { Err(Refusal::resolvable(IN_USE)) } else { Ok(()) }
    }
    fn add(&mut self, other: Other<'_>, _: NodeId) {
        self.users += self.used_by(other.class);
    }
    fn remove(&mut self, other: Other<'_>, _: NodeId) {
        self.users = self.users.saturating_sub(self.used_by(other.class));
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
    use super::*;
    use crate::cycle::view::Views;
    use crate::cycle::{Decision, decide};
    use crate::pod::PodInfo;
    use crate::profile::Profile;
    use crate::snapshot::event::AssignedPod;
    use crate::snapshot::tests::{node, of_class};
    use crate::snapshot::volumes::{Claim, Volume};

    fn using(name: &str, node: &str, priority: i32, claims: &[&str]) -> PodInfo {
        let claims = claims.iter().map(|name| (*name).to_owned()).collect();
        of_class(name, node, PodClass { priority, claims, ..PodClass::default() })
    }

    #[test]
    fn a_claim_for_one_pod_is_used_by_one() {
        let mut snapshot = Snapshot::new();
        ["n1", "n2"].iter().for_each(|name| drop(snapshot.set_node(&node(name, "4", "8Gi"))));
        snapshot.volumes.set_volume("v", Some(&Volume::default()));
        for (name, is_for_one_pod) in [("once", true), ("shared", false)] {
            let claim = Claim { volume: Some("v".into()), is_for_one_pod, ..Claim::default() };
            snapshot.volumes.set_claim(&Key::new("default", name), Some(&claim));
        }
        let told = |snapshot: &mut Snapshot, pod: &PodInfo| match decide(
            (0, &Profile::default()),
            snapshot,
            &mut Views::default(),
            pod,
            0,
        ) {
            Decision::Place { .. } => "placed".to_owned(),
            Decision::Nominate { node, victims, .. } => format!("{node} without {}", victims[0].key.name),
            Decision::Refuse { why, .. } => why.split(" preemption:").next().unwrap().to_owned(),
        };
        let waits = format!("0/2 nodes are available: 2 {IN_USE}.");
        let (first, other) = (using("first", "n1", 1, &["once", "shared", "once"]), using("b", "", 1, &["once"]));
        assert_eq!(told(&mut snapshot, &other), "placed", "nobody has it");
        snapshot.set_pod(&first);
        assert_eq!(told(&mut snapshot, &using("a", "", 1, &["shared"])), "placed", "it is for all");
        assert_eq!(told(&mut snapshot, &other), waits);
        assert_eq!(told(&mut snapshot, &using("c", "", 9, &["once"])), "n1 without first", "the more urgent one");
        let elsewhere = PodClass { namespace: "else".into(), ..(*first.class).clone() };
        let same_name = PodInfo { key: Key::new("else", "x"), class: elsewhere.into(), ..using("x", "n2", 1, &[]) };
        snapshot.set_pod(&same_name);
        snapshot.remove_pod(&first.key);
        assert_eq!(told(&mut snapshot, &other), "placed", "it is free again, and another's is another");
    }

    #[test]
    fn a_pod_is_woken_when_its_claim_is_free() {
        let snapshot = Snapshot::new();
        let waits = using("a", "", 1, &["once"]);
        let gone = |pod: PodInfo| Event::PodRemoved(AssignedPod { class: pod.class, node: Default::default() });
        let cases = [
            (gone(using("b", "n1", 1, &["x", "once"])), Hint::Queue),
            (gone(using("b", "n1", 1, &["x"])), Hint::Skip),
            (Event::ClaimChanged(Key::new("default", "once")), Hint::Queue),
            (Event::ClaimChanged(Key::new("else", "once")), Hint::Skip),
            (Event::NodeAdded(Default::default()), Hint::Skip),
        ];
        for (event, expected) in cases {
            assert_eq!(VolumeRestrictions.hint(&snapshot, &waits.class, &event), expected, "{event:?}");
        }
    }
}
