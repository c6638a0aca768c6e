//! `nodeSelector` and node affinity: which nodes a pod may go to by their labels, and which it prefers.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity>

use k8s_openapi::api::core::v1::{
    NodeAffinity as Affinity, NodeSelectorRequirement, NodeSelectorTerm, PreferredSchedulingTerm,
};

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

/// All requirements of one term; an empty term matches nothing.
pub fn term_matches(term: &NodeSelectorTerm, node: &NodeSpec) -> bool {
    let expressions = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    let empty = expressions.clone().count() + fields.clone().count() == 0;
    !empty
        && expressions.clone().all(|e| holds(e, node.labels.get(&e.key).map(String::as_str)))
        && fields.clone().all(|e| e.key == "metadata.name" && holds(e, Some(&node.name)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let among = || value.is_some_and(|v| values.iter().any(|x| x == v));
    let compared = |larger: bool| {
        let number = |s: &str| s.parse::<i64>().ok();
        let (Some(have), Some(bound)) = (value.and_then(number), values.first().and_then(|v| number(v))) else {
            return false;
        };
        if larger { have > bound } else { have < bound }
    };
    match requirement.operator.as_str() {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(true),
        "Lt" => compared(false),
        // Validation refuses any other; an object from elsewhere must not be placed by chance.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn term_table() {
        let labels = [("disk".to_owned(), "ssd".to_owned()), ("gen".to_owned(), "7".to_owned())].into();
        let node = NodeSpec { name: "n1".into(), labels, ..NodeSpec::default() };
        let cases = [
            ("in", json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}]}), true),
            ("not in", json!({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]}), false),
            ("gt", json!({"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["6"]}]}), true),
            ("lt of text", json!({"matchExpressions": [{"key": "disk", "operator": "Lt", "values": ["6"]}]}), false),
            (
                "all must hold",
                json!({"matchExpressions": [{"key": "disk", "operator": "Exists"},
                {"key": "zone", "operator": "Exists"}]}),
                false,
            ),
            ("by name", json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}), true),
            ("an empty term", json!({}), false),
            (
                "not in, absent",
                json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}),
                true,
            ),
            ("in, absent", json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}), false),
            ("in, another", json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["hdd"]}]}), false),
            ("exists", json!({"matchExpressions": [{"key": "disk", "operator": "Exists"}]}), true),
            (
                "does not exist, and does",
                json!({"matchExpressions": [{"key": "disk", "operator": "DoesNotExist"}]}),
                false,
            ),
            ("does not exist", json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), true),
            ("gt of the same", json!({"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["7"]}]}), false),
            ("lt of the same", json!({"matchExpressions": [{"key": "gen", "operator": "Lt", "values": ["7"]}]}), false),
            ("lt", json!({"matchExpressions": [{"key": "gen", "operator": "Lt", "values": ["8"]}]}), true),
            ("lt of less", json!({"matchExpressions": [{"key": "gen", "operator": "Lt", "values": ["6"]}]}), false),
            ("gt of more", json!({"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["8"]}]}), false),
            ("an operator of elsewhere", json!({"matchExpressions": [{"key": "disk", "operator": "Like"}]}), false),
            (
                "another name",
                json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}),
                false,
            ),
            (
                "another field",
                json!({"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["n1"]}]}),
                false,
            ),
            (
                "its labels and its name",
                json!({"matchExpressions": [{"key": "disk", "operator": "Exists"}],
                    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}),
                true,
            ),
            (
                "its labels, but not its name",
                json!({"matchExpressions": [{"key": "disk", "operator": "Exists"}],
                    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}),
                false,
            ),
            (
                "its name, but not its labels",
                json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}],
                    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}),
                false,
            ),
        ];
        for (why, term, expected) in cases {
            let term: NodeSelectorTerm = serde_json::from_value(term).unwrap();
            assert_eq!(term_matches(&term, &node), expected, "{why}");
        }
    }
}
