//! Which nodes a DaemonSet has pods on, and the pod that is made for a node.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#how-daemon-pods-are-scheduled>

use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::apps::v1::DaemonSet;
use corten_api::k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use corten_api::node::{self, selector};

use crate::history::REVISION_LABEL;
use crate::pods::SeenPod;

/// On a DaemonSet: how often its template was changed. It was a field once.
pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
/// On its pods: the value of that when they were made.
pub const GENERATION_LABEL: &str = "pod-template-generation";

const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";
/// What is wrong with a node that its daemons must not go for, nor be kept from: some of them are there to mend it.
const TOLERATED: &[(&str, &str)] = &[
    (node::NOT_READY_TAINT, NO_EXECUTE),
    (node::UNREACHABLE_TAINT, NO_EXECUTE),
    (node::DISK_PRESSURE_TAINT, NO_SCHEDULE),
    (node::MEMORY_PRESSURE_TAINT, NO_SCHEDULE),
    (node::PID_PRESSURE_TAINT, NO_SCHEDULE),
    (node::UNSCHEDULABLE_TAINT, NO_SCHEDULE),
];

/// Whether a node is one of a DaemonSet's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// A pod should run there.
    pub should_run: bool,
    /// A pod that runs there may stay.
    pub may_stay: bool,
}

/// What of a DaemonSet says where its pods go.
#[derive(Clone, Debug)]
pub struct Placement {
    /// As its pods have it, but for the node.
    spec: PodSpec,
}

impl Placement {
    pub fn of(set: &DaemonSet) -> Self {
        Self { spec: spec_of(set) }
    }

    pub fn fit(&self, node: &Node) -> Fit {
        let named = self.spec.node_name.as_deref().filter(|name| !name.is_empty());
        if named.is_some_and(|name| name != node.name())
            || !selector::selects(&self.spec, node.name(), |key| node.label(key))
        {
            return Fit::default();
        }
        let tolerations = self.spec.tolerations.as_deref().unwrap_or_default();
        let suffers = |effects: &[&str]| node::untolerated(node::taints(node), tolerations, effects).is_some();
        Fit { should_run: !suffers(&[NO_SCHEDULE, NO_EXECUTE]), may_stay: !suffers(&[NO_EXECUTE]) }
    }
}

/// Whether a change of a node can change where pods go.
pub fn is_alike(old: &Node, new: &Node) -> bool {
    old.metadata.labels == new.metadata.labels && node::taints(old) == node::taints(new)
}

/// The template's spec with what daemons tolerate.
fn spec_of(set: &DaemonSet) -> PodSpec {
    let mut spec = set.spec.template.spec.clone().unwrap_or_default();
    let of_host = (spec.host_network == Some(true)).then_some((node::NETWORK_UNAVAILABLE_TAINT, NO_SCHEDULE));
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in TOLERATED.iter().copied().chain(of_host) {
        let new = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        let same = |t: &Toleration| {
            (&t.key, &t.effect, &t.operator) == (&new.key, &new.effect, &new.operator)
                && t.value.as_deref().unwrap_or_default().is_empty()
        };
        // Without an end, whatever the template says.
        match tolerations.iter_mut().find(|t| same(t)) {
            Some(same) => *same = new,
            None => tolerations.push(new),
        }
    }
    spec
}

/// The value that the template's changes have come to; `None`: there is none that counts.
pub fn generation(set: &DaemonSet) -> Option<i64> {
    set.annotation(TEMPLATE_GENERATION)?.parse().ok()
}

/// A pod that is to be made for a node: what is known of it until it is sent. However many there are, they share one template.
#[derive(Clone, Debug)]
pub struct NewPod {
    pub set: Arc<DaemonSet>,
    /// Of the revision that it is made from.
    pub hash: Arc<str>,
    pub node: String,
}

impl NewPod {
    pub fn pod(&self, name: &str) -> Pod {
        pod_of(&self.set, &self.hash, name, &self.node)
    }
}

