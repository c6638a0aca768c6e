//! The cluster as the scheduler sees it: nodes, what they have, what is taken. Kept up to date change by change.
//!
//! Resources are columns: each name has an index, and each node two short vectors (allocatable, taken), so that a fit
//! is a loop over numbers. Families of pods (one controller's) are counted by node for spreading.

use std::collections::{BTreeMap, HashMap};

use corten_api::pod::Amounts;
use corten_api::{Key, Object};
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::{HostPort, PodInfo, Takes};

/// The columns that every node has; extended resources follow as they are met.
pub const CPU: usize = 0;
pub const MEMORY: usize = 1;
pub const PODS: usize = 2;
const FIXED_COLUMNS: [&str; 3] = ["cpu", "memory", "pods"];

/// What scoring counts for a container that asks for nothing: upstream's defaults, so that such pods spread too.
const DEFAULT_CPU_MILLIS: i64 = 100;
const DEFAULT_MEMORY_BYTES: i64 = 200 << 20;

#[derive(Clone, Debug, PartialEq)]
pub struct NodeInfo {
    pub name: String,
    /// False while the Node object is unknown but pods that name it are.
    pub known: bool,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    /// By column; a column beyond the end is 0.
    pub allocatable: Vec<i64>,
    pub taken: Vec<i64>,
    /// cpu and memory as scoring counts them: with defaults for pods that ask for nothing.
    pub scored: [i64; 2],
    pub host_ports: Vec<HostPort>,
    /// Pods of each family.
    pub families: HashMap<String, u32>,
}

impl NodeInfo {
    fn empty(name: &str) -> Self {
        Self {
            name: name.into(),
            known: false,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            unschedulable: false,
            allocatable: Vec::new(),
            taken: Vec::new(),
            scored: [0; 2],
            host_ports: Vec::new(),
            families: HashMap::new(),
        }
    }
    pub fn free(&self, column: usize) -> i64 {
        let at = |list: &[i64]| list.get(column).copied().unwrap_or(0);
        at(&self.allocatable).saturating_sub(at(&self.taken))
    }
    fn has_pods(&self) -> bool {
        self.taken.get(PODS).is_some_and(|n| *n > 0)
    }
}

/// What changed for the better, as far as a waiting pod is concerned. A set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Helps(pub u8);

impl Helps {
    pub const NOTHING: Self = Self(0);
    pub const NODE_ADDED: Self = Self(1);
    pub const NODE_GREW: Self = Self(2);
    pub const NODE_LABELLED: Self = Self(4);
    pub const NODE_UNTAINTED: Self = Self(8);
    /// A pod is gone: its resources, its ports.
    pub const POD_GONE: Self = Self(16);

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[derive(Debug, Default)]
pub struct Snapshot {
    columns: Vec<String>,
    /// In order of name; a node's index holds until a node comes or goes.
    nodes: Vec<NodeInfo>,
    pods: HashMap<Key, Counted>,
}

#[derive(Debug)]
struct Counted {
    uid: String,
    node: String,
    takes: Takes,
    /// Decided by us, not seen in the cluster yet.
    assumed: bool,
}

impl Snapshot {
    pub fn new() -> Self {
        Self { columns: FIXED_COLUMNS.map(String::from).to_vec(), ..Self::default() }
    }

    /// The nodes that exist.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().filter(|n| n.known)
    }
    pub fn column_name(&self, column: usize) -> &str {
        &self.columns[column]
    }

    /// A pod's requests by column, with one of `pods`.
    pub fn by_column(&mut self, requests: &Amounts) -> Vec<(usize, i64)> {
        let mut list: Vec<(usize, i64)> = vec![(PODS, 1)];
        list.extend(requests.iter().filter(|(_, n)| **n > 0).map(|(name, n)| (self.column(name), *n)));
        list
    }

