//! Room for what a definition's status will say: one that is stored without could never be written again.

use corten_api::Problems;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// What a store takes of one object, with its key and what is written beside it: etcd's own bound, less a little.
const STORED_MAX_BYTES: usize = 1_500_000;
/// For the conditions, and for what is noted of who wrote them.
const STATUS_BYTES: usize = 16 << 10;

/// The names are there twice once they are accepted.
pub(super) fn check(of: &CustomResourceDefinition, problems: &mut Problems) {
    let bytes = |json: serde_json::Result<Vec<u8>>| json.map_or(0, |json| json.len());
    let needed = bytes(serde_json::to_vec(of)) + bytes(serde_json::to_vec(&of.spec.names)) + STATUS_BYTES;
    if needed > STORED_MAX_BYTES {
        problems.too_long("spec", STORED_MAX_BYTES - STATUS_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::custom::testing::{definition, version};

    #[test]
    fn a_definition_leaves_room_for_its_status() {
        for (why, description, category, fits) in [
            ("a large one", 1_400_000, 0, true),
            ("larger than the store takes with a status", 1_490_000, 0, false),
            ("names that will be there twice", 700_000, 400_000, false),
        ] {
            let mut crd = definition(json!({
                "group": "example.com", "scope": "Cluster",
                "names": {"plural": "tabs", "kind": "Tab", "categories": ["x".repeat(category)]},
                "versions": [version("v1", true, json!({"type": "object", "description": "x".repeat(description)}))],
            }));
            crd.status = None;
            let mut problems = Problems::default();
            check(&crd, &mut problems);
            assert_eq!(problems.is_empty(), fits, "{why}");
        }
    }
}
