//! What must have happened to a device before pods are bound that use it.

use std::collections::HashSet;

use corten_api::Problems;

use super::lists::{bounded, unique};
use crate::registry::check;
use crate::registry::path::Path;

const CONDITIONS_MAX: usize = 4;

/// `at` is the path of whatever has both lists.
pub fn validate(
    conditions: Option<&Vec<String>>,
    failures: Option<&Vec<String>>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let (conditions_at, failures_at) = (at.field("bindingConditions"), at.field("bindingFailureConditions"));
    let given = |list: Option<&Vec<String>>| list.is_some_and(|list| !list.is_empty());
    let (has_conditions, has_failures) = (given(conditions), given(failures));
    let conditions = bounded(conditions, CONDITIONS_MAX, &conditions_at, problems);
    let failures = bounded(failures, CONDITIONS_MAX, &failures_at, problems);
    for (list, at) in [(conditions, &conditions_at), (failures, &failures_at)] {
        for (i, condition) in list.iter().enumerate() {
            check::qualified_name(problems, &at.index(i), condition);
        }
        unique(list, |condition| condition, at, problems);
    }
    let conditions: HashSet<&String> = conditions.iter().collect();
    for (i, failure) in failures.iter().enumerate().filter(|(_, failure)| conditions.contains(failure)) {
        let why = "bindingFailureConditions must not overlap with bindingConditions";
        problems.invalid(failures_at.index(i), failure, why);
    }
    let none: [&str; 0] = [];
    if !has_conditions && has_failures {
        problems.invalid(conditions_at, none, "bindingConditions are required to use bindingFailureConditions");
    }
    if has_conditions && !has_failures {
        problems.invalid(failures_at, none, "bindingFailureConditions are required to use bindingConditions");
    }
}
