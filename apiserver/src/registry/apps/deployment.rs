//! Deployment: replicas of a pod template, replaced step by step when the template changes.

use corten_api::Problems;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::registry::defaults::fill;
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, ScaleAccess, WriteContext, cells, check, workload};

const REVISIONS_KEPT: i32 = 10;
const PROGRESS_DEADLINE_SECS: i32 = 600;
const QUARTER: &str = "25%";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Ready", "Ready pods of those wanted"),
    cells::integer("Up-to-date", "Pods of the newest template"),
    cells::integer("Available", "Pods that have been ready for long enough"),
    cells::AGE,
    cells::CONTAINERS,
    cells::IMAGES,
    cells::SELECTOR,
];

impl Kind for Deployment {
    const SINGULAR: &'static str = "deployment";
    const SHORT_NAMES: &'static [&'static str] = &["deploy"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const STORE_PREFIX: &'static str = "deployments";
    const SUBRESOURCES: &'static [&'static str] = &["scale", "status"];
    const HAS_GENERATION: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(REVISIONS_KEPT);
        spec.progress_deadline_seconds.get_or_insert(PROGRESS_DEADLINE_SECS);
        default_strategy(spec.strategy.get_or_insert_default());
        workload::default_template(&mut spec.template);
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        workload::drop_unserved(Some(&mut self.spec.template), None);
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        workload::drop_unserved(Some(&mut self.spec.template), Some(&old.spec.template));
    }
    fn prepare_status(&mut self, old: &Self, _: &WriteContext<'_>) {
        self.metadata.labels = old.metadata.labels.clone();
    }
    /// Annotations count too: the controller copies them to its ReplicaSets.
    fn spec_changed(&self, old: &Self) -> bool {
        self.spec != old.spec || self.metadata.annotations != old.metadata.annotations
    }
    fn validate(&self, problems: &mut Problems) {
        validate_spec(&self.spec, &self.metadata, &Path::root("spec"), problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("spec.selector"), &self.spec.selector, &old.spec.selector);
        let at = Path::root("spec.template");
        workload::validate_template_update(Some(&self.spec.template), Some(&old.spec.template), &at, problems);
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        let none = DeploymentStatus::default();
        let (status, old) = (self.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
        let counts = [
            ("updatedReplicas", status.updated_replicas),
            ("readyReplicas", status.ready_replicas),
            ("availableReplicas", status.available_replicas),
        ];
        workload::validate_counts(&counts, status.replicas.unwrap_or(0), problems);
        check::not_negative(problems, &Path::root("status.observedGeneration"), status.observed_generation);
        check::not_negative(problems, &Path::root("status.unavailableReplicas"), status.unavailable_replicas);
        check::not_negative(problems, &Path::root("status.terminatingReplicas"), status.terminating_replicas);
        workload::validate_collisions(status.collision_count, old.collision_count, problems);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let (at, old) = (Path::root("spec.template"), old.map(|old| &old.metadata));
        workload::warnings(&self.metadata, old, true, Some(&self.spec.template), &at).into_vec()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let no_status = DeploymentStatus::default();
        let (spec, status) = (&self.spec, self.status.as_ref().unwrap_or(&no_status));
        let [containers, images] = cells::containers_and_images(spec.template.spec.as_ref());
        vec![
            cells::name(&self.metadata),
            Cell::text(format!("{}/{}", status.ready_replicas.unwrap_or(0), spec.replicas.unwrap_or(0))),
            Cell::Int(status.updated_replicas.unwrap_or(0).into()),
            Cell::Int(status.available_replicas.unwrap_or(0).into()),
            cells::age(&self.metadata, now_secs),
            containers,
            images,
            Cell::text_or(Some(&workload::query(&spec.selector)), cells::NONE),
        ]
    }
    fn scale() -> Option<ScaleAccess<Self>> {
        Some(ScaleAccess {
            spec_replicas: |d| d.spec.replicas.unwrap_or(0),
            set_spec_replicas: |d, n| d.spec.replicas = Some(n),
            status_replicas: |d| d.status.as_ref().and_then(|s| s.replicas).unwrap_or(0),
            selector: |d| workload::query(&d.spec.selector),
        })
    }
}

fn default_strategy(strategy: &mut DeploymentStrategy) {
    fill(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let quarter = || IntOrString::String(QUARTER.into());
        let rolling: &mut RollingUpdateDeployment = strategy.rolling_update.get_or_insert_default();
        rolling.max_unavailable.get_or_insert_with(quarter);
        rolling.max_surge.get_or_insert_with(quarter);
    }
}

fn validate_spec(spec: &DeploymentSpec, owner: &ObjectMeta, at: &Path<'_>, problems: &mut Problems) {
    check::not_negative(problems, &at.field("replicas"), spec.replicas);
    workload::validate_selector(&spec.selector, "deployment", &at.field("selector"), problems);
    if let Some(selector) = workload::parsed(&spec.selector) {
        workload::validate_template(&spec.template, owner, &selector, "ReplicaSet", &at.field("template"), problems);
    }
    if let Some(strategy) = &spec.strategy {
        validate_strategy(strategy, &at.field("strategy"), problems);
    }
    check::not_negative(problems, &at.field("minReadySeconds"), spec.min_ready_seconds);
    check::not_negative(problems, &at.field("revisionHistoryLimit"), spec.revision_history_limit);
    let deadline = at.field("progressDeadlineSeconds");
    check::not_negative(problems, &deadline, spec.progress_deadline_seconds);
    if let Some(secs) = spec.progress_deadline_seconds.filter(|s| *s <= spec.min_ready_seconds.unwrap_or(0)) {
        problems.invalid(deadline, secs, "must be greater than minReadySeconds");
    }
}

fn validate_strategy(strategy: &DeploymentStrategy, at: &Path<'_>, problems: &mut Problems) {
    let rolling_at = at.field("rollingUpdate");
    match (check::text(strategy.type_.as_ref()), &strategy.rolling_update) {
        ("Recreate", Some(_)) => {
            problems.forbidden(rolling_at, "may not be specified when strategy `type` is 'Recreate'");
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => problems.required(rolling_at, "this should be defaulted and never be nil"),
        ("RollingUpdate", Some(rolling)) => validate_rolling(rolling, &rolling_at, problems),
        (other, _) => problems.unsupported(at.field("type"), other, &["Recreate", "RollingUpdate"]),
    }
}

fn validate_rolling(rolling: &RollingUpdateDeployment, at: &Path<'_>, problems: &mut Problems) {
    let (unavailable, surge) = (at.field("maxUnavailable"), at.field("maxSurge"));
    let zero = IntOrString::Int(0);
    let max_unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    let max_surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    check::int_or_percent(problems, &unavailable, max_unavailable);
    check::int_or_percent(problems, &surge, max_surge);
    if check::is_zero(max_unavailable) && check::is_zero(max_surge) {
        problems.invalid(unavailable, max_unavailable, "may not be 0 when `maxSurge` is 0");
    }
    check::at_most_all(problems, &unavailable, max_unavailable);
}

#[cfg(test)]
mod tests;
