//! The order in which nodes are tried: zone by zone in turn, so that a search that stops early has seen nodes of all zones. Pure.

use std::collections::HashMap;

use corten_api::selector::Labels;

use super::node::{NodeId, NodeInfo};

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The nodes that exist and their order, which is found anew after nodes came, went or changed their zones.
#[derive(Debug, Default)]
pub(super) struct Order {
    nodes: Vec<NodeId>,
    is_stale: bool,
}

impl Order {
    pub(super) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale
    }
    /// A node was there with the labels `old`, or is there with `new`.
    pub(super) fn node_changed(&mut self, old: Option<&Labels>, new: Option<&Labels>) {
        self.is_stale |= old.map(zone) != new.map(zone);
    }
    pub(super) fn renew<'a>(&mut self, nodes: impl Iterator<Item = &'a NodeInfo>) {
        *self = Self { nodes: in_turn(nodes.map(|node| (node.id, zone(&node.spec.labels)))), is_stale: false };
    }
}

/// A zone has its name within its region.
fn zone(labels: &Labels) -> (&str, &str) {
    let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
    (label(REGION), label(ZONE))
}

/// One of each zone, then the next of each, until all are named. Zones come in the order in which they are met.
fn in_turn<'a>(nodes: impl Iterator<Item = (NodeId, (&'a str, &'a str))>) -> Vec<NodeId> {
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    let mut zones: Vec<Vec<NodeId>> = Vec::new();
    for (node, zone) in nodes {
        let place = *places.entry(zone).or_insert(zones.len());
        if place == zones.len() {
            zones.push(Vec::new());
        }
        zones[place].push(node);
    }
    let largest = zones.iter().map(Vec::len).max().unwrap_or(0);
    (0..largest).flat_map(|round| zones.iter().filter_map(move |zone| zone.get(round).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_take_turns() {
        let cases = [
            ("no nodes", vec![], vec![]),
            ("no zones", vec![("", ""), ("", ""), ("", "")], vec![0, 1, 2]),
            ("two zones one after the other", vec![("", "a"), ("", "a"), ("", "b"), ("", "b")], vec![0, 2, 1, 3]),
            ("a small one", vec![("", "a"), ("", "a"), ("", "a"), ("", "b")], vec![0, 3, 1, 2]),
            ("one name in two regions", vec![("r", "a"), ("r", "a"), ("s", "a")], vec![0, 2, 1]),
            ("some are in none", vec![("", ""), ("", ""), ("", "a")], vec![0, 2, 1]),
        ];
        for (why, zones, expected) in cases {
            let order = in_turn((0..).map(NodeId).zip(zones));
            assert_eq!(order.iter().map(|id| id.0).collect::<Vec<_>>(), expected, "{why}");
        }
    }
}
