//! Which of a node's pods are protected by a PodDisruptionBudget that has nothing left.

use std::collections::BTreeMap;

use corten_api::Key;

use crate::snapshot::{Budget, PlacedPod, PodId};

type Pods<'a> = Vec<(PodId, &'a PlacedPod)>;

/// Those whose going would break a budget, if all before them went too; and the others. The order stays.
pub(super) fn split<'a>(pods: Pods<'a>, budgets: &BTreeMap<Key, Budget>) -> (Pods<'a>, Pods<'a>) {
    let mut allowed: BTreeMap<&Key, i64> = BTreeMap::new();
    let mut violates = |pod: &PlacedPod| {
        let namespace = &pod.key.namespace;
        let of_namespace = budgets.range(Key::new(namespace, "")..).take_while(|(key, _)| key.namespace == *namespace);
        let mut violates = false;
        for (key, budget) in of_namespace {
            // A budget for everything protects nothing here, as upstream has it.
            let protects = !pod.class.labels.is_empty()
                && !budget.selector.is_everything()
                && budget.selector.matches(&pod.class.labels)
                && !budget.disrupted.contains(&pod.key.name);
            if protects {
                let left = allowed.entry(key).or_insert(budget.disruptions_allowed);
                *left -= 1;
                violates |= *left < 0;
            }
        }
        violates
    };
    pods.into_iter().partition(|(_, pod)| violates(pod))
}
