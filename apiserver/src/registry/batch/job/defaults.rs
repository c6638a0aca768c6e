//! What a Job gets where its author said nothing, and the labels by which it finds its pods.

use k8s_openapi::api::batch::v1::{Job, JobSpec};

use super::{CONTROLLER_UID, JOB_NAME, LEGACY_CONTROLLER_UID, LEGACY_JOB_NAME, NON_INDEXED};
use crate::registry::defaults::fill;
use crate::registry::workload;

const BACKOFF_LIMIT: i32 = 6;

pub(super) fn spec(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    // Where each index has a limit of its own, there is none for all of them together.
    let backoff_limit = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { BACKOFF_LIMIT };
    spec.backoff_limit.get_or_insert(backoff_limit);
    spec.completion_mode.get_or_insert_with(|| NON_INDEXED.into());
    spec.suspend.get_or_insert(false);
    let replaced_when = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    spec.pod_replacement_policy.get_or_insert_with(|| replaced_when.into());
    spec.manual_selector.get_or_insert(false);
    template(spec);
}

/// All that the spec of a CronJob's Jobs gets: the rest waits for the Jobs that are made from it.
pub(in crate::registry::batch) fn template(spec: &mut JobSpec) {
    for rule in spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules) {
        for pattern in rule.on_pod_conditions.iter_mut().flatten() {
            fill(&mut pattern.status, "True");
        }
    }
    workload::default_template(&mut spec.template);
}

/// Pods get the Job's name and uid as labels, and the uid is what it selects by. What its author said instead is left for
/// validation to refuse.
pub(super) fn generate_selector(job: &mut Job) {
    let (name, uid) = (job.metadata.name.clone().unwrap_or_default(), job.metadata.uid.clone().unwrap_or_default());
    let Some(spec) = job.spec.as_mut().filter(|spec| spec.manual_selector != Some(true)) else { return };
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (key, value) in
        [(LEGACY_JOB_NAME, &name), (JOB_NAME, &name), (LEGACY_CONTROLLER_UID, &uid), (CONTROLLER_UID, &uid)]
    {
        labels.entry(key.into()).or_insert_with(|| value.clone());
    }
    let selected = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    selected.entry(CONTROLLER_UID.into()).or_insert(uid);
}

/// A Job without labels has those of its pods.
pub(super) fn share_labels(job: &mut Job) {
    if job.metadata.labels.as_ref().is_none_or(|labels| labels.is_empty()) {
        let template = job.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
        job.metadata.labels = template.and_then(|meta| meta.labels.clone()).filter(|labels| !labels.is_empty());
    }
}
