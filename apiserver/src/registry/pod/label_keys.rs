//! Selectors that take the values of labels from the pod itself get requirements that name them, so that who places pods
//! looks at selectors alone.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/#spread-constraint-definition>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodAffinityTerm, PodSpec, WeightedPodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

type Labels = BTreeMap<String, String>;

pub(super) fn merge(spec: &mut PodSpec, labels: Option<&Labels>) {
    let Some(labels) = labels else { return };
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        require(constraint.label_selector.as_mut(), constraint.match_label_keys.as_deref(), "In", labels);
    }
    let Some(affinity) = &mut spec.affinity else { return };
    if let Some(pods) = &mut affinity.pod_affinity {
        terms(&mut pods.required_during_scheduling_ignored_during_execution, labels);
        weighted(&mut pods.preferred_during_scheduling_ignored_during_execution, labels);
    }
    if let Some(pods) = &mut affinity.pod_anti_affinity {
        terms(&mut pods.required_during_scheduling_ignored_during_execution, labels);
        weighted(&mut pods.preferred_during_scheduling_ignored_during_execution, labels);
    }
}

fn terms(terms: &mut Option<Vec<PodAffinityTerm>>, labels: &Labels) {
    terms.iter_mut().flatten().for_each(|one| term(one, labels));
}

fn weighted(terms: &mut Option<Vec<WeightedPodAffinityTerm>>, labels: &Labels) {
    terms.iter_mut().flatten().for_each(|one| term(&mut one.pod_affinity_term, labels));
}

fn term(term: &mut PodAffinityTerm, labels: &Labels) {
    require(term.label_selector.as_mut(), term.match_label_keys.as_deref(), "In", labels);
    require(term.label_selector.as_mut(), term.mismatch_label_keys.as_deref(), "NotIn", labels);
}

/// No selector selects nothing, and stays so. Labels that the pod does not have are left out.
fn require(selector: Option<&mut LabelSelector>, keys: Option<&[String]>, operator: &str, labels: &Labels) {
    let (Some(selector), Some(keys)) = (selector, keys) else { return };
    for (key, value) in keys.iter().filter_map(|key| labels.get_key_value(key)) {
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.into(),
            values: Some(vec![value.clone()]),
        });
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use crate::registry::check::testing::{created, found_on_create};

    fn pod(selector: &Value) -> String {
        let keys = json!(["hash", "none"]);
        let term = json!({"topologyKey": "zone", "labelSelector": selector, "matchLabelKeys": keys,
            "mismatchLabelKeys": ["tenant"]});
        let weighted = json!({"weight": 1, "podAffinityTerm": term});
        let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term],
            "preferredDuringSchedulingIgnoredDuringExecution": [weighted]});
        let spread = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector, "matchLabelKeys": keys});
        let spec = json!({"containers": [{"name": "c", "image": "i"}], "topologySpreadConstraints": [spread],
            "affinity": {"podAffinity": affinity, "podAntiAffinity": affinity}});
        json!({"metadata": {"labels": {"hash": "1", "tenant": "t"}}, "spec": spec}).to_string()
    }

    #[test]
    fn a_new_pods_selectors_name_the_values_of_its_own_labels() {
        let expression =
            |key: &str, operator: &str, value: &str| json!({"key": key, "operator": operator, "values": [value]});
        let like = expression("hash", "In", "1");
        let both = json!({"matchLabels": {"a": "b"}, "matchExpressions": [like, expression("tenant", "NotIn", "t")]});
        let json = pod(&json!({"matchLabels": {"a": "b"}}));
        let stored = serde_json::to_value(created::<Pod>(&json)).unwrap();
        let spec = &stored["spec"];
        let spread = &spec["topologySpreadConstraints"][0];
        assert_eq!(spread["labelSelector"], json!({"matchLabels": {"a": "b"}, "matchExpressions": [like]}));
        assert_eq!(spread["matchLabelKeys"], json!(["hash", "none"]));
        for which in ["podAffinity", "podAntiAffinity"] {
            let of = &spec["affinity"][which];
            let required = &of["requiredDuringSchedulingIgnoredDuringExecution"][0];
            let preferred = &of["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
            assert_eq!((&required["labelSelector"], &preferred["labelSelector"]), (&both, &both), "{which}");
        }
        assert_eq!(found_on_create::<Pod>(&json), Vec::<String>::new());
    }

    #[test]
    fn a_key_is_said_once() {
        let json = pod(&json!({"matchExpressions": [{"key": "hash", "operator": "Exists"}]}));
        let found = found_on_create::<Pod>(&json);
        let expected = r#"spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: "hash": exists in both matchLabelKeys and labelSelector"#;
        assert!(found.len() == 5 && found.contains(&expected.to_owned()), "{found:?}");
    }
}
