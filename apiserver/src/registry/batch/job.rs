//! Job: pods that run until so many of them have succeeded.

mod defaults;
mod indexes;
mod policies;
mod status;
mod template;
mod update;
pub(super) mod validate;

use corten_api::Problems;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(super) use defaults::template as default_template;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, SelectableField, WriteContext, cells, workload};

/// By these a Job finds its pods. Those without a domain are from before there were domains, and are still looked for.
const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
const LEGACY_CONTROLLER_UID: &str = "controller-uid";
const LEGACY_JOB_NAME: &str = "job-name";

const INDEXED: &str = "Indexed";
const NON_INDEXED: &str = "NonIndexed";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Status", "Running, or how it ended"),
    cells::text("Completions", "Pods that have succeeded, of those wanted"),
    cells::text("Duration", "How long it has run, or ran"),
    cells::AGE,
    cells::CONTAINERS,
    cells::IMAGES,
    cells::SELECTOR,
];

/// Upstream's warning: in other kinds it is the other way round.
const ORPHANS: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

/// Beyond both, what has completed may not fit into a status.
const TRACKED_COMPLETIONS: i32 = 100_000;
const TRACKED_PARALLELISM: i32 = 10_000;
const NOT_TRACKED: &str = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";

impl Kind for Job {
    const SINGULAR: &'static str = "job";
    const CATEGORIES: &'static [&'static str] = &["all"];
    const ORPHANS_BY_DEFAULT: Option<&'static str> = Some(ORPHANS);
    const STORE_PREFIX: &'static str = "jobs";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const FIELDS: &'static [SelectableField] = &[SelectableField::new("status.successful", "status.succeeded", "0")];
    const HAS_GENERATION: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        defaults::spec(self.spec.get_or_insert_default());
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        defaults::generate_selector(self);
        defaults::share_labels(self);
        drop_unserved(self.spec.get_or_insert_default(), None);
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        defaults::share_labels(self);
        drop_unserved(self.spec.get_or_insert_default(), old.spec.as_ref());
    }
    fn prepare_status(&mut self, _old: &Self, _: &WriteContext<'_>) {
        defaults::share_labels(self);
    }
    fn validate(&self, problems: &mut Problems) {
        validate::job(self, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        update::validate(self, old, problems);
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        status::validate(self, old, problems);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings(&self.metadata, old.map(|old| &old.metadata), self.spec.as_ref(), &Path::root("spec"))
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let (no_spec, no_status) = (JobSpec::default(), JobStatus::default());
        let (spec, status) = (self.spec.as_ref().unwrap_or(&no_spec), self.status.as_ref().unwrap_or(&no_status));
        let [containers, images] = cells::containers_and_images(spec.template.spec.as_ref());
        let selector = spec.selector.as_ref().map(workload::query);
        vec![
            cells::name(&self.metadata),
            Cell::text(phase(status, self.metadata.deletion_timestamp.is_some())),
            Cell::text(completions(spec, status)),
            Cell::text(duration(status, now_secs)),
            cells::age(&self.metadata, now_secs),
            containers,
            images,
            Cell::text_or(selector.as_deref(), cells::NONE),
        ]
    }
}

/// How a Job's pods are scheduled as one group (`scheduling`) is not served, nor is some of what pods could have.
pub(super) fn drop_unserved(new: &mut JobSpec, old: Option<&JobSpec>) {
    if old.is_none_or(|old| old.scheduling.is_none()) {
        new.scheduling = None;
    }
    workload::drop_unserved(Some(&mut new.template), old.map(|old| &old.template));
}

fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some(INDEXED)
}

/// Whether there is a condition of this type, and it is true.
fn is_true(conditions: Option<&Vec<JobCondition>>, type_: &str) -> bool {
    conditions.into_iter().flatten().any(|c| c.type_ == type_ && c.status == "True")
}

fn phase(status: &JobStatus, is_deleting: bool) -> &'static str {
    let has = |type_| is_true(status.conditions.as_ref(), type_);
    let ended = ["Complete", "Failed"].into_iter().find(|type_| has(type_));
    let on_the_way = || ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter().find(|type_| has(type_));
    match ended {
        Some(ended) => ended,
        None if is_deleting => "Terminating",
        None => on_the_way().unwrap_or("Running"),
    }
}

fn completions(spec: &JobSpec, status: &JobStatus) -> String {
    let succeeded = status.succeeded.unwrap_or(0);
    match (spec.completions, spec.parallelism.unwrap_or(0)) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, at_once) if at_once > 1 => format!("{succeeded}/1 of {at_once}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(status: &JobStatus, now_secs: i64) -> String {
    let Some(start) = &status.start_time else { return String::new() };
    let end_secs = status.completion_time.as_ref().map_or(now_secs, |end| end.0.as_second());
    cells::human_duration(end_secs - start.0.as_second())
}

/// `at`: of the spec.
pub(super) fn warnings(
    meta: &ObjectMeta,
    old: Option<&ObjectMeta>,
    spec: Option<&JobSpec>,
    at: &Path<'_>,
) -> Vec<String> {
    let template = spec.map(|spec| &spec.template);
    let mut warnings = workload::warnings(meta, old, true, template, &at.field("template"));
    let is_indexed = spec.is_some_and(|spec| spec.completion_mode.as_deref() == Some("Indexed"));
    let (completions, parallelism) =
        spec.map_or((0, 0), |spec| (spec.completions.unwrap_or(0), spec.parallelism.unwrap_or(0)));
    if is_indexed && completions > TRACKED_COMPLETIONS && parallelism > TRACKED_PARALLELISM {
        warnings.push(at, NOT_TRACKED);
    }
    warnings.into_vec()
}

#[cfg(test)]
mod tests;
