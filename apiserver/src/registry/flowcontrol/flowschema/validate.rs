//! Whether a flow schema makes sense: whom its rules are about, what they match.

use corten_api::Problems;
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule,
    ServiceAccountSubject, Subject,
};

use crate::registry::check;
use crate::registry::flowcontrol::{EXEMPT, bootstrap};
use crate::registry::path::Path;

const PRECEDENCE_MAX: i32 = 10_000;
const DISTINGUISHERS: &[&str] = &["ByNamespace", "ByUser"];
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const SUBJECT_KINDS: &[&str] = &["Group", "ServiceAccount", "User"];
const ALL: &str = "*";

pub(super) fn validate(schema: &FlowSchema, problems: &mut Problems) {
    let (at, name) = (Path::root("spec"), check::text(schema.metadata.name.as_ref()));
    validate_spec(&schema.spec, name, &at, problems);
    let fixed = bootstrap::mandatory().schemas.iter().find(|s| s.metadata.name == schema.metadata.name);
    if fixed.is_some_and(|fixed| fixed.spec != schema.spec) {
        problems.invalid(at, &schema.spec, &format!("spec of '{name}' must equal the fixed value"));
    }
}

fn validate_spec(spec: &FlowSchemaSpec, name: &str, at: &Path<'_>, problems: &mut Problems) {
    let (precedence, precedence_at) = (spec.matching_precedence.unwrap_or(0), at.field("matchingPrecedence"));
    match precedence {
        ..=0 => problems.invalid(precedence_at, precedence, "must be a positive value"),
        1 if name != EXEMPT => {
            let why = "only the schema named 'exempt' may have matchingPrecedence 1";
            problems.invalid(precedence_at, precedence, why);
        }
        n if n > PRECEDENCE_MAX => {
            problems.invalid(precedence_at, precedence, &format!("must not be greater than {PRECEDENCE_MAX}"));
        }
        _ => {}
    }
    if let Some(method) = &spec.distinguisher_method {
        let at = at.field("distinguisherMethod");
        check::optional_word(problems, &at.field("type"), Some(&method.type_), DISTINGUISHERS);
    }
    let level_at = at.field("priorityLevelConfiguration");
    match spec.priority_level_configuration.name.as_str() {
        "" => problems.required(level_at.field("name"), "must reference a priority level"),
        level => check::dns_subdomain(problems, &level_at.field("name"), level),
    }
    let list = at.field("rules");
    for (i, rules) in spec.rules.iter().flatten().enumerate() {
        validate_rules(rules, &list.index(i), problems);
    }
}

