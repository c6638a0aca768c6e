//! Checks settings against each other and makes the cluster's description of them.
use std::collections::BTreeMap;
use std::net::IpAddr;

use corten_api::names;
use ipnet::Ipv4Net;

use super::defaults::address_in;
use super::{Invalid, Settings};
use crate::pki::{ClusterPlan, canonical};
use crate::topology::cluster::EtcdState;
use crate::topology::{self, Cluster, Layout, Machine, ProgramName, Role, Values};

/// etcd refuses an election timeout of less than five heartbeats, and one of more than this.
const ELECTION_HEARTBEATS_MIN: u32 = 5;
const ELECTION_MS_MAX: u32 = 50_000;
/// A node's part has room for two pods at least.
const NODE_MASK_MAX: u8 = 30;
/// Of upstream: node parts are counted in 16 bits.
const NODE_BITS_MAX: u8 = 16;
/// Where the proxy answers for names.
const DNS_PORT: u16 = 53;
/// A network of Services has more addresses than the few that have a fixed use.
const SERVICE_PREFIX_MAX: u8 = 27;

/// A cluster of one master so far, and that master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub cluster: Cluster,
    pub machine: Machine,
    /// More names for the apiservers' certificate.
    pub cert_extra_sans: Vec<String>,
    pub ignore_preflight_errors: Vec<String>,
}

impl Plan {
    /// The control plane's certificates.
    pub fn certificates(&self) -> ClusterPlan {
        let mut plan = self.cluster.certificates();
        plan.apiserver_sans.extend(self.cert_extra_sans.iter().cloned());
        plan
    }
}

pub(super) fn plan(settings: &Settings) -> Result<Plan, Invalid> {
    let machine = machine(settings)?;
    let (pods, services) =
        (take("podNetworkCidr", settings.pod_network_cidr)?, take("serviceCidr", settings.service_cidr)?);
    networks(settings, &machine, pods, services)?;
    let (heartbeat, election) = etcd(settings)?;
    let mut cluster = Cluster::new(&take("clusterName", settings.cluster_name.clone())?, vec![machine.clone()]);
    check("clusterName", names::is_dns1123_label(&cluster.name), names::DNS1123_LABEL_WHY)?;
    cluster.api_port = take("apiserverBindPort", settings.apiserver_bind_port)?;
    api_port(&cluster, &machine)?;
    cluster.cluster_cidr = pods.to_string();
    cluster.node_cidr_mask_size = take("nodeCidrMaskSize", settings.node_cidr_mask_size)?;
    cluster.service_cidr = services.to_string();
    cluster.service_ip = address_in(services, 1).into();
    cluster.node_port_range = port_range(&take("serviceNodePortRange", settings.service_node_port_range.clone())?)?;
    cluster.cluster_dns = take("clusterDns", settings.cluster_dns)?.into();
    cluster.cluster_domain = domain(&take("serviceDnsDomain", settings.service_dns_domain.clone())?)?;
    (cluster.etcd_heartbeat_ms, cluster.etcd_election_ms) = (heartbeat, election);
    cluster.etcd_state = EtcdState::New;
    cluster.extra_args = extra_args(settings, &cluster, &machine)?;
    let mut cert_extra_sans = settings.apiserver_cert_extra_sans.clone().unwrap_or_default();
    for san in &mut cert_extra_sans {
        *san = canonical(san);
        let name = san.strip_prefix("*.").unwrap_or(san);
        let fine = san.parse::<IpAddr>().is_ok() || names::is_dns1123_subdomain(name);
        check("apiserverCertExtraSans", fine, &format!("{san:?} is neither an address nor a DNS name"))?;
    }
    let ignore_preflight_errors = settings.ignore_preflight_errors.clone().unwrap_or_default();
    Ok(Plan { cluster, machine, cert_extra_sans, ignore_preflight_errors })
}

fn machine(settings: &Settings) -> Result<Machine, Invalid> {
    let name = take("nodeName", settings.node_name.clone())?;
    check("nodeName", names::is_dns1123_subdomain(&name), names::DNS1123_SUBDOMAIN_WHY)?;
    let ip = take("apiserverAdvertiseAddress", settings.apiserver_advertise_address)?;
    let usable = !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast());
    check("apiserverAdvertiseAddress", usable, "other machines cannot reach this one at such an address")?;
    Ok(Machine { name, ip: ip.into(), role: Role::Master })
}

