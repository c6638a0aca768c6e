//! A pod goes to a zone and region that its volumes have, as the labels of the volumes say. A node that says of neither where it
//! is may have any.

use crate::framework::{Cycle, Filter, Hint, Plugin, Refusal};
use crate::pod::PodClass;
use crate::snapshot::event::Event;
use crate::snapshot::volumes::{Volume, ZONE_LABELS};
use crate::snapshot::{NodeInfo, NodeSpec, Snapshot};

const CONFLICT: &str = "node(s) had no available volume zone";

#[derive(Debug)]
pub struct VolumeZone;

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }
    fn is_local(&self) -> bool {
        false
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let volumes = cycle.snapshot.volumes.of_pod(cycle.class).filter_map(|claim| claim.volume);
        let volumes: Vec<&Volume> = volumes.filter(|volume| !volume.zones.is_empty()).collect();
        (!volumes.is_empty()).then(|| Box::new(Zones { volumes }) as Box<dyn Filter + 'a>)
    }
    fn hint(&self, snapshot: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        match event {
            Event::NodeAdded(_) => Hint::when(!class.claims.is_empty()),
            Event::NodeUpdated { old, new } => Hint::when(!class.claims.is_empty() && places(old) != places(new)),
            event => Hint::when(snapshot.volumes.concerns(class, event)),
        }
    }
}

fn places(node: &NodeSpec) -> [Option<&String>; 4] {
    ZONE_LABELS.map(|label| node.labels.get(label))
}

#[derive(Clone)]
struct Zones<'a> {
    volumes: Vec<&'a Volume>,
}

impl Filter for Zones<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        let labels = &node.spec.labels;
        let is_anywhere = places(&node.spec).iter().all(Option::is_none);
        let has = |(label, zones): &(&str, Vec<String>)| {
            let value = labels.get(*label).or_else(|| labels.get(&label.replace("failure-domain.beta", "topology")));
            value.is_some_and(|value| zones.contains(value))
        };
        if is_anywhere || self.volumes.iter().flat_map(|volume| &volume.zones).all(has) {
            return Ok(());
        }
        Err(Refusal::unresolvable(CONFLICT))
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
    use std::sync::Arc;

    use corten_api::Key;
    use serde_json::json;

    use super::*;
    use crate::framework::Inclusion;
    use crate::snapshot::tests::labelled;
    use crate::snapshot::volumes::Claim;

    const ZONE: &str = "topology.kubernetes.io/zone";
    const REGION: &str = "topology.kubernetes.io/region";
    const OLD_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";

    type Labels<'a> = &'a [(&'a str, &'a str)];

    fn snapshot(labels: Labels<'_>) -> Snapshot {
        let labels: serde_json::Map<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        let volume = Volume::of(&serde_json::from_value(json!({"metadata": {"labels": labels}, "spec": {}})).unwrap());
        let mut snapshot = Snapshot::new();
        snapshot.volumes.set_volume("v", Some(&volume));
        let claim = Claim { volume: Some("v".into()), ..Claim::default() };
        snapshot.volumes.set_claim(&Key::new("ns", "data"), Some(&claim));
        snapshot
    }
    fn class() -> Arc<PodClass> {
        Arc::new(PodClass { namespace: "ns".into(), claims: vec!["data".into()], ..PodClass::default() })
    }

    #[test]
    fn a_pod_goes_to_a_zone_of_its_volume() {
        let cases: [(&str, Labels<'_>, Labels<'_>, bool); 9] = [
            ("the volume says nothing", &[], &[(ZONE, "a")], true),
            ("the node says nothing", &[(ZONE, "a")], &[], true),
            ("its zone", &[(ZONE, "a")], &[(ZONE, "a")], true),
            ("another", &[(ZONE, "a")], &[(ZONE, "b")], false),
            ("one of two", &[(ZONE, "a__b")], &[(ZONE, "b")], true),
            ("an empty one says nothing", &[(ZONE, "a__")], &[(ZONE, "b")], true),
            ("the zone, but not the region", &[(ZONE, "a"), (REGION, "r")], &[(ZONE, "a"), (REGION, "s")], false),
            ("the node says no zone", &[(ZONE, "a")], &[(REGION, "r")], false),
            ("by the name that it had before", &[(OLD_ZONE, "a")], &[(ZONE, "a")], true),
        ];
        for (why, of_volume, of_node, expected) in cases {
            let (mut snapshot, class, inclusion) = (snapshot(of_volume), class(), Inclusion::default());
            snapshot.set_node(&labelled("n1", of_node));
            let cycle = Cycle { snapshot: &snapshot, class: &class, inclusion: &inclusion };
            let node = snapshot.node_named("n1").unwrap();
            let told = VolumeZone.filter(&cycle).map_or(Ok(()), |filter| filter.check(node));
            assert_eq!(told, if expected { Ok(()) } else { Err(Refusal::unresolvable(CONFLICT)) }, "{why}");
        }
    }

    #[test]
    fn a_pod_is_woken_by_nodes_that_say_where_they_are() {
        let (mut snapshot, class) = (snapshot(&[(ZONE, "a")]), class());
        let mut spec = |labels: Labels<'_>| {
            snapshot.set_node(&labelled("n1", labels));
            snapshot.node_named("n1").unwrap().spec.clone()
        };
        let (other, moved, labelled) = (spec(&[(ZONE, "b")]), spec(&[(ZONE, "a")]), spec(&[(ZONE, "a"), ("x", "y")]));
        let cases = [
            (Event::NodeAdded(other.clone()), Hint::Queue),
            (Event::NodeUpdated { old: other, new: moved.clone() }, Hint::Queue),
            (Event::NodeUpdated { old: moved, new: labelled }, Hint::Skip),
            (snapshot.volumes.changed("v", None), Hint::Queue),
            (snapshot.volumes.changed("w", None), Hint::Skip),
        ];
        for (event, expected) in cases {
            assert_eq!(VolumeZone.hint(&snapshot, &class, &event), expected, "{event:?}");
        }
    }
}
