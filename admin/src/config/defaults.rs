//! What a setting is that nobody gave: some defaults depend on other settings, two on the machine.
use std::net::{Ipv4Addr, UdpSocket};

use corten_api::networks;
use ipnet::Ipv4Net;

use super::{Invalid, Settings};
use crate::topology::cluster::{API_PORT, ETCD_HEARTBEAT_MS};

/// Where the cluster's DNS is in the service network.
const DNS_OFFSET: u32 = 10;
/// A documentation address: nothing is sent there, the kernel only says by which of ours it would be.
const FAR_AWAY: &str = "192.0.2.1:9";

/// What defaults have to know of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    /// The one that the default route uses.
    pub address: Option<Ipv4Addr>,
}

impl Host {
    pub fn this() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { name: name.trim().to_lowercase(), address: default_address() }
    }
}

fn default_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(FAR_AWAY).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    }
}

/// After this every setting is there.
pub(super) fn fill(given: Settings, host: &Host) -> Result<Settings, Invalid> {
    let service_cidr = given.service_cidr.map_or_else(|| network("serviceCidr", networks::SERVICE_CIDR), Ok)?;
    let pod_network = given.pod_network_cidr.map_or_else(|| network("podNetworkCidr", networks::CLUSTER_CIDR), Ok)?;
    let address = given.apiserver_advertise_address.or(host.address).ok_or_else(|| {
        Invalid::new("apiserverAdvertiseAddress", "this machine has no default route to take it from: say which it is")
    })?;
    let heartbeat = given.etcd_heartbeat_interval.unwrap_or(ETCD_HEARTBEAT_MS);
    Ok(Settings {
        cluster_name: given.cluster_name.or_else(|| Some("corten".into())),
        node_name: given.node_name.or_else(|| Some(host.name.clone())),
        apiserver_advertise_address: Some(address),
        apiserver_bind_port: given.apiserver_bind_port.or(Some(API_PORT)),
        pod_network_cidr: Some(pod_network),
        node_cidr_mask_size: given.node_cidr_mask_size.or(Some(24)),
        service_cidr: Some(service_cidr),
        service_node_port_range: given.service_node_port_range.or_else(|| Some("30000-32767".into())),
        service_dns_domain: given.service_dns_domain.or_else(|| Some(networks::CLUSTER_DOMAIN.into())),
        cluster_dns: given.cluster_dns.or(Some(address_in(service_cidr, DNS_OFFSET))),
        etcd_heartbeat_interval: Some(heartbeat),
        etcd_election_timeout: given.etcd_election_timeout.or(Some(heartbeat.saturating_mul(10))),
        apiserver_cert_extra_sans: Some(given.apiserver_cert_extra_sans.unwrap_or_default()),
        etcd_extra_args: Some(given.etcd_extra_args.unwrap_or_default()),
        apiserver_extra_args: Some(given.apiserver_extra_args.unwrap_or_default()),
        scheduler_extra_args: Some(given.scheduler_extra_args.unwrap_or_default()),
        controllers_extra_args: Some(given.controllers_extra_args.unwrap_or_default()),
        kubelet_extra_args: Some(given.kubelet_extra_args.unwrap_or_default()),
        proxy_extra_args: Some(given.proxy_extra_args.unwrap_or_default()),
        ignore_preflight_errors: Some(given.ignore_preflight_errors.unwrap_or_default()),
    })
}

fn network(key: &str, text: &str) -> Result<Ipv4Net, Invalid> {
    text.parse().map_err(|_| Invalid::new(key, format!("{text} is no network")))
}

/// The address so far from a network's first.
pub(super) fn address_in(network: Ipv4Net, offset: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(network.network().to_bits().saturating_add(offset))
}
