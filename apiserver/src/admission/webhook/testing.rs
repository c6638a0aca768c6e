//! For tests: configurations.

use bytes::Bytes;
use corten_api::ApiError;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use serde_json::{Value, json};

use crate::conversion::Convert;
use crate::registry::{ApiResource, Kind};
use crate::webhook::testing::{At, install};

/// About all there is.
pub(in crate::admission) fn webhook(name: &str) -> Value {
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

pub(in crate::admission) fn mutating(name: &str, webhooks: &[Value]) -> MutatingWebhookConfiguration {
    configuration(name, webhooks)
}

pub(in crate::admission) fn validating(name: &str, webhooks: &[Value]) -> ValidatingWebhookConfiguration {
    configuration(name, webhooks)
}

impl Convert for At {
    fn convert<'a>(
        &'a self,
        json: Vec<u8>,
        _: &'a ApiResource,
        _: &'a ApiResource,
    ) -> BoxFuture<'a, Result<Vec<u8>, ApiError>> {
        async move { Ok(json) }.boxed()
    }
    fn served<'a>(&'a self, stored: Vec<Bytes>, _: &'a ApiResource) -> BoxFuture<'a, Result<Vec<Vec<u8>>, ApiError>> {
        async move { Ok(stored.into_iter().map(Into::into).collect()) }.boxed()
    }
}
