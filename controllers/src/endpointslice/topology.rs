//! For which zone each endpoint is meant, where a Service asks for that to be found out. Pure.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/topology-aware-routing/>

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::Service;
use corten_api::k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, EndpointSlice, ForZone};
use corten_client::EventType;

use super::decide::Action;
use super::zones::Ratios;

const MODE_ANNOTATION: &str = "service.kubernetes.io/topology-mode";
const OLD_MODE_ANNOTATION: &str = "service.kubernetes.io/topology-aware-hints";
/// How much more than its share an endpoint may have to carry.
const OVERLOAD_MAX: f64 = 0.2;
const DISABLED: &str = "TopologyAwareHintsDisabled";

/// Whether hints are wanted as the CPU of the zones is shared out.
pub fn is_auto(service: &Service) -> bool {
    let annotations = service.metadata.annotations.as_ref();
    let mode = annotations.and_then(|all| all.get(OLD_MODE_ANNOTATION).or_else(|| all.get(MODE_ANNOTATION)));
    mode.is_some_and(|mode| mode == "Auto" || mode == "auto")
}

/// How many ready endpoints are meant for each zone.
pub type ZoneCounts = BTreeMap<String, usize>;

/// Why a Service has no hints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    NodesSayTooLittle,
    EndpointWithoutZone,
    FewerThanZones { endpoints: usize, zones: usize },
    WouldOverload { endpoints: usize, zones: usize },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodesSayTooLittle => {
                f.write_str("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")
            }
            Self::EndpointWithoutZone => f.write_str("One or more endpoints do not have a zone specified"),
            Self::FewerThanZones { endpoints, zones } => {
                write!(f, "Insufficient number of endpoints ({endpoints} endpoints, {zones} zones)")
            }
            Self::WouldOverload { endpoints, zones } => write!(
                f,
                "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold \
                 ({endpoints} endpoints, {zones} zones)"
            ),
        }
    }
}

/// What became of one address family of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Hinted(ZoneCounts),
    Not { endpoints: usize, why: Why },
}

/// By address type.
pub type Outcomes = BTreeMap<String, Outcome>;

/// The events of what has become otherwise: their type, reason and message.
pub fn told(before: &Outcomes, now: &Outcomes) -> Vec<(EventType, &'static str, String)> {
    let mut told = Vec::new();
    for (address_type, outcome) in now {
        let was = before.get(address_type);
        match outcome {
            Outcome::Hinted(_) if matches!(was, Some(Outcome::Hinted(_))) => {}
            Outcome::Hinted(_) => {
                let message = format!("Topology Aware Hints has been enabled, addressType: {address_type}");
                told.push((EventType::Normal, "TopologyAwareHintsEnabled", message));
            }
            Outcome::Not { why, .. } if matches!(was, Some(Outcome::Not { why: known, .. }) if known == why) => {}
            Outcome::Not { why, .. } => {
                told.push((EventType::Warning, DISABLED, format!("{why}, addressType: {address_type}")));
            }
        }
    }
    let ended = before.iter().filter(|(address_type, _)| !now.contains_key(*address_type));
    for (address_type, _) in ended.filter(|(_, outcome)| matches!(outcome, Outcome::Hinted(_))) {
        let message = format!("Topology Aware Hints has been disabled, addressType: {address_type}");
        told.push((EventType::Warning, DISABLED, message));
    }
    told
}

impl Outcome {
    /// Whether it has to be looked at again now that zones have other parts of the CPU.
    pub fn is_outdated(&self, ratios: Option<&Ratios>) -> bool {
        match self {
            Self::Hinted(counts) => is_overloaded(counts, ratios),
            Self::Not { why: Why::EndpointWithoutZone, .. } => true,
            Self::Not { endpoints, why } => allocations(ratios, *endpoints).err().as_ref() != Some(why),
        }
    }
}

/// Whether a zone has too few endpoints for its part of the CPU.
fn is_overloaded(counts: &ZoneCounts, ratios: Option<&Ratios>) -> bool {
    let Some(ratios) = ratios else { return true };
    let total: usize = counts.values().sum();
    ratios.iter().any(|(zone, ratio)| counts.get(zone).is_none_or(|count| *count < least(desired(*ratio, total))))
}

fn desired(ratio: f64, endpoints: usize) -> f64 {
    ratio * endpoints as f64
}

fn least(desired: f64) -> usize {
    (desired * (1.0 / (1.0 + OVERLOAD_MAX))).ceil() as usize
}

/// How many endpoints a zone is to have.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Allocation {
    maximum: usize,
    desired: f64,
}

