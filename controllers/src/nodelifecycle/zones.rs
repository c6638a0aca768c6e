//! How many nodes of each zone are ready, counted as they change, and which lost node's pods may leave next. Pure.
//!
//! When too many nodes are lost it is more likely the network between us and them, or we, who are at fault.
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction>

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// Lost nodes whose pods begin to leave, one after the other: a fault of the network shows itself in between.
pub const EVICTION_EVERY: Duration = Duration::from_secs(10);
/// The same in a zone most of which is lost.
const EVICTION_EVERY_PARTIAL: Duration = Duration::from_secs(100);
/// In a zone of this many nodes or fewer, most of which is lost, no pods leave at all.
const SMALL_ZONE_MAX: usize = 50;
/// Below this many lost nodes no share of them is too large.
const LOST_MIN: usize = 3;
/// Of a hundred.
const LOST_SHARE: usize = 55;

/// How many of a zone's nodes are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption {
    None,
    /// Most of them.
    Partial,
    /// All of them.
    Full,
}

pub fn disruption(ready: usize, lost: usize) -> Disruption {
    if ready == 0 && lost > 0 {
        Disruption::Full
    } else if lost >= LOST_MIN && lost * 100 >= (ready + lost) * LOST_SHARE {
        Disruption::Partial
    } else {
        Disruption::None
    }
}

/// What a node counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Ready,
    /// Ready by its own last word, but an apiserver has lost it: it is being looked at.
    Suspected,
    /// Not ready, and there is nothing to begin: its pods leave already, or it has none.
    Lost,
    /// Not ready, and its pods have not begun to leave.
    Waits,
}

#[derive(Debug, Default)]
struct Zone {
    ready: usize,
    lost: usize,
    /// Of those that are ready.
    suspected: usize,
    /// Nodes that wait for their turn, the first first.
    line: BTreeMap<u64, String>,
    /// When the first one's turn is.
    next: Option<Instant>,
}

impl Zone {
    fn disruption(&self) -> Disruption {
        disruption(self.ready, self.lost)
    }

    /// How long after one node the next one's turn comes; `None`: it does not.
    fn pace(&self) -> Option<Duration> {
        match self.disruption() {
            // Other zones are well, so it is this one's fault and not ours.
            Disruption::None | Disruption::Full => Some(EVICTION_EVERY),
            Disruption::Partial => (self.ready + self.lost > SMALL_ZONE_MAX).then_some(EVICTION_EVERY_PARTIAL),
        }
    }
}

struct Member {
    zone: String,
    standing: Standing,
    /// Its place in its zone's line.
    place: Option<u64>,
}

/// Every change costs the same however many nodes there are, and tells whose turn it became by it.
#[derive(Default)]
pub struct Zones {
    members: HashMap<String, Member>,
    zones: BTreeMap<String, Zone>,
    /// Zones all of whose nodes are lost.
    fully_lost: usize,
    last_place: u64,
}

impl Zones {
    /// Notes what a node is now. Returns the nodes that may have to be looked at because of it.
    pub fn set(&mut self, node: &str, zone: &str, standing: Standing) -> Vec<String> {
        let same = |m: &Member| m.zone == zone && m.standing == standing;
        if self.members.get(node).is_some_and(same) {
            return Vec::new();
        }
        let old = self.zone_of(node).filter(|old| old != zone);
        self.change(node, [Some(zone.to_owned()), old], |all| {
            let kept = all.take_out(node).filter(|_| standing == Standing::Waits);
            let counts = all.zones.entry(zone.to_owned()).or_default();
            match standing {
                Standing::Ready => counts.ready += 1,
                Standing::Suspected => (counts.ready, counts.suspected) = (counts.ready + 1, counts.suspected + 1),
                Standing::Lost | Standing::Waits => counts.lost += 1,
            }
            let place = (standing == Standing::Waits).then(|| kept.unwrap_or_else(|| all.new_place()));
            if let (Some(place), Some(counts)) = (place, all.zones.get_mut(zone)) {
                counts.line.insert(place, node.to_owned());
            }
            all.members.insert(node.to_owned(), Member { zone: zone.to_owned(), standing, place });
        })
    }

    pub fn remove(&mut self, node: &str) -> Vec<String> {
        self.change(node, [None, self.zone_of(node)], |all| {
            all.take_out(node);
        })
    }

    /// What a node that is there counts as now, and instead: as its zone stays the same, others are told as by `set`.
    pub fn change_standing(&mut self, node: &str, from: Standing, to: Standing) -> Option<Vec<String>> {
        let zone = self.members.get(node).filter(|m| m.standing == from)?.zone.clone();
        Some(self.set(node, &zone, to))
    }

    /// Whether so few nodes of this one's zone are lost or suspected that it may count as lost before its lease is old.
    /// If it were the network, or us, many would be suspected together.
    pub fn may_be_early(&self, node: &str) -> bool {
        let zone = self.members.get(node).and_then(|m| self.zones.get(&m.zone));
        zone.is_some_and(|z| disruption(z.ready - z.suspected, z.lost + z.suspected) == Disruption::None)
    }

