//! ValidatingWebhookConfiguration: who may refuse what is written.

use corten_api::Problems;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;

use super::{COLUMNS, Webhook, defaults, validate};
use crate::registry::{Cell, Column, Kind, cells};

pub const PLURAL: &str = "validatingwebhookconfigurations";

impl Kind for ValidatingWebhookConfiguration {
    const SINGULAR: &'static str = "validatingwebhookconfiguration";
    const STORE_PREFIX: &'static str = PLURAL;
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const HAS_GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    strategy!(webhooks);
    fn fill_defaults(&mut self) {
        for webhook in self.webhooks.iter_mut().flatten() {
            defaults::fill(defaults::Fields {
                failure_policy: &mut webhook.failure_policy,
                match_policy: &mut webhook.match_policy,
                namespace_selector: &mut webhook.namespace_selector,
                object_selector: &mut webhook.object_selector,
                timeout_seconds: &mut webhook.timeout_seconds,
                rules: &mut webhook.rules,
                client_config: &mut webhook.client_config,
            });
        }
    }
    fn validate(&self, problems: &mut Problems) {
        validate::validate(self.webhooks.iter().flatten().map(Webhook::from), problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let webhooks = self.webhooks.as_ref().map_or(0, Vec::len);
        vec![cells::name(&self.metadata), Cell::count(webhooks), cells::age(&self.metadata, now_secs)]
    }
}
