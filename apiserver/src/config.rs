//! The command line, checked once.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Parser;
use corten_api::networks;
use ipnet::IpNet;

use crate::flowcontrol::{DEFAULT_MAX_MUTATING, DEFAULT_MAX_READ_ONLY};

/// More at once than any machine has use for.
const INFLIGHT_MAX: i64 = 100_000;

/// The Corten apiserver: the cluster's one front door, and etcd's one client.
#[derive(Clone, Debug, Parser)]
#[command(name = "corten-apiserver", version)]
pub struct Config {
    /// Where to serve, TLS only
    #[arg(long, default_value = "0.0.0.0:6443")]
    pub listen: SocketAddr,
    /// The address under which the other nodes reach this server
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,
    /// An etcd endpoint, http:// or https://; repeat for all members
    #[arg(long = "etcd", required = true, value_delimiter = ',')]
    pub etcd: Vec<String>,
    /// PEM file of the CA that signed etcd's certificates
    #[arg(long, requires_all = ["etcd_cert_file", "etcd_key_file"])]
    pub etcd_ca_file: Option<PathBuf>,
    /// PEM file of the certificate shown to etcd
    #[arg(long, requires = "etcd_ca_file")]
    pub etcd_cert_file: Option<PathBuf>,
    #[arg(long, requires = "etcd_ca_file")]
    pub etcd_key_file: Option<PathBuf>,
    /// PEM file of the serving certificate and its chain; read again when it changes
    #[arg(long)]
    pub tls_cert_file: PathBuf,
    #[arg(long)]
    pub tls_key_file: PathBuf,
    /// PEM file of the CA whose client certificates name users (CN) and groups (O)
    #[arg(long)]
    pub client_ca_file: PathBuf,
    /// PEM file of the certificate shown to kubelets
    #[arg(long)]
    pub kubelet_client_cert_file: PathBuf,
    #[arg(long)]
    pub kubelet_client_key_file: PathBuf,
    /// PEM file of the CA that signed the kubelets' serving certificates [default: the --client-ca-file]
    #[arg(long)]
    pub kubelet_ca_file: Option<PathBuf>,
    /// Where ClusterIPs come from
    #[arg(long, default_value = networks::SERVICE_CIDR)]
    pub service_cidr: IpNet,
    /// Ports that NodePort Services may have
    #[arg(long, default_value = "30000-32767", value_parser = parse_port_range)]
    pub node_port_range: RangeInclusive<u16>,
    /// Requests at work at once, with those of --max-mutating-requests-inflight: the sum is shared out by priority and
    /// fairness
    #[arg(long, default_value_t = DEFAULT_MAX_READ_ONLY, value_parser = clap::value_parser!(u32).range(1..=INFLIGHT_MAX))]
    pub max_requests_inflight: u32,
    #[arg(long, default_value_t = DEFAULT_MAX_MUTATING, value_parser = clap::value_parser!(u32).range(1..=INFLIGHT_MAX))]
    pub max_mutating_requests_inflight: u32,
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Config {
    /// The address other nodes use: the one given, or the one listened on if that is a real one.
    pub fn advertised(&self) -> Option<SocketAddr> {
        let ip = self.advertise_address.or_else(|| Some(self.listen.ip()).filter(|ip| !ip.is_unspecified()))?;
        Some(SocketAddr::new(ip, self.listen.port()))
    }
    pub fn kubelet_ca(&self) -> &PathBuf {
        self.kubelet_ca_file.as_ref().unwrap_or(&self.client_ca_file)
    }
}

fn parse_port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("{text:?} is not a range of ports: write it as 30000-32767");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last): (u16, u16) =
        (first.trim().parse().map_err(|_| wrong())?, last.trim().parse().map_err(|_| wrong())?);
    if first == 0 || first > last { Err(wrong()) } else { Ok(first..=last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert_eq!(parse_port_range("30000-32767"), Ok(30000..=32767));
        for bad in ["", "30000", "2-1", "0-5", "1-70000", "a-b"] {
            assert!(parse_port_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_fit_together() {
        let base = "corten-apiserver --etcd http://127.0.0.1:2379 --tls-cert-file c --tls-key-file k --client-ca-file ca --kubelet-client-cert-file c --kubelet-client-key-file k";
        let parse = |more: &str| Config::try_parse_from(format!("{base} {more}").split_whitespace());
        assert_eq!(parse("").unwrap().advertised(), None);
        let config = parse("--advertise-address 10.0.0.1 --etcd http://b:2379").unwrap();
        assert_eq!(config.advertised(), Some("10.0.0.1:6443".parse().unwrap()));
        assert_eq!(config.etcd.len(), 2);
        for bad in ["--max-requests-inflight 0", "--etcd-cert-file x", "--service-cidr 10.96", "--node-port-range 5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
