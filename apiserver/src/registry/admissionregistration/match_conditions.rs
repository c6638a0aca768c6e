//! Conditions in CEL on which a webhook is asked. Nothing here evaluates them yet: who writes one is told so.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use crate::registry::check;
use crate::registry::path::Path;

const MAX: usize = 64;
/// Where the engine is to be asked whether an expression is one.
const NOT_SERVED: &str = "match conditions are not supported by this server yet: leave them out, or select by rules, \
                          namespaceSelector and objectSelector";

pub(super) fn validate(conditions: &[MatchCondition], list: &Path<'_>, problems: &mut Problems) {
    if conditions.len() > MAX {
        problems.too_many(list, conditions.len(), MAX);
    }
    let mut names = HashSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = list.index(i);
        expression(&condition.expression, &at.field("expression"), problems);
        let name = at.field("name");
        match condition.name.as_str() {
            "" => problems.required(name, ""),
            one => check::qualified_name(problems, &name, one),
        }
        if !condition.name.is_empty() && !names.insert(&condition.name) {
            problems.duplicate(name, &condition.name);
        }
    }
}

fn expression(text: &str, at: &Path<'_>, problems: &mut Problems) {
    match text.trim() {
        "" => problems.required(at, ""),
        text => problems.invalid(at, text, NOT_SERVED),
    }
}
