//! Roles as rules: what a rule has in it, and which rules an aggregated ClusterRole gathers from others.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>. Who may what by them, the apiserver decides.

use std::collections::HashSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

use crate::Object;
use crate::selector::{Selector, SelectorError};

pub const GROUP: &str = "rbac.authorization.k8s.io";
/// All verbs, groups, resources or paths.
pub const ALL: &str = "*";

/// The lists of a rule. An absent list and an empty one are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lists<'a> {
    pub verbs: &'a [String],
    pub groups: &'a [String],
    pub resources: &'a [String],
    /// Only objects of these names; empty for all.
    pub names: &'a [String],
    /// Paths that are no resources'.
    pub urls: &'a [String],
}

impl<'a> Lists<'a> {
    pub fn of(rule: &'a PolicyRule) -> Self {
        fn list(of: &Option<Vec<String>>) -> &[String] {
            of.as_deref().unwrap_or_default()
        }
        Self {
            verbs: &rule.verbs,
            groups: list(&rule.api_groups),
            resources: list(&rule.resources),
            names: list(&rule.resource_names),
            urls: list(&rule.non_resource_urls),
        }
    }
}

/// Whether these are the same rules in the same order.
pub fn are_same(one: &[PolicyRule], other: &[PolicyRule]) -> bool {
    one.iter().map(Lists::of).eq(other.iter().map(Lists::of))
}

/// The rules that an aggregated ClusterRole should have: those of all roles that its selectors choose, in the order of the
/// selectors and of the roles' names, each once. `None`: it has no aggregation rule, and its rules are its own.
///
/// A role that it chooses may be aggregated itself: whoever writes what this says must ask again until nothing changes.
/// Costs selectors times roles, and one look at each rule that is chosen.
pub fn aggregated<'a>(
    role: &ClusterRole,
    roles: impl IntoIterator<Item = &'a ClusterRole>,
) -> Result<Option<Vec<PolicyRule>>, SelectorError> {
    let Some(aggregation) = &role.aggregation_rule else { return Ok(None) };
    let mut others: Vec<&ClusterRole> = roles.into_iter().filter(|other| other.name() != role.name()).collect();
    others.sort_by(|a, b| a.name().cmp(b.name()));
    let (mut rules, mut seen) = (Vec::new(), HashSet::new());
    for selector in aggregation.cluster_role_selectors.iter().flatten() {
        let selector = Selector::from_label_selector(Some(selector))?;
        let chosen = others.iter().filter(|other| selector.matches_opt(other.metadata.labels.as_ref()));
        for rule in chosen.flat_map(|other| other.rules.iter().flatten()) {
            if seen.insert(Lists::of(rule)) {
                rules.push(rule.clone());
            }
        }
    }
    Ok(Some(rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name labels verb/resource …`; `-` for no labels.
    fn role(line: &str) -> ClusterRole {
        let mut words = line.split_whitespace();
        let mut role = ClusterRole::default();
        role.metadata.name = words.next().map(str::to_owned);
        let labels = words.next().unwrap_or_default().split(',').filter_map(|pair| pair.split_once('='));
        role.metadata.labels = Some(labels.map(|(k, v)| (k.into(), v.into())).collect());
        role.rules = Some(words.map(rule).collect());
        role
    }
    fn rule(text: &str) -> PolicyRule {
        let (verb, resource) = text.split_once('/').unwrap();
        PolicyRule {
            verbs: vec![verb.into()],
            api_groups: Some(vec![String::new()]),
            resources: Some(vec![resource.into()]),
            ..PolicyRule::default()
        }
    }
    /// An aggregated role that has the label it looks for, and a rule that nobody else has.
    fn gathering(selectors: &str) -> ClusterRole {
        let selectors: serde_json::Value = serde_json::from_str(selectors).unwrap();
        let mut role = role("combined foo=bar saw/boards");
        let json = serde_json::json!({"clusterRoleSelectors": selectors});
        role.aggregation_rule = serde_json::from_value(json).unwrap();
        role
    }

    #[test]
    fn an_aggregated_role_has_the_rules_of_those_it_selects() {
        let bar = r#"[{"matchLabels":{"foo":"bar"}}]"#;
        let both = r#"[{"matchLabels":{"foo":"other"}},{"matchLabels":{"foo":"bar"}}]"#;
        let (hammer, chisel) = ("hammer foo=bar hammer/nails hammer/wedges", "chisel foo=bar chisel/mortises");
        let cases: [(&str, &str, &[&str], &[&str]); 7] = [
            ("by name", bar, &[hammer, chisel], &["chisel/mortises", "hammer/nails", "hammer/wedges"]),
            ("its own dead rules go", bar, &[chisel], &["chisel/mortises"]),
            ("none is chosen: it has none", bar, &["hammer foo=other hammer/nails"], &[]),
            ("no labels at all", bar, &["hammer - hammer/nails"], &[]),
            ("selectors in their order", both, &[chisel, "saw foo=other saw/logs"], &["saw/logs", "chisel/mortises"]),
            ("each rule once", both, &[chisel, "double foo=other chisel/mortises"], &["chisel/mortises"]),
            ("an empty selector chooses all others", "[{}]", &["hammer - hammer/nails"], &["hammer/nails"]),
        ];
        for (why, selectors, others, expected) in cases {
            let role_itself = gathering(selectors);
            let mut roles: Vec<ClusterRole> = others.iter().map(|line| role(line)).collect();
            roles.push(role_itself.clone());
            let rules = aggregated(&role_itself, &roles).unwrap().unwrap();
            let expected: Vec<PolicyRule> = expected.iter().map(|text| rule(text)).collect();
            assert!(are_same(&rules, &expected), "{why}: {rules:?}");
        }
    }

    #[test]
    fn other_roles_keep_their_rules() {
        assert_eq!(aggregated(&role("plain foo=bar get/pods"), []), Ok(None));
        let odd = r#"[{"matchExpressions":[{"key":"a","operator":"Near"}]}]"#;
        assert_eq!(aggregated(&gathering(odd), []), Err(SelectorError::Operator("Near".into())));
    }

    #[test]
    fn absent_and_empty_are_the_same() {
        let (absent, mut empty) = (rule("get/pods"), rule("get/pods"));
        empty.resource_names = Some(Vec::new());
        assert!(are_same(std::slice::from_ref(&absent), &[empty]));
        assert!(!are_same(&[absent], &[rule("get/nodes")]));
    }
}
