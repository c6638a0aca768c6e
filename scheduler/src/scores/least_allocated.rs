//! Prefers the node with the most cpu and memory left once the pod is there.

use super::{MAX, Scorer};
use crate::filters::Asked;
use crate::snapshot::{CPU, MEMORY, NodeInfo, scored};

#[derive(Debug)]
pub(super) struct LeastAllocated;

impl Scorer for LeastAllocated {
    fn score(&self, asked: &Asked<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
        let wants = scored(&asked.pod.takes.requests);
        let left = |node: &NodeInfo, column: usize| {
            let have = node.allocatable.get(column).copied().unwrap_or(0);
            let taken = node.scored[column].saturating_add(wants[column]);
            if have <= 0 || taken > have { 0 } else { (have - taken).saturating_mul(MAX) / have }
        };
        nodes.iter().map(|n| i64::midpoint(left(n, CPU), left(n, MEMORY))).collect()
    }
}
