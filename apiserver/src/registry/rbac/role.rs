//! Role: what may be done in its namespace.

use corten_api::{Problems, Scope};
use k8s_openapi::api::rbac::v1::Role;

use super::policy;
use crate::registry::{Cell, Column, Kind, NameRule};

impl Kind for Role {
    const SINGULAR: &'static str = "role";
    const STORE_PREFIX: &'static str = "roles";
    const CREATE_ON_UPDATE: bool = true;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!();
    fn validate(&self, problems: &mut Problems) {
        policy::validate(self.rules.as_ref(), Scope::Namespaced, problems);
    }
    fn columns() -> &'static [Column] {
        policy::COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        policy::row(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, row};

    fn problems(rule: &str) -> Vec<String> {
        found::<Role>(&format!(r#"{{"rules":[{rule}]}}"#))
    }

    #[test]
    fn rules_say_what_they_allow() {
        let both = "rules cannot apply to both regular resources and non-resource URLs";
        let cases: [(&str, &[&str]); 7] = [
            (r#"{"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":["web"]}"#, &[]),
            (r#"{"verbs":["fly"],"apiGroups":["*"],"resources":["*/scale"]}"#, &[]),
            (
                r#"{"verbs":[],"apiGroups":[""],"resources":["pods"]}"#,
                &["rules[0].verbs: Required value: verbs must contain at least one value"],
            ),
            (
                r#"{"verbs":["get"],"resources":["pods"]}"#,
                &["rules[0].apiGroups: Required value: resource rules must supply at least one api group"],
            ),
            (
                r#"{"verbs":["get"],"apiGroups":[""],"resources":[],"resourceNames":["web"]}"#,
                &["rules[0].resources: Required value: resource rules must supply at least one resource"],
            ),
            (
                r#"{"verbs":["get"],"nonResourceURLs":["/healthz"]}"#,
                &[
                    r#"rules[0].nonResourceURLs: Invalid value: ["/healthz"]: namespaced rules cannot apply to non-resource URLs"#,
                ],
            ),
            (
                r#"{"verbs":[],"nonResourceURLs":["/a"],"resourceNames":["x"]}"#,
                &[
                    "rules[0].verbs: Required value: verbs must contain at least one value",
                    r#"rules[0].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs"#,
                    &format!(r#"rules[0].nonResourceURLs: Invalid value: ["/a"]: {both}"#),
                ],
            ),
        ];
        for (rule, expected) in cases {
            assert_eq!(problems(rule), expected, "{rule}");
        }
        assert!(found::<Role>(r#"{"rules":null}"#).is_empty(), "a role may allow nothing");
    }

    #[test]
    fn a_row_says_when_it_was_made() {
        let json = r#"{"metadata":{"name":"system:x","creationTimestamp":"2026-02-03T04:05:06Z"}}"#;
        assert_eq!(row::<Role>(json, 0), "system:x|2026-02-03T04:05:06Z");
    }
}
