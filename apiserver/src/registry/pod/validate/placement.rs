//! Where a pod may run: affinities, tolerations, spread, gates.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodSpec, Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};

use super::label_keys;
use crate::registry::path::Path;
use crate::registry::{check, node, node_selector};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const WEIGHTS: &str = "must be in the range 1-100";
/// Terms of affinity and anti-affinity to pods, required and preferred together; and spread constraints. Upstream has no bound: but
/// whoever decides on another pod looks at the terms of those that are there.
const POD_TERMS_MAX: usize = 256;
/// Namespaces that these terms name together.
const POD_TERM_NAMESPACES_MAX: usize = 1000;

/// No node has labels with other values, so the pod would wait for ever.
pub(super) fn node_labels(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let nodes = spec.affinity.as_ref().and_then(|all| all.node_affinity.as_ref());
    let required = nodes.and_then(|nodes| nodes.required_during_scheduling_ignored_during_execution.as_ref());
    if let Some(required) = required {
        let at = at.field("affinity");
        let at = at.field("nodeAffinity");
        node_selector::label_values(required, &at.field(REQUIRED), problems);
    }
}

/// What a pod says of others is little.
pub(super) fn few_terms(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    let constraints = spec.topology_spread_constraints.as_ref().map_or(0, Vec::len);
    if constraints > POD_TERMS_MAX {
        problems.too_many(at.field("topologySpreadConstraints"), constraints, POD_TERMS_MAX);
    }
    let Some(affinity) = &spec.affinity else { return };
    let (near, apart) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
    let required = [
        near.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
        apart.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
    ];
    let preferred = [
        near.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
        apart.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
    ];
    let required = required.into_iter().flatten().flatten();
    let terms =
        || required.clone().chain(preferred.into_iter().flatten().flatten().map(|term| &term.pod_affinity_term));
    let count = terms().count();
    if count > POD_TERMS_MAX {
        let why = format!("a pod may have at most {POD_TERMS_MAX} affinity and anti-affinity terms about pods");
        problems.invalid(at.field("affinity"), count, &why);
    }
    let namespaces = terms().map(|term| term.namespaces.as_ref().map_or(0, Vec::len)).sum::<usize>();
    if namespaces > POD_TERM_NAMESPACES_MAX {
        let why = format!("terms about pods may name at most {POD_TERM_NAMESPACES_MAX} namespaces together");
        problems.invalid(at.field("affinity"), namespaces, &why);
    }
}

