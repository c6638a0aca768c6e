//! The names of a kind, wherever they stand.

use corten_api::{Problems, names};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionNames;

use crate::registry::path::Path;

/// Names that are there must be good ones.
pub(super) fn check(of: &CustomResourceDefinitionNames, at: &Path<'_>, problems: &mut Problems) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (singular, list_kind) = (text(&of.singular), text(&of.list_kind));
    let is_bad = |name: &str| !name.is_empty() && !names::is_dns1035_label(name);
    for (field, name) in [("plural", &of.plural), ("singular", &singular)] {
        if is_bad(name) {
            problems.invalid(at.field(field), name, names::DNS1035_LABEL_WHY);
        }
    }
    for (field, name) in [("kind", &of.kind), ("listKind", &list_kind)] {
        if is_bad(&name.to_lowercase()) {
            let why = format!("may have mixed case, but should otherwise match: {}", names::DNS1035_LABEL_WHY);
            problems.invalid(at.field(field), name, &why);
        }
    }
    for (field, list) in [("shortNames", &of.short_names), ("categories", &of.categories)] {
        for (index, name) in list.iter().flatten().enumerate() {
            if !names::is_dns1035_label(name) {
                problems.invalid(at.field(field).index(index), name, names::DNS1035_LABEL_WHY);
            }
        }
    }
    if !of.kind.is_empty() && of.kind == list_kind {
        problems.invalid(at.field("listKind"), &list_kind, "kind and listKind may not be the same");
    }
}
