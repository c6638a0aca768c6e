//! Whose writes in a namespace change one thing beside their own objects (its quotas, its disruption budgets) waits for his turn
//! in this server: two at once would only undo each other's work.
//!
//! With the turn goes what the one before has left: the cache learns of it later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// Namespaces whose turns are remembered while nobody takes them.
const IDLE_MAX: usize = 1024;

/// Who waits for one namespace's turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// So many; more are refused.
    pub(super) waiting_max: usize,
    /// So long.
    pub(super) wait_max: Duration,
    /// What the others are told.
    pub(super) refusal: &'static str,
}

/// Of all namespaces.
#[derive(Debug)]
pub(super) struct Turns<T> {
    patience: Patience,
    by_namespace: Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<T>>>>,
}

impl<T: Default> Turns<T> {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, by_namespace: Mutex::default() }
    }

    /// In the order in which they came. The next has it when it is dropped.
    pub(super) async fn take(&self, namespace: &str) -> Result<OwnedMutexGuard<T>, ApiError> {
        let Patience { waiting_max, wait_max, refusal } = self.patience;
        let too_many = || ApiError::too_many_requests(refusal, 1);
        let turn = self.of(namespace);
        // One is the map's, one ours.
        if Arc::strong_count(&turn) > waiting_max + 2 {
            return Err(too_many());
        }
        tokio::time::timeout(wait_max, turn.lock_owned()).await.map_err(|_| too_many())
    }

    /// Besides who has it.
    #[cfg(test)]
    pub(super) fn waiting(&self, namespace: &str) -> usize {
        Arc::strong_count(&self.of(namespace)).saturating_sub(3)
    }

    fn of(&self, namespace: &str) -> Arc<tokio::sync::Mutex<T>> {
        let mut turns = self.by_namespace.lock();
        if let Some(turn) = turns.get(namespace) {
            return turn.clone();
        }
        if turns.len() >= IDLE_MAX {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        turns.entry(namespace.into()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITING_MAX: usize = 20;
    const WAIT_MAX: Duration = Duration::from_secs(10);

    fn turns() -> Turns<Vec<u32>> {
        Turns::new(Patience { waiting_max: WAITING_MAX, wait_max: WAIT_MAX, refusal: "too many" })
    }

    #[tokio::test]
    async fn turns_go_by_namespace_in_order_and_carry_what_was_left() {
        let turns = turns();
        let mut first = turns.take("a").await.unwrap();
        let other = turns.take("b").await.unwrap();
        assert!(other.is_empty(), "another namespace does not wait");
        first.push(1);
        let (second, third) = (turns.take("a"), turns.take("a"));
        let mut order = futures::stream::FuturesUnordered::from_iter([
            tokio::time::timeout(WAIT_MAX, second),
            tokio::time::timeout(WAIT_MAX, third),
        ]);
        assert!(futures::poll!(futures::StreamExt::next(&mut order)).is_pending());
        drop(first);
        let next = futures::StreamExt::next(&mut order).await.unwrap().unwrap().unwrap();
        assert_eq!(next.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_behind_too_many_is_told_to_come_again() {
        let turns = turns();
        let held = turns.take("a").await.unwrap();
        let late = turns.take("a").await.unwrap_err();
        assert_eq!(late.code(), 429);
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(turns.take("a"))).collect();
        waiting.iter_mut().for_each(|one| assert!(futures::FutureExt::now_or_never(one.as_mut()).is_none()));
        assert_eq!(turns.take("a").await.unwrap_err().code(), 429);
        drop((waiting, held));
        turns.take("a").await.unwrap();
    }

    #[tokio::test]
    async fn namespaces_where_nobody_waits_are_forgotten() {
        let turns = turns();
        let held = turns.take("held").await.unwrap();
        for n in 0..IDLE_MAX * 2 {
            drop(turns.take(&n.to_string()).await.unwrap());
        }
        assert!(turns.by_namespace.lock().len() <= IDLE_MAX && turns.by_namespace.lock().contains_key("held"));
        drop(held);
    }
}
