//! Which domain each node is in, by the labels that pods spread over or keep near: a zone, a rack, the node itself.

use std::collections::HashMap;

use super::node::{NodeId, NodeInfo};

/// Label keys by which nodes are divided. Beyond it all are forgotten, and read again as they are asked for.
const TOPOLOGIES_MAX: usize = 256;

/// The nodes that have no such label are in no domain.
pub const NO_DOMAIN: u32 = 0;

#[derive(Debug, Default)]
pub struct Topologies {
    by_key: HashMap<String, Topology>,
}

/// One label key: its values have numbers from 1 on.
#[derive(Debug)]
pub struct Topology {
    values: HashMap<String, u32>,
    /// Nodes of each domain; a number without nodes is given again.
    nodes: Vec<u32>,
    free: Vec<u32>,
    of_node: Vec<u32>,
}

impl Topology {
    fn new() -> Self {
        Self { values: HashMap::new(), nodes: vec![0], free: Vec::new(), of_node: Vec::new() }
    }
    /// The domain of a node, or [`NO_DOMAIN`].
    pub fn domain(&self, node: NodeId) -> u32 {
        self.of_node.get(node.at()).copied().unwrap_or(NO_DOMAIN)
    }
    /// One more than the largest number of a domain.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
    /// Sums what is counted by node for each domain.
    pub fn sum(&self, by_node: &[u32]) -> Vec<i64> {
        let mut sums = vec![0; self.len()];
        for (domain, count) in self.of_node.iter().zip(by_node) {
            sums[*domain as usize] += i64::from(*count);
        }
        sums[NO_DOMAIN as usize] = 0;
        sums
    }

    fn set(&mut self, node: NodeId, value: Option<&str>) {
        let old = self.domain(node);
        let is_same = value.is_some_and(|v| self.values.get(v) == Some(&old)) || value.is_none() && old == NO_DOMAIN;
        if is_same {
            return;
        }
        if old != NO_DOMAIN {
            self.nodes[old as usize] -= 1;
            if self.nodes[old as usize] == 0 {
                self.values.retain(|_, domain| *domain != old);
                self.free.push(old);
            }
        }
        let domain = value.map_or(NO_DOMAIN, |v| self.number(v));
        if domain != NO_DOMAIN {
            self.nodes[domain as usize] += 1;
        }
        self.of_node.resize(self.of_node.len().max(node.at() + 1), NO_DOMAIN);
        self.of_node[node.at()] = domain;
    }

    fn number(&mut self, value: &str) -> u32 {
        if let Some(known) = self.values.get(value) {
            return *known;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(0);
            u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
        });
        self.values.insert(value.into(), number);
        number
    }
}

impl Topologies {
    pub fn get(&self, key: &str) -> Option<&Topology> {
        self.by_key.get(key)
    }
    /// As `get`, with the key as it is kept here.
    pub fn get_with_key(&self, key: &str) -> Option<(&str, &Topology)> {
        self.by_key.get_key_value(key).map(|(key, topology)| (key.as_str(), topology))
    }
    /// Keeps nodes divided by this label from now on.
    pub(super) fn register(&mut self, key: &str, nodes: &[NodeInfo]) {
        if self.by_key.contains_key(key) {
            return;
        }
        let mut topology = Topology::new();
        for node in nodes.iter().filter(|n| n.known) {
            topology.set(node.id, node.spec.labels.get(key).map(String::as_str));
        }
        self.by_key.insert(key.into(), topology);
    }
    pub(super) fn node_changed(&mut self, node: &NodeInfo) {
        for (key, topology) in &mut self.by_key {
            topology.set(node.id, node.spec.labels.get(key).filter(|_| node.known).map(String::as_str));
        }
    }
    /// Call between decisions, never within one.
    pub(super) fn shrink(&mut self) {
        if self.by_key.len() > TOPOLOGIES_MAX {
            self.by_key.clear();
        }
    }
}
