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
                requests: pod::requests(&spec),
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
    }
}
