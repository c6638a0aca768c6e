//! Prefers domains with pods that the pod wants near, or that want it near, and those without such as want to be apart.

use super::one;
use crate::framework::{Cycle, Normalize, Scorer};
use crate::snapshot::counts::TermKind;
use crate::snapshot::topology::{NO_DOMAIN, Topology};
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct Preferring<'a> {
    /// What a domain is worth, by label key.
    worth: Vec<(&'a str, &'a Topology, Vec<i64>)>,
}

impl<'a> Preferring<'a> {
    pub(super) fn new(cycle: &Cycle<'a>, hard_weight: i64) -> Self {
        let (snapshot, class) = (cycle.snapshot, &**cycle.class);
        let mut all = Self { worth: Vec::new() };
        for (weight, term) in &class.affinity.preferred {
            let Some(by_node) = snapshot.counts().by_node(&one(&term.pods)) else { continue };
            let Some((topology, worth)) = all.of(snapshot, &term.topology_key) else { continue };
            worth.iter_mut().zip(topology.sum(by_node)).for_each(|(worth, pods)| *worth += weight * pods);
        }
        for (owned, pods) in snapshot.counts().terms_about(class, snapshot.namespace_labels(&class.namespace)) {
            let weight = match owned.kind {
                TermKind::Required => hard_weight,
                TermKind::Preferred(weight) => weight,
                TermKind::RequiredAnti => continue,
            };
            let Some((topology, worth)) = all.of(snapshot, &owned.term.topology_key) else { continue };
            for (node, count) in pods {
                worth[topology.domain(*node) as usize] += weight * i64::from(*count);
            }
        }
        // What nodes without the label would be worth together says nothing.
        all.worth.iter_mut().for_each(|(_, _, worth)| worth[NO_DOMAIN as usize] = 0);
        all.worth.retain(|(_, _, worth)| worth.iter().any(|w| *w != 0));
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.worth.is_empty()
    }

    fn of(&mut self, snapshot: &'a Snapshot, key: &'a str) -> Option<(&'a Topology, &mut Vec<i64>)> {
        let at = match self.worth.iter().position(|(k, ..)| *k == key) {
            Some(at) => at,
            None => {
                let topology = snapshot.topologies().get(key)?;
                self.worth.push((key, topology, vec![0; topology.len()]));
                self.worth.len() - 1
            }
        };
        let (_, topology, worth) = &mut self.worth[at];
        Some((*topology, worth))
    }
}

impl Scorer for Preferring<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        self.worth.iter().map(|(_, topology, worth)| worth[topology.domain(node.id) as usize]).sum()
    }
    fn normalize(&self) -> Normalize {
        Normalize::Range
    }
}
