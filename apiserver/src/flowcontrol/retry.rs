//! What `Retry-After` says: longer while many are turned away, shorter again when few are.

use std::collections::VecDeque;

const SECS_MIN: u64 = 1;
const SECS_MAX: u64 = 32;
/// So many refusals for each second of the present value double it.
const MANY_PER_SEC: u64 = 3;

/// Counts refusals by the second.
#[derive(Clone, Debug)]
pub(super) struct RetryAfter {
    secs: u64,
    raised_at: Option<u64>,
    /// (second, refusals), no more than [`SECS_MAX`] of them.
    history: VecDeque<(u64, u64)>,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self { secs: SECS_MIN, raised_at: None, history: VecDeque::new() }
    }
}

impl RetryAfter {
    /// A request is refused in the second `now`; gives how long it shall stay away.
    pub(super) fn refused(&mut self, now: u64) -> i32 {
        match self.history.back_mut() {
            Some((second, count)) if *second == now => *count += 1,
            _ => {
                self.adjust(now);
                self.history.push_back((now, 1));
            }
        }
        i32::try_from(self.secs).unwrap_or(i32::MAX)
    }

    fn adjust(&mut self, now: u64) {
        self.history.retain(|(second, _)| now.saturating_sub(*second) <= SECS_MAX);
        let recent = self.history.iter().filter(|(second, _)| now.saturating_sub(*second) <= self.secs);
        let refused: u64 = recent.map(|(_, count)| count).sum();
        let settled = self.raised_at.is_none_or(|at| now.saturating_sub(at) >= self.secs);
        if settled && refused >= MANY_PER_SEC * self.secs {
            self.secs = (self.secs * 2).min(SECS_MAX);
            self.raised_at = Some(now);
        } else if refused < self.secs && self.secs > SECS_MIN {
            self.secs -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_while_many_are_refused_and_falls_when_few_are() {
        let mut retry = RetryAfter::default();
        assert_eq!(retry.refused(100), 1);
        let mut seen = Vec::new();
        for second in 101..200 {
            for _ in 0..200 {
                seen.push(retry.refused(second));
            }
        }
        assert_eq!((seen[0], seen.iter().max()), (1, Some(&32)), "one refusal raises nothing");
        assert!(retry.history.len() <= 33);
        let later: Vec<i32> = (0..40).map(|n| retry.refused(1000 + n * 40)).collect();
        assert_eq!(later.last(), Some(&1), "{later:?}");
    }
}
