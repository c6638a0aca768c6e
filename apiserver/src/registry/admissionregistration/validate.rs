//! What a configuration of webhooks may say. Pure.

use std::collections::HashSet;

use corten_api::{Problems, names};
use k8s_openapi::api::admissionregistration::v1::{RuleWithOperations, ServiceReference, WebhookClientConfig};

use super::url::Url;
use super::{Webhook, match_conditions};
use crate::registry::check;
use crate::registry::path::Path;

const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
/// Of AdmissionReview, that this server speaks.
pub(super) const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const TIMEOUTS: std::ops::RangeInclusive<i32> = 1..=30;
const URL_FORM: &str = "; desired format: https://host[/path]";
/// Of a webhook's name.
const SEGMENTS_MIN: usize = 3;

pub(super) fn validate<'a>(webhooks: impl Iterator<Item = Webhook<'a>>, problems: &mut Problems) {
    let list = Path::root("webhooks");
    let mut names = HashSet::new();
    for (i, webhook) in webhooks.enumerate() {
        let at = list.index(i);
        one(&webhook, &at, problems);
        review_versions(webhook.admission_review_versions, &at.field("admissionReviewVersions"), problems);
        if !webhook.name.is_empty() && !names.insert(webhook.name) {
            problems.duplicate(at.field("name"), webhook.name);
        }
    }
}

fn one(webhook: &Webhook<'_>, at: &Path<'_>, problems: &mut Problems) {
    name(webhook.name, &at.field("name"), problems);
    let rules = at.field("rules");
    for (i, of) in webhook.rules.iter().enumerate() {
        rule(of, &rules.index(i), problems);
    }
    check::optional_word(problems, &at.field("failurePolicy"), webhook.failure_policy, FAILURE_POLICIES);
    check::optional_word(problems, &at.field("matchPolicy"), webhook.match_policy, MATCH_POLICIES);
    let side_effects = at.field("sideEffects");
    match webhook.side_effects {
        "" => problems.required(side_effects, &format!("must specify one of {}", SIDE_EFFECTS.join(", "))),
        said => check::known_word(problems, &side_effects, said, SIDE_EFFECTS),
    }
    if let Some(secs) = webhook.timeout_seconds.filter(|secs| !TIMEOUTS.contains(secs)) {
        problems.invalid(at.field("timeoutSeconds"), secs, "the timeout value must be between 1 and 30 seconds");
    }
    let selectors = [("namespaceSelector", webhook.namespace_selector), ("objectSelector", webhook.object_selector)];
    for (field, selector) in selectors {
        if let Some(selector) = selector {
            check::label_selector(problems, &at.field(field), selector);
        }
    }
    check::optional_word(problems, &at.field("reinvocationPolicy"), webhook.reinvocation_policy, REINVOCATION_POLICIES);
    client_config(webhook.client_config, &at.field("clientConfig"), problems);
    match_conditions::validate(webhook.match_conditions, &at.field("matchConditions"), problems);
}

fn name(name: &str, at: &Path<'_>, problems: &mut Problems) {
    if name.is_empty() {
        problems.required(at, "");
    } else if !names::is_dns1123_subdomain(name) {
        check::dns_subdomain(problems, at, name);
    } else if name.split('.').count() < SEGMENTS_MIN {
        problems.invalid(at, name, "should be a domain with at least three segments separated by dots");
    }
}

fn list(values: Option<&Vec<String>>) -> &[String] {
    values.map(Vec::as_slice).unwrap_or_default()
}

/// At least one, and the one for all stands alone.
fn wild(values: &[String], at: &Path<'_>, others: &str, problems: &mut Problems) {
    if values.is_empty() {
        problems.required(at, "");
    }
    if values.len() > 1 && values.iter().any(|value| value == "*") {
        problems.invalid(at, values, &format!("if '*' is present, must not specify other {others}"));
    }
}

fn rule(rule: &RuleWithOperations, at: &Path<'_>, problems: &mut Problems) {
    let operations = at.field("operations");
    let of = list(rule.operations.as_ref());
    wild(of, &operations, "operations", problems);
    for (i, operation) in of.iter().enumerate() {
        check::known_word(problems, &operations.index(i), operation, OPERATIONS);
    }
    wild(list(rule.api_groups.as_ref()), &at.field("apiGroups"), "API groups", problems);
    let versions = at.field("apiVersions");
    let of = list(rule.api_versions.as_ref());
    wild(of, &versions, "API versions", problems);
    for (i, _) in of.iter().enumerate().filter(|(_, version)| version.is_empty()) {
        problems.required(versions.index(i), "");
    }
    resources(list(rule.resources.as_ref()), &at.field("resources"), problems);
    check::optional_word(problems, &at.field("scope"), rule.scope.as_ref(), SCOPES);
}

