//! Prefers the node where cpu and memory end up used to the same degree: neither is stranded.

use super::{MAX, Scorer};
use crate::filters::Asked;
use crate::snapshot::{CPU, MEMORY, NodeInfo, scored};

#[derive(Debug)]
pub(super) struct BalancedAllocation;

/// Degrees of use are in thousandths.
const WHOLE: i64 = 1000;

impl Scorer for BalancedAllocation {
    fn score(&self, asked: &Asked<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
        let wants = scored(&asked.pod.takes.requests);
        let used = |node: &NodeInfo, column: usize| {
            let have = node.allocatable.get(column).copied().unwrap_or(0);
            let taken = node.scored[column].saturating_add(wants[column]);
            if have <= 0 { WHOLE } else { (taken.saturating_mul(WHOLE) / have).min(WHOLE) }
        };
        // Half the distance is the standard deviation of two values.
        let score = |n: &&NodeInfo| MAX - (used(n, CPU) - used(n, MEMORY)).abs() * MAX / (2 * WHOLE);
        nodes.iter().map(score).collect()
    }
}
