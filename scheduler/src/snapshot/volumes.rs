//! Claims, persistent volumes, and how many of them nodes can have, as far as they say where a pod may go.

pub mod assumed;
pub mod free;
pub mod matching;
pub mod of_pod;
pub mod offers;
pub mod progress;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use corten_api::{Key, Object as _};
use k8s_openapi::api::core::v1::{NodeSelector, PersistentVolume, PersistentVolumeClaim, TopologySelectorTerm};
use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver, StorageClass};

use super::event::Event;
use crate::pod::PodClass;
use assumed::Assumed;
use free::Free;
use offers::{Offer, Wanted};

const WAITS: &str = "WaitForFirstConsumer";
const ONCE: &str = "ReadWriteOncePod";
/// By which nodes and volumes say where they are, the older names first.
pub const ZONE_LABELS: [&str; 4] = [
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

/// What is kept of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The volume that it has.
    pub volume: Option<String>,
    pub deleting: bool,
    /// Its volume is gone for good; holds the name that it had.
    pub lost: Option<String>,
    pub class: String,
    /// One pod alone may use it at a time.
    pub is_for_one_pod: bool,
    /// What it asks for while it has no volume.
    pub wanted: Option<Box<Wanted>>,
}

impl Claim {
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let spec = claim.spec.as_ref();
        let named = spec.and_then(|spec| spec.volume_name.clone()).filter(|name| !name.is_empty());
        Self {
            volume: named.clone().filter(|_| phase == "Bound"),
            deleting: claim.is_deleting(),
            lost: named.filter(|_| phase == "Lost"),
            class: offers::class_of(claim),
            wanted: (!matches!(phase, "Bound" | "Lost")).then(|| Box::new(Wanted::of(claim))),
            is_for_one_pod: spec
                .and_then(|spec| spec.access_modes.as_ref())
                .is_some_and(|m| m.iter().any(|m| m == ONCE)),
        }
    }
}

/// What is kept of a persistent volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    /// The nodes that it can be had on; `None`: any.
    pub nodes: Option<NodeSelector>,
    /// The zones and regions that it is in: labels of nodes, each with the values that will do.
    pub zones: Vec<(&'static str, Vec<String>)>,
    /// Its CSI driver, and what that calls it.
    pub csi: Option<(String, String)>,
    pub offer: Offer,
}

impl Volume {
    pub fn of(volume: &PersistentVolume) -> Self {
        let spec = volume.spec.as_ref();
        let affinity = spec.and_then(|spec| spec.node_affinity.as_ref());
        let csi = spec.and_then(|spec| spec.csi.as_ref()).map(|csi| (csi.driver.clone(), csi.volume_handle.clone()));
        let labels = volume.metadata.labels.as_ref();
        let zones = ZONE_LABELS.iter().filter_map(|label| Some((*label, zones(labels?.get(*label)?)?)));
        let nodes = affinity.and_then(|affinity| affinity.required.clone());
        Self { nodes, zones: zones.collect(), csi, offer: Offer::of(volume) }
    }
}

/// The zones of a label such as `a__b`; one that names an empty zone says nothing.
fn zones(value: &str) -> Option<Vec<String>> {
    let zones: Vec<String> = value.split("__").map(|zone| zone.trim().to_owned()).collect();
    zones.iter().all(|zone| !zone.is_empty()).then_some(zones)
}

/// What is kept of a StorageClass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Its claims wait until a pod wants them.
    pub waits: bool,
    /// The driver that makes its volumes.
    pub provisioner: String,
    /// Where it does: labels of nodes with the values that will do, all of one of these lists; empty: anywhere.
    pub topologies: Vec<Vec<(String, Vec<String>)>>,
}

impl Class {
    pub fn of(class: &StorageClass) -> Self {
        let waits = class.volume_binding_mode.as_deref() == Some(WAITS);
        let terms = class.allowed_topologies.iter().flatten();
        let labels = |term: &TopologySelectorTerm| {
            let expressions = term.match_label_expressions.iter().flatten();
            expressions.map(|expression| (expression.key.clone(), expression.values.clone())).collect()
        };
        Self { waits, provisioner: class.provisioner.clone(), topologies: terms.map(labels).collect() }
    }
}

/// How many volumes of each CSI driver a node can have; of one that is not named, any number.
pub type Limits = BTreeMap<String, i64>;

pub fn limits(node: &CSINode) -> Limits {
    let limit = |driver: &CSINodeDriver| {
        let count = driver.allocatable.as_ref()?.count?;
        Some((driver.name.clone(), count.into()))
    };
    node.spec.drivers.iter().filter_map(limit).collect()
}

