//! FlowSchema: which requests are of a flow together, and at which priority level they wait.

mod validate;

use corten_api::Problems;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaSpec, PolicyRulesWithSubjects};

use super::condition_types;
use crate::registry::{Cell, Column, Kind, cells};

/// The condition that says whether its priority level is missing.
pub const DANGLING: &str = "Dangling";
const PRECEDENCE: i32 = 1000;

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("PriorityLevel", "Where its requests wait"),
    cells::text("MatchingPrecedence", "Of those that match the lowest decides"),
    cells::text("DistinguisherMethod", "What makes its requests different flows"),
    cells::AGE,
    cells::text("MissingPL", "Whether its priority level is not there, or no good"),
];

impl Kind for FlowSchema {
    const SINGULAR: &'static str = "flowschema";
    const STORE_PREFIX: &'static str = "flowschemas";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const HAS_GENERATION: bool = true;
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        let FlowSchemaSpec { matching_precedence, rules, .. } = &mut self.spec;
        if matching_precedence.is_none_or(|p| p == 0) {
            *matching_precedence = Some(PRECEDENCE);
        }
        rules.take_if(|rules| rules.is_empty());
        rules.iter_mut().flatten().for_each(shorten);
    }
    fn validate(&self, problems: &mut Problems) {
        validate::validate(self, problems);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let conditions = self.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        condition_types(conditions.iter().map(|c| c.type_.as_str()), problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let spec = &self.spec;
        let conditions = self.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        let dangling = conditions.filter(|c| c.type_ == DANGLING).find_map(|c| c.status.as_deref());
        vec![
            cells::name(&self.metadata),
            Cell::text_or(Some(&spec.priority_level_configuration.name), ""),
            Cell::Int(spec.matching_precedence.unwrap_or(0).into()),
            Cell::text_or(spec.distinguisher_method.as_ref().map(|method| method.type_.as_str()), cells::NONE),
            cells::age(&self.metadata, now_secs),
            Cell::text_or(dangling, "?"),
        ]
    }
}

/// As it is on the wire, where an empty list and a `false` are not said: so that equal rules are equal.
fn shorten(rules: &mut PolicyRulesWithSubjects) {
    rules.resource_rules.take_if(|rules| rules.is_empty());
    rules.non_resource_rules.take_if(|rules| rules.is_empty());
    for rule in rules.resource_rules.iter_mut().flatten() {
        rule.cluster_scope.take_if(|is| !*is);
        rule.namespaces.take_if(|namespaces| namespaces.is_empty());
    }
}

#[cfg(test)]
mod tests;
