//! For tests: configurations, and a webhook over real TLS that does as it is told.

use corten_api::ApiError;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use serde_json::{Value, json};

use super::Resolve;
use crate::registry::Kind;

/// About all there is.
pub(super) fn webhook(name: &str) -> Value {
    json!({"name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://a/"},
        "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]})
}

fn configuration<K: Kind>(name: &str, webhooks: &[Value]) -> K {
    install();
    let json = json!({"metadata": {"name": name}, "webhooks": webhooks});
    let mut configuration: K = serde_json::from_value(json).unwrap();
    configuration.fill_defaults();
    configuration
}

pub(super) fn mutating(name: &str, webhooks: &[Value]) -> MutatingWebhookConfiguration {
    configuration(name, webhooks)
}

pub(super) fn validating(name: &str, webhooks: &[Value]) -> ValidatingWebhookConfiguration {
    configuration(name, webhooks)
}

/// TLS needs its cryptography; the second test of a process finds it installed.
pub(super) fn install() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
}

/// All Services are at one place, or nowhere.
pub(super) struct At(pub(super) Option<String>);

impl Resolve for At {
    fn resolve<'a>(&'a self, _: &'a str, service: &'a str, _: u16) -> BoxFuture<'a, Result<String, ApiError>> {
        let none = move || ApiError::unavailable(format!("no endpoints available for service {service:?}"));
        async move { self.0.clone().ok_or_else(none) }.boxed()
    }
}
