//! Facts of types that the schema has no place for: only documents tell them.

/// Group, version and kind of types that are no kinds of the schema.
pub(super) const OTHER_KINDS: &[(&str, [&str; 3])] = &[
    ("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", ["", "v1", "DeleteOptions"]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Status", ["", "v1", "Status"]),
];

/// Types of whose fields one is meant: the type, the field that says which (empty: the one that is there), and those.
pub(super) const UNIONS: &[(&str, &str, &[&str])] = &[
    ("io.k8s.api.core.v1.AppArmorProfile", "type", &["localhostProfile"]),
    ("io.k8s.api.core.v1.PodSchedulingGroup", "", &["podGroupName"]),
    ("io.k8s.api.core.v1.SeccompProfile", "type", &["localhostProfile"]),
    ("io.k8s.api.flowcontrol.v1.LimitResponse", "type", &["queuing"]),
    ("io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationSpec", "type", &["exempt", "limited"]),
    ("io.k8s.api.flowcontrol.v1.Subject", "kind", &["group", "serviceAccount", "user"]),
    ("io.k8s.api.scheduling.v1alpha3.WorkloadPodGroupDisruptionMode", "", &["all", "single"]),
    ("io.k8s.api.scheduling.v1alpha3.WorkloadPodGroupSchedulingPolicy", "", &["basic", "gang"]),
];

/// A field of a type, and a mark that stands beside it.
type Mark = (&'static str, &'static str, (&'static str, &'static str));

/// What is so where nothing is said, and said all the same; and a strategy that is none.
pub(super) const MARKS: &[Mark] = &[
    (
        "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
        "allocatedResourceStatuses",
        ("x-kubernetes-map-type", "granular"),
    ),
    ("io.k8s.api.core.v1.PersistentVolumeSpec", "claimRef", ("x-kubernetes-map-type", "granular")),
    ("io.k8s.api.policy.v1.PodDisruptionBudgetSpec", "selector", ("x-kubernetes-patch-strategy", "replace")),
];
