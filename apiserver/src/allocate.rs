//! Which addresses and node ports a Service claims and gives up. Pure: the write path turns a plan into writes that are
//! committed with the Service itself, so that no two apiservers ever give one away twice.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/>

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use corten_api::Problems;
use ipnet::{IpNet, Ipv4Net};
use k8s_openapi::api::core::v1::ServiceSpec;

use crate::registry::service::defaults::{is_headless, needs_cluster_ip, needs_node_ports};

/// Addresses at the range's beginning that are given to nobody who does not ask for one of them by name, while there
/// are others: as upstream, a sixteenth of the range between these bounds.
const STATIC_BAND_MIN: u32 = 16;
const STATIC_BAND_MAX: u32 = 256;
/// The cluster's DNS answers here (10.96.0.10); only who names it gets it.
const DNS_OFFSET: u32 = 10;
/// Random tries before a search.
const RANDOM_TRIES: u32 = 32;

/// What there is to give away.
#[derive(Clone, Debug)]
pub(crate) struct Ranges {
    /// The cluster's own first.
    pub(crate) cidrs: Vec<IpNet>,
    pub(crate) ports: RangeInclusive<u16>,
}

/// One thing that only one Service may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    Ip(IpAddr),
    Port(u16),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) take: Vec<Claim>,
    pub(crate) free: Vec<Claim>,
}

/// Why there is no plan.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    Invalid(Problems),
    /// Nothing is left.
    Full(&'static str),
}

/// What a plan may look at: who holds what, and chance.
pub(crate) struct World<'a> {
    pub(crate) ranges: &'a Ranges,
    /// Whether another Service has it.
    pub(crate) held: &'a dyn Fn(Claim) -> bool,
    /// A number below the given one.
    pub(crate) random: &'a dyn Fn(u32) -> u32,
}

/// Fills in what `spec` leaves to the allocator, and says what changes hands. `old`: the Service as it is.
pub(crate) fn plan(spec: &mut ServiceSpec, old: Option<&ServiceSpec>, world: &World<'_>) -> Result<Plan, Refusal> {
    let had = old.map(claims).unwrap_or_default();
    let mut problems = Problems::default();
    families(spec, &mut problems);
    address(spec, &had, world, &mut problems)?;
    ports(spec, &had, world, &mut problems)?;
    if !problems.is_empty() {
        return Err(Refusal::Invalid(problems));
    }
    let has = claims(spec);
    Ok(Plan { take: has.difference(&had).copied().collect(), free: had.difference(&has).copied().collect() })
}

/// All that a Service has.
pub(crate) fn claims(spec: &ServiceSpec) -> BTreeSet<Claim> {
    let mut claims = BTreeSet::new();
    if needs_cluster_ip(spec) {
        let ips = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        claims.extend(ips.filter_map(|ip| ip.parse().ok()).map(Claim::Ip));
    }
    let ports = spec.ports.iter().flatten().filter_map(|p| p.node_port).chain(spec.health_check_node_port);
    claims.extend(ports.filter_map(port_number).map(Claim::Port));
    claims
}

/// 0 means: to be allocated.
fn port_number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|p| *p != 0)
}

/// The cluster has one family of addresses.
fn families(spec: &ServiceSpec, problems: &mut Problems) {
    if !needs_cluster_ip(spec) || is_headless(spec) {
        return;
    }
    if spec.ip_family_policy.as_deref() == Some("RequireDualStack") {
        let why = "this cluster is not configured for dual-stack services";
        problems.invalid("spec.ipFamilyPolicy", "RequireDualStack", why);
    }
    for (i, family) in spec.ip_families.iter().flatten().enumerate() {
        if family != "IPv4" {
            problems.invalid(format!("spec.ipFamilies[{i}]"), family, "not configured on this cluster");
        }
    }
}

fn address(
    spec: &mut ServiceSpec,
    had: &BTreeSet<Claim>,
    world: &World<'_>,
    problems: &mut Problems,
) -> Result<(), Refusal> {
    if !needs_cluster_ip(spec) || is_headless(spec) {
        return Ok(());
    }
    let given = spec.cluster_ip.clone().filter(|ip| !ip.is_empty());
    let Some(given) = given else {
        let ip = free_address(world)?.to_string();
        spec.cluster_ips = Some(vec![ip.clone()]);
        spec.cluster_ip = Some(ip);
        return Ok(());
    };
    spec.cluster_ips.get_or_insert_with(|| vec![given.clone()]);
    // What is no address at all, validation has refused.
    let Ok(ip) = given.parse::<IpAddr>() else { return Ok(()) };
    let claim = Claim::Ip(ip);
    let ranges = || world.ranges.cidrs.iter().filter(|cidr| cidr.contains(&ip));
    let is_given = ranges().any(|cidr| ip != cidr.network() && ip != cidr.broadcast());
    let why = match ranges().next() {
        _ if had.contains(&claim) => return Ok(()),
        None => "the provided network does not match the current range".to_owned(),
        Some(cidr) if !is_given => {
            format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {cidr}")
        }
        Some(_) if (world.held)(claim) => "provided IP is already allocated".to_owned(),
        Some(_) => return Ok(()),
    };
    let why = format!("failed to allocate IP {ip}: {why}");
    problems.invalid("spec.clusterIPs", &spec.cluster_ips, &why);
    Ok(())
}

