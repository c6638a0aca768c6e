//! How often one schema's condition is written: apiservers that disagree must not write by turns without end.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Of one schema, in [`PERIOD`]. Upstream's numbers.
const WRITES_MAX: usize = 6;
const PERIOD: Duration = Duration::from_secs(60);
const PAUSE_SECS: std::ops::Range<u64> = 30..75;
/// Remembered in all; the oldest are forgotten first.
const REMEMBERED_MAX: usize = 10_000;

/// The writes of late.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, String)>);

impl Rate {
    /// Whether this schema's condition may be written now; then it counts as written.
    pub(super) fn takes(&mut self, schema: &str, now: Instant) -> bool {
        while self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > PERIOD) || self.0.len() >= REMEMBERED_MAX {
            self.0.pop_front();
        }
        let may = self.0.iter().filter(|(_, name)| name == schema).count() < WRITES_MAX;
        if may {
            self.0.push_back((now, schema.to_owned()));
        }
        may
    }
}

/// How long to leave a schema alone that was written too often; different for each, so that servers fall out of step.
pub(super) fn pause() -> Duration {
    Duration::from_secs(rand::random_range(PAUSE_SECS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_written_six_times_a_minute_and_others_are_not_held_up() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let written = (0..20).filter(|n| rate.takes("a", now + Duration::from_secs(*n))).count();
        assert_eq!(written, WRITES_MAX);
        assert!(rate.takes("b", now + Duration::from_secs(20)));
        assert!(!rate.takes("a", now + Duration::from_secs(60)));
        assert!(rate.takes("a", now + Duration::from_secs(61)), "the first one is a minute old");
        for n in 0..2 * REMEMBERED_MAX {
            rate.takes(&n.to_string(), now + Duration::from_secs(61));
        }
        assert!(rate.0.len() <= REMEMBERED_MAX);
    }
}
