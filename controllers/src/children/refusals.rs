//! How long an owner's children are not asked for again that the apiserver refused: each time twice as long. Whatever happens to
//! the owner meanwhile (its pods change, its status is written) brings it back to the controller, which would ask at once. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use corten_api::{ApiError, Key, Reason};
use tokio::time::Instant;

use super::Owner;

/// What is missing for a moment (a new namespace's ServiceAccount) is waited for briefly.
const FIRST: Duration = Duration::from_millis(5);
/// What nobody tells of is noticed by then.
pub(super) const MAX: Duration = Duration::from_secs(30);

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
    /// The children that were to be made at the last look.
    missing: usize,
}

/// By owner. Bounded by the owners that there are: who is gone is forgotten.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_owner: BTreeMap<Key, Refused>,
}

/// How long to wait after so many refusals in a row before this one.
pub(super) fn wait_after(times: u32) -> Duration {
    FIRST.saturating_mul(1 << times.min(20)).min(MAX)
}

impl Refusals {
    /// `missing`: the children that are to be made. `None`: they may be asked for. A new generation may be the one that mends
    /// it, and where more are missing than before a child went, with whose room another can be made.
    pub(super) fn held_back(&mut self, owner: &Owner, missing: usize, now: Instant) -> Option<HeldBack> {
        let last = self.by_owner.get_mut(&owner.key).filter(|last| last.is_of(owner))?;
        if missing > last.missing {
            last.until = now;
        }
        last.missing = missing;
        let wait = last.until.checked_duration_since(now).filter(|wait| !wait.is_zero())?;
        Some(HeldBack { refusal: last.refusal.clone(), wait })
    }

    pub(super) fn refused(&mut self, owner: &Owner, refusal: ApiError, now: Instant) {
        let before = self.by_owner.get(&owner.key).filter(|last| last.is_of(owner));
        let (times, missing) = before.map_or((0, usize::MAX), |last| (last.times + 1, last.missing));
        let (uid, generation, until) = (owner.uid.clone(), owner.generation, now + wait_after(times));
        self.by_owner.insert(owner.key.clone(), Refused { uid, generation, times, refusal, until, missing });
    }

    /// A quota of this namespace has more room than before. Returns whose children may be asked for again at once: once, as
    /// the room may be for others.
    pub(super) fn has_room(&mut self, namespace: &str, now: Instant) -> Vec<Key> {
        let of_namespace = self.by_owner.range_mut(Key::new(namespace, "")..);
        let of_namespace = of_namespace.take_while(|(owner, _)| owner.namespace == namespace);
        let waiting = of_namespace.filter(|(_, last)| last.refusal.is(Reason::Forbidden) && last.until > now);
        let lifted = waiting.map(|(owner, last)| {
            last.until = now;
            owner.clone()
        });
        lifted.collect()
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

    fn owner() -> Owner {
        Owner { key: Key::new("ns", "web"), uid: "u".into(), generation: 3, deleting: false }
    }
    fn quota() -> ApiError {
        ApiError::forbidden("", "pods", "a", "exceeded quota")
    }

    #[test]
    fn what_is_refused_again_and_again_is_asked_for_less_and_less_often() {
        let (owner, mut refusals) = (owner(), Refusals::default());
        let mut now = Instant::now();
        assert!(refusals.held_back(&owner, 1, now).is_none());
        let mut waits = Vec::new();
        for _ in 0..15 {
            refusals.refused(&owner, quota(), now);
            let held = refusals.held_back(&owner, 1, now).unwrap();
            assert_eq!(held.refusal, quota());
            waits.push(held.wait.as_millis());
            now += held.wait;
            assert!(refusals.held_back(&owner, 1, now).is_none(), "it is tried again");
        }
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits[13..], [30_000, 30_000]);
        refusals.refused(&owner, quota(), now);
        for (why, other) in [
            ("an edited one", Owner { generation: 4, ..owner.clone() }),
            ("another of its name", Owner { uid: "v".into(), ..owner.clone() }),
            ("another", Owner { key: Key::new("ns", "db"), ..owner.clone() }),
        ] {
            assert!(refusals.held_back(&other, 1, now).is_none(), "{why}");
        }
        refusals.forget(&owner.key);
        assert!(refusals.held_back(&owner, 1, now).is_none());
        refusals.refused(&owner, quota(), now);
        assert_eq!(refusals.held_back(&owner, 1, now).unwrap().wait, FIRST, "it begins anew");
    }

    #[test]
    fn what_plainly_changed_is_waited_for_no_longer() {
        let (owner, now) = (owner(), Instant::now());
        let held_after = |refusal: &ApiError, change: &dyn Fn(&mut Refusals) -> usize| {
            let mut refusals = Refusals::default();
            (0..10).for_each(|_| refusals.refused(&owner, refusal.clone(), now));
            assert!(refusals.held_back(&owner, 3, now).is_some());
            let missing = change(&mut refusals);
            let held = refusals.held_back(&owner, missing, now).is_some();
            refusals.refused(&owner, refusal.clone(), now);
            let again = refusals.held_back(&owner, missing, now).unwrap();
            assert_eq!(again.wait, wait_after(10), "who is refused all the same waits on as before");
            held
        };
        let invalid = ApiError::new(Reason::Invalid, "no");
        let room = |namespace: &'static str| {
            move |refusals: &mut Refusals| {
                let lifted = refusals.has_room(namespace, now);
                assert!(lifted.iter().all(|owner| *owner == Key::new("ns", "web")));
                3
            }
        };
        type Row<'a> = (&'a str, &'a ApiError, &'a dyn Fn(&mut Refusals) -> usize, bool);
        let cases: [Row<'_>; 6] = [
            ("nothing", &quota(), &|_| 3, true),
            ("one was made by another look", &quota(), &|_| 2, true),
            ("a child went", &quota(), &|_| 4, false),
            ("a quota has room", &quota(), &room("ns"), false),
            ("another namespace's has", &quota(), &room("n"), true),
            ("a quota has room, and none refused it", &invalid, &room("ns"), true),
        ];
        for (why, refusal, change, held) in cases {
            assert_eq!(held_after(refusal, change), held, "{why}");
        }
    }
}
