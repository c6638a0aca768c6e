//! How often a node's question makes this server ask the store how new it is. Pure: time is an argument.
//!
//! A node may ask for what a pod needs that was bound through another server a moment ago, so a refusal is preceded by a
//! look at the newest state. Whoever has a node's key and guesses names gets no more than his node's share of looks; behind
//! that he is refused by what is known here, as upstream always does, and a kubelet asks again.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Looks that a node has at once: as many as pods may come to it together, through a server that this one is behind.
pub(super) const BURST: u32 = 10;
/// One more comes after each.
const REFILL: Duration = Duration::from_secs(1);
/// Nodes that have looked lately; more get none.
const NODES_MAX: usize = 16_384;

/// The looks of all nodes.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// When each node will have all of its looks again.
    full_at: Mutex<HashMap<Box<str>, Instant>>,
}

impl Looks {
    /// Takes one of a node's looks, if it has one.
    pub(super) fn take(&self, node: &str, now: Instant) -> bool {
        let mut full_at = self.full_at.lock();
        if let Some(at) = full_at.get_mut(node) {
            let full = (*at).max(now);
            if full.duration_since(now) > REFILL * (BURST - 1) {
                return false;
            }
            *at = full + REFILL;
            return true;
        }
        // Before it would grow, so that this costs little for each.
        if full_at.len() == full_at.capacity() || full_at.len() >= NODES_MAX {
            full_at.retain(|_, at| *at > now);
        }
        if full_at.len() >= NODES_MAX {
            return false;
        }
        full_at.insert(node.into(), now + REFILL);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_its_burst_and_then_one_a_second_and_no_other_pays_for_it() {
        let (looks, began) = (Looks::default(), Instant::now());
        let taken = |node: &str, now| (0..1000).filter(|_| looks.take(node, now)).count();
        assert_eq!(taken("n1", began), BURST as usize);
        assert_eq!(taken("n1", began + REFILL / 2), 0);
        assert_eq!(taken("n1", began + REFILL), 1);
        assert_eq!(taken("n2", began + REFILL), BURST as usize);
        assert_eq!(taken("n1", began + REFILL * 100), BURST as usize, "no more are saved up");
    }

    #[test]
    fn nodes_that_look_no_more_are_forgotten_and_too_many_get_none() {
        let (looks, began) = (Looks::default(), Instant::now());
        let taken = |from: usize, now| (from..from + 20_000).filter(|i| looks.take(&i.to_string(), now)).count();
        assert_eq!(taken(0, began), NODES_MAX);
        assert_eq!(taken(100_000, began + REFILL * 2), NODES_MAX, "the others' time is over");
        assert!(looks.full_at.lock().len() <= NODES_MAX);
    }
}
