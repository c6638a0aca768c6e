//! PodDisruptionBudget: how many of the pods that it selects may be evicted. Its controller counts, evictions spend.

use corten_api::Problems;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, NameRule, WriteContext, cells, check, conditions};

/// When a pod may be evicted that is not ready.
pub const ALWAYS_ALLOW: &str = "AlwaysAllow";
const UNHEALTHY_POLICIES: &[&str] = &[ALWAYS_ALLOW, "IfHealthyBudget"];

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Min Available", "Pods that must be left"),
    cells::text("Max Unavailable", "Pods that may be missing"),
    cells::integer("Allowed Disruptions", "Pods that may be evicted now"),
    cells::AGE,
];

impl Kind for PodDisruptionBudget {
    const SINGULAR: &'static str = "poddisruptionbudget";
    const SHORT_NAMES: &'static [&'static str] = &["pdb"];
    const STORE_PREFIX: &'static str = "poddisruptionbudgets";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const HAS_GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        self.spec.get_or_insert_default();
        show_counts(self.status.get_or_insert_default());
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        let mut status = PodDisruptionBudgetStatus::default();
        show_counts(&mut status);
        self.status = Some(status);
    }
    fn validate(&self, problems: &mut Problems) {
        let none = PodDisruptionBudgetSpec::default();
        let (spec, at) = (self.spec.as_ref().unwrap_or(&none), Path::root("spec"));
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            problems.invalid(at, spec, "minAvailable and maxUnavailable cannot be both set");
        }
        for (field, value) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)] {
            if let Some(value) = value {
                check::int_or_percent(problems, &at.field(field), value);
                check::at_most_all(problems, &at.field(field), value);
            }
        }
        if let Some(selector) = &spec.selector {
            check::label_selector(problems, &at.field("selector"), selector);
        }
        let policy = spec.unhealthy_pod_eviction_policy.as_ref();
        check::optional_word(problems, &at.field("unhealthyPodEvictionPolicy"), policy, UNHEALTHY_POLICIES);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let none = PodDisruptionBudgetStatus::default();
        let (status, at) = (self.status.as_ref().unwrap_or(&none), Path::root("status"));
        conditions::validate(status.conditions.as_deref().unwrap_or_default(), &at.field("conditions"), problems);
        for (field, count) in [
            ("disruptionsAllowed", status.disruptions_allowed),
            ("currentHealthy", status.current_healthy),
            ("desiredHealthy", status.desired_healthy),
            ("expectedPods", status.expected_pods),
        ] {
            check::not_negative(problems, &at.field(field), count);
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let spec = self.spec.as_ref();
        let shown = |value: Option<&IntOrString>| match value {
            None => Cell::text("N/A"),
            Some(IntOrString::Int(n)) => Cell::text(n.to_string()),
            Some(IntOrString::String(text)) => Cell::text(text.clone()),
        };
        let allowed = self.status.as_ref().and_then(|s| s.disruptions_allowed).unwrap_or(0);
        vec![
            cells::name(&self.metadata),
            shown(spec.and_then(|s| s.min_available.as_ref())),
            shown(spec.and_then(|s| s.max_unavailable.as_ref())),
            Cell::Int(allowed.into()),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

/// Counts of nothing are told, too.
fn show_counts(status: &mut PodDisruptionBudgetStatus) {
    for count in [
        &mut status.disruptions_allowed,
        &mut status.current_healthy,
        &mut status.desired_healthy,
        &mut status.expected_pods,
    ] {
        count.get_or_insert(0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::Strategy;
    use crate::registry::check::testing::{defaulted, found, object, prepare, row, texts};

    fn of_spec(spec: Value) -> Vec<String> {
        found::<PodDisruptionBudget>(&json!({ "spec": spec }).to_string())
    }

    #[test]
    fn good_budgets() {
        for spec in [
            json!({}),
            json!({"minAvailable": 1, "selector": {}}),
            json!({"maxUnavailable": "50%", "selector": {"matchLabels": {"a": "b"}}}),
            json!({"minAvailable": "100%", "unhealthyPodEvictionPolicy": "AlwaysAllow"}),
            json!({"minAvailable": 0, "unhealthyPodEvictionPolicy": "IfHealthyBudget"}),
        ] {
            assert_eq!(of_spec(spec.clone()), Vec::<String>::new(), "{spec}");
        }
    }

    #[test]
    fn bad_budgets() {
        for (spec, expected) in [
            (
                json!({"minAvailable": 1, "maxUnavailable": 2}),
                r#": Invalid value: {"maxUnavailable":2,"minAvailable":1}: minAvailable and maxUnavailable cannot be both set"#,
            ),
            (json!({"minAvailable": -1}), ".minAvailable: Invalid value: -1: must be greater than or equal to 0"),
            (json!({"minAvailable": "101%"}), r#".minAvailable: Invalid value: "101%": must not be greater than 100%"#),
            (
                json!({"maxUnavailable": "1"}),
                r#".maxUnavailable: Invalid value: "1": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"#,
            ),
            (
                json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
                ".selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ),
            (
                json!({"unhealthyPodEvictionPolicy": ""}),
                r#".unhealthyPodEvictionPolicy: Unsupported value: "": supported values: "AlwaysAllow", "IfHealthyBudget""#,
            ),
        ] {
            assert_eq!(of_spec(spec.clone()), [format!("spec{expected}")], "{spec}");
        }
    }

    #[test]
    fn a_status_has_counts_that_can_be() {
        let found = |status: Value| {
            let budget: PodDisruptionBudget = object(&json!({ "status": status }).to_string());
            let mut problems = Problems::default();
            budget.validate_status(&PodDisruptionBudget::default(), &mut problems);
            texts(&problems)
        };
        assert!(
            found(json!({"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}))
                .is_empty()
        );
        for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            let expected = format!("status.{field}: Invalid value: -1: must be greater than or equal to 0");
            assert_eq!(found(json!({field: -1})), [expected]);
        }
        let nameless = json!({"type": "", "status": "True", "reason": "r", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert!(found(json!({"conditions": [nameless]}))[0].starts_with("status.conditions[0].type: Invalid value"));
    }

    #[test]
    fn spec_and_status_are_written_apart() {
        let old: PodDisruptionBudget = defaulted(r#"{"spec":{"minAvailable":1},"status":{"disruptionsAllowed":3}}"#);
        let fresh: PodDisruptionBudget =
            defaulted(r#"{"metadata":{"labels":{"a":"b"}},"spec":{"minAvailable":2},"status":{"currentHealthy":9}}"#);
        let (mut created, mut new, mut status) = (fresh.clone(), fresh.clone(), fresh);
        prepare(Strategy::Create, &mut created);
        let zeros = json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
        assert_eq!(serde_json::to_value(&created.status).unwrap(), zeros);
        prepare(Strategy::Update(&old), &mut new);
        assert!(new.status == old.status && new.spec_changed(&old));
        prepare(Strategy::Status(&old), &mut status);
        assert!(status.spec == old.spec && !status.spec_changed(&old) && status.metadata.labels.is_some());
        assert_eq!(status.status.unwrap().current_healthy, Some(9));
    }

    #[test]
    fn columns() {
        let json = r#"{"metadata":{"name":"b"},"spec":{"minAvailable":"50%"},"status":{"disruptionsAllowed":2}}"#;
        assert_eq!(row::<PodDisruptionBudget>(json, 0), "b|50%|N/A|2|<unknown>");
        assert_eq!(row::<PodDisruptionBudget>(r#"{"spec":{"maxUnavailable":1}}"#, 0), "|N/A|1|0|<unknown>");
    }
}
