//! Whether a pod's description makes sense. Split by subject; the order is that of upstream's messages.

use corten_api::Problems;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::registry::path::Path;

/// Whose spec it is.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    Pod(&'a ObjectMeta),
    Template,
}

pub fn pod_spec(spec: &PodSpec, _of: Of<'_>, at: &Path<'_>, problems: &mut Problems) {
    if spec.containers.is_empty() {
        problems.required(at.field("containers"), "");
    }
}
