//! Whom the kernel ends first when the node has no memory left. Pure.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-out-of-memory-behavior>

use corten_api::pod::{Qos, amounts, is_mirror, is_sidecar};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::static_pods;

const GUARANTEED: i32 = -997;
const BEST_EFFORT: i32 = 1000;
/// Between the two: even the process that has all of the node's memory goes after one of a burstable pod.
const BURSTABLE_MIN: i32 = 1000 + GUARANTEED;
const BURSTABLE_MAX: i32 = BEST_EFFORT - 1;

const NODE_CRITICAL_CLASS: &str = "system-node-critical";
/// `system-cluster-critical` and above; users' own classes are below.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// The `oom_score_adj` of a container's processes.
pub(super) fn score_adj(pod: &Pod, container: &Container, node_memory_bytes: i64) -> i32 {
    let Some(spec) = &pod.spec else { return BEST_EFFORT };
    if is_node_critical(pod, spec) {
        return GUARANTEED;
    }
    match Qos::of(spec) {
        Qos::Guaranteed => GUARANTEED,
        Qos::BestEffort => BEST_EFFORT,
        Qos::Burstable => {
            let share = counted_bytes(spec, container).saturating_mul(1000) / node_memory_bytes.max(1);
            i32::try_from(1000_i64.saturating_sub(share)).unwrap_or(BURSTABLE_MIN).clamp(BURSTABLE_MIN, BURSTABLE_MAX)
        }
    }
}

/// What the node itself cannot do without. What is critical for the cluster only can run elsewhere.
fn is_node_critical(pod: &Pod, spec: &PodSpec) -> bool {
    let is_critical =
        static_pods::is_static(pod) || is_mirror(pod) || spec.priority.is_some_and(|p| p >= CRITICAL_PRIORITY);
    is_critical && spec.priority_class_name.as_deref() == Some(NODE_CRITICAL_CLASS)
}

/// The memory that a container of a burstable pod is protected for: its request, and its part of what the pod asks for as a
/// whole. A sidecar is no less protected than any of the containers that need it.
fn counted_bytes(spec: &PodSpec, container: &Container) -> i64 {
    let own = memory_request(container);
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let serves_others = is_sidecar(container) && inits.iter().any(|init| init.name == container.name);
    let least = spec.containers.iter().map(memory_request).min().filter(|_| serves_others);
    own.max(least.unwrap_or(0)).saturating_add(unassigned_bytes(spec, inits.len()))
}

/// What the pod asks for beyond its containers' requests, for each container.
fn unassigned_bytes(spec: &PodSpec, inits: usize) -> i64 {
    let of_pod = amounts(spec.resources.as_ref().and_then(|r| r.requests.as_ref()));
    let Some(whole) = of_pod.get("memory").filter(|bytes| **bytes > 0) else { return 0 };
    let of_containers = PodSpec { resources: None, overhead: None, ..spec.clone() };
    let assigned = corten_api::pod::requests(&of_containers).get("memory").copied().unwrap_or(0);
    let count = i64::try_from(spec.containers.len() + inits).unwrap_or(i64::MAX).max(1);
    whole.saturating_sub(assigned) / count
}

