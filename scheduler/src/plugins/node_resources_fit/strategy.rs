//! How much of a node would be used with the pod there, and what that is worth: the three scoring strategies.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing/>

use crate::framework::{Cycle, MAX_NODE_SCORE};
use crate::snapshot::{CPU, MEMORY, NodeInfo};

/// The largest score in a shape of `RequestedToCapacityRatio`.
pub const MAX_SHAPE_SCORE: i64 = 10;

/// A resource and what it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    pub name: String,
    pub weight: i64,
}

/// cpu and memory, alike.
pub fn default_resources() -> Vec<Weighted> {
    ["cpu", "memory"].map(|name| Weighted { name: name.into(), weight: 1 }).to_vec()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strategy {
    pub kind: Kind,
    pub resources: Vec<Weighted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    LeastAllocated,
    MostAllocated,
    /// Points of a line: utilization in percent, ascending, and a score from 0 to [`MAX_SHAPE_SCORE`].
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

impl Default for Strategy {
    fn default() -> Self {
        Self { kind: Kind::LeastAllocated, resources: default_resources() }
    }
}

/// Of one resource: what would be requested, what there is, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    pub requested: i64,
    pub allocatable: i64,
    pub weight: i64,
}

/// The resources that a scorer looks at, with what the pod asks of each.
#[derive(Clone, Debug)]
pub struct Resources(Vec<Resource>);

#[derive(Clone, Debug)]
struct Resource {
    column: usize,
    asks: i64,
    weight: i64,
    /// Containers that ask for nothing count too.
    non_zero: Option<usize>,
}

impl Resources {
    /// cpu and memory with defaults for containers that ask for nothing.
    pub fn non_zero(resources: &[Weighted], cycle: &Cycle<'_>) -> Self {
        Self::new(resources, cycle, true)
    }
    /// As they are asked for.
    pub fn requested(resources: &[Weighted], cycle: &Cycle<'_>) -> Self {
        Self::new(resources, cycle, false)
    }
    pub fn asks_nothing(&self) -> bool {
        self.0.iter().all(|r| r.asks == 0)
    }

    fn new(resources: &[Weighted], cycle: &Cycle<'_>, fill: bool) -> Self {
        let ask = &cycle.class.ask;
        let read = |r: &Weighted| {
            let column = cycle.snapshot.column(&r.name)?;
            let non_zero = [CPU, MEMORY].iter().position(|c| fill && *c == column);
            let asks = match non_zero {
                Some(at) => ask.non_zero[at],
                None => ask.requests.get(&r.name).copied().unwrap_or(0),
            };
            // What a device's node has left is nothing to a pod that wants no device.
            let is_extended = r.name.contains('/') || r.name.starts_with("hugepages-");
            (asks > 0 || !is_extended).then_some(Resource { column, asks, weight: r.weight, non_zero })
        };
        Self(resources.iter().filter_map(read).collect())
    }

    /// Of each resource that the node has, with the pod there.
    pub fn used(&self, node: &NodeInfo) -> impl Iterator<Item = Use> {
        self.0.iter().filter_map(|r| r.used(node, r.asks))
    }
    /// As `used`, without the pod.
    pub fn used_before(&self, node: &NodeInfo) -> impl Iterator<Item = Use> {
        self.0.iter().filter_map(|r| r.used(node, 0))
    }
}

impl Resource {
    fn used(&self, node: &NodeInfo, asks: i64) -> Option<Use> {
        let allocatable = node.spec.allocatable(self.column);
        let taken = self.non_zero.map_or_else(|| node.taken(self.column), |at| node.non_zero[at]);
        let requested = taken.saturating_add(asks);
        (allocatable > 0).then_some(Use { requested, allocatable, weight: self.weight })
    }
}

impl Strategy {
    pub fn score(&self, used: impl Iterator<Item = Use>) -> i64 {
        let (mut sum, mut weights) = (0, 0);
        for one in used {
            let score = self.kind.score(one);
            // A shape says of a resource that it does not matter by a score of 0.
            if matches!(self.kind, Kind::RequestedToCapacityRatio(_)) && score == 0 {
                continue;
            }
            sum += score * one.weight;
            weights += one.weight;
        }
        match &self.kind {
            _ if weights == 0 => 0,
            Kind::RequestedToCapacityRatio(_) => (2 * sum + weights) / (2 * weights),
            Kind::LeastAllocated | Kind::MostAllocated => sum / weights,
        }
    }
}

impl Kind {
    fn score(&self, Use { requested, allocatable, .. }: Use) -> i64 {
        match self {
            Self::LeastAllocated if requested > allocatable => 0,
            Self::LeastAllocated => (allocatable - requested).saturating_mul(MAX_NODE_SCORE) / allocatable,
            Self::MostAllocated => requested.min(allocatable).saturating_mul(MAX_NODE_SCORE) / allocatable,
            Self::RequestedToCapacityRatio(shape) => {
                let percent = if requested > allocatable { 100 } else { requested.saturating_mul(100) / allocatable };
                along(shape, percent)
            }
        }
    }
}

/// The line through the points at `percent`, in scores of nodes; level beyond its ends.
fn along(shape: &[(i64, i64)], percent: i64) -> i64 {
    let scaled = |score: i64| score * (MAX_NODE_SCORE / MAX_SHAPE_SCORE);
    let mut before: Option<(i64, i64)> = None;
    for (at, score) in shape.iter().map(|(at, score)| (*at, scaled(*score))) {
        if percent <= at {
            return match before {
                None => score,
                Some((from, low)) => low + (score - low) * (percent - from) / (at - from),
            };
        }
        before = Some((at, score));
    }
    before.map_or(0, |(_, score)| score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_table() {
        let used = |requested, weight| Use { requested, allocatable: 1000, weight };
        let ratio = || Kind::RequestedToCapacityRatio(vec![(0, 0), (100, 10)]);
        let cases = [
            ("least: empty", Kind::LeastAllocated, vec![used(0, 1), used(0, 1)], 100),
            ("least: a quarter and a half", Kind::LeastAllocated, vec![used(250, 1), used(500, 1)], 62),
            ("least: one counts three times", Kind::LeastAllocated, vec![used(250, 3), used(500, 1)], 68),
            ("least: more than there is", Kind::LeastAllocated, vec![used(1001, 1), used(0, 1)], 50),
            ("most: a quarter and a half", Kind::MostAllocated, vec![used(250, 1), used(500, 1)], 37),
            ("most: more than there is is all", Kind::MostAllocated, vec![used(2000, 1)], 100),
            ("ratio: as much as is used", ratio(), vec![used(250, 1), used(500, 1)], 38),
            ("ratio: what has no score does not count", ratio(), vec![used(0, 1), used(500, 1)], 50),
            ("ratio: more than there is", ratio(), vec![used(2000, 1)], 100),
            ("a node that has none of it", Kind::LeastAllocated, vec![], 0),
        ];
        for (why, kind, used, expected) in cases {
            let strategy = Strategy { kind, resources: default_resources() };
            assert_eq!(strategy.score(used.into_iter()), expected, "{why}");
        }
    }

    #[test]
    fn a_line_is_level_beyond_its_ends() {
        let shape = [(10, 10), (50, 0), (90, 5)];
        let at: Vec<i64> = [0, 10, 30, 50, 70, 90, 100].iter().map(|p| along(&shape, *p)).collect();
        assert_eq!(at, [100, 100, 50, 0, 25, 50, 50]);
    }
}
