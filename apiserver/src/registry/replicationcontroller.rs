//! ReplicationController: the ReplicaSet of old, with a plain map as its selector.

use corten_api::Problems;
use corten_api::selector::Selector;
use k8s_openapi::api::core::v1::ReplicationController;

use super::path::Path;
use super::{Cell, Column, Kind, ScaleAccess, SelectableField, WriteContext, cells, check, workload};

impl Kind for ReplicationController {
    const SINGULAR: &'static str = "replicationcontroller";
    const SHORT_NAMES: &'static [&'static str] = &["rc"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const ORPHANS_BY_DEFAULT: Option<&'static str> = Some("");
    const STORE_PREFIX: &'static str = "controllers";
    const SUBRESOURCES: &'static [&'static str] = &["scale", "status"];
    const FIELDS: &'static [SelectableField] = &[SelectableField::new("status.replicas", "status.replicas", "0")];
    const HAS_GENERATION: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        let Some(template) = &mut spec.template else { return };
        workload::default_template(template);
        // Old clients gave labels once only, in the template.
        if let Some(labels) = template.metadata.as_ref().and_then(|m| m.labels.as_ref()) {
            if spec.selector.as_ref().is_none_or(|s| s.is_empty()) {
                spec.selector = Some(labels.clone());
            }
            if self.metadata.labels.as_ref().is_none_or(|l| l.is_empty()) {
                self.metadata.labels = Some(labels.clone());
            }
        }
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        workload::drop_unserved(self.spec.as_mut().and_then(|spec| spec.template.as_mut()), None);
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        let stored = old.spec.as_ref().and_then(|spec| spec.template.as_ref());
        workload::drop_unserved(self.spec.as_mut().and_then(|spec| spec.template.as_mut()), stored);
    }
    fn validate(&self, problems: &mut Problems) {
        let at = Path::root("spec");
        let Some(spec) = &self.spec else { return problems.required(at, "") };
        check::not_negative(problems, &at.field("minReadySeconds"), spec.min_ready_seconds);
        let selector_at = at.field("selector");
        if spec.selector.as_ref().is_none_or(|s| s.is_empty()) {
            problems.required(selector_at, "");
        }
        check::selector(problems, &selector_at, spec.selector.as_ref());
        check::not_negative(problems, &at.field("replicas"), spec.replicas);
        let selector = match &spec.selector {
            Some(labels) if !labels.is_empty() => Selector::from_labels(Some(labels)),
            _ => Selector::everything(),
        };
        let template_at = at.field("template");
        match &spec.template {
            None => problems.required(template_at, ""),
            Some(template) => {
                workload::validate_template(
                    template,
                    &self.metadata,
                    &selector,
                    "ReplicationController",
                    &template_at,
                    problems,
                );
            }
        }
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let Some(status) = &self.status else { return };
        let counts = [
            ("fullyLabeledReplicas", status.fully_labeled_replicas),
            ("readyReplicas", status.ready_replicas),
            ("availableReplicas", status.available_replicas),
        ];
        workload::validate_counts(&counts, status.replicas, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let new = self.spec.as_ref().and_then(|spec| spec.template.as_ref());
        let old = old.spec.as_ref().and_then(|spec| spec.template.as_ref());
        workload::validate_template_update(new, old, &Path::root("spec.template"), problems);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let (at, old) = (Path::root("spec.template"), old.map(|old| &old.metadata));
        workload::warnings(&self.metadata, old, true, self.spec.as_ref().and_then(|spec| spec.template.as_ref()), &at)
            .into_vec()
    }
    fn columns() -> &'static [Column] {
        workload::REPLICAS_COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let (spec, status) = (self.spec.as_ref(), self.status.as_ref());
        let counts = [spec.and_then(|s| s.replicas), status.map(|s| s.replicas), status.and_then(|s| s.ready_replicas)];
        let selector = cells::labels(spec.and_then(|s| s.selector.as_ref()));
        workload::replicas_row(&self.metadata, counts, spec.and_then(|s| s.template.as_ref()), selector, now_secs)
    }
    fn scale() -> Option<ScaleAccess<Self>> {
        Some(ScaleAccess {
            spec_replicas: |rc| rc.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0),
            set_spec_replicas: |rc, n| rc.spec.get_or_insert_default().replicas = Some(n),
            status_replicas: |rc| rc.status.as_ref().map_or(0, |s| s.replicas),
            selector: |rc| {
                let labels = rc.spec.as_ref().and_then(|s| s.selector.as_ref());
                Selector::from_labels(labels).to_string()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::{defaulted, found, row};

    const PODS: &str =
        r#""template":{"metadata":{"labels":{"a":"1"}},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;

    #[test]
    fn labels_come_from_the_template() {
        let rc: ReplicationController = defaulted(&format!(r#"{{"spec":{{{PODS}}}}}"#));
        let spec = rc.spec.unwrap();
        assert_eq!(
            (spec.replicas, &spec.selector.unwrap()["a"], &rc.metadata.labels.unwrap()["a"]),
            (Some(1), &"1".into(), &"1".into())
        );
    }

    #[test]
    fn bad_controllers() {
        let cases = [
            (format!(r#"{{"spec":{{{PODS}}}}}"#), vec![]),
            (
                format!(r#"{{"spec":{{"selector":{{"b":"2"}},"replicas":-1,{PODS}}}}}"#),
                vec![
                    "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                    r#"spec.template.metadata.labels: Invalid value: {"a":"1"}: `selector` does not match template `labels`"#,
                ],
            ),
            ("{}".into(), vec!["spec.selector: Required value", "spec.template: Required value"]),
        ];
        for (json, expected) in cases {
            assert_eq!(found::<ReplicationController>(&json), expected, "{json}");
        }
    }

    #[test]
    fn columns() {
        let json = format!(r#"{{"spec":{{"replicas":2,"selector":{{"a":"1"}},{PODS}}},"status":{{"replicas":1}}}}"#);
        assert_eq!(row::<ReplicationController>(&json, 0), "|2|1|0|<unknown>|c|i|a=1");
    }
}
