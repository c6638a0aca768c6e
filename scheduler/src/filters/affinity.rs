//! `nodeSelector` and required node affinity.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity>

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use super::{Asked, Filter, Reason, refuse};
use crate::snapshot::{Helps, NodeInfo, Snapshot};

#[derive(Debug)]
pub(super) struct NodeAffinity;

impl Filter for NodeAffinity {
    fn applies(&self, asked: &Asked<'_>) -> bool {
        asked.pod.wants.as_deref().is_some_and(|w| !w.node_selector.is_empty() || w.node_affinity.is_some())
    }
    fn check(&self, asked: &Asked<'_>, node: &NodeInfo, _: &Snapshot) -> Vec<Reason> {
        let Some(wants) = asked.pod.wants.as_deref() else { return Vec::new() };
        let selected = wants.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
        let required =
            wants.node_affinity.as_ref().and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        // Terms are alternatives; none at all selects nothing.
        let near = required.is_none_or(|r| r.node_selector_terms.iter().any(|term| term_matches(term, node)));
        if selected && near {
            return Vec::new();
        }
        refuse("node(s) didn't match Pod's node affinity/selector", Helps::NODE_LABELLED)
    }
}

/// All requirements of one term; an empty term matches nothing.
pub fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
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
        let mut snapshot = Snapshot::new();
        let mut node = crate::snapshot::tests::node("n1", "1", "1Gi");
        node.metadata.labels = Some([("disk".to_owned(), "ssd".to_owned()), ("gen".to_owned(), "7".to_owned())].into());
        snapshot.set_node(&node);
        let info = snapshot.nodes().next().unwrap();
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
            assert_eq!(term_matches(&term, info), expected, "{why}");
        }
    }
}
