//! What a policy or its binding is about: defaults and what may be said. Pure.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations};

use super::validate::{self, Rule};
use crate::registry::check;
use crate::registry::path::Path;

/// A policy that changes objects is not asked about what goes.
const MUTATED: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];

pub(super) fn fill(of: &mut MatchResources) {
    of.match_policy.get_or_insert_with(|| "Equivalent".into());
    of.namespace_selector.get_or_insert_default();
    of.object_selector.get_or_insert_default();
    let excluded = of.exclude_resource_rules.iter_mut().flatten();
    for rule in of.resource_rules.iter_mut().flatten().chain(excluded) {
        rule.scope.get_or_insert_with(|| "*".into());
    }
}

pub(super) fn validate(of: &MatchResources, at: &Path<'_>, problems: &mut Problems) {
    check::word(problems, &at.field("matchPolicy"), of.match_policy.as_ref(), validate::MATCH_POLICIES);
    let selectors =
        [("namespaceSelector", of.namespace_selector.as_ref()), ("objectSelector", of.object_selector.as_ref())];
    for (field, selector) in selectors {
        match selector {
            Some(selector) => check::label_selector(problems, &at.field(field), selector),
            None => problems.required(at.field(field), ""),
        }
    }
    for (field, rules) in [("resourceRules", &of.resource_rules), ("excludeResourceRules", &of.exclude_resource_rules)]
    {
        let list = at.field(field);
        for (i, rule) in rules.iter().flatten().enumerate() {
            named(rule, &list.index(i), problems);
        }
    }
}

/// What a policy must say of it.
pub(super) fn validate_constraints(of: Option<&MatchResources>, at: &Path<'_>, problems: &mut Problems) {
    let Some(of) = of else { return problems.required(at, "") };
    validate(of, at, problems);
    // Without one nobody knows of which type objects are.
    if of.resource_rules.as_ref().is_none_or(Vec::is_empty) {
        problems.required(at.field("resourceRules"), "");
    }
}

pub(super) fn validate_mutated(of: &MatchResources, at: &Path<'_>, problems: &mut Problems) {
    let (rules, operations) = (at.field("resourceRules"), of.resource_rules.iter().flatten());
    for operation in operations.flat_map(|rule| rule.operations.iter().flatten()) {
        check::known_word(problems, &rules.field("operations"), operation, MUTATED);
    }
}

fn named(rule: &NamedRuleWithOperations, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("resourceNames");
    let mut names = HashSet::new();
    for (i, name) in rule.resource_names.iter().flatten().enumerate() {
        if !name.is_empty() {
            check::path_segment(problems, &list.index(i), name);
        }
        if !names.insert(name) {
            problems.duplicate(list.index(i), name);
        }
    }
    validate::rule(Rule::from(rule), at, problems);
}
