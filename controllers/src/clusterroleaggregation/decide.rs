//! Which rules an aggregated ClusterRole lacks, or has too many.

use corten_api::k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use corten_api::rbac::{aggregated, are_same};
use corten_api::selector::SelectorError;

/// The rules that it should have instead; `None`: those that it has are right, or its own. `roles`: all there are.
pub fn decide<'a>(
    role: &ClusterRole,
    roles: impl IntoIterator<Item = &'a ClusterRole>,
) -> Result<Option<Vec<PolicyRule>>, SelectorError> {
    let Some(rules) = aggregated(role, roles)? else { return Ok(None) };
    Ok((!are_same(&rules, role.rules.as_deref().unwrap_or_default())).then_some(rules))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn role(name: &str, labels: Value, verbs: &[&str], selects: Option<Value>) -> ClusterRole {
        let rules = verbs.iter().map(|verb| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}));
        let aggregation = selects.map(|labels| json!({"clusterRoleSelectors": [{"matchLabels": labels}]}));
        let json = json!({
            "metadata": {"name": name, "labels": labels},
            "rules": rules.collect::<Vec<_>>(),
            "aggregationRule": aggregation,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn only_what_is_not_right_is_written() {
        let gathers = |verbs: &[&str]| role("view", json!({}), verbs, Some(json!({"to": "view"})));
        let of = |name: &str, verb: &str| role(name, json!({"to": "view"}), &[verb], None);
        type Case<'a> = (&'a str, ClusterRole, Vec<ClusterRole>, Option<&'a [&'a str]>);
        let cases: [Case<'_>; 6] = [
            ("new: empty so far", gathers(&[]), vec![of("b", "list"), of("a", "get")], Some(&["get", "list"])),
            ("right", gathers(&["get"]), vec![of("a", "get")], None),
            ("another order", gathers(&["list", "get"]), vec![of("a", "get"), of("b", "list")], Some(&["get", "list"])),
            ("what it gathered went", gathers(&["get"]), vec![], Some(&[])),
            ("nothing to gather, and nothing there", gathers(&[]), vec![], None),
            ("its own rules", of("view", "get"), vec![of("a", "list")], None),
        ];
        for (why, role, others, expected) in cases {
            let rules = decide(&role, &others).unwrap();
            let verbs = rules.map(|rules| rules.into_iter().flat_map(|rule| rule.verbs).collect::<Vec<_>>());
            assert_eq!(
                verbs.as_deref(),
                expected.map(|v| v.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>()).as_deref(),
                "{why}"
            );
        }
    }
}
