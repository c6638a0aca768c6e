//! The objects that parametrize a policy: of which kind they are, and which a binding means. Pure.

use std::fmt::Write as _;

use corten_api::{Problems, names};
use k8s_openapi::api::admissionregistration::v1::{ParamKind, ParamRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::registry::path::Path;
use crate::registry::{Cell, cells, check};

/// Not in the order of the alphabet, as upstream tells them.
const NOT_FOUND_ACTIONS: &[&str] = &["Deny", "Allow"];
const EXCLUSIVE: &str = "name and selector are mutually exclusive";

/// Group and version; `None`: it is neither.
pub fn group_version(text: &str) -> Option<(&str, &str)> {
    match text.split_once('/') {
        None => Some(("", text)),
        Some((_, version)) if version.contains('/') => None,
        Some(both) => Some(both),
    }
}

pub(super) fn validate_kind(kind: &ParamKind, at: &Path<'_>, problems: &mut Problems) {
    let api_version = check::text(kind.api_version.as_ref());
    let path = at.field("apiVersion");
    match group_version(api_version) {
        _ if api_version.is_empty() => problems.required(path, ""),
        None => problems.invalid(path, api_version, &format!("unexpected GroupVersion string: {api_version}")),
        Some((group, version)) => {
            if !group.is_empty() {
                check::dns_subdomain(problems, &path, group);
            }
            if version.is_empty() {
                problems.invalid(path, api_version, "version must be specified");
            } else if !names::is_dns1035_label(version) {
                problems.invalid(path, version, names::DNS1035_LABEL_WHY);
            }
        }
    }
    let path = at.field("kind");
    match check::text(kind.kind.as_ref()) {
        "" => problems.required(path, ""),
        name if names::is_dns1035_label(&name.to_lowercase()) => {}
        name => {
            let why = format!("may have mixed case, but should otherwise match: {}", names::DNS1035_LABEL_WHY);
            problems.invalid(path, name, &why);
        }
    }
}

pub(super) fn validate_ref(of: &ParamRef, at: &Path<'_>, problems: &mut Problems) {
    let name = check::text(of.name.as_ref());
    if !name.is_empty() {
        check::path_segment(problems, &at.field("name"), name);
        if of.selector.is_some() {
            problems.forbidden(at.field("name"), EXCLUSIVE);
        }
    }
    match &of.selector {
        Some(selector) => {
            check::label_selector(problems, &at.field("selector"), selector);
            if !name.is_empty() {
                problems.forbidden(at.field("selector"), EXCLUSIVE);
            }
        }
        None if name.is_empty() => problems.required(at, "one of name or selector must be specified"),
        None => {}
    }
    let action = of.parameter_not_found_action.as_ref();
    check::word(problems, &at.field("parameterNotFoundAction"), action, NOT_FOUND_ACTIONS);
}

/// `v1/ConfigMap`
pub(super) fn kind_cell(kind: Option<&ParamKind>) -> Cell {
    let Some(kind) = kind else { return Cell::text(cells::UNSET) };
    Cell::text(format!("{}/{}", check::text(kind.api_version.as_ref()), check::text(kind.kind.as_ref())))
}

/// `namespace/name`, or a selector.
pub(super) fn ref_cell(of: Option<&ParamRef>) -> Cell {
    let Some(of) = of else { return Cell::text(cells::UNSET) };
    match (check::text(of.name.as_ref()), check::text(of.namespace.as_ref()), &of.selector) {
        ("", _, Some(selector)) => Cell::text(shown(selector)),
        ("", _, None) => Cell::text(cells::UNSET),
        // Whether it is in a namespace is not known here.
        (name, "", _) => Cell::text(format!("*/{name}")),
        (name, namespace, _) => Cell::text(format!("{namespace}/{name}")),
    }
}

/// As upstream's generated code prints one.
fn shown(selector: &LabelSelector) -> String {
    let (mut labels, mut expressions) = (String::new(), String::new());
    // Into a String, which takes everything.
    for (key, value) in selector.match_labels.iter().flatten() {
        write!(labels, "{key}: {value},").ok();
    }
    for one in selector.match_expressions.iter().flatten() {
        let values = one.values.as_deref().unwrap_or_default().join(" ");
        write!(
            expressions,
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},",
            one.key, one.operator
        )
        .ok();
    }
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
