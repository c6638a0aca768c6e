//! The policies that bindings put to use, compiled, in the order of asking: by name, and the bindings of each by theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_cel::Program;
use k8s_openapi::api::admissionregistration::v1::{
    self, AuditAnnotation, MatchCondition, MatchResources, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
    MutatingAdmissionPolicySpec, ParamKind, ParamRef, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicySpec, Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::params::{Kind, Reference};
use super::parsed::Parsed;
use super::scope::Variables;
use crate::admission::asking::Operation;
use crate::admission::conditions::Conditions;
use crate::admission::matching::Criteria;
use crate::registry::ApiResource;
use crate::registry::admissionregistration::expressions::{Composer, Wanted, compile};
use crate::registry::admissionregistration::mutatingadmissionpolicy::JSON_PATCH;

/// An expression, or why it cannot be evaluated.
pub(super) type Compiled = Result<Program, String>;

/// What both kinds of policies are.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: Arc<str>,
    /// Which of its states this was compiled from.
    state: (String, i64),
    /// `None`: nobody has said so, which only a store that is not ours can have.
    pub(super) criteria: Option<Criteria>,
    pub(super) conditions: Conditions,
    pub(super) variables: Variables,
    pub(super) param_kind: Option<Kind>,
    /// Whether what it is asked about is done though it cannot be asked.
    pub(super) fails_open: bool,
}

/// One that judges.
#[derive(Debug)]
pub(super) struct Validating {
    pub(super) policy: Policy,
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<Annotation>,
}

#[derive(Debug)]
pub(super) struct Validation {
    pub(super) expression: String,
    pub(super) program: Compiled,
    pub(super) message: String,
    /// `None`: it has none, or one that is none.
    pub(super) message_program: Option<Program>,
    pub(super) reason: Option<String>,
}

#[derive(Debug)]
pub(super) struct Annotation {
    pub(super) key: String,
    pub(super) expression: String,
    pub(super) program: Compiled,
}

/// One that changes objects.
#[derive(Debug)]
pub(super) struct Mutating {
    pub(super) policy: Policy,
    pub(super) mutations: Vec<Mutation>,
    /// Whether it is asked once more about what others have changed after it.
    pub(super) is_asked_again: bool,
}

#[derive(Debug)]
pub(super) struct Mutation {
    pub(super) is_json_patch: bool,
    pub(super) expression: String,
    pub(super) program: Compiled,
}

#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: Arc<str>,
    /// `None`: what its policy is about.
    pub(super) criteria: Option<Criteria>,
    pub(super) params: Option<Reference>,
    pub(super) actions: Vec<Action>,
}

/// What becomes of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deny,
    Warn,
    Audit,
}

impl Action {
    /// As users say it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::Warn => "Warn",
            Self::Audit => "Audit",
        }
    }
}

/// A policy and those that put it to use.
#[derive(Debug)]
pub(super) struct Bound<P> {
    pub(super) policy: Arc<P>,
    pub(super) bindings: Vec<Binding>,
}

#[derive(Debug, Default)]
pub struct Index {
    pub(super) mutating: Vec<Bound<Mutating>>,
    pub(super) validating: Vec<Bound<Validating>>,
    /// Of all of them, and of those before.
    pub(super) parsed: Arc<Parsed>,
}

/// As they were read.
#[derive(Debug, Default)]
pub struct Stored {
    pub mutating: Vec<MutatingAdmissionPolicy>,
    pub mutating_bindings: Vec<MutatingAdmissionPolicyBinding>,
    pub validating: Vec<ValidatingAdmissionPolicy>,
    pub validating_bindings: Vec<ValidatingAdmissionPolicyBinding>,
}

/// Whether one may be about something, by its rules alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concern {
    pub mutating: bool,
    pub validating: bool,
}

