//! What this server has itself: no definition takes it over.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::step::Taken;
use crate::registry::questions::{QUESTIONS, USAGE_GROUP, USAGE_VERSION};
use crate::registry::{Registry, Table};

/// Questions are asked in this version.
const QUESTIONS_VERSION: &str = "v1";

/// What of a group's names and versions is taken.
pub(super) fn of_group(table: &Table, group: &str) -> Taken {
    let of_group = table.iter().filter(|resource| !resource.is_custom() && resource.group() == group);
    let mut taken = Taken { versions: versions(table, group), ..Taken::default() };
    for resource in of_group {
        let names = resource.names();
        taken.resources.extend([&names.plural, &names.singular].map(|name| name.to_string()));
        taken.resources.extend(names.short_names.iter().map(|name| name.to_string()));
        taken.kinds.extend([names.kind.to_string(), names.list_kind.to_string()]);
    }
    taken
}

/// The versions of a group whose paths lead to kinds, questions or measurements of this server. A custom kind there would be asked
/// in their place: TokenReviews are found by their path, too.
fn versions(table: &Table, group: &str) -> BTreeSet<String> {
    let kinds = table.iter().filter(|resource| !resource.is_custom() && resource.group() == group);
    let mut versions: BTreeSet<String> = kinds.map(|resource| resource.version().to_owned()).collect();
    if QUESTIONS.iter().any(|question| question.group == group) {
        versions.insert(QUESTIONS_VERSION.into());
    }
    if USAGE_GROUP == group {
        versions.insert(USAGE_VERSION.into());
    }
    versions
}

/// The first version of a definition that is this server's own.
pub(super) fn own_version<'c>(crd: &'c CustomResourceDefinition, own: &BTreeSet<String>) -> Option<&'c str> {
    crd.spec.versions.iter().map(|version| version.name.as_str()).find(|version| own.contains(*version))
}

/// Whether its kind is this server's own, whatever somebody has written into its status: what is stored of that is not the
/// definition's.
pub(super) fn is_builtin(registry: &Registry, crd: &CustomResourceDefinition) -> bool {
    let found = registry.find_any_version(&crd.spec.group, &crd.spec.names.plural);
    found.is_some_and(|resource| !resource.is_custom())
}

/// Whether nothing of it can be served beside what this server has itself.
pub(super) fn is_reserved(registry: &Registry, crd: &CustomResourceDefinition) -> bool {
    is_builtin(registry, crd) || own_version(crd, &versions(&registry.table(), &crd.spec.group)).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::custom::testing::{definition, version};

    #[test]
    fn what_the_server_has_itself_is_not_for_others() {
        let registry = Registry::default();
        for (why, group, plural, named, reserved) in [
            ("a group of its own", "example.com", "tabs", "v1", false),
            ("a question", "authentication.k8s.io", "tokenreviews", "v1", true),
            ("beside questions", "authorization.k8s.io", "tabs", "v1", true),
            ("in a version without questions", "authorization.k8s.io", "tabs", "v2", false),
            ("what nodes use", "metrics.k8s.io", "nodes", "v1beta1", true),
            ("beside what nodes use", "metrics.k8s.io", "tabs", "v1beta1", true),
            ("a kind that is there, in another version", "networking.k8s.io", "ingresses", "v9", true),
            ("beside kinds that are there", "networking.k8s.io", "tabs", "v1", true),
            ("a version without kinds", "networking.k8s.io", "tabs", "v9", false),
        ] {
            let crd = definition(json!({
                "group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": "Tab"},
                "versions": [version(named, true, json!({"type": "object"}))],
            }));
            assert_eq!(is_reserved(&registry, &crd), reserved, "{why}");
        }
    }
}
