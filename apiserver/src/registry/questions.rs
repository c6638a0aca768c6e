//! Resources that are only ever created, and that nobody stores: questions, and Bindings. Who answers them is `rest/review`'s business.

/// A resource that is only ever created, never kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub group: &'static str,
    pub plural: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
}

/// What nodes and pods use is answered here (`usage`), and stored nowhere either.
pub const USAGE_GROUP: &str = "metrics.k8s.io";
pub const USAGE_VERSION: &str = "v1beta1";

const fn question(group: &'static str, plural: &'static str, kind: &'static str) -> Question {
    Question { group, plural, kind, namespaced: false }
}

impl Question {
    /// The name of its type in OpenAPI documents.
    pub fn schema(&self) -> String {
        let group = self.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
        format!("io.k8s.api.{group}.v1.{}", self.kind)
    }
}

/// All of them, in version v1: for routing, discovery and OpenAPI. A Binding is no question, and is not kept either.
pub const QUESTIONS: &[Question] = &[
    Question { namespaced: true, ..question("", "bindings", "Binding") },
    question("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    question("authentication.k8s.io", "tokenreviews", "TokenReview"),
    Question {
        namespaced: true,
        ..question("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview")
    },
    question("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    question("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    question("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
];