    pub fn standing(&self, node: &str) -> Option<Standing> {
        self.members.get(node).map(|member| member.standing)
    }

    /// Nodes that are ready by their own last word.
    pub fn ready(&self) -> impl Iterator<Item = &str> {
        let is_ready = |member: &Member| matches!(member.standing, Standing::Ready | Standing::Suspected);
        self.members.iter().filter(move |(_, member)| is_ready(member)).map(|(name, _)| name.as_str())
    }

    pub fn has(&self, node: &str) -> bool {
        self.members.contains_key(node)
    }

    /// From when on a node's pods may begin to leave; `None`: it is another's turn, or nobody's.
    pub fn turn(&self, node: &str, now: Instant) -> Option<Instant> {
        let member = self.members.get(node)?;
        (self.first(&member.zone)? == node).then(|| self.zones.get(&member.zone)?.next.or(Some(now)))?
    }

    /// A node's pods begin to leave: the next one's turn is a while from now.
    pub fn began(&mut self, node: &str, now: Instant) {
        let Some(zone) = self.members.get(node).and_then(|m| self.zones.get_mut(&m.zone)) else { return };
        zone.next = Some(now + zone.pace().unwrap_or(EVICTION_EVERY_PARTIAL));
    }

    /// A node's turn could not be used: it goes to the end of the line, so that it holds up no other.
    pub fn step_back(&mut self, node: &str) -> Vec<String> {
        self.change(node, [None, self.zone_of(node)], |all| {
            let place = all.new_place();
            let Some(member) = all.members.get_mut(node) else { return };
            let (Some(old), Some(zone)) = (member.place, all.zones.get_mut(&member.zone)) else { return };
            zone.line.remove(&old);
            zone.line.insert(place, node.to_owned());
            member.place = Some(place);
        })
    }

    /// Makes a change that concerns `zones`; returns who became first where somebody may begin.
    fn change(&mut self, node: &str, zones: [Option<String>; 2], make: impl FnOnce(&mut Self)) -> Vec<String> {
        let firsts = |all: &Self| zones.clone().map(|zone| all.first(&zone?).map(str::to_owned));
        let (all_lost, before) = (self.all_are_lost(), firsts(self));
        for name in zones.iter().flatten() {
            self.fully_lost -= usize::from(self.is_fully_lost(name));
        }
        make(self);
        for name in zones.iter().flatten() {
            self.fully_lost += usize::from(self.is_fully_lost(name));
            if self.zones.get(name).is_some_and(|zone| zone.ready + zone.lost == 0) {
                self.zones.remove(name);
            }
        }
        if all_lost && !self.all_are_lost() {
            return self.zones.keys().filter_map(|zone| self.first(zone)).map(str::to_owned).collect();
        }
        let after = firsts(self);
        let became = before.iter().zip(&after).filter(|(before, after)| before != after).filter_map(|(_, a)| a.clone());
        became.filter(|first| first != node).collect()
    }

    /// Takes a node out of all counts; its place in the line.
    fn take_out(&mut self, node: &str) -> Option<u64> {
        let member = self.members.remove(node)?;
        let zone = self.zones.get_mut(&member.zone)?;
        match member.standing {
            Standing::Ready => zone.ready -= 1,
            Standing::Suspected => (zone.ready, zone.suspected) = (zone.ready - 1, zone.suspected - 1),
            Standing::Lost | Standing::Waits => zone.lost -= 1,
        }
        zone.line.remove(&member.place?);
        member.place
    }

    fn new_place(&mut self) -> u64 {
        self.last_place += 1;
        self.last_place
    }

    /// The node of a zone whose turn is next, if pods may leave there.
    fn first(&self, zone: &str) -> Option<&str> {
        let zone = self.zones.get(zone).filter(|zone| !self.all_are_lost() && zone.pace().is_some())?;
        zone.line.first_key_value().map(|(_, node)| node.as_str())
    }

    fn all_are_lost(&self) -> bool {
        self.fully_lost > 0 && self.fully_lost == self.zones.len()
    }

    fn is_fully_lost(&self, zone: &str) -> bool {
        self.zones.get(zone).is_some_and(|zone| zone.disruption() == Disruption::Full)
    }

