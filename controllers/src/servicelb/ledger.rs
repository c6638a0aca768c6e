//! Who has which address of the pool, who waits for one, and who gets the next. Kept as Services change, so that neither a
//! change nor a choice costs more the more Services there are. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use corten_api::k8s_openapi::api::core::v1::{Service, ServiceSpec};
use corten_api::{Key, Object};
use corten_client::Change;

use super::decide;
use super::given::{Given, Refusal};
use crate::backends::{self, Family};
use crate::balancers::ranges::{Ranges, after};

/// Of two Services with one address the older has it: see [`decide::age`].
type Age = (Option<jiff::Timestamp>, String);

/// What a Service waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    Any(Family),
    This(IpAddr),
}

/// The addresses of one Service that are the pool's.
#[derive(Debug, Default)]
struct Known {
    age: Age,
    /// In its status.
    shows: BTreeSet<IpAddr>,
    /// Chosen for it, and not in its status yet as it was last seen.
    promised: BTreeSet<IpAddr>,
}

impl Known {
    fn all(&self) -> BTreeSet<IpAddr> {
        &self.shows | &self.promised
    }
}

/// Bounded by the Services that there are.
#[derive(Debug, Default)]
pub struct Ledger {
    pool: Ranges,
    /// Of each range: below it nothing is free. A search begins here.
    lowest: Vec<IpAddr>,
    services: HashMap<Key, Known>,
    holders: HashMap<IpAddr, BTreeMap<Age, Key>>,
    waiting: BTreeMap<Want, BTreeMap<Age, Key>>,
    waits: HashMap<Key, Vec<(Want, Age)>>,
    /// The addresses of the pool that nodes have for themselves, by node. Nobody is given these.
    nodes: HashMap<String, BTreeSet<IpAddr>>,
    /// Each with how many nodes say that they have it.
    of_nodes: HashMap<IpAddr, usize>,
}

impl Ledger {
    pub fn new(pool: &Ranges) -> Self {
        let lowest = pool.iter().map(|range| range.first).collect();
        Self { pool: pool.clone(), lowest, ..Self::default() }
    }

    /// Notes a Service as it is now. Returns who is to be looked at: others that have one of its addresses, and who waits for
    /// what has become free.
    pub fn follow(&mut self, change: &Change<'_, Service>) -> Vec<Key> {
        let (key, service) = match change {
            Change::Set { key, new, .. } => (*key, new),
            Change::Removed { key, .. } => return self.put(key, None),
            Change::Synced => return Vec::new(),
        };
        let (age, shows) = (age(service), self.shown(service));
        let before = self.services.get(key).filter(|known| known.age == age);
        let promised = before.map(|known| known.promised.clone()).unwrap_or_default();
        if before.is_some_and(|known| known.shows == shows) {
            return Vec::new();
        }
        let mut found = self.put(key, Some(Known { age, shows: shows.clone(), promised }));
        let others = shows.iter().filter_map(|ip| self.holders.get(ip)).flat_map(BTreeMap::values);
        found.extend(others.filter(|other| *other != key).cloned());
        found
    }

    /// Notes which addresses a node has. Returns who is to be looked at: Services that have one of them, or wait for what is free.
    pub fn follow_node(&mut self, name: &str, addresses: BTreeSet<IpAddr>) -> Vec<Key> {
        let is: BTreeSet<IpAddr> = addresses.into_iter().filter(|ip| self.pool.contains(*ip)).collect();
        let was = if is.is_empty() { self.nodes.remove(name) } else { self.nodes.insert(name.to_owned(), is.clone()) };
        let (was, mut found) = (was.unwrap_or_default(), Vec::new());
        for ip in is.difference(&was) {
            *self.of_nodes.entry(*ip).or_default() += 1;
            found.extend(self.holders.get(ip).into_iter().flat_map(BTreeMap::values).cloned());
        }
        for ip in was.difference(&is) {
            let Some(count) = self.of_nodes.get_mut(ip) else { continue };
            *count -= 1;
            if *count == 0 {
                self.of_nodes.remove(ip);
                found.extend(self.left(*ip));
            }
        }
        found
    }