impl Index {
    /// `before`: whose policies are not compiled again where they are the same.
    pub(super) fn compile(of: &Stored, before: &Self) -> Self {
        Self {
            mutating: bound(
                &of.mutating,
                |policy| &policy.metadata,
                of.mutating_bindings.iter().map(Binding::of_mutating).collect(),
                &before.mutating,
                Mutating::of,
            ),
            validating: bound(
                &of.validating,
                |policy| &policy.metadata,
                of.validating_bindings.iter().map(Binding::of_validating).collect(),
                &before.validating,
                Validating::of,
            ),
            parsed: before.parsed.clone(),
        }
    }
    pub fn concerns(&self, operation: Operation, resources: &[Arc<ApiResource>], subresource: &str) -> Concern {
        let is_about = |policy: &Policy| {
            policy.criteria.as_ref().is_none_or(|criteria| criteria.is_named(operation, resources, subresource))
        };
        Concern {
            mutating: self.mutating.iter().any(|bound| is_about(&bound.policy.policy)),
            validating: self.validating.iter().any(|bound| is_about(&bound.policy.policy)),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.mutating.is_empty() && self.validating.is_empty()
    }
}

/// Both kinds of policies.
pub(super) trait HasPolicy {
    fn policy(&self) -> &Policy;
}
impl HasPolicy for Mutating {
    fn policy(&self) -> &Policy {
        &self.policy
    }
}
impl HasPolicy for Validating {
    fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// Policies that nobody puts to use are not compiled.
fn bound<K, P: HasPolicy>(
    policies: &[K],
    meta: impl Fn(&K) -> &ObjectMeta,
    bindings: Vec<(String, Binding)>,
    before: &[Bound<P>],
    compile: impl Fn(&K) -> P,
) -> Vec<Bound<P>> {
    let mut by_policy: BTreeMap<String, Vec<Binding>> = BTreeMap::new();
    for (policy, binding) in bindings {
        by_policy.entry(policy).or_default().push(binding);
    }
    let mut all = Vec::new();
    for policy in policies {
        let meta = meta(policy);
        let Some(mut bindings) = by_policy.remove(meta.name.as_deref().unwrap_or_default()) else { continue };
        bindings.sort_by(|a, b| a.name.cmp(&b.name));
        let is_same = |bound: &&Bound<P>| {
            let policy = bound.policy.policy();
            Some(&*policy.name) == meta.name.as_deref() && policy.state == state_of(meta)
        };
        let same = before.iter().find(is_same).map(|bound| bound.policy.clone());
        all.push(Bound { policy: same.unwrap_or_else(|| Arc::new(compile(policy))), bindings });
    }
    all.sort_by(|a, b| a.policy.policy().name.cmp(&b.policy.policy().name));
    all
}

fn state_of(meta: &ObjectMeta) -> (String, i64) {
    (meta.uid.clone().unwrap_or_default(), meta.generation.unwrap_or_default())
}

impl Binding {
    fn new(meta: &ObjectMeta, param: Option<&ParamRef>, about: Option<&MatchResources>, actions: Vec<Action>) -> Self {
        let name = meta.name.as_deref().unwrap_or_default();
        let criteria = about.map(|about| Criteria::of_resources(name, about));
        Self { name: name.into(), criteria, params: param.map(Reference::from), actions }
    }
    fn of_mutating(of: &MutatingAdmissionPolicyBinding) -> (String, Self) {
        let spec = of.spec.clone().unwrap_or_default();
        let made = Self::new(&of.metadata, spec.param_ref.as_ref(), spec.match_resources.as_ref(), Vec::new());
        (spec.policy_name.unwrap_or_default(), made)
    }
    fn of_validating(of: &ValidatingAdmissionPolicyBinding) -> (String, Self) {
        let action = |word: &String| match word.as_str() {
            "Deny" => Some(Action::Deny),
            "Warn" => Some(Action::Warn),
            "Audit" => Some(Action::Audit),
            _ => None,
        };
        let (spec, actions) = (&of.spec, of.spec.validation_actions.iter().filter_map(action).collect());
        let made = Self::new(&of.metadata, spec.param_ref.as_ref(), spec.match_resources.as_ref(), actions);
        (spec.policy_name.clone(), made)
    }
}

/// What both kinds of policies say.
struct Said<'a> {
    meta: &'a ObjectMeta,
    failure_policy: Option<&'a String>,
    param_kind: Option<&'a ParamKind>,
    match_constraints: Option<&'a MatchResources>,
    match_conditions: &'a [MatchCondition],
    variables: &'a [Variable],
}

macro_rules! said {
    ($meta:expr, $spec:ident) => {
        Said {
            meta: $meta,
            failure_policy: $spec.failure_policy.as_ref(),
            param_kind: $spec.param_kind.as_ref(),
            match_constraints: $spec.match_constraints.as_ref(),
            match_conditions: $spec.match_conditions.as_deref().unwrap_or_default(),
            variables: $spec.variables.as_deref().unwrap_or_default(),
        }
    };
}

impl Policy {
    /// And what its other expressions are compiled with.
    fn of(said: &Said<'_>) -> (Self, Composer) {
        let name = said.meta.name.as_deref().unwrap_or_default();
        let has_params = said.param_kind.is_some();
        let mut composer = Composer::new(has_params);
        let conditions = Conditions::compile(said.match_conditions, has_params);
        let variables = Variables::compile(&mut composer, said.variables);
        let policy = Self {
            name: name.into(),
            state: state_of(said.meta),
            criteria: said.match_constraints.map(|about| Criteria::of_resources(name, about)),
            conditions,
            variables,
            param_kind: said.param_kind.map(Kind::from),
            fails_open: said.failure_policy.is_some_and(|policy| policy == "Ignore"),
        };
        (policy, composer)
    }
}

impl Validating {
    fn of(of: &ValidatingAdmissionPolicy) -> Self {
        let none = ValidatingAdmissionPolicySpec::default();
        let spec = of.spec.as_ref().unwrap_or(&none);
        let (policy, composer) = Policy::of(&said!(&of.metadata, spec));
        let of_messages = composer.of_messages();
        let mut validations = Vec::new();
        for said in spec.validations.iter().flatten() {
            let text = said.message_expression.as_deref().filter(|text| !text.is_empty());
            let message_program = text.and_then(|text| compile(text, &of_messages, Wanted::Text).ok());
            validations.push(Validation {
                expression: said.expression.clone(),
                program: composer.compile(&said.expression, Wanted::Bool),
                message: said.message.as_deref().unwrap_or_default().trim().to_owned(),
                message_program,
                reason: said.reason.clone(),
            });
        }
        let annotation = |said: &AuditAnnotation| Annotation {
            key: said.key.clone(),
            expression: said.value_expression.clone(),
            program: composer.compile(said.value_expression.trim(), Wanted::TextOrNull),
        };
        let annotations: Vec<Annotation> = spec.audit_annotations.iter().flatten().map(annotation).collect();
        Self { policy, validations, annotations }
    }
}

impl Mutating {
    fn of(of: &MutatingAdmissionPolicy) -> Self {
        let none = MutatingAdmissionPolicySpec::default();
        let spec = of.spec.as_ref().unwrap_or(&none);
        let (policy, composer) = Policy::of(&said!(&of.metadata, spec));
        let environment = composer.of_patches();
        let mutation = |said: &v1::Mutation| {
            let is_json_patch = said.patch_type == JSON_PATCH;
            let text = if is_json_patch {
                said.json_patch.as_ref().and_then(|patch| patch.expression.as_deref())
            } else {
                said.apply_configuration.as_ref().and_then(|apply| apply.expression.as_deref())
            };
            let wanted = if is_json_patch { Wanted::Patch } else { Wanted::Configuration };
            let expression = text.unwrap_or_default().trim().to_owned();
            Mutation { is_json_patch, program: compile(&expression, &environment, wanted), expression }
        };
        let mutations = spec.mutations.iter().flatten().map(mutation).collect();
        let is_asked_again = spec.reinvocation_policy.as_deref() == Some("IfNeeded");
        Self { policy, mutations, is_asked_again }
    }
}