    /// Takes in a Node; says what about it could help a waiting pod.
    pub fn set_node(&mut self, node: &Node) -> Helps {
        let status = node.status.clone().unwrap_or_default();
        let mut allocatable = vec![0; self.columns.len()];
        for (name, amount) in corten_api::pod::amounts(status.allocatable.as_ref().or(status.capacity.as_ref())) {
            let column = self.column(&name);
            allocatable.resize(allocatable.len().max(column + 1), 0);
            allocatable[column] = amount;
        }
        let spec = node.spec.clone().unwrap_or_default();
        let info = self.node_mut(node.name());
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let taints = spec.taints.unwrap_or_default();
        let unschedulable = spec.unschedulable == Some(true);
        let helps = if !info.known {
            Helps::NODE_ADDED
        } else {
            let when = |yes: bool, what| if yes { what } else { Helps::NOTHING };
            let grew = allocatable.iter().enumerate().any(|(i, n)| *n > info.allocatable.get(i).copied().unwrap_or(0));
            when(grew, Helps::NODE_GREW)
                .and(when(info.labels != labels, Helps::NODE_LABELLED))
                .and(when(info.taints != taints || info.unschedulable && !unschedulable, Helps::NODE_UNTAINTED))
        };
        info.known = true;
        (info.labels, info.taints, info.unschedulable, info.allocatable) = (labels, taints, unschedulable, allocatable);
        helps
    }

    pub fn remove_node(&mut self, name: &str) {
        if let Ok(at) = self.find(name) {
            if self.nodes[at].has_pods() {
                // Its pods are still there: they count again if the node comes back.
                self.nodes[at].known = false;
            } else {
                self.nodes.remove(at);
            }
        }
    }

    /// Takes in a pod as the cluster shows it; says what about it could help a waiting pod.
    pub fn set_pod(&mut self, pod: &PodInfo) -> Helps {
        let place = pod.node.as_ref().filter(|_| !pod.terminal);
        match (place, self.pods.get(&pod.key)) {
            // What we assumed stands until the cluster shows the pod bound, or bind says that it failed.
            (None, Some(counted)) if counted.assumed && counted.uid == pod.uid && !pod.terminal => Helps::NOTHING,
            (Some(node), Some(c)) if c.node == *node && c.uid == pod.uid && c.takes == pod.takes => {
                if let Some(counted) = self.pods.get_mut(&pod.key) {
                    counted.assumed = false;
                }
                Helps::NOTHING
            }
            (Some(node), _) => {
                let helps = self.remove_pod(&pod.key);
                self.count(pod, node, false);
                helps
            }
            (None, _) => self.remove_pod(&pod.key),
        }
    }

    /// Counts a pod on the node that we have just chosen for it.
    pub fn assume(&mut self, pod: &PodInfo, node: &str) {
        self.remove_pod(&pod.key);
        self.count(pod, node, true);
    }

    /// Takes an assumption back; what the cluster has shown since stays.
    pub fn forget(&mut self, key: &Key, uid: &str) -> Helps {
        match self.pods.get(key) {
            Some(counted) if counted.assumed && counted.uid == uid => self.remove_pod(key),
            _ => Helps::NOTHING,
        }
    }

    pub fn is_assumed(&self, key: &Key, uid: &str) -> bool {
        self.pods.get(key).is_some_and(|c| c.assumed && c.uid == uid)
    }

    pub fn remove_pod(&mut self, key: &Key) -> Helps {
        let Some(counted) = self.pods.remove(key) else { return Helps::NOTHING };
        self.apply(&counted.node, &counted.takes, -1);
        if let Ok(at) = self.find(&counted.node)
            && !self.nodes[at].known
            && !self.nodes[at].has_pods()
        {
            self.nodes.remove(at);
        }
        Helps::POD_GONE
    }

    fn count(&mut self, pod: &PodInfo, node: &str, assumed: bool) {
        self.apply(node, &pod.takes, 1);
        let counted = Counted { uid: pod.uid.clone(), node: node.into(), takes: pod.takes.clone(), assumed };
        self.pods.insert(pod.key.clone(), counted);
    }

    fn apply(&mut self, node: &str, takes: &Takes, sign: i64) {
        let amounts = self.by_column(&takes.requests);
        let [cpu, memory] = scored(&takes.requests);
        let info = self.node_mut(node);
        for (column, amount) in amounts {
            info.taken.resize(info.taken.len().max(column + 1), 0);
            info.taken[column] += sign * amount;
        }
        info.scored[CPU] += sign * cpu;
        info.scored[MEMORY] += sign * memory;
        if sign > 0 {
            info.host_ports.extend(takes.host_ports.iter().cloned());
        } else {
            for port in &takes.host_ports {
                if let Some(at) = info.host_ports.iter().position(|p| p == port) {
                    info.host_ports.swap_remove(at);
                }
            }
        }
        if !takes.family.is_empty() {
            let members = info.families.entry(takes.family.clone()).or_default();
            *members = members.saturating_add_signed(if sign > 0 { 1 } else { -1 });
            if *members == 0 {
                info.families.remove(&takes.family);
            }
        }
    }

