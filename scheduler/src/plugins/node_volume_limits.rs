//! A node has no more volumes of a CSI driver than the driver can attach there, as the node's CSINode says.
//!
//! <https://kubernetes.io/docs/concepts/storage/storage-limits/>

use std::collections::{BTreeSet, HashMap};

use crate::framework::{Cycle, Filter, Hint, Other, Plugin, Refusal};
use crate::pod::PodClass;
use crate::snapshot::event::Event;
use crate::snapshot::volumes::Limits;
use crate::snapshot::{NodeId, NodeInfo, Snapshot};

const TOO_MANY: &str = "node(s) exceed max volume count";

#[derive(Debug)]
pub struct NodeVolumeLimits;

impl Plugin for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        "NodeVolumeLimits"
    }
    fn is_local(&self) -> bool {
        false
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let wanted = volumes(cycle.snapshot, cycle.class);
        let snapshot = cycle.snapshot;
        (!wanted.is_empty())
            .then(|| Box::new(Attaching { snapshot, wanted, others: HashMap::new() }) as Box<dyn Filter + 'a>)
    }
    fn hint(&self, snapshot: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        match event {
            Event::NodeAdded(_) => Hint::Queue,
            Event::VolumeLimitsChanged { grew } => Hint::when(*grew),
            Event::PodRemoved(gone) => Hint::when(!gone.class.claims.is_empty()),
            event => Hint::when(snapshot.volumes.concerns(class, event)),
        }
    }
}

/// A volume: its driver, and what that calls it.
type Volume = (String, String);

/// The volumes of drivers that pods of a class have, each once.
fn volumes(snapshot: &Snapshot, class: &PodClass) -> BTreeSet<Volume> {
    let found = snapshot.volumes.of_pod(class).filter_map(|claim| {
        let (driver, handle) = snapshot.volumes.csi(&claim)?;
        Some((driver.to_owned(), handle.into_owned()))
    });
    found.collect()
}

#[derive(Clone)]
struct Attaching<'a> {
    snapshot: &'a Snapshot,
    wanted: BTreeSet<Volume>,
    /// Those of pods that are thought of as being there.
    others: HashMap<NodeId, Vec<BTreeSet<Volume>>>,
}

impl Attaching<'_> {
    /// Whether there is room for the volumes that are not there yet.
    fn fits(&self, node: &NodeInfo, limits: &Limits) -> bool {
        let is_limited = |(driver, _): &&Volume| limits.contains_key(driver);
        if !self.wanted.iter().any(|volume| is_limited(&volume)) {
            return true;
        }
        let with_claims = node.pods.iter().map(|id| self.snapshot.pod(*id)).filter(|pod| !pod.class.claims.is_empty());
        let mut all: BTreeSet<Volume> = with_claims.flat_map(|pod| volumes(self.snapshot, &pod.class)).collect();
        all.extend(self.others.get(&node.id).into_iter().flatten().flatten().cloned());
        let is_new = |volume: &&Volume| is_limited(volume) && !all.contains(*volume);
        let new: Vec<&Volume> = self.wanted.iter().filter(is_new).collect();
        new.iter().all(|(driver, _)| {
            let of_driver = |volume: &&Volume| volume.0 == *driver;
            let count = all.iter().filter(of_driver).count() + new.iter().copied().filter(of_driver).count();
            limits.get(driver).is_none_or(|limit| i64::try_from(count).is_ok_and(|count| count <= *limit))
        })
    }
}

