//! Which nodes are meant: terms over their labels and their names, one of which must hold. Pods and volumes have them.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#NodeAffinity>

use corten_api::Problems;
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorTerm};

use super::check;
use super::path::Path;

pub fn validate(selector: &NodeSelector, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        problems.required(list, "must have at least one node selector term");
    }
    for (i, one) in selector.node_selector_terms.iter().enumerate() {
        term(one, &list.index(i), problems);
    }
}

pub fn term(term: &NodeSelectorTerm, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("matchExpressions");
    for (i, expr) in term.match_expressions.iter().flatten().enumerate() {
        let at = list.index(i);
        let values = expr.values.as_deref().unwrap_or_default();
        match (expr.operator.as_str(), values.len()) {
            ("In" | "NotIn", 0) => {
                problems.required(at.field("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            ("Exists" | "DoesNotExist", n) if n > 0 => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                problems.forbidden(at.field("values"), why);
            }
            ("Gt" | "Lt", n) if n != 1 => {
                problems.required(at.field("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
            (other, _) => problems.invalid(at.field("operator"), other, "not a valid selector operator"),
        }
        check::qualified_name(problems, &at.field("key"), &expr.key);
    }
    let list = at.field("matchFields");
    for (i, expr) in term.match_fields.iter().flatten().enumerate() {
        let at = list.index(i);
        if !matches!(expr.operator.as_str(), "In" | "NotIn") {
            problems.invalid(at.field("operator"), &expr.operator, "not a valid selector operator");
        } else if expr.values.as_ref().map_or(0, Vec::len) != 1 {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            problems.required(at.field("values"), why);
        }
        if expr.key != "metadata.name" {
            problems.invalid(at.field("key"), &expr.key, "not a valid field selector key");
            continue;
        }
        for (j, name) in expr.values.iter().flatten().enumerate() {
            check::dns_subdomain(problems, &at.field("values").index(j), name);
        }
    }
}

/// That the values are such as labels can have: asked of new selectors only, as there are old ones with others.
pub fn label_values(selector: &NodeSelector, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("nodeSelectorTerms");
    for (i, term) in selector.node_selector_terms.iter().enumerate() {
        let at = list.index(i);
        let list = at.field("matchExpressions");
        for (j, expr) in term.match_expressions.iter().flatten().enumerate() {
            let at = list.index(j);
            let list = at.field("values");
            for (k, value) in expr.values.iter().flatten().enumerate() {
                check::label_value(problems, &list.index(k), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::check::testing::texts;

    fn found(terms: Value) -> Vec<String> {
        let selector: NodeSelector = serde_json::from_value(json!({ "nodeSelectorTerms": terms })).unwrap();
        let mut problems = Problems::default();
        validate(&selector, &Path::root("f"), &mut problems);
        label_values(&selector, &Path::root("f"), &mut problems);
        texts(&problems)
    }
    fn expression(key: &str, operator: &str, values: Value) -> Value {
        json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}])
    }
    fn field(key: &str, operator: &str, values: Value) -> Value {
        json!([{"matchFields": [{"key": key, "operator": operator, "values": values}]}])
    }

    #[test]
    fn bad_selectors() {
        const EXPRESSION: &str = "f.nodeSelectorTerms[0].matchExpressions[0]";
        const FIELD: &str = "f.nodeSelectorTerms[0].matchFields[0]";
        let cases = [
            (expression("a/b", "In", json!(["x"])), String::new()),
            (expression("a", "Gt", json!(["5"])), String::new()),
            (field("metadata.name", "In", json!(["n1"])), String::new()),
            (json!([]), "f.nodeSelectorTerms: Required value: must have at least one node selector term".into()),
            (
                expression("a", "NotIn", json!([])),
                format!("{EXPRESSION}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
            ),
            (
                expression("a", "Exists", json!(["x"])),
                format!(
                    "{EXPRESSION}.values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                ),
            ),
            (
                expression("a", "Lt", json!([])),
                format!(
                    "{EXPRESSION}.values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'"
                ),
            ),
            (
                expression("a", "Is", json!([])),
                format!("{EXPRESSION}.operator: Invalid value: \"Is\": not a valid selector operator"),
            ),
            (
                field("metadata.name", "Exists", json!([])),
                format!("{FIELD}.operator: Invalid value: \"Exists\": not a valid selector operator"),
            ),
            (
                field("metadata.name", "In", json!([])),
                format!(
                    "{FIELD}.values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
                ),
            ),
            (
                field("spec.x", "In", json!(["n1"])),
                format!("{FIELD}.key: Invalid value: \"spec.x\": not a valid field selector key"),
            ),
        ];
        for (terms, expected) in cases {
            let expected = if expected.is_empty() { vec![] } else { vec![expected] };
            assert_eq!(found(terms.clone()), expected, "{terms}");
        }
        for (terms, at) in [
            (expression("-", "Exists", json!([])), "matchExpressions[0].key: Invalid"),
            (expression("a", "In", json!(["-"])), "matchExpressions[0].values[0]: Invalid"),
            (field("metadata.name", "In", json!(["N"])), "matchFields[0].values[0]: Invalid"),
        ] {
            let found = found(terms);
            assert!(found.len() == 1 && found[0].contains(at), "{found:?}");
        }
    }
}