fn validate_rules(rules: &PolicyRulesWithSubjects, at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("subjects");
    if rules.subjects.is_empty() {
        problems.required(list, "subjects must contain at least one value");
    }
    for (i, subject) in rules.subjects.iter().enumerate() {
        validate_subject(subject, &list.index(i), problems);
    }
    let of_resources = rules.resource_rules.as_deref().unwrap_or_default();
    let of_paths = rules.non_resource_rules.as_deref().unwrap_or_default();
    if of_resources.is_empty() && of_paths.is_empty() {
        problems.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for (i, rule) in of_resources.iter().enumerate() {
        validate_resource_rule(rule, &at.field("resourceRules").index(i), problems);
    }
    for (i, rule) in of_paths.iter().enumerate() {
        validate_path_rule(rule, &at.field("nonResourceRules").index(i), problems);
    }
}

/// It has the field of its kind, and no other.
fn validate_subject(subject: &Subject, at: &Path<'_>, problems: &mut Problems) {
    if !SUBJECT_KINDS.contains(&subject.kind.as_str()) {
        return problems.unsupported(at.field("kind"), &subject.kind, SUBJECT_KINDS);
    }
    let fields = [
        ("serviceAccount", "ServiceAccount", subject.service_account.as_ref().map(|account| account.name.as_str())),
        ("user", "User", subject.user.as_ref().map(|user| user.name.as_str())),
        ("group", "Group", subject.group.as_ref().map(|group| group.name.as_str())),
    ];
    for (field, kind, name) in fields {
        let field_at = at.field(field);
        match (subject.kind == kind, name) {
            (true, None) => {
                problems.required(field_at, &format!("{field} is required when subject kind is '{kind}'"));
            }
            (true, Some("")) => problems.required(field_at.field("name"), ""),
            (false, Some(_)) => {
                problems.forbidden(field_at, &format!("{field} is forbidden when subject kind is not '{kind}'"));
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    if let ("ServiceAccount", Some(account)) = (subject.kind.as_str(), &subject.service_account) {
        validate_account(account, &at.field("serviceAccount"), problems);
    }
}

fn validate_account(account: &ServiceAccountSubject, at: &Path<'_>, problems: &mut Problems) {
    if !matches!(account.name.as_str(), "" | ALL) {
        check::dns_subdomain(problems, &at.field("name"), &account.name);
    }
    match account.namespace.as_str() {
        "" => problems.required(at.field("namespace"), "must specify namespace for service account"),
        namespace => check::dns_label(problems, &at.field("namespace"), namespace),
    }
}

fn validate_verbs(verbs: &[String], at: &Path<'_>, problems: &mut Problems) {
    if verbs.is_empty() {
        problems.required(at, "verbs must contain at least one value");
    } else if !alone(verbs, "verbs", at, problems) && !verbs.iter().all(|verb| VERBS.contains(&verb.as_str())) {
        problems.unsupported(at, verbs, VERBS);
    }
}

fn validate_resource_rule(rule: &ResourcePolicyRule, at: &Path<'_>, problems: &mut Problems) {
    validate_verbs(&rule.verbs, &at.field("verbs"), problems);
    if rule.api_groups.is_empty() {
        problems.required(at.field("apiGroups"), "resource rules must supply at least one api group");
    }
    alone(&rule.api_groups, "api groups", &at.field("apiGroups"), problems);
    if rule.resources.is_empty() {
        problems.required(at.field("resources"), "resource rules must supply at least one resource");
    }
    alone(&rule.resources, "resources", &at.field("resources"), problems);

    let namespaces = rule.namespaces.as_deref().unwrap_or_default();
    let list = at.field("namespaces");
    if namespaces.is_empty() && rule.cluster_scope != Some(true) {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        problems.required(list, why);
    } else if !alone(namespaces, "namespaces", &list, problems) {
        let bad = namespaces.iter().enumerate().filter(|(_, name)| !corten_api::names::is_dns1123_label(name));
        for (i, name) in bad {
            let why = match name.len() {
                ..=63 => corten_api::names::DNS1123_LABEL_WHY,
                _ => "must be no more than 63 bytes",
            };
            let why = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            problems.invalid(list.index(i), name, &why);
        }
    }
}

fn validate_path_rule(rule: &NonResourcePolicyRule, at: &Path<'_>, problems: &mut Problems) {
    validate_verbs(&rule.verbs, &at.field("verbs"), problems);
    let list = at.field("nonResourceURLs");
    if rule.non_resource_urls.is_empty() {
        problems.required(list, "nonResourceURLs must contain at least one value");
    } else if !alone(&rule.non_resource_urls, "non-resource URLs", &list, problems) {
        for (i, path) in rule.non_resource_urls.iter().enumerate() {
            if let Some(why) = bad_path(path) {
                problems.invalid(list.index(i), path, why);
            }
        }
    }
}

/// Whether `*`, which stands for all, is in the list. If so it must be its one item.
fn alone(list: &[String], what: &str, at: &Path<'_>, problems: &mut Problems) -> bool {
    let has_all = list.iter().any(|one| one == ALL);
    if has_all && list.len() > 1 {
        problems.invalid(at, list, &format!("if '*' is present, must not specify other {what}"));
    }
    has_all
}

fn bad_path(path: &str) -> Option<&'static str> {
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if path.strip_suffix("/*").unwrap_or(path).contains('*') => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}
