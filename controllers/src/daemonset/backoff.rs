//! How long the failed pods of a node are left before they are replaced: each time twice as long. A node that refuses a
//! DaemonSet's pods would be sent one after the other otherwise. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use corten_api::Key;
use jiff::{SignedDuration, Timestamp};

/// As upstream.
const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    delay: Duration,
    since: Timestamp,
}

impl Entry {
    fn until(&self) -> Timestamp {
        after(self.since, self.delay)
    }
    /// Nothing failed there for so long that the next failure is a first one.
    fn is_over(&self, now: Timestamp) -> bool {
        after(self.since, 2 * MAX) < now
    }
}

fn after(since: Timestamp, delay: Duration) -> Timestamp {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    since.checked_add(delay).unwrap_or(Timestamp::MAX)
}

/// One DaemonSet's. A new generation begins anew: it may be the one that mends it.
#[derive(Clone, Debug, Default)]
struct OfSet {
    uid: String,
    generation: i64,
    nodes: BTreeMap<String, Entry>,
}

/// Bounded by the nodes where pods of DaemonSets have failed within twice [`MAX`].
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    sets: HashMap<Key, OfSet>,
}

impl Backoff {
    /// Until when the failed pods of nodes are left.
    pub fn until(&self, set: &Key, uid: &str, generation: i64) -> BTreeMap<String, Timestamp> {
        let of_set = self.sets.get(set).filter(|of| of.uid == uid && of.generation == generation);
        let nodes = of_set.into_iter().flat_map(|of| &of.nodes);
        nodes.map(|(node, entry)| (node.clone(), entry.until())).collect()
    }

    /// The failed pods of these nodes are replaced now.
    pub fn replaced(&mut self, set: &Key, uid: &str, generation: i64, nodes: &[String], now: Timestamp) {
        let of_set = self.sets.entry(set.clone()).or_default();
        if of_set.uid != uid || of_set.generation != generation {
            *of_set = OfSet { uid: uid.to_owned(), generation, nodes: BTreeMap::new() };
        }
        of_set.nodes.retain(|_, entry| !entry.is_over(now));
        for node in nodes {
            let last = of_set.nodes.get(node).map(|entry| entry.delay);
            let delay = last.map_or(FIRST, |last| (last * 2).min(MAX));
            of_set.nodes.insert(node.clone(), Entry { delay, since: now });
        }
    }

    /// The DaemonSet is not there any more.
    pub fn forget(&mut self, set: &Key) {
        self.sets.remove(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_left_twice_as_long_up_to_a_bound() {
        let (mut backoff, key) = (Backoff::default(), Key::new("ns", "agent"));
        let at = |secs: i64| Timestamp::from_second(secs).unwrap();
        let until = |backoff: &Backoff, uid: &str, generation| {
            backoff.until(&key, uid, generation).get("n1").map(|at| at.as_second())
        };
        let nodes = ["n1".to_owned()];
        assert_eq!(until(&backoff, "u", 1), None);
        let mut waits = Vec::new();
        for n in 0..12 {
            let now = at(1000 * n);
            backoff.replaced(&key, "u", 1, &nodes, now);
            waits.push(until(&backoff, "u", 1).unwrap() - now.as_second());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(until(&backoff, "u", 2), None, "another generation");
        assert_eq!(until(&backoff, "v", 1), None, "another of its name");
        backoff.replaced(&key, "u", 1, &nodes, at(11_000 + 1801));
        assert_eq!(until(&backoff, "u", 1), Some(11_000 + 1801 + 1), "all was well for long");
        backoff.replaced(&key, "u", 1, &[], at(100_000));
        assert!(backoff.sets[&key].nodes.is_empty(), "what is over is forgotten");
        backoff.forget(&key);
        assert!(backoff.sets.is_empty());
    }
}
