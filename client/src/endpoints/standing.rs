//! Which apiserver to try first: pure, time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// How long one that failed is tried last, and up to so much longer at random: its clients do not come back together.
const AVOIDED_MIN: Duration = Duration::from_secs(10);
const AVOIDED_SPREAD: Duration = Duration::from_secs(5);

/// Until when each is avoided, by its place in our order.
#[derive(Debug)]
pub(super) struct Standing(Vec<Option<Instant>>);

impl Standing {
    pub(super) fn of(count: usize) -> Self {
        Self(vec![None; count])
    }
    pub(super) fn avoid(&mut self, rank: usize, now: Instant) {
        self.0[rank] = Some(now + AVOIDED_MIN + AVOIDED_SPREAD.mul_f64(rand::random()));
    }
    /// Whether any is not avoided.
    pub(super) fn has_well(&self, now: Instant) -> bool {
        self.0.iter().any(|until| until.is_none_or(|until| until <= now))
    }
    /// All of them: the well ones as we like them, then those that failed the longest ago.
    pub(super) fn order(&self, now: Instant) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|rank| self.0[*rank].filter(|until| *until > now));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_come_first_and_the_long_avoided_before_the_newly_failed() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut standing = Standing::of(3);
        assert_eq!(standing.order(at(0)), [0, 1, 2]);
        standing.avoid(0, at(0));
        assert_eq!((standing.order(at(1)), standing.has_well(at(1))), (vec![1, 2, 0], true));
        standing.avoid(1, at(6));
        standing.avoid(2, at(6));
        assert_eq!((standing.order(at(7))[0], standing.has_well(at(7))), (0, false));
        assert_eq!(standing.order(at(15))[0], 0, "the first is well again");
        assert_eq!(standing.order(at(60)), [0, 1, 2]);
    }
}
