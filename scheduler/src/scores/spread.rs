//! Prefers the node with the fewest pods of the same controller: one node's death should take few of them.

use super::{MAX, Scorer, normalised};
use crate::filters::Asked;
use crate::snapshot::NodeInfo;

#[derive(Debug)]
pub(super) struct Spread;

impl Scorer for Spread {
    fn score(&self, asked: &Asked<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
        let family = &asked.pod.takes.family;
        if family.is_empty() {
            return vec![MAX; nodes.len()];
        }
        let siblings: Vec<i64> = nodes.iter().map(|n| n.families.get(family).copied().map_or(0, i64::from)).collect();
        normalised(&siblings, true)
    }
}
