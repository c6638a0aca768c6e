//! What the scheduler is asked to place: pods and nodes as upstream's own benchmarks have them. Pure.
//!
//! <https://github.com/kubernetes/kubernetes/tree/v1.35.0/test/integration/scheduler_perf>

use serde_json::{Value, json};

/// A node has room for all pods of one workload that come to it.
const NODE_CPUS: usize = 32;
/// What a filler takes of its node, and who drives it out wants.
const MOST_CPUS: &str = "24";
pub(super) const ZONES: usize = 3;
const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";
/// Pods that may share no node are of groups that fill so large a part of all nodes.
const GROUPS_OF_NODES: usize = 2;
pub(super) const HIGH_PRIORITY: &str = "bench-high";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    Plain,
    NodeAffinity,
    PodAffinity,
    PodAntiAffinity,
    TopologySpread,
    Preemption,
    Mixed,
}

impl Workload {
    pub(super) const ALL: [Self; 7] = [
        Self::Plain,
        Self::NodeAffinity,
        Self::PodAffinity,
        Self::PodAntiAffinity,
        Self::TopologySpread,
        Self::Mixed,
        // The last, as it leaves its fillers.
        Self::Preemption,
    ];
    const MIXED: [Self; 5] =
        [Self::Plain, Self::NodeAffinity, Self::PodAffinity, Self::PodAntiAffinity, Self::TopologySpread];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::NodeAffinity => "node affinity",
            Self::PodAffinity => "required pod affinity",
            Self::PodAntiAffinity => "required pod anti-affinity",
            Self::TopologySpread => "topology spread",
            Self::Preemption => "preemption",
            Self::Mixed => "mixed",
        }
    }

    /// Pods a second that upstream's benchmark of 5,000 nodes must reach.
    pub(super) const fn upstream(self) -> &'static str {
        match self {
            Self::Plain => "680/s",
            Self::PodAffinity => "35/s",
            Self::PodAntiAffinity => "60/s",
            Self::TopologySpread => "460/s",
            Self::Preemption => "570/s",
            Self::NodeAffinity | Self::Mixed => "",
        }
    }

    /// How many pods, where so many are wanted: each drives one other out.
    pub(super) fn pods(self, nodes: usize, wanted: usize) -> usize {
        if self == Self::Preemption { wanted.min(nodes) } else { wanted }
    }

    /// The pod of that number. Its name ends in the number.
    pub(super) fn pod(self, number: usize, nodes: usize) -> Value {
        let (labels, more) = match self {
            Self::Mixed => return Self::MIXED[number % Self::MIXED.len()].pod(number, nodes),
            Self::Plain => (json!({}), json!({})),
            Self::NodeAffinity => {
                let term = json!({"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone(0), zone(1)]}]});
                let required = json!({"nodeSelectorTerms": [term]});
                (json!({}), json!({"affinity": {"nodeAffinity": {REQUIRED: required}}}))
            }
            Self::PodAffinity => {
                let labels = json!({"color": "blue"});
                let term = json!([{"topologyKey": ZONE, "labelSelector": {"matchLabels": labels}}]);
                (labels, json!({"affinity": {"podAffinity": {REQUIRED: term}}}))
            }
            Self::PodAntiAffinity => {
                let group = number * GROUPS_OF_NODES / nodes;
                let labels = json!({"color": format!("green-{group}")});
                let term = json!([{"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": labels}}]);
                (labels, json!({"affinity": {"podAntiAffinity": {REQUIRED: term}}}))
            }
            Self::TopologySpread => {
                let labels = json!({"color": "red"});
                let constraint = json!([{"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {"matchLabels": labels}}]);
                (labels, json!({"topologySpreadConstraints": constraint}))
            }
            Self::Preemption => (json!({}), json!({"priorityClassName": HIGH_PRIORITY})),
        };
        let cpu = if self == Self::Preemption { MOST_CPUS } else { "100m" };
        pod(&pod_name(number), &labels, cpu, more)
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

pub(super) fn pod_name(number: usize) -> String {
    format!("pod-{number:06}")
}

/// The number in a pod's name, for those that a workload names.
pub(super) fn number_of(name: &str) -> Option<usize> {
    name.strip_prefix("pod-")?.parse().ok()
}

/// What fills a node until somebody drives it out. It is on its node already.
pub(super) fn filler(number: usize) -> Value {
    pod(&format!("filler-{number:06}"), &json!({}), MOST_CPUS, json!({"nodeName": node_name(number)}))
}

fn pod(name: &str, labels: &Value, cpu: &str, more: Value) -> Value {
    let mut spec = json!({
        // No kubelet is there to end it gracefully.
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": false,
        "containers": [{"name": "main", "image": "none",
            "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}],
    });
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})
}

pub(super) fn node_name(number: usize) -> String {
    format!("node-{number:05}")
}

fn zone(number: usize) -> String {
    format!("zone-{}", number % ZONES)
}

pub(super) fn node(number: usize) -> Value {
    let labels = json!({HOSTNAME: node_name(number), ZONE: zone(number)});
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node_name(number), "labels": labels}})
}

/// A merge patch that makes a node ready, with room.
pub(super) fn node_status(now: &str) -> Value {
    let room = json!({"cpu": NODE_CPUS.to_string(), "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti"});
    let condition = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "bench",
        "lastHeartbeatTime": now, "lastTransitionTime": now});
    json!({"status": {"capacity": room, "allocatable": room, "conditions": [condition]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_number_is_in_its_name() {
        for workload in Workload::ALL {
            for number in [0, 7, 999] {
                let pod = workload.pod(number, 100);
                let name = pod["metadata"]["name"].as_str().unwrap();
                assert_eq!(number_of(name), Some(number), "{workload:?}");
            }
        }
        assert_eq!(number_of(filler(3)["metadata"]["name"].as_str().unwrap()), None);
    }

    #[test]
    fn no_group_of_pods_that_keep_apart_is_larger_than_the_nodes_are_many() {
        for nodes in [1, 2, 3, 100] {
            let mut groups = std::collections::BTreeMap::<String, usize>::new();
            for number in 0..1000 {
                let pod = Workload::PodAntiAffinity.pod(number, nodes);
                *groups.entry(pod["metadata"]["labels"]["color"].to_string()).or_default() += 1;
            }
            assert!(groups.values().all(|size| *size <= nodes), "{nodes} nodes: {groups:?}");
        }
    }

    #[test]
    fn who_drives_out_finds_somebody_on_each_node() {
        assert_eq!([(100, 1000), (1000, 100)].map(|(nodes, pods)| Workload::Preemption.pods(nodes, pods)), [100, 100]);
        let wants =
            |pod: &Value| pod["spec"]["containers"][0]["resources"]["requests"]["cpu"].as_str().map(str::to_owned);
        let (high, low) = (Workload::Preemption.pod(0, 1), filler(0));
        let cpus = [high, low].iter().map(|pod| wants(pod).unwrap().parse::<usize>().unwrap()).collect::<Vec<_>>();
        assert!(cpus.iter().all(|cpus| *cpus <= NODE_CPUS) && cpus.iter().sum::<usize>() > NODE_CPUS, "{cpus:?}");
    }
}
