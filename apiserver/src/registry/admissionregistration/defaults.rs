//! What a webhook is where it says nothing.

use k8s_openapi::api::admissionregistration::v1::{RuleWithOperations, WebhookClientConfig};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::registry::webhook_client::SERVICE_PORT;

/// Seconds.
pub(super) const TIMEOUT: i32 = 10;

/// The fields that have defaults in both kinds.
pub(super) struct Fields<'a> {
    pub(super) failure_policy: &'a mut Option<String>,
    pub(super) match_policy: &'a mut Option<String>,
    pub(super) namespace_selector: &'a mut Option<LabelSelector>,
    pub(super) object_selector: &'a mut Option<LabelSelector>,
    pub(super) timeout_seconds: &'a mut Option<i32>,
    pub(super) rules: &'a mut Option<Vec<RuleWithOperations>>,
    pub(super) client_config: &'a mut WebhookClientConfig,
}

pub(super) fn fill(fields: Fields<'_>) {
    fields.failure_policy.get_or_insert_with(|| "Fail".into());
    fields.match_policy.get_or_insert_with(|| "Equivalent".into());
    fields.namespace_selector.get_or_insert_default();
    fields.object_selector.get_or_insert_default();
    fields.timeout_seconds.get_or_insert(TIMEOUT);
    for rule in fields.rules.iter_mut().flatten() {
        rule.scope.get_or_insert_with(|| "*".into());
    }
    if let Some(service) = &mut fields.client_config.service {
        service.port.get_or_insert(SERVICE_PORT);
    }
}
