//! Whether a Job makes sense: counts, how it is complete, the labels by which it finds its pods.
//!
//! Rules: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/>.

use std::collections::BTreeMap;

use corten_api::selector::Selector;
use corten_api::{Problems, names};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    CONTROLLER_UID, INDEXED, JOB_NAME, LEGACY_CONTROLLER_UID, LEGACY_JOB_NAME, NON_INDEXED, is_indexed, policies,
};
use crate::registry::path::Path;
use crate::registry::{check, workload};

/// So that the text of the indexes that are done stays short enough to be stored.
const INDEXED_PARALLELISM_MAX: i32 = 100_000;
const FAILED_INDEXES_MAX: i32 = 100_000;
/// From so many on, and with a limit of its own for each index, the bounds are narrower.
const MANY_COMPLETIONS: i32 = 100_000;
const PARALLELISM_OF_MANY_MAX: i32 = 10_000;
const FAILED_INDEXES_OF_MANY_MAX: i32 = 10_000;
const MANAGED_BY_BYTES_MAX: usize = 63;

pub(super) fn job(job: &Job, problems: &mut Problems) {
    let at = Path::root("spec");
    let Some(of_job) = &job.spec else { return problems.required(at, "") };
    if check::is_new(&job.metadata) {
        generated_selector(job, true, problems);
    }
    spec(of_job, &job.metadata, &at, problems);
    selector(of_job, &at, problems);
    pod_names(job, of_job, problems);
}

/// What Jobs and the Jobs of a CronJob have in common. `owner`: the metadata of either.
pub(in crate::registry::batch) fn spec(spec: &JobSpec, owner: &ObjectMeta, at: &Path<'_>, problems: &mut Problems) {
    counts(spec, at, problems);
    if let Some(manager) = &spec.managed_by {
        let at = at.field("managedBy");
        check::domain_prefixed_path(problems, &at, manager);
        if manager.len() > MANAGED_BY_BYTES_MAX {
            problems.too_long(at, MANAGED_BY_BYTES_MAX);
        }
    }
    completion(spec, at, problems);
    policies::validate(spec, at, problems);
    let template_at = at.field("template");
    workload::validate_pod_template(&spec.template, owner, &template_at, problems);
    restart_policy(spec, &template_at.field("spec").field("restartPolicy"), problems);
}