fn resources(resources: &[String], at: &Path<'_>, problems: &mut Problems) {
    if resources.is_empty() {
        problems.required(at, "");
    }
    // Resources of which all subresources are named, and subresources that are named of all resources.
    let (mut of_all_subs, mut of_all_resources) = (HashSet::new(), HashSet::new());
    let mut has_plain = false;
    for (i, both) in resources.iter().enumerate() {
        let at = at.index(i);
        if both.is_empty() {
            problems.required(at, "");
            continue;
        }
        let Some((resource, sub)) = both.split_once('/') else {
            has_plain = both != "*";
            continue;
        };
        if of_all_subs.contains(resource) {
            problems.invalid(at, both, &format!("if '{resource}/*' is present, must not specify {both}"));
        }
        if of_all_resources.contains(sub) {
            problems.invalid(at, both, &format!("if '*/{sub}' is present, must not specify {both}"));
        }
        if sub == "*" {
            of_all_subs.insert(resource);
        }
        if resource == "*" {
            of_all_resources.insert(sub);
        }
    }
    let has = |wanted: &str| resources.iter().any(|one| one == wanted);
    if resources.len() > 1 && has("*/*") {
        problems.invalid(at, resources, "if '*/*' is present, must not specify other resources");
    }
    if has("*") && has_plain {
        problems.invalid(at, resources, "if '*' is present, must not specify other resources without subresources");
    }
}

fn client_config(config: &WebhookClientConfig, at: &Path<'_>, problems: &mut Problems) {
    match (&config.url, &config.service) {
        (Some(text), None) => url(text, &at.field("url"), problems),
        (None, Some(of)) => service(of, &at.field("service"), problems),
        (None, None) | (Some(_), Some(_)) => problems.required(at, "exactly one of url or service is required"),
    }
}

fn url(text: &str, at: &Path<'_>, problems: &mut Problems) {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(err) => return problems.required(at, &format!("url must be a valid URL: {err}{URL_FORM}")),
    };
    if url.scheme != "https" {
        problems.invalid(at, url.scheme, &format!("'https' is the only allowed URL scheme{URL_FORM}"));
    }
    if url.host.is_empty() {
        problems.invalid(at, url.host, &format!("host must be specified{URL_FORM}"));
    }
    if let Some(user) = url.user {
        problems.invalid(at, user, "user information is not permitted in the URL");
    }
    if !url.fragment.is_empty() {
        problems.invalid(at, url.fragment, "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        problems.invalid(at, url.query, "query parameters are not permitted in the URL");
    }
}

fn service(service: &ServiceReference, at: &Path<'_>, problems: &mut Problems) {
    for (field, value) in [("name", &service.name), ("namespace", &service.namespace)] {
        if value.is_empty() {
            problems.required(at.field(field), "");
        }
    }
    let port = service.port.unwrap_or(super::defaults::SERVICE_PORT);
    if !u16::try_from(port).is_ok_and(|port| port > 0) {
        problems.invalid(at.field("port"), port, &format!("port is not valid: {}", check::PORT_RANGE));
    }
    if let Some(path) = &service.path {
        service_path(path, &at.field("path"), problems);
    }
}

fn service_path(path: &str, at: &Path<'_>, problems: &mut Problems) {
    match path {
        "" | "/" => return,
        "//" => return problems.invalid(at, path, "segment[0] may not be empty"),
        _ => {}
    }
    let Some(steps) = path.strip_prefix('/') else {
        return problems.invalid(at, path, "must start with a '/'");
    };
    for (i, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            problems.invalid(at, path, &format!("segment[{i}] may not be empty"));
        } else if !names::is_dns1123_subdomain(step) {
            problems.invalid(at, path, &format!("segment[{i}]: {}", names::DNS1123_SUBDOMAIN_WHY));
        }
    }
}

fn review_versions(versions: &[String], at: &Path<'_>, problems: &mut Problems) {
    let known = REVIEW_VERSIONS.join(", ");
    if versions.is_empty() {
        return problems.required(at, &format!("must specify one of {known}"));
    }
    let mut seen = HashSet::new();
    for (i, version) in versions.iter().enumerate() {
        if !seen.insert(version) {
            problems.invalid(at.index(i), version, "duplicate version");
        } else if !names::is_dns1035_label(version) {
            problems.invalid(at.index(i), version, names::DNS1035_LABEL_WHY);
        }
    }
    if !versions.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str())) {
        problems.invalid(at, versions, &format!("must include at least one of {known}"));
    }
}
