//! Which Services of type LoadBalancer are given addresses, and which: the nodes' own, or one of the pool. Pure.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer>

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{
    LoadBalancerIngress, LoadBalancerStatus, Node, PortStatus, Service, ServicePort, ServiceSpec,
};
pub use corten_api::networks::NODE_ADDRESS_CLASS as CLASS;
use corten_api::{Object, names, node};
use corten_client::EventType;

use super::given::{Given, Refusal};
use crate::backends::{self, Family};
use crate::balancers::{Classless, Rules};

/// On a Service that has or had a load balancer of ours. No other controller knows the name, so it is ours wherever it stands,
/// also on a Service of another type by now.
pub const FINALIZER: &str = "corten.io/load-balancer-cleanup";
/// That of clouds' controllers, which was ours as well: it goes where the addresses beside it are ours.
pub const FORMER_FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
/// A node with this label takes no traffic of load balancers, unless it says that it is not so.
const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// The autoscaler is about to take the node away.
const LEAVING_TAINT: &str = "ToBeDeletedByClusterAutoscaler";
/// Addresses that one Service gets: every proxy reads the status that they make at every write, and no client tries more.
pub const ADDRESSES_MAX: usize = 16;
/// Packets bear the address of a node when they arrive there, and no other node answers for it.
const MODE_OF_NODES: &str = "Proxy";
/// Packets bear an address of the pool wherever they arrive.
const MODE_OF_POOL: &str = "VIP";
/// The `spec.loadBalancerClass` of Services that have an address of the pool.
pub const POOL_CLASS: &str = "corten.io/address-pool";

/// Where a Service's addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Nodes,
    Pool,
}

/// `None`: another gives it addresses, or it needs none.
pub fn source(service: &Service, rules: &Rules) -> Option<From> {
    let spec = service.spec.as_ref().filter(|spec| is_balanced(spec))?;
    match spec.load_balancer_class.as_deref() {
        Some(CLASS) => Some(From::Nodes),
        Some(POOL_CLASS) => Some(From::Pool),
        Some(_) => None,
        None if rules.classless == Classless::Others => None,
        None => Some(if rules.pool.is_empty() { From::Nodes } else { From::Pool }),
    }
}

/// Whether the nodes balance this Service at their own addresses.
pub fn is_at_nodes(service: &Service, rules: &Rules) -> bool {
    source(service, rules) == Some(From::Nodes)
}

fn is_balanced(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer")
}

/// Whether only nodes with ready endpoints take its traffic.
pub fn is_local(service: &Service) -> bool {
    let policy = service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref());
    policy == Some("Local")
}

/// A node that takes traffic of load balancers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub addresses: Vec<String>,
    pub ready: bool,
}

/// By name.
pub type Nodes = BTreeMap<String, Target>;

/// Where a node takes traffic of load balancers. `None`: it takes none. One that is cordoned goes on: it gets no new pods, and
/// serves. So does one that is not ready: if it is not heard of, its proxy may well forward, and if none is, all would lose
/// their addresses.
pub fn target(node: &Node) -> Option<Target> {
    let spec = node.spec.as_ref();
    let is_leaving =
        || spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten().any(|t| t.key == LEAVING_TAINT);
    let takes = !node.is_deleting() && node.label(EXCLUDE_LABEL).is_none_or(is_false) && !is_leaving();
    let listed = node.status.as_ref().filter(|_| takes)?.addresses.as_deref().unwrap_or_default();
    let of = |kind: &str| -> Vec<String> {
        listed.iter().filter(|address| address.type_ == kind).map(|address| address.address.clone()).collect()
    };
    let addresses = Some(of("ExternalIP")).filter(|outer| !outer.is_empty()).unwrap_or_else(|| of("InternalIP"));
    (!addresses.is_empty()).then(|| Target { addresses, ready: node::is_ready(node) })
}

/// All that a node has, of whatever kind, whether it takes traffic of load balancers or not.
pub fn own_addresses(node: &Node) -> BTreeSet<IpAddr> {
    let listed = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    listed.iter().filter_map(|address| address.address.parse().ok()).collect()
}

/// As Go reads it; what it cannot read is not.
fn is_false(text: &str) -> bool {
    matches!(text, "0" | "f" | "F" | "FALSE" | "false" | "False")
}

