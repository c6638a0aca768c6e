//! Conditions in CEL on which a webhook is asked, or a policy: what is wrong with them. Pure.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use super::environment::{Known, Typed, environment};
use super::expressions::{Wanted, compile};
use crate::registry::check;
use crate::registry::path::Path;

const MAX: usize = 64;

pub(super) fn validate(conditions: &[MatchCondition], params: bool, list: &Path<'_>, problems: &mut Problems) {
    if conditions.is_empty() {
        return;
    }
    if conditions.len() > MAX {
        // None is compiled: whoever sends thousands is told so for the price of counting them.
        return problems.too_many(list, conditions.len(), MAX);
    }
    let environment = environment(Known::of_conditions(params), &Typed::default());
    let mut names = HashSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = list.index(i);
        match condition.expression.trim() {
            "" => problems.required(at.field("expression"), ""),
            text => {
                if let Err(why) = compile(text, &environment, Wanted::Bool) {
                    problems.invalid(at.field("expression"), text, &why);
                }
            }
        }
        let name = at.field("name");
        match condition.name.as_str() {
            "" => problems.required(name, ""),
            one => check::qualified_name(problems, &name, one),
        }
        if !condition.name.is_empty() && !names.insert(&condition.name) {
            problems.duplicate(at.field("name"), &condition.name);
        }
    }
}
