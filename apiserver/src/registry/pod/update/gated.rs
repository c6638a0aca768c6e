//! Where a pod may run can still be narrowed while a scheduling gate holds it: never widened, and never after.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/#mutable-pod-scheduling-directives>

use corten_api::Problems;
use k8s_openapi::api::core::v1::{Affinity, NodeAffinity, NodeSelectorTerm, PodSpec};

use crate::registry::path::Path;

const ADDITIONS_ONLY: &str = "only additions are allowed (no mutations or deletions)";
const SAME_TERMS: &str = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";

/// Tells of what would widen the pod's places, and sets what may change to what it was.
pub(super) fn validate(new: &mut PodSpec, old: &PodSpec, problems: &mut Problems) {
    if new.node_selector != old.node_selector {
        let kept =
            |(key, value): (&String, &String)| new.node_selector.as_ref().and_then(|s| s.get(key)) == Some(value);
        if !old.node_selector.iter().flatten().all(kept) {
            problems.invalid("spec.nodeSelector", &new.node_selector, ADDITIONS_ONLY);
        }
        new.node_selector.clone_from(&old.node_selector);
    }
    let of = |spec: &PodSpec| spec.affinity.as_ref().and_then(|a| a.node_affinity.clone());
    let (new_nodes, old_nodes) = (of(new), of(old));
    if new_nodes != old_nodes {
        if let Some(old_nodes) = &old_nodes {
            node_affinity(new_nodes.as_ref(), old_nodes, problems);
        }
        let mut affinity = new.affinity.take().unwrap_or_default();
        affinity.node_affinity = old_nodes;
        // An affinity that says nothing is as good as none.
        new.affinity = if affinity == Affinity::default() { old.affinity.clone() } else { Some(affinity) };
    }
}

/// Preferences may change; what is required may only get stricter.
fn node_affinity(new: Option<&NodeAffinity>, old: &NodeAffinity, problems: &mut Problems) {
    let at = Path::root("spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution");
    let list = at.field("nodeSelectorTerms");
    let (new, old) = (new.map(terms).unwrap_or_default(), terms(old));
    // Any term admits a node: each one more widens, unless there was none.
    if !old.is_empty() && new.len() != old.len() {
        return problems.invalid(list, new, SAME_TERMS);
    }
    for (i, (new, old)) in new.iter().zip(old).enumerate() {
        if !has_only_additions(new, old) {
            problems.invalid(list.index(i), new, ADDITIONS_ONLY);
        }
    }
}

fn terms(affinity: &NodeAffinity) -> &[NodeSelectorTerm] {
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
    required.map(|required| required.node_selector_terms.as_slice()).unwrap_or_default()
}

fn has_only_additions(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let lists = [(&new.match_expressions, &old.match_expressions), (&new.match_fields, &old.match_fields)];
    let lists = lists.map(|(new, old)| (new.as_deref().unwrap_or_default(), old.as_deref().unwrap_or_default()));
    // A term without requirements admits no node: any that it gets widens it.
    if lists.iter().all(|(_, old)| old.is_empty()) {
        return lists.iter().all(|(new, _)| new.is_empty());
    }
    lists.iter().all(|(new, old)| new.starts_with(old))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use crate::registry::check::testing::found_on_update;

    /// A pod with these required terms of node affinity; null for no affinity.
    fn pod(gated: bool, terms: &Value, more: Value) -> String {
        let mut spec = json!({"containers": [{"name": "a", "image": "x"}]});
        if gated {
            spec["schedulingGates"] = json!([{"name": "g"}]);
        }
        if !terms.is_null() {
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            spec["affinity"] = json!({"nodeAffinity": required});
        }
        for (field, value) in more.as_object().unwrap() {
            spec["affinity"][field] = value.clone();
        }
        json!({"spec": spec}).to_string()
    }
    fn zone(zones: &[&str]) -> Value {
        json!({"key": "zone", "operator": "In", "values": zones})
    }

    #[test]
    fn the_nodes_of_a_gated_pod_are_narrowed_and_never_widened() {
        let disk = json!({"key": "disk", "operator": "Exists"});
        let one = json!([{"matchExpressions": [zone(&["a"])]}]);
        let cases = [
            ("from none", Value::Null, one.clone(), ""),
            ("from no terms", json!([]), one.clone(), ""),
            ("one requirement more", one.clone(), json!([{"matchExpressions": [zone(&["a"]), disk]}]), ""),
            (
                "a field more",
                one.clone(),
                json!([{"matchExpressions": [zone(&["a"])],
                    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]),
                "",
            ),
            ("a term more", one.clone(), json!([one[0], {"matchExpressions": [disk]}]), "no additions/deletions"),
            ("all terms gone", one.clone(), Value::Null, "no additions/deletions"),
            ("another value", one.clone(), json!([{"matchExpressions": [zone(&["a", "b"])]}]), "only additions"),
            ("one in front", one.clone(), json!([{"matchExpressions": [disk, zone(&["a"])]}]), "only additions"),
            ("out of nothing", json!([{}]), one.clone(), "only additions"),
        ];
        for (why, old, new, expected) in cases {
            let found = found_on_update::<Pod>(&pod(true, &old, json!({})), &pod(true, &new, json!({})));
            match expected {
                "" => assert_eq!(found, Vec::<String>::new(), "{why}"),
                expected => assert!(found.len() == 1 && found[0].contains(expected), "{why}: {found:?}"),
            }
        }
        let preferred = json!([{"weight": 1, "preference": {"matchExpressions": [zone(&["c"])]}}]);
        let preferring = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}});
        let new = pod(true, &Value::Null, preferring);
        assert_eq!(found_on_update::<Pod>(&pod(true, &Value::Null, json!({})), &new), Vec::<String>::new());
    }

    #[test]
    fn nothing_else_of_an_affinity_changes_and_nothing_once_the_gates_are_open() {
        let one = json!([{"matchExpressions": [zone(&["a"])]}]);
        let apart = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            [{"topologyKey": "host", "labelSelector": {"matchLabels": {"a": "b"}}}]}});
        let found = found_on_update::<Pod>(&pod(true, &Value::Null, json!({})), &pod(true, &one, apart));
        assert!(found.len() == 1 && found[0].starts_with("spec: Forbidden"), "{found:?}");
        let found = found_on_update::<Pod>(&pod(false, &Value::Null, json!({})), &pod(false, &one, json!({})));
        assert!(found.len() == 1 && found[0].starts_with("spec: Forbidden"), "{found:?}");
        let selector = |selector: Value| {
            json!({"spec": {"containers": [], "schedulingGates": [{"name": "g"}], "nodeSelector": selector}})
                .to_string()
        };
        let found = found_on_update::<Pod>(&selector(json!({"a": "b"})), &selector(json!({"c": "d"})));
        assert!(
            found.len() == 1 && found[0].ends_with("only additions are allowed (no mutations or deletions)"),
            "{found:?}"
        );
    }
}
