//! How long an owner's children are not asked for again that the apiserver refused: each time twice as long. Whatever happens to
//! the owner meanwhile (its pods change, its status is written) brings it back to the controller, which would ask at once. Pure.

use std::collections::HashMap;
use std::time::Duration;

use corten_api::{ApiError, Key};
use tokio::time::Instant;

use super::Owner;

/// What is missing for a moment (a new namespace's ServiceAccount) is waited for briefly.
const FIRST: Duration = Duration::from_millis(5);
/// A quota that has room again is noticed by then.
const MAX: Duration = Duration::from_secs(30);

/// The last refusal, and until when it stands.
#[derive(Clone, Debug)]
pub struct HeldBack {
    pub refusal: ApiError,
    pub wait: Duration,
}

/// When to look again: after `wake`, if that is so, and at the latest when what was held back may be asked for.
pub fn wake(wake: Option<Duration>, held: Option<&HeldBack>) -> Option<Duration> {
    wake.into_iter().chain(held.map(|held| held.wait)).min()
}

#[derive(Debug)]
struct Refused {
    uid: String,
    generation: i64,
    times: u32,
    refusal: ApiError,
    until: Instant,
}

/// By owner. Bounded by the owners that there are: who is gone is forgotten.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_owner: HashMap<Key, Refused>,
}

impl Refusals {
    /// `None`: the owner's children may be asked for. A new generation may be the one that mends it.
    pub(super) fn held_back(&self, owner: &Owner, now: Instant) -> Option<HeldBack> {
        let last = self.by_owner.get(&owner.key).filter(|last| last.is_of(owner))?;
        let wait = last.until.checked_duration_since(now).filter(|wait| !wait.is_zero())?;
        Some(HeldBack { refusal: last.refusal.clone(), wait })
    }

    pub(super) fn refused(&mut self, owner: &Owner, refusal: ApiError, now: Instant) {
        let before = self.by_owner.get(&owner.key).filter(|last| last.is_of(owner));
        let times = before.map_or(0, |last| last.times + 1);
        let until = now + FIRST.saturating_mul(1 << times.min(20)).min(MAX);
        let (uid, generation) = (owner.uid.clone(), owner.generation);
        self.by_owner.insert(owner.key.clone(), Refused { uid, generation, times, refusal, until });
    }

    /// All that was asked for was made, or the owner is gone.
    pub(super) fn forget(&mut self, owner: &Key) {
        self.by_owner.remove(owner);
    }
}

impl Refused {
    fn is_of(&self, owner: &Owner) -> bool {
        self.uid == owner.uid && self.generation == owner.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_again_and_again_is_asked_for_less_and_less_often() {
        let owner = Owner { key: Key::new("ns", "web"), uid: "u".into(), generation: 3, deleting: false };
        let quota = || ApiError::forbidden("", "pods", "a", "exceeded quota");
        let mut refusals = Refusals::default();
        let mut now = Instant::now();
        assert!(refusals.held_back(&owner, now).is_none());
        let mut waits = Vec::new();
        for _ in 0..15 {
            refusals.refused(&owner, quota(), now);
            let held = refusals.held_back(&owner, now).unwrap();
            assert_eq!(held.refusal, quota());
            waits.push(held.wait.as_millis());
            now += held.wait;
            assert!(refusals.held_back(&owner, now).is_none(), "it is tried again");
        }
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits[13..], [30_000, 30_000]);
        refusals.refused(&owner, quota(), now);
        for (why, other) in [
            ("an edited one", Owner { generation: 4, ..owner.clone() }),
            ("another of its name", Owner { uid: "v".into(), ..owner.clone() }),
            ("another", Owner { key: Key::new("ns", "db"), ..owner.clone() }),
        ] {
            assert!(refusals.held_back(&other, now).is_none(), "{why}");
        }
        refusals.forget(&owner.key);
        assert!(refusals.held_back(&owner, now).is_none());
        refusals.refused(&owner, quota(), now);
        assert_eq!(refusals.held_back(&owner, now).unwrap().wait, FIRST, "it begins anew");
    }
}
