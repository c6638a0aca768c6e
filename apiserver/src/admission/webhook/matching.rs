//! Which webhooks are asked about a write, and in which version of its resource. Pure.

use std::sync::Arc;

use corten_api::ApiError;
use corten_api::selector::{Labels, Selector};
use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;

use super::index::Hook;
use super::{Asking, Operation};
use crate::registry::{AnyObject, ApiResource, Registry};

/// The resource itself, and the others in which the same objects can be had: other versions, another group.
pub fn equivalents(registry: &Registry, resource: &Arc<ApiResource>, subresource: &str) -> Vec<Arc<ApiResource>> {
    let table = registry.table();
    let others = table.iter().filter(|other| {
        other.store_prefix() == resource.store_prefix()
            && (other.group(), other.version()) != (resource.group(), resource.version())
            && (subresource.is_empty() || other.has_subresource(subresource))
    });
    std::iter::once(resource).chain(others).cloned().collect()
}

/// Whether its rules are about this, whatever they say of scopes.
pub(super) fn is_named(hook: &Hook, operation: Operation, resources: &[Arc<ApiResource>], subresource: &str) -> bool {
    let considered = if hook.is_equivalent { resources.len() } else { 1 };
    let is_about = |resource: &ApiResource| hook.rules.iter().any(|rule| names(rule, operation, resource, subresource));
    resources.iter().take(considered).any(|resource| is_about(resource))
}

/// The resource as which the webhook is told of it; `None`: it is not asked. `resources`: as [`equivalents`] gives them.
pub(super) fn matches(
    hook: &Hook,
    asking: &Asking<'_>,
    new: Option<&dyn AnyObject>,
    resources: &[Arc<ApiResource>],
) -> Result<Option<Arc<ApiResource>>, ApiError> {
    let Some(resource) = by_rules(hook, asking, resources) else { return Ok(None) };
    if !by_object(&hook.objects, asking, new) || !by_namespace(&hook.namespaces, asking, new)? {
        return Ok(None);
    }
    Ok(Some(resource.clone()))
}

/// What was asked for comes before all equivalents; of these the earlier rule decides.
fn by_rules<'r>(hook: &Hook, asking: &Asking<'_>, resources: &'r [Arc<ApiResource>]) -> Option<&'r Arc<ApiResource>> {
    let (as_asked, others) = resources.split_first()?;
    let is_rule = |rule: &RuleWithOperations, resource: &ApiResource| {
        in_scope(rule, asking) && names(rule, asking.operation, resource, &asking.target.subresource)
    };
    if hook.rules.iter().any(|rule| is_rule(rule, as_asked)) {
        return Some(as_asked);
    }
    let others = if hook.is_equivalent { others } else { &[] };
    hook.rules.iter().find_map(|rule| others.iter().find(|resource| is_rule(rule, resource)))
}

fn has(values: Option<&Vec<String>>, wanted: &str) -> bool {
    values.is_some_and(|values| values.iter().any(|value| value == "*" || value == wanted))
}

fn names(rule: &RuleWithOperations, operation: Operation, resource: &ApiResource, subresource: &str) -> bool {
    has(rule.operations.as_ref(), operation.as_str())
        && has(rule.api_groups.as_ref(), resource.group())
        && has(rule.api_versions.as_ref(), resource.version())
        && rule.resources.iter().flatten().any(|both| {
            let (of, sub) = both.split_once('/').unwrap_or((both, ""));
            (of == "*" || of == resource.plural()) && (sub == "*" || sub == subresource)
        })
}

/// A namespace is in none.
fn in_scope(rule: &RuleWithOperations, asking: &Asking<'_>) -> bool {
    let is_in_one = !asking.is_namespaces() && !asking.target.namespace.is_empty();
    match rule.scope.as_deref() {
        None | Some("*") => true,
        Some("Namespaced") => is_in_one,
        Some("Cluster") => !is_in_one,
        Some(_) => false,
    }
}

/// The object as it is to be, or as it was. What has no labels at all is selected by what selects everything.
fn by_object(selector: &Selector, asking: &Asking<'_>, new: Option<&dyn AnyObject>) -> bool {
    let selects = |object: Option<&dyn AnyObject>| {
        object.is_some_and(|object| selector.matches_opt(object.meta().labels.as_ref()))
    };
    selector.is_everything() || selects(new) || selects(asking.old)
}

/// What is in no namespace is selected, but for namespaces themselves.
fn by_namespace(selector: &Selector, asking: &Asking<'_>, new: Option<&dyn AnyObject>) -> Result<bool, ApiError> {
    if asking.namespace().is_empty() && !asking.is_namespaces() || selector.is_everything() {
        return Ok(true);
    }
    let labels: Option<Labels> = asking.namespace_labels(new)?;
    Ok(selector.matches_opt(labels.as_ref()))
}

#[cfg(test)]
mod tests;