fn memory_request(container: &Container) -> i64 {
    amounts(container.resources.as_ref().and_then(|r| r.requests.as_ref())).get("memory").copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceRequirements;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    const NODE_BYTES: i64 = 4000 << 20;

    fn resources(requests: &str, limits: &str) -> Option<ResourceRequirements> {
        let list = |memory: &str| {
            let both = [("cpu", "1"), ("memory", memory)];
            (!memory.is_empty()).then(|| both.map(|(name, amount)| (name.to_owned(), Quantity(amount.into()))).into())
        };
        Some(ResourceRequirements { requests: list(requests), limits: list(limits), ..Default::default() })
    }
    fn container(name: &str, request: &str) -> Container {
        Container { name: name.into(), resources: resources(request, ""), ..Default::default() }
    }
    fn sidecar(name: &str, request: &str) -> Container {
        Container { restart_policy: Some("Always".into()), ..container(name, request) }
    }
    fn pod(containers: Vec<Container>, inits: Vec<Container>, change: impl FnOnce(&mut PodSpec)) -> Pod {
        let mut spec = PodSpec { containers, init_containers: Some(inits), ..Default::default() };
        change(&mut spec);
        Pod { spec: Some(spec), ..Default::default() }
    }
    fn of_class(class: &str, priority: i32) -> Pod {
        let burstable = vec![container("c", "1000Mi")];
        pod(burstable, vec![], |s| (s.priority_class_name, s.priority) = (Some(class.into()), Some(priority)))
    }

    #[test]
    fn who_the_kernel_ends_first() {
        let guaranteed = Container { resources: resources("1000Mi", "1000Mi"), ..container("c", "") };
        let one = |request| pod(vec![container("c", request), container("d", "1Mi")], vec![], |_| ());
        let with_sidecar = |own, others: [&str; 2]| {
            pod(vec![container("c", others[0]), container("d", others[1])], vec![sidecar("s", own)], |_| ())
        };
        let mut of_a_file = of_class("system-node-critical", 0);
        of_a_file.spec.as_mut().unwrap().priority = None;
        let source = (corten_api::pod::CONFIG_SOURCE_ANNOTATION.to_owned(), "file".to_owned());
        of_a_file.metadata.annotations = Some([source].into());
        let as_a_whole = |containers, inits| pod(containers, inits, |s| s.resources = resources("2000Mi", ""));
        let cases = [
            ("guaranteed", pod(vec![guaranteed], vec![], |_| ()), "c", -997),
            ("best effort", pod(vec![container("c", "")], vec![], |_| ()), "c", 1000),
            ("a quarter of the node's memory", one("1000Mi"), "c", 750),
            ("no memory, in a burstable pod", one(""), "c", 999),
            ("next to nothing", one("1Mi"), "c", 999),
            ("all of the node's memory", one("4000Mi"), "c", 3),
            ("more than the node has", one("9000Mi"), "c", 3),
            ("critical for the node", of_class("system-node-critical", 2_000_001_000), "c", -997),
            ("critical for the cluster only", of_class("system-cluster-critical", 2_000_000_000), "c", 750),
            ("a name alone gives no right", of_class("system-node-critical", 1000), "c", 750),
            ("critical for the node, from a file", of_a_file, "c", -997),
            ("a sidecar is kept as long as who needs it most", with_sidecar("1Mi", ["1000Mi", "2000Mi"]), "s", 750),
            ("one that asks for more is kept longer", with_sidecar("3000Mi", ["1000Mi", "2000Mi"]), "s", 250),
            ("one of a container that asks for nothing", with_sidecar("1Mi", ["", "2000Mi"]), "s", 999),
            (
                "an init container that ends is no sidecar",
                pod(vec![container("c", "1000Mi")], vec![container("i", "1Mi")], |_| ()),
                "i",
                999,
            ),
            (
                "nor is a main container that always restarts",
                pod(vec![sidecar("c", "1Mi"), container("d", "1000Mi")], vec![], |_| ()),
                "c",
                999,
            ),
            (
                "what the pod asks for beyond is shared by all",
                as_a_whole(vec![container("c", "1000Mi"), container("d", "")], vec![]),
                "d",
                875,
            ),
            ("by a sidecar, too", as_a_whole(vec![container("c", "1000Mi")], vec![sidecar("s", "200Mi")]), "s", 650),
        ];
        for (why, pod, name, expected) in cases {
            let spec = pod.spec.as_ref().unwrap();
            let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            let container = all.find(|c| c.name == name).unwrap();
            assert_eq!(score_adj(&pod, container, NODE_BYTES), expected, "{why}");
        }
    }
}
