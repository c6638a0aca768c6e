//! What the published document says of types and the types' crate does not: few rows, checked against it by hand.

/// Structs and fields that are taken or left as a whole (`x-kubernetes-map-type: atomic`); fields as `Type.field`.
pub(super) const ATOMIC_MAPS: &[&str] = &[
    "ConfigMapKeySelector",
    "FileKeySelector",
    "LabelSelector",
    "LocalObjectReference",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ObjectReference",
    "OwnerReference",
    "PodSpec.nodeSelector",
    "ReplicationControllerSpec.selector",
    "ResourceFieldSelector",
    "SecretKeySelector",
    "ServiceSpec.selector",
    "TypedLocalObjectReference",
    "EndpointAddress",
    "EndpointPort",
];

/// Lists that merge, though no strategic merge patch knows them: type, field, list type, keys. All other lists
/// without a rule are atomic.
pub(super) const LISTS: &[(&str, &str, &str, &[&str])] = &[
    ("ContainerRestartRuleOnExitCodes", "values", "set", &[]),
    ("Endpoint", "addresses", "set", &[]),
    ("NodeAllocatableResourceClaimStatus", "containers", "set", &[]),
    ("ResourceRequirements", "claims", "map", &["name"]),
    ("ResourceStatus", "resources", "map", &["resourceID"]),
];

/// Fields that the crate requires, as its types cannot be without them, and that a request may leave out.
pub(super) const NOT_REQUIRED: &[(&str, &str)] = &[
    ("ConfigMapEnvSource", "name"),
    ("ConfigMapKeySelector", "name"),
    ("ConfigMapProjection", "name"),
    ("ConfigMapVolumeSource", "name"),
    ("LocalObjectReference", "name"),
    ("SecretEnvSource", "name"),
    ("SecretKeySelector", "name"),
    ("SecretProjection", "name"),
];

/// Group, version and kind of types that are no kinds of the registry.
pub(super) const OTHER_KINDS: &[(&str, [&str; 3])] = &[
    ("io.k8s.api.autoscaling.v1.Scale", ["autoscaling", "v1", "Scale"]),
    ("io.k8s.api.core.v1.Binding", ["", "v1", "Binding"]),
    ("io.k8s.api.policy.v1.Eviction", ["policy", "v1", "Eviction"]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", ["", "v1", "DeleteOptions"]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Status", ["", "v1", "Status"]),
];
