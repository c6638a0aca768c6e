//! Which objects a quota is about, by its scopes.
//!
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/#quota-scopes>

use corten_api::pod::Qos;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, PodAffinityTerm, ResourceQuota, ScopedResourceSelectorRequirement,
};

use super::pods::is_terminating;
use crate::registry::AnyObject;
use crate::registry::resourcequota::validate::{
    ATTRIBUTES_CLASS, BEST_EFFORT, CROSS_NAMESPACE_AFFINITY, NOT_BEST_EFFORT, NOT_TERMINATING, PRIORITY_CLASS,
    TERMINATING,
};

/// Whether the quota is about some objects only.
pub(super) fn are_any(quota: &ResourceQuota) -> bool {
    let spec = quota.spec.as_ref();
    let selector = spec.and_then(|spec| spec.scope_selector.as_ref()).and_then(|s| s.match_expressions.as_ref());
    let plain = spec.and_then(|spec| spec.scopes.as_ref());
    plain.is_some_and(|scopes| !scopes.is_empty()) || selector.is_some_and(|list| !list.is_empty())
}

/// Without scopes a quota is about everything. No object of a kind that a scope says nothing of is in it.
pub(super) fn all_match(quota: &ResourceQuota, object: &dyn AnyObject) -> bool {
    let spec = quota.spec.as_ref();
    let mut plain = spec.iter().flat_map(|spec| spec.scopes.iter().flatten());
    let selector = spec.and_then(|spec| spec.scope_selector.as_ref());
    let mut selected = selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
    plain.all(|scope| is_in(object, scope, None)) && selected.all(|one| is_in(object, &one.scope_name, Some(one)))
}

/// `one`: `None` asks whether there is any value.
fn is_in(object: &dyn AnyObject, scope: &str, one: Option<&ScopedResourceSelectorRequirement>) -> bool {
    let any = object.as_any();
    match (any.downcast_ref::<Pod>(), any.downcast_ref::<PersistentVolumeClaim>()) {
        (Some(pod), _) => is_pod_in(pod, scope, one),
        (_, Some(claim)) if scope == ATTRIBUTES_CLASS => any_holds(&attributes_classes(claim), one),
        _ => false,
    }
}

fn is_pod_in(pod: &Pod, scope: &str, one: Option<&ScopedResourceSelectorRequirement>) -> bool {
    let Some(spec) = &pod.spec else { return false };
    match scope {
        TERMINATING => is_terminating(pod),
        NOT_TERMINATING => !is_terminating(pod),
        BEST_EFFORT => Qos::of(spec) == Qos::BestEffort,
        NOT_BEST_EFFORT => Qos::of(spec) != Qos::BestEffort,
        PRIORITY_CLASS => {
            let class = spec.priority_class_name.as_deref().filter(|class| !class.is_empty());
            any_holds(class.as_slice(), one)
        }
        CROSS_NAMESPACE_AFFINITY => has_cross_namespace_affinity(pod),
        _ => false,
    }
}

/// Whether the requirement holds for one of the values; for none at all, as for a label that is not there.
fn any_holds(values: &[&str], one: Option<&ScopedResourceSelectorRequirement>) -> bool {
    let Some(one) = one else { return !values.is_empty() };
    let listed = |value: &&str| one.values.iter().flatten().any(|listed| listed == value);
    match one.operator.as_str() {
        "Exists" => !values.is_empty(),
        "DoesNotExist" => values.is_empty(),
        "In" => values.iter().any(listed),
        "NotIn" => values.is_empty() || values.iter().any(|value| !listed(value)),
        _ => false,
    }
}

/// The classes of attributes that a claim wants, has, and is on its way to.
fn attributes_classes(claim: &PersistentVolumeClaim) -> Vec<&str> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_ref());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_ref());
    let next = status.and_then(|status| status.modify_volume_status.as_ref());
    let next = next.and_then(|next| next.target_volume_attributes_class_name.as_ref());
    let all = [wanted, current, next].into_iter().flatten();
    all.map(String::as_str).filter(|class| !class.is_empty()).collect()
}

fn has_cross_namespace_affinity(pod: &Pod) -> bool {
    let crosses = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|list| !list.is_empty()) || term.namespace_selector.is_some()
    };
    let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else { return false };
    let near = affinity.pod_affinity.iter().map(|a| {
        let required = &a.required_during_scheduling_ignored_during_execution;
        (required, &a.preferred_during_scheduling_ignored_during_execution)
    });
    let apart = affinity.pod_anti_affinity.iter().map(|a| {
        let required = &a.required_during_scheduling_ignored_during_execution;
        (required, &a.preferred_during_scheduling_ignored_during_execution)
    });
    near.chain(apart).any(|(required, preferred)| {
        let preferred = preferred.iter().flatten().map(|weighted| &weighted.pod_affinity_term);
        required.iter().flatten().chain(preferred).any(crosses)
    })
}