/// A port at which an address is taken.
pub type TakenPort = (String, i32);

pub fn ports(service: &Service) -> impl Iterator<Item = TakenPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.map(|port| (protocol(port).to_owned(), port.port))
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// Of two with the same port the older has it; of those made in one second the uid decides, which nobody can choose.
pub fn age(service: &Service) -> (Option<jiff::Timestamp>, &str) {
    (service.metadata.creation_timestamp.as_ref().map(|time| time.0), service.uid())
}

/// Who has each port on the nodes, by age. One that lost a port to an older one has none.
#[derive(Debug, Default)]
pub struct Holders(HashMap<TakenPort, (Option<jiff::Timestamp>, String)>);

impl Holders {
    pub fn of(all: &[Arc<Service>]) -> Self {
        let hold = |service: &&Arc<Service>| !service.is_deleting() && !is_written_by_others(service);
        let mut by_age: Vec<&Arc<Service>> = all.iter().filter(hold).collect();
        by_age.sort_by(|a, b| age(a).cmp(&age(b)));
        let mut holders = Self::default();
        for service in by_age {
            if ports(service).all(|port| !holders.0.contains_key(&port)) {
                let (made, uid) = age(service);
                holders.0.extend(ports(service).map(|port| (port, (made, uid.to_owned()))));
            }
        }
        holders
    }

    /// The first port of the Service that an older one has.
    pub fn taken_from(&self, service: &Service) -> Option<TakenPort> {
        let is_taken = |port: &TakenPort| {
            let holder = self.0.get(port);
            holder.is_some_and(|(made, uid)| (*made, uid.as_str()) < age(service))
        };
        ports(service).find(is_taken)
    }
}

/// The addresses in its status.
pub fn written(service: &Service) -> &[LoadBalancerIngress] {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default()
}

/// Whether it has addresses that we do not write so: its ports on the nodes are free.
pub fn is_written_by_others(service: &Service) -> bool {
    let is_like_ours = |ingress: &LoadBalancerIngress| {
        let has_ports = ingress.ports.as_ref().is_some_and(|ports| !ports.is_empty());
        let is_mode = matches!(ingress.ip_mode.as_deref(), Some(MODE_OF_NODES | MODE_OF_POOL));
        ingress.ip.is_some() && ingress.hostname.is_none() && has_ports && is_mode
    };
    !written(service).iter().all(is_like_ours)
}

fn has_finalizer(service: &Service, name: &str) -> bool {
    service.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == name)
}

/// Whether another controller gives it addresses. Those of nodes that have gone, and of a pool that was, are ours if the Service
/// has our mark.
pub fn is_others(service: &Service, nodes: &Nodes, rules: &Rules) -> bool {
    let has = written(service);
    if has.is_empty() || is_written_by_others(service) {
        return !has.is_empty();
    }
    if has_finalizer(service, FINALIZER) || has_finalizer(service, FORMER_FINALIZER) {
        return false;
    }
    let of_pool = |ip: &String| ip.parse().is_ok_and(|ip| rules.pool.contains(ip));
    let of_nodes = |ip: &String| nodes.values().any(|node| node.addresses.contains(ip));
    let is_known = |ingress: &LoadBalancerIngress| match source(service, rules) {
        Some(From::Pool) => ingress.ip.as_ref().is_some_and(of_pool),
        _ => ingress.ip.as_ref().is_some_and(of_nodes),
    };
    !has.iter().any(is_known)
}

/// Whether the Service may get other addresses because a node was one target and is another. What it has it keeps, so a node
/// that comes matters only where there is room.
pub fn is_touched(service: &Service, was: Option<&Target>, is: Option<&Target>) -> bool {
    let of = |target: Option<&Target>| target.map(|target| target.addresses.clone()).unwrap_or_default();
    let (had, has, written) = (of(was), of(is), written(service));
    if is_local(service) {
        return was != is;
    }
    let is_lost =
        |ingress: &LoadBalancerIngress| ingress.ip.as_ref().is_some_and(|ip| had.contains(ip) && !has.contains(ip));
    had != has && (written.len() < ADDRESSES_MAX || written.iter().any(is_lost))
}

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub service: &'a Service,
    pub rules: &'a Rules,
    /// The nodes that take traffic of load balancers, with their addresses.
    pub nodes: &'a Nodes,
    /// Where its ready endpoints are, if that counts.
    pub local: Option<&'a BTreeSet<String>>,
    /// The port that an older Service has.
    pub taken: Option<&'a TakenPort>,
    /// What it has or gets of the pool, if that is where its addresses come from.
    pub given: Option<&'a Given>,
}

