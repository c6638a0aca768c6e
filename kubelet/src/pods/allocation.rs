//! What the node has given a pod, and whether it gives what the pod asks for now. Pure.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::pod::{Qos, requests};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use serde::{Deserialize, Serialize};

use super::admit;
use crate::node_facts::NodeFacts;
use crate::pod::size::{DEFERRED, INFEASIBLE, Pending};

/// A pod's resources, and those of its containers by name, as they were last granted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Allocation {
    /// `metadata.generation` of the pod whose wishes these are.
    pub(super) generation: Option<i64>,
    pub(super) pod: Option<ResourceRequirements>,
    pub(super) containers: BTreeMap<String, ResourceRequirements>,
}

impl Allocation {
    /// All that the pod asks for.
    pub(super) fn of(pod: &Pod) -> Self {
        let of_pod = pod.spec.as_ref().and_then(|spec| spec.resources.clone());
        let all = pod.spec.iter().flat_map(containers);
        let containers = all.map(|c| (c.name.clone(), c.resources.clone().unwrap_or_default())).collect();
        Self { generation: pod.metadata.generation, pod: of_pod, containers }
    }

    /// Whether the pod asks for exactly this.
    pub(super) fn grants(&self, pod: &Pod) -> bool {
        let asked = Self::of(pod);
        asked.pod == self.pod && asked.containers == self.containers
    }

    /// The pod with what it was given instead of what it asks for.
    pub(super) fn given(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if self.grants(pod) {
            return Arc::clone(pod);
        }
        let mut given = Pod::clone(pod);
        if let Some(spec) = &mut given.spec {
            spec.resources.clone_from(&self.pod);
            let inits = spec.init_containers.iter_mut().flatten();
            for container in spec.containers.iter_mut().chain(inits) {
                if let Some(resources) = self.containers.get(&container.name) {
                    container.resources = Some(resources.clone());
                }
            }
        }
        Arc::new(given)
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}

/// Why the pod does not get what it asks for now; `None`: it gets it. `others`: the node's other pods, with what they were
/// given.
pub(super) fn refusal(pod: &Pod, others: &[Arc<Pod>], node: &NodeFacts) -> Option<Pending> {
    let asked = pod.spec.as_ref().map(requests).unwrap_or_default();
    let pending = |reason, message| Pending { reason, message, generation: pod.metadata.generation };
    for name in ["memory", "cpu"] {
        let get = |list: &BTreeMap<String, i64>| list.get(name).copied().unwrap_or(0);
        let (asked, capacity) = (get(&asked), get(&node.allocatable));
        if asked > capacity {
            let message = format!("Node didn't have enough capacity: {name}, requested: {asked}, capacity: {capacity}");
            return Some(pending(INFEASIBLE, message));
        }
    }
    admit::too_big(pod, others, node).map(|(_, message)| pending(DEFERRED, message))
}

/// In which order pods that wait get what has become free: those that ask for no more than they have, then by priority, then
/// by their quality of service. Of those that are alike, who has waited longest.
pub(super) fn turn(pod: &Pod, given: &Pod) -> (bool, i32, u8) {
    let of = |pod: &Pod| pod.spec.as_ref().map(requests).unwrap_or_default();
    let (asked, has) = (of(pod), of(given));
    let grows = |name: &str| asked.get(name).unwrap_or(&0) > has.get(name).unwrap_or(&0);
    let spec = pod.spec.as_ref();
    let priority = spec.and_then(|spec| spec.priority).unwrap_or(0);
    let qos = match spec.map(Qos::of) {
        Some(Qos::Guaranteed) => 0,
        Some(Qos::Burstable) => 1,
        Some(Qos::BestEffort) | None => 2,
    };
    (grows("cpu") || grows("memory"), priority.saturating_neg(), qos)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, cpu: &str) -> Arc<Pod> {
        let requests = json!({"requests": {"cpu": cpu}});
        let pod = json!({"metadata": {"name": name, "generation": 7},
            "spec": {"containers": [{"name": "a", "resources": requests}], "initContainers": [{"name": "i"}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }
    fn node() -> NodeFacts {
        let allocatable = [("cpu".to_owned(), 2000), ("memory".to_owned(), 1 << 30), ("pods".to_owned(), 10)];
        NodeFacts { name: "n1".into(), allocatable: allocatable.into(), ..NodeFacts::default() }
    }

    #[test]
    fn a_pod_keeps_what_it_was_given() {
        let small = Allocation::of(&pod("p", "1"));
        let stored: Allocation = serde_json::from_str(&serde_json::to_string(&small).unwrap()).unwrap();
        assert_eq!(stored, small, "as it is read after a restart");
        let asked = pod("p", "2");
        assert!(small.grants(&pod("p", "1")) && !small.grants(&asked));
        assert_eq!(*small.given(&asked), {
            let mut expected = Pod::clone(&pod("p", "1"));
            expected.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].resources = Some(Default::default());
            expected
        });
    }

    #[test]
    fn a_pod_is_given_what_the_node_has_left() {
        let others = [pod("other", "1500m")];
        let pending = |reason, message: &str| Pending { reason, message: message.into(), generation: Some(7) };
        for (why, cpu, expected) in [
            ("it fits", "500m", None),
            (
                "others have it",
                "600m",
                Some(pending(
                    DEFERRED,
                    "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000",
                )),
            ),
            (
                "nobody could give it",
                "3",
                Some(pending(INFEASIBLE, "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000")),
            ),
        ] {
            assert_eq!(refusal(&pod("p", cpu), &others, &node()), expected, "{why}");
        }
    }

    #[test]
    fn who_asks_for_less_comes_first_then_who_matters_more() {
        let with = |cpu: &str, priority: i32| {
            let mut pod = Pod::clone(&pod("p", cpu));
            pod.spec.as_mut().unwrap().priority = Some(priority);
            pod
        };
        let has = pod("p", "1");
        let mut turns = [("small", turn(&with("2", 0), &has)), ("less", turn(&with("500m", 0), &has))].to_vec();
        turns.push(("important", turn(&with("2", 9), &has)));
        turns.sort_by_key(|(_, turn)| *turn);
        assert_eq!(turns.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["less", "important", "small"]);
    }
}
