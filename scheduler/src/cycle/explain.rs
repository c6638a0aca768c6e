//! Why no node will do, in upstream's words: every reason with the number of nodes that have it.

use std::collections::HashMap;

use crate::framework::Refusal;

/// Refusals, each with the number of nodes that have it: few, however many nodes there are.
#[derive(Debug, Default)]
pub(super) struct Tally(HashMap<Refusal, usize>);

impl Tally {
    pub(super) fn add(&mut self, refusal: Refusal, nodes: usize) {
        if nodes > 0 {
            *self.0.entry(refusal).or_default() += nodes;
        }
    }

    /// `0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.`
    pub(super) fn message(&self, nodes: usize) -> String {
        if nodes == 0 {
            return "no nodes available to schedule pods".into();
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (reason, of) in self.0.iter().flat_map(|(refusal, of)| refusal.reasons().map(move |reason| (reason, of))) {
            *counts.entry(reason).or_default() += of;
        }
        let mut parts: Vec<String> = counts.iter().map(|(text, n)| format!("{n} {text}")).collect();
        parts.sort_unstable();
        format!("0/{nodes} nodes are available: {}.", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_and_not_kept_by_node() {
        let mut tally = Tally::default();
        let mut full = Refusal::resolvable("Too many pods");
        full.others.push("Insufficient cpu".into());
        for _ in 0..2000 {
            tally.add(Refusal::resolvable("Insufficient cpu"), 1);
            tally.add(full.clone(), 1);
        }
        tally.add(Refusal::unresolvable("Insufficient cpu"), 1000);
        tally.add(Refusal::unresolvable("node(s) were unschedulable"), 0);
        assert_eq!(tally.0.len(), 3);
        assert_eq!(tally.message(5000), "0/5000 nodes are available: 2000 Too many pods, 5000 Insufficient cpu.");
        assert_eq!(Tally::default().message(0), "no nodes available to schedule pods");
    }
}
