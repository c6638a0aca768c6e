//! The programs of every node: containerd, kubelet, proxy.
use super::cluster::{KUBELET_METRICS_PORT, KUBELET_PORT, PROXY_METRICS_PORT};
use super::layout::Layout;
use super::name::ProgramName;
use super::program::{Builder, Program, Setting};
use super::sandbox;
use super::variable::{Values, Variable};

const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
/// Of the unit that containerd comes with, which is left as it is.
const CONTAINERD_RESTART_SECS: u32 = 5;

const KUBELET_SETTINGS: &[Setting] = &[
    Setting { why: "Nobody looks after this node's pods while it is gone.", lines: &["OOMScoreAdjust=-999"] },
    Setting {
        why: "Log writers of interactive containers are its children: a restart must leave them alone, and no limit may end\n\
              them.",
        lines: &["KillMode=process", "Delegate=yes", "TasksMax=infinity"],
    },
    Setting { why: "Watches of files, and connections into containers.", lines: &["LimitNOFILE=1048576"] },
];
const PROXY_SETTINGS: &[Setting] = &[
    Setting { why: "Services change no more while it is gone.", lines: &["OOMScoreAdjust=-998"] },
    Setting { why: "What it leaks must not take the machine along.", lines: &["MemoryMax=40%", "TasksMax=4096"] },
];

/// In the order of starting.
pub(super) fn programs(values: Values<'_>, layout: &Layout) -> [Program; 3] {
    [containerd(values, layout), kubelet(values, layout), proxy(values, layout)]
}

/// containerd without CRI: the kubelet speaks to its native services.
pub fn containerd_toml() -> String {
    format!(
        "version = 2\n\
         root = \"/var/lib/containerd\"\n\
         state = \"/run/containerd\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.snapshotter.v1.aufs\", \
         \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.devmapper\", \
         \"io.containerd.snapshotter.v1.zfs\", \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\n\
         address = \"{CONTAINERD_SOCKET}\"\n"
    )
}

fn containerd(values: Values<'_>, layout: &Layout) -> Program {
    Builder::new(ProgramName::Containerd, "containerd, as Corten's nodes run it", values, layout)
        .flag("config", layout.containerd_toml.display())
        .shared_directory("/var/lib/containerd")
        .shared_directory("/run/containerd")
        .notifies()
        .restart_secs(CONTAINERD_RESTART_SECS)
        .done()
}

fn kubelet(values: Values<'_>, layout: &Layout) -> Program {
    let stem = format!("nodes/{}/kubelet", values.get(Variable::NodeName));
    Builder::new(ProgramName::Kubelet, "Corten kubelet", values, layout)
        .client(&stem, KUBELET_METRICS_PORT)
        .flag("node-name", values.get(Variable::NodeName))
        .flag("node-ip", values.get(Variable::NodeIp))
        .flag("listen", format!("0.0.0.0:{KUBELET_PORT}"))
        .pki("server-cert-file", format!("{stem}-server.crt"))
        .pki("server-key-file", format!("{stem}-server.key"))
        .pki("client-ca-file", "ca.crt")
        .flag("root-dir", "/var/lib/corten/kubelet")
        .flag("log-dir", "/var/log/pods")
        .flag("static-pod-dir", "/etc/corten/manifests")
        .flag("containerd", CONTAINERD_SOCKET)
        .flag("cluster-dns", values.get(Variable::ClusterDns))
        .flag("cluster-domain", values.get(Variable::ClusterDomain))
        .directory("/var/lib/corten", 0o755)
        .shared_directory("/var/log/pods")
        .directory("/etc/corten/manifests", 0o755)
        .shared_directory("/etc/cni/net.d")
        .shared_directory("/run/netns")
        .wants(ProgramName::Containerd)
        .settings(KUBELET_SETTINGS)
        .done()
}

fn proxy(values: Values<'_>, layout: &Layout) -> Program {
    let stem = format!("nodes/{}/proxy", values.get(Variable::NodeName));
    Builder::new(ProgramName::Proxy, "Corten proxy: Services, routes and DNS of this node", values, layout)
        .client(&stem, PROXY_METRICS_PORT)
        .flag("node-name", values.get(Variable::NodeName))
        .flag("cluster-cidr", values.get(Variable::ClusterCidr))
        .flag("cluster-dns", values.get(Variable::ClusterDns))
        .flag("cluster-domain", values.get(Variable::ClusterDomain))
        .notifies()
        .settings(PROXY_SETTINGS)
        .settings(sandbox::NETWORK)
        .done()
}
