//! DaemonSet: one pod on each node that fits.

use corten_api::Problems;
use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetStatus, DaemonSetUpdateStrategy, RollingUpdateDaemonSet,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::registry::defaults::fill;
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, WriteContext, cells, check, workload};

const REVISIONS_KEPT: i32 = 10;
const ROLLING_UPDATE: &str = "RollingUpdate";
const ON_DELETE: &str = "OnDelete";
/// Counts the changes of the template. It was a field once, and is an annotation since.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::integer("Desired", "Nodes that should have a pod"),
    cells::integer("Current", "Nodes that have one of those"),
    cells::integer("Ready", "Nodes whose pod is ready"),
    cells::integer("Up-to-date", "Nodes whose pod is of the newest template"),
    cells::integer("Available", "Nodes whose pod has been ready for long enough"),
    cells::text("Node Selector", "Labels of the nodes that are meant"),
    cells::AGE,
    cells::CONTAINERS,
    cells::IMAGES,
    cells::SELECTOR,
];

impl Kind for DaemonSet {
    const SINGULAR: &'static str = "daemonset";
    const SHORT_NAMES: &'static [&'static str] = &["ds"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const STORE_PREFIX: &'static str = "daemonsets";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const HAS_GENERATION: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        default_strategy(self.spec.update_strategy.get_or_insert_default());
        self.spec.revision_history_limit.get_or_insert(REVISIONS_KEPT);
        workload::default_template(&mut self.spec.template);
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        workload::drop_unserved(Some(&mut self.spec.template), None);
        // One that is no number is left for validation to refuse.
        if template_generation(&self.metadata).is_none_or(|generation| generation.is_ok_and(|n| n < 1)) {
            set_template_generation(&mut self.metadata, 1);
        }
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        workload::drop_unserved(Some(&mut self.spec.template), Some(&old.spec.template));
        keep_template_generation(&mut self.metadata, &old.metadata, self.spec.template != old.spec.template);
    }
    fn prepare_status(&mut self, old: &Self, _: &WriteContext<'_>) {
        keep_template_generation(&mut self.metadata, &old.metadata, false);
    }
    fn validate(&self, problems: &mut Problems) {
        let at = Path::root("metadata.annotations");
        if let Some(Err(given)) = template_generation(&self.metadata) {
            problems.invalid(at.key(TEMPLATE_GENERATION), given, "must be an integer");
        }
        validate_spec(&self.spec, &self.metadata, &Path::root("spec"), problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("spec.selector"), &self.spec.selector, &old.spec.selector);
        let at = Path::root("spec.template");
        workload::validate_template_update(Some(&self.spec.template), Some(&old.spec.template), &at, problems);
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        let none = DaemonSetStatus::default();
        let (new, old) = (self.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
        let at = Path::root("status");
        let counts = [
            ("currentNumberScheduled", Some(new.current_number_scheduled)),
            ("numberMisscheduled", Some(new.number_misscheduled)),
            ("desiredNumberScheduled", Some(new.desired_number_scheduled)),
            ("numberReady", Some(new.number_ready)),
            ("updatedNumberScheduled", new.updated_number_scheduled),
            ("numberAvailable", new.number_available),
            ("numberUnavailable", new.number_unavailable),
        ];
        for (field, count) in counts {
            check::not_negative(problems, &at.field(field), count);
        }
        check::not_negative(problems, &at.field("observedGeneration"), new.observed_generation);
        workload::validate_collisions(new.collision_count, old.collision_count, problems);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let (at, old) = (Path::root("spec.template"), old.map(|old| &old.metadata));
        workload::warnings(&self.metadata, old, false, Some(&self.spec.template), &at).into_vec()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let none = DaemonSetStatus::default();
        let status = self.status.as_ref().unwrap_or(&none);
        let pod = self.spec.template.spec.as_ref();
        let [containers, images] = cells::containers_and_images(pod);
        vec![
            cells::name(&self.metadata),
            Cell::Int(status.desired_number_scheduled.into()),
            Cell::Int(status.current_number_scheduled.into()),
            Cell::Int(status.number_ready.into()),
            Cell::Int(status.updated_number_scheduled.unwrap_or(0).into()),
            Cell::Int(status.number_available.unwrap_or(0).into()),
            cells::labels(pod.and_then(|pod| pod.node_selector.as_ref())),
            cells::age(&self.metadata, now_secs),
            containers,
            images,
            Cell::text_or(Some(&workload::query(&self.spec.selector)), cells::NONE),
        ]
    }
}