/// The pod of this name for a node. `hash`: of the revision that it is made from.
pub fn pod_of(set: &DaemonSet, hash: &str, name: &str, node: &str) -> Pod {
    let meta = set.spec.template.metadata.clone().unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(REVISION_LABEL.into(), hash.into());
    if let Some(generation) = generation(set) {
        labels.insert(GENERATION_LABEL.into(), generation.to_string());
    }
    let mut spec = spec_of(set);
    aim(&mut spec, node);
    Pod {
        metadata: ObjectMeta {
            name: Some(name.into()),
            generate_name: Some(format!("{}-", set.name())),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![set.controller_reference()]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// The scheduler brings it to this node and no other. What the template required of nodes, this one has.
fn aim(spec: &mut PodSpec, node: &str) {
    let named =
        NodeSelectorRequirement { key: "metadata.name".into(), operator: "In".into(), values: Some(vec![node.into()]) };
    let term = NodeSelectorTerm { match_fields: Some(vec![named]), ..NodeSelectorTerm::default() };
    let near = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    near.required_during_scheduling_ignored_during_execution = Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The node that a pod is on, or is to go to; `None`: it may go anywhere, and counts nowhere.
pub fn node_of(pod: &SeenPod) -> Option<&str> {
    pod.node.as_deref().or(pod.aimed_at.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(spec: &Value) -> DaemonSet {
        let template = json!({"metadata": {"labels": {"app": "agent"}}, "spec": spec});
        let meta = json!({"name": "agent", "namespace": "ns", "uid": "me", "annotations": {TEMPLATE_GENERATION: "3"}});
        serde_json::from_value(json!({"metadata": meta, "spec": {"selector": {}, "template": template}})).unwrap()
    }

    fn node(taints: &[(&str, &str)]) -> Node {
        let taints: Vec<_> = taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
        let meta = json!({"name": "n1", "labels": {"disk": "ssd"}});
        serde_json::from_value(json!({"metadata": meta, "spec": {"taints": taints}})).unwrap()
    }

    #[test]
    fn fit_table() {
        let spec = |more: Value| {
            let mut spec = json!({"containers": []});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let tolerating = spec(json!({"tolerations": [{"key": "own", "operator": "Exists"}]}));
        let cases = [
            ("any node", spec(json!({})), &[][..], (true, true)),
            ("its label", spec(json!({"nodeSelector": {"disk": "ssd"}})), &[], (true, true)),
            ("another label", spec(json!({"nodeSelector": {"disk": "hdd"}})), &[], (false, false)),
            ("its name", spec(json!({"nodeName": "n1"})), &[], (true, true)),
            ("another name", spec(json!({"nodeName": "n2"})), &[], (false, false)),
            ("no new pods", spec(json!({})), &[("own", "NoSchedule")], (false, true)),
            ("no pods at all", spec(json!({})), &[("own", "NoExecute")], (false, false)),
            ("rather not", spec(json!({})), &[("own", "PreferNoSchedule")], (true, true)),
            ("tolerated", tolerating, &[("own", "NoExecute")], (true, true)),
            ("not ready", spec(json!({})), &[(node::NOT_READY_TAINT, NO_EXECUTE)], (true, true)),
            ("unreachable", spec(json!({})), &[(node::UNREACHABLE_TAINT, NO_EXECUTE)], (true, true)),
            ("cordoned", spec(json!({})), &[(node::UNSCHEDULABLE_TAINT, NO_SCHEDULE)], (true, true)),
            ("short of memory", spec(json!({})), &[(node::MEMORY_PRESSURE_TAINT, NO_SCHEDULE)], (true, true)),
            ("not ready, new pods", spec(json!({})), &[(node::NOT_READY_TAINT, NO_SCHEDULE)], (false, true)),
            ("without network", spec(json!({})), &[(node::NETWORK_UNAVAILABLE_TAINT, NO_SCHEDULE)], (false, true)),
            (
                "without network, on the host's",
                spec(json!({"hostNetwork": true})),
                &[(node::NETWORK_UNAVAILABLE_TAINT, NO_SCHEDULE)],
                (true, true),
            ),
        ];
        for (why, spec, taints, (should_run, may_stay)) in cases {
            assert_eq!(Placement::of(&set(&spec)).fit(&node(taints)), Fit { should_run, may_stay }, "{why}");
        }
    }

    #[test]
    fn a_node_that_only_beats_is_alike() {
        let mut beating = node(&[]);
        beating.metadata.resource_version = Some("9".into());
        assert!(is_alike(&node(&[]), &beating));
        assert!(!is_alike(&node(&[]), &node(&[("own", NO_EXECUTE)])));
        beating.metadata.labels = None;
        assert!(!is_alike(&node(&[]), &beating));
    }

    #[test]
    fn a_pod_is_aimed_at_its_node_and_tolerates_what_daemons_do() {
        let ends =
            json!([{"key": node::NOT_READY_TAINT, "operator": "Exists", "effect": NO_EXECUTE, "tolerationSeconds": 5}]);
        let required = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]});
        let near = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
        let set = set(&json!({"containers": [], "tolerations": ends, "affinity": near}));
        let pod = pod_of(&set, "h", "agent-x", "n7");
        assert_eq!((pod.label(REVISION_LABEL), pod.label(GENERATION_LABEL)), (Some("h"), Some("3")));
        assert!(pod.is_controlled_by("me") && pod.label("app") == Some("agent"));
        let tolerations = pod.spec.as_ref().unwrap().tolerations.clone().unwrap();
        assert_eq!(tolerations.len(), TOLERATED.len(), "none is there twice");
        assert!(tolerations.iter().all(|t| t.toleration_seconds.is_none()), "daemons stay");
        let seen = SeenPod::of(pod);
        assert_eq!(node_of(&seen), Some("n7"));
        assert_eq!(node_of(&SeenPod { node: Some("n8".into()), ..seen }), Some("n8"));
    }
}
