//! How long an object is not asked for again that could not be adopted or released: each time twice as long, as with
//! children that are refused. Whatever happens to the owner's objects meanwhile brings the owner back, which would ask at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Owner;
use super::refusals::{MAX, wait_after};

/// What is kept at least before any of it is looked at whether it is over.
const KEPT: usize = 1024;

#[derive(Debug)]
struct Refused {
    /// Of the owner: a new generation may be the one that mends it.
    generation: i64,
    times: u32,
    until: Instant,
}

/// By the uids of owner and object. What is over for long is forgotten, so it is bounded by the refusals of a minute.
#[derive(Debug, Default)]
struct ByUids {
    refused: HashMap<(String, String), Refused>,
    /// With so many, what is over is looked for.
    full: usize,
}

/// The adoptions and releases that were refused. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct RefusedClaims {
    by_uids: Arc<Mutex<ByUids>>,
}

impl RefusedClaims {
    /// How long the object is still left alone; `None`: it may be asked for.
    pub fn held_back(&self, owner: &Owner, object: &str) -> Option<Duration> {
        let all = self.by_uids.lock();
        let last = all.refused.get(&uids(owner, object)).filter(|last| last.generation == owner.generation)?;
        last.until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }

    /// Returns for how long it is left alone now.
    pub fn refused(&self, owner: &Owner, object: &str) -> Duration {
        let (now, mut all) = (Instant::now(), self.by_uids.lock());
        if all.refused.len() >= all.full.max(KEPT) {
            all.refused.retain(|_, last| last.until + MAX > now);
            all.full = all.refused.len() * 2;
        }
        let (uids, generation) = (uids(owner, object), owner.generation);
        let before = all.refused.get(&uids).filter(|last| last.generation == generation);
        let times = before.map_or(0, |last| last.times + 1);
        all.refused.insert(uids, Refused { generation, times, until: now + wait_after(times) });
        wait_after(times)
    }

    /// It could be written, or is gone.
    pub fn forget(&self, owner: &Owner, object: &str) {
        self.by_uids.lock().refused.remove(&uids(owner, object));
    }
}

fn uids(owner: &Owner, object: &str) -> (String, String) {
    (owner.uid.clone(), object.to_owned())
}

#[cfg(test)]
mod tests {
    use corten_api::Key;

    use super::*;

    fn owner(generation: i64) -> Owner {
        Owner { key: Key::new("ns", "web"), uid: "u".into(), generation, deleting: false }
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_cannot_be_had_is_asked_for_less_and_less_often() {
        let claims = RefusedClaims::default();
        let mut waits = Vec::new();
        for _ in 0..15 {
            assert_eq!(claims.held_back(&owner(1), "a"), None);
            let wait = claims.refused(&owner(1), "a");
            assert_eq!(claims.held_back(&owner(1), "a"), Some(wait));
            waits.push(wait.as_millis());
            tokio::time::advance(wait).await;
        }
        assert_eq!((&waits[..3], waits[14]), (&[5, 10, 20][..], 30_000));
        claims.refused(&owner(1), "a");
        assert_eq!(claims.held_back(&owner(1), "b"), None, "another object");
        assert_eq!(claims.held_back(&owner(2), "a"), None, "an edited owner");
        claims.forget(&owner(1), "a");
        assert_eq!(claims.held_back(&owner(1), "a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten() {
        let claims = RefusedClaims::default();
        for n in 0..20 * KEPT {
            claims.refused(&owner(1), &n.to_string());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let kept = claims.by_uids.lock().refused.len();
        assert!(kept <= 2 * KEPT, "{kept} are kept");
    }
}
