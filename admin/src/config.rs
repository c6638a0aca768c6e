//! A cluster's settings: the same names as flags and in a file, with defaults for what nobody says.
//!
//! [`Settings`] is the one list: clap makes flags of it (`--pod-network-cidr`), serde the file's keys (`podNetworkCidr`). Names
//! are those of upstream's tool where the setting is the same. `file` reads a file strictly, `defaults` fills in what is not
//! given, `cluster` checks the whole and makes the description that the topology takes.
mod cluster;
mod defaults;
mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use cluster::Plan;
pub use defaults::Host;

pub const API_VERSION: &str = "admin.corten.io/v1alpha1";
pub const KIND: &str = "ClusterConfiguration";
const HEADER: &str = "apiVersion: admin.corten.io/v1alpha1\nkind: ClusterConfiguration\n";
/// Where `init` keeps a machine's settings, so that whoever runs it again need not give them again.
pub const KEPT: &str = "/etc/corten/cluster.yaml";

/// What may be set. What is `None` is given by nobody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// The cluster's name, in kubeconfigs and among etcd's members [default: corten]
    #[arg(long)]
    pub cluster_name: Option<String>,
    /// This machine's Node name [default: the host name]
    #[arg(long)]
    pub node_name: Option<String>,
    /// The address at which other machines reach this one [default: the one that the default route uses]
    #[arg(long)]
    pub apiserver_advertise_address: Option<Ipv4Addr>,
    /// Where apiservers listen [default: 6443]
    #[arg(long)]
    pub apiserver_bind_port: Option<u16>,
    /// More names and addresses for the apiservers' certificate, separated by commas [default: none]
    #[arg(long, value_delimiter = ',')]
    pub apiserver_cert_extra_sans: Option<Vec<String>>,
    /// Pods' addresses [default: 10.244.0.0/16]
    #[arg(long)]
    pub pod_network_cidr: Option<Ipv4Net>,
    /// The prefix length of each node's part of the pod network [default: 24]
    #[arg(long)]
    pub node_cidr_mask_size: Option<u8>,
    /// ClusterIPs of Services [default: 10.96.0.0/16]
    #[arg(long)]
    pub service_cidr: Option<Ipv4Net>,
    /// Ports of NodePort Services [default: 30000-32767]
    #[arg(long)]
    pub service_node_port_range: Option<String>,
    /// What the cluster's names end with [default: cluster.local]
    #[arg(long)]
    pub service_dns_domain: Option<String>,
    /// Where pods ask for names [default: the tenth address of the service network]
    #[arg(long)]
    pub cluster_dns: Option<Ipv4Addr>,
    /// Milliseconds between heartbeats of etcd's leader: more than a round trip between masters [default: 50]
    #[arg(long)]
    pub etcd_heartbeat_interval: Option<u32>,
    /// Milliseconds without a heartbeat until etcd elects another leader [default: ten times the heartbeat's]
    #[arg(long)]
    pub etcd_election_timeout: Option<u32>,
    /// Another argument for etcd, such as --quota-backend-bytes=8589934592; repeat for more [default: none]
    #[arg(long, allow_hyphen_values = true)]
    pub etcd_extra_args: Option<Vec<String>>,
    /// Another argument for the apiserver; repeat for more [default: none]
    #[arg(long, allow_hyphen_values = true)]
    pub apiserver_extra_args: Option<Vec<String>>,
    /// Another argument for the scheduler; repeat for more [default: none]
    #[arg(long, allow_hyphen_values = true)]
    pub scheduler_extra_args: Option<Vec<String>>,
    /// Another argument for the controllers; repeat for more [default: none]
    #[arg(long, allow_hyphen_values = true)]
    pub controllers_extra_args: Option<Vec<String>>,
    /// Another argument for this machine's kubelet, such as --node-label=disk=ssd; repeat for more [default: none]
    #[arg(long, allow_hyphen_values = true)]
    pub kubelet_extra_args: Option<Vec<String>>,
    /// Another argument for this machine's proxy; repeat for more [default: none]
    #[arg(long, allow_hyphen_values = true)]
    pub proxy_extra_args: Option<Vec<String>>,
    /// Checks of `preflight` that may fail, separated by commas [default: none]
    #[arg(long, visible_alias = "ignore", value_delimiter = ',')]
    pub ignore_preflight_errors: Option<Vec<String>>,
}

