//! How often one Service is written, and told of. Whoever else writes the same, nobody is kept busy by the two of us.

use std::collections::HashMap;
use std::time::Duration;

use corten_api::Key;
use tokio::time::Instant;

/// After a first write. Each that follows makes it twice as long.
const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(16);
/// After so long without a write the next is a first one.
const CALM: Duration = Duration::from_secs(60);
/// Services of which it is remembered what was said. Of more, some are told again.
const TOLD_MAX: usize = 1024;

/// The Services that were written in the last minute. Bounded by those.
#[derive(Debug, Default)]
pub struct Pace {
    written: HashMap<Key, (Instant, Duration)>,
}

impl Pace {
    /// How long to wait until it may be written.
    pub fn wait(&self, key: &Key, now: Instant) -> Option<Duration> {
        let (at, wait) = self.written.get(key)?;
        Some(wait.saturating_sub(now.saturating_duration_since(*at))).filter(|left| !left.is_zero())
    }

    /// It was written.
    pub fn note(&mut self, key: &Key, now: Instant) {
        self.written.retain(|_, (at, _)| now.saturating_duration_since(*at) < CALM);
        let wait = self.written.get(key).map_or(FIRST, |(_, wait)| (*wait * 2).min(MAX));
        self.written.insert(key.clone(), (now, wait));
    }
}

/// What was said of which Services, with their uids.
#[derive(Debug, Default)]
pub struct Told(HashMap<Key, (String, String)>);

impl Told {
    /// Whether it is to be said.
    pub fn is_new(&mut self, key: &Key, uid: &str, said: &str) -> bool {
        if self.0.len() >= TOLD_MAX && !self.0.contains_key(key) {
            self.0.clear();
        }
        let before = self.0.insert(key.clone(), (uid.to_owned(), said.to_owned()));
        before.is_none_or(|(of, what)| of != uid || what != said)
    }

    pub fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_written_again_and_again_waits_for_longer_each_time() {
        let (mut pace, key, began) = (Pace::default(), Key::new("shop", "web"), Instant::now());
        let at = |secs: u64| began + Duration::from_secs(secs);
        assert_eq!(pace.wait(&key, began), None, "never written");
        // when it is written, how long it waits from then on
        for (secs, wait) in [(0, 1), (1, 2), (3, 4), (7, 8), (15, 16), (31, 16), (47, 16), (107, 1)] {
            assert_eq!(pace.wait(&key, at(secs)), None, "at {secs} s");
            pace.note(&key, at(secs));
            assert_eq!(pace.wait(&key, at(secs)), Some(Duration::from_secs(wait)), "after {secs} s");
        }
        assert_eq!(pace.wait(&Key::new("shop", "other"), at(107)), None);
        pace.note(&Key::new("shop", "other"), at(200));
        assert_eq!(pace.written.len(), 1, "one that is calm is forgotten");
    }

    #[test]
    fn what_stays_so_is_said_once() {
        let (mut told, web) = (Told::default(), Key::new("shop", "web"));
        let cases = [
            ("a", "others'", true),
            ("a", "others'", false),
            ("b", "others'", true),
            ("b", "others'", false),
            ("b", "none is free", true),
        ];
        for (uid, said, expected) in cases {
            assert_eq!(told.is_new(&web, uid, said), expected, "{uid} {said}");
        }
        told.forget(&web);
        assert!(told.is_new(&web, "b", "none is free"), "it had one meanwhile");
        for n in 0..TOLD_MAX * 2 {
            told.is_new(&Key::new("shop", format!("web-{n}")), "a", "others'");
        }
        assert!(told.0.len() <= TOLD_MAX);
    }
}
