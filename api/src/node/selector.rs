//! Which nodes a node selector names: the terms of a pod's node affinity, and of a volume's.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity>

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

/// Whether one of the terms names the node. A selector without terms names none. `label` gives the node's labels.
pub fn matches<'a>(selector: &NodeSelector, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    selector.node_selector_terms.iter().any(|term| matches_term(term, name, &label))
}

/// Whether all requirements of the term hold. An empty term names no node.
pub fn matches_term<'a>(term: &NodeSelectorTerm, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let is_empty = expressions.is_empty() && fields.is_empty();
    !is_empty
        && expressions.iter().all(|requirement| holds(requirement, label(&requirement.key)))
        && fields.iter().all(|field| field.key == "metadata.name" && holds(field, Some(name)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_among = || value.is_some_and(|value| values.iter().any(|one| one == value));
    let compared = |holds: fn(&i64, &i64) -> bool| {
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = values.first().and_then(|text| number(text));
        value.and_then(number).zip(bound).is_some_and(|(have, bound)| holds(&have, &bound))
    };
    match requirement.operator.as_str() {
        "In" => is_among(),
        "NotIn" => !is_among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(i64::gt),
        "Lt" => compared(i64::lt),
        // Validation refuses any other; an object from elsewhere must not be placed by chance.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, operator: &str, values: &[&str]) -> NodeSelectorRequirement {
        let values = (!values.is_empty()).then(|| values.iter().map(|value| (*value).to_owned()).collect());
        NodeSelectorRequirement { key: key.into(), operator: operator.into(), values }
    }

    #[test]
    fn a_term_names_a_node_if_all_of_it_holds() {
        let label = |key: &str| match key {
            "disk" => Some("ssd"),
            "gen" => Some("7"),
            _ => None,
        };
        let on = |key: &str, operator: &str, values: &[&str]| (vec![requirement(key, operator, values)], vec![]);
        let named = |key: &str, name: &str| (vec![], vec![requirement(key, "In", &[name])]);
        let both = |key: &str, name: &str| {
            (vec![requirement(key, "Exists", &[])], vec![requirement("metadata.name", "In", &[name])])
        };
        let cases = [
            ("an empty term", (vec![], vec![]), false),
            ("in", on("disk", "In", &["ssd", "nvme"]), true),
            ("in, another", on("disk", "In", &["hdd"]), false),
            ("in, absent", on("zone", "In", &["a"]), false),
            ("not in", on("disk", "NotIn", &["ssd"]), false),
            ("not in, absent", on("zone", "NotIn", &["a"]), true),
            ("exists", on("disk", "Exists", &[]), true),
            ("exists, absent", on("zone", "Exists", &[]), false),
            ("does not exist, and does", on("disk", "DoesNotExist", &[]), false),
            ("does not exist", on("zone", "DoesNotExist", &[]), true),
            ("gt", on("gen", "Gt", &["6"]), true),
            ("gt of the same", on("gen", "Gt", &["7"]), false),
            ("gt of more", on("gen", "Gt", &["8"]), false),
            ("lt", on("gen", "Lt", &["8"]), true),
            ("lt of the same", on("gen", "Lt", &["7"]), false),
            ("lt of less", on("gen", "Lt", &["6"]), false),
            ("lt of text", on("disk", "Lt", &["6"]), false),
            ("gt of nothing", on("gen", "Gt", &[]), false),
            ("an operator of elsewhere", on("disk", "Like", &["ssd"]), false),
            ("its name", named("metadata.name", "n1"), true),
            ("another name", named("metadata.name", "n2"), false),
            ("another field", named("metadata.uid", "n1"), false),
            ("its labels and its name", both("disk", "n1"), true),
            ("its labels, but not its name", both("disk", "n2"), false),
            ("its name, but not its labels", both("zone", "n1"), false),
            (
                "all must hold",
                (vec![requirement("disk", "Exists", &[]), requirement("zone", "Exists", &[])], vec![]),
                false,
            ),
        ];
        for (why, (expressions, fields), expected) in cases {
            let term = NodeSelectorTerm { match_expressions: Some(expressions), match_fields: Some(fields) };
            assert_eq!(matches_term(&term, "n1", label), expected, "{why}");
        }
    }

    #[test]
    fn terms_are_alternatives_and_none_names_nothing() {
        let term = |name: &str| NodeSelectorTerm {
            match_fields: Some(vec![requirement("metadata.name", "In", &[name])]),
            ..NodeSelectorTerm::default()
        };
        let selects =
            |terms: Vec<NodeSelectorTerm>| matches(&NodeSelector { node_selector_terms: terms }, "n1", |_| None);
        assert!(selects(vec![term("n2"), term("n1")]));
        assert!(!selects(vec![term("n2"), NodeSelectorTerm::default()]));
        assert!(!selects(vec![]));
    }
}
