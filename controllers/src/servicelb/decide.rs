//! Which Services of type LoadBalancer the nodes themselves balance, and at which addresses. Pure.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer>

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::{
    LoadBalancerIngress, LoadBalancerStatus, Node, PortStatus, Service, ServicePort, ServiceSpec,
};
pub use corten_api::networks::NODE_ADDRESS_CLASS as CLASS;
use corten_api::{Object, node};
use corten_client::EventType;

use crate::backends::{self, Family};
use crate::balancers::Classless;

/// On a Service that has or had a load balancer.
pub const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
/// A node with this label takes no traffic of load balancers, unless it says that it is not so.
const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// The autoscaler is about to take the node away.
const LEAVING_TAINT: &str = "ToBeDeletedByClusterAutoscaler";
/// Addresses that one Service gets: more make a status that is long to write, and no name server's answer has room for them.
pub const ADDRESSES_MAX: usize = 64;
/// Packets bear the address of a node when they arrive there, and no other node answers for it.
const IP_MODE: &str = "Proxy";

/// Whether the nodes balance this Service.
pub fn is_ours(service: &Service, classless: Classless) -> bool {
    let Some(spec) = service.spec.as_ref().filter(|spec| is_balanced(spec)) else { return false };
    match spec.load_balancer_class.as_deref() {
        Some(class) => class == CLASS,
        None => classless == Classless::Ours,
    }
}

fn is_balanced(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer")
}

/// Whether only nodes with ready endpoints take its traffic.
pub fn is_local(service: &Service) -> bool {
    let policy = service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref());
    policy == Some("Local")
}

/// The addresses at which a node takes traffic of load balancers. `None`: it takes none. One that is cordoned goes on: it gets
/// no new pods, and serves. One that is not ready does not, as nothing stands before it that would look whether it answers.
pub fn addresses(node: &Node) -> Option<Vec<String>> {
    let spec = node.spec.as_ref();
    let is_leaving =
        || spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten().any(|t| t.key == LEAVING_TAINT);
    let takes =
        node::is_ready(node) && !node.is_deleting() && node.label(EXCLUDE_LABEL).is_none_or(is_false) && !is_leaving();
    let listed = node.status.as_ref().filter(|_| takes)?.addresses.as_deref().unwrap_or_default();
    let of = |kind: &str| -> Vec<String> {
        listed.iter().filter(|address| address.type_ == kind).map(|address| address.address.clone()).collect()
    };
    let found = Some(of("ExternalIP")).filter(|outer| !outer.is_empty()).unwrap_or_else(|| of("InternalIP"));
    (!found.is_empty()).then_some(found)
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

/// The first port of `service` that an older one of `all` has. One that lost a port itself has none.
pub fn taken(service: &Service, all: &[Arc<Service>]) -> Option<TakenPort> {
    let mut older: Vec<&Arc<Service>> = all.iter().filter(|other| age(other) < age(service)).collect();
    older.sort_by(|a, b| age(a).cmp(&age(b)));
    let mut taken: HashSet<TakenPort> = HashSet::new();
    for other in older.into_iter().filter(|other| !other.is_deleting()) {
        if ports(other).all(|port| !taken.contains(&port)) {
            taken.extend(ports(other));
        }
    }
    ports(service).find(|port| taken.contains(port))
}

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub service: &'a Service,
    pub classless: Classless,
    /// The nodes that take traffic of load balancers, with their addresses.
    pub nodes: &'a BTreeMap<String, Vec<String>>,
    /// Where its ready endpoints are, if that counts.
    pub local: Option<&'a BTreeSet<String>>,
    /// The port that an older Service has.
    pub taken: Option<&'a TakenPort>,
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
    let has_finalizer = service.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    if is_ours(service, seen.classless) && !service.is_deleting() {
        return ensure(seen, has_finalizer);
    }
    // A balancer of another class is somebody else's, and so is its finalizer. Of a Service that is none any more nobody can
    // tell whose it was: if a cloud's, the cloud would never hear that it has one to take down.
    let is_others = match service.spec.as_ref().is_some_and(is_balanced) {
        true => !is_ours(service, seen.classless),
        false => seen.classless == Classless::Others,
    };
    if !has_finalizer || is_others {
        return Action::Keep;
    }
    let mut changed = service.clone();
    changed.metadata.finalizers.iter_mut().for_each(|all| all.retain(|finalizer| finalizer != FINALIZER));
    changed.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus::default());
    Action::CleanUp {
        service: Box::new(changed),
        before: vec![normal("DeletingLoadBalancer", "Deleting load balancer")],
        after: vec![normal("DeletedLoadBalancer", "Deleted load balancer")],
    }
}

fn ensure(seen: &Observed<'_>, has_finalizer: bool) -> Action {
    let service = seen.service;
    let wanted = ingress(seen);
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let has = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    if has_finalizer && has == wanted {
        return Action::Keep;
    }
    let (before, after) = match (has.is_empty(), wanted.is_empty()) {
        (_, true) => (Vec::new(), vec![none(seen)]),
        (true, false) => (
            vec![normal("EnsuringLoadBalancer", "Ensuring load balancer")],
            vec![normal("EnsuredLoadBalancer", "Ensured load balancer")],
        ),
        (false, false) => (Vec::new(), vec![normal("UpdatedLoadBalancer", "Updated load balancer with new hosts")]),
    };
    let mut changed = service.clone();
    if !has_finalizer {
        changed.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
    }
    let ingress = (!wanted.is_empty()).then_some(wanted);
    changed.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus { ingress });
    Action::Ensure { service: Box::new(changed), before, after }
}

/// Why a Service has no address.
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
    let Some(spec) = seen.service.spec.as_ref().filter(|_| seen.taken.is_none()) else { return Vec::new() };
    let families = backends::families(spec);
    let status = |port: &ServicePort| PortStatus { port: port.port, protocol: protocol(port).to_owned(), error: None };
    let ports: Vec<PortStatus> = spec.ports.iter().flatten().map(status).collect();
    let nodes = seen.nodes.iter().filter(|(name, _)| seen.local.is_none_or(|local| local.contains(*name)));
    let mut once = BTreeSet::new();
    let addresses = nodes.flat_map(|(_, addresses)| addresses).filter(|ip| families.contains(&Family::of(ip)));
    let addresses = addresses.filter(|ip| once.insert(ip.as_str())).take(ADDRESSES_MAX);
    let entry = |ip: &String| LoadBalancerIngress {
        ip: Some(ip.clone()),
        ip_mode: Some(IP_MODE.to_owned()),
        ports: Some(ports.clone()),
        ..LoadBalancerIngress::default()
    };
    addresses.map(entry).collect()
}

#[cfg(test)]
mod tests;
