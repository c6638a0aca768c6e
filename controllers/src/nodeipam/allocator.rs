//! Which network each node has or gets. Kept from the Nodes as they change, so that a change costs the same however many
//! nodes there are; nothing else is remembered beyond a term. Pure.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;
use jiff::Timestamp;

use crate::networks::Networks;

/// What is looked at of a Node.
#[derive(Clone, Debug)]
pub struct SeenNode {
    pub name: String,
    pub created: Option<Timestamp>,
    pub networks: Vec<IpNet>,
    pub deleting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// It has one, is going, or is gone.
    Nothing,
    Give(IpNet),
    /// None is left. It is looked at again when one is free.
    Refused,
}

#[derive(Clone, Debug)]
pub struct Allocator {
    networks: Networks,
    nodes: HashMap<String, Known>,
    /// Nodes for which nothing was left, the oldest first.
    waiting: BTreeSet<(Option<Timestamp>, String)>,
}

#[derive(Clone, Debug)]
struct Known {
    created: Option<Timestamp>,
    deleting: bool,
    /// What it has; with `is_given` what we chose and its Node does not show yet.
    networks: Vec<IpNet>,
    is_given: bool,
}

impl Known {
    fn wants_one(&self) -> bool {
        !self.deleting && (self.networks.is_empty() || self.is_given)
    }
}

impl Allocator {
    pub fn new(networks: Networks) -> Self {
        Self { networks, nodes: HashMap::new(), waiting: BTreeSet::new() }
    }

    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Notes a Node as it is now. Returns the nodes to be looked at: itself if it wants a network and is not known to
    /// wait for one, and as many of those that wait as networks became free.
    pub fn set(&mut self, seen: SeenNode) -> Vec<String> {
        let before = self.nodes.remove(&seen.name);
        let mut known =
            Known { created: seen.created, deleting: seen.deleting, networks: seen.networks, is_given: false };
        if let Some(before) = &before
            && (before.created != known.created || !known.wants_one())
        {
            self.waiting.remove(&(before.created, seen.name.clone()));
        }
        let mut freed = 0;
        match before {
            // Our write is under way, or its outcome is unknown: the network stays this node's.
            Some(before) if before.is_given && known.networks.is_empty() => {
                (known.networks, known.is_given) = (before.networks, true);
            }
            Some(before) if before.networks == known.networks => {}
            before => {
                known.networks.iter().for_each(|network| self.networks.take(network));
                freed = before.map_or(0, |before| self.release(&before));
            }
        }
        let waits = self.waiting.contains(&(known.created, seen.name.clone()));
        let wants_one = known.wants_one();
        self.nodes.insert(seen.name.clone(), known);
        let mut look_at = self.first_waiting(freed);
        if wants_one && !waits {
            look_at.push(seen.name);
        }
        look_at
    }

    /// A Node is gone. Returns the nodes that waited for what it had.
    pub fn remove(&mut self, name: &str) -> Vec<String> {
        let Some(known) = self.nodes.remove(name) else { return Vec::new() };
        self.waiting.remove(&(known.created, name.to_owned()));
        let freed = self.release(&known);
        self.first_waiting(freed)
    }

    /// Chooses the lowest free network for a node. Asked again it says the same, until the Node shows that it has one.
    pub fn assign(&mut self, name: &str) -> Assignment {
        let Some(known) = self.nodes.get_mut(name).filter(|known| known.wants_one()) else {
            return Assignment::Nothing;
        };
        if let Some(network) = known.networks.first() {
            return Assignment::Give(*network);
        }
        let place = (known.created, name.to_owned());
        let Some(network) = self.networks.lowest_free() else {
            self.waiting.insert(place);
            return Assignment::Refused;
        };
        self.networks.take(&network);
        (known.networks, known.is_given) = (vec![network], true);
        self.waiting.remove(&place);
        Assignment::Give(network)
    }

    /// Frees what a node had; returns how many nodes may be helped by that.
    fn release(&mut self, known: &Known) -> usize {
        known.networks.iter().for_each(|network| self.networks.release(network));
        let of_one = |network: &IpNet| 1_usize << self.networks.mask().saturating_sub(network.prefix_len()).min(16);
        known.networks.iter().map(of_one).sum()
    }