    fn zone_of(&self, node: &str) -> Option<String> {
        self.members.get(node).map(|member| member.zone.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disruption_table() {
        let cases = [
            ("one of three", 2, 1, Disruption::None),
            ("the only one", 0, 1, Disruption::Full),
            ("all of many", 0, 9, Disruption::Full),
            ("two of three: too few to judge by", 1, 2, Disruption::None),
            ("three of four", 1, 3, Disruption::Partial),
            ("three of ten", 7, 3, Disruption::None),
            ("nobody", 0, 0, Disruption::None),
        ];
        for (why, ready, lost, expected) in cases {
            assert_eq!(disruption(ready, lost), expected, "{why}");
        }
    }

    /// A zone `a` with so many nodes, the first `lost` of which wait; a zone `b` likewise.
    fn zones(of_a: (usize, usize), of_b: (usize, usize)) -> Zones {
        let mut all = Zones::default();
        for (zone, (count, lost)) in [("a", of_a), ("b", of_b)] {
            for n in 0..count {
                let standing = if n < lost { Standing::Waits } else { Standing::Ready };
                all.set(&format!("{zone}{n}"), zone, standing);
            }
        }
        all
    }

    #[test]
    fn whose_turn_it_is() {
        let now = Instant::now();
        let cases = [
            ("nobody is lost", (3, 0), (3, 0), None),
            ("one is lost", (3, 1), (3, 0), Some(10)),
            ("a whole zone, another is well", (3, 3), (3, 0), Some(10)),
            ("all zones are lost", (3, 3), (3, 3), None),
            ("the only zone is lost", (3, 3), (0, 0), None),
            ("most of a small zone", (4, 3), (3, 0), None),
            ("most of a large zone: slowly", (60, 40), (3, 0), Some(100)),
            ("less than half of a large zone", (60, 20), (3, 0), Some(10)),
        ];
        for (why, of_a, of_b, pace) in cases {
            let mut all = zones(of_a, of_b);
            assert_eq!(all.turn("a0", now).map(|_| ()), pace.map(|_| ()), "{why}");
            assert_eq!(all.turn("a1", now), None, "{why}: one at a time");
            all.began("a0", now);
            let expected = pace.filter(|_| of_a.1 > 1).map(|_| vec!["a1".to_owned()]).unwrap_or_default();
            assert_eq!(all.set("a0", "a", Standing::Lost), expected, "{why}: the next is told");
            let secs = all.turn("a1", now).map(|at| (at - now).as_secs());
            assert_eq!(secs, pace.filter(|_| of_a.1 > 1), "{why}: the next waits");
        }
    }

    #[test]
    fn those_who_wait_are_told_when_it_is_their_turn() {
        let mut all = zones((3, 3), (2, 2));
        assert_eq!(all.set("a2", "a", Standing::Ready), ["a0", "b0"], "not all are lost any more");
        assert_eq!(all.set("a1", "a", Standing::Ready), Vec::<String>::new(), "it was not its turn");
        assert_eq!(all.step_back("b0"), ["b1"]);
        assert_eq!(all.turn("b0", Instant::now()), None);
        assert_eq!(all.remove("b1"), ["b0"]);
        assert_eq!(all.remove("b0"), Vec::<String>::new());
        assert_eq!(all.zones.len(), 1, "a zone without nodes is forgotten");
    }

    #[test]
    fn a_few_suspects_may_count_as_lost_early_and_many_may_not() {
        let cases = [
            ("one of many", 10, 1, true),
            ("one of two", 2, 1, true),
            ("the only one", 1, 1, false),
            ("all", 10, 10, false),
            ("most", 10, 6, false),
            ("less than most", 10, 5, true),
        ];
        for (why, nodes, suspected, expected) in cases {
            let mut all = zones((nodes, 0), (3, 0));
            for n in 0..suspected {
                all.change_standing(&format!("a{n}"), Standing::Ready, Standing::Suspected);
            }
            assert_eq!(all.may_be_early("a0"), expected, "{why}");
        }
        assert!(!Zones::default().may_be_early("gone"));
    }

    #[test]
    fn counts_stay_right_whatever_comes() {
        let mut all = Zones::default();
        let mut state = 7_u64;
        let mut below = |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        for step in 0..20_000 {
            let (node, zone) = (format!("n{}", below(12)), format!("z{}", below(3)));
            match below(8) {
                0 => drop(all.remove(&node)),
                1 => drop(all.step_back(&node)),
                n => {
                    let all_four = [Standing::Ready, Standing::Lost, Standing::Waits, Standing::Suspected];
                    let standing = all_four[(n % 4) as usize];
                    drop(all.set(&node, &zone, standing));
                }
            }
            for (name, zone) in &all.zones {
                let of_zone = |want: &dyn Fn(&Member) -> bool| {
                    all.members.values().filter(|m| m.zone == *name && want(m)).count()
                };
                let is_ready = |m: &Member| matches!(m.standing, Standing::Ready | Standing::Suspected);
                assert_eq!(zone.ready, of_zone(&is_ready), "step {step}");
                assert_eq!(zone.suspected, of_zone(&|m| m.standing == Standing::Suspected), "step {step}");
                assert_eq!(zone.lost, of_zone(&|m| !is_ready(m)), "step {step}");
                assert_eq!(zone.line.len(), of_zone(&|m| m.standing == Standing::Waits), "step {step}");
            }
            let full = all.zones.values().filter(|z| z.disruption() == Disruption::Full).count();
            assert_eq!(all.fully_lost, full, "step {step}");
        }
    }
}
