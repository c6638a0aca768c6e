//! RoleBinding: gives a role of its namespace, or a ClusterRole in its namespace alone.

use corten_api::{Problems, Scope};
use k8s_openapi::api::rbac::v1::RoleBinding;

use super::binding;
use crate::registry::{Cell, Column, Kind, NameRule};

const ROLES: &[&str] = &["Role", "ClusterRole"];

impl Kind for RoleBinding {
    const SINGULAR: &'static str = "rolebinding";
    const STORE_PREFIX: &'static str = "rolebindings";
    const CREATE_ON_UPDATE: bool = true;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!();
    fn fill_defaults(&mut self) {
        binding::fill_defaults(&mut self.role_ref, self.subjects.as_mut());
    }
    fn validate(&self, problems: &mut Problems) {
        binding::validate(&self.role_ref, self.subjects.as_ref(), Scope::Namespaced, ROLES, problems);
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
    use crate::registry::check::testing::{defaulted, found, found_on_update, row};

    const ROLE: &str = r#""roleRef":{"kind":"Role","name":"r"}"#;

    fn problems(subject: &str) -> Vec<String> {
        found::<RoleBinding>(&format!(r#"{{{ROLE},"subjects":[{subject}]}}"#))
    }

    #[test]
    fn groups_of_the_api_are_filled_in() {
        let json = format!(
            r#"{{{ROLE},"subjects":[{{"kind":"User","name":"u"}},{{"kind":"Group","apiGroup":"","name":"g"}},
            {{"kind":"ServiceAccount","apiGroup":"","name":"s"}},{{"kind":"Robot","name":"r"}}]}}"#
        );
        let binding = defaulted::<RoleBinding>(&json);
        let own = Some("rbac.authorization.k8s.io".to_owned());
        assert_eq!(binding.role_ref.api_group, own);
        let groups: Vec<_> = binding.subjects.unwrap().into_iter().map(|s| s.api_group).collect();
        assert_eq!(groups, [own.clone(), own, None, None]);
    }

    #[test]
    fn subjects_are_known_kinds_of_their_own_groups() {
        let group = r#"supported values: "rbac.authorization.k8s.io""#;
        let cases: [(&str, &[&str]); 8] = [
            (r#"{"kind":"User","name":"jane","namespace":"odd"}"#, &[]),
            (r#"{"kind":"Group","name":"system:serviceaccounts"}"#, &[]),
            (r#"{"kind":"ServiceAccount","name":"default"}"#, &[]),
            (r#"{"kind":"ServiceAccount","name":""}"#, &["subjects[0].name: Required value"]),
            (
                r#"{"kind":"User","name":"jane","apiGroup":"x"}"#,
                &[&format!(r#"subjects[0].apiGroup: Unsupported value: "x": {group}"#)],
            ),
            (
                r#"{"kind":"Group","name":"","apiGroup":"x"}"#,
                &[
                    "subjects[0].name: Required value",
                    &format!(r#"subjects[0].apiGroup: Unsupported value: "x": {group}"#),
                ],
            ),
            (
                r#"{"kind":"ServiceAccount","name":"a","apiGroup":"rbac.authorization.k8s.io"}"#,
                &[r#"subjects[0].apiGroup: Unsupported value: "rbac.authorization.k8s.io": supported values: """#],
            ),
            (
                r#"{"kind":"user","name":"jane"}"#,
                &[
                    r#"subjects[0].kind: Unsupported value: "user": supported values: "ServiceAccount", "User", "Group""#,
                ],
            ),
        ];
        for (subject, expected) in cases {
            assert_eq!(problems(subject), expected, "{subject}");
        }
        let odd = problems(r#"{"kind":"ServiceAccount","name":"A_b"}"#);
        assert!(
            odd.len() == 1 && odd[0].starts_with(r#"subjects[0].name: Invalid value: "A_b": a lowercase RFC 1123"#)
        );
    }

    #[test]
    fn roles_are_named_as_roles_can_be() {
        let cases: [(&str, &[&str]); 6] = [
            (r#"{"kind":"ClusterRole","name":"system:x"}"#, &[]),
            (r#"{"kind":"Role","name":""}"#, &["roleRef.name: Required value"]),
            (r#"{"kind":"Role","name":".."}"#, &[r#"roleRef.name: Invalid value: "..": may not be '..'"#]),
            (
                r#"{"kind":"Role","name":"a/%"}"#,
                &[
                    r#"roleRef.name: Invalid value: "a/%": may not contain '/'"#,
                    r#"roleRef.name: Invalid value: "a/%": may not contain '%'"#,
                ],
            ),
            (
                r#"{"kind":"Rule","name":"r"}"#,
                &[r#"roleRef.kind: Unsupported value: "Rule": supported values: "Role", "ClusterRole""#],
            ),
            (
                r#"{"kind":"Role","name":"r","apiGroup":"apps"}"#,
                &[r#"roleRef.apiGroup: Unsupported value: "apps": supported values: "rbac.authorization.k8s.io""#],
            ),
        ];
        for (role, expected) in cases {
            assert_eq!(found::<RoleBinding>(&format!(r#"{{"roleRef":{role}}}"#)), expected, "{role}");
        }
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let old = format!("{{{ROLE}}}");
        let more = format!(r#"{{{ROLE},"subjects":[{{"kind":"User","name":"jane"}}]}}"#);
        assert!(found_on_update::<RoleBinding>(&old, &more).is_empty());
        let other = r#"{"roleRef":{"kind":"ClusterRole","name":"r"}}"#;
        let refused = r#"roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"r"}: cannot change roleRef"#;
        assert_eq!(found_on_update::<RoleBinding>(&old, other), [refused]);
    }

    #[test]
    fn a_row_says_who_has_what() {
        let json = format!(
            r#"{{"metadata":{{"name":"b"}},{ROLE},"subjects":[{{"kind":"User","name":"u"}},{{"kind":"Group","name":"g"}},
            {{"kind":"User","name":"v"}},{{"kind":"ServiceAccount","namespace":"n","name":"s"}}]}}"#
        );
        assert_eq!(row::<RoleBinding>(&json, 0), "b|Role/r|<unknown>|u, v|g|n/s");
        assert_eq!(row::<RoleBinding>(&format!("{{{ROLE}}}"), 0), "|Role/r|<unknown>|||");
    }
}
