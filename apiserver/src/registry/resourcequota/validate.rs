//! Whether a quota makes sense: what it counts, and of which objects.
//!
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/>

use std::collections::BTreeSet;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{ResourceQuotaSpec, ScopedResourceSelectorRequirement};

use crate::registry::path::Path;
use crate::registry::quantities::{self, Wires};
use crate::registry::{check, resource_names};

pub const TERMINATING: &str = "Terminating";
pub const NOT_TERMINATING: &str = "NotTerminating";
pub const BEST_EFFORT: &str = "BestEffort";
pub const NOT_BEST_EFFORT: &str = "NotBestEffort";
pub const PRIORITY_CLASS: &str = "PriorityClass";
pub const CROSS_NAMESPACE_AFFINITY: &str = "CrossNamespacePodAffinity";
pub const ATTRIBUTES_CLASS: &str = "VolumeAttributesClass";

/// What a scope is about; without values where it is a yes or no.
struct Scope {
    name: &'static str,
    has_values: bool,
    resources: &'static [&'static str],
}

const PODS: &[&str] = &["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const SCOPES: &[Scope] = &[
    Scope { name: TERMINATING, has_values: false, resources: PODS },
    Scope { name: NOT_TERMINATING, has_values: false, resources: PODS },
    Scope { name: BEST_EFFORT, has_values: false, resources: &["pods"] },
    Scope { name: NOT_BEST_EFFORT, has_values: false, resources: PODS },
    Scope { name: PRIORITY_CLASS, has_values: true, resources: PODS },
    Scope { name: CROSS_NAMESPACE_AFFINITY, has_values: false, resources: PODS },
    Scope { name: ATTRIBUTES_CLASS, has_values: true, resources: &["persistentvolumeclaims", "requests.storage"] },
];
/// No object is in both.
const OPPOSITES: &[[&str; 2]] = &[[BEST_EFFORT, NOT_BEST_EFFORT], [TERMINATING, NOT_TERMINATING]];
const UNSUPPORTED: &str = "unsupported scope";
const NOT_OF_RESOURCE: &str = "unsupported scope applied to resource";
const CONFLICTING: &str = "conflicting scopes";
const EXISTS_ONLY: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

impl Scope {
    fn find(name: &str) -> Option<&'static Self> {
        SCOPES.iter().find(|scope| scope.name == name)
    }
    /// Whether it says something of everything that is counted.
    fn fits(&self, hard: Option<&Wires>) -> bool {
        let mut known = hard
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .filter(|n| resource_names::is_standard_of_quotas(n));
        known.all(|name| self.resources.contains(&name))
    }
}

pub(super) fn spec(spec: &ResourceQuotaSpec, at: &Path<'_>, problems: &mut Problems) {
    amounts(spec.hard.as_ref(), &at.field("hard"), problems);
    scopes(spec, &at.field("scopes"), problems);
    let selector_at = at.field("scopeSelector");
    selector(spec, &selector_at.field("matchExpressions"), problems);
}

pub(super) fn amounts(amounts: Option<&Wires>, list: &Path<'_>, problems: &mut Problems) {
    for (name, wire) in amounts.into_iter().flatten() {
        let at = list.key(name);
        resource_names::of_quotas(problems, &at, name);
        let Some(quantity) = quantities::well_formed(problems, &at, wire) else { continue };
        quantities::not_negative(problems, &at, quantity);
        if resource_names::is_whole(name) {
            quantities::whole(problems, &at, quantity);
        }
    }
}

/// Each thing is said once, however many scopes it is true of: with each goes the whole list.
fn scopes(spec: &ResourceQuotaSpec, at: &Path<'_>, problems: &mut Problems) {
    let scopes = spec.scopes.as_deref().unwrap_or_default();
    let names: BTreeSet<&str> = scopes.iter().map(String::as_str).collect();
    let known: Vec<&Scope> = names.iter().filter_map(|name| Scope::find(name)).collect();
    for (wrong, why) in [
        (known.len() < names.len(), UNSUPPORTED),
        (known.iter().any(|scope| !scope.fits(spec.hard.as_ref())), NOT_OF_RESOURCE),
        (has_opposites(&names), CONFLICTING),
    ] {
        if wrong {
            problems.invalid(at, scopes, why);
        }
    }
}

fn has_opposites(scopes: &BTreeSet<&str>) -> bool {
    OPPOSITES.iter().any(|pair| pair.iter().all(|scope| scopes.contains(scope)))
}

fn selector(spec: &ResourceQuotaSpec, at: &Path<'_>, problems: &mut Problems) {
    let Some(selector) = &spec.scope_selector else { return };
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    let names: BTreeSet<&str> = expressions.iter().map(|one| one.scope_name.as_str()).collect();
    for one in expressions {
        expression(one, at, problems);
    }
    if names.iter().filter_map(|name| Scope::find(name)).any(|scope| !scope.fits(spec.hard.as_ref())) {
        problems.invalid(at, selector, NOT_OF_RESOURCE);
    }
    if has_opposites(&names) {
        problems.invalid(at, selector, CONFLICTING);
    }
}

fn expression(one: &ScopedResourceSelectorRequirement, at: &Path<'_>, problems: &mut Problems) {
    let operator_at = at.field("operator");
    match Scope::find(&one.scope_name) {
        None => problems.invalid(at.field("scopeName"), &one.scope_name, UNSUPPORTED),
        Some(scope) if !scope.has_values && one.operator != "Exists" => {
            problems.invalid(operator_at, &one.operator, EXISTS_ONLY);
        }
        Some(_) => {}
    }
    let values = one.values.as_deref().unwrap_or_default();
    match (one.operator.as_str(), values.is_empty()) {
        ("In" | "NotIn", true) => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            problems.required(at.field("values"), why);
        }
        ("Exists" | "DoesNotExist", false) => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            problems.invalid(at.field("values"), values, why);
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
        (other, _) => problems.invalid(operator_at, other, "not a valid selector operator"),
    }
}

/// A quota keeps its scopes: what it has counted was counted by them.
pub(super) fn update(new: Option<&ResourceQuotaSpec>, old: Option<&ResourceQuotaSpec>, problems: &mut Problems) {
    let scopes = |spec: Option<&ResourceQuotaSpec>| spec.and_then(|spec| spec.scopes.clone()).unwrap_or_default();
    let (new, old) = (scopes(new), scopes(old));
    let set = |scopes: &[String]| scopes.iter().cloned().collect::<BTreeSet<_>>();
    if set(&new) != set(&old) {
        problems.invalid("spec.scopes", new, check::IMMUTABLE);
    }
}