/// What is to be said about the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

fn normal(reason: &'static str, message: &str) -> Said {
    Said { kind: EventType::Normal, reason, message: message.to_owned() }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Keep,
    /// Another controller gives it addresses: it is left to that one, and this is said once.
    Leave(Said),
    /// It has what it can have, and lacks an address: this is said once.
    Wait(Said),
    /// The Service with its finalizer and addresses; what is said before it is written and after.
    Ensure {
        service: Box<Service>,
        before: Vec<Said>,
        after: Vec<Said>,
    },
    /// The Service without them.
    CleanUp {
        service: Box<Service>,
        before: Vec<Said>,
        after: Vec<Said>,
    },
}

pub fn decide(seen: &Observed<'_>) -> Action {
    let service = seen.service;
    let is_ours = source(service, seen.rules).is_some();
    let is_others = is_others(service, seen.nodes, seen.rules);
    if is_ours && !service.is_deleting() {
        return if is_others { Action::Leave(left()) } else { ensure(seen) };
    }
    // Of a Service that is of another class or type by now nobody can tell whose the clouds' finalizer is: if a cloud's, the
    // cloud would never hear that it has a balancer to take down.
    let had_former = is_ours && !is_others && has_finalizer(service, FORMER_FINALIZER);
    if !has_finalizer(service, FINALIZER) && !had_former {
        return Action::Keep;
    }
    let mut changed = service.clone();
    release(&mut changed, FINALIZER);
    if had_former {
        release(&mut changed, FORMER_FINALIZER);
    }
    // No other type has addresses, whoever wrote them.
    let is_left = is_others && service.spec.as_ref().is_some_and(is_balanced);
    if is_left {
        return Action::CleanUp { service: Box::new(changed), before: Vec::new(), after: Vec::new() };
    }
    changed.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus::default());
    Action::CleanUp {
        service: Box::new(changed),
        before: vec![normal("DeletingLoadBalancer", "Deleting load balancer")],
        after: vec![normal("DeletedLoadBalancer", "Deleted load balancer")],
    }
}

fn release(service: &mut Service, name: &str) {
    service.metadata.finalizers.iter_mut().for_each(|all| all.retain(|finalizer| finalizer != name));
}

fn left() -> Said {
    let message = "Another controller gives this Service addresses: it is left to that one. To have the nodes' own, take \
                   them out of its status; to have none of these looked at, set its loadBalancerClass or run \
                   corten-controllers with --leave-load-balancers-without-class";
    Said { kind: EventType::Normal, reason: "LoadBalancerOfOthers", message: message.to_owned() }
}

fn ensure(seen: &Observed<'_>) -> Action {
    let service = seen.service;
    let (has, wanted) = (written(service), ingress(seen));
    let is_held = has_finalizer(service, FINALIZER);
    let refusal = seen.given.and_then(|given| given.refusal.as_ref());
    if is_held && has == wanted {
        return refusal.map_or(Action::Keep, |refusal| Action::Wait(refused(refusal)));
    }
    let (before, after) = match (has.is_empty(), wanted.is_empty()) {
        // Said once it has our mark.
        (_, true) if refusal.is_some() => (Vec::new(), Vec::new()),
        (_, true) => (Vec::new(), vec![none(seen)]),
        (true, false) => (
            vec![normal("EnsuringLoadBalancer", "Ensuring load balancer")],
            vec![normal("EnsuredLoadBalancer", "Ensured load balancer")],
        ),
        (false, false) => (Vec::new(), vec![normal("UpdatedLoadBalancer", "Updated load balancer with new hosts")]),
    };
    let mut changed = service.clone();
    if !is_held {
        changed.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
    }
    if !has.is_empty() {
        release(&mut changed, FORMER_FINALIZER);
    }
    let ingress = (!wanted.is_empty()).then_some(wanted);
    changed.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus { ingress });
    Action::Ensure { service: Box::new(changed), before, after }
}

