//! What both kinds of webhooks have.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, RuleWithOperations, ValidatingWebhook, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// One of a configuration's.
#[derive(Clone, Copy, Debug)]
pub struct Webhook<'a> {
    pub name: &'a str,
    pub client_config: &'a WebhookClientConfig,
    pub rules: &'a [RuleWithOperations],
    pub failure_policy: Option<&'a String>,
    pub match_policy: Option<&'a String>,
    pub namespace_selector: Option<&'a LabelSelector>,
    pub object_selector: Option<&'a LabelSelector>,
    pub side_effects: &'a str,
    pub timeout_seconds: Option<i32>,
    pub admission_review_versions: &'a [String],
    pub match_conditions: &'a [MatchCondition],
    /// None of one that only judges.
    pub reinvocation_policy: Option<&'a String>,
}

macro_rules! view {
    ($of:ident, $reinvocation_policy:expr) => {
        Self {
            name: &$of.name,
            client_config: &$of.client_config,
            rules: $of.rules.as_deref().unwrap_or_default(),
            failure_policy: $of.failure_policy.as_ref(),
            match_policy: $of.match_policy.as_ref(),
            namespace_selector: $of.namespace_selector.as_ref(),
            object_selector: $of.object_selector.as_ref(),
            side_effects: &$of.side_effects,
            timeout_seconds: $of.timeout_seconds,
            admission_review_versions: &$of.admission_review_versions,
            match_conditions: $of.match_conditions.as_deref().unwrap_or_default(),
            reinvocation_policy: $reinvocation_policy,
        }
    };
}

impl<'a> From<&'a MutatingWebhook> for Webhook<'a> {
    fn from(of: &'a MutatingWebhook) -> Self {
        view!(of, of.reinvocation_policy.as_ref())
    }
}

impl<'a> From<&'a ValidatingWebhook> for Webhook<'a> {
    fn from(of: &'a ValidatingWebhook) -> Self {
        view!(of, None)
    }
}
