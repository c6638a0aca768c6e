//! What is to be known of a cluster and of one of its machines before anything can be started.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use corten_api::networks;

use super::name::ProgramName;

/// Where apiservers listen.
pub const API_PORT: u16 = 6443;
/// Where etcd's clients and its other members come in.
pub const ETCD_CLIENT_PORT: u16 = 2379;
pub const ETCD_PEER_PORT: u16 = 2380;
/// Where kubelets serve logs, exec and statistics.
pub const KUBELET_PORT: u16 = 10250;

/// Where programs serve /healthz and /metrics, over plain HTTP.
pub const KUBELET_METRICS_PORT: u16 = 10248;
pub const PROXY_METRICS_PORT: u16 = 10249;
pub const SCHEDULER_METRICS_PORT: u16 = 10251;
pub const CONTROLLERS_METRICS_PORT: u16 = 10252;

/// Half of etcd's own: after a crash of etcd's leader writes stand still for one to two election timeouts, and for one more
/// round where the votes split. Both need a round trip between masters of less than this.
pub const ETCD_HEARTBEAT_MS: u32 = 50;
/// Ten heartbeats, as etcd asks.
pub const ETCD_ELECTION_MS: u32 = 500;

/// As other tools mark a control-plane node. A kubelet may not give itself such a label: an administrator does.
pub const MASTER_LABEL: &str = "node-role.kubernetes.io/control-plane";
/// What keeps pods off masters that do not ask to be there.
pub const MASTER_TAINT: &str = "node-role.kubernetes.io/control-plane:NoSchedule";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Has the control plane, and is a node too.
    Master,
    Worker,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The Node's name, and its etcd member's.
    pub name: String,
    /// Where other machines reach it.
    pub ip: IpAddr,
    pub role: Role,
}

/// What all machines of a cluster agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// In kubeconfigs, and what etcd members know each other by.
    pub name: String,
    pub masters: Vec<Machine>,
    pub api_port: u16,
    pub cluster_cidr: String,
    /// The prefix length of each node's part of `cluster_cidr`.
    pub node_cidr_mask_size: u8,
    pub service_cidr: String,
    /// ClusterIP of the Service `kubernetes`.
    pub service_ip: IpAddr,
    pub node_port_range: String,
    pub cluster_dns: IpAddr,
    pub cluster_domain: String,
    pub etcd_heartbeat_ms: u32,
    pub etcd_election_ms: u32,
    /// Whether etcd's members begin a store, or join one that there is.
    pub etcd_state: EtcdState,
    /// What a program is given besides its own arguments, on every machine.
    pub extra_args: BTreeMap<ProgramName, Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtcdState {
    New,
    Existing,
}

impl EtcdState {
    /// As etcd's flag has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Existing => "existing",
        }
    }
}

impl Cluster {
    /// One whose administrator chose nothing but names and addresses.
    pub fn new(name: &str, masters: Vec<Machine>) -> Self {
        Self {
            name: name.to_owned(),
            masters,
            api_port: API_PORT,
            cluster_cidr: networks::CLUSTER_CIDR.into(),
            node_cidr_mask_size: 24,
            service_cidr: networks::SERVICE_CIDR.into(),
            service_ip: Ipv4Addr::new(10, 96, 0, 1).into(),
            node_port_range: "30000-32767".into(),
            cluster_dns: Ipv4Addr::new(10, 96, 0, 10).into(),
            cluster_domain: networks::CLUSTER_DOMAIN.into(),
            etcd_heartbeat_ms: ETCD_HEARTBEAT_MS,
            etcd_election_ms: ETCD_ELECTION_MS,
            etcd_state: EtcdState::New,
            extra_args: BTreeMap::new(),
        }
    }

    pub fn api_urls(&self) -> Vec<String> {
        self.masters.iter().map(|master| url(master.ip, self.api_port)).collect()
    }

    /// etcd's members as an apiserver on `machine` asks them: its own first, the shortest way and the one that fails
    /// together with it.
    pub fn etcd_urls(&self, machine: &Machine) -> Vec<String> {
        let mut members: Vec<&Machine> = self.masters.iter().collect();
        members.sort_by_key(|member| member.name != machine.name);
        members.into_iter().map(|member| url(member.ip, ETCD_CLIENT_PORT)).collect()
    }

    /// `name=https://address:2380` of every member.
    pub fn etcd_members(&self) -> Vec<String> {
        self.masters.iter().map(|master| format!("{}={}", master.name, url(master.ip, ETCD_PEER_PORT))).collect()
    }

    /// The TCP ports of a machine that its programs need.
    pub fn ports(&self, role: Role) -> Vec<(ProgramName, u16)> {
        let of_masters = [
            (ProgramName::Etcd, ETCD_CLIENT_PORT),
            (ProgramName::Etcd, ETCD_PEER_PORT),
            (ProgramName::Apiserver, self.api_port),
            (ProgramName::Scheduler, SCHEDULER_METRICS_PORT),
            (ProgramName::Controllers, CONTROLLERS_METRICS_PORT),
        ];
        let of_nodes = [
            (ProgramName::Kubelet, KUBELET_PORT),
            (ProgramName::Kubelet, KUBELET_METRICS_PORT),
            (ProgramName::Proxy, PROXY_METRICS_PORT),
        ];
        let of_masters = if role == Role::Master { &of_masters[..] } else { &[] };
        of_masters.iter().chain(&of_nodes).copied().collect()
    }

    /// Names and addresses that the certificates of the control plane have to have.
    pub fn certificates(&self) -> crate::pki::ClusterPlan {
        let masters: Vec<String> =
            self.masters.iter().flat_map(|master| [master.name.clone(), master.ip.to_string()]).collect();
        crate::pki::ClusterPlan {
            apiserver_sans: masters.clone(),
            etcd_sans: masters,
            service_ip: Some(self.service_ip),
            cluster_domain: self.cluster_domain.clone(),
        }
    }
}

/// IPv6 addresses stand in brackets.
fn url(ip: IpAddr, port: u16) -> String {
    format!("https://{}", std::net::SocketAddr::new(ip, port))
}
