//! A map that remembers what was used last, and forgets the rest.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Recent<K, V> {
    max: usize,
    values: HashMap<K, (u64, V)>,
    /// By when they were used.
    order: BTreeMap<u64, K>,
    clock: u64,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, values: HashMap::new(), order: BTreeMap::new(), clock: 0 }
    }

    /// The value of `key`, or a new one; it now is the one used last.
    pub(super) fn entry(&mut self, key: &K, new: impl FnOnce() -> V) -> &mut V {
        self.clock += 1;
        let clock = self.clock;
        if let Some((used, _)) = self.values.get(key) {
            self.order.remove(used);
        } else if self.values.len() >= self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.values.remove(&oldest);
        }
        self.order.insert(clock, key.clone());
        let (used, value) = self.values.entry(key.clone()).or_insert_with(|| (clock, new()));
        *used = clock;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_forgotten() {
        let mut recent = Recent::new(2);
        for (key, value) in [("a", 1), ("b", 2), ("a", 0), ("c", 3)] {
            recent.entry(&key, || value);
        }
        let seen: Vec<i32> = ["a", "c", "b"].iter().map(|key| *recent.entry(key, || 9)).collect();
        assert_eq!(seen, [1, 3, 9], "b made room for c");
        assert_eq!((recent.values.len(), recent.order.len()), (2, 2));
    }
}