/// Bounded by what exists.
#[derive(Debug, Default)]
pub struct Volumes {
    claims: HashMap<Key, Claim>,
    volumes: HashMap<String, Volume>,
    classes: HashMap<String, Class>,
    /// By node.
    limits: HashMap<String, Limits>,
    /// The volumes that are nobody's.
    free: Free,
    /// The others, by the claim that they name.
    meant: HashMap<Key, BTreeSet<String>>,
    pub assumed: Assumed,
}

impl Volumes {
    pub fn claim(&self, namespace: &str, name: &str) -> Option<&Claim> {
        self.claims.get(&Key::new(namespace, name))
    }
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.get(name)
    }
    /// With its name as it is kept here.
    fn named(&self, name: &str) -> Option<(&str, &Volume)> {
        self.volumes.get_key_value(name).map(|(name, volume)| (name.as_str(), volume))
    }
    /// Whether an event is about a claim of pods of this class, or about what such a claim has.
    pub fn concerns(&self, class: &PodClass, event: &Event) -> bool {
        let any = |is_it: &dyn Fn(&Claim) -> bool| {
            class.claims.iter().filter_map(|name| self.claim(&class.namespace, name)).any(is_it)
        };
        match event {
            Event::ClaimChanged(key) => key.namespace == class.namespace && class.claims.contains(&key.name),
            // One without a volume may take it, or get another now that it is gone.
            Event::VolumeChanged { name, classes } => any(&|claim| match &claim.volume {
                Some(volume) => volume == name,
                None => classes.contains(&claim.class),
            }),
            Event::StorageClassChanged(name) => any(&|claim| claim.class == *name),
            _ => false,
        }
    }
    pub fn waits(&self, class: &str) -> bool {
        self.classes.get(class).is_some_and(|class| class.waits)
    }
    /// The limits of a node, if its drivers have told any.
    pub fn limits(&self, node: &str) -> Option<&Limits> {
        self.limits.get(node).filter(|limits| !limits.is_empty())
    }
    /// Takes in a claim; `None`: it is gone.
    pub fn set_claim(&mut self, key: &Key, claim: Option<&Claim>) -> Option<Event> {
        set(&mut self.claims, key, claim).then(|| Event::ClaimChanged(key.clone()))
    }
    pub fn set_volume(&mut self, name: &str, volume: Option<&Volume>) -> Option<Event> {
        let old = self.volumes.get(name).cloned();
        if let Some(old) = &old {
            match &old.offer.claim {
                Some((claim, _)) => unlist(&mut self.meant, claim, name),
                None => self.free.remove(name, old),
            }
        }
        if let Some(new) = volume {
            match &new.offer.claim {
                Some((claim, _)) => {
                    self.meant.entry(claim.clone()).or_default().insert(name.to_owned());
                }
                None => self.free.insert(name, new),
            }
        }
        set(&mut self.volumes, &name.to_owned(), volume).then(|| self.changed(name, old.as_ref()))
    }
    /// That a volume is another than it was, or somebody else's to have. `old`: as it was before.
    pub fn changed(&self, name: &str, old: Option<&Volume>) -> Event {
        let both = old.into_iter().chain(self.volumes.get(name));
        let mut classes: Vec<String> = both.map(|volume| volume.offer.class.clone()).collect();
        classes.dedup();
        Event::VolumeChanged { name: name.to_owned(), classes }
    }
    pub fn set_class(&mut self, name: &str, class: Option<&Class>) -> Option<Event> {
        set(&mut self.classes, &name.to_owned(), class).then(|| Event::StorageClassChanged(name.to_owned()))
    }
    pub fn set_limits(&mut self, node: &str, limits: Option<&Limits>) -> Option<Event> {
        let old = self.limits.get(node).cloned();
        let more =
            |(driver, limit): (&String, &i64)| old.as_ref().and_then(|old| old.get(driver)).unwrap_or(&0) < limit;
        // What was limited and is not any more can be had in any number.
        let is_free = |driver: &String| limits.is_none_or(|new| !new.contains_key(driver));
        let grew = limits.into_iter().flatten().any(more) || old.iter().flat_map(BTreeMap::keys).any(is_free);
        set(&mut self.limits, &node.to_owned(), limits).then_some(Event::VolumeLimitsChanged { grew })
    }
}

fn unlist<K: Eq + std::hash::Hash>(lists: &mut HashMap<K, BTreeSet<String>>, key: &K, name: &str) {
    if let Some(names) = lists.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            lists.remove(key);
        }
    }
}

/// Whether anything changed.
fn set<K: Clone + Eq + std::hash::Hash, V: Clone + PartialEq>(
    all: &mut HashMap<K, V>,
    key: &K,
    new: Option<&V>,
) -> bool {
    if all.get(key) == new {
        return false;
    }
    match new {
        Some(new) => drop(all.insert(key.clone(), new.clone())),
        None => drop(all.remove(key)),
    }
    true
}
