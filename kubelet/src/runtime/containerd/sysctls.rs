//! Sysctls of a pod as files, and whether a namespace of the pod's own keeps them from the node. Pure.
//!
//! <https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/>

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::runtime::{BadSpec, Network, SandboxSpec};
use crate::sysctls::{dotted, swapped};

/// Two that spare containers a capability: low ports and ping are open to every user inside.
const USUAL: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];
/// Those of the IPC namespace, besides all under `fs.mqueue`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Which namespaces the pod has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Separate {
    pub(super) network: bool,
    pub(super) ipc: bool,
}

impl Separate {
    pub(super) fn of(spec: &SandboxSpec) -> Self {
        Self { network: spec.network != Network::Host, ipc: !spec.host_ipc }
    }

    fn keeps(self, name: &str) -> bool {
        if name.starts_with("net.") {
            self.network
        } else {
            self.ipc && (name.starts_with("fs.mqueue.") || IPC.contains(&name))
        }
    }
}

/// The files to write and what to write to them.
pub(super) fn of(spec: &SandboxSpec) -> Result<Vec<(PathBuf, String)>, BadSpec> {
    let separate = Separate::of(spec);
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    if separate.network {
        all.extend(USUAL);
    }
    all.extend(spec.sysctls.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.into_iter().map(|(name, value)| Ok((path(name, separate)?, value.to_owned()))).collect()
}

/// The file of a sysctl that a namespace of the pod's own keeps; which of those a pod may set is the kubelet's to say.
fn path(name: &str, separate: Separate) -> Result<PathBuf, BadSpec> {
    let slashed = swapped(&dotted(name));
    let odd = slashed.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if odd || !separate.keeps(&slashed.replace('/', ".")) {
        return Err(BadSpec::ForeignSysctl(name.to_owned()));
    }
    Ok(Path::new("/proc/sys").join(slashed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_pods_namespaces_keep_may_be_set() {
        let own = Separate { network: true, ipc: true };
        let hosts = Separate { network: false, ipc: false };
        let cases = [
            ("net.core.somaxconn", own, Some("/proc/sys/net/core/somaxconn")),
            ("net/ipv4/conf/eth0.1/forwarding", own, Some("/proc/sys/net/ipv4/conf/eth0.1/forwarding")),
            ("net.ipv4.conf.eth0/1.forwarding", own, Some("/proc/sys/net/ipv4/conf/eth0.1/forwarding")),
            ("kernel.sem", own, Some("/proc/sys/kernel/sem")),
            ("kernel/shm_rmid_forced", own, Some("/proc/sys/kernel/shm_rmid_forced")),
            ("fs.mqueue.msg_max", own, Some("/proc/sys/fs/mqueue/msg_max")),
            ("kernel.panic", own, None),
            ("vm.swappiness", own, None),
            ("net/../kernel/panic", own, None),
            ("net..core", own, None),
            ("", own, None),
            ("net.core.somaxconn", hosts, None),
            ("kernel.sem", hosts, None),
        ];
        for (name, separate, expected) in cases {
            assert_eq!(path(name, separate).ok(), expected.map(PathBuf::from), "{name:?}");
        }
    }
}
