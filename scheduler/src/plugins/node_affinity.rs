//! `nodeSelector` and node affinity: which nodes a pod may go to by their labels, and which it prefers.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity>

use corten_api::node::selector;
use k8s_openapi::api::core::v1::{NodeAffinity as Affinity, NodeSelectorTerm, PreferredSchedulingTerm};

use crate::framework::Hint;
use crate::framework::{Cycle, Filter, Normalize, Plugin, Refusal, Scorer};
use crate::pod::{Ask, PodClass};
use crate::snapshot::event::Event;
use crate::snapshot::{NodeId, NodeInfo, NodeSpec, Snapshot};

#[derive(Debug, Default)]
pub struct NodeAffinity {
    /// What the profile adds to the affinity of each of its pods.
    pub added: Affinity,
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Result<(), String> {
        let is_nowhere = self.nodes(cycle).is_some_and(<[String]>::is_empty);
        if is_nowhere { Err("pod affinity terms conflict".into()) } else { Ok(()) }
    }
    fn nodes<'a>(&self, cycle: &Cycle<'a>) -> Option<&'a [String]> {
        cycle.class.ask.node_names.as_deref()
    }
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let ask = &*cycle.class.ask;
        let of_the_pod = !ask.node_selector.is_empty() || ask.node_affinity.is_some();
        (of_the_pod || required(&self.added).is_some())
            .then(|| Box::new(Matching { added: &self.added, ask }) as Box<dyn Filter + 'a>)
    }
    fn scorer<'a>(&'a self, cycle: &Cycle<'a>, _: &[NodeId]) -> Option<Box<dyn Scorer + 'a>> {
        let of_the_pod = cycle.class.ask.node_affinity.as_ref().map(preferred).unwrap_or_default();
        let scorer = Preferring { terms: [of_the_pod, preferred(&self.added)] };
        scorer.terms.iter().any(|t| !t.is_empty()).then(|| Box::new(scorer) as Box<dyn Scorer + 'a>)
    }
    fn hint(&self, _: &Snapshot, class: &PodClass, event: &Event) -> Hint {
        let matches = |node: &NodeSpec| self.added_matches(node) && is_affine(node, &class.ask);
        match event {
            Event::NodeAdded(node) => Hint::when(matches(node)),
            Event::NodeUpdated { old, new } => Hint::when(!matches(old) && matches(new)),
            _ => Hint::Skip,
        }
    }
}

impl NodeAffinity {
    fn added_matches(&self, node: &NodeSpec) -> bool {
        required(&self.added).is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)))
    }
}

fn required(affinity: &Affinity) -> Option<&[NodeSelectorTerm]> {
    affinity.required_during_scheduling_ignored_during_execution.as_ref().map(|r| r.node_selector_terms.as_slice())
}

fn preferred(affinity: &Affinity) -> &[PreferredSchedulingTerm] {
    affinity.preferred_during_scheduling_ignored_during_execution.as_deref().unwrap_or_default()
}

/// Whether the pod's own selector and required terms match.
pub fn is_affine(node: &NodeSpec, ask: &Ask) -> bool {
    let selected = ask.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    // Terms are alternatives; none at all selects nothing.
    let near = ask.node_affinity.as_ref().and_then(required);
    selected && near.is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)))
}

#[derive(Clone)]
struct Matching<'a> {
    added: &'a Affinity,
    ask: &'a Ask,
}

impl Filter for Matching<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Refusal> {
        if required(self.added).is_some_and(|terms| !terms.iter().any(|term| term_matches(term, &node.spec))) {
            return Err(Refusal::unresolvable("node(s) didn't match scheduler-enforced node affinity"));
        }
        if is_affine(&node.spec, self.ask) {
            return Ok(());
        }
        Err(Refusal::unresolvable("node(s) didn't match Pod's node affinity/selector"))
    }
    fn fork<'a>(&self) -> Box<dyn Filter + 'a>
    where
        Self: 'a,
    {
        Box::new(self.clone())
    }
}

/// The weights of the terms that a node matches.
struct Preferring<'a> {
    terms: [&'a [PreferredSchedulingTerm]; 2],
}

impl Scorer for Preferring<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let terms = self.terms.iter().copied().flatten();
        terms.filter(|t| term_matches(&t.preference, &node.spec)).map(|t| i64::from(t.weight)).sum()
    }
    fn normalize(&self) -> Normalize {
        Normalize::Largest
    }
}

fn term_matches(term: &NodeSelectorTerm, node: &NodeSpec) -> bool {
    selector::matches_term(term, &node.name, |key| node.labels.get(key).map(String::as_str))
}
