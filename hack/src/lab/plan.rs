//! What a lab consists of: nodes with names and addresses, all derived from the lab's name and size.
use std::net::Ipv4Addr;

use cortenadm::topology::{self, Cluster, Machine, ProgramName};
use serde::{Deserialize, Serialize};

pub(crate) const MASTERS_MAX: i64 = 7;
pub(crate) const WORKERS_MAX: i64 = 100;
/// Interface names have 15 characters at most; `<lab>-lab0` must fit.
pub(crate) const NAME_LEN_MAX: usize = 8;
pub(crate) const API_PORT: u16 = topology::cluster::API_PORT;
pub(crate) const REGISTRY_PORT: u16 = 5000;

/// All nodes share one disk with whatever else is on it: a tenth of that says nothing of what a lab needs.
const EVICTION_HARD: &str = "memory.available<100Mi,nodefs.available<1Gi,pid.available<5%";
const FIRST_MASTER: u8 = 11;
const FIRST_WORKER: u8 = 21;

/// How many nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) masters: u8,
    pub(crate) workers: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Master,
    Worker,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodePlan {
    /// The Node's name and host name: `master1`, `worker2`.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) ip: Ipv4Addr,
    /// Its network namespace under /run/netns.
    pub(crate) netns: String,
}

impl NodePlan {
    /// The node as the topology of a cluster knows it.
    pub(crate) fn machine(&self) -> Machine {
        let role = match self.role {
            Role::Master => topology::Role::Master,
            Role::Worker => topology::Role::Worker,
        };
        Machine { name: self.name.clone(), ip: self.ip.into(), role }
    }
}

/// A whole lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) lab: String,
    pub(crate) size: Size,
    /// Third byte of 172.30.X.0/24.
    pub(crate) subnet: u8,
    pub(crate) nodes: Vec<NodePlan>,
}

impl Plan {
    pub(crate) fn new(lab: &str, size: Size, subnet: u8) -> Self {
        let node = |role, number: u8| {
            let (word, first) = match role {
                Role::Master => ("master", FIRST_MASTER),
                Role::Worker => ("worker", FIRST_WORKER),
            };
            let name = format!("{word}{number}");
            let netns = format!("{lab}-{name}");
            NodePlan { netns, name, role, ip: Ipv4Addr::new(172, 30, subnet, first + number - 1) }
        };
        let masters = (1..=size.masters).map(|number| node(Role::Master, number));
        let workers = (1..=size.workers).map(|number| node(Role::Worker, number));
        Self { lab: lab.to_owned(), size, subnet, nodes: masters.chain(workers).collect() }
    }

    /// The host's address in the lab.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, self.subnet, 1)
    }

    /// The host's link into the lab.
    pub(crate) fn host_link(&self) -> String {
        format!("{}-lab0", self.lab)
    }

    /// The namespace that holds the bridge.
    pub(crate) fn switch_netns(&self) -> String {
        format!("{}-switch", self.lab)
    }

    pub(crate) fn masters(&self) -> impl Iterator<Item = &NodePlan> {
        self.nodes.iter().filter(|node| node.role == Role::Master)
    }

    pub(crate) fn node(&self, name: &str) -> Option<&NodePlan> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The cluster that the lab is: as an administrator's, but for where images come from and how full a disk may be.
    pub(crate) fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::new(&self.lab, self.masters().map(NodePlan::machine).collect());
        let kubelet = [
            format!("--registry-mirror=docker.io=http://{}", self.registry()),
            format!("--eviction-hard={EVICTION_HARD}"),
        ];
        cluster.extra_args.insert(ProgramName::Kubelet, kubelet.into());
        cluster
    }

    /// As a kubelet's `--registry-mirror` wants it.
    pub(crate) fn registry(&self) -> String {
        format!("{}:{REGISTRY_PORT}", self.gateway())
    }
}

/// The subnet a lab tries first: 0 for the default lab, so that documentation can name addresses.
pub(crate) fn first_subnet(lab: &str) -> u8 {
    if lab == "corten" {
        return 0;
    }
    // FNV-1a: the same on every run, which std's hasher does not promise.
    let hash = lab.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash % 250) as u8 + 1
}

/// Why a lab's name cannot be used, if so.
pub(crate) fn bad_name(name: &str) -> Option<String> {
    let good = !name.is_empty()
        && name.len() <= NAME_LEN_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    (!good).then(|| {
        format!("CORTEN_LAB={name:?} is no name for a lab: use 1 to {NAME_LEN_MAX} of a-z and 0-9, a letter first")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_names_and_addresses_of_their_own() {
        let plan = Plan::new("corten", Size { masters: 3, workers: 2 }, 0);
        let seen: Vec<String> = plan.nodes.iter().map(|node| format!("{} {}", node.name, node.ip)).collect();
        let expected = [
            "master1 172.30.0.11",
            "master2 172.30.0.12",
            "master3 172.30.0.13",
            "worker1 172.30.0.21",
            "worker2 172.30.0.22",
        ];
        assert_eq!(seen, expected);
        assert_eq!(plan.cluster().api_urls().len(), 3);
        assert_eq!(plan.registry(), "172.30.0.1:5000");
    }

    #[test]
    fn the_largest_lab_fits_its_subnet_and_interface_names() {
        let size = Size { masters: MASTERS_MAX as u8, workers: WORKERS_MAX as u8 };
        let plan = Plan::new("abcdefgh", size, 250);
        let mut ips: Vec<_> = plan.nodes.iter().map(|node| node.ip).collect();
        ips.dedup();
        assert_eq!(ips.len(), (MASTERS_MAX + WORKERS_MAX) as usize);
        assert!(plan.host_link().len() <= 15);
    }

    #[test]
    fn names_are_checked() {
        let cases =
            [("corten", true), ("e2e1", true), ("", false), ("1lab", false), ("Lab", false), ("toolongname", false)];
        for (name, good) in cases {
            assert_eq!(bad_name(name).is_none(), good, "{name}");
        }
        assert_eq!(first_subnet("corten"), 0);
        assert_ne!(first_subnet("e2e"), 0);
    }
}
