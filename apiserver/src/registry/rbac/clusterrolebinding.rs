//! ClusterRoleBinding: gives a ClusterRole everywhere.

use corten_api::{Problems, Scope};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;

use super::binding;
use crate::registry::{Cell, Column, Kind, NameRule};

const ROLES: &[&str] = &["ClusterRole"];

impl Kind for ClusterRoleBinding {
    const SINGULAR: &'static str = "clusterrolebinding";
    const STORE_PREFIX: &'static str = "clusterrolebindings";
    const CREATE_ON_UPDATE: bool = true;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!();
    fn fill_defaults(&mut self) {
        binding::fill_defaults(&mut self.role_ref, self.subjects.as_mut());
    }
    fn validate(&self, problems: &mut Problems) {
        binding::validate(&self.role_ref, self.subjects.as_ref(), Scope::Cluster, ROLES, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        binding::validate_update(&self.role_ref, &old.role_ref, problems);
    }
    fn columns() -> &'static [Column] {
        binding::COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        binding::row(&self.metadata, &self.role_ref, self.subjects.as_ref(), now_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{found, found_on_update, row};

    const ROLE: &str = r#""roleRef":{"kind":"ClusterRole","name":"view"}"#;

    #[test]
    fn what_is_given_everywhere_is_no_namespaces() {
        let cases: [(String, &[&str]); 4] = [
            (format!(r#"{{{ROLE},"subjects":[{{"kind":"ServiceAccount","namespace":"n","name":"s"}}]}}"#), &[]),
            (format!("{{{ROLE}}}"), &[]),
            (
                format!(r#"{{{ROLE},"subjects":[{{"kind":"ServiceAccount","name":"s"}}]}}"#),
                &["subjects[0].namespace: Required value"],
            ),
            (
                r#"{"roleRef":{"kind":"Role","name":"r"}}"#.into(),
                &[r#"roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole""#],
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<ClusterRoleBinding>(&json), expected, "{json}");
        }
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let (old, other) = (format!("{{{ROLE}}}"), r#"{"roleRef":{"kind":"ClusterRole","name":"edit"}}"#);
        assert!(found_on_update::<ClusterRoleBinding>(&old, &old).is_empty());
        let refused = found_on_update::<ClusterRoleBinding>(&old, other);
        assert!(refused.len() == 1 && refused[0].ends_with("cannot change roleRef"), "{refused:?}");
    }

    #[test]
    fn a_row_says_who_has_what() {
        let json = format!(r#"{{{ROLE},"subjects":[{{"kind":"Group","name":"g"}}]}}"#);
        assert_eq!(row::<ClusterRoleBinding>(&json, 0), "|ClusterRole/view|<unknown>||g|");
    }
}
