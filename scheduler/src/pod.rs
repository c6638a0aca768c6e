//! What the scheduler keeps of a pod: what it takes of its node, and, while it has none, what it wants of one.

use corten_api::pod::{self, Amounts};
use corten_api::{Key, Object};
use k8s_openapi::api::core::v1::{Container, NodeAffinity, ObjectReference, Pod, PodSpec, Toleration};

/// One pod. Wants are dropped once it is bound: most pods of a cluster are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodInfo {
    pub key: Key,
    pub uid: String,
    /// The node it is bound to.
    pub node: Option<String>,
    /// Succeeded or Failed: takes nothing any more.
    pub terminal: bool,
    pub takes: Takes,
    pub wants: Option<Box<Wants>>,
}

/// What a pod takes of its node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Takes {
    pub requests: Amounts,
    pub host_ports: Vec<HostPort>,
    /// Who its siblings are, for spreading: the controller's uid, or "" for a pod of its own.
    pub family: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be had on one node: an unset address is all of them.
    pub fn clashes(&self, other: &Self) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (any(&self.ip) || any(&other.ip) || self.ip == other.ip)
    }
}

/// What an unbound pod asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wants {
    pub scheduler: String,
    pub priority: i32,
    pub created_secs: i64,
    pub deleting: bool,
    /// Not to be scheduled before its gates are gone.
    pub gated: bool,
    pub node_selector: Vec<(String, String)>,
    pub node_affinity: Option<NodeAffinity>,
    pub tolerations: Vec<Toleration>,
    /// What it demands that this scheduler cannot see to; it waits while there is any.
    pub unserved: Vec<String>,
    /// The message of its PodScheduled=False condition, so that the same is not written again.
    pub told: Option<String>,
    pub reference: ObjectReference,
}

impl PodInfo {
    pub fn of(pod: Pod) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let node = pod::node_name(&pod).map(str::to_owned);
        let wants = node.is_none().then(|| Box::new(Wants::of(&pod, &spec)));
        Self {
            key: pod.key(),
            uid: pod.uid().into(),
            terminal: pod::is_terminal(&pod),
            takes: Takes {
                requests: pod::requests_in_fact(&pod),
                host_ports: host_ports(&spec),
                family: pod.controller().map(|o| o.uid.clone()).unwrap_or_default(),
            },
            node,
            wants,
        }
    }

    /// Whether this scheduler has to find it a node now.
    pub fn is_pending_for(&self, scheduler: &str) -> bool {
        let open = |w: &Wants| w.scheduler == scheduler && !w.deleting && !w.gated;
        self.node.is_none() && !self.terminal && self.wants.as_deref().is_some_and(open)
    }
}

impl Wants {
    fn of(pod: &Pod, spec: &PodSpec) -> Self {
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
        let told = corten_api::conditions::find(conditions, "PodScheduled").filter(|c| c.status == "False");
        Self {
            scheduler: spec.scheduler_name.clone().unwrap_or_else(|| "default-scheduler".into()),
            priority: spec.priority.unwrap_or(0),
            created_secs: pod.created().map_or(0, |t| t.0.as_second()),
            deleting: pod.is_deleting(),
            gated: spec.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty()),
            node_selector: spec.node_selector.clone().unwrap_or_default().into_iter().collect(),
            node_affinity: spec.affinity.as_ref().and_then(|a| a.node_affinity.clone()),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            unserved: crate::unserved::demands(spec),
            told: told.and_then(|c| c.message.clone()),
            reference: pod.reference(),
        }
    }
}