fn counts(spec: &JobSpec, at: &Path<'_>, problems: &mut Problems) {
    let counts: [(&str, Option<i64>); 7] = [
        ("parallelism", spec.parallelism.map(Into::into)),
        ("completions", spec.completions.map(Into::into)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(Into::into)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(Into::into)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(Into::into)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(Into::into)),
    ];
    for (field, count) in counts {
        check::not_negative(problems, &at.field(field), count);
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        problems.required(at.field("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
}

/// Pods that are all alike, or each with an index of its own.
fn completion(spec: &JobSpec, at: &Path<'_>, problems: &mut Problems) {
    match spec.completion_mode.as_deref() {
        Some(INDEXED) => indexed(spec, at, problems),
        None | Some(NON_INDEXED) => {
            let of_indexes =
                [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)];
            for (field, value) in of_indexes {
                if value.is_some() {
                    problems.invalid(at.field(field), value, "requires indexed completion mode");
                }
            }
        }
        Some(other) => problems.unsupported(at.field("completionMode"), other, &[NON_INDEXED, INDEXED]),
    }
}

fn indexed(spec: &JobSpec, at: &Path<'_>, problems: &mut Problems) {
    let (parallelism_at, failed_at) = (at.field("parallelism"), at.field("maxFailedIndexes"));
    let above = |value: Option<i32>, most: i32| value.filter(|value| *value > most);
    if spec.completions.is_none() {
        problems.required(at.field("completions"), "when completion mode is Indexed");
    }
    if let Some(value) = above(spec.parallelism, INDEXED_PARALLELISM_MAX) {
        let why = format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
        problems.invalid(parallelism_at, value, &why);
    }
    if let Some(value) = above(spec.max_failed_indexes, spec.completions.unwrap_or(i32::MAX)) {
        problems.invalid(failed_at, value, "must be less than or equal to completions");
    }
    if let Some(value) = above(spec.max_failed_indexes, FAILED_INDEXES_MAX) {
        problems.invalid(failed_at, value, &format!("must be less than or equal to {FAILED_INDEXES_MAX}"));
    }
    if above(spec.completions, MANY_COMPLETIONS).is_none() || spec.backoff_limit_per_index.is_none() {
        return;
    }
    if spec.max_failed_indexes.is_none() {
        problems.required(failed_at, &format!("must be specified when completions is above {MANY_COMPLETIONS}"));
    }
    let narrower = [
        (&parallelism_at, spec.parallelism, PARALLELISM_OF_MANY_MAX),
        (&failed_at, spec.max_failed_indexes, FAILED_INDEXES_OF_MANY_MAX),
    ];
    for (at, value, most) in narrower {
        if let Some(value) = above(value, most) {
            let why = format!(
                "must be less than or equal to {most} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
            );
            problems.invalid(at, value, &why);
        }
    }
}

/// A pod that always begins again never ends.
fn restart_policy(spec: &JobSpec, at: &Path<'_>, problems: &mut Problems) {
    let policy = spec.template.spec.as_ref().and_then(|pod| pod.restart_policy.as_ref());
    match check::text(policy) {
        "" | "Always" => problems.required(at, r#"valid values: "OnFailure", "Never""#),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            problems.invalid(at, policy, r#"only "Never" is supported when podFailurePolicy is specified"#);
        }
        "OnFailure" | "Never" => {}
        other => problems.unsupported(at, other, &["OnFailure", "Never"]),
    }
}

/// Whoever made it, it finds the Job's pods.
fn selector(spec: &JobSpec, at: &Path<'_>, problems: &mut Problems) {
    let selector_at = at.field("selector");
    match &spec.selector {
        None => problems.required(selector_at, ""),
        Some(selector) => check::label_selector(problems, &selector_at, selector),
    }
    if let Ok(selector) = Selector::from_label_selector(spec.selector.as_ref()) {
        workload::validate_labels(&spec.template, &selector, &at.field("template"), problems);
    }
}

/// That the labels and the selector which the server makes are those that it made. `with_domain`: whether also the labels
/// with a domain must be there.
pub(super) fn generated_selector(job: &Job, with_domain: bool, problems: &mut Problems) {
    let Some(spec) = job.spec.as_ref().filter(|spec| spec.manual_selector != Some(true)) else { return };
    let Some(selector) = &spec.selector else { return };
    let (name, uid) = (check::text(job.metadata.name.as_ref()), check::text(job.metadata.uid.as_ref()));
    if uid.is_empty() {
        problems.required("metadata.uid", "");
    }
    let legacy = [(LEGACY_CONTROLLER_UID, uid), (LEGACY_JOB_NAME, name)];
    let newer = [(CONTROLLER_UID, uid), (JOB_NAME, name)].into_iter().filter(|_| with_domain);
    let expected: BTreeMap<String, String> =
        legacy.into_iter().chain(newer).map(|(key, value)| (key.into(), value.into())).collect();
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let at = Path::root("spec.template.metadata.labels");
    for (key, value) in &expected {
        let why = format!("must be '{value}'");
        match labels.and_then(|labels| labels.get(key)) {
            None => problems.required(at.key(key), &why),
            Some(is) if is != value => problems.invalid(at.key(key), labels, &why),
            Some(_) => {}
        }
    }
    if workload::parsed(selector).is_some_and(|parsed| !parsed.matches(&expected)) {
        problems.invalid("spec.selector", selector, "`selector` not auto-generated");
    }
}

/// The pods of an indexed Job have its name and their index as their host name.
fn pod_names(job: &Job, spec: &JobSpec, problems: &mut Problems) {
    let Some(completions) = spec.completions.filter(|count| *count > 0 && is_indexed(spec)) else { return };
    let name = check::text(job.metadata.name.as_ref());
    let longest = format!("{name}-{}", completions - 1);
    if !names::is_dns1123_label(&longest) {
        let why = format!("will not able to create pod with invalid DNS label: {longest}");
        problems.invalid("metadata.name", name, &why);
    }
}
