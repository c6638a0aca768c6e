//! What the cluster's zone says to a question. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use corten_api::Key;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ipnet::Ipv4Net;

use crate::directory::Directory;
use crate::view::{Endpoint, Protocol, Service};

/// Short, as endpoints come and go; upstream's choice too.
const TTL_SECS: u32 = 5;
const SPEC_VERSION: &str = "1.1.0";
const SRV_PRIORITY: u16 = 0;
/// SRV weights share what is there evenly.
const SRV_WEIGHT_TOTAL: usize = 100;

/// The zone's fixed facts.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: Name,
    /// Reverse questions about these addresses are ours to deny.
    pods: Ipv4Net,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub additionals: Vec<Record>,
    /// Names the zone when there is nothing to answer, so that this may be remembered for a while.
    pub soa: Option<Record>,
}

/// What a name stands for.
enum Found {
    Nothing,
    /// The name exists; these are its records of all types.
    Records(Vec<RData>),
    /// SRV records with the addresses of their targets.
    Services(Vec<(RData, Vec<(Name, Ipv4Addr)>)>),
}

impl Zone {
    pub fn new(domain: &str, pods: Ipv4Net) -> Result<Self, hickory_proto::ProtoError> {
        let mut domain = Name::from_ascii(domain)?.to_lowercase();
        domain.set_fqdn(true);
        Ok(Self { domain, pods })
    }

    /// `None`: the question is not about this cluster.
    pub fn answer(&self, directory: &Directory, name: &Name, kind: RecordType) -> Option<Answer> {
        let lower = name.to_lowercase();
        let found = if self.domain.zone_of(&lower) {
            self.find(directory, &lower)
        } else {
            self.find_reverse(directory, &lower)?
        };
        Some(self.render(name, kind, found))
    }

    fn render(&self, name: &Name, kind: RecordType, found: Found) -> Answer {
        let record = |data| Record::from_rdata(name.clone(), TTL_SECS, data);
        let mut answer =
            Answer { code: ResponseCode::NoError, answers: Vec::new(), additionals: Vec::new(), soa: None };
        match found {
            Found::Nothing => answer.code = ResponseCode::NXDomain,
            Found::Records(all) => {
                // An alias answers every question about its name.
                let fits =
                    |d: &RData| kind == RecordType::ANY || d.record_type() == kind || matches!(d, RData::CNAME(_));
                answer.answers = all.into_iter().filter(fits).map(record).collect();
            }
            Found::Services(services) if matches!(kind, RecordType::SRV | RecordType::ANY) => {
                let mut targets = BTreeSet::new();
                for (srv, ends) in services {
                    answer.answers.push(record(srv));
                    targets.extend(ends);
                }
                let address = |(name, ip)| Record::from_rdata(name, TTL_SECS, RData::A(A(ip)));
                answer.additionals = targets.into_iter().map(address).collect();
            }
            Found::Services(_) => {}
        }
        if answer.answers.is_empty() {
            answer.soa = Some(Record::from_rdata(self.domain.clone(), TTL_SECS, self.soa()));
        }
        answer
    }

    fn soa(&self) -> RData {
        let within = |label| self.within(&[label]).unwrap_or_else(|| self.domain.clone());
        // Nobody transfers this zone: the serial and the intervals say nothing.
        RData::SOA(SOA::new(within("ns.dns"), within("hostmaster"), 1, 7200, 1800, 86_400, TTL_SECS))
    }

    /// `labels` in front of the domain; each may hold dots. `None` if that is no name.
    fn within(&self, labels: &[&str]) -> Option<Name> {
        Name::from_ascii(labels.join(".")).ok()?.append_domain(&self.domain).ok()
    }

    fn find(&self, directory: &Directory, lower: &Name) -> Found {
        let count = lower.iter().count() - self.domain.iter().count();
        let labels: Option<Vec<&str>> = lower.iter().take(count).map(|l| std::str::from_utf8(l).ok()).collect();
        let nothing_here = || Found::Records(Vec::new());
        match labels.as_deref() {
            Some([]) => {
                let server = self.within(&["ns.dns"]).map(|n| RData::NS(NS(n)));
                Found::Records(server.into_iter().chain([self.soa()]).collect())
            }
            Some(["dns-version"]) => Found::Records(vec![RData::TXT(TXT::new(vec![SPEC_VERSION.into()]))]),
            Some(["svc"] | ["pod"]) => nothing_here(),
            Some([namespace, "svc" | "pod"]) if directory.has_namespace(namespace) => nothing_here(),
            Some([address, _, "pod"]) => {
                dashed(address).map_or(Found::Nothing, |ip| Found::Records(vec![RData::A(A(ip))]))
            }
            Some([front @ .., service, namespace, "svc"]) => match directory.service(&Key::new(*namespace, *service)) {
                Some(service) => self.find_service(directory, service, front),
                None => Found::Nothing,
            },
            _ => Found::Nothing,
        }
    }

