//! What differs from cluster to cluster and from machine to machine: the variables of `node.env`.
//!
//! Units come in a package and name variables; a lab's processes are given the values themselves. Both come from here.
use super::cluster::{Cluster, MASTER_TAINT, Machine, Role};
use super::name::ProgramName;

/// None begins as one of etcd's own does (`ETCD_` and a flag's name): etcd refuses to start when it is given a flag and a
/// variable for one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    NodeName,
    NodeIp,
    Apiservers,
    ClusterCidr,
    ClusterDns,
    ClusterDomain,
    ClusterName,
    ApiPort,
    ServiceCidr,
    NodePortRange,
    NodeCidrMaskSize,
    EtcdServers,
    EtcdMembers,
    EtcdState,
    EtcdHeartbeat,
    EtcdElection,
}

impl Variable {
    pub const ALL: [Self; 16] = [
        Self::NodeName,
        Self::NodeIp,
        Self::Apiservers,
        Self::ClusterCidr,
        Self::ClusterDns,
        Self::ClusterDomain,
        Self::ClusterName,
        Self::ApiPort,
        Self::ServiceCidr,
        Self::NodePortRange,
        Self::NodeCidrMaskSize,
        Self::EtcdServers,
        Self::EtcdMembers,
        Self::EtcdState,
        Self::EtcdHeartbeat,
        Self::EtcdElection,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::NodeName => "NODE_NAME",
            Self::NodeIp => "NODE_IP",
            Self::Apiservers => "APISERVERS",
            Self::ClusterCidr => "CLUSTER_CIDR",
            Self::ClusterDns => "CLUSTER_DNS",
            Self::ClusterDomain => "CLUSTER_DOMAIN",
            Self::ClusterName => "CLUSTER_NAME",
            Self::ApiPort => "API_PORT",
            Self::ServiceCidr => "SERVICE_CIDR",
            Self::NodePortRange => "NODE_PORT_RANGE",
            Self::NodeCidrMaskSize => "NODE_CIDR_MASK_SIZE",
            Self::EtcdServers => "ETCD_SERVERS",
            Self::EtcdMembers => "ETCD_MEMBERS",
            Self::EtcdState => "ETCD_STATE",
            Self::EtcdHeartbeat => "ETCD_HEARTBEAT_MS",
            Self::EtcdElection => "ETCD_ELECTION_MS",
        }
    }

    /// For whoever reads the file.
    pub fn about(self) -> &'static str {
        match self {
            Self::NodeName => "This machine: the Node's name, and the address under which other machines reach it.",
            Self::Apiservers => "All apiservers, separated by commas.",
            Self::ClusterCidr => "The cluster's networks and names: the same on all machines.",
            Self::EtcdServers => "All members of etcd: this machine's own first in ETCD_SERVERS.",
            Self::EtcdState => "new for the members that a cluster begins with, existing for one that is added.",
            Self::EtcdHeartbeat => {
                "Half of etcd's own: writes stand still for one to two election timeouts when etcd's leader dies. Both need a\n\
                 round trip between masters of less than 50 ms; raise them together, tenfold to each other, where masters are\n\
                 far apart."
            }
            Self::NodeIp
            | Self::ClusterDns
            | Self::ClusterDomain
            | Self::ClusterName
            | Self::ApiPort
            | Self::ServiceCidr
            | Self::NodePortRange
            | Self::NodeCidrMaskSize
            | Self::EtcdMembers
            | Self::EtcdElection => "",
        }
    }

    /// Only the control plane has use for it.
    pub fn is_of_masters(self) -> bool {
        match self {
            Self::NodeName
            | Self::NodeIp
            | Self::Apiservers
            | Self::ClusterCidr
            | Self::ClusterDns
            | Self::ClusterDomain => false,
            Self::ClusterName
            | Self::ApiPort
            | Self::ServiceCidr
            | Self::NodePortRange
            | Self::NodeCidrMaskSize
            | Self::EtcdServers
            | Self::EtcdMembers
            | Self::EtcdState
            | Self::EtcdHeartbeat
            | Self::EtcdElection => true,
        }
    }

    fn value(self, cluster: &Cluster, machine: &Machine) -> String {
        match self {
            Self::NodeName => machine.name.clone(),
            Self::NodeIp => machine.ip.to_string(),
            Self::Apiservers => cluster.api_urls().join(","),
            Self::ClusterCidr => cluster.cluster_cidr.clone(),
            Self::ClusterDns => cluster.cluster_dns.to_string(),
            Self::ClusterDomain => cluster.cluster_domain.clone(),
            Self::ClusterName => cluster.name.clone(),
            Self::ApiPort => cluster.api_port.to_string(),
            Self::ServiceCidr => cluster.service_cidr.clone(),
            Self::NodePortRange => cluster.node_port_range.clone(),
            Self::NodeCidrMaskSize => cluster.node_cidr_mask_size.to_string(),
            Self::EtcdServers => cluster.etcd_urls(machine).join(","),
            Self::EtcdMembers => cluster.etcd_members().join(","),
            Self::EtcdState => cluster.etcd_state.as_str().to_owned(),
            Self::EtcdHeartbeat => cluster.etcd_heartbeat_ms.to_string(),
            Self::EtcdElection => cluster.etcd_election_ms.to_string(),
        }
    }
}

/// What stands in arguments where machines differ.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// The values of one machine.
    Of(&'a Cluster, &'a Machine),
    /// `${NAME}`, for systemd to fill in from `node.env`.
    Variables,
}

impl Values<'_> {
    pub(super) fn get(self, variable: Variable) -> String {
        match self {
            Self::Of(cluster, machine) => variable.value(cluster, machine),
            Self::Variables => format!("${{{}}}", variable.name()),
        }
    }

    /// What is given to a program besides, an argument each. systemd makes as many of `$NAME` as there are words in it.
    pub(super) fn extra(self, program: ProgramName) -> Vec<String> {
        match self {
            Self::Variables => vec![format!("${}", program.extra_args_variable())],
            Self::Of(cluster, machine) => {
                let taint = (program == ProgramName::Kubelet && machine.role == Role::Master)
                    .then(|| format!("--register-with-taint={MASTER_TAINT}"));
                let more = cluster.extra_args.get(&program).cloned().unwrap_or_default();
                taint.into_iter().chain(more).collect()
            }
        }
    }
}
