//! flowcontrol.apiserver.k8s.io: who waits for whom when more is asked of the server than it can do at once.

pub mod bootstrap;
pub mod flowschema;
pub mod prioritylevelconfiguration;

use std::collections::HashSet;

use corten_api::Problems;

use super::path::Path;

/// The schema and level of those that are never held up, and those of what no other schema takes. They are always there.
pub const EXEMPT: &str = "exempt";
pub const CATCH_ALL: &str = "catch-all";

/// The types of a status's conditions: each is there once, and none is empty.
fn condition_types<'a>(types: impl Iterator<Item = &'a str>, problems: &mut Problems) {
    let list = Path::root("status.conditions");
    let mut seen = HashSet::new();
    for (i, kind) in types.enumerate() {
        let at = list.index(i);
        if !seen.insert(kind) {
            problems.duplicate(at.field("type"), kind);
        }
        if kind.is_empty() {
            problems.required(at.field("type"), "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::texts;

    #[test]
    fn conditions_have_types_of_their_own() {
        let found = |types: &[&str]| {
            let mut problems = Problems::default();
            condition_types(types.iter().copied(), &mut problems);
            texts(&problems)
        };
        assert!(found(&["Dangling", "Other"]).is_empty());
        assert_eq!(
            found(&["Dangling", "", "Dangling"]),
            ["status.conditions[1].type: Required value", r#"status.conditions[2].type: Duplicate value: "Dangling""#]
        );
    }
}