    fn column(&mut self, name: &str) -> usize {
        self.columns.iter().position(|c| c == name).unwrap_or_else(|| {
            self.columns.push(name.into());
            self.columns.len() - 1
        })
    }
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.nodes.binary_search_by(|n| n.name.as_str().cmp(name))
    }
    fn node_mut(&mut self, name: &str) -> &mut NodeInfo {
        let at = self.find(name).unwrap_or_else(|at| {
            self.nodes.insert(at, NodeInfo::empty(name));
            at
        });
        &mut self.nodes[at]
    }
}

/// cpu and memory of a pod as scoring counts them.
pub fn scored(requests: &Amounts) -> [i64; 2] {
    let or = |name: &str, default| requests.get(name).copied().filter(|n| *n > 0).unwrap_or(default);
    [or("cpu", DEFAULT_CPU_MILLIS), or("memory", DEFAULT_MEMORY_BYTES)]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::json;

    pub(crate) fn node(name: &str, cpu: &str, memory: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"}}}))
        .unwrap()
    }
    pub(crate) fn pod(name: &str, node: &str, cpu_millis: i64) -> PodInfo {
        PodInfo {
            key: Key::new("default", name),
            uid: format!("uid-{name}"),
            node: (!node.is_empty()).then(|| node.into()),
            takes: Takes { requests: [("cpu".to_owned(), cpu_millis)].into(), ..Takes::default() },
            ..PodInfo::default()
        }
    }
    fn free_cpu(snapshot: &Snapshot) -> Vec<i64> {
        snapshot.nodes().map(|n| n.free(CPU)).collect()
    }

    #[test]
    fn an_assumption_is_counted_once_however_it_ends() {
        let mut snapshot = Snapshot::new();
        assert_eq!(snapshot.set_node(&node("n1", "2", "1Gi")), Helps::NODE_ADDED);
        let pending = pod("a", "", 500);
        snapshot.assume(&pending, "n1");
        assert_eq!(free_cpu(&snapshot), [1500]);
        snapshot.set_pod(&pending);
        assert_eq!(free_cpu(&snapshot), [1500], "an old copy of the pod does not undo it");
        snapshot.set_pod(&pod("a", "n1", 500));
        assert_eq!(free_cpu(&snapshot), [1500], "confirmed");
        assert_eq!(snapshot.forget(&pending.key, &pending.uid), Helps::NOTHING, "a confirmed pod is not forgotten");
        assert_eq!(snapshot.remove_pod(&pending.key), Helps::POD_GONE);
        assert_eq!(free_cpu(&snapshot), [2000]);
    }

    #[test]
    fn pods_of_an_unknown_node_count_when_it_comes() {
        let mut snapshot = Snapshot::new();
        snapshot.set_pod(&pod("a", "n1", 500));
        assert_eq!(snapshot.nodes().count(), 0);
        snapshot.set_node(&node("n1", "2", "1Gi"));
        assert_eq!(free_cpu(&snapshot), [1500]);
        snapshot.remove_node("n1");
        assert_eq!(snapshot.nodes().count(), 0);
        snapshot.set_node(&node("n1", "1", "1Gi"));
        assert_eq!(free_cpu(&snapshot), [500]);
        snapshot.remove_pod(&Key::new("default", "a"));
        snapshot.remove_node("n1");
        assert!(snapshot.nodes.is_empty(), "no row is kept for a node that is gone and has no pods");
    }

    #[test]
    fn a_finished_pod_takes_nothing() {
        let mut snapshot = Snapshot::new();
        snapshot.set_node(&node("n1", "2", "1Gi"));
        snapshot.set_pod(&pod("a", "n1", 500));
        let done = PodInfo { terminal: true, ..pod("a", "n1", 500) };
        assert_eq!(snapshot.set_pod(&done), Helps::POD_GONE);
        assert_eq!(free_cpu(&snapshot), [2000]);
    }

    #[test]
    fn only_what_got_better_helps() {
        let mut snapshot = Snapshot::new();
        snapshot.set_node(&node("n1", "2", "1Gi"));
        assert_eq!(snapshot.set_node(&node("n1", "1", "1Gi")), Helps::NOTHING);
        assert_eq!(snapshot.set_node(&node("n1", "4", "1Gi")), Helps::NODE_GREW);
        let mut labelled = node("n1", "4", "1Gi");
        labelled.metadata.labels.get_or_insert_default().insert("disk".into(), "ssd".into());
        assert_eq!(snapshot.set_node(&labelled), Helps::NODE_LABELLED);
        let with = |spec: serde_json::Value| Node { spec: serde_json::from_value(spec).unwrap(), ..labelled.clone() };
        let taint = json!({"taints": [{"key": "x", "effect": "NoSchedule"}]});
        assert_eq!(snapshot.set_node(&with(taint)), Helps::NODE_UNTAINTED, "a taint that changes may be one less");
        assert_eq!(snapshot.set_node(&labelled), Helps::NODE_UNTAINTED);
        assert_eq!(snapshot.set_node(&with(json!({"unschedulable": true}))), Helps::NOTHING, "cordoned");
        assert_eq!(snapshot.set_node(&with(json!({"unschedulable": true}))), Helps::NOTHING, "still");
        assert_eq!(snapshot.set_node(&labelled), Helps::NODE_UNTAINTED, "uncordoned");
        let mut extended = labelled.clone();
        let status = extended.status.get_or_insert_default();
        status.allocatable.get_or_insert_default().insert("x/gpu".into(), Quantity("2".into()));
        assert_eq!(snapshot.set_node(&extended), Helps::NODE_GREW, "what it had none of");
        assert_eq!(snapshot.set_node(&extended), Helps::NOTHING);
        assert_eq!(snapshot.nodes().next().unwrap().free(3), 2);
        assert_eq!(snapshot.column_name(3), "x/gpu");
    }

    #[test]
    fn helps_are_sets() {
        let all = [Helps::NODE_ADDED, Helps::NODE_GREW, Helps::NODE_LABELLED, Helps::NODE_UNTAINTED, Helps::POD_GONE];
        for (i, one) in all.into_iter().enumerate() {
            assert!(one.meets(one) && !one.meets(Helps::NOTHING) && one.and(one) == one);
            for other in all.into_iter().skip(i + 1) {
                let both = one.and(other);
                assert!(both.meets(one) && both.meets(other) && !one.meets(other));
            }
        }
    }

    #[test]
    fn what_a_pod_takes_it_gives_back_when_it_moves_or_goes() {
        let mut snapshot = Snapshot::new();
        for name in ["n1", "n2"] {
            snapshot.set_node(&node(name, "2", "1Gi"));
        }
        let port = |port| HostPort { ip: String::new(), protocol: "TCP".into(), port };
        let mut a = pod("a", "n1", 500);
        a.takes.family = "rs".into();
        a.takes.requests.insert("memory".into(), 100);
        a.takes.requests.insert("x/gpu".into(), 2);
        a.takes.host_ports = vec![port(80)];
        let b = PodInfo {
            takes: Takes { family: "rs".into(), host_ports: vec![port(81)], ..Takes::default() },
            ..pod("b", "n1", 0)
        };
        let before: Vec<NodeInfo> = snapshot.nodes().cloned().collect();
        assert_eq!(snapshot.set_pod(&a), Helps::NOTHING, "a pod that comes helps nobody");
        assert_eq!(snapshot.set_pod(&b), Helps::NOTHING);
        let of = |snapshot: &Snapshot, at: usize| snapshot.nodes().nth(at).unwrap().clone();
        let n1 = of(&snapshot, 0);
        assert_eq!(n1.taken, [500, 100, 2, 2], "cpu, memory, pods, and a column for what is met later");
        assert_eq!(n1.free(3), -2, "which the node has none of");
        assert_eq!(n1.scored, [500 + DEFAULT_CPU_MILLIS, 100 + DEFAULT_MEMORY_BYTES]);
        assert_eq!((n1.host_ports, n1.families.get("rs")), (vec![port(80), port(81)], Some(&2)));

        assert_eq!(snapshot.set_pod(&a), Helps::NOTHING, "nothing new");
        assert_eq!(of(&snapshot, 0).taken, [500, 100, 2, 2]);
        let moved = PodInfo { node: Some("n2".into()), ..a.clone() };
        assert_eq!(snapshot.set_pod(&moved), Helps::POD_GONE, "its place is free");
        let (n1, n2) = (of(&snapshot, 0), of(&snapshot, 1));
        assert_eq!((n1.taken, n1.host_ports, n1.families.get("rs")), (vec![0, 0, 1, 0], vec![port(81)], Some(&1)));
        assert_eq!((n2.taken, n2.host_ports, n2.families.get("rs")), (vec![500, 100, 1, 2], vec![port(80)], Some(&1)));
        assert_eq!(n2.scored, [500, 100]);

        let smaller = PodInfo { takes: Takes::default(), ..moved.clone() };
        assert_eq!(snapshot.set_pod(&smaller), Helps::POD_GONE, "resized in place");
        assert_eq!(of(&snapshot, 1).taken, [0, 0, 1, 0]);
        let next = PodInfo { uid: "next".into(), ..smaller };
        assert_eq!(snapshot.set_pod(&next), Helps::POD_GONE, "another of its name");
        for name in ["a", "b"] {
            assert_eq!(snapshot.remove_pod(&Key::new("default", name)), Helps::POD_GONE);
            assert_eq!(snapshot.remove_pod(&Key::new("default", name)), Helps::NOTHING, "once");
        }
        for (now, before) in snapshot.nodes().zip(before) {
            let zero = NodeInfo { taken: before.taken.clone(), ..now.clone() };
            assert_eq!(zero, before);
            assert!(now.taken.iter().all(|n| *n == 0), "{now:?}");
        }
    }

    #[test]
    fn a_node_that_is_gone_is_kept_for_as_long_as_pods_name_it() {
        let mut snapshot = Snapshot::new();
        snapshot.set_node(&node("n1", "2", "1Gi"));
        snapshot.set_pod(&pod("a", "n1", 10));
        snapshot.set_pod(&pod("b", "n1", 10));
        snapshot.remove_node("n1");
        snapshot.remove_node("n9");
        let left = |snapshot: &Snapshot| (snapshot.nodes.len(), snapshot.nodes().count());
        assert_eq!(left(&snapshot), (1, 0));
        snapshot.remove_pod(&Key::new("default", "a"));
        assert_eq!(left(&snapshot), (1, 0), "one pod more");
        snapshot.remove_pod(&Key::new("default", "b"));
        assert_eq!(left(&snapshot), (0, 0));
        snapshot.set_node(&node("n1", "2", "1Gi"));
        snapshot.set_pod(&pod("a", "n1", 10));
        snapshot.remove_pod(&Key::new("default", "a"));
        assert_eq!(left(&snapshot), (1, 1), "one that is there stays without pods");
        snapshot.remove_node("n1");
        assert_eq!(left(&snapshot), (0, 0));
    }

    #[test]
    fn an_assumption_is_its_pods_own() {
        let mut snapshot = Snapshot::new();
        snapshot.set_node(&node("n1", "2", "1Gi"));
        let a = pod("a", "", 500);
        snapshot.assume(&a, "n1");
        assert!(snapshot.is_assumed(&a.key, &a.uid) && !snapshot.is_assumed(&a.key, "other"));
        assert_eq!(snapshot.forget(&a.key, "other"), Helps::NOTHING, "another of its name");
        assert_eq!(free_cpu(&snapshot), [1500]);
        assert_eq!(snapshot.forget(&a.key, &a.uid), Helps::POD_GONE);
        assert_eq!((free_cpu(&snapshot), snapshot.is_assumed(&a.key, &a.uid)), (vec![2000], false));
        snapshot.assume(&a, "n1");
        assert_eq!(snapshot.set_pod(&PodInfo { uid: "other".into(), ..a.clone() }), Helps::POD_GONE, "it was replaced");
        snapshot.assume(&a, "n1");
        assert_eq!(
            snapshot.set_pod(&PodInfo { terminal: true, ..a.clone() }),
            Helps::POD_GONE,
            "it ended without a node"
        );
        snapshot.assume(&a, "n1");
        snapshot.set_pod(&pod("a", "n1", 500));
        assert!(!snapshot.is_assumed(&a.key, &a.uid), "the cluster shows it bound");
        assert_eq!(snapshot.set_pod(&a), Helps::POD_GONE, "no assumption any more: what the cluster shows counts");
    }

    #[test]
    fn scoring_counts_a_default_for_what_is_not_asked() {
        let amounts = |list: &[(&str, i64)]| -> Amounts { list.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect() };
        assert_eq!(scored(&amounts(&[])), [DEFAULT_CPU_MILLIS, DEFAULT_MEMORY_BYTES]);
        assert_eq!(scored(&amounts(&[("cpu", 0), ("memory", 0)])), [DEFAULT_CPU_MILLIS, DEFAULT_MEMORY_BYTES]);
        assert_eq!(scored(&amounts(&[("cpu", 1), ("memory", 2)])), [1, 2]);
    }
}
