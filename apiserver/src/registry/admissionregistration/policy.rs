//! What both kinds of policies say: whom they are about, what they know, and what is done when they cannot be asked. Pure.

use corten_api::Problems;
use corten_api::names::QUALIFIED_NAME_WHY;
use k8s_openapi::api::admissionregistration::v1::{MatchCondition, MatchResources, ParamKind, ParamRef, Variable};

use super::expressions::Composer;
use super::{match_conditions, match_resources, params, validate};
use crate::registry::path::Path;
use crate::registry::{Column, cells, check};

/// Of one sort in one policy. Each is compiled and kept.
pub(super) const EXPRESSIONS_MAX: usize = 1000;
/// What CEL keeps for itself.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
const KIND_OF_PARAMS: &str = "Of which kind the objects are that parametrize it";

pub(super) const fn columns(counted: &'static str, description: &'static str) -> [Column; 4] {
    [cells::NAME, cells::integer(counted, description), cells::text("ParamKind", KIND_OF_PARAMS), cells::AGE]
}

pub(super) const BINDING_COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("PolicyName", "The policy that it puts to use"),
    cells::text("ParamRef", "The objects that parametrize the policy"),
    cells::AGE,
];

/// The parts of both.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) failure_policy: Option<&'a String>,
    pub(super) param_kind: Option<&'a ParamKind>,
    pub(super) match_constraints: Option<&'a MatchResources>,
    pub(super) match_conditions: &'a [MatchCondition],
    pub(super) variables: &'a [Variable],
}

macro_rules! shared {
    ($spec:ident) => {
        Shared {
            failure_policy: $spec.failure_policy.as_ref(),
            param_kind: $spec.param_kind.as_ref(),
            match_constraints: $spec.match_constraints.as_ref(),
            match_conditions: $spec.match_conditions.as_deref().unwrap_or_default(),
            variables: $spec.variables.as_deref().unwrap_or_default(),
        }
    };
}
pub(super) use shared;

/// What comes after is compiled with what this gives.
pub(super) fn validate(of: Shared<'_>, at: &Path<'_>, problems: &mut Problems) -> Composer {
    check::word(problems, &at.field("failurePolicy"), of.failure_policy, validate::FAILURE_POLICIES);
    if let Some(kind) = of.param_kind {
        params::validate_kind(kind, &at.field("paramKind"), problems);
    }
    match_resources::validate_constraints(of.match_constraints, &at.field("matchConstraints"), problems);
    let has_params = of.param_kind.is_some();
    match_conditions::validate(of.match_conditions, has_params, &at.field("matchConditions"), problems);
    let mut composer = Composer::new(has_params);
    let list = at.field("variables");
    if few(of.variables.len(), &list, problems) {
        for (i, variable) in of.variables.iter().enumerate() {
            one(variable, &mut composer, &list.index(i), problems);
        }
    }
    composer
}

/// Whether they are to be looked at: whoever sends thousands is told so for the price of counting them.
pub(super) fn few(count: usize, list: &Path<'_>, problems: &mut Problems) -> bool {
    if count > EXPRESSIONS_MAX {
        problems.too_many(list, count, EXPRESSIONS_MAX);
    }
    count <= EXPRESSIONS_MAX
}

fn one(variable: &Variable, composer: &mut Composer, at: &Path<'_>, problems: &mut Problems) {
    let name = at.field("name");
    if variable.name.trim().is_empty() {
        problems.required(name, "name is not specified");
    } else if !is_identifier(&variable.name) {
        problems.invalid(name, &variable.name, "must be a valid CEL identifier");
    }
    if variable.expression.trim().is_empty() {
        problems.required(at.field("expression"), "expression is not specified");
    } else if let Err(why) = composer.add(&variable.name, &variable.expression) {
        problems.invalid(at.field("expression"), &variable.expression, &why);
    }
}

fn is_identifier(name: &str) -> bool {
    let is_begun = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_begun && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !RESERVED.contains(&name)
}

/// The key of an annotation that a policy of this name makes.
pub(super) fn annotation_key(policy: &str, key: &str, at: &Path<'_>, problems: &mut Problems) {
    if policy.is_empty() {
        return problems.invalid(at, key, "requires metadata.name be non-empty");
    }
    let whole = format!("{policy}/{key}");
    if !corten_api::names::is_qualified_name(&whole) {
        problems.invalid(at, whole, QUALIFIED_NAME_WHY);
    }
}

/// The parts of both kinds of bindings.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) policy_name: &'a str,
    pub(super) param_ref: Option<&'a ParamRef>,
    pub(super) match_resources: Option<&'a MatchResources>,
}

pub(super) fn validate_bound(of: Bound<'_>, at: &Path<'_>, problems: &mut Problems) {
    match of.policy_name {
        "" => problems.required(at.field("policyName"), ""),
        name => check::dns_subdomain(problems, &at.field("policyName"), name),
    }
    if let Some(param) = of.param_ref {
        params::validate_ref(param, &at.field("paramRef"), problems);
    }
    if let Some(resources) = of.match_resources {
        match_resources::validate(resources, &at.field("matchResources"), problems);
    }
}

#[cfg(test)]
mod tests;
