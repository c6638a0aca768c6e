//! Whether what a definition says of conversion between its versions can be done, in upstream's words.

use corten_api::{Problems, names};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, WebhookClientConfig, WebhookConversion,
};

use super::conditions::{self, ESTABLISHED};
use super::{NONE, WEBHOOK};
use crate::registry::path::Path;
use crate::registry::webhook_client::{NO_CERTIFICATE, REVIEW_VERSIONS, WebhookClient};

/// `old`: the definition before. What was wrong with it already may stay so.
pub(super) fn check(of: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>, problems: &mut Problems) {
    let Some(conversion) = &of.spec.conversion else { return };
    let at = Path::root("spec");
    let at = at.field("conversion");
    let strategy = at.field("strategy");
    if conversion.strategy != NONE && of.spec.preserve_unknown_fields == Some(true) {
        problems.invalid(strategy, &conversion.strategy, "must be None if spec.preserveUnknownFields is true");
    }
    match conversion.strategy.as_str() {
        "" => problems.required(strategy, ""),
        NONE | WEBHOOK => {}
        other => problems.unsupported(strategy, other, &[NONE, WEBHOOK]),
    }
    let said = conversion.webhook.as_ref();
    let client = said.and_then(|webhook| webhook.client_config.as_ref());
    let versions = said.map(|webhook| webhook.conversion_review_versions.as_slice()).unwrap_or_default();
    let (client_at, versions_at) = (at.field("webhookClientConfig"), at.field("conversionReviewVersions"));
    if conversion.strategy == WEBHOOK {
        match client {
            None => problems.required(client_at, "required when strategy is set to Webhook"),
            Some(of) => client_config(of, old, &client_at, problems),
        }
        let before = old.and_then(|old| webhook_of(old.spec.conversion.as_ref()));
        let before = before.map(|webhook| webhook.conversion_review_versions.as_slice()).unwrap_or_default();
        review_versions(versions, before.is_empty() || is_known(before), &versions_at, problems);
    } else {
        let why = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            problems.forbidden(client_at, why);
        }
        if !versions.is_empty() {
            problems.forbidden(versions_at, why);
        }
    }
}

fn webhook_of(conversion: Option<&CustomResourceConversion>) -> Option<&WebhookConversion> {
    conversion?.webhook.as_ref()
}

/// Whether nobody can be trusted to be the webhook: the kind is not told to be established then.
pub fn has_bad_bundle(of: &CustomResourceDefinition) -> bool {
    let client = webhook_of(of.spec.conversion.as_ref()).and_then(|webhook| webhook.client_config.as_ref());
    client.is_some_and(|client| !WebhookClient::from(client).trusts_somebody())
}

fn client_config(
    of: &WebhookClientConfig,
    old: Option<&CustomResourceDefinition>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let client = WebhookClient::from(of);
    client.validate(at, problems);
    // Before the kind is established its bundle may still be put in by somebody.
    let is_to_be_good = old.is_some_and(|old| conditions::is_true(old, ESTABLISHED) && !has_bad_bundle(old));
    if let Some(bundle) = of.ca_bundle.as_ref().filter(|bundle| !bundle.0.is_empty())
        && is_to_be_good
        && !client.trusts_somebody()
    {
        problems.invalid(at.field("caBundle"), bundle, NO_CERTIFICATE);
    }
}

fn is_known(versions: &[String]) -> bool {
    versions.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str()))
}

fn review_versions(versions: &[String], wants_known: bool, at: &Path<'_>, problems: &mut Problems) {
    if versions.is_empty() {
        return problems.required(at, "");
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            problems.invalid(at.index(i), version, "duplicate version");
        } else if !names::is_dns1035_label(version) {
            problems.invalid(at.index(i), version, names::DNS1035_LABEL_WHY);
        }
    }
    if wants_known && !is_known(versions) {
        problems.invalid(at, versions, &format!("must include at least one of {}", REVIEW_VERSIONS.join(", ")));
    }
}
