//! Which webhooks and policies are asked about a write, and in which version of its resource. Pure.

use std::sync::Arc;

use corten_api::ApiError;
use corten_api::selector::{Labels, Selector};
use k8s_openapi::api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations, RuleWithOperations};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::asking::{Asking, Operation};
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

/// About which writes somebody is asked.
#[derive(Debug)]
pub struct Criteria {
    /// `None`: about all that is not excluded.
    rules: Option<Vec<NamedRuleWithOperations>>,
    excluded: Vec<NamedRuleWithOperations>,
    /// Whether a rule for one version of a resource is one for all.
    is_equivalent: bool,
    namespaces: Selector,
    objects: Selector,
}

/// The selectors of namespaces and of objects.
pub(super) type Selectors<'a> = (Option<&'a LabelSelector>, Option<&'a LabelSelector>);

impl Criteria {
    /// Of a webhook. `who`: is told of if its selectors are none.
    pub(super) fn of_webhook(
        who: &str,
        rules: &[RuleWithOperations],
        match_policy: Option<&String>,
        (namespaces, objects): Selectors<'_>,
    ) -> Self {
        let named = |rule: &RuleWithOperations| NamedRuleWithOperations {
            api_groups: rule.api_groups.clone(),
            api_versions: rule.api_versions.clone(),
            operations: rule.operations.clone(),
            resource_names: None,
            resources: rule.resources.clone(),
            scope: rule.scope.clone(),
        };
        Self {
            rules: Some(rules.iter().map(named).collect()),
            excluded: Vec::new(),
            is_equivalent: match_policy.is_none_or(|policy| policy != "Exact"),
            namespaces: selector(who, namespaces),
            objects: selector(who, objects),
        }
    }
    /// Of a policy, or of one that puts it to use.
    pub(super) fn of_resources(who: &str, of: &MatchResources) -> Self {
        Self {
            rules: of.resource_rules.clone().filter(|rules| !rules.is_empty()),
            excluded: of.exclude_resource_rules.clone().unwrap_or_default(),
            is_equivalent: of.match_policy.as_deref() != Some("Exact"),
            namespaces: selector(who, of.namespace_selector.as_ref()),
            objects: selector(who, of.object_selector.as_ref()),
        }
    }

    /// Whether its rules are about this, whatever they say of scopes and names.
    pub(super) fn is_named(&self, operation: Operation, resources: &[Arc<ApiResource>], subresource: &str) -> bool {
        let considered = if self.is_equivalent { resources.len() } else { 1 };
        let is_about = |resource: &ApiResource| match &self.rules {
            Some(rules) => rules.iter().any(|rule| names(rule, operation, resource, subresource)),
            None => true,
        };
        resources.iter().take(considered).any(|resource| is_about(resource))
    }

    /// The resource as which it is told of it; `None`: it is not asked. `resources`: as [`equivalents`] gives them.
    pub(super) fn matches(
        &self,
        asking: &Asking<'_>,
        new: Option<&dyn AnyObject>,
        resources: &[Arc<ApiResource>],
    ) -> Result<Option<Arc<ApiResource>>, ApiError> {
        if self.by_rules(&self.excluded, asking, resources).is_some() {
            return Ok(None);
        }
        let resource = match &self.rules {
            Some(rules) => self.by_rules(rules, asking, resources),
            None => resources.first(),
        };
        let Some(resource) = resource else { return Ok(None) };
        if !by_object(&self.objects, asking, new) || !by_namespace(&self.namespaces, asking, new)? {
            return Ok(None);
        }
        Ok(Some(resource.clone()))
    }

    /// What was asked for comes before all equivalents; of these the earlier rule decides.
    fn by_rules<'r>(
        &self,
        rules: &[NamedRuleWithOperations],
        asking: &Asking<'_>,
        resources: &'r [Arc<ApiResource>],
    ) -> Option<&'r Arc<ApiResource>> {
        let (as_asked, others) = resources.split_first()?;
        let is_rule = |rule: &NamedRuleWithOperations, resource: &ApiResource| {
            in_scope(rule, asking)
                && names(rule, asking.operation, resource, &asking.target.subresource)
                && names_object(rule, asking.name)
        };
        if rules.iter().any(|rule| is_rule(rule, as_asked)) {
            return Some(as_asked);
        }
        let others = if self.is_equivalent { others } else { &[] };
        rules.iter().find_map(|rule| others.iter().find(|resource| is_rule(rule, resource)))
    }
}

/// What was stored was a selector. Of one that is none everything is seen, as nothing may slip by it.
fn selector(who: &str, selector: Option<&LabelSelector>) -> Selector {
    let Some(selector) = selector else { return Selector::everything() };
    Selector::from_label_selector(Some(selector)).unwrap_or_else(|err| {
        tracing::error!(who, %err, "a selector cannot be read: everything counts as selected");
        Selector::everything()
    })
}

/// No names are all.
fn names_object(rule: &NamedRuleWithOperations, name: &str) -> bool {
    let named = rule.resource_names.as_deref().unwrap_or_default();
    named.is_empty() || named.iter().any(|wanted| wanted == name)
}

fn has(values: Option<&Vec<String>>, wanted: &str) -> bool {
    values.is_some_and(|values| values.iter().any(|value| value == "*" || value == wanted))
}

fn names(rule: &NamedRuleWithOperations, operation: Operation, resource: &ApiResource, subresource: &str) -> bool {
    has(rule.operations.as_ref(), operation.as_str())
        && has(rule.api_groups.as_ref(), resource.group())
        && has(rule.api_versions.as_ref(), resource.version())
        && rule.resources.iter().flatten().any(|both| {
            let (of, sub) = both.split_once('/').unwrap_or((both, ""));
            (of == "*" || of == resource.plural()) && (sub == "*" || sub == subresource)
        })
}

/// A namespace is in none.
fn in_scope(rule: &NamedRuleWithOperations, asking: &Asking<'_>) -> bool {
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
