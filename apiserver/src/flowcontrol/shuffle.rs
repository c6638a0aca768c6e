//! Shuffle sharding: each flow is dealt a hand of queues, so that two flows seldom share all of theirs.

/// At most so many cards in a hand: 20! hands are more than a hash of 60 bits tells apart.
const HAND_MAX: usize = 20;

/// The hand that `hash` is dealt from a deck of `queues`: `hand_size` different numbers below `queues`.
///
/// The hash is read as a number in a mixed base: its digits say which of the cards that are left is taken next.
pub(super) fn deal(mut hash: u64, queues: u32, hand_size: u32) -> impl Iterator<Item = usize> {
    let size = (hand_size.min(queues) as usize).min(HAND_MAX);
    let mut hand = [0usize; HAND_MAX];
    for taken in 0..size {
        let left = u64::from(queues) - taken as u64;
        let mut card = usize::try_from(hash % left).unwrap_or(0);
        hash /= left;
        // The digit counts only cards that are left: step over those that are gone, lowest first.
        let mut gone = hand;
        gone[..taken].sort_unstable();
        for before in &gone[..taken] {
            card += usize::from(*before <= card);
        }
        hand[taken] = card;
    }
    hand.into_iter().take(size)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hands_have_different_cards_and_all_hands_are_dealt() {
        let mut hands = BTreeSet::new();
        for hash in 0..5 * 4 * 3 {
            let hand: Vec<usize> = deal(hash, 5, 3).collect();
            let cards: BTreeSet<usize> = hand.iter().copied().collect();
            assert!(cards.len() == 3 && cards.iter().all(|c| *c < 5), "{hand:?}");
            hands.insert(hand);
        }
        assert_eq!(hands.len(), 60, "every ordered hand is dealt by one hash");
        assert_eq!(deal(u64::MAX, 1, 1).collect::<Vec<_>>(), [0]);
        assert_eq!(deal(7, 2, 9).count(), 2, "a hand is no larger than the deck");
    }
}
