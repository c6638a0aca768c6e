//! What a pod's failure means for its Job, when a Job is done before all its indexes are, and when pods are replaced.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
};

use super::{indexes, is_indexed};
use crate::quoted_list::quoted_list;
use crate::registry::path::Path;
use crate::registry::{check, conditions};

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const INDEXES_BYTES_MAX: usize = 64 * 1024;
const FAIL_INDEX: &str = "FailIndex";

pub(super) fn validate(spec: &JobSpec, at: &Path<'_>, problems: &mut Problems) {
    if let Some(policy) = &spec.pod_failure_policy {
        failure(policy, spec, &at.field("podFailurePolicy").field("rules"), problems);
    }
    if let Some(policy) = &spec.success_policy {
        success(policy, spec, &at.field("successPolicy"), problems);
    }
    let known: &[&str] =
        if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    check::optional_word(problems, &at.field("podReplacementPolicy"), spec.pod_replacement_policy.as_ref(), known);
}

/// One of the known words, which are told to who says none.
fn word(problems: &mut Problems, at: &Path<'_>, value: &str, known: &[&str]) {
    if value.is_empty() {
        problems.required(at, &format!("valid values: {}", quoted_list(known)));
    } else if !known.contains(&value) {
        problems.unsupported(at, value, known);
    }
}

fn failure(policy: &PodFailurePolicy, spec: &JobSpec, list: &Path<'_>, problems: &mut Problems) {
    if policy.rules.len() > RULES_MAX {
        problems.too_many(list, policy.rules.len(), RULES_MAX);
    }
    let pod = spec.template.spec.iter();
    let containers = pod.flat_map(|pod| pod.containers.iter().chain(pod.init_containers.iter().flatten()));
    let containers: HashSet<&str> = containers.map(|container| container.name.as_str()).collect();
    for (i, rule) in policy.rules.iter().enumerate() {
        failure_rule(rule, spec, &containers, &list.index(i), problems);
    }
}

fn failure_rule(
    rule: &PodFailurePolicyRule,
    spec: &JobSpec,
    containers: &HashSet<&str>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let action_at = at.field("action");
    word(problems, &action_at, &rule.action, &["Count", FAIL_INDEX, "FailJob", "Ignore"]);
    if rule.action == FAIL_INDEX && spec.backoff_limit_per_index.is_none() {
        problems.invalid(action_at, &rule.action, "requires the backoffLimitPerIndex to be set");
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(codes, containers, &at.field("onExitCodes"), problems);
    }
    pod_conditions(patterns, &at.field("onPodConditions"), problems);
    match (&rule.on_exit_codes, patterns.is_empty()) {
        (Some(_), false) => {
            problems.invalid_unshown(at, "specifying both OnExitCodes and OnPodConditions is not supported");
        }
        (None, true) => {
            problems.invalid_unshown(at, "specifying one of OnExitCodes and OnPodConditions is required");
        }
        _ => {}
    }
}

fn pod_conditions(patterns: &[PodFailurePolicyOnPodConditionsPattern], list: &Path<'_>, problems: &mut Problems) {
    if patterns.len() > CONDITIONS_MAX {
        problems.too_many(list, patterns.len(), CONDITIONS_MAX);
    }
    for (i, pattern) in patterns.iter().enumerate() {
        let at = list.index(i);
        check::qualified_name(problems, &at.field("type"), &pattern.type_);
        let status = check::text(pattern.status.as_ref());
        word(problems, &at.field("status"), status, conditions::STATUSES);
    }
}

fn exit_codes(
    codes: &PodFailurePolicyOnExitCodesRequirement,
    containers: &HashSet<&str>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    word(problems, &at.field("operator"), &codes.operator, &["In", "NotIn"]);
    if let Some(name) = codes.container_name.as_ref().filter(|name| !containers.contains(name.as_str())) {
        let why = "must be one of the container or initContainer names in the pod template";
        problems.invalid(at.field("containerName"), name, why);
    }
    let list = at.field("values");
    if codes.values.is_empty() {
        problems.invalid(list, &codes.values, "at least one value is required");
    } else if codes.values.len() > EXIT_CODES_MAX {
        problems.too_many(list, codes.values.len(), EXIT_CODES_MAX);
    }
    let mut seen = HashSet::new();
    for (i, code) in codes.values.iter().enumerate() {
        if codes.operator == "In" && *code == 0 {
            problems.invalid(list.index(i), code, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            problems.duplicate(list.index(i), code);
        }
    }
    if !codes.values.is_sorted() {
        problems.invalid(list, &codes.values, "must be ordered");
    }
}

fn success(policy: &SuccessPolicy, spec: &JobSpec, at: &Path<'_>, problems: &mut Problems) {
    if !is_indexed(spec) {
        return problems.invalid(at, policy, "requires indexed completion mode");
    }
    let list = at.field("rules");
    if policy.rules.is_empty() {
        problems.required(list, "at least one rules must be specified when the successPolicy is specified");
    }
    if policy.rules.len() > RULES_MAX {
        problems.too_many(list, policy.rules.len(), RULES_MAX);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        success_rule(rule, spec.completions, &list.index(i), problems);
    }
}

/// `completions`: an indexed Job without is told of elsewhere.
fn success_rule(rule: &SuccessPolicyRule, completions: Option<i32>, at: &Path<'_>, problems: &mut Problems) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        problems.required(at, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let (indexes_at, count_at) = (at.field("succeededIndexes"), at.field("succeededCount"));
    if rule.succeeded_indexes.as_ref().is_some_and(|indexes| indexes.len() > INDEXES_BYTES_MAX) {
        problems.too_long(indexes_at, INDEXES_BYTES_MAX);
    }
    check::not_negative(problems, &count_at, rule.succeeded_count);
    let Some(completions) = completions else { return };
    let listed = rule.succeeded_indexes.as_ref().map(|text| {
        indexes::count(text, completions).unwrap_or_else(|err| {
            problems.invalid(indexes_at, text, &format!("error parsing succeededIndexes: {err}"));
            0
        })
    });
    let Some(count) = rule.succeeded_count else { return };
    if count > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        problems.invalid(count_at, count, &why);
    }
    if let Some(listed) = listed.filter(|listed| i64::from(count) > *listed) {
        let why = format!(
            "must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        );
        problems.invalid(count_at, count, &why);
    }
}
