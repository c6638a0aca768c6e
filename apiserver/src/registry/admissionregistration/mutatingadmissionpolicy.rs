//! MutatingAdmissionPolicy: expressions that change what is written, once a binding puts them to use.

use corten_api::Problems;
use corten_cel::Environment;
use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, MutatingAdmissionPolicySpec, Mutation};

use super::expressions::{Wanted, compile};
use super::policy::{self, Shared, shared};
use super::{match_resources, params, validate};
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check};

pub const PLURAL: &str = "mutatingadmissionpolicies";
pub const APPLY: &str = "ApplyConfiguration";
pub const JSON_PATCH: &str = "JSONPatch";
const COLUMNS: &[Column] = &policy::columns("Mutations", "How many changes it makes");

impl Kind for MutatingAdmissionPolicy {
    const SINGULAR: &'static str = "mutatingadmissionpolicy";
    const STORE_PREFIX: &'static str = PLURAL;
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const HAS_GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    strategy!(spec);
    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.failure_policy.get_or_insert_with(|| "Fail".into());
        if let Some(constraints) = &mut spec.match_constraints {
            match_resources::fill(constraints);
        }
    }
    fn validate(&self, problems: &mut Problems) {
        let none = MutatingAdmissionPolicySpec::default();
        validate(self.spec.as_ref().unwrap_or(&none), problems);
    }
    /// What was compiled once is not compiled again for a label.
    fn validate_over(&self, old: &Self, problems: &mut Problems) {
        if self.spec != old.spec {
            self.validate(problems);
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let spec = self.spec.as_ref();
        let mutations = spec.and_then(|spec| spec.mutations.as_ref()).map_or(0, Vec::len);
        let kind = params::kind_cell(spec.and_then(|spec| spec.param_kind.as_ref()));
        vec![cells::name(&self.metadata), Cell::count(mutations), kind, cells::age(&self.metadata, now_secs)]
    }
}

fn validate(spec: &MutatingAdmissionPolicySpec, problems: &mut Problems) {
    let at = Path::root("spec");
    let composer = policy::validate(shared!(spec), &at, problems);
    if let Some(constraints) = &spec.match_constraints {
        match_resources::validate_mutated(constraints, &at.field("matchConstraints"), problems);
    }
    let (mutations, list) = (spec.mutations.as_deref().unwrap_or_default(), at.field("mutations"));
    if mutations.is_empty() {
        problems.required(list, "mutations must contain at least one item");
    }
    if policy::few(mutations.len(), &list, problems) {
        let environment = composer.of_patches();
        for (i, of) in mutations.iter().enumerate() {
            mutation(of, &environment, &list.index(i), problems);
        }
    }
    let reinvocation = spec.reinvocation_policy.as_ref();
    check::word(problems, &at.field("reinvocationPolicy"), reinvocation, validate::REINVOCATION_POLICIES);
}

fn mutation(of: &Mutation, environment: &Environment, at: &Path<'_>, problems: &mut Problems) {
    let patch = of.json_patch.as_ref().map(|patch| patch.expression.as_ref());
    let configuration = of.apply_configuration.as_ref().map(|apply| apply.expression.as_ref());
    let (own, own_field, wanted, other, other_field, shown) = match of.patch_type.as_str() {
        "" => return problems.required(at.field("patchType"), ""),
        JSON_PATCH => (patch, "jsonPatch", Wanted::Patch, configuration, "applyConfiguration", "{applyConfiguration}"),
        APPLY => (configuration, "applyConfiguration", Wanted::Configuration, patch, "jsonPatch", "{jsonPatch}"),
        unknown => return problems.unsupported(at.field("patchType"), unknown, &[APPLY, JSON_PATCH]),
    };
    let path = at.field(own_field);
    match own {
        None => problems.required(path, &format!("must be specified when patchType is {}", of.patch_type)),
        Some(expression) => match check::text(expression).trim() {
            "" => problems.required(path.field("expression"), ""),
            text => {
                if let Err(why) = compile(text, environment, wanted) {
                    problems.invalid(path.field("expression"), text, &why);
                }
            }
        },
    }
    if other.is_some() {
        let why = format!("must not be specified when patchType is {}", of.patch_type);
        problems.invalid(at.field(other_field), shown, &why);
    }
}
