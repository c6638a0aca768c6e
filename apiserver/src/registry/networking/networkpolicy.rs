//! NetworkPolicy: which pods may talk to which. Whoever builds the pods' network keeps it.

pub mod validate;

use corten_api::Problems;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, workload};

const COLUMNS: &[Column] =
    &[cells::NAME, cells::text("Pod-Selector", "Labels of the pods that are guarded"), cells::AGE];

impl Kind for NetworkPolicy {
    const SINGULAR: &'static str = "networkpolicy";
    const SHORT_NAMES: &'static [&'static str] = &["netpol"];
    const STORE_PREFIX: &'static str = "networkpolicies";
    const HAS_GENERATION: bool = true;

    strategy!(spec);
    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.pod_selector.get_or_insert_default();
        default_protocols(spec);
        default_types(spec);
    }
    fn validate(&self, problems: &mut Problems) {
        let at = Path::root("spec");
        match &self.spec {
            None => problems.required(at, ""),
            Some(spec) => validate::spec(spec, &at, problems),
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let selector = self.spec.as_ref().and_then(|s| s.pod_selector.as_ref()).map(workload::query);
        vec![
            cells::name(&self.metadata),
            Cell::text_or(selector.as_deref(), cells::NONE),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

fn default_protocols(spec: &mut NetworkPolicySpec) {
    let ingress = spec.ingress.iter_mut().flatten().filter_map(|rule| rule.ports.as_mut());
    let egress = spec.egress.iter_mut().flatten().filter_map(|rule| rule.ports.as_mut());
    for port in ingress.chain(egress).flatten() {
        port.protocol.get_or_insert_with(|| "TCP".into());
    }
}

/// Every policy is about what comes in, unless it says otherwise; one that has rules for what goes out is about that, too.
fn default_types(spec: &mut NetworkPolicySpec) {
    if spec.policy_types.as_ref().is_some_and(|types| !types.is_empty()) {
        return;
    }
    let goes_out = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
    let types: &[&str] = if goes_out { &["Ingress", "Egress"] } else { &["Ingress"] };
    spec.policy_types = Some(types.iter().map(|text| (*text).to_owned()).collect());
}

#[cfg(test)]
mod tests;
