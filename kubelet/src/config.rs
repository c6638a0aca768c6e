//! The command line, checked once and turned into what the rest works with.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use corten_api::networks;
use k8s_openapi::api::core::v1::Taint;

use crate::images::containerd::Mirror;
use crate::node::eviction::{self, EvictionHard};
use crate::sysctls::Pattern;

/// corten-kubelet: runs the pods that are bound to its node.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "corten-kubelet", version)]
pub struct Config {
    #[command(flatten)]
    pub client: corten_client::Args,
    /// The node's name on the API.
    #[arg(long, value_parser = node_name)]
    pub node_name: String,
    /// The node's address: where other nodes and the apiservers reach it.
    #[arg(long)]
    pub node_ip: IpAddr,
    /// Where logs, exec, attach, port-forward and statistics are served.
    #[arg(long, default_value = "0.0.0.0:10250")]
    pub listen: SocketAddr,
    /// Serving certificate (PEM).
    #[arg(long)]
    pub server_cert_file: PathBuf,
    /// Key of the serving certificate (PEM).
    #[arg(long)]
    pub server_key_file: PathBuf,
    /// The CA that clients of --listen are checked against (PEM).
    #[arg(long)]
    pub client_ca_file: PathBuf,
    /// Where pods' volumes and our own state are kept.
    #[arg(long, default_value = "/var/lib/corten/kubelet")]
    pub root_dir: PathBuf,
    /// Where containers' logs are written.
    #[arg(long, default_value = "/var/log/pods")]
    pub log_dir: PathBuf,
    /// Manifests of pods that run without being asked for on the API.
    #[arg(long)]
    pub static_pod_dir: Option<PathBuf>,
    /// containerd's socket.
    #[arg(long, default_value = "/run/containerd/containerd.sock")]
    pub containerd: PathBuf,
    /// The address of the cluster's DNS.
    #[arg(long, default_value = networks::CLUSTER_DNS)]
    pub cluster_dns: IpAddr,
    #[arg(long, default_value = networks::CLUSTER_DOMAIN)]
    pub cluster_domain: String,
    /// The file that pods' name resolution is made from. If it names systemd's stub alone, the file behind that is taken; empty
    /// means that pods get nothing of the node's.
    #[arg(long, default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
    /// Where images of a registry are asked for first: docker.io=http://10.0.0.1:5000. May be repeated.
    #[arg(long)]
    pub registry_mirror: Vec<Mirror>,
    /// A label for the node: key=value. May be repeated.
    #[arg(long, value_parser = label)]
    pub node_label: Vec<(String, String)>,
    /// A taint to register the node with: key[=value]:Effect. May be repeated.
    #[arg(long, value_parser = taint)]
    pub register_with_taint: Vec<Taint>,
    /// Sysctls that pods may set besides the safe ones: net.core.somaxconn,kernel.msg*.
    #[arg(long, value_delimiter = ',', value_parser = Pattern::parse)]
    pub allowed_unsafe_sysctls: Vec<Pattern>,
    /// The node takes no pods while less than this is available: memory.available, nodefs.available (where --root-dir is) and
    /// pid.available, as an amount or a share. What is not named may be used up.
    #[arg(long, default_value = eviction::DEFAULT)]
    pub eviction_hard: EvictionHard,
    /// The cgroup that pods' cgroups are made in.
    #[arg(long, default_value = "/")]
    pub cgroup_root: String,
}

impl Config {
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.node_label.iter().cloned().collect()
    }
}

fn node_name(text: &str) -> Result<String, String> {
    if corten_api::names::is_dns1123_subdomain(text) {
        Ok(text.into())
    } else {
        Err(corten_api::names::DNS1123_SUBDOMAIN_WHY.into())
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label reads key=value")?;
    if !corten_api::names::is_qualified_name(key) {
        return Err(corten_api::names::QUALIFIED_NAME_WHY.into());
    }
    if !corten_api::names::is_label_value(value) {
        return Err(corten_api::names::LABEL_VALUE_WHY.into());
    }
    Ok((key.into(), value.into()))
}

fn taint(text: &str) -> Result<Taint, String> {
    let (rest, effect) = text.rsplit_once(':').ok_or("a taint reads key[=value]:Effect")?;
    if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        return Err(format!("{effect:?} is none of NoSchedule, PreferNoSchedule, NoExecute"));
    }
    let (key, value) = rest.split_once('=').map_or((rest, None), |(k, v)| (k, Some(v.to_owned())));
    if !corten_api::names::is_qualified_name(key) {
        return Err(corten_api::names::QUALIFIED_NAME_WHY.into());
    }
    let value = value.filter(|v| !v.is_empty());
    Ok(Taint { key: key.into(), value, effect: effect.into(), time_added: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints() {
        let cases = [
            ("node-role.kubernetes.io/control-plane:NoSchedule", true),
            ("a=b:NoExecute", true),
            ("a=:NoExecute", true),
            ("a", false),
            ("a:Never", false),
            ("=b:NoExecute", false),
        ];
        for (text, fine) in cases {
            assert_eq!(taint(text).is_ok(), fine, "{text}");
        }
    }
}
