//! Prefers the domains with the fewest pods of the same kind. A difference counts more where there are more domains.

use corten_api::node::HOSTNAME_LABEL;

use super::{by_node, is_included};
use crate::framework::{Cycle, Normalize, Scorer};
use crate::pod::terms::SpreadConstraint;
use crate::snapshot::topology::{NO_DOMAIN, Topology};
use crate::snapshot::{NodeId, NodeInfo};

pub(super) struct Siblings<'a> {
    constraints: Vec<Domains<'a>>,
    /// Candidates that lack one of the labels, in order: no others are worse.
    ignored: Vec<NodeId>,
}

struct Domains<'a> {
    topology: &'a Topology,
    pods: Pods<'a>,
    weight: f64,
    max_skew: i64,
}

enum Pods<'a> {
    ByNode(&'a [u32]),
    ByDomain(Vec<i64>),
}

impl<'a> Siblings<'a> {
    /// `requires_all`: a node that lacks one of the labels counts for no constraint.
    pub(super) fn new(
        cycle: &Cycle<'a>,
        candidates: &[NodeId],
        constraints: Vec<SpreadConstraint>,
        requires_all: bool,
    ) -> Self {
        let topologies = cycle.snapshot.topologies();
        let known: Vec<(SpreadConstraint, &Topology)> =
            constraints.into_iter().filter_map(|c| topologies.get(&c.topology_key).map(|t| (c, t))).collect();
        let is_in_all = |node: NodeId| known.iter().all(|(_, t)| t.domain(node) != NO_DOMAIN);
        let mut ignored: Vec<NodeId> = Vec::new();
        if requires_all {
            ignored.extend(candidates.iter().copied().filter(|node| !is_in_all(*node)));
            ignored.sort_unstable();
        }
        let counted: Vec<NodeId> =
            candidates.iter().copied().filter(|node| ignored.binary_search(node).is_err()).collect();
        let read = |(constraint, topology): &(SpreadConstraint, &'a Topology)| {
            let (pods, domains) = if constraint.topology_key == HOSTNAME_LABEL {
                (Pods::ByNode(by_node(cycle.snapshot, constraint)), counted.len())
            } else {
                let eligible = |node: NodeId| !requires_all || is_in_all(node);
                (Pods::ByDomain(sums(cycle, constraint, topology, eligible)), distinct(topology, &counted))
            };
            Domains { topology, pods, weight: ((domains + 2) as f64).ln(), max_skew: constraint.max_skew }
        };
        Self { constraints: known.iter().map(read).collect(), ignored }
    }
}

fn sums(
    cycle: &Cycle<'_>,
    constraint: &SpreadConstraint,
    topology: &Topology,
    is_eligible: impl Fn(NodeId) -> bool,
) -> Vec<i64> {
    let mut sums = vec![0; topology.len()];
    for (at, pods) in by_node(cycle.snapshot, constraint).iter().enumerate().filter(|(_, pods)| **pods > 0) {
        let node = NodeId(at as u32);
        if is_included(constraint, cycle.inclusion, at) && is_eligible(node) {
            sums[topology.domain(node) as usize] += i64::from(*pods);
        }
    }
    sums
}

/// How many domains these nodes are in; those in none are in one together.
fn distinct(topology: &Topology, nodes: &[NodeId]) -> usize {
    let mut seen = vec![false; topology.len()];
    nodes.iter().for_each(|node| seen[topology.domain(*node) as usize] = true);
    seen.into_iter().filter(|seen| *seen).count()
}

impl Scorer for Siblings<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let of = |domains: &Domains<'_>| {
            let domain = domains.topology.domain(node.id);
            if domain == NO_DOMAIN {
                return 0.0;
            }
            let pods = match &domains.pods {
                Pods::ByNode(pods) => i64::from(pods.get(node.id.at()).copied().unwrap_or(0)),
                Pods::ByDomain(pods) => pods[domain as usize],
            };
            pods as f64 * domains.weight + (domains.max_skew - 1) as f64
        };
        self.constraints.iter().map(of).sum::<f64>().round() as i64
    }
    fn normalize(&self) -> Normalize {
        Normalize::Spread(self.ignored.clone())
    }
}
