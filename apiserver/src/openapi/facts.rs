//! What the server speaks besides its kinds.

/// Group, version and kind of types that are no kinds of the registry.
pub(super) const OTHER_KINDS: &[(&str, [&str; 3])] = &[
    ("io.k8s.api.authentication.v1.SelfSubjectReview", ["authentication.k8s.io", "v1", "SelfSubjectReview"]),
    ("io.k8s.api.authentication.v1.TokenReview", ["authentication.k8s.io", "v1", "TokenReview"]),
    (
        "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
        ["authorization.k8s.io", "v1", "LocalSubjectAccessReview"],
    ),
    ("io.k8s.api.authorization.v1.SelfSubjectAccessReview", ["authorization.k8s.io", "v1", "SelfSubjectAccessReview"]),
    ("io.k8s.api.authorization.v1.SelfSubjectRulesReview", ["authorization.k8s.io", "v1", "SelfSubjectRulesReview"]),
    ("io.k8s.api.authorization.v1.SubjectAccessReview", ["authorization.k8s.io", "v1", "SubjectAccessReview"]),
    ("io.k8s.api.authentication.v1.TokenRequest", ["authentication.k8s.io", "v1", "TokenRequest"]),
    ("io.k8s.api.autoscaling.v1.Scale", ["autoscaling", "v1", "Scale"]),
    ("io.k8s.api.core.v1.Binding", ["", "v1", "Binding"]),
    ("io.k8s.api.policy.v1.Eviction", ["policy", "v1", "Eviction"]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", ["", "v1", "DeleteOptions"]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Status", ["", "v1", "Status"]),
];
