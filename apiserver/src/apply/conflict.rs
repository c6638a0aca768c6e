//! Fields that an apply would take from others: who owns them, in upstream's words.

use std::fmt::{self, Write};

use corten_api::{ApiError, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;

use super::field_set::FieldSet;
use super::managers::Manager;
use super::told;

/// Fields that are told of one by one. The others are counted.
const MAX_TOLD: usize = 1000;

/// The fields that managers own and an apply would give another value, by manager. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(Vec<(Manager, FieldSet)>);

impl Conflicts {
    /// `None` if there are none.
    pub(super) fn of(mut by_manager: Vec<(Manager, FieldSet)>) -> Option<Self> {
        by_manager.retain(|(_, fields)| !fields.is_empty());
        (!by_manager.is_empty()).then_some(Self(by_manager))
    }

    /// Those that are not about `allowed`.
    pub(super) fn without(mut self, allowed: &FieldSet) -> Option<Self> {
        for (_, fields) in &mut self.0 {
            fields.subtract(allowed);
        }
        Self::of(self.0)
    }

    pub fn by_manager(&self) -> &[(Manager, FieldSet)] {
        &self.0
    }

    fn count(&self) -> usize {
        self.0.iter().map(|(_, fields)| fields.len()).sum()
    }

    /// The first of them, one by one, with their paths.
    fn first(&self) -> impl Iterator<Item = (&Manager, String)> {
        let all = self.0.iter().flat_map(|(manager, fields)| fields.iter().map(move |path| (manager, told(path))));
        all.take(MAX_TOLD)
    }
}

/// As kubectl shows it.
impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count();
        if let (1, Some((manager, path))) = (count, self.first().next()) {
            return write!(f, "Apply failed with 1 conflict: conflict with {manager}: {path}");
        }
        write!(f, "Apply failed with {count} conflicts: ")?;
        let mut before = None;
        for (manager, path) in self.first() {
            if before.is_some() {
                f.write_char('\n')?;
            }
            if before != Some(manager) {
                writeln!(f, "conflicts with {manager}:")?;
            }
            before = Some(manager);
            write!(f, "- {path}")?;
        }
        match count.saturating_sub(MAX_TOLD) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Conflicts {}

impl From<Conflicts> for ApiError {
    fn from(conflicts: Conflicts) -> Self {
        let causes = conflicts.first().map(|(manager, path)| StatusCause {
            reason: Some("FieldManagerConflict".into()),
            message: Some(format!("conflict with {manager}")),
            field: Some(path),
        });
        let causes = causes.collect();
        let mut err = Self::new(Reason::Conflict, conflicts.to_string());
        err.details().causes = Some(causes);
        err
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(json: serde_json::Value) -> FieldSet {
        FieldSet::from_fields_v1(&json).unwrap()
    }

    #[test]
    fn one_conflict_is_told_in_one_line() {
        let replicas = || fields(json!({"f:spec": {"f:replicas": {}}}));
        for (manager, expected) in [
            (
                Manager::updater("kubectl-client-side-apply", "apps/v1", ""),
                r#"conflict with "kubectl-client-side-apply" using apps/v1"#,
            ),
            (
                Manager::updater("hpa", "apps/v1", "scale"),
                r#"conflict with "hpa" with subresource "scale" using apps/v1"#,
            ),
            (Manager::applier("argo", ""), r#"conflict with "argo""#),
            (Manager::applier("argo", "status"), r#"conflict with "argo" with subresource "status""#),
        ] {
            let err = ApiError::from(Conflicts::of(vec![(manager, replicas())]).unwrap());
            assert_eq!((err.code(), err.reason()), (409, Reason::Conflict));
            assert_eq!(err.message(), format!("Apply failed with 1 conflict: {expected}: .spec.replicas"));
            let details = err.status().details.clone().unwrap();
            let cause = StatusCause {
                reason: Some("FieldManagerConflict".into()),
                message: Some(expected.into()),
                field: Some(".spec.replicas".into()),
            };
            assert_eq!((details.causes, details.name), (Some(vec![cause]), None));
        }
    }

    #[test]
    fn many_conflicts_are_told_by_manager() {
        let labels = fields(json!({"f:metadata": {"f:labels": {"f:app": {}}}}));
        let container = json!({".": {}, "f:image": {}});
        let spec = fields(json!({"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"web\"}": container}}}));
        let conflicts =
            Conflicts::of(vec![(Manager::applier("bar", ""), labels), (Manager::updater("foo", "v1", ""), spec)]);
        let told = "Apply failed with 4 conflicts: conflicts with \"bar\":\n- .metadata.labels.app\n\
                    conflicts with \"foo\" using v1:\n- .spec.replicas\n- .spec.containers[name=\"web\"]\n\
                    - .spec.containers[name=\"web\"].image";
        assert_eq!(conflicts.unwrap().to_string(), told);
    }

    #[test]
    fn a_thousand_conflicts_are_told_and_the_others_counted() {
        let data: serde_json::Map<String, serde_json::Value> =
            (0..1234).map(|n| (format!("f:{n}"), json!({}))).collect();
        let conflicts = Conflicts::of(vec![(Manager::applier("a", ""), fields(json!({ "f:data": data })))]).unwrap();
        let err = ApiError::from(conflicts);
        assert!(err.message().starts_with("Apply failed with 1234 conflicts: conflicts with \"a\":\n- .data.0\n"));
        assert!(err.message().ends_with("\nand 234 more"), "{}", err.message());
        assert_eq!(err.status().details.as_ref().and_then(|details| details.causes.as_ref()).map(Vec::len), Some(1000));
    }

    #[test]
    fn conflicts_about_what_is_allowed_are_none() {
        let labels = fields(json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}));
        let conflicts = || Conflicts::of(vec![(Manager::applier("a", ""), labels.clone())]).unwrap();
        let app = fields(json!({"f:metadata": {"f:labels": {"f:app": {}}}}));
        assert_eq!(conflicts().without(&app).unwrap().by_manager()[0].1.to_string(), ".metadata.labels\n");
        assert_eq!(conflicts().without(&labels), None);
    }
}
