//! The programs of a master: etcd, apiserver, scheduler, controllers.
use super::cluster::{CONTROLLERS_METRICS_PORT, ETCD_CLIENT_PORT, ETCD_PEER_PORT, SCHEDULER_METRICS_PORT};
use super::layout::Layout;
use super::name::ProgramName;
use super::program::{Builder, Program, Setting};
use super::sandbox;
use super::variable::{Values, Variable};

/// The user that etcd's package makes.
pub(super) const ETCD_USER: &str = "etcd";
const ETCD_SETTINGS: &[Setting] = &[
    Setting {
        why: "The cluster's memory: the last to go when this machine's is short.",
        lines: &["OOMScoreAdjust=-999"],
    },
    Setting { why: "What it leaks must not take the machine along.", lines: &["MemoryMax=50%", "TasksMax=4096"] },
    Setting { why: "Its data are all that it writes.", lines: &["ReadWritePaths=/var/lib/etcd"] },
];
const APISERVER_SETTINGS: &[Setting] = &[
    Setting { why: "All wait when it is gone: it goes late when memory is short.", lines: &["OOMScoreAdjust=-997"] },
    Setting {
        why: "What it leaks must not take the machine along. A thread for each core, and those that wait for disks.",
        lines: &["MemoryMax=60%", "TasksMax=4096"],
    },
    Setting { why: "One for each client and each watch that comes over HTTP/1.1.", lines: &["LimitNOFILE=1048576"] },
    Setting { why: "Watches get their last bookmark before the listener closes.", lines: &["TimeoutStopSec=30"] },
];
const LEADER_SETTINGS: &[Setting] = &[Setting {
    why: "What it leaks must not take the machine along: another master's goes on.",
    lines: &["MemoryMax=40%", "TasksMax=4096"],
}];

/// In the order of starting.
pub(super) fn programs(values: Values<'_>, layout: &Layout) -> [Program; 4] {
    [etcd(values, layout), apiserver(values, layout), scheduler(values, layout), controllers(values, layout)]
}

fn etcd(values: Values<'_>, layout: &Layout) -> Program {
    let ip = values.get(Variable::NodeIp);
    let client_url = format!("https://{ip}:{ETCD_CLIENT_PORT}");
    let peer_url = format!("https://{ip}:{ETCD_PEER_PORT}");
    Builder::new(ProgramName::Etcd, "etcd, as Corten's masters run it", values, layout)
        .user(ETCD_USER)
        .flag("name", values.get(Variable::NodeName))
        .flag("data-dir", layout.etcd_data_dir.display())
        .flag("listen-client-urls", format!("https://127.0.0.1:{ETCD_CLIENT_PORT},{client_url}"))
        .flag("advertise-client-urls", client_url)
        .flag("listen-peer-urls", &peer_url)
        .flag("initial-advertise-peer-urls", peer_url)
        .flag("initial-cluster", values.get(Variable::EtcdMembers))
        .flag("initial-cluster-state", values.get(Variable::EtcdState))
        .flag("initial-cluster-token", values.get(Variable::ClusterName))
        .flag("client-cert-auth", true)
        .pki("trusted-ca-file", "etcd/ca.crt")
        .pki("cert-file", "etcd/server.crt")
        .pki("key-file", "etcd/server.key")
        .flag("peer-client-cert-auth", true)
        .pki("peer-trusted-ca-file", "etcd/ca.crt")
        .pki("peer-cert-file", "etcd/peer.crt")
        .pki("peer-key-file", "etcd/peer.key")
        .flag("heartbeat-interval", values.get(Variable::EtcdHeartbeat))
        .flag("election-timeout", values.get(Variable::EtcdElection))
        .flag("logger", "zap")
        // etcd refuses a data directory that others may read.
        .directory(&layout.etcd_data_dir, 0o700)
        .notifies()
        .settings(ETCD_SETTINGS)
        .settings(sandbox::KEEPS_DATA)
        .done()
}

fn apiserver(values: Values<'_>, layout: &Layout) -> Program {
    Builder::new(ProgramName::Apiserver, "Corten apiserver", values, layout)
        .flag("listen", format!("0.0.0.0:{}", values.get(Variable::ApiPort)))
        .flag("advertise-address", values.get(Variable::NodeIp))
        .flag("etcd", values.get(Variable::EtcdServers))
        .pki("etcd-ca-file", "etcd/ca.crt")
        .pki("etcd-cert-file", "apiserver-etcd-client.crt")
        .pki("etcd-key-file", "apiserver-etcd-client.key")
        .pki("tls-cert-file", "apiserver.crt")
        .pki("tls-key-file", "apiserver.key")
        .pki("client-ca-file", "ca.crt")
        .pki("requestheader-client-ca-file", "front-proxy-ca.crt")
        .flag("requestheader-allowed-names", "front-proxy-client")
        .flag("requestheader-username-headers", "X-Remote-User")
        .flag("requestheader-uid-headers", "X-Remote-Uid")
        .flag("requestheader-group-headers", "X-Remote-Group")
        .flag("requestheader-extra-headers-prefix", "X-Remote-Extra-")
        .pki("proxy-client-cert-file", "front-proxy-client.crt")
        .pki("proxy-client-key-file", "front-proxy-client.key")
        .pki("kubelet-client-cert-file", "apiserver-kubelet-client.crt")
        .pki("kubelet-client-key-file", "apiserver-kubelet-client.key")
        .pki("service-account-signing-key-file", "sa.key")
        .pki("service-account-key-file", "sa.pub")
        .flag("service-cidr", values.get(Variable::ServiceCidr))
        .flag("node-port-range", values.get(Variable::NodePortRange))
        .after(ProgramName::Etcd)
        .notifies()
        .settings(APISERVER_SETTINGS)
        .settings(sandbox::ANY_PORT)
        .settings(sandbox::TALKS_ONLY)
        .done()
}

fn scheduler(values: Values<'_>, layout: &Layout) -> Program {
    Builder::new(ProgramName::Scheduler, "Corten scheduler", values, layout)
        .client("scheduler", SCHEDULER_METRICS_PORT)
        .flag("identity", values.get(Variable::NodeName))
        .after(ProgramName::Apiserver)
        .notifies()
        .settings(LEADER_SETTINGS)
        .settings(sandbox::POWERLESS)
        .settings(sandbox::TALKS_ONLY)
        .done()
}

fn controllers(values: Values<'_>, layout: &Layout) -> Program {
    Builder::new(ProgramName::Controllers, "Corten controllers", values, layout)
        .client("controller-manager", CONTROLLERS_METRICS_PORT)
        .flag("identity", values.get(Variable::NodeName))
        .flag("cluster-cidr", values.get(Variable::ClusterCidr))
        .flag("node-cidr-mask-size", values.get(Variable::NodeCidrMaskSize))
        .pki("root-ca-file", "ca.crt")
        .pki("cluster-signing-cert-file", "ca.crt")
        .pki("cluster-signing-key-file", "ca.key")
        .after(ProgramName::Apiserver)
        .settings(LEADER_SETTINGS)
        .settings(sandbox::POWERLESS)
        .settings(sandbox::TALKS_ONLY)
        .done()
}
