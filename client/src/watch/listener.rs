//! Who is told of a watch's changes. A panic over one object costs the others nothing: it is told of again, later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::Key;
use tokio::time::Instant;
use tracing::error;

use crate::cache::Change;
use crate::panics;

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// Objects that are told of again; more than so many are a bug that no patience heals.
const FAILED_MAX: usize = 1024;

pub(super) struct Listener<C> {
    /// The kind that is watched.
    kind: Arc<str>,
    on_change: C,
    failed: BTreeMap<Key, Failed>,
}

struct Failed {
    times: u32,
    due: Instant,
}

impl<C> Listener<C> {
    pub(super) fn new(kind: Arc<str>, on_change: C) -> Self {
        Self { kind, on_change, failed: BTreeMap::new() }
    }

    pub(super) fn tell<T>(&mut self, change: Change<'_, T>)
    where
        C: FnMut(Change<'_, T>),
    {
        let (key, is_removed) = (change.key().cloned(), matches!(change, Change::Removed { .. }));
        let told = panics::catch(&self.kind, || (self.on_change)(change));
        let Some(key) = key else {
            if let Err(panicked) = told {
                error!(kind = %self.kind, %panicked, "over a state that is complete");
            }
            return;
        };
        match told {
            Ok(()) => drop(self.failed.remove(&key)),
            Err(panicked) if is_removed => {
                // It cannot be told of again: nobody has it any more.
                error!(kind = %self.kind, %key, %panicked, "over an object that is gone");
                self.failed.remove(&key);
            }
            Err(panicked) => self.note(key, &panicked),
        }
    }

    fn note(&mut self, key: Key, panicked: &panics::Panicked) {
        let times = self.failed.get(&key).map_or(0, |failed| failed.times);
        let wait = RETRY_FIRST.saturating_mul(1 << times.min(16)).min(RETRY_MAX);
        error!(kind = %self.kind, %key, %panicked, ?wait, "over a change of an object; it is told of again");
        if self.failed.len() < FAILED_MAX || self.failed.contains_key(&key) {
            self.failed.insert(key, Failed { times: times + 1, due: Instant::now() + wait });
        }
    }

    /// Returns with an object that has to be told of again. Cancel-safe.
    pub(super) async fn due(&mut self) -> Key {
        let next = self.failed.iter_mut().min_by_key(|(_, failed)| failed.due);
        let Some((key, failed)) = next else { return std::future::pending().await };
        tokio::time::sleep_until(failed.due).await;
        // If it is gone by then nobody tells us of it again.
        failed.due += RETRY_MAX;
        key.clone()
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.failed.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_object_that_makes_the_callback_panic_is_told_of_again_and_holds_up_no_other() {
        let (bad, good, object) = (Key::new("ns", "bad"), Key::new("ns", "good"), Arc::new(7));
        let mut calls = Vec::new();
        let mut listener = Listener::new("Test".into(), |change: Change<'_, i32>| {
            let key = change.key().cloned().unwrap();
            calls.push((key.name.clone(), Instant::now()));
            assert!(key.name != "bad" || calls.len() > 3, "on purpose");
        });
        let began = Instant::now();
        let set = |key| Change::Set { key, old: None, new: &object };
        listener.tell(set(&bad));
        listener.tell(set(&good));
        for _ in 0..2 {
            let again = listener.due().await;
            listener.tell(Change::Set { key: &again, old: None, new: &object });
        }
        let nothing_left = tokio::time::timeout(RETRY_MAX * 2, listener.due()).await;
        assert!(nothing_left.is_err());
        let calls: Vec<(String, u64)> = calls.into_iter().map(|(name, at)| (name, (at - began).as_secs())).collect();
        let expected = [("bad", 0), ("good", 0), ("bad", 1), ("bad", 3)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!(calls, expected);
    }
}
