//! Service: one name and address for many pods. Addresses and node ports are the allocator's business.

pub mod columns;
pub mod defaults;
pub mod validate;
mod warnings;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{Service, ServiceStatus};

use super::{Cell, Column, Kind, NameRule, SelectableField, WriteContext};

impl Kind for Service {
    const SINGULAR: &'static str = "service";
    const SHORT_NAMES: &'static [&'static str] = &["svc"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const STORE_PREFIX: &'static str = "services/specs";
    const DELETE_RETURNS_OBJECT: bool = true;
    const SUBRESOURCES: &'static [&'static str] = &["proxy", "status"];
    const FIELDS: &'static [SelectableField] = &[
        SelectableField::new("spec.clusterIP", "spec.clusterIP", ""),
        SelectableField::new("spec.type", "spec.type", ""),
    ];
    const CREATE_ON_UPDATE: bool = true;
    const NAME_RULE: NameRule = NameRule::Dns1123Label;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        defaults::service(spec);
        if spec.type_.as_deref() == Some("LoadBalancer") {
            defaults::ingress(self.status.as_mut());
        }
        // An empty one is not stored, and is always shown.
        self.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        self.status = Some(ServiceStatus { load_balancer: Some(Default::default()), conditions: None });
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        if let (Some(new), Some(old)) = (&mut self.spec, &old.spec) {
            defaults::carry_over(new, old);
            // What the load balancer was is over with it.
            if new.type_.as_deref() != Some("LoadBalancer") {
                self.status.get_or_insert_default().load_balancer = Some(Default::default());
            }
        }
    }
    fn prepare_status(&mut self, _old: &Self, _: &WriteContext<'_>) {
        self.status.get_or_insert_default().load_balancer.get_or_insert_default();
    }
    fn validate(&self, problems: &mut Problems) {
        validate::service(self, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        validate::update(self, old, problems);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        validate::status(self, problems);
    }
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        warnings::service(self)
    }
    fn columns() -> &'static [Column] {
        columns::COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        columns::row(self, now_secs)
    }
}
