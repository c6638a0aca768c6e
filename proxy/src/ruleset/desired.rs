//! From a Service and its EndpointSlices, or a pod's host ports, to fronts. Pure.
//!
//! Follows <https://kubernetes.io/docs/reference/networking/virtual-ips/>. Topology hints are not looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{End, Fate, Front, FrontRules, MAX_ENDS, Place};
use crate::view::{Endpoint, PodPorts, Protocol, Service, ServicePort, Slice};

pub const DNS_PORT: u16 = 53;

/// The fronts of one Service, in no particular order; a front appears once.
pub fn service(service: &Service, slices: &[&Slice], place: &Place) -> Vec<(Front, FrontRules)> {
    if service.headless || service.external_name.is_some() || service.other_proxy {
        return Vec::new();
    }
    let mut fronts = Vec::new();
    for port in &service.ports {
        let ends = Ends::of(port, slices);
        let within = if service.internal_policy_local { ends.local_only() } else { ends.anywhere() };
        let cluster = FrontRules { inside: within, outside: None, affinity_secs: service.affinity_secs };
        let external = FrontRules {
            inside: ends.anywhere(),
            outside: service.external_policy_local.then(|| ends.local_only()),
            affinity_secs: service.affinity_secs,
        };
        let front = |address, port_number| Front { address, protocol: port.protocol, port: port_number };
        let own_dns = |f: &Front| f.address == place.cluster_dns && f.port == DNS_PORT && f.protocol != Protocol::Sctp;
        let inner = service.cluster_ips.iter().map(|ip| front(*ip, port.port)).filter(|f| !own_dns(f));
        fronts.extend(inner.map(|f| (f, cluster.clone())));
        let node_ports = port.node_port.into_iter().flat_map(|p| place.addresses.iter().map(move |ip| front(*ip, p)));
        let outer = service.external_ips.iter().map(|ip| front(*ip, port.port)).chain(node_ports);
        fronts.extend(outer.map(|f| (f, external.clone())));
    }
    let mut seen = BTreeSet::new();
    fronts.retain(|(front, _)| seen.insert(*front));
    fronts
}

/// The fronts of one pod's host ports.
pub fn host_ports(pod: &PodPorts, place: &Place) -> Vec<(Front, FrontRules)> {
    let mut fronts = Vec::new();
    for port in &pod.ports {
        let end = End { address: pod.address, port: port.container_port };
        let rules = FrontRules { inside: Fate::Balance(Arc::new([end])), outside: None, affinity_secs: None };
        let on = place.addresses.iter().filter(|ip| port.host_ip.is_none_or(|only| only == **ip));
        fronts.extend(
            on.map(|ip| (Front { address: *ip, protocol: port.protocol, port: port.host_port }, rules.clone())),
        );
    }
    let mut seen = BTreeSet::new();
    fronts.retain(|(front, _)| seen.insert(*front));
    fronts
}

/// The ends of one port that may be used, wherever and on this node.
struct Ends {
    all: Arc<[End]>,
    local: Arc<[End]>,
}

impl Ends {
    fn of(port: &ServicePort, slices: &[&Slice]) -> Self {
        let mut found: Vec<(End, &Endpoint)> = Vec::new();
        for slice in slices {
            let matching = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
            for p in matching {
                found.extend(slice.endpoints.iter().map(|e| (End { address: e.address, port: p.port }, e)));
            }
        }
        Self { all: usable(&found, |_| true), local: usable(&found, |e| e.local) }
    }
    fn anywhere(&self) -> Fate {
        if self.all.is_empty() { Fate::Refuse } else { Fate::Balance(self.all.clone()) }
    }
    fn local_only(&self) -> Fate {
        match (self.local.is_empty(), self.all.is_empty()) {
            (false, _) => Fate::Balance(self.local.clone()),
            (true, false) => Fate::Drop,
            (true, true) => Fate::Refuse,
        }
    }
}

/// The ready ends; where there is none, those that terminate but still serve, so that a rollout of a
/// Service's last pod loses no connection.
fn usable(found: &[(End, &Endpoint)], wanted: impl Fn(&Endpoint) -> bool) -> Arc<[End]> {
    let collect = |fits: &dyn Fn(&Endpoint) -> bool| -> BTreeSet<End> {
        found.iter().filter(|(_, e)| wanted(e) && fits(e)).map(|(end, _)| *end).collect()
    };
    let mut ends = collect(&|e| e.ready);
    if ends.is_empty() {
        ends = collect(&|e| e.serving && e.terminating);
    }
    ends.into_iter().take(MAX_ENDS).collect()
}
