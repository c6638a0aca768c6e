//! Objects of custom kinds in other versions, where a webhook converts them.
//!
//! - `review`: what is asked, and what of an answer counts; `judge`: what of an object that was converted counts. Both pure
//! - `converter`: one webhook, asked in batches; `kept`: what it has answered, beside the cache's objects
//! - `metrics`: what is counted
//!
//! What the cache has is as it was stored. It is converted when somebody wants it in another version: once for each object and
//! version, however many want it, also at the same moment. A webhook that hangs, lies or never stops holds up only who wants objects
//! of its own kind: nothing is held for it, and the cache's feed never asks.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#webhook-conversion>

mod converter;
mod judge;
mod kept;
mod metrics;
mod review;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use corten_api::ApiError;
use futures::future::BoxFuture;
use parking_lot::Mutex;

pub(crate) use self::converter::Converter;
use self::kept::Kept;
use self::metrics::Metrics;
use crate::registry::{ApiResource, ConversionWebhook};
use crate::webhook::Resolve;

/// Of why a webhook has not converted: what it says itself is as long as it likes.
const TOLD_BYTES_MAX: usize = 1024;

/// Who has objects in another of the versions that they are served in, whoever converts their kind.
pub trait Convert: Send + Sync {
    /// `json`: as an object of `from`; as one of `to` comes back.
    fn convert<'a>(
        &'a self,
        json: Vec<u8>,
        from: &'a ApiResource,
        to: &'a ApiResource,
    ) -> BoxFuture<'a, Result<Vec<u8>, ApiError>>;
    /// Objects as they are stored, each in whichever version, as `resource` serves them, in their order.
    fn served<'a>(
        &'a self,
        stored: Vec<Bytes>,
        resource: &'a ApiResource,
    ) -> BoxFuture<'a, Result<Vec<Vec<u8>>, ApiError>>;
}

/// What is shared by all webhooks of a server.
#[derive(Default)]
struct Shared {
    kept: Kept,
    metrics: Metrics,
}

/// The webhooks of a server's custom kinds that are served, by their definitions.
#[derive(Default)]
pub(crate) struct Conversions {
    converters: Mutex<HashMap<String, Arc<Converter>>>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Conversions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conversions").field(&self.converters.lock().len()).finish()
    }
}

impl Conversions {
    pub(crate) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.shared.metrics.register(registry);
    }

    /// A kind is served from now on by this webhook, whose converter has the place of one that the same definition named before.
    pub(crate) fn begin(&self, webhook: &Arc<ConversionWebhook>, resolve: Arc<dyn Resolve>) {
        let mut converters = self.converters.lock();
        let before = converters.get(webhook.definition());
        if !before.is_some_and(|before| before.asks(webhook)) {
            let new = Converter::new(webhook.clone(), before.map(|before| &**before), resolve, self.shared.clone());
            converters.insert(webhook.definition().to_owned(), Arc::new(new));
        }
    }

    /// Who asks this webhook. Of a kind that is served otherwise by now, or no more, who has found it before has one of his own, which
    /// goes with him.
    pub(crate) fn converter(
        &self,
        webhook: &Arc<ConversionWebhook>,
        resolve: impl FnOnce() -> Arc<dyn Resolve>,
    ) -> Arc<Converter> {
        let served = self.converters.lock().get(webhook.definition()).cloned();
        match served {
            Some(served) if served.asks(webhook) => served,
            other => Arc::new(Converter::new(webhook.clone(), other.as_deref(), resolve(), self.shared.clone())),
        }
    }

    /// The definition is gone, or names no webhook any more.
    pub(crate) fn forget(&self, definition: &str) {
        self.converters.lock().remove(definition);
    }

    /// Drops what is kept of objects that are gone, or others by now.
    pub(crate) fn release(&self) {
        self.shared.kept.release();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Conversion;
    use crate::registry::custom::CustomKind;
    use crate::registry::custom::testing::{definition, version};
    use crate::webhook::testing::At;

    fn webhook(url: &str) -> Arc<ConversionWebhook> {
        let of = |name: &str, storage| version(name, storage, json!({"type": "object"}));
        let crd = definition(json!({
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
            "versions": [of("v1", true), of("v2", false)],
            "conversion": {"strategy": "Webhook",
                "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": url}}},
        }));
        match CustomKind::of(&crd, false).unwrap().stored.conversion() {
            Some(Conversion::Webhook(webhook)) => webhook.clone(),
            _ => panic!("no webhook converts"),
        }
    }

    #[test]
    fn a_converter_is_remembered_as_long_as_its_kind_is_served() {
        let conversions = Conversions::default();
        let resolve = || -> Arc<dyn Resolve> { Arc::new(At(None)) };
        let of = |webhook: &Arc<ConversionWebhook>| conversions.converter(webhook, resolve);
        let is_kept = |webhook: &Arc<ConversionWebhook>| Arc::ptr_eq(&of(webhook), &of(webhook));
        let [old, new] = ["https://a/", "https://b/"].map(webhook);
        assert!(!is_kept(&old), "it is not served yet");
        conversions.begin(&old, resolve());
        assert!(is_kept(&old));
        let before = of(&old);
        conversions.begin(&webhook("https://a/"), resolve());
        assert!(Arc::ptr_eq(&before, &of(&old)), "nothing has changed");
        conversions.begin(&new, resolve());
        assert!(!is_kept(&old) && is_kept(&new), "who comes late with an older one replaces nothing");
        conversions.forget(new.definition());
        assert!(!is_kept(&new), "who comes late brings nothing back");
    }
}
