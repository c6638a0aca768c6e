//! The node where preemption costs least.

use std::cmp::Reverse;

use super::started;
use crate::snapshot::{NodeInfo, PlacedPod};

/// A node, and the pods that would have to go: the most important first.
pub(super) struct Candidate<'a> {
    pub(super) node: &'a NodeInfo,
    pub(super) victims: Vec<&'a PlacedPod>,
    /// Victims that a PodDisruptionBudget protects.
    pub(super) violations: usize,
}

impl Candidate<'_> {
    /// The smallest is best: the fewest broken budgets, the least important victims, the fewest of them, and those that began
    /// last.
    fn cost(&self) -> (usize, i32, i64, usize, Reverse<i64>) {
        let highest = self.victims.first().map_or(i32::MIN, |pod| pod.class.priority);
        // Priorities may be negative: a victim more must never cost less.
        let sum = self.victims.iter().map(|pod| i64::from(pod.class.priority) + i64::from(i32::MAX) + 1).sum();
        let highest_ones = self.victims.iter().filter(|pod| pod.class.priority == highest);
        let earliest = highest_ones.map(|pod| started(pod)).min().unwrap_or(i64::MAX);
        (self.violations, highest, sum, self.victims.len(), Reverse(earliest))
    }
}

pub(super) fn best(candidates: Vec<Candidate<'_>>) -> Option<Candidate<'_>> {
    candidates.into_iter().min_by_key(Candidate::cost)
}
