//! Which programs run on a node, with their command lines and settings files, as data.
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::plan::{API_PORT, DNS_IP, NodePlan, POD_CIDR, Plan, Role, SERVICE_CIDR};
use super::state::Lab;

/// Plain-HTTP /healthz and /metrics of each daemon, on every address of its node.
const KUBELET_METRICS: &str = "0.0.0.0:10248";
const PROXY_METRICS: &str = "0.0.0.0:10249";
const SCHEDULER_METRICS: &str = "0.0.0.0:10251";
const CONTROLLERS_METRICS: &str = "0.0.0.0:10252";

/// Half of etcd's own: after a crash of etcd's leader writes stand still for one to two election timeouts, and for one more
/// round where the votes split. Ten heartbeats each, as etcd asks.
const ETCD_HEARTBEAT_MS: u32 = 50;
const ETCD_ELECTION_MS: u32 = 500;

/// `RestartSec` of our units, and of etcd's as we set it.
const RESTART_SECS: u32 = 1;
/// Of the unit that containerd comes with.
const CONTAINERD_RESTART_SECS: u32 = 5;

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

/// Everything `node` runs, in the order of starting.
pub(crate) fn of_node(lab: &Lab, plan: &Plan, node: &NodePlan) -> Vec<Daemon> {
    let files = Files { lab, plan, node };
    let mut daemons = Vec::new();
    if node.role == Role::Master {
        daemons.extend([files.etcd(), files.apiserver(), files.scheduler(), files.controllers()]);
    }
    daemons.extend([files.containerd(), files.kubelet(), files.proxy()]);
    daemons
}

/// The program's name of a daemon, as it shows in /proc.
pub(crate) fn program_of(daemon: &str) -> Option<&'static str> {
    Some(match daemon {
        "etcd" => "etcd",
        "containerd" => "containerd",
        "apiserver" => "corten-apiserver",
        "scheduler" => "corten-scheduler",
        "controllers" => "corten-controllers",
        "kubelet" => "corten-kubelet",
        "proxy" => "corten-proxy",
        _ => return None,
    })
}

/// containerd without CRI: the kubelet speaks to its native services.
pub(crate) fn containerd_toml() -> String {
    "version = 2\n\
     root = \"/var/lib/containerd\"\n\
     state = \"/run/containerd\"\n\
     disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.snapshotter.v1.aufs\", \
     \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.devmapper\", \
     \"io.containerd.snapshotter.v1.zfs\", \"io.containerd.internal.v1.opt\"]\n\
     [grpc]\n\
     address = \"/run/containerd/containerd.sock\"\n"
        .to_owned()
}

struct Files<'a> {
    lab: &'a Lab,
    plan: &'a Plan,
    node: &'a NodePlan,
}