pub(super) fn validate(spec: &PodSpec, at: &Path<'_>, problems: &mut Problems) {
    if let Some(all) = &spec.affinity {
        affinity(all, &at.field("affinity"), problems);
    }
    for (i, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let at = at.field("readinessGates");
        check::qualified_name(problems, &at.index(i).field("conditionType"), &gate.condition_type);
    }
    spread(spec.topology_spread_constraints.as_deref().unwrap_or_default(), at, problems);
    let list = at.field("schedulingGates");
    let mut seen = HashSet::new();
    for (i, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        check::qualified_name(problems, &list.index(i), &gate.name);
        if !seen.insert(&gate.name) {
            problems.duplicate(list.index(i), &gate.name);
        }
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && spec.node_name.as_ref().is_some_and(|name| !name.is_empty()) {
        problems.forbidden(at.field("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    tolerations(spec.tolerations.as_deref().unwrap_or_default(), &at.field("tolerations"), problems);
}

pub fn tolerations(all: &[Toleration], list: &Path<'_>, problems: &mut Problems) {
    for (i, one) in all.iter().enumerate() {
        toleration(one, &list.index(i), problems);
    }
}

fn toleration(one: &Toleration, at: &Path<'_>, problems: &mut Problems) {
    let key = check::text(one.key.as_ref());
    let operator = check::text(one.operator.as_ref());
    let effect = check::text(one.effect.as_ref());
    if !key.is_empty() {
        check::qualified_name(problems, &at.field("key"), key);
    } else if operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        problems.invalid(at.field("operator"), operator, why);
    }
    if one.toleration_seconds.is_some() && effect != "NoExecute" {
        problems.invalid(at.field("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    let value = check::text(one.value.as_ref());
    match operator {
        "" | "Equal" => check::label_value(problems, &at.field("value"), value),
        "Exists" if !value.is_empty() => {
            problems.invalid(at.field("operator"), one, "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        other => problems.unsupported(at.field("operator"), other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        check::word(problems, &at.field("effect"), one.effect.as_ref(), node::TAINT_EFFECTS);
    }
}

fn spread(constraints: &[TopologySpreadConstraint], at: &Path<'_>, problems: &mut Problems) {
    let list = at.field("topologySpreadConstraints");
    let mut seen = HashSet::new();
    for (i, one) in constraints.iter().enumerate() {
        let at = list.index(i);
        if one.max_skew <= 0 {
            problems.invalid(at.field("maxSkew"), one.max_skew, "must be greater than zero");
        }
        if one.topology_key.is_empty() {
            problems.required(at.field("topologyKey"), "can not be empty");
        } else {
            check::qualified_name(problems, &at.field("topologyKey"), &one.topology_key);
        }
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        check::word(problems, &at.field("whenUnsatisfiable"), Some(&one.when_unsatisfiable), &known);
        if !seen.insert((&one.topology_key, &one.when_unsatisfiable)) {
            let pair = format!("{{{}, {}}}", one.topology_key, one.when_unsatisfiable);
            problems.duplicate(at.field("{topologyKey, whenUnsatisfiable}"), pair);
        }
        if let Some(n) = one.min_domains {
            if n <= 0 {
                problems.invalid(at.field("minDomains"), n, "must be greater than zero");
            }
            if one.when_unsatisfiable != "DoNotSchedule" {
                let why = "can only use minDomains if whenUnsatisfiable=DoNotSchedule";
                problems.invalid(at.field("minDomains"), n, why);
            }
        }
        for (field, policy) in
            [("nodeAffinityPolicy", &one.node_affinity_policy), ("nodeTaintsPolicy", &one.node_taints_policy)]
        {
            check::optional_word(problems, &at.field(field), policy.as_ref(), &["Honor", "Ignore"]);
        }
        let keys = one.match_label_keys.as_deref().unwrap_or_default();
        label_keys::validate(keys, &[], one.label_selector.as_ref(), &at, problems);
        if let Some(selector) = &one.label_selector {
            check::label_selector(problems, &at.field("labelSelector"), selector);
        }
    }
}

fn affinity(all: &Affinity, at: &Path<'_>, problems: &mut Problems) {
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(nodes) = &all.node_affinity {
        let at = at.field("nodeAffinity");
        if let Some(required) = &nodes.required_during_scheduling_ignored_during_execution {
            node_selector::validate(required, &at.field(REQUIRED), problems);
        }
        let list = at.field(PREFERRED);
        for (i, term) in nodes.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
            let at = list.index(i);
            weight(term.weight, &at, problems);
            node_selector::term(&term.preference, &at.field("preference"), problems);
        }
    }
    let pods = all.pod_affinity.as_ref().map(|a| {
        let required = &a.required_during_scheduling_ignored_during_execution;
        ("podAffinity", required, &a.preferred_during_scheduling_ignored_during_execution)
    });
    let anti = all.pod_anti_affinity.as_ref().map(|a| {
        let required = &a.required_during_scheduling_ignored_during_execution;
        ("podAntiAffinity", required, &a.preferred_during_scheduling_ignored_during_execution)
    });
    for (field, required, preferred) in [pods, anti].into_iter().flatten() {
        let at = at.field(field);
        for (i, term) in required.iter().flatten().enumerate() {
            pod_term(term, &at.field(REQUIRED).index(i), problems);
        }
        for (i, WeightedPodAffinityTerm { weight: w, pod_affinity_term }) in preferred.iter().flatten().enumerate() {
            let list = at.field(PREFERRED);
            let at = list.index(i);
            weight(*w, &at, problems);
            pod_term(pod_affinity_term, &at.field("podAffinityTerm"), problems);
        }
    }
}

fn weight(weight: i32, at: &Path<'_>, problems: &mut Problems) {
    if !(1..=100).contains(&weight) {
        problems.invalid(at.field("weight"), weight, WEIGHTS);
    }
}

fn pod_term(term: &PodAffinityTerm, at: &Path<'_>, problems: &mut Problems) {
    if let Some(selector) = &term.label_selector {
        check::label_selector(problems, &at.field("labelSelector"), selector);
    }
    if let Some(selector) = &term.namespace_selector {
        check::label_selector(problems, &at.field("namespaceSelector"), selector);
    }
    for (i, namespace) in term.namespaces.iter().flatten().enumerate() {
        check::dns_label(problems, &at.field("namespaces").index(i), namespace);
    }
    let keys = term.match_label_keys.as_deref().unwrap_or_default();
    let unlike = term.mismatch_label_keys.as_deref().unwrap_or_default();
    label_keys::validate(keys, unlike, term.label_selector.as_ref(), at, problems);
    match term.topology_key.as_str() {
        "" => problems.required(at.field("topologyKey"), "can not be empty"),
        key => check::qualified_name(problems, &at.field("topologyKey"), key),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{check, found_later, pod};
    use super::REQUIRED;

    #[test]
    fn keys_whose_values_are_the_pods_own() {
        let spread = |more: Value| {
            let mut one = json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"});
            one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            pod(json!({"topologySpreadConstraints": [one]}))
        };
        let term = |more: Value| {
            let mut one = json!({"topologyKey": "z"});
            one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            pod(json!({"affinity": {"podAffinity": {REQUIRED: [one]}}}))
        };
        let at = format!("spec.affinity.podAffinity.{REQUIRED}[0]");
        let selector = json!({"matchLabels": {"k": "v"}});
        check(vec![
            (spread(json!({"matchLabelKeys": ["a"], "labelSelector": {}})), ""),
            (term(json!({"matchLabelKeys": ["a"], "mismatchLabelKeys": ["k"], "labelSelector": selector})), ""),
            (
                spread(json!({"matchLabelKeys": ["a"]})),
                "spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
            ),
            (
                term(json!({"mismatchLabelKeys": ["a"]})),
                &format!("{at}.mismatchLabelKeys: Forbidden: must not be specified when labelSelector is not set"),
            ),
            (
                term(json!({"matchLabelKeys": ["a", "b"], "mismatchLabelKeys": ["b"], "labelSelector": {}})),
                &format!(
                    r#"{at}.matchLabelKeys[1]: Invalid value: "b": exists in both matchLabelKeys and mismatchLabelKeys"#
                ),
            ),
        ]);
        let bad = super::super::tests::found(spread(json!({"matchLabelKeys": ["-"], "labelSelector": {}})));
        let expected = r#"spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: "-""#;
        assert!(bad.len() == 1 && bad[0].starts_with(expected), "{bad:?}");
    }

    #[test]
    fn a_new_pod_says_little_of_others() {
        const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
        let term = |namespaces: usize| json!({"topologyKey": "z", "namespaces": vec!["n"; namespaces]});
        let weighted = json!({"weight": 1, "podAffinityTerm": term(0)});
        let of = |near: usize, apart: usize, preferred: usize, namespaces: usize| {
            let (near, apart) = (vec![term(namespaces); near], vec![term(0); apart]);
            let both = vec![weighted.clone(); preferred];
            pod(json!({"affinity": {
                "podAffinity": {REQUIRED: near, PREFERRED: both}, "podAntiAffinity": {REQUIRED: apart, PREFERRED: both},
            }}))
        };
        let constraints = |count: usize| {
            let one = |n: usize| json!({"maxSkew": 1, "topologyKey": format!("k{n}"), "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}});
            pod(json!({"topologySpreadConstraints": (0..count).map(one).collect::<Vec<_>>()}))
        };
        let many =
            "spec.affinity: Invalid value: 257: a pod may have at most 256 affinity and anti-affinity terms about pods";
        let far = "spec.affinity: Invalid value: 1002: terms about pods may name at most 1000 namespaces together";
        check(vec![
            (of(64, 64, 64, 0), ""),
            (of(65, 64, 64, 0), many),
            (of(10, 0, 0, 100), ""),
            (of(3, 0, 0, 334), far),
            (constraints(256), ""),
            (constraints(257), "spec.topologySpreadConstraints: Too many: 257: must have at most 256 items"),
        ]);
        assert_eq!(found_later(of(65, 64, 64, 0)), Vec::<String>::new(), "stored under older rules");
    }

    #[test]
    fn a_new_pod_asks_for_labels_that_a_node_can_have() {
        let nodes = json!({REQUIRED: {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["-"]}]}]}});
        let spec = pod(json!({"affinity": {"nodeAffinity": nodes}}));
        let found = super::super::tests::found(spec.clone());
        let at = format!("spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values[0]");
        assert!(found.len() == 1 && found[0].starts_with(&at), "{found:?}");
        assert_eq!(found_later(spec), Vec::<String>::new(), "stored under older rules");
    }
}