/// Ports of the node itself; sidecars hold theirs too, other init containers only for a while and are not counted.
fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| pod::is_sidecar(c));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c: &Container| c.ports.iter().flatten());
    ports
        .filter_map(|p| {
            let port = p.host_port.filter(|n| *n > 0)?;
            let text = |s: &Option<String>, or: &str| s.clone().unwrap_or_else(|| or.into());
            Some(HostPort { ip: text(&p.host_ip, ""), protocol: text(&p.protocol, "TCP"), port })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ports_clash_by_address() {
        let port = |ip: &str, port| HostPort { ip: ip.into(), protocol: "TCP".into(), port };
        assert!(port("", 80).clashes(&port("10.0.0.1", 80)));
        assert!(!port("10.0.0.2", 80).clashes(&port("10.0.0.1", 80)));
        assert!(!port("", 80).clashes(&port("", 81)));
        assert!(port("10.0.0.1", 80).clashes(&port("10.0.0.1", 80)), "the same");
        assert!(port("10.0.0.1", 80).clashes(&port("", 80)), "an unset address is all, whosever it is");
        assert!(port("10.0.0.1", 80).clashes(&port("0.0.0.0", 80)), "so is this one");
        let udp = HostPort { protocol: "UDP".into(), ..port("", 80) };
        assert!(!udp.clashes(&port("", 80)), "another protocol");
    }

    #[test]
    fn only_open_pods_of_ours_are_pending() {
        let wants = |scheduler: &str, gated, deleting| {
            Some(Box::new(Wants { scheduler: scheduler.into(), gated, deleting, ..Wants::default() }))
        };
        let cases = [
            ("ours", wants("me", false, false), None, true),
            ("another scheduler's", wants("you", false, false), None, false),
            ("gated", wants("me", true, false), None, false),
            ("going away", wants("me", false, true), None, false),
            ("bound", None, Some("n1".into()), false),
        ];
        for (why, wants, node, expected) in cases {
            let pod = PodInfo { wants, node, ..PodInfo::default() };
            assert_eq!(pod.is_pending_for("me"), expected, "{why}");
        }
        let ended = PodInfo { wants: wants("me", false, false), terminal: true, ..PodInfo::default() };
        assert!(!ended.is_pending_for("me"), "ended before it got a node");
        let given = PodInfo { wants: wants("me", false, false), node: Some("n1".into()), ..PodInfo::default() };
        assert!(!given.is_pending_for("me"), "bound, whatever it wanted");
    }

    #[test]
    fn what_is_kept_of_a_pod() {
        let pod = |spec: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "a", "namespace": "ns", "uid": "u", "creationTimestamp": "1970-01-01T00:01:00Z",
                    "ownerReferences": [{"uid": "rs", "controller": true, "apiVersion": "v1", "kind": "X", "name": "x"}]},
                "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]},
                "spec": spec,
            }))
            .unwrap()
        };
        let info = PodInfo::of(pod(serde_json::json!({
            "schedulerName": "me", "priority": 7, "nodeSelector": {"disk": "ssd"},
            "schedulingGates": [{"name": "g"}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}, "ports": [
                {"containerPort": 80}, {"containerPort": 81, "hostPort": 0},
                {"containerPort": 82, "hostPort": 8082},
                {"containerPort": 83, "hostPort": 8083, "hostIP": "10.0.0.1", "protocol": "UDP"}]}],
            "initContainers": [
                {"name": "i", "ports": [{"containerPort": 84, "hostPort": 8084}]},
                {"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 85, "hostPort": 8085}]}],
        })));
        assert_eq!((info.key.name.as_str(), info.uid.as_str(), info.node), ("a", "u", None));
        assert_eq!((info.takes.family.as_str(), info.takes.requests.get("cpu")), ("rs", Some(&1000)));
        let port = |ip: &str, protocol: &str, port| HostPort { ip: ip.into(), protocol: protocol.into(), port };
        let ports = [port("", "TCP", 8082), port("10.0.0.1", "UDP", 8083), port("", "TCP", 8085)];
        assert_eq!(info.takes.host_ports, ports, "an init container's are free again when it has ended");
        let wants = info.wants.unwrap();
        assert_eq!((wants.scheduler.as_str(), wants.priority, wants.created_secs), ("me", 7, 60));
        assert_eq!((wants.gated, wants.deleting), (true, false));
        assert_eq!(wants.node_selector, [("disk".to_owned(), "ssd".to_owned())]);
        assert_eq!(wants.told.as_deref(), Some("no room"));

        let plain = PodInfo::of(pod(serde_json::json!({"containers": [], "schedulingGates": []}))).wants.unwrap();
        assert_eq!((plain.scheduler.as_str(), plain.priority, plain.gated), ("default-scheduler", 0, false));
        let bound = PodInfo::of(pod(serde_json::json!({"containers": [], "nodeName": "n1"})));
        assert_eq!((bound.node.as_deref(), bound.wants), (Some("n1"), None), "most pods are bound and want nothing");
    }
}