impl Files<'_> {
    fn ours(&self, name: &str, args: Vec<String>) -> Daemon {
        let program = self.lab.bin_dir().join(format!("corten-{name}"));
        Daemon { name: name.to_owned(), program: text(&program), args, restart_secs: RESTART_SECS }
    }

    fn pki(&self, file: &str) -> String {
        text(&self.lab.pki_dir().join(file))
    }

    /// `--ca-file … --cert-file … --key-file …` and all apiservers.
    fn client(&self, stem: &str, metrics: &str) -> Vec<String> {
        let mut args = vec![flag("apiserver", self.plan.api_urls().join(",")), flag("ca-file", self.pki("ca.crt"))];
        args.push(flag("cert-file", self.pki(&format!("{stem}.crt"))));
        args.push(flag("key-file", self.pki(&format!("{stem}.key"))));
        args.push(flag("metrics-address", metrics));
        args
    }

    fn etcd(&self) -> Daemon {
        let (name, ip) = (&self.node.name, self.node.ip);
        let members: Vec<String> =
            self.plan.masters().map(|master| format!("{}=https://{}:2380", master.name, master.ip)).collect();
        let args = vec![
            flag("name", name),
            flag("data-dir", "/var/lib/etcd"),
            flag("listen-client-urls", format!("https://127.0.0.1:2379,https://{ip}:2379")),
            flag("advertise-client-urls", format!("https://{ip}:2379")),
            flag("listen-peer-urls", format!("https://{ip}:2380")),
            flag("initial-advertise-peer-urls", format!("https://{ip}:2380")),
            flag("initial-cluster", members.join(",")),
            flag("initial-cluster-token", &self.plan.lab),
            flag("client-cert-auth", "true"),
            flag("trusted-ca-file", self.pki("etcd/ca.crt")),
            flag("cert-file", self.pki("etcd/server.crt")),
            flag("key-file", self.pki("etcd/server.key")),
            flag("peer-client-cert-auth", "true"),
            flag("peer-trusted-ca-file", self.pki("etcd/ca.crt")),
            flag("peer-cert-file", self.pki("etcd/peer.crt")),
            flag("peer-key-file", self.pki("etcd/peer.key")),
            flag("heartbeat-interval", ETCD_HEARTBEAT_MS),
            flag("election-timeout", ETCD_ELECTION_MS),
            flag("logger", "zap"),
        ];
        Daemon { name: "etcd".into(), program: "etcd".into(), args, restart_secs: RESTART_SECS }
    }

    fn apiserver(&self) -> Daemon {
        // Its own member first: the shortest way, and the one that fails together with it.
        let mut members: Vec<&NodePlan> = self.plan.masters().collect();
        members.sort_by_key(|member| member.name != self.node.name);
        let mut args = vec![
            flag("listen", format!("0.0.0.0:{API_PORT}")),
            flag("advertise-address", self.node.ip),
            flag("etcd-ca-file", self.pki("etcd/ca.crt")),
            flag("etcd-cert-file", self.pki("apiserver-etcd-client.crt")),
            flag("etcd-key-file", self.pki("apiserver-etcd-client.key")),
            flag("tls-cert-file", self.pki("apiserver.crt")),
            flag("tls-key-file", self.pki("apiserver.key")),
            flag("client-ca-file", self.pki("ca.crt")),
            flag("kubelet-client-cert-file", self.pki("apiserver-kubelet-client.crt")),
            flag("kubelet-client-key-file", self.pki("apiserver-kubelet-client.key")),
            flag("service-account-signing-key-file", self.pki("sa.key")),
            flag("service-account-key-file", self.pki("sa.pub")),
            flag("service-cidr", SERVICE_CIDR),
            flag("node-port-range", "30000-32767"),
        ];
        args.extend(members.iter().map(|member| flag("etcd", format!("https://{}:2379", member.ip))));
        self.ours("apiserver", args)
    }

    fn scheduler(&self) -> Daemon {
        let mut args = self.client("scheduler", SCHEDULER_METRICS);
        args.push(flag("identity", &self.node.name));
        self.ours("scheduler", args)
    }

    fn controllers(&self) -> Daemon {
        let mut args = self.client("controller-manager", CONTROLLERS_METRICS);
        args.push(flag("identity", &self.node.name));
        args.push(flag("cluster-cidr", POD_CIDR));
        args.push(flag("node-cidr-mask-size", "24"));
        args.push(flag("root-ca-file", self.pki("ca.crt")));
        args.push(flag("cluster-signing-cert-file", self.pki("ca.crt")));
        args.push(flag("cluster-signing-key-file", self.pki("ca.key")));
        self.ours("controllers", args)
    }

    fn containerd(&self) -> Daemon {
        let config = text(&self.lab.node_dir(&self.node.name).join("containerd.toml"));
        Daemon {
            name: "containerd".into(),
            program: "containerd".into(),
            args: vec![flag("config", config)],
            restart_secs: CONTAINERD_RESTART_SECS,
        }
    }

    fn kubelet(&self) -> Daemon {
        let stem = format!("nodes/{}/kubelet", self.node.name);
        let mut args = self.client(&stem, KUBELET_METRICS);
        args.extend([
            flag("node-name", &self.node.name),
            flag("node-ip", self.node.ip),
            flag("listen", "0.0.0.0:10250"),
            flag("server-cert-file", self.pki(&format!("{stem}-server.crt"))),
            flag("server-key-file", self.pki(&format!("{stem}-server.key"))),
            flag("client-ca-file", self.pki("ca.crt")),
            flag("root-dir", "/var/lib/corten/kubelet"),
            flag("log-dir", "/var/log/pods"),
            flag("static-pod-dir", "/etc/corten/manifests"),
            flag("containerd", "/run/containerd/containerd.sock"),
            flag("cluster-dns", DNS_IP),
            flag("cluster-domain", "cluster.local"),
            flag("registry-mirror", format!("docker.io=http://{}", self.plan.registry())),
            // All nodes share one disk with whatever else is on it: a tenth of that says nothing of what a lab needs.
            flag("eviction-hard", "memory.available<100Mi,nodefs.available<1Gi,pid.available<5%"),
        ]);
        if self.node.role == Role::Master {
            args.push(flag("register-with-taint", "node-role.kubernetes.io/control-plane:NoSchedule"));
        }
        self.ours("kubelet", args)
    }

    fn proxy(&self) -> Daemon {
        let mut args = self.client(&format!("nodes/{}/proxy", self.node.name), PROXY_METRICS);
        args.extend([
            flag("node-name", &self.node.name),
            flag("cluster-cidr", POD_CIDR),
            flag("cluster-dns", DNS_IP),
            flag("cluster-domain", "cluster.local"),
        ]);
        self.ours("proxy", args)
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::plan::Size;
    use super::*;

    #[test]
    fn masters_run_the_control_plane_and_all_nodes_the_rest() {
        let lab = Lab { name: "corten".into(), dir: "/lab".into() };
        let plan = Plan::new("corten", Size { masters: 2, workers: 1 }, 0);
        let names = |node: &str| -> Vec<String> {
            of_node(&lab, &plan, plan.node(node).unwrap()).into_iter().map(|daemon| daemon.name).collect()
        };
        assert_eq!(names("worker1"), ["containerd", "kubelet", "proxy"]);
        let master = ["etcd", "apiserver", "scheduler", "controllers", "containerd", "kubelet", "proxy"];
        assert_eq!(names("master1"), master);
        assert!(master.iter().all(|name| program_of(name).is_some()));
    }

    /// What a unit, or an addition to one, says of `key`.
    fn setting<'u>(unit: &'u str, key: &str) -> Option<&'u str> {
        unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }

    #[test]
    fn daemons_are_started_again_as_their_units_say() {
        let lab = Lab { name: "corten".into(), dir: "/lab".into() };
        let plan = Plan::new("corten", Size { masters: 1, workers: 0 }, 0);
        let daemons = of_node(&lab, &plan, plan.node("master1").unwrap());
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
        let mut seen = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let (stem, is_unit) = (path.file_stem().unwrap(), path.extension().is_some_and(|e| e == "service"));
            let name = stem.to_str().unwrap().trim_start_matches("corten-");
            if !is_unit && name != "etcd" {
                continue;
            }
            let daemon = daemons.iter().find(|daemon| daemon.name == name);
            let daemon = daemon.unwrap_or_else(|| panic!("the lab has no {name}, {} is its unit", path.display()));
            let unit = std::fs::read_to_string(&path).unwrap();
            let pause = setting(&unit, "RestartSec").and_then(|secs| secs.parse().ok());
            assert_eq!(pause, Some(daemon.restart_secs), "{}", path.display());
            if name == "etcd" {
                assert_eq!(
                    setting(&unit, "Environment=ETCD_HEARTBEAT_INTERVAL"),
                    Some(&*ETCD_HEARTBEAT_MS.to_string())
                );
                assert_eq!(setting(&unit, "Environment=ETCD_ELECTION_TIMEOUT"), Some(&*ETCD_ELECTION_MS.to_string()));
            }
            // Whatever it ended with, and however often.
            assert_eq!(setting(&unit, "Restart"), Some("always"), "{}", path.display());
            assert_eq!(setting(&unit, "StartLimitIntervalSec"), Some("0"), "{}", path.display());
            seen += 1;
        }
        let without_ours = ["containerd"];
        assert_eq!(seen, daemons.len() - without_ours.len(), "every other daemon has a unit of ours");
    }

    #[test]
    fn clients_know_every_apiserver_and_an_apiserver_its_own_etcd_first() {
        let lab = Lab { name: "corten".into(), dir: "/lab".into() };
        let plan = Plan::new("corten", Size { masters: 2, workers: 0 }, 0);
        let daemons = of_node(&lab, &plan, plan.node("master2").unwrap());
        let args = |name: &str| daemons.iter().find(|daemon| daemon.name == name).unwrap().args.clone();
        let all = "--apiserver=https://172.30.0.11:6443,https://172.30.0.12:6443".to_owned();
        for client in ["scheduler", "controllers", "kubelet", "proxy"] {
            assert!(args(client).contains(&all), "{client}");
        }
        let etcd: Vec<String> = args("apiserver").into_iter().filter(|arg| arg.starts_with("--etcd=")).collect();
        assert_eq!(etcd, ["--etcd=https://172.30.0.12:2379", "--etcd=https://172.30.0.11:2379"]);
    }
}
