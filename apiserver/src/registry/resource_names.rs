//! Names of resources: which there are, which of them containers ask for, which quotas count, which come in whole numbers.
//!
//! <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#resource-types>

pub use corten_api::resource_names::{REQUESTS_PREFIX, is_extended, is_native};
use corten_api::{Problems, names};

use super::check;
use super::path::Path;

pub const CPU: &str = "cpu";
pub const MEMORY: &str = "memory";
pub const EPHEMERAL_STORAGE: &str = "ephemeral-storage";
pub const STORAGE: &str = "storage";
/// What a quota calls the sum of limits of a resource.
pub const LIMITS_PREFIX: &str = "limits.";
pub const HUGE_PAGES_PREFIX: &str = "hugepages-";

const OF_CONTAINERS: &[&str] = &[CPU, MEMORY, EPHEMERAL_STORAGE];
/// What quotas know by name.
const OF_QUOTAS: &[&str] = &[
    CPU,
    MEMORY,
    EPHEMERAL_STORAGE,
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const NOT_STANDARD: &str = "must be a standard resource type or fully qualified";
const NOT_OF_CONTAINERS: &str = "must be a standard resource for containers";
const NOT_EXTENDED: &str = "doesn't follow extended resource name standard";
const NOT_OF_QUOTAS: &str = "must be a standard resource for quota";

pub fn is_huge_pages(name: &str) -> bool {
    name.starts_with(HUGE_PAGES_PREFIX)
}
/// Whether more may be promised than there is.
pub fn may_be_overcommitted(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}
/// Whether a quota knows it by name, and what its scopes mean for it.
pub fn is_standard_of_quotas(name: &str) -> bool {
    OF_QUOTAS.contains(&name) || is_huge_pages_of_quotas(name)
}
fn is_huge_pages_of_quotas(name: &str) -> bool {
    is_huge_pages(name) || name.strip_prefix(REQUESTS_PREFIX).is_some_and(is_huge_pages)
}
fn is_standard(name: &str) -> bool {
    name == STORAGE || is_standard_of_quotas(name)
}
/// Whether there are only whole ones of it.
pub fn is_whole(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

/// Gives whether the name is good.
pub fn any(problems: &mut Problems, at: &Path<'_>, name: &str) -> bool {
    if !names::is_qualified_name(name) {
        check::qualified_name(problems, at, name);
        return false;
    }
    let good = name.contains('/') || is_standard(name);
    if !good {
        problems.invalid(at, name, NOT_STANDARD);
    }
    good
}
pub fn of_containers(problems: &mut Problems, at: &Path<'_>, name: &str) {
    any(problems, at, name);
    if !name.contains('/') {
        if !OF_CONTAINERS.contains(&name) && !is_huge_pages(name) {
            problems.invalid(at, name, NOT_OF_CONTAINERS);
        }
    } else if !is_native(name) && !is_extended(name) {
        problems.invalid(at, name, NOT_EXTENDED);
    }
}
/// Of pods as a whole.
pub fn of_pods(problems: &mut Problems, at: &Path<'_>, name: &str) {
    if any(problems, at, name) && !corten_api::pod::is_of_whole_pods(name) {
        problems.unsupported(at, name, &[CPU, HUGE_PAGES_PREFIX, MEMORY]);
    }
}
pub fn of_quotas(problems: &mut Problems, at: &Path<'_>, name: &str) {
    any(problems, at, name);
    if !name.contains('/') && !is_standard_of_quotas(name) {
        problems.invalid(at, name, NOT_OF_QUOTAS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: impl Fn(&mut Problems, &Path<'_>)) -> Vec<String> {
        let mut problems = Problems::default();
        check(&mut problems, &Path::root("f"));
        problems.causes().iter().map(|cause| cause.to_string().rsplit(": ").next().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_a_name_says() {
        let cases = [
            // native, extended, may be overcommitted, whole
            ("cpu", true, false, true, false),
            ("pods", true, false, true, true),
            ("hugepages-2Mi", true, false, false, false),
            ("x.com/gpu", false, true, false, true),
            ("requests.x.com/gpu", false, false, false, false),
            ("a.kubernetes.io/b", true, false, true, false),
        ];
        for (name, native, extended, overcommitted, whole) in cases {
            let says = (is_native(name), is_extended(name), may_be_overcommitted(name), is_whole(name));
            assert_eq!(says, (native, extended, overcommitted, whole), "{name}");
        }
    }

    #[test]
    fn which_names_are_good_where() {
        type Check = fn(&mut Problems, &Path<'_>, &str);
        let any_name: Check = |problems, at, name| {
            any(problems, at, name);
        };
        let cases: [(Check, &str, &[&str]); 12] = [
            (any_name, "storage", &[]),
            (any_name, "x.com/gpu", &[]),
            (any_name, "disk", &[NOT_STANDARD]),
            (of_containers, "cpu", &[]),
            (of_containers, "hugepages-1Gi", &[]),
            (of_containers, "storage", &[NOT_OF_CONTAINERS]),
            (of_containers, "disk", &[NOT_STANDARD, NOT_OF_CONTAINERS]),
            (of_containers, "requests.x.com/gpu", &[NOT_EXTENDED]),
            (of_quotas, "requests.hugepages-2Mi", &[]),
            (of_quotas, "count/jobs.batch", &[]),
            (of_quotas, "storage", &[NOT_OF_QUOTAS]),
            (of_quotas, "disk", &[NOT_STANDARD, NOT_OF_QUOTAS]),
        ];
        for (check, name, expected) in cases {
            assert_eq!(found(|problems, at| check(problems, at, name)), expected, "{name}");
        }
        assert_eq!(found(|problems, at| of_quotas(problems, at, "-a/b")).len(), 1);
    }
}
