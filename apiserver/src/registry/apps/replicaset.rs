//! ReplicaSet: so many pods of one template.

use corten_api::Problems;
use k8s_openapi::api::apps::v1::ReplicaSet;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, ScaleAccess, WriteContext, cells, check, workload};

impl Kind for ReplicaSet {
    const SINGULAR: &'static str = "replicaset";
    const SHORT_NAMES: &'static [&'static str] = &["rs"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const STORE_PREFIX: &'static str = "replicasets";
    const SUBRESOURCES: &'static [&'static str] = &["scale", "status"];
    const HAS_GENERATION: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        self.spec.replicas.get_or_insert(1);
        if let Some(template) = &mut self.spec.template {
            workload::default_template(template);
        }
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        workload::drop_unserved(self.spec.template.as_mut(), None);
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        workload::drop_unserved(self.spec.template.as_mut(), old.spec.template.as_ref());
    }
    fn validate(&self, problems: &mut Problems) {
        let (spec, at) = (&self.spec, Path::root("spec"));
        check::not_negative(problems, &at.field("replicas"), spec.replicas);
        check::not_negative(problems, &at.field("minReadySeconds"), spec.min_ready_seconds);
        workload::validate_selector(&spec.selector, "deployment", &at.field("selector"), problems);
        let template_at = at.field("template");
        match (&spec.template, workload::parsed(&spec.selector)) {
            (None, _) => problems.required(template_at, ""),
            (Some(template), Some(selector)) => {
                workload::validate_template(template, &self.metadata, &selector, "ReplicaSet", &template_at, problems);
            }
            (Some(_), None) => {}
        }
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("spec.selector"), &self.spec.selector, &old.spec.selector);
        let at = Path::root("spec.template");
        workload::validate_template_update(self.spec.template.as_ref(), old.spec.template.as_ref(), &at, problems);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let Some(status) = &self.status else { return };
        let counts = [
            ("fullyLabeledReplicas", status.fully_labeled_replicas),
            ("readyReplicas", status.ready_replicas),
            ("availableReplicas", status.available_replicas),
        ];
        workload::validate_counts(&counts, status.replicas, problems);
        check::not_negative(problems, &Path::root("status.observedGeneration"), status.observed_generation);
        check::not_negative(problems, &Path::root("status.terminatingReplicas"), status.terminating_replicas);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let (at, old) = (Path::root("spec.template"), old.map(|old| &old.metadata));
        workload::warnings(&self.metadata, old, true, self.spec.template.as_ref(), &at).into_vec()
    }
    fn columns() -> &'static [Column] {
        workload::REPLICAS_COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let (spec, status) = (&self.spec, self.status.as_ref());
        let counts = [spec.replicas, status.map(|s| s.replicas), status.and_then(|s| s.ready_replicas)];
        let selector = Cell::text_or(Some(&workload::query(&spec.selector)), cells::NONE);
        workload::replicas_row(&self.metadata, counts, spec.template.as_ref(), selector, now_secs)
    }
    fn scale() -> Option<ScaleAccess<Self>> {
        Some(ScaleAccess {
            spec_replicas: |rs| rs.spec.replicas.unwrap_or(0),
            set_spec_replicas: |rs, n| rs.spec.replicas = Some(n),
            status_replicas: |rs| rs.status.as_ref().map_or(0, |s| s.replicas),
            selector: |rs| workload::query(&rs.spec.selector),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{defaulted, found, found_on_update, row};

    fn spec(selector: &str, labels: &str) -> String {
        format!(
            r#"{{"spec":{{"selector":{selector},"template":{{"metadata":{{"labels":{labels}}},
            "spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}}}}}"#
        )
    }

    #[test]
    fn bad_replica_sets() {
        let a = r#"{"matchLabels":{"a":"1"}}"#;
        let cases = [
            (spec(a, r#"{"a":"1"}"#), vec![]),
            (
                spec(a, r#"{"a":"2"}"#),
                vec![
                    r#"spec.template.metadata.labels: Invalid value: {"a":"2"}: `selector` does not match template `labels`"#,
                ],
            ),
            (r#"{"spec":{"selector":{"matchLabels":{"a":"1"}}}}"#.into(), vec!["spec.template: Required value"]),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<ReplicaSet>(&json), expected, "{json}");
        }
    }

    #[test]
    fn the_selector_stays() {
        let with = |v: &str| spec(&format!(r#"{{"matchLabels":{{"a":"{v}"}}}}"#), &format!(r#"{{"a":"{v}"}}"#));
        assert_eq!(
            found_on_update::<ReplicaSet>(&with("1"), &with("2")),
            [r#"spec.selector: Invalid value: {"matchLabels":{"a":"2"}}: field is immutable"#]
        );
    }

    #[test]
    fn columns_and_scale() {
        let json =
            spec(r#"{"matchLabels":{"a":"1"}}"#, r#"{"a":"1"}"#).replace("\"selector\"", "\"replicas\":2,\"selector\"");
        assert_eq!(row::<ReplicaSet>(&json, 0), "|2|0|0|<unknown>|c|i|a=1");
        let mut rs: ReplicaSet = defaulted(&json);
        let scale = ReplicaSet::scale().unwrap();
        (scale.set_spec_replicas)(&mut rs, 5);
        assert_eq!(((scale.spec_replicas)(&rs), (scale.selector)(&rs).as_str()), (5, "a=1"));
    }
}