fn allocations(ratios: Option<&Ratios>, endpoints: usize) -> Result<BTreeMap<&str, Allocation>, Why> {
    let ratios = ratios.ok_or(Why::NodesSayTooLittle)?;
    let zones = ratios.len();
    if zones > endpoints {
        return Err(Why::FewerThanZones { endpoints, zones });
    }
    let each = ratios.iter().map(|(zone, ratio)| (zone.as_str(), desired(*ratio, endpoints)));
    let minimum = each.clone().map(|(_, desired)| least(desired)).sum();
    let spare = endpoints.checked_sub(minimum).ok_or(Why::WouldOverload { endpoints, zones })?;
    let allocation = |desired: f64| {
        let minimum = least(desired);
        Allocation { maximum: minimum + spare, desired: desired.max(minimum as f64) }
    };
    Ok(each.map(|(zone, desired)| (zone, allocation(desired))).collect())
}

/// The same actions with hints, and more of them for slices that have to change for the hints alone; what became of each
/// address type. `slices`: those that are there.
pub fn hint(slices: &[Arc<EndpointSlice>], ratios: Option<&Ratios>, actions: Vec<Action>) -> (Vec<Action>, Outcomes) {
    let mut actions = actions;
    let mentioned: BTreeSet<String> = actions.iter().filter_map(name_of).collect();
    let unchanged: Vec<&Arc<EndpointSlice>> = slices.iter().filter(|slice| !mentioned.contains(slice.name())).collect();
    let written = actions.iter().filter_map(slice_of).map(|slice| slice.address_type.clone());
    let types: BTreeSet<String> = written.chain(unchanged.iter().map(|s| s.address_type.clone())).collect();
    let mut outcomes = BTreeMap::new();
    for address_type in types {
        let (mine, others) = actions
            .into_iter()
            .partition(|action| slice_of(action).is_some_and(|slice| slice.address_type == address_type));
        let unchanged = unchanged.iter().filter(|s| s.address_type == address_type).map(|s| Arc::clone(s)).collect();
        let (hinted, outcome) = Family { written: mine, unchanged }.hint(ratios);
        actions = hinted.into_iter().chain(others).collect();
        outcomes.insert(address_type, outcome);
    }
    (actions, outcomes)
}

fn slice_of(action: &Action) -> Option<&EndpointSlice> {
    match action {
        Action::Create(slice) | Action::Update(slice) => Some(slice),
        Action::Delete { .. } => None,
    }
}

fn name_of(action: &Action) -> Option<String> {
    match action {
        Action::Create(_) => None,
        Action::Update(slice) => Some(slice.name().to_owned()),
        Action::Delete { key, .. } => Some(key.name.clone()),
    }
}

/// The slices of one address type.
struct Family {
    /// That are created or updated anyhow.
    written: Vec<Action>,
    unchanged: Vec<Arc<EndpointSlice>>,
}

impl Family {
    fn hint(mut self, ratios: Option<&Ratios>) -> (Vec<Action>, Outcome) {
        let all = self.written.iter().filter_map(slice_of).chain(self.unchanged.iter().map(|slice| &**slice));
        let ready = all.flat_map(|slice| slice.endpoints.iter().flatten()).filter(|endpoint| is_ready(endpoint));
        let (endpoints, is_nowhere) = ready
            .fold((0, false), |(count, is_nowhere), endpoint| (count + 1, is_nowhere || zone_of(endpoint).is_none()));
        let allocations = allocations(ratios, endpoints);
        let shared = allocations.and_then(|all| if is_nowhere { Err(Why::EndpointWithoutZone) } else { Ok(all) });
        match shared.map(|allocations| self.share_out(&allocations)) {
            Ok(counts) => (self.written, Outcome::Hinted(counts)),
            Err(why) => (self.without_hints(), Outcome::Not { endpoints, why }),
        }
    }

    /// All ready endpoints have a zone.
    fn share_out(&mut self, allocations: &BTreeMap<&str, Allocation>) -> ZoneCounts {
        let mut counts = self.keep_what_fits(allocations);
        // Each for its own zone to begin with.
        for endpoint in self.endpoints() {
            let zone = zone_of(endpoint).filter(|_| is_ready(endpoint)).map(str::to_owned);
            if let Some(zone) = &zone {
                *counts.entry(zone.clone()).or_default() += 1;
            }
            endpoint.hints = zone.and_then(for_zone);
        }
        let (mut giving, mut receiving) = moves(allocations, &counts);
        for endpoint in self.endpoints().filter(|endpoint| is_ready(endpoint)) {
            let Some(from) = endpoint.zone.clone().filter(|zone| giving.contains_key(zone)) else { continue };
            let Some(to) = receiving.keys().next().cloned() else { break };
            for (zones, zone) in [(&mut giving, &from), (&mut receiving, &to)] {
                take_one(zones, zone);
            }
            take_one(&mut counts, &from);
            *counts.entry(to.clone()).or_default() += 1;
            endpoint.hints = for_zone(to);
        }
        counts
    }

