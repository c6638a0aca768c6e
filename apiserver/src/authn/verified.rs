//! Tokens whose signatures were verified lately, by the hash of their texts: a client sends the same one for an hour. Pure:
//! time is an argument.
//!
//! Only what does not change is kept, the claims. Whether the token is good now is asked each time. Nothing that failed is
//! kept, so that nobody fills it with garbage.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// In each of two halves. Five thousand nodes and what runs on them stay well within.
const HALF_MAX: usize = 8192;
/// A half that is older becomes the old one: what nobody has used since then goes with the next change.
const HALF_SECS_MAX: i64 = 300;

/// SHA-256 of a token.
pub(super) type Digest = [u8; 32];

#[derive(Debug)]
pub(super) struct Verified<T>(Mutex<Halves<T>>);

#[derive(Debug)]
struct Halves<T> {
    /// Which keys these were verified with.
    generation: u64,
    since_secs: i64,
    young: HashMap<Digest, Arc<T>>,
    old: HashMap<Digest, Arc<T>>,
}

impl<T> Default for Verified<T> {
    fn default() -> Self {
        Self(Mutex::new(Halves { generation: 0, since_secs: 0, young: HashMap::new(), old: HashMap::new() }))
    }
}

impl<T> Verified<T> {
    pub(super) fn get(&self, generation: u64, digest: &Digest, now_secs: i64) -> Option<Arc<T>> {
        let mut halves = self.0.lock();
        halves.renew(generation, now_secs);
        if halves.generation != generation {
            return None;
        }
        if let Some(found) = halves.young.get(digest) {
            return Some(found.clone());
        }
        let found = halves.old.remove(digest)?;
        halves.put(*digest, found.clone(), now_secs);
        Some(found)
    }

    pub(super) fn put(&self, generation: u64, digest: Digest, verified: Arc<T>, now_secs: i64) {
        let mut halves = self.0.lock();
        halves.renew(generation, now_secs);
        // It was verified with keys that have been replaced meanwhile.
        if halves.generation == generation {
            halves.put(digest, verified, now_secs);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let halves = self.0.lock();
        halves.young.len() + halves.old.len()
    }
}

impl<T> Halves<T> {
    fn renew(&mut self, generation: u64, now_secs: i64) {
        if generation > self.generation {
            *self = Self { generation, since_secs: now_secs, young: HashMap::new(), old: HashMap::new() };
        } else if now_secs.saturating_sub(self.since_secs) > HALF_SECS_MAX {
            self.turn(now_secs);
        }
    }
    fn put(&mut self, digest: Digest, verified: Arc<T>, now_secs: i64) {
        if self.young.len() >= HALF_MAX {
            self.turn(now_secs);
        }
        self.young.insert(digest, verified);
    }
    fn turn(&mut self, now_secs: i64) {
        self.old = std::mem::take(&mut self.young);
        self.since_secs = now_secs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        digest
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for_and_those_in_use_stay() {
        let verified = Verified::default();
        for n in 0..HALF_MAX * 5 {
            verified.put(1, digest(n), Arc::new(n), 0);
            assert_eq!(verified.get(1, &digest(0), 0).as_deref(), Some(&0), "it is used all the time");
        }
        assert!(verified.len() <= HALF_MAX * 2);
        assert!(verified.get(1, &digest(1), 0).is_none());
        assert!(verified.get(1, &digest(HALF_MAX * 5 - 1), 0).is_some());
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let verified = Verified::default();
        verified.put(1, digest(1), Arc::new("used"), 0);
        verified.put(1, digest(2), Arc::new("unused"), 0);
        for half in 1..=3 {
            assert!(verified.get(1, &digest(1), half * (HALF_SECS_MAX + 1)).is_some());
        }
        assert_eq!(verified.len(), 1);
    }

    #[test]
    fn other_keys_begin_with_nothing() {
        let verified = Verified::default();
        verified.put(1, digest(1), Arc::new("by the old keys"), 0);
        assert!(verified.get(2, &digest(1), 0).is_none());
        assert!(verified.get(1, &digest(1), 0).is_none(), "who still has the old keys verifies it again");
        verified.put(1, digest(1), Arc::new("by the old keys, and late"), 0);
        assert!(verified.get(2, &digest(1), 0).is_none());
    }
}
