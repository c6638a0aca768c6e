//! Who claims which front, who holds which address, and what changes when one owner's claims change. Pure.
//!
//! The owner of a Service writes its externalIPs himself, so these come last and never on an address that somebody
//! holds: another Service by its ClusterIP or its load balancer, a node, cluster DNS, the API's endpoints. What a node says
//! of its own address comes after all that Services have. Nor do NodePorts and hostPorts take a port that a daemon of the
//! machine listens on, or an older pod or Service has; and Services that are balanced at the nodes' addresses take none on which
//! anybody listens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use super::elements::Elements;
use super::slots::{self, Settler};
use super::{Fate, Front, FrontRules, Owner, elements};
use crate::view::{Age, Protocol};

/// By what right a front is claimed; the first has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A daemon of the machine, the kubelet or an apiserver, listens there.
    Machine,
    /// The API gives a ClusterIP to one Service only.
    ClusterIp,
    /// A Service's NodePort or a pod's hostPort: the older has it.
    NodePort,
    /// Some program of the machine listens there.
    Listener,
    /// A Service that is balanced at the node's own addresses.
    NodeAddress,
    /// An address that a load balancer's controller wrote into the Service's status.
    LoadBalancer,
    /// `spec.externalIPs`.
    External,
}

/// One front that an owner wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub front: Front,
    pub rank: Rank,
    /// `None`: somebody listens there on the machine's own network, so packets are left alone.
    pub rules: Option<FrontRules>,
}

/// How an address is taken: no claim of this rank or a later one is served there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hold {
    /// By the cluster itself: a ClusterIP, this node, DNS.
    System,
    /// By an apiserver, whose machine may be a node too.
    Api,
    /// By a load balancer, which several Services may share; externalIPs of others stay out.
    LoadBalancer,
    /// By Services that are balanced at addresses of nodes: externalIPs stay out, and the address stays its node's.
    NodeAddress,
    /// By a node, which says so itself: it keeps externalIPs out, and takes nothing from anybody above.
    Node,
}

/// All that an owner has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    pub fronts: Vec<Claim>,
    pub holds: BTreeSet<(Ipv4Addr, Hold)>,
    /// Of two with the same right the older goes first: whoever comes later takes nothing away.
    pub age: Age,
    /// It would take so many elements of the kernel's maps that it claims no front at all.
    pub too_large: Option<u64>,
}

/// What an owner claims and another has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub front: Front,
    pub holder: Owner,
}

/// A front before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub front: Front,
    pub before: Option<FrontRules>,
    pub after: Option<FrontRules>,
}

/// Where a claim stands among those on the same front. The order of arrival has no say, so that a restart changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    rank: Rank,
    age: Age,
    owner: Owner,
}

#[derive(Debug, Default)]
struct Owned {
    fronts: Vec<Front>,
    holds: BTreeSet<(Ipv4Addr, Hold)>,
}

/// How many hold an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Holders {
    system: u32,
    api: u32,
    load_balancer: u32,
    node_address: u32,
    node: u32,
}

impl Holders {
    /// Whether it is a node's, and no Service has a better right to it: pods talk to it under their own address.
    fn is_node(self) -> bool {
        self.node > 0 && self.system == 0 && self.load_balancer == 0
    }
}

#[derive(Debug, Default)]
pub struct Ledger {
    claims: BTreeMap<Front, Vec<(Standing, Option<FrontRules>)>>,
    owned: HashMap<Owner, Owned>,
    held: HashMap<Ipv4Addr, Holders>,
    nodes: BTreeSet<Ipv4Addr>,
    /// Addresses that became a node's or ceased to be one, since somebody asked.
    turned: BTreeSet<Ipv4Addr>,
}