fn networks(settings: &Settings, machine: &Machine, pods: Ipv4Net, services: Ipv4Net) -> Result<(), Invalid> {
    for (key, network) in [("podNetworkCidr", pods), ("serviceCidr", services)] {
        let begins = format!("{network} does not begin with its network's address: is it {}?", network.trunc());
        check(key, network.trunc() == network, &begins)?;
        let IpAddr::V4(ip) = machine.ip else { continue };
        check(key, !network.contains(&ip), &format!("{network} has this machine's own address {ip} in it"))?;
    }
    let apart = !pods.contains(&services.network()) && !services.contains(&pods.network());
    check("serviceCidr", apart, &format!("{services} and the pods' {pods} have addresses in common"))?;
    let roomy = services.prefix_len() <= SERVICE_PREFIX_MAX;
    check("serviceCidr", roomy, &format!("{services} is too small: /{SERVICE_PREFIX_MAX} or larger"))?;
    let mask = take("nodeCidrMaskSize", settings.node_cidr_mask_size)?;
    let range = pods.prefix_len()..=NODE_MASK_MAX.min(pods.prefix_len() + NODE_BITS_MAX);
    let why = format!("must be from {} to {} for parts of {pods}", range.start(), range.end());
    check("nodeCidrMaskSize", range.contains(&mask), &why)?;
    let dns = take("clusterDns", settings.cluster_dns)?;
    let fine = services.contains(&dns) && dns != address_in(services, 0) && dns != address_in(services, 1);
    let why = format!("{dns} must be in {services}, and not {}, which the apiservers have", address_in(services, 1));
    check("clusterDns", fine, &why)
}

/// The port of each other program of a master is its own, and so is that of names, where the proxy answers.
fn api_port(cluster: &Cluster, machine: &Machine) -> Result<(), Invalid> {
    let port = cluster.api_port;
    check("apiserverBindPort", port != 0, "must be a port, 1 to 65535")?;
    let ports = cluster.ports(machine.role).into_iter().filter(|(program, _)| *program != ProgramName::Apiserver);
    let with_names = ports.chain([(ProgramName::Proxy, DNS_PORT)]);
    match with_names.into_iter().find(|(_, other)| *other == port) {
        Some((program, _)) => {
            Err(Invalid::new("apiserverBindPort", format!("{port} is that of the {} on each master", program.as_str())))
        }
        None => Ok(()),
    }
}

fn etcd(settings: &Settings) -> Result<(u32, u32), Invalid> {
    let heartbeat = take("etcdHeartbeatInterval", settings.etcd_heartbeat_interval)?;
    let election = take("etcdElectionTimeout", settings.etcd_election_timeout)?;
    check("etcdHeartbeatInterval", heartbeat > 0, "must be more than 0 ms")?;
    let least = heartbeat.saturating_mul(ELECTION_HEARTBEATS_MIN);
    let why = format!("must be from {least} ms, five heartbeats, to {ELECTION_MS_MAX} ms; ten heartbeats are advised");
    check("etcdElectionTimeout", (least..=ELECTION_MS_MAX).contains(&election), &why)?;
    Ok((heartbeat, election))
}

fn port_range(text: &str) -> Result<String, Invalid> {
    let ports = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let fine = ports.is_some_and(|(first, last): (u16, u16)| first > 0 && first <= last);
    check("serviceNodePortRange", fine, &format!("{text:?} is not a range of ports: write it as 30000-32767"))?;
    Ok(ports.map_or_else(String::new, |(first, last)| format!("{first}-{last}")))
}

fn domain(text: &str) -> Result<String, Invalid> {
    check("serviceDnsDomain", names::is_dns1123_subdomain(text.trim_end_matches('.')), names::DNS1123_SUBDOMAIN_WHY)?;
    Ok(text.to_owned())
}

type ExtraArgs = BTreeMap<ProgramName, Vec<String>>;

/// They end up in a file where systemd takes them apart at spaces. What is set here already may not be given again.
fn extra_args(settings: &Settings, cluster: &Cluster, machine: &Machine) -> Result<ExtraArgs, Invalid> {
    let given = [
        (ProgramName::Etcd, "etcdExtraArgs", &settings.etcd_extra_args),
        (ProgramName::Apiserver, "apiserverExtraArgs", &settings.apiserver_extra_args),
        (ProgramName::Scheduler, "schedulerExtraArgs", &settings.scheduler_extra_args),
        (ProgramName::Controllers, "controllersExtraArgs", &settings.controllers_extra_args),
        (ProgramName::Kubelet, "kubeletExtraArgs", &settings.kubelet_extra_args),
        (ProgramName::Proxy, "proxyExtraArgs", &settings.proxy_extra_args),
    ];
    let programs = topology::programs(machine.role, Values::Of(cluster, machine), &Layout::machine());
    let flag = |arg: &str| arg.split('=').next().unwrap_or_default().to_owned();
    let mut all = ExtraArgs::new();
    for (name, key, args) in given {
        let args = args.clone().unwrap_or_default();
        for arg in &args {
            let plain = arg.starts_with("--") && !arg.contains(|c: char| c.is_whitespace() || "\"'\\$".contains(c));
            check(key, plain, &format!("{arg:?} must read --name=value, without spaces, quotes, backslashes and $"))?;
            let program = programs.iter().find(|program| program.name == name);
            let ours = program.is_some_and(|program| program.args.iter().any(|set| flag(set) == flag(arg)));
            let why = format!("{} is set by cortenadm: see the settings of `cortenadm config show`", flag(arg));
            check(key, !ours || flag(arg) == "--register-with-taint", &why)?;
        }
        if !args.is_empty() {
            all.insert(name, args);
        }
    }
    Ok(all)
}

/// Defaults are filled in before, so that this only fails for who forgot to.
fn take<T>(key: &str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::new(key, "is not set"))
}

fn check(key: &str, fine: bool, why: &str) -> Result<(), Invalid> {
    if fine { Ok(()) } else { Err(Invalid::new(key, why)) }
}
