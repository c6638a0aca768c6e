//! The cluster as the scheduler sees it: nodes, what they have, what is taken. Kept up to date change by change.
//!
//! Nodes have dense ids, and resources are columns: each node has two short vectors (allocatable, taken), so that a fit is a
//! loop over numbers. What pods are counted by (selectors, domains) is kept as they come and go: see [`counts`] and
//! [`topology`].

pub mod counts;
pub mod event;
pub mod images;
pub mod node;
pub mod nominations;
mod placed;
pub mod topology;
pub mod volumes;
pub mod workloads;
mod zones;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use corten_api::selector::{Labels, Selector};
use corten_api::{Key, Object};
use k8s_openapi::api::core::v1::Node;

use crate::pod::PodClass;
use counts::{Counted, Counts, Namespaces};
use event::Event;
use images::Images;
pub use node::{CPU, MEMORY, NodeId, NodeInfo, NodeSpec, PODS, PodId};
use nominations::Nominations;
pub use placed::PlacedPod;
use placed::{ClassEntry, PlacedPods};
use topology::Topologies;
use volumes::Volumes;
use workloads::Workloads;
use zones::Order;

const FIXED_COLUMNS: [&str; 3] = ["cpu", "memory", "pods"];
/// Changes of nodes that are remembered; who is further behind looks at all of them.
const CHANGES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub struct Snapshot {
    columns: HashMap<String, usize>,
    /// By id; ids that nobody has are in `free`.
    nodes: Vec<NodeInfo>,
    free: Vec<NodeId>,
    by_name: HashMap<String, NodeId>,
    known_nodes: usize,
    order: Order,
    pods: PlacedPods,
    classes: HashMap<Arc<PodClass>, ClassEntry>,
    counts: Counts,
    topologies: Topologies,
    images: Images,
    namespaces: Namespaces,
    pub workloads: Workloads,
    pub volumes: Volumes,
    pub budgets: BTreeMap<Key, Budget>,
    pub nominations: Nominations,
    changes: Changes,
}

/// What is kept of a PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub selector: Selector,
    pub disruptions_allowed: i64,
    /// Pods whose disruption is counted already.
    pub disrupted: HashSet<String>,
}

/// The last nodes that changed, in the order in which they did.
#[derive(Debug, Default)]
struct Changes {
    nodes: VecDeque<NodeId>,
    /// How many changes came before those that are kept.
    forgotten: u64,
}

impl Snapshot {
    pub fn new() -> Self {
        let columns = FIXED_COLUMNS.iter().enumerate().map(|(at, name)| ((*name).to_owned(), at)).collect();
        Self { columns, ..Self::default() }
    }

