//! What the server speaks besides its kinds.

/// Group, version and kind of types that are no kinds of the registry.
pub(super) const OTHER_KINDS: &[(&str, [&str; 3])] = &[
    ("io.k8s.api.authentication.v1.TokenRequest", ["authentication.k8s.io", "v1", "TokenRequest"]),
    ("io.k8s.api.autoscaling.v1.Scale", ["autoscaling", "v1", "Scale"]),
    ("io.k8s.api.core.v1.Binding", ["", "v1", "Binding"]),
    ("io.k8s.api.policy.v1.Eviction", ["policy", "v1", "Eviction"]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", ["", "v1", "DeleteOptions"]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Status", ["", "v1", "Status"]),
];