    fn find_service(&self, directory: &Directory, service: &Service, front: &[&str]) -> Found {
        match front {
            [] => service_records(directory, service),
            [port, protocol] if port.starts_with('_') => self.find_port(directory, service, &port[1..], protocol),
            [protocol] if protocol.starts_with('_') => {
                // Exists if there is anything below it.
                let known = service.ports.iter().any(|p| p.protocol.lower() == &protocol[1..] && !p.name.is_empty());
                if known { Found::Records(Vec::new()) } else { Found::Nothing }
            }
            [host] if service.headless => {
                let named = ready(directory, service).into_iter().filter(|e| host_label(e) == *host);
                let addresses: BTreeSet<Ipv4Addr> = named.map(|e| e.address).collect();
                if addresses.is_empty() {
                    Found::Nothing
                } else {
                    Found::Records(addresses.into_iter().map(a).collect())
                }
            }
            _ => Found::Nothing,
        }
    }

    fn find_port(&self, directory: &Directory, service: &Service, name: &str, protocol: &str) -> Found {
        let Some(protocol) = protocol.strip_prefix('_') else { return Found::Nothing };
        let fits = |n: &str, p: Protocol| !n.is_empty() && n == name && p.lower() == protocol;
        let mut targets: BTreeSet<(Name, u16, Ipv4Addr)> = BTreeSet::new();
        if service.headless {
            for slice in directory.slices_of(&service.key) {
                for port in slice.ports.iter().filter(|p| fits(&p.name, p.protocol)) {
                    for end in slice.endpoints.iter().filter(|e| e.ready) {
                        let host = host_label(end);
                        let target = self.within(&[&host, &service.key.name, &service.key.namespace, "svc"]);
                        targets.extend(target.map(|t| (t, port.port, end.address)));
                    }
                }
            }
        } else {
            let target = self.within(&[&service.key.name, &service.key.namespace, "svc"]);
            for port in service.ports.iter().filter(|p| fits(&p.name, p.protocol)) {
                let ips = service.cluster_ips.iter();
                targets.extend(ips.filter_map(|ip| Some((target.clone()?, port.port, *ip))));
            }
        }
        if targets.is_empty() {
            return Found::Nothing;
        }
        let weight = u16::try_from((SRV_WEIGHT_TOTAL / targets.len()).max(1)).unwrap_or(1);
        let record = |(target, port, ip): (Name, u16, Ipv4Addr)| {
            (RData::SRV(SRV::new(SRV_PRIORITY, weight, port, target.clone())), vec![(target, ip)])
        };
        Found::Services(targets.into_iter().map(record).collect())
    }

    /// PTR names. `None` for addresses that are not the cluster's.
    fn find_reverse(&self, directory: &Directory, lower: &Name) -> Option<Found> {
        let labels: Vec<&str> = lower.iter().map(|l| std::str::from_utf8(l).ok()).collect::<Option<_>>()?;
        let [d, c, b, a, "in-addr", "arpa"] = labels[..] else { return None };
        let address: Ipv4Addr = format!("{a}.{b}.{c}.{d}").parse().ok()?;
        let mut names: Vec<Option<Name>> = Vec::new();
        if let Some(service) = directory.by_cluster_ip(address) {
            names.push(self.within(&[&service.key.name, &service.key.namespace, "svc"]));
        }
        for (service, hostname) in directory.by_endpoint(address) {
            let host = hostname.map_or_else(|| dashes(address), str::to_owned);
            names.push(self.within(&[&host, &service.name, &service.namespace, "svc"]));
        }
        let records: Vec<RData> = names.into_iter().flatten().map(|n| RData::PTR(PTR(n))).collect();
        match records.is_empty() {
            true if self.pods.contains(&address) => Some(Found::Nothing),
            true => None,
            false => Some(Found::Records(records)),
        }
    }
}

fn service_records(directory: &Directory, service: &Service) -> Found {
    if let Some(alias) = &service.external_name {
        let mut name = match Name::from_ascii(alias) {
            Ok(name) => name,
            Err(_) => return Found::Nothing,
        };
        name.set_fqdn(true);
        return Found::Records(vec![RData::CNAME(CNAME(name))]);
    }
    if !service.headless {
        return Found::Records(service.cluster_ips.iter().copied().map(a).collect());
    }
    let addresses: BTreeSet<Ipv4Addr> = ready(directory, service).into_iter().map(|e| e.address).collect();
    // "If there are no ready endpoints for the headless Service, the answer should be NXDOMAIN."
    if addresses.is_empty() { Found::Nothing } else { Found::Records(addresses.into_iter().map(a).collect()) }
}

/// The endpoints that names lead to. Where a Service publishes unready ones, its slices call them ready.
fn ready<'a>(directory: &'a Directory, service: &Service) -> Vec<&'a Endpoint> {
    let slices = directory.slices_of(&service.key).into_iter();
    slices.flat_map(|s| &s.endpoints).filter(|e| e.ready).collect()
}

fn a(ip: Ipv4Addr) -> RData {
    RData::A(A(ip))
}
/// An endpoint's name under its Service: its hostname, or its address with dashes.
fn host_label(end: &Endpoint) -> String {
    end.hostname.as_ref().map_or_else(|| dashes(end.address), |h| h.to_lowercase())
}
fn dashes(ip: Ipv4Addr) -> String {
    ip.to_string().replace('.', "-")
}
fn dashed(label: &str) -> Option<Ipv4Addr> {
    label.replace('-', ".").parse().ok()
}

#[cfg(test)]
mod tests;
