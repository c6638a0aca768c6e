//! Ingress: which requests from outside go to which Service, by host and path. A controller of its class serves it.

pub mod validate;

use std::collections::BTreeSet;

use corten_api::Problems;
use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress, IngressStatus};

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, WriteContext, cells, check};

/// What said the class before `spec.ingressClassName` did.
pub const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Class", "The IngressClass whose controller serves it"),
    cells::text("Hosts", "Hosts that its rules are for"),
    cells::text("Address", "Where the load balancer is"),
    cells::text("Ports", "Ports that are open there"),
    cells::AGE,
];

impl Kind for Ingress {
    const SINGULAR: &'static str = "ingress";
    const SHORT_NAMES: &'static [&'static str] = &["ing"];
    const STORE_PREFIX: &'static str = "ingress";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const HAS_GENERATION: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        self.spec.get_or_insert_default();
        // An empty one is not stored, and is always shown.
        self.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        self.status = Some(IngressStatus { load_balancer: Some(Default::default()) });
    }
    fn prepare_status(&mut self, _old: &Self, _: &WriteContext<'_>) {
        self.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }
    fn validate(&self, problems: &mut Problems) {
        let at = Path::root("spec");
        let Some(spec) = &self.spec else { return problems.required(at, "") };
        validate::spec(spec, &at, problems);
        if check::is_new(&self.metadata) {
            validate::one_class(self, problems);
        }
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        validate::status(balancers(self), problems);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        const WHY: &str =
            r#"annotation "kubernetes.io/ingress.class" is deprecated, please use 'spec.ingressClassName' instead"#;
        let has =
            |key: &str| self.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key));
        let has_class = self.spec.as_ref().is_some_and(|spec| spec.ingress_class_name.is_some());
        let is_told = old.is_none() && !has_class && has("kubernetes.io/ingress.class");
        is_told.then(|| WHY.to_owned()).into_iter().collect()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let spec = self.spec.as_ref();
        let rules = spec.and_then(|s| s.rules.as_deref()).unwrap_or_default();
        let hosts = rules.iter().filter_map(|rule| rule.host.clone()).filter(|host| !host.is_empty());
        let has_tls = spec.and_then(|s| s.tls.as_ref()).is_some_and(|tls| !tls.is_empty());
        vec![
            cells::name(&self.metadata),
            Cell::text_or(spec.and_then(|s| s.ingress_class_name.as_deref()), cells::NONE),
            cells::cut_list(hosts, "*"),
            Cell::text(addresses(balancers(self))),
            Cell::text(if has_tls { "80, 443" } else { "80" }),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

fn balancers(ingress: &Ingress) -> &[IngressLoadBalancerIngress] {
    let balancer = ingress.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    balancer.and_then(|b| b.ingress.as_deref()).unwrap_or_default()
}

/// Each once, in order.
fn addresses(balancers: &[IngressLoadBalancerIngress]) -> String {
    let full = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let all: BTreeSet<String> =
        balancers.iter().filter_map(|one| full(&one.ip).or_else(|| full(&one.hostname))).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
