//! Preferred node affinity: the weights of the terms that a node matches.

use super::{Scorer, normalised};
use crate::filters::{Asked, term_matches};
use crate::snapshot::NodeInfo;

#[derive(Debug)]
pub(super) struct PreferredAffinity;

impl Scorer for PreferredAffinity {
    fn score(&self, asked: &Asked<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
        let affinity = asked.pod.wants.as_deref().and_then(|w| w.node_affinity.as_ref());
        let terms = affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
        let Some(terms) = terms else { return vec![0; nodes.len()] };
        let weight = |node: &&NodeInfo| {
            terms.iter().filter(|t| term_matches(&t.preference, node)).map(|t| i64::from(t.weight)).sum()
        };
        normalised(&nodes.iter().map(weight).collect::<Vec<i64>>(), false)
    }
}
