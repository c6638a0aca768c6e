//! What may change in a Job once it is there: how many pods run at a time, whether any do, and little else.

use corten_api::Problems;
use k8s_openapi::api::batch::v1::{Job, JobSpec};

use super::{CONTROLLER_UID, JOB_NAME, is_indexed, template, validate};
use crate::registry::path::Path;
use crate::registry::{check, workload};

pub(super) fn validate(new: &Job, old: &Job, problems: &mut Problems) {
    let (Some(spec), Some(was)) = (&new.spec, &old.spec) else { return };
    // Jobs from before there were labels with a domain have none.
    let labels = was.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let had = |key| labels.is_some_and(|labels| labels.contains_key(key));
    validate::generated_selector(new, had(JOB_NAME) && had(CONTROLLER_UID), problems);

    let at = Path::root("spec");
    completions(spec, was, &at, problems);
    check::immutable(problems, &at.field("selector"), &spec.selector, &was.selector);
    template::validate_update(spec, old, &at.field("template"), problems);
    workload::validate_template_update(Some(&spec.template), Some(&was.template), &at.field("template"), problems);
    check::immutable(problems, &at.field("completionMode"), &spec.completion_mode, &was.completion_mode);
    check::immutable(problems, &at.field("podFailurePolicy"), &spec.pod_failure_policy, &was.pod_failure_policy);
    let limit_at = at.field("backoffLimitPerIndex");
    check::immutable(problems, &limit_at, &spec.backoff_limit_per_index, &was.backoff_limit_per_index);
    check::immutable(problems, &at.field("managedBy"), &spec.managed_by, &was.managed_by);
    check::immutable(problems, &at.field("successPolicy"), &spec.success_policy, &was.success_policy);
}

/// An indexed Job can become larger or smaller, if all its pods run at once.
fn completions(new: &JobSpec, old: &JobSpec, at: &Path<'_>, problems: &mut Problems) {
    let completions_at = at.field("completions");
    if !is_indexed(new) {
        check::immutable(problems, &completions_at, &new.completions, &old.completions);
    } else if new.completions != old.completions && new.completions.is_some() && new.completions != new.parallelism {
        problems.invalid(completions_at, new.completions, "can only be modified in tandem with spec.parallelism");
    }
}