    /// The nodes that exist, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().filter(|n| n.known)
    }
    /// The nodes that exist, zone by zone in turn, as of the last [`Self::put_in_order`].
    pub fn in_turn(&self) -> &[NodeId] {
        self.order.nodes()
    }
    pub fn len(&self) -> usize {
        self.known_nodes
    }
    pub fn is_empty(&self) -> bool {
        self.known_nodes == 0
    }
    /// One more than the largest id.
    pub fn id_end(&self) -> usize {
        self.nodes.len()
    }
    pub fn node(&self, id: NodeId) -> &NodeInfo {
        &self.nodes[id.at()]
    }
    pub fn node_named(&self, name: &str) -> Option<&NodeInfo> {
        self.by_name.get(name).map(|id| self.node(*id)).filter(|n| n.known)
    }
    pub fn pod(&self, id: PodId) -> &PlacedPod {
        self.pods.get(id)
    }
    /// The column of a resource, if any node or placed pod has ever named it.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.get(name).copied()
    }
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
    pub fn topologies(&self) -> &Topologies {
        &self.topologies
    }
    pub fn images(&self) -> &Images {
        &self.images
    }
    pub fn namespace_labels(&self, namespace: &str) -> Option<&Labels> {
        self.namespaces.get(namespace)
    }
    /// What a class takes of its node by column, with one of `pods`, as far as any node could have it.
    pub fn amounts(&self, class: &PodClass) -> Vec<(usize, i64)> {
        let requests = class.ask.requests.iter();
        let known = requests.filter_map(|(name, amount)| Some((self.column(name)?, *amount)));
        std::iter::once((PODS, 1)).chain(known).collect()
    }

    /// How far the changes of nodes have come, for [`Self::changed_since`].
    pub fn changes_seen(&self) -> u64 {
        self.changes.forgotten + self.changes.nodes.len() as u64
    }
    /// The nodes that changed since, perhaps more than once each; `None`: too many to remember.
    pub fn changed_since(&self, seen: u64) -> Option<impl Iterator<Item = NodeId>> {
        let skip = usize::try_from(seen.checked_sub(self.changes.forgotten)?).ok()?;
        Some(self.changes.nodes.iter().skip(skip).copied())
    }
    fn note_change(&mut self, node: NodeId) {
        if self.changes.nodes.len() == CHANGES_MAX {
            self.changes.nodes.pop_front();
            self.changes.forgotten += 1;
        }
        self.changes.nodes.push_back(node);
    }

    /// Divides the nodes by a label from now on.
    pub fn register_topology(&mut self, key: &str) {
        self.topologies.register(key, &self.nodes);
    }

    /// Counts pods by node from now on.
    pub fn register_count(&mut self, counted: Counted) {
        if self.counts.has(&counted) {
            return;
        }
        let counted = self.counts.begin(counted);
        let mut matching: HashSet<*const PodClass> = HashSet::new();
        for (class, entry) in &mut self.classes {
            if Counts::tell(&mut entry.counts, class, &counted, &self.namespaces) {
                matching.insert(Arc::as_ptr(class));
            }
        }
        if matching.is_empty() {
            return;
        }
        for pod in self.pods.iter().filter(|p| matching.contains(&Arc::as_ptr(&p.class))) {
            if !(counted.living && pod.deleting) {
                self.counts.bump(&counted, pod.node, 1);
            }
        }
    }

    /// Forgets what was kept for decisions if it has become too much, and brings the nodes in order. Call between decisions.
    pub fn put_in_order(&mut self) {
        if self.order.is_stale() {
            self.order.renew(self.nodes.iter().filter(|node| node.known));
        }
        self.topologies.shrink();
        if self.counts.are_too_many(self.nodes.len()) {
            self.forget_counts(|_| true);
        }
    }
    fn forget_counts(&mut self, which: impl Fn(&Counted) -> bool) {
        if self.counts.is_counting() {
            self.counts.forget(&which);
            self.classes.values_mut().for_each(|entry| entry.counts.forget(&which));
        }
    }

    /// Takes in a namespace's labels; `None`: it is gone.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) -> Option<Event> {
        if self.namespaces.get(name) == labels.as_ref() {
            return None;
        }
        match labels {
            Some(labels) => drop(self.namespaces.insert(name.into(), labels)),
            None => drop(self.namespaces.remove(name)),
        }
        // They may count other namespaces' pods now.
        self.forget_counts(|counted| counted.selectors.iter().any(|s| s.named_namespaces().is_none()));
        Some(Event::NamespaceUpdated(name.into()))
    }

    /// Takes in a Node; says what happened.
    pub fn set_node(&mut self, node: &Node) -> Option<Event> {
        let spec = Arc::new(self.read_node(node));
        let id = self.id_of(node.name());
        let info = &mut self.nodes[id.at()];
        let old = std::mem::replace(&mut info.spec, Arc::clone(&spec));
        let was_known = std::mem::replace(&mut info.known, true);
        // The images of what was read before are counted; those of the new were counted as they were read.
        old.images.iter().for_each(|(image, _)| self.images.remove(*image));
        self.order.node_changed(was_known.then_some(&old.labels), Some(&spec.labels));
        if !was_known {
            self.known_nodes += 1;
        } else if old == spec {
            return None;
        }
        self.topologies.node_changed(&self.nodes[id.at()]);
        self.note_change(id);
        Some(if was_known { Event::NodeUpdated { old, new: spec } } else { Event::NodeAdded(spec) })
    }

    fn read_node(&mut self, node: &Node) -> NodeSpec {
        let status = node.status.as_ref();
        let listed = status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref()));
        let mut allocatable = vec![0; self.columns.len()];
        for (name, amount) in corten_api::pod::amounts(listed) {
            let column = self.register_column(&name);
            allocatable.resize(allocatable.len().max(column + 1), 0);
            allocatable[column] = amount;
        }
        while allocatable.len() > FIXED_COLUMNS.len() && allocatable.last() == Some(&0) {
            allocatable.pop();
        }
        let mut images = Vec::new();
        for image in status.into_iter().flat_map(|s| s.images.iter().flatten()) {
            let size = image.size_bytes.unwrap_or(0);
            images.extend(image.names.iter().flatten().map(|name| (self.images.add(name), size)));
        }
        images.sort_unstable();
        NodeSpec {
            name: node.name().into(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: corten_api::node::taints(node).to_vec(),
            unschedulable: node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true),
            allocatable,
            images,
        }
    }

    /// The node is gone. Its pods may still be there: they count again if it comes back.
    pub fn remove_node(&mut self, name: &str) -> Option<Event> {
        let id = *self.by_name.get(name)?;
        let info = &mut self.nodes[id.at()];
        if !std::mem::replace(&mut info.known, false) {
            return None;
        }
        self.known_nodes -= 1;
        let gone = NodeSpec { name: name.into(), ..NodeSpec::default() };
        let old = std::mem::replace(&mut info.spec, Arc::new(gone));
        old.images.iter().for_each(|(image, _)| self.images.remove(*image));
        self.order.node_changed(Some(&old.labels), None);
        self.topologies.node_changed(&self.nodes[id.at()]);
        self.note_change(id);
        self.free_if_unused(id);
        Some(Event::NodeRemoved(old))
    }

    fn register_column(&mut self, name: &str) -> usize {
        if let Some(column) = self.column(name) {
            return column;
        }
        let column = self.columns.len();
        self.columns.insert(name.into(), column);
        column
    }

    /// The id of a node, which it gets if it has none.
    fn id_of(&mut self, name: &str) -> NodeId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
            self.nodes.push(NodeInfo::empty(id, name));
            id
        });
        self.nodes[id.at()] = NodeInfo::empty(id, name);
        self.by_name.insert(name.into(), id);
        id
    }

    fn free_if_unused(&mut self, id: NodeId) {
        let info = &self.nodes[id.at()];
        if !info.known && info.pods.is_empty() {
            self.by_name.remove(info.name());
            self.free.push(id);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
