//! ValidatingAdmissionPolicyBinding: about what a policy is asked, with which parameters, and what becomes of what it finds.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;

use super::{match_resources, params, policy};
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check};

pub const PLURAL: &str = "validatingadmissionpolicybindings";
const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];

impl Kind for ValidatingAdmissionPolicyBinding {
    const SINGULAR: &'static str = "validatingadmissionpolicybinding";
    const STORE_PREFIX: &'static str = PLURAL;
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const HAS_GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    strategy!(spec);
    fn fill_defaults(&mut self) {
        if let Some(resources) = &mut self.spec.match_resources {
            match_resources::fill(resources);
        }
    }
    fn validate(&self, problems: &mut Problems) {
        let (spec, at) = (&self.spec, Path::root("spec"));
        let of = policy::Bound {
            policy_name: &spec.policy_name,
            param_ref: spec.param_ref.as_ref(),
            match_resources: spec.match_resources.as_ref(),
        };
        policy::validate_bound(of, &at, problems);
        actions(&spec.validation_actions, &at.field("validationActions"), problems);
    }
    fn columns() -> &'static [Column] {
        policy::BINDING_COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let policy = Cell::text(self.spec.policy_name.clone());
        let param = params::ref_cell(self.spec.param_ref.as_ref());
        vec![cells::name(&self.metadata), policy, param, cells::age(&self.metadata, now_secs)]
    }
}

fn actions(actions: &[String], at: &Path<'_>, problems: &mut Problems) {
    let mut seen = HashSet::new();
    for (i, action) in actions.iter().enumerate() {
        check::known_word(problems, &at.index(i), action, ACTIONS);
        if !seen.insert(action.as_str()) {
            problems.duplicate(at.index(i), action);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        problems.invalid(at, actions, why);
    }
    if actions.is_empty() {
        problems.required(at, "at least one validation action is required");
    }
}