/// Who chose a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Flag,
    /// What was given with --config, or kept.
    File(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is no YAML that can be read", path.display())]
    Yaml { path: PathBuf, source: Box<serde_saphyr::Error> },
    #[error("{}: {invalid}", path.display())]
    InFile { path: PathBuf, invalid: Invalid },
    #[error("{0}")]
    Invalid(Invalid),
    #[error("settings cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// A setting that cannot be what it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Invalid {
    /// The file's key: `podNetworkCidr`.
    pub key: String,
    pub why: String,
}

impl Invalid {
    fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { key: key.into(), why: why.into() }
    }
}

/// Every setting with what it is and who chose it; what nobody did is a default.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    pub settings: Settings,
    /// Without defaults.
    chosen: Settings,
    sources: BTreeMap<String, Source>,
}

impl Effective {
    /// Flags go before the file, the file before what `init` kept, and that before defaults.
    pub fn new(flags: &Settings, file: Option<&Path>, kept: Option<&Path>, host: &Host) -> Result<Self, ConfigError> {
        let mut merged = Map::new();
        let mut sources = BTreeMap::new();
        for path in kept.into_iter().chain(file) {
            let layer = given(&file::read(path)?)?;
            sources.extend(layer.keys().map(|key| (key.clone(), Source::File(path.to_owned()))));
            merged.extend(layer);
        }
        let flags = given(flags)?;
        sources.extend(flags.keys().map(|key| (key.clone(), Source::Flag)));
        merged.extend(flags);
        let chosen: Settings = serde_json::from_value(Value::Object(merged))?;
        let settings = defaults::fill(chosen.clone(), host).map_err(ConfigError::Invalid)?;
        if let Some(path) = kept {
            let before = defaults::fill(file::read(path)?, host).map_err(ConfigError::Invalid)?;
            unchanged(&given(&before)?, &given(&settings)?).map_err(ConfigError::Invalid)?;
        }
        Ok(Self { settings, chosen, sources })
    }

    /// Checked, as what the topology takes.
    pub fn plan(&self) -> Result<Plan, ConfigError> {
        cluster::plan(&self.settings).map_err(ConfigError::Invalid)
    }

    /// A file with what was chosen, for the next time. What is a default is left to be one: but for what this machine is, which
    /// must not change with a name or a route. Checks that may fail are asked for each time.
    pub fn kept(&self) -> Result<String, ConfigError> {
        let kept = Settings {
            node_name: self.settings.node_name.clone(),
            apiserver_advertise_address: self.settings.apiserver_advertise_address,
            ignore_preflight_errors: None,
            ..self.chosen.clone()
        };
        let lines = given(&kept)?.into_iter().map(|(key, value)| format!("{key}: {value}\n"));
        Ok(format!("{HEADER}{}", lines.collect::<String>()))
    }

    /// A file with every setting, and where each came from beside it.
    pub fn show(&self) -> Result<String, ConfigError> {
        let mut text = HEADER.to_owned();
        for (key, value) in given(&self.settings)? {
            let from = match self.sources.get(&key) {
                Some(Source::Flag) => format!("flag --{}", flag_name(&key)),
                Some(Source::File(path)) => format!("file {}", path.display()),
                None => "default".to_owned(),
            };
            // JSON is YAML. Writing to a String cannot fail.
            writeln!(text, "{:<52} # {from}", format!("{key}: {value}")).ok();
        }
        Ok(text)
    }
}

/// A cluster that runs has these in its certificates, its objects and its store.
const FIXED: [&str; 7] =
    ["clusterName", "nodeName", "podNetworkCidr", "nodeCidrMaskSize", "serviceCidr", "serviceDnsDomain", "clusterDns"];

fn unchanged(before: &Map<String, Value>, now: &Map<String, Value>) -> Result<(), Invalid> {
    match FIXED.into_iter().find(|key| before.get(*key) != now.get(*key)) {
        None => Ok(()),
        Some(key) => {
            let value = |settings: &Map<String, Value>| settings.get(key).cloned().unwrap_or_default();
            let why = format!(
                "is {} since `init` made this cluster, and cannot become {}: `cortenadm reset --yes` takes the cluster away, and \
                 `init` makes a new one",
                value(before),
                value(now)
            );
            Err(Invalid::new(key, why))
        }
    }
}

/// What is set, by the file's keys.
fn given(settings: &Settings) -> Result<Map<String, Value>, serde_json::Error> {
    let Value::Object(all) = serde_json::to_value(settings)? else { return Ok(Map::new()) };
    Ok(all.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// `podNetworkCidr` is `--pod-network-cidr`.
fn flag_name(key: &str) -> String {
    let mut name = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
