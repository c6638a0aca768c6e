//! Which of the possible nodes is best. Each scorer gives 0 to [`MAX`]; the sum by weight decides.

mod affinity;
mod balanced;
mod least_allocated;
mod spread;
mod taints;

use std::fmt;

use crate::filters::Asked;
use crate::snapshot::NodeInfo;

/// The best that one scorer can say of a node.
pub const MAX: i64 = 100;

/// Scores all possible nodes at once: most scores are relative to the others.
pub trait Scorer: Send + Sync + fmt::Debug {
    /// One score for each node, in their order, each from 0 to [`MAX`].
    fn score(&self, asked: &Asked<'_>, nodes: &[&NodeInfo]) -> Vec<i64>;
}

/// With their weights, upstream's where it has the same scorer.
pub fn all() -> Vec<(i64, Box<dyn Scorer>)> {
    vec![
        (1, Box::new(least_allocated::LeastAllocated)),
        (1, Box::new(balanced::BalancedAllocation)),
        (2, Box::new(spread::Spread)),
        (3, Box::new(taints::PreferNoSchedule)),
        (2, Box::new(affinity::PreferredAffinity)),
    ]
}

/// Scales counts to 0..=MAX; the largest count is best, or worst if `reverse`. All alike: all best.
fn normalised(counts: &[i64], reverse: bool) -> Vec<i64> {
    let top = counts.iter().copied().max().unwrap_or(0);
    let scale = |n: i64| if top == 0 { if reverse { 0 } else { MAX } } else { MAX * n / top };
    counts.iter().map(|n| if reverse { MAX - scale(*n) } else { scale(*n) }).collect()
}

#[cfg(test)]
mod tests;
