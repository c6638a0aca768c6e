//! Which nodes a pod may go to by their labels and names, and which a volume is on.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity>

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// Whether a pod's nodeSelector and required node affinity let it go to the node. `label` gives the node's labels.
pub fn selects<'a>(spec: &PodSpec, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value.as_str()));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| matches(required, name, label))
}

/// Whether one of the terms names the node. A selector without terms names none.
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
    use serde_json::{Value, json};

    use super::*;

    fn label(key: &str) -> Option<&'static str> {
        match key {
            "disk" => Some("ssd"),
            "gen" => Some("7"),
            _ => None,
        }
    }

    fn requirement(key: &str, operator: &str, values: &[&str]) -> NodeSelectorRequirement {
        let values = (!values.is_empty()).then(|| values.iter().map(|value| (*value).to_owned()).collect());
        NodeSelectorRequirement { key: key.into(), operator: operator.into(), values }
    }

    #[test]
    fn a_term_names_a_node_if_all_of_it_holds() {
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
    fn a_pod_goes_where_its_selector_and_one_of_its_terms_say() {
        let ssd = json!([{"key": "disk", "operator": "In", "values": ["ssd"]}]);
        let hdd = json!([{"key": "disk", "operator": "In", "values": ["hdd"]}]);
        let by = |field: &str, name: &str| json!([{"key": field, "operator": "In", "values": [name]}]);
        let near = |terms: Value| {
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            json!({"affinity": {"nodeAffinity": required}})
        };
        let cases = [
            ("anywhere", json!({}), true),
            ("by labels", json!({"nodeSelector": {"disk": "ssd", "gen": "7"}}), true),
            ("by labels, one of which differs", json!({"nodeSelector": {"disk": "ssd", "gen": "8"}}), false),
            ("no terms", near(json!([])), false),
            ("an empty term", near(json!([{}])), false),
            ("one term of two", near(json!([{"matchExpressions": hdd}, {"matchExpressions": ssd}])), true),
            (
                "all of a term",
                near(json!([{"matchExpressions": ssd, "matchFields": by("metadata.name", "n2")}])),
                false,
            ),
            ("by name", near(json!([{"matchFields": by("metadata.name", "n1")}])), true),
            (
                "by name and labels",
                near(json!([{"matchExpressions": ssd, "matchFields": by("metadata.name", "n1")}])),
                true,
            ),
            ("by another field", near(json!([{"matchFields": by("metadata.uid", "n1")}])), false),
            ("preferred alone", json!({"affinity": {"nodeAffinity": {}}}), true),
        ];
        for (why, mut spec, expected) in cases {
            spec["containers"] = json!([]);
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(selects(&spec, "n1", label), expected, "{why}");
        }
    }
}
