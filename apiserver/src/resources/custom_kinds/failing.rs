//! What failed is tried again after a while, each definition for itself. Pure: time is an argument.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The definitions that could not be served, or those that could not be written, by name.
#[derive(Debug, Default)]
pub(super) struct Failing(HashMap<String, Failed>);

#[derive(Debug)]
struct Failed {
    /// Of the definition: another one is tried at once.
    revision: i64,
    tries: u32,
    again_at: Instant,
}

impl Failing {
    /// Whether it may be tried now.
    pub(super) fn is_due(&self, name: &str, revision: i64, now: Instant) -> bool {
        self.0.get(name).is_none_or(|failed| failed.revision != revision || failed.again_at <= now)
    }
    pub(super) fn note(&mut self, name: &str, revision: i64, now: Instant) {
        let before = self.0.get(name).filter(|failed| failed.revision == revision).map_or(0, |failed| failed.tries);
        let wait = (WAIT_MIN * 2_u32.saturating_pow(before.min(16))).min(WAIT_MAX);
        self.0.insert(name.to_owned(), Failed { revision, tries: before + 1, again_at: now + wait });
    }
    /// Forgets those that are not there any more as they were when they failed.
    pub(super) fn retain(&mut self, keeps: impl Fn(&str, i64) -> bool) {
        self.0.retain(|name, failed| keeps(name, failed.revision));
    }
    /// Forgets one that has nothing more to be tried.
    pub(super) fn succeeded(&mut self, name: &str) {
        self.0.remove(name);
    }
    /// How long until the next is to be tried. Never at once: one whose time has come was tried just now, or waits for something
    /// else.
    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        let next = self.0.values().map(|failed| failed.again_at.saturating_duration_since(now)).min();
        next.map(|wait| wait.max(WAIT_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_longer_with_each_time_and_another_revision_does_not() {
        let (mut failing, began) = (Failing::default(), Instant::now());
        let mut now = began;
        for secs in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            failing.note("a", 1, now);
            assert_eq!(failing.next(now), Some(Duration::from_secs(secs)));
            assert!(!failing.is_due("a", 1, now) && failing.is_due("a", 2, now) && failing.is_due("b", 1, now));
            now += Duration::from_secs(secs);
            assert!(failing.is_due("a", 1, now));
            assert_eq!(failing.next(now), Some(WAIT_MIN), "nobody turns without waiting");
        }
        failing.note("a", 2, now);
        assert_eq!(failing.next(now), Some(WAIT_MIN), "what has changed begins anew");
        failing.note("b", 1, now);
        failing.retain(|name, revision| (name, revision) == ("a", 2));
        failing.succeeded("a");
        assert_eq!(failing.next(now), None);
    }
}