fn refused(refusal: &Refusal) -> Said {
    let message = format!("Error syncing load balancer: {refusal}");
    Said { kind: EventType::Warning, reason: "SyncLoadBalancerFailed", message }
}

/// Why a Service has no address of a node.
fn none(seen: &Observed<'_>) -> Said {
    let (reason, message) = match seen.taken {
        Some((protocol, port)) => (
            "LoadBalancerPortTaken",
            format!(
                "An older Service has port {port}/{protocol} on the nodes: this one gets no address. \
                 Use another port, or a loadBalancerClass with addresses of its own"
            ),
        ),
        None => ("UnAvailableLoadBalancer", "There are no available nodes for LoadBalancer".to_owned()),
    };
    Said { kind: EventType::Warning, reason, message }
}

fn ingress(seen: &Observed<'_>) -> Vec<LoadBalancerIngress> {
    let Some(spec) = seen.service.spec.as_ref() else { return Vec::new() };
    let status = |port: &ServicePort| PortStatus { port: port.port, protocol: protocol(port).to_owned(), error: None };
    let ports: Vec<PortStatus> = spec.ports.iter().flatten().map(status).collect();
    let entry = |ip: String, mode: &str| LoadBalancerIngress {
        ip: Some(ip),
        ip_mode: Some(mode.to_owned()),
        ports: Some(ports.clone()),
        ..LoadBalancerIngress::default()
    };
    if let Some(given) = seen.given {
        return given.addresses.iter().map(|ip| entry(ip.to_string(), MODE_OF_POOL)).collect();
    }
    if seen.taken.is_some() {
        return Vec::new();
    }
    let families = backends::families(spec);
    let room = ADDRESSES_MAX / families.len().max(1);
    let nodes = targets(seen);
    let addresses = families.iter().flat_map(|family| addresses(seen.service, &nodes, *family, room));
    addresses.map(|ip| entry(ip.to_owned(), MODE_OF_NODES)).collect()
}

/// The nodes whose addresses it may have, by name. Where its endpoints are counts, whether a node is ready counts, too.
fn targets<'a>(seen: &Observed<'a>) -> Vec<(&'a str, &'a Target)> {
    let nodes = seen.nodes;
    match seen.local {
        None => nodes.iter().map(|(name, node)| (name.as_str(), node)).collect(),
        Some(local) => {
            let there = local.iter().filter_map(|name| Some((name.as_str(), nodes.get(name)?)));
            there.filter(|(_, node)| node.ready).collect()
        }
    }
}

/// Those of a family that it has and that are still some node's, and others where there is room. Which, follows from the
/// Service's uid and the nodes' names, so that not all Services are reached at the same few nodes; who is ready comes first.
fn addresses<'a>(service: &'a Service, nodes: &[(&'a str, &'a Target)], family: Family, room: usize) -> Vec<&'a str> {
    let each =
        nodes.iter().flat_map(|(name, node)| node.addresses.iter().map(move |ip| (*name, node.ready, ip.as_str())));
    let all: Vec<(&str, bool, &str)> = each.filter(|(.., ip)| Family::of(ip) == family).collect();
    let valid: BTreeSet<&str> = all.iter().map(|(.., ip)| *ip).collect();
    let mut once = BTreeSet::new();
    let has = written(service).iter().filter_map(|ingress| ingress.ip.as_deref()).filter(|ip| valid.contains(ip));
    let mut found: Vec<&str> = has.filter(|ip| once.insert(*ip)).take(room).collect();
    let room = room - found.len();
    if room == 0 {
        return found;
    }
    let mut others: Vec<_> = all.into_iter().enumerate().filter(|(_, (.., ip))| once.insert(*ip)).collect();
    if others.len() > room {
        let rank = |name: &str| names::fnv32a(format!("{name}/{}", service.uid()).as_bytes());
        others.sort_by_cached_key(|(at, (name, ready, _))| (!ready, rank(name), *at));
        others.truncate(room);
        others.sort_by_key(|(at, _)| *at);
    }
    found.extend(others.into_iter().map(|(_, (.., ip))| ip));
    found
}

#[cfg(test)]
mod tests;
