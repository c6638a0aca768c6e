//! What a Job asks for, with the apiserver's defaults where a stored one says nothing.

use corten_api::k8s_openapi::api::batch::v1::JobSpec;

/// Jobs with another manager are none of our business.
pub const CONTROLLER_NAME: &str = "kubernetes.io/job-controller";
const INDEXED: &str = "Indexed";
const NON_INDEXED: &str = "NonIndexed";
const BACKOFF_LIMIT: i32 = 6;

pub fn parallelism(spec: &JobSpec) -> i32 {
    spec.parallelism.unwrap_or(1)
}
pub fn backoff_limit(spec: &JobSpec) -> i32 {
    spec.backoff_limit.unwrap_or(BACKOFF_LIMIT)
}
/// The completions of an Indexed Job; `None` for others. Without a number there is no index that could be right.
pub fn indexed_completions(spec: &JobSpec) -> Option<i32> {
    (spec.completion_mode.as_deref() == Some(INDEXED)).then(|| spec.completions.unwrap_or(0))
}
/// One that we do not know comes from a newer version.
pub fn is_known_mode(spec: &JobSpec) -> bool {
    [INDEXED, NON_INDEXED].contains(&spec.completion_mode.as_deref().unwrap_or(NON_INDEXED))
}
pub fn is_suspended(spec: &JobSpec) -> bool {
    spec.suspend == Some(true)
}
pub fn is_managed_by_others(spec: &JobSpec) -> bool {
    spec.managed_by.as_deref().is_some_and(|manager| manager != CONTROLLER_NAME)
}
/// A pod that is on its way out is neither failed nor replaced before it has ended.
pub fn replaces_failed_only(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}
