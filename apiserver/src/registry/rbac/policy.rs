//! The rules of a Role or ClusterRole, and how both are shown.

use corten_api::rbac::Lists;
use corten_api::{Object, Problems, Scope};
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, cells};

pub(super) const COLUMNS: &[Column] = &[cells::NAME, cells::CREATED_AT];

pub(super) fn row(role: &impl Object) -> Vec<Cell> {
    vec![cells::name(role.metadata()), cells::created_at(role.metadata())]
}

/// `scope`: of the role. Paths that are no resources' are in no namespace.
pub(super) fn validate(rules: Option<&Vec<PolicyRule>>, scope: Scope, problems: &mut Problems) {
    let list = Path::root("rules");
    for (i, rule) in rules.into_iter().flatten().enumerate() {
        validate_rule(&Lists::of(rule), scope, &list.index(i), problems);
    }
}

fn validate_rule(rule: &Lists<'_>, scope: Scope, at: &Path<'_>, problems: &mut Problems) {
    if rule.verbs.is_empty() {
        problems.required(at.field("verbs"), "verbs must contain at least one value");
    }
    if !rule.urls.is_empty() {
        let at = at.field("nonResourceURLs");
        if scope == Scope::Namespaced {
            problems.invalid(at, rule.urls, "namespaced rules cannot apply to non-resource URLs");
        }
        if !(rule.groups.is_empty() && rule.resources.is_empty() && rule.names.is_empty()) {
            problems.invalid(at, rule.urls, "rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if rule.groups.is_empty() {
        problems.required(at.field("apiGroups"), "resource rules must supply at least one api group");
    }
    if rule.resources.is_empty() {
        problems.required(at.field("resources"), "resource rules must supply at least one resource");
    }
}
