//! ClusterRole: what may be done in any namespace or all of them, outside of them, and on paths that are no resources'.

use corten_api::selector::Selector;
use corten_api::{Problems, Scope};
use k8s_openapi::api::rbac::v1::{AggregationRule, ClusterRole};

use super::policy;
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, NameRule, check};

const NO_SELECTOR: &str = "at least one clusterRoleSelector required if aggregationRule is non-nil";

impl Kind for ClusterRole {
    const SINGULAR: &'static str = "clusterrole";
    const STORE_PREFIX: &'static str = "clusterroles";
    const CREATE_ON_UPDATE: bool = true;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!();
    fn validate(&self, problems: &mut Problems) {
        policy::validate(self.rules.as_ref(), Scope::Cluster, problems);
        if let Some(aggregation) = &self.aggregation_rule {
            validate_aggregation(aggregation, problems);
        }
    }
    fn columns() -> &'static [Column] {
        policy::COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        policy::row(self)
    }
}

fn validate_aggregation(aggregation: &AggregationRule, problems: &mut Problems) {
    let list = Path::root("aggregationRule.clusterRoleSelectors");
    let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
    if selectors.is_empty() {
        problems.required(list, NO_SELECTOR);
    }
    for (i, selector) in selectors.iter().enumerate() {
        let at = list.index(i);
        check::label_selector(problems, &at, selector);
        // Upstream says so once more, of the selector that it could not make.
        if Selector::from_label_selector(Some(selector)).is_err() {
            problems.invalid(at, serde_json::Value::Null, "invalid label selector.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::found;

    #[test]
    fn cluster_roles_may_name_paths_and_gather_others() {
        let at = "aggregationRule.clusterRoleSelectors";
        let cases: [(&str, &[&str]); 5] = [
            (r#"{"rules":[{"verbs":["get"],"nonResourceURLs":["/healthz/*"]}]}"#, &[]),
            (r#"{"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}},{}]}}"#, &[]),
            (
                r#"{"rules":[{"verbs":["get"],"nonResourceURLs":["/a"],"apiGroups":[""]}]}"#,
                &[
                    r#"rules[0].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and non-resource URLs"#,
                ],
            ),
            (r#"{"aggregationRule":{}}"#, &[&format!("{at}: Required value: {NO_SELECTOR}")]),
            (
                r#"{"aggregationRule":{"clusterRoleSelectors":[{},{"matchExpressions":[{"key":"a","operator":"In"}]}]}}"#,
                &[
                    &format!(
                        "{at}[1].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
                    ),
                    &format!("{at}[1]: Invalid value: null: invalid label selector."),
                ],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<ClusterRole>(json), expected, "{json}");
        }
    }
}
