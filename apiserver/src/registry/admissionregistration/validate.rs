//! What a configuration of webhooks may say. Pure.

use std::collections::HashSet;

use corten_api::{Problems, names};
use k8s_openapi::api::admissionregistration::v1::{NamedRuleWithOperations, RuleWithOperations};

use super::{Webhook, match_conditions};
use crate::registry::check;
use crate::registry::path::Path;
use crate::registry::webhook_client::{REVIEW_VERSIONS, WebhookClient};

pub(super) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub(super) const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
pub(super) const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
const TIMEOUTS: std::ops::RangeInclusive<i32> = 1..=30;
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
        rule(Rule::from(of), &rules.index(i), problems);
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
    WebhookClient::from(webhook.client_config).validate(&at.field("clientConfig"), problems);
    match_conditions::validate(webhook.match_conditions, false, &at.field("matchConditions"), problems);
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

/// What webhooks and policies alike say of requests.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    operations: &'a [String],
    api_groups: &'a [String],
    api_versions: &'a [String],
    resources: &'a [String],
    scope: Option<&'a String>,
}

macro_rules! view {
    ($of:ident) => {
        Self {
            operations: list($of.operations.as_ref()),
            api_groups: list($of.api_groups.as_ref()),
            api_versions: list($of.api_versions.as_ref()),
            resources: list($of.resources.as_ref()),
            scope: $of.scope.as_ref(),
        }
    };
}

impl<'a> From<&'a RuleWithOperations> for Rule<'a> {
    fn from(of: &'a RuleWithOperations) -> Self {
        view!(of)
    }
}

impl<'a> From<&'a NamedRuleWithOperations> for Rule<'a> {
    fn from(of: &'a NamedRuleWithOperations) -> Self {
        view!(of)
    }
}

pub(super) fn rule(rule: Rule<'_>, at: &Path<'_>, problems: &mut Problems) {
    let operations = at.field("operations");
    wild(rule.operations, &operations, "operations", problems);
    for (i, operation) in rule.operations.iter().enumerate() {
        check::known_word(problems, &operations.index(i), operation, OPERATIONS);
    }
    wild(rule.api_groups, &at.field("apiGroups"), "API groups", problems);
    let versions = at.field("apiVersions");
    wild(rule.api_versions, &versions, "API versions", problems);
    for (i, _) in rule.api_versions.iter().enumerate().filter(|(_, version)| version.is_empty()) {
        problems.required(versions.index(i), "");
    }
    resources(rule.resources, &at.field("resources"), problems);
    check::optional_word(problems, &at.field("scope"), rule.scope, SCOPES);
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
