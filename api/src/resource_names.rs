//! Which names of resources are Kubernetes' own, and which are of devices and the like that others tell a node to have.
//!
//! <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources>

use crate::names;

/// What a quota calls the sum of requests of a resource.
pub const REQUESTS_PREFIX: &str = "requests.";

/// Kubernetes' own: without a domain, or with its.
#[must_use]
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Resources of devices and the like, which are counted and not shared. A quota must be able to name them too.
#[must_use]
pub fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with(REQUESTS_PREFIX)
        && names::is_qualified_name(&format!("{REQUESTS_PREFIX}{name}"))
}
