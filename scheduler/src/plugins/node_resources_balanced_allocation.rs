//! Prefers the node where cpu and memory come nearer to being used to the same degree: neither is stranded.
//!
//! What counts since v1.36 is how much the pod changes the balance, not how good it is with the pod.

use super::node_resources_fit::strategy::{Resources, Use, Weighted, default_resources};
use crate::framework::{Cycle, MAX_NODE_SCORE, Plugin, Scorer};
use crate::snapshot::{NodeId, NodeInfo};

#[derive(Debug)]
pub struct NodeResourcesBalancedAllocation {
    /// Each has the weight 1.
    pub resources: Vec<Weighted>,
}

impl Default for NodeResourcesBalancedAllocation {
    fn default() -> Self {
        Self { resources: default_resources() }
    }
}

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }
    fn scorer<'a>(&'a self, cycle: &Cycle<'a>, _: &[NodeId]) -> Option<Box<dyn Scorer + 'a>> {
        let resources = Resources::requested(&self.resources, cycle);
        // A pod that asks for nothing leaves the balance as it is.
        (!resources.asks_nothing()).then(|| Box::new(Balanced { resources }) as Box<dyn Scorer + 'a>)
    }
}

struct Balanced {
    resources: Resources,
}

impl Scorer for Balanced {
    fn score(&self, node: &NodeInfo) -> i64 {
        let (with, without) = (balance(self.resources.used(node)), balance(self.resources.used_before(node)));
        // From a half, for a node that the pod unbalances wholly, to all, for one that it balances.
        let half = MAX_NODE_SCORE / 2;
        half + (half + with - without) / 2
    }
}

/// The less the degrees of use deviate from each other, the more.
fn balance(used: impl Iterator<Item = Use>) -> i64 {
    let fraction = |Use { requested, allocatable, .. }: Use| (requested as f64 / allocatable as f64).min(1.0);
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for fraction in used.map(fraction) {
        (sum, squares, count) = (sum + fraction, squares + fraction * fraction, count + 1.0);
    }
    if count == 0.0 {
        return MAX_NODE_SCORE;
    }
    let mean: f64 = sum / count;
    let deviation = (squares / count - mean * mean).max(0.0).sqrt();
    // Sums of binary fractions are a little off; a score must not be one less for that.
    ((1.0 - deviation) * MAX_NODE_SCORE as f64 + 1e-6) as i64
}