impl Ledger {
    /// The rules in force.
    pub fn get(&self, front: &Front) -> Option<&FrontRules> {
        self.in_force(front, self.claims.get(front)?)
    }
    /// Each front with the rules in force.
    pub fn iter(&self) -> impl Iterator<Item = (&Front, &FrontRules)> {
        self.claims.iter().filter_map(|(front, claims)| Some((front, self.in_force(front, claims)?)))
    }
    /// The claims come by rank, so where the first may not be served, none may.
    fn in_force<'a>(&self, front: &Front, claims: &'a [(Standing, Option<FrontRules>)]) -> Option<&'a FrontRules> {
        let (first, rules) = claims.first()?;
        let held = self.held.get(&front.address).copied().unwrap_or_default();
        let refused = match first.rank {
            Rank::Machine | Rank::ClusterIp | Rank::NodePort | Rank::Listener | Rank::NodeAddress => false,
            Rank::LoadBalancer => held.system > 0 || held.api > 0,
            Rank::External => held != Holders::default(),
        };
        rules.as_ref().filter(|_| !refused)
    }
    pub fn len(&self) -> usize {
        self.claims.len()
    }
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owned.keys()
    }
    /// The nodes' addresses that no Service has a better right to.
    pub fn nodes(&self) -> &BTreeSet<Ipv4Addr> {
        &self.nodes
    }
    /// Addresses that became a node's (`true`) or ceased to be one since this was last asked.
    pub fn take_turned(&mut self) -> Vec<(Ipv4Addr, bool)> {
        std::mem::take(&mut self.turned).into_iter().map(|ip| (ip, self.nodes.contains(&ip))).collect()
    }

    /// Which fronts that `owner` claims another has. Costs as much as the owner claims.
    pub fn refusals(&self, owner: &Owner) -> BTreeSet<Refusal> {
        let fronts = self.owned.get(owner).into_iter().flat_map(|owned| &owned.fronts);
        let refusal = |front: &Front| {
            let (first, _) = self.claims.get(front)?.first()?;
            (first.owner != *owner).then(|| Refusal { front: *front, holder: first.owner.clone() })
        };
        fronts.filter_map(refusal).collect()
    }
    /// Who claims a front that another has.
    pub fn refused_at(&self, front: &Front) -> impl Iterator<Item = &Owner> {
        self.claims.get(front).into_iter().flatten().skip(1).map(|(by, _)| &by.owner)
    }

    /// Makes `claims` all that `owner` has, and says what this changes in force. Costs as much as what the owner
    /// claimed and claims, and what others claim on addresses that it comes to hold or holds no longer.
    pub fn set(&mut self, owner: &Owner, claims: Claims) -> Vec<Change> {
        let old = self.owned.remove(owner).unwrap_or_default();
        let fronts: Vec<Front> = claims.fronts.iter().map(|claim| claim.front).collect();
        let mut touched: BTreeSet<Front> = old.fronts.iter().chain(&fronts).copied().collect();
        for (address, _) in old.holds.symmetric_difference(&claims.holds) {
            touched.extend(self.claims.range(fronts_at(*address)).map(|(front, _)| *front));
        }
        let before: Vec<(Front, Option<FrontRules>)> =
            touched.into_iter().map(|front| (front, self.get(&front).cloned())).collect();
        self.hold(&old.holds, &claims.holds);
        for front in &old.fronts {
            if let Some(claims) = self.claims.get_mut(front) {
                claims.retain(|(by, _)| by.owner != *owner);
            }
        }
        for Claim { front, rank, rules } in claims.fronts {
            let standing = Standing { rank, age: claims.age.clone(), owner: owner.clone() };
            let others = self.claims.entry(front).or_default();
            let at = others.partition_point(|(by, _)| *by < standing);
            others.insert(at, (standing, rules));
        }
        if !fronts.is_empty() || !claims.holds.is_empty() {
            self.owned.insert(owner.clone(), Owned { fronts, holds: claims.holds });
        }
        let mut settler = Settler::default();
        before.into_iter().filter_map(|(front, before)| self.changed(front, before, &mut settler)).collect()
    }

    fn hold(&mut self, old: &BTreeSet<(Ipv4Addr, Hold)>, new: &BTreeSet<(Ipv4Addr, Hold)>) {
        let count = |holders: &mut Holders, hold: Hold, by: fn(u32) -> u32| match hold {
            Hold::System => holders.system = by(holders.system),
            Hold::Api => holders.api = by(holders.api),
            Hold::LoadBalancer => holders.load_balancer = by(holders.load_balancer),
            Hold::NodeAddress => holders.node_address = by(holders.node_address),
            Hold::Node => holders.node = by(holders.node),
        };
        for (address, hold) in new.difference(old) {
            count(self.held.entry(*address).or_default(), *hold, |n| n.saturating_add(1));
        }
        for (address, hold) in old.difference(new) {
            let Some(holders) = self.held.get_mut(address) else { continue };
            count(holders, *hold, |n| n.saturating_sub(1));
            if *holders == Holders::default() {
                self.held.remove(address);
            }
        }
        for (address, _) in old.symmetric_difference(new) {
            let is_node = self.held.get(address).is_some_and(|holders| holders.is_node());
            let turns = if is_node { self.nodes.insert(*address) } else { self.nodes.remove(address) };
            // Twice is back to what it was.
            if turns && !self.turned.remove(address) {
                self.turned.insert(*address);
            }
        }
    }

    /// What came of a front, with its ends in the slots that they had.
    fn changed(&mut self, front: Front, before: Option<FrontRules>, settler: &mut Settler) -> Option<Change> {
        if self.claims.get(&front).is_some_and(Vec::is_empty) {
            self.claims.remove(&front);
        }
        let mut after = self.get(&front).cloned();
        if let (Some(before), Some(after)) = (&before, &mut after) {
            settler.rules(before, after);
            if let Some((_, rules)) = self.claims.get_mut(&front).and_then(|claims| claims.first_mut()) {
                *rules = Some(after.clone());
            }
        }
        (before != after).then_some(Change { front, before, after })
    }

    /// Takes over the slots that the kernel's maps have, so that a start rewrites nothing that is right.
    pub fn adopt(&mut self, kernel: &Elements) {
        let adopt = |front: &Front, fate: &mut Fate, first: u32| {
            let Fate::Balance(ends) = fate else { return };
            let held = elements::ends_in(kernel, front, first);
            if !held.is_empty() && held[..] != ends[..] {
                *ends = slots::settle(&held.into(), ends);
            }
        };
        for (front, claims) in &mut self.claims {
            let Some((_, Some(rules))) = claims.first_mut() else { continue };
            adopt(front, &mut rules.inside, 0);
            if let Some(outside) = &mut rules.outside {
                adopt(front, outside, elements::OUTSIDE_OFFSET);
            }
        }
    }
}

fn fronts_at(address: Ipv4Addr) -> std::ops::RangeInclusive<Front> {
    let front = |protocol, port| Front { address, protocol, port };
    front(Protocol::Tcp, 0)..=front(Protocol::Sctp, u16::MAX)
}

#[cfg(test)]
mod tests;