/// From the first range that has one. The cluster has one family of addresses.
fn free_address(world: &World<'_>) -> Result<IpAddr, Refusal> {
    const FULL: Refusal = Refusal::Full("failed to allocate a serviceIP: range is full");
    let ranges = world.ranges.cidrs.iter().enumerate();
    let mut found = ranges.filter_map(|(i, cidr)| match cidr {
        IpNet::V4(cidr) => free_address_of(cidr, i == 0, world),
        IpNet::V6(_) => None,
    });
    found.next().ok_or(FULL)
}

/// From behind the static band, at random; from the band itself when nothing else is left. `has_dns`: the cluster's DNS
/// answers in this range.
fn free_address_of(cidr: &Ipv4Net, has_dns: bool, world: &World<'_>) -> Option<IpAddr> {
    // Neither the network's own address nor the last one.
    let last = (u64::from(u32::from(cidr.broadcast()) - u32::from(cidr.network()))).saturating_sub(1) as u32;
    let band = ((last + 2) / 16).clamp(STATIC_BAND_MIN, STATIC_BAND_MAX);
    let first = if band < last { band } else { 1 };
    let at = |offset: u32| IpAddr::V4(Ipv4Addr::from(u32::from(cidr.network()) + offset));
    let is_dns = |offset: u32| has_dns && offset == DNS_OFFSET;
    let is_free = |offset: u32| !is_dns(offset) && !(world.held)(Claim::Ip(at(offset)));
    if first > last {
        return None;
    }
    search(first, last, world.random, is_free).or_else(|| search(1, first, world.random, is_free)).map(at)
}

/// A free number in `first..=last`: by chance, then by looking at all.
fn search(first: u32, last: u32, random: &dyn Fn(u32) -> u32, is_free: impl Fn(u32) -> bool) -> Option<u32> {
    let count = last - first + 1;
    let tries = (0..RANDOM_TRIES).map(|_| first + random(count)).find(|n| is_free(*n));
    tries.or_else(|| (first..=last).find(|n| is_free(*n)))
}

fn ports(
    spec: &mut ServiceSpec,
    had: &BTreeSet<Claim>,
    world: &World<'_>,
    problems: &mut Problems,
) -> Result<(), Refusal> {
    // What the Service asks for by number first: a free one must not be one of them.
    let mut own: BTreeSet<u16> = BTreeSet::new();
    for (i, port) in spec.ports.iter().flatten().enumerate() {
        if let Some(number) = port.node_port.and_then(port_number) {
            own.insert(number);
            check_port(&format!("spec.ports[{i}].nodePort"), number, had, world, problems);
        }
    }
    if let Some(number) = spec.health_check_node_port.and_then(port_number) {
        own.insert(number);
        check_port("spec.healthCheckNodePort", number, had, world, problems);
    }
    if needs_node_ports(spec) {
        for port in spec.ports.iter_mut().flatten().filter(|p| p.node_port.unwrap_or(0) == 0) {
            let number = free_port(world, &own)?;
            own.insert(number);
            port.node_port = Some(i32::from(number));
        }
    }
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    if spec.type_.as_deref() == Some("LoadBalancer") && local && spec.health_check_node_port.unwrap_or(0) == 0 {
        spec.health_check_node_port = Some(i32::from(free_port(world, &own)?));
    }
    Ok(())
}

fn check_port(field: &str, number: u16, had: &BTreeSet<Claim>, world: &World<'_>, problems: &mut Problems) {
    let range = &world.ranges.ports;
    if had.contains(&Claim::Port(number)) {
    } else if !range.contains(&number) {
        let (first, last) = (range.start(), range.end());
        let why = format!("provided port is not in the valid range. The range of valid ports is {first}-{last}");
        problems.invalid(field, number, &why);
    } else if (world.held)(Claim::Port(number)) {
        problems.invalid(field, number, "provided port is already allocated");
    }
}

fn free_port(world: &World<'_>, own: &BTreeSet<u16>) -> Result<u16, Refusal> {
    let (first, last) = (u32::from(*world.ranges.ports.start()), u32::from(*world.ranges.ports.end()));
    let number = |n: u32| u16::try_from(n).unwrap_or(0);
    let is_free = |n: u32| !own.contains(&number(n)) && !(world.held)(Claim::Port(number(n)));
    let found = search(first, last, world.random, is_free);
    found.map(number).ok_or(Refusal::Full("failed to allocate a nodePort: range is full"))
}

#[cfg(test)]
mod tests;
