//! MutatingAdmissionPolicyBinding: about what a policy is asked, and with which parameters.

use corten_api::Problems;
use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicyBinding, MutatingAdmissionPolicyBindingSpec};

use super::{match_resources, params, policy};
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check};

pub const PLURAL: &str = "mutatingadmissionpolicybindings";

impl Kind for MutatingAdmissionPolicyBinding {
    const SINGULAR: &'static str = "mutatingadmissionpolicybinding";
    const STORE_PREFIX: &'static str = PLURAL;
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const HAS_GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    strategy!(spec);
    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if let Some(resources) = &mut spec.match_resources {
            match_resources::fill(resources);
        }
    }
    fn validate(&self, problems: &mut Problems) {
        let none = MutatingAdmissionPolicyBindingSpec::default();
        let (spec, at) = (self.spec.as_ref().unwrap_or(&none), Path::root("spec"));
        let of = policy::Bound {
            policy_name: check::text(spec.policy_name.as_ref()),
            param_ref: spec.param_ref.as_ref(),
            match_resources: spec.match_resources.as_ref(),
        };
        policy::validate_bound(of, &at, problems);
        if let Some(resources) = &spec.match_resources {
            match_resources::validate_mutated(resources, &at.field("matchResources"), problems);
        }
    }
    fn columns() -> &'static [Column] {
        policy::BINDING_COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let spec = self.spec.as_ref();
        let policy = Cell::text(spec.and_then(|spec| spec.policy_name.clone()).unwrap_or_default());
        let param = params::ref_cell(spec.and_then(|spec| spec.param_ref.as_ref()));
        vec![cells::name(&self.metadata), policy, param, cells::age(&self.metadata, now_secs)]
    }
}