    fn endpoints(&mut self) -> impl Iterator<Item = &mut Endpoint> {
        let slices = self.written.iter_mut().filter_map(|action| match action {
            Action::Create(slice) | Action::Update(slice) => Some(slice),
            Action::Delete { .. } => None,
        });
        slices.flat_map(|slice| slice.endpoints.iter_mut().flatten())
    }

    /// Slices whose hints are good as they are stay; the others are written, too.
    fn keep_what_fits(&mut self, allocations: &BTreeMap<&str, Allocation>) -> ZoneCounts {
        let mut counts = ZoneCounts::new();
        let mut kept = Vec::new();
        for slice in std::mem::take(&mut self.unchanged) {
            match hints_of(&slice, &counts, allocations) {
                Some(more) => {
                    for (zone, count) in more {
                        *counts.entry(zone).or_default() += count;
                    }
                    kept.push(slice);
                }
                None => self.written.push(Action::Update(EndpointSlice::clone(&slice))),
            }
        }
        self.unchanged = kept;
        counts
    }

    fn without_hints(mut self) -> Vec<Action> {
        self.endpoints().for_each(|endpoint| endpoint.hints = None);
        for slice in std::mem::take(&mut self.unchanged) {
            if slice.endpoints.iter().flatten().any(|endpoint| endpoint.hints.is_some()) {
                let mut slice = EndpointSlice::clone(&slice);
                slice.endpoints.iter_mut().flatten().for_each(|endpoint| endpoint.hints = None);
                self.written.push(Action::Update(slice));
            }
        }
        self.written
    }
}

/// How many endpoints of a slice are meant for each zone. `None`: one has no hint, or one for a zone that needs none, or a
/// zone would have more than leaves enough for the others.
fn hints_of(
    slice: &EndpointSlice,
    before: &ZoneCounts,
    allocations: &BTreeMap<&str, Allocation>,
) -> Option<ZoneCounts> {
    let mut counts = ZoneCounts::new();
    for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
        let zones = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_ref()).filter(|all| !all.is_empty())?;
        for zone in zones {
            *counts.entry(zone.name.clone()).or_default() += 1;
        }
    }
    let fits = |(zone, count): (&String, &usize)| {
        let maximum = allocations.get(zone.as_str()).map_or(0, |allocation| allocation.maximum);
        count + before.get(zone).unwrap_or(&0) <= maximum
    };
    counts.iter().all(fits).then_some(counts)
}

/// How many endpoints zones give to others, and how many others get.
fn moves(allocations: &BTreeMap<&str, Allocation>, counts: &ZoneCounts) -> (ZoneCounts, ZoneCounts) {
    let (mut too_many, mut too_few) = (BTreeMap::new(), BTreeMap::new());
    for (zone, allocation) in allocations {
        let over = *counts.get(*zone).unwrap_or(&0) as f64 - allocation.desired;
        if over > 0.0 {
            too_many.insert(*zone, over);
        } else if over < 0.0 {
            too_few.insert(*zone, -over);
        }
    }
    let (mut giving, mut receiving) = (ZoneCounts::new(), ZoneCounts::new());
    while let (Some((from, over)), Some((to, under))) = (most(&mut too_many), most(&mut too_few)) {
        if *over < 1.0 && *under < 1.0 || *over < 0.5 || *under < 0.5 {
            break;
        }
        (*over, *under) = (*over - 1.0, *under - 1.0);
        *giving.entry(from.to_owned()).or_default() += 1;
        *receiving.entry(to.to_owned()).or_default() += 1;
    }
    (giving, receiving)
}

/// The zone with most of it; of two alike the first by name.
fn most<'z, 'm>(zones: &'m mut BTreeMap<&'z str, f64>) -> Option<(&'z str, &'m mut f64)> {
    let positive = zones.iter_mut().filter(|(_, n)| **n > 0.0);
    positive.map(|(zone, n)| (*zone, n)).reduce(|best, next| if *next.1 > *best.1 { next } else { best })
}

fn take_one(zones: &mut ZoneCounts, zone: &str) {
    let Some(count) = zones.get_mut(zone) else { return };
    *count = count.saturating_sub(1);
    if *count == 0 {
        zones.remove(zone);
    }
}

fn for_zone(name: String) -> Option<EndpointHints> {
    Some(EndpointHints { for_zones: Some(vec![ForZone { name }]), for_nodes: None })
}

fn zone_of(endpoint: &Endpoint) -> Option<&str> {
    endpoint.zone.as_deref().filter(|zone| !zone.is_empty())
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true))
}

#[cfg(test)]
mod tests;