    fn first_waiting(&self, count: usize) -> Vec<String> {
        self.waiting.iter().take(count).map(|(_, name)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, networks: &[&str]) -> SeenNode {
        let networks = networks.iter().map(|n| n.parse().unwrap()).collect();
        SeenNode { name: name.into(), created: None, networks, deleting: false }
    }

    fn allocator(cluster: &str, mask: u8) -> Allocator {
        Allocator::new(Networks::of(cluster.parse().unwrap(), mask).unwrap())
    }

    fn assigned(all: &mut Allocator, names: &[String]) -> String {
        let line = |name: &String| match all.assign(name) {
            Assignment::Nothing => None,
            Assignment::Give(network) => Some(format!("{name}={network}")),
            Assignment::Refused => Some(format!("{name}=none")),
        };
        names.iter().filter_map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn networks_table() {
        let leaving = SeenNode { deleting: true, ..node("z", &["10.244.0.0/24"]) };
        let cases = [
            ("the first", "10.244.0.0/16", 24, vec![node("a", &[])], "a=10.244.0.0/24"),
            (
                "two at once get two",
                "10.244.0.0/16",
                24,
                vec![node("a", &[]), node("b", &[])],
                "a=10.244.0.0/24 b=10.244.1.0/24",
            ),
            (
                "a gap is filled",
                "10.244.0.0/16",
                24,
                vec![node("a", &["10.244.0.0/24"]), node("c", &["10.244.2.0/24"]), node("b", &[])],
                "b=10.244.1.0/24",
            ),
            ("who has one keeps it", "10.244.0.0/16", 24, vec![node("a", &["10.9.0.0/24"])], ""),
            ("a leaving node's is still in use", "10.244.0.0/16", 24, vec![leaving, node("a", &[])], "a=10.244.1.0/24"),
            (
                "a larger old network counts whole",
                "10.244.0.0/16",
                24,
                vec![node("a", &["10.244.0.0/23"]), node("b", &[])],
                "b=10.244.2.0/24",
            ),
            (
                "a smaller old network counts too",
                "10.244.0.0/16",
                24,
                vec![node("a", &["10.244.0.128/25"]), node("b", &[])],
                "b=10.244.1.0/24",
            ),
            (
                "one that holds the cluster leaves nothing",
                "10.244.0.0/16",
                24,
                vec![node("a", &["10.0.0.0/8"]), node("b", &[])],
                "b=none",
            ),
            (
                "nothing left",
                "10.244.0.0/24",
                25,
                vec![node("a", &[]), node("b", &[]), node("c", &[])],
                "a=10.244.0.0/25 b=10.244.0.128/25 c=none",
            ),
            ("IPv6", "fd00::/48", 64, vec![node("a", &["fd00::/64"]), node("b", &[])], "b=fd00:0:0:1::/64"),
        ];
        for (why, cluster, mask, nodes, expected) in cases {
            let mut all = allocator(cluster, mask);
            let look_at: Vec<String> = nodes.into_iter().flat_map(|node| all.set(node)).collect();
            assert_eq!(assigned(&mut all, &look_at), expected, "{why}");
        }
    }

    #[test]
    fn who_was_refused_gets_what_is_freed_and_is_not_asked_for_before() {
        let mut all = allocator("10.244.0.0/24", 25);
        let at = |secs| Some(Timestamp::from_second(secs).unwrap());
        let mut look_at = Vec::new();
        for (name, created) in [("a", 1), ("b", 2), ("young", 9), ("old", 3)] {
            look_at.extend(all.set(SeenNode { created: at(created), ..node(name, &[]) }));
        }
        assert_eq!(assigned(&mut all, &look_at), "a=10.244.0.0/25 b=10.244.0.128/25 young=none old=none");
        let heartbeat = SeenNode { created: at(9), ..node("young", &[]) };
        assert_eq!(all.set(heartbeat), Vec::<String>::new(), "a heartbeat of one that waits");
        assert_eq!(all.set(node("a", &["10.244.0.0/25"])), Vec::<String>::new(), "a has what it was given");
        assert_eq!(all.set(node("a", &["10.244.0.0/25"])), Vec::<String>::new(), "a heartbeat frees nothing");
        let look_at = all.remove("b");
        assert_eq!(look_at, ["old"], "one network, one node");
        assert_eq!(assigned(&mut all, &look_at), "old=10.244.0.128/25");
        assert_eq!(all.remove("old"), ["young"]);
        assert_eq!(all.remove("young"), Vec::<String>::new());
        assert_eq!(all.waiting.len(), 0);
    }

    #[test]
    fn a_write_without_an_answer_is_asked_for_again_with_the_same_network() {
        let mut all = allocator("10.244.0.0/16", 24);
        let look_at = all.set(node("a", &[]));
        let first = assigned(&mut all, &look_at);
        assert_eq!(assigned(&mut all, &look_at), first, "tried again");
        let look_at = all.set(node("a", &[]));
        assert_eq!(assigned(&mut all, &look_at), first, "another change of the node came between");
        assert_eq!(all.set(node("a", &["10.244.7.0/24"])), Vec::<String>::new(), "somebody else gave it one");
        let look_at = all.set(node("b", &[]));
        assert_eq!(assigned(&mut all, &look_at), "b=10.244.0.0/24", "ours is free again");
    }
}
