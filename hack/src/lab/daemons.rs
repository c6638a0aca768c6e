//! Which programs run on a node: the topology of a machine, as processes and in a lab's own places.
use std::path::PathBuf;

use cortenadm::topology::program::Directory;
use cortenadm::topology::{self, Layout, Program, ProgramName, Values};
use serde::{Deserialize, Serialize};

use super::plan::{NodePlan, Plan};
use super::state::Lab;

/// A program that a node keeps running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Daemon {
    /// What people call it: `kubelet`, `apiserver`, …
    pub(crate) name: String,
    /// Path, or a name on PATH.
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    /// The pause before it is started again, whenever it ends: its unit's `RestartSec`.
    pub(crate) restart_secs: u32,
}

impl From<Program> for Daemon {
    fn from(program: Program) -> Self {
        Self {
            name: program.name.as_str().to_owned(),
            program: program.binary,
            args: program.args,
            restart_secs: program.restart_secs,
        }
    }
}

/// Everything `node` runs, in the order of starting.
pub(crate) fn of_node(lab: &Lab, plan: &Plan, node: &NodePlan) -> Vec<Daemon> {
    programs(lab, plan, node).into_iter().map(Daemon::from).collect()
}

/// The directories that its programs want, with their modes.
pub(crate) fn directories(lab: &Lab, plan: &Plan, node: &NodePlan) -> Vec<(PathBuf, u32)> {
    let each = |program: Program| program.directories.into_iter();
    let pair = |directory: Directory| (directory.path, directory.mode);
    programs(lab, plan, node).into_iter().flat_map(each).map(pair).collect()
}

/// The program's name of a daemon, as it shows in /proc.
pub(crate) fn program_of(daemon: &str) -> Option<&'static str> {
    ProgramName::parse(daemon).map(ProgramName::binary)
}

/// Where a node's containerd has its settings.
pub(crate) fn containerd_toml(lab: &Lab, node: &NodePlan) -> PathBuf {
    lab.node_dir(&node.name).join("containerd.toml")
}

fn programs(lab: &Lab, plan: &Plan, node: &NodePlan) -> Vec<Program> {
    let (cluster, machine) = (plan.cluster(), node.machine());
    topology::programs(machine.role, Values::Of(&cluster, &machine), &layout(lab, node))
}

/// Nodes share the host's programs and the lab's directory; whoever looks at a lab's metrics is on the host.
fn layout(lab: &Lab, node: &NodePlan) -> Layout {
    Layout {
        bin_dir: lab.bin_dir(),
        system_bin_dir: None,
        pki_dir: lab.pki_dir(),
        containerd_toml: containerd_toml(lab, node),
        etcd_data_dir: "/var/lib/etcd".into(),
        metrics_host: "0.0.0.0".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Size;
    use super::*;

    fn daemons_of(node: &str, masters: u8) -> Vec<Daemon> {
        let lab = Lab { name: "corten".into(), dir: "/lab".into() };
        let plan = Plan::new("corten", Size { masters, workers: 1 }, 0);
        of_node(&lab, &plan, plan.node(node).unwrap())
    }

    #[test]
    fn masters_run_the_control_plane_and_all_nodes_the_rest() {
        let names = |node: &str| -> Vec<String> { daemons_of(node, 2).into_iter().map(|daemon| daemon.name).collect() };
        assert_eq!(names("worker1"), ["containerd", "kubelet", "proxy"]);
        let master = ["etcd", "apiserver", "scheduler", "controllers", "containerd", "kubelet", "proxy"];
        assert_eq!(names("master1"), master);
        assert!(master.iter().all(|name| program_of(name).is_some()));
    }

    #[test]
    fn what_a_lab_has_elsewhere_than_a_machine() {
        let daemons = daemons_of("master1", 1);
        let daemon = |name: &str| daemons.iter().find(|daemon| daemon.name == name).unwrap();
        let programs = [
            ("etcd", "etcd"),
            ("containerd", "containerd"),
            ("apiserver", "/lab/bin/corten-apiserver"),
            ("kubelet", "/lab/bin/corten-kubelet"),
        ];
        for (name, program) in programs {
            assert_eq!(daemon(name).program, program);
        }
        let cases = [
            ("etcd", "--data-dir=/var/lib/etcd"),
            ("etcd", "--initial-cluster=master1=https://172.30.0.11:2380"),
            ("etcd", "--initial-cluster-token=corten"),
            ("etcd", "--peer-key-file=/lab/pki/etcd/peer.key"),
            ("containerd", "--config=/lab/nodes/master1/containerd.toml"),
            ("scheduler", "--metrics-address=0.0.0.0:10251"),
            ("controllers", "--cluster-signing-key-file=/lab/pki/ca.key"),
            ("kubelet", "--cert-file=/lab/pki/nodes/master1/kubelet.crt"),
            ("kubelet", "--registry-mirror=docker.io=http://172.30.0.1:5000"),
            ("kubelet", "--register-with-taint=node-role.kubernetes.io/control-plane:NoSchedule"),
            ("proxy", "--cluster-cidr=10.244.0.0/16"),
        ];
        for (name, arg) in cases {
            assert!(daemon(name).args.iter().any(|given| given == arg), "{name} {arg}: {:?}", daemon(name).args);
        }
        let of_worker = daemons_of("worker1", 1);
        assert!(of_worker.iter().all(|daemon| daemon.args.iter().all(|arg| !arg.contains("register-with-taint"))));
    }
}
