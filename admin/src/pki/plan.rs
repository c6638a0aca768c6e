//! Which certificates a cluster wants: names, groups, addresses and uses, as data.
use std::net::IpAddr;

use corten_api::networks;

/// Who signs. Three authorities, so that a cluster client is neither an etcd client nor believed whom it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    Cluster,
    Etcd,
    /// Whoever has a certificate of it may say whose requests he passes on.
    FrontProxy,
}

impl Authority {
    pub const ALL: [Self; 3] = [Self::Cluster, Self::Etcd, Self::FrontProxy];

    pub fn file_stem(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::Etcd => "etcd/ca",
            Self::FrontProxy => "front-proxy-ca",
        }
    }

    pub fn common_name(self) -> &'static str {
        match self {
            Self::Cluster => "corten-ca",
            Self::Etcd => "corten-etcd-ca",
            Self::FrontProxy => "corten-front-proxy-ca",
        }
    }
}

/// Which side of a TLS connection a certificate may stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Client,
    Server,
    /// etcd members are both to each other.
    Both,
}

/// One certificate as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertPlan {
    /// Path in the PKI directory without `.crt`/`.key`.
    pub file_stem: String,
    pub authority: Authority,
    /// The user name the apiserver sees (CN).
    pub common_name: String,
    /// The group the apiserver sees (O). One at most: rcgen keeps a single `O=` in a name.
    pub organization: Option<String>,
    /// DNS names and IP addresses, as text.
    pub sans: Vec<String>,
    pub usage: Usage,
}

/// What must be known of a cluster to plan its certificates.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// Addresses and names by which apiservers are reached, besides those every cluster has.
    pub apiserver_sans: Vec<String>,
    /// Addresses and names of etcd members, besides loopback.
    pub etcd_sans: Vec<String>,
    /// ClusterIP of the `kubernetes` Service.
    pub service_ip: Option<IpAddr>,
    /// What the cluster's names end with.
    pub cluster_domain: String,
}

impl Default for ClusterPlan {
    fn default() -> Self {
        Self {
            apiserver_sans: Vec::new(),
            etcd_sans: Vec::new(),
            service_ip: None,
            cluster_domain: networks::CLUSTER_DOMAIN.into(),
        }
    }
}

impl ClusterPlan {
    /// Everything that belongs to the control plane, in a fixed order.
    pub fn certificates(&self) -> Vec<CertPlan> {
        vec![
            self.apiserver(),
            client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters")),
            CertPlan {
                authority: Authority::Etcd,
                ..client("apiserver-etcd-client", "kube-apiserver-etcd-client", None)
            },
            CertPlan { authority: Authority::FrontProxy, ..client("front-proxy-client", "front-proxy-client", None) },
            self.etcd("etcd/server", Usage::Both),
            self.etcd("etcd/peer", Usage::Both),
            client("admin", "kubernetes-admin", Some("system:masters")),
            client("scheduler", "system:kube-scheduler", None),
            client("controller-manager", "system:kube-controller-manager", None),
        ]
    }

    fn apiserver(&self) -> CertPlan {
        let mut sans: Vec<String> =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned).into();
        // A certificate's names have no dot at the end, as a flag may.
        sans.push(format!("kubernetes.default.svc.{}", self.cluster_domain.trim_end_matches('.')));
        sans.extend(["localhost", "127.0.0.1"].map(str::to_owned));
        sans.extend(self.service_ip.map(|ip| ip.to_string()));
        sans.extend(self.apiserver_sans.iter().cloned());
        CertPlan {
            file_stem: "apiserver".into(),
            authority: Authority::Cluster,
            common_name: "kube-apiserver".into(),
            organization: None,
            sans: unique(sans),
            usage: Usage::Server,
        }
    }

    fn etcd(&self, stem: &str, usage: Usage) -> CertPlan {
        let mut sans: Vec<String> = ["localhost", "127.0.0.1"].map(str::to_owned).into();
        sans.extend(self.etcd_sans.iter().cloned());
        CertPlan {
            file_stem: stem.into(),
            authority: Authority::Etcd,
            common_name: "etcd".into(),
            organization: None,
            sans: unique(sans),
            usage,
        }
    }
}

/// The certificates of one node's programs, under `nodes/<name>/`: `kubelet` (client), `kubelet-server` and `proxy`.
/// Each names its node, so that a key that was taken from one node is worth nothing beyond it, and is replaced alone.
pub fn node_plan(node: &str, addresses: &[String]) -> Vec<CertPlan> {
    let user = format!("system:node:{node}");
    let mut sans = vec![node.to_owned()];
    sans.extend(addresses.iter().cloned());
    let as_client = client(&format!("nodes/{node}/kubelet"), &user, Some("system:nodes"));
    let as_server = CertPlan {
        file_stem: format!("nodes/{node}/kubelet-server"),
        sans: unique(sans),
        usage: Usage::Server,
        ..as_client.clone()
    };
    let user = format!("system:kube-proxy:{node}");
    let proxy = client(&format!("nodes/{node}/proxy"), &user, Some("system:node-proxiers"));
    vec![as_client, as_server, proxy]
}

fn client(stem: &str, user: &str, group: Option<&str>) -> CertPlan {
    CertPlan {
        file_stem: stem.into(),
        authority: Authority::Cluster,
        common_name: user.into(),
        organization: group.map(str::to_owned),
        sans: Vec::new(),
        usage: Usage::Client,
    }
}

fn unique(sans: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let canonical = sans.into_iter().map(|san| canonical(&san));
    canonical.filter(|san| seen.insert(san.clone())).collect()
}

/// An address as certificates are asked for it: there is one way to write it.
pub fn canonical(san: &str) -> String {
    san.parse::<IpAddr>().map_or_else(|_| san.to_owned(), |ip| ip.to_string())
}