impl Filter for Attaching<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        match self.snapshot.volumes.limits(node.name()) {
            Some(limits) if !self.fits(node, limits) => Err(Refusal::resolvable(TOO_MANY)),
            _ => Ok(()),
        }
    }
    fn add(&mut self, other: Other<'_>, node: NodeId) {
        self.others.entry(node).or_default().push(volumes(self.snapshot, other.class));
    }
    fn remove(&mut self, other: Other<'_>, node: NodeId) {
        let volumes = volumes(self.snapshot, other.class);
        // A pod that is really there is in the node, and not among these.
        if let Some(others) = self.others.get_mut(&node)
            && let Some(at) = others.iter().position(|of| *of == volumes)
        {
            others.swap_remove(at);
        }
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
    use crate::pod::PodInfo;
    use crate::snapshot::event::AssignedPod;
    use crate::snapshot::tests::{node, of_class};
    use crate::snapshot::volumes::{self, Claim, Class};

    type Claims<'a> = &'a [&'a str];
    /// Why, what is wanted, the limit, what is there by pod, and whether there is room.
    type Case<'a> = (&'a str, Claims<'a>, Option<i64>, &'a [Claims<'a>], bool);

    fn using(name: &str, claims: Claims<'_>) -> PodInfo {
        let claims = claims.iter().map(|name| (*name).to_owned()).collect();
        of_class(name, "n1", PodClass { claims, ..PodClass::default() })
    }
    /// Claims `a` to `e` have volumes of the driver `d`, `x` one of another, `file` one of none, and `late` none yet.
    fn snapshot(limit: Option<i64>, there: &[Claims<'_>]) -> Snapshot {
        let mut snapshot = Snapshot::new();
        snapshot.set_node(&node("n1", "4", "8Gi"));
        let class = Class { waits: true, provisioner: "d".into(), ..Class::default() };
        snapshot.volumes.set_class("late", Some(&class));
        for name in ["a", "b", "c", "e", "x", "file", "late"] {
            let driver = if name == "x" { "other" } else { "d" };
            let spec = json!({"csi": {"driver": driver, "volumeHandle": format!("handle-{name}")}});
            let spec = if name == "file" { json!({}) } else { spec };
            let volume = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            snapshot.volumes.set_volume(name, Some(&volumes::Volume::of(&volume)));
            let bound = (name != "late").then(|| name.to_owned());
            let claim = Claim { volume: bound, class: "late".into(), ..Claim::default() };
            snapshot.volumes.set_claim(&Key::new("default", name), Some(&claim));
        }
        let count = limit.map_or(json!({}), |count| json!({"allocatable": {"count": count}}));
        let mut driver = json!({"name": "d", "nodeID": "n1", "topologyKeys": []});
        driver.as_object_mut().unwrap().extend(count.as_object().unwrap().clone());
        let csi_node =
            serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": {"drivers": [driver]}})).unwrap();
        snapshot.volumes.set_limits("n1", Some(&volumes::limits(&csi_node)));
        for (n, claims) in there.iter().enumerate() {
            snapshot.set_pod(&using(&format!("p{n}"), claims));
        }
        snapshot
    }

    #[test]
    fn limits_table() {
        let cases: [Case<'_>; 10] = [
            ("no claims", &[], Some(0), &[], true),
            ("nobody says a limit", &["a"], None, &[&["b"], &["c"]], true),
            ("there is room", &["a"], Some(2), &[&["b"]], true),
            ("there is none", &["a"], Some(1), &[&["b"]], false),
            ("room for one of two", &["a", "b"], Some(2), &[&["c"]], false),
            ("it is there already", &["a"], Some(1), &[&["a"]], true),
            ("two use one", &["c"], Some(2), &[&["a"], &["a"]], true),
            ("another driver", &["x"], Some(0), &[&["a"]], true),
            ("no driver's", &["file"], Some(0), &[], true),
            ("what its class will make", &["late"], Some(1), &[&["a"]], false),
        ];
        for (why, claims, limit, there, expected) in cases {
            let (snapshot, class, inclusion) =
                (snapshot(limit, there), using("new", claims).class, Inclusion::default());
            let cycle = Cycle { snapshot: &snapshot, class: &class, inclusion: &inclusion };
            let told = NodeVolumeLimits.filter(&cycle).map_or(Ok(()), |filter| filter.check(snapshot.node(NodeId(0))));
            assert_eq!(told, if expected { Ok(()) } else { Err(Refusal::resolvable(TOO_MANY)) }, "{why}");
        }
    }

    #[test]
    fn volumes_of_pods_that_are_thought_of_count() {
        let (snapshot, class, inclusion) = (snapshot(Some(1), &[]), using("new", &["a"]).class, Inclusion::default());
        let cycle = Cycle { snapshot: &snapshot, class: &class, inclusion: &inclusion };
        let mut filter = NodeVolumeLimits.filter(&cycle).unwrap();
        let nominated = using("nominated", &["b"]).class;
        let (other, id) = (Other { class: &nominated, deleting: false }, NodeId(0));
        filter.add(other, id);
        assert!(filter.fork().check(snapshot.node(id)).is_err());
        filter.remove(other, id);
        filter.remove(other, id);
        assert_eq!(filter.check(snapshot.node(id)), Ok(()));
    }

    #[test]
    fn a_pod_is_woken_when_a_node_can_have_more() {
        let mut snapshot = snapshot(Some(3), &[]);
        let mut limits = |limits: Option<&[(&str, i64)]>| {
            let limits = limits.map(|l| l.iter().map(|(driver, n)| ((*driver).to_owned(), *n)).collect::<Limits>());
            snapshot.volumes.set_limits("n1", limits.as_ref())
        };
        assert_eq!(limits(Some(&[("d", 3)])), None);
        let changed = |grew| Some(Event::VolumeLimitsChanged { grew });
        assert_eq!(limits(Some(&[("d", 2)])), changed(false));
        assert_eq!(limits(Some(&[("d", 2), ("other", 1)])), changed(true), "a driver more");
        assert_eq!(limits(Some(&[("d", 1), ("other", 2)])), changed(true));
        assert_eq!(limits(Some(&[("d", 1)])), changed(true), "nothing limits the other any more");
        assert_eq!(limits(None), changed(true));
        let gone =
            |claims: &[&str]| Event::PodRemoved(AssignedPod { class: using("x", claims).class, node: Arc::default() });
        let cases = [
            (Event::VolumeLimitsChanged { grew: true }, Hint::Queue),
            (Event::VolumeLimitsChanged { grew: false }, Hint::Skip),
            (gone(&["b"]), Hint::Queue),
            (gone(&[]), Hint::Skip),
            (Event::ClaimChanged(Key::new("default", "a")), Hint::Queue),
            (Event::ClaimChanged(Key::new("default", "b")), Hint::Skip),
        ];
        for (event, expected) in cases {
            assert_eq!(NodeVolumeLimits.hint(&snapshot, &using("new", &["a"]).class, &event), expected, "{event:?}");
        }
    }
}