    /// What the Service has of the pool, or gets from now on; and who gets what it leaves.
    pub fn give(&mut self, service: &Service) -> (Given, Vec<Key>) {
        let key = service.key();
        self.stop_waiting(&key);
        let (none, age) = (ServiceSpec::default(), age(service));
        let spec = service.spec.as_ref().unwrap_or(&none);
        let families = backends::families(spec);
        let asked = spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty());
        let asked = match asked.map(|text| self.asked(text, &families)).transpose() {
            Ok(asked) => asked,
            Err(refusal) => {
                // What works is not taken away for what was written by mistake.
                let kept = families.into_iter().filter_map(|family| self.kept(service, &age, family));
                let given = Given { addresses: kept.collect(), refusal: Some(refusal) };
                let promised = given.addresses.iter().copied().collect();
                return (given, self.promise(service, &age, promised));
            }
        };
        let mut given = Given::default();
        for family in families {
            let of_this = |ip: &IpAddr| family_of(*ip) == family;
            let (found, want) = match asked.filter(of_this) {
                Some(ip) => (Some(ip).filter(|ip| self.may_have(*ip, &age)), Want::This(ip)),
                None => (self.choose(service, &age, family), Want::Any(family)),
            };
            match found {
                Some(ip) => given.addresses.push(ip),
                None => {
                    given.addresses.extend(self.kept(service, &age, family));
                    self.waiting.entry(want).or_default().insert(age.clone(), key.clone());
                    self.waits.entry(key.clone()).or_default().push((want, age.clone()));
                    given.refusal = Some(match want {
                        Want::This(ip) if self.of_nodes.contains_key(&ip) => Refusal::OfNode(ip),
                        Want::This(ip) => Refusal::Taken(ip),
                        Want::Any(family) => Refusal::Full(family),
                    });
                }
            }
        }
        let promised = given.addresses.iter().copied().collect();
        let woken = self.promise(service, &age, promised);
        (given, woken)
    }

    /// Nothing more is written of this Service, as it was looked at: what it does not show it is not promised any more. Returns
    /// who gets what it leaves.
    pub fn settle(&mut self, service: &Service) -> Vec<Key> {
        let looked_at = self.shown(service);
        let known = self.services.get(&service.key()).filter(|known| known.age == age(service));
        let Some(known) = known else { return Vec::new() };
        let (age, shows) = (known.age.clone(), known.shows.clone());
        // Who tells of Services may be behind: what it shows by then is its own.
        let promised = known.promised.iter().filter(|ip| looked_at.contains(*ip) && !shows.contains(*ip));
        let promised = promised.copied().collect();
        self.put(&service.key(), Some(Known { age, shows, promised }))
    }

    /// The Service wants nothing from here.
    pub fn forget(&mut self, key: &Key) -> Vec<Key> {
        self.stop_waiting(key);
        let Some(known) = self.services.get(key) else { return Vec::new() };
        let (age, shows) = (known.age.clone(), known.shows.clone());
        self.put(key, Some(Known { age, shows, promised: BTreeSet::new() }))
    }

    /// Who has waited longest for an address of which there are some by now. It waits no more.
    pub fn next_waiting(&mut self) -> Option<Key> {
        let free = [Family::V4, Family::V6]
            .into_iter()
            .find(|family| self.waiting.contains_key(&Want::Any(*family)) && self.lowest_free(*family).is_some())?;
        self.oldest_waiting(Want::Any(free))
    }

    /// The addresses of the pool that the Service shows, whoever gave it them.
    fn shown(&self, service: &Service) -> BTreeSet<IpAddr> {
        let shown = decide::written(service).iter().filter_map(|ingress| ingress.ip.as_deref()?.parse().ok());
        shown.filter(|ip| self.pool.contains(*ip)).collect()
    }

    fn asked(&self, text: &str, families: &[Family]) -> Result<IpAddr, Refusal> {
        let asked = text.parse::<IpAddr>().ok().filter(|ip| self.pool.contains(*ip));
        asked.filter(|ip| families.contains(&family_of(*ip))).ok_or_else(|| Refusal::NotOfPool(text.to_owned()))
    }

    fn may_have(&self, ip: IpAddr, age: &Age) -> bool {
        let is_nodes = self.of_nodes.contains_key(&ip);
        !is_nodes && self.holders.get(&ip).and_then(|all| all.first_key_value()).is_none_or(|(oldest, _)| oldest == age)
    }

    /// What it shows and may have.
    fn kept(&self, service: &Service, age: &Age, family: Family) -> Option<IpAddr> {
        self.shown(service).into_iter().find(|ip| family_of(*ip) == family && self.may_have(*ip, age))
    }

    /// What it has, or was promised before; else the lowest that is free.
    fn choose(&mut self, service: &Service, age: &Age, family: Family) -> Option<IpAddr> {
        let promised = self.services.get(&service.key()).filter(|known| known.age == *age);
        let promised = promised.map(|known| known.promised.clone()).unwrap_or_default();
        let mut had = self.shown(service).into_iter().chain(promised);
        let had = had.find(|ip| family_of(*ip) == family && self.may_have(*ip, age));
        had.or_else(|| self.lowest_free(family))
    }

    fn lowest_free(&mut self, family: Family) -> Option<IpAddr> {
        let (holders, of_nodes) = (&self.holders, &self.of_nodes);
        let is_taken = |ip: &IpAddr| holders.contains_key(ip) || of_nodes.contains_key(ip);
        for (range, lowest) in self.pool.iter().zip(&mut self.lowest) {
            if family_of(range.first) != family {
                continue;
            }
            while is_taken(lowest) && *lowest < range.last {
                // There is one: the range goes on.
                *lowest = after(*lowest)?;
            }
            if !is_taken(lowest) {
                return Some(*lowest);
            }
        }
        None
    }

    fn promise(&mut self, service: &Service, age: &Age, promised: BTreeSet<IpAddr>) -> Vec<Key> {
        let shows = self.services.get(&service.key()).filter(|known| known.age == *age);
        let shows = shows.map(|known| known.shows.clone()).unwrap_or_default();
        self.put(&service.key(), Some(Known { age: age.clone(), shows, promised }))
    }

    /// Replaces what is known of a Service; wakes who waits for what it has no more.
    fn put(&mut self, key: &Key, known: Option<Known>) -> Vec<Key> {
        if known.is_none() {
            self.stop_waiting(key);
        }
        let known = known.filter(|known| !known.all().is_empty());
        let has: BTreeSet<IpAddr> = known.iter().flat_map(Known::all).collect();
        let age = known.as_ref().map(|known| known.age.clone()).unwrap_or_default();
        let before = match known {
            Some(known) => self.services.insert(key.clone(), known),
            None => self.services.remove(key),
        };
        let before = before.unwrap_or_default();
        let had = before.all();
        for ip in &had {
            if let Some(all) = self.holders.get_mut(ip) {
                all.remove(&before.age);
            }
        }
        for ip in &has {
            self.holders.entry(*ip).or_default().insert(age.clone(), key.clone());
        }
        had.difference(&has).flat_map(|ip| self.left(*ip)).collect()
    }

    /// Whom an address that somebody had concerns: who has it now by age, or waits for it.
    fn left(&mut self, ip: IpAddr) -> Vec<Key> {
        if let Some(all) = self.holders.get(&ip).filter(|all| !all.is_empty()) {
            return all.values().next().cloned().into_iter().collect();
        }
        self.holders.remove(&ip);
        if self.of_nodes.contains_key(&ip) {
            return Vec::new();
        }
        if let Some(lowest) = self.pool.find(ip).and_then(|at| self.lowest.get_mut(at)) {
            *lowest = ip.min(*lowest);
        }
        let found = self.oldest_waiting(Want::This(ip)).or_else(|| self.oldest_waiting(Want::Any(family_of(ip))));
        found.into_iter().collect()
    }

    fn oldest_waiting(&mut self, want: Want) -> Option<Key> {
        let key = self.waiting.get(&want)?.values().next()?.clone();
        self.stop_waiting(&key);
        Some(key)
    }

    fn stop_waiting(&mut self, key: &Key) {
        for (want, age) in self.waits.remove(key).unwrap_or_default() {
            let Some(all) = self.waiting.get_mut(&want) else { continue };
            all.remove(&age);
            if all.is_empty() {
                self.waiting.remove(&want);
            }
        }
    }
}

fn age(service: &Service) -> Age {
    let (made, uid) = decide::age(service);
    (made, uid.to_owned())
}

fn family_of(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

#[cfg(test)]
mod tests;
