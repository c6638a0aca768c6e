//! Which slot of a front's map each end stands in, so that an end that comes or goes changes one slot and not all behind
//! it. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use super::{End, Fate, FrontRules};

/// `wanted`, ordered so that as many ends as can be stay in the slot that they hold. The slots are 0 to n-1 without a
/// hole: the places of ends that left are taken by ends that come, or else by those that stood last.
pub fn settle(held: &Arc<[End]>, wanted: &[End]) -> Arc<[End]> {
    if **held == *wanted {
        return Arc::clone(held);
    }
    let mut unplaced: HashSet<End> = wanted.iter().copied().collect();
    let stay = held.iter().take(wanted.len()).map(|end| unplaced.remove(end).then_some(*end));
    let mut slots: Vec<Option<End>> = stay.collect();
    slots.resize(wanted.len(), None);
    // In the order given, so that the same history leads to the same slots.
    let mut rest = wanted.iter().filter(|end| unplaced.contains(*end)).copied();
    let settled: Arc<[End]> = slots.into_iter().filter_map(|slot| slot.or_else(|| rest.next())).collect();
    if settled == *held { Arc::clone(held) } else { settled }
}

/// Settles rules after others. The fronts of one Service port share their ends, and go on sharing them.
#[derive(Debug, Default)]
pub struct Settler {
    known: Vec<Settled>,
}

#[derive(Debug)]
struct Settled {
    held: Arc<[End]>,
    wanted: Arc<[End]>,
    settled: Arc<[End]>,
}

impl Settler {
    pub fn rules(&mut self, held: &FrontRules, wanted: &mut FrontRules) {
        self.fate(&held.inside, &mut wanted.inside);
        if let (Some(held), Some(wanted)) = (&held.outside, &mut wanted.outside) {
            self.fate(held, wanted);
        }
    }
    fn fate(&mut self, held: &Fate, wanted: &mut Fate) {
        let (Fate::Balance(held), Fate::Balance(ends)) = (held, wanted) else { return };
        let asked = |s: &&Settled| Arc::ptr_eq(&s.held, held) && Arc::ptr_eq(&s.wanted, ends);
        let settled = match self.known.iter().find(asked) {
            Some(known) => Arc::clone(&known.settled),
            None => {
                let settled = settle(held, ends);
                let (held, wanted) = (Arc::clone(held), Arc::clone(ends));
                self.known.push(Settled { held, wanted, settled: Arc::clone(&settled) });
                settled
            }
        };
        *ends = settled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends by letters.
    fn ends(letters: &str) -> Vec<End> {
        letters.bytes().map(|b| End { address: [10, 244, 1, b].into(), port: 80 }).collect()
    }

    #[test]
    fn as_few_slots_change_as_can_be() {
        for (why, held, wanted, expected) in [
            ("nothing changes", "abc", "abc", "abc"),
            ("another order is no change", "cab", "abc", "cab"),
            ("the last leaves", "abc", "ab", "ab"),
            ("the first leaves: the last takes its place", "abcd", "bcd", "dbc"),
            ("one comes, last", "bc", "abc", "bca"),
            ("one leaves while one comes", "abc", "bcd", "dbc"),
            ("two leave", "abcde", "bde", "dbe"),
            ("all are others", "abc", "xy", "xy"),
            ("the first ones", "", "ab", "ab"),
            ("what the kernel holds twice is held once", "aab", "ab", "ab"),
        ] {
            let settled = settle(&ends(held).into(), &ends(wanted));
            assert_eq!(*settled, *ends(expected), "{why}");
        }
    }
}