fn default_strategy(strategy: &mut DaemonSetUpdateStrategy) {
    fill(&mut strategy.type_, ROLLING_UPDATE);
    if strategy.type_.as_deref() == Some(ROLLING_UPDATE) {
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
        rolling.max_surge.get_or_insert(IntOrString::Int(0));
    }
}

/// `Err`: what is there and is no number.
fn template_generation(meta: &ObjectMeta) -> Option<Result<i64, &str>> {
    let text = meta.annotations.as_ref()?.get(TEMPLATE_GENERATION)?;
    Some(text.parse().map_err(|_| text.as_str()))
}
fn set_template_generation(meta: &mut ObjectMeta, generation: i64) {
    meta.annotations.get_or_insert_default().insert(TEMPLATE_GENERATION.into(), generation.to_string());
}
/// No write says what it is: it is counted.
fn keep_template_generation(new: &mut ObjectMeta, old: &ObjectMeta, is_changed: bool) {
    let was = template_generation(old).and_then(Result::ok).unwrap_or(0);
    set_template_generation(new, was.saturating_add(i64::from(is_changed)));
}

fn validate_spec(spec: &DaemonSetSpec, owner: &ObjectMeta, at: &Path<'_>, problems: &mut Problems) {
    // Of one that is missing is told that it does not find the template's labels, and no more.
    if spec.selector != LabelSelector::default() {
        workload::validate_selector(&spec.selector, "daemonset", &at.field("selector"), problems);
    }
    let selector = workload::selector_to_check(&spec.selector);
    workload::validate_template(&spec.template, owner, &selector, "DaemonSet", &at.field("template"), problems);
    check::not_negative(problems, &at.field("minReadySeconds"), spec.min_ready_seconds);
    check::not_negative(problems, &at.field("revisionHistoryLimit"), spec.revision_history_limit);
    let at = at.field("updateStrategy");
    let Some(strategy) = &spec.update_strategy else { return problems.required(at, "") };
    match (check::text(strategy.type_.as_ref()), &strategy.rolling_update) {
        (ON_DELETE, _) => {}
        (ROLLING_UPDATE, Some(rolling)) => validate_rolling(rolling, &at.field("rollingUpdate"), problems),
        (ROLLING_UPDATE, None) => problems.required(at.field("rollingUpdate"), ""),
        _ => problems.unsupported(at, strategy, &[ROLLING_UPDATE, ON_DELETE]),
    }
}

/// A node has its new pod beside the old one, or none for a while: one of both.
fn validate_rolling(rolling: &RollingUpdateDaemonSet, at: &Path<'_>, problems: &mut Problems) {
    let (unavailable_at, surge_at) = (at.field("maxUnavailable"), at.field("maxSurge"));
    let zero = IntOrString::Int(0);
    let max_unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    let max_surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    for (at, value) in [(&unavailable_at, max_unavailable), (&surge_at, max_surge)] {
        check::int_or_percent(problems, at, value);
        check::at_most_all(problems, at, value);
    }
    match (check::is_zero(max_unavailable), check::is_zero(max_surge)) {
        (false, false) => problems.invalid(surge_at, max_surge, "may not be set when maxUnavailable is non-zero"),
        (true, true) => problems.required(unavailable_at, "cannot be 0 when maxSurge is 0"),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
