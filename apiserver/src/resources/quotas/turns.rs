//! Who charges the quotas of a namespace waits for its turn in this server: two at once would only undo each other's work.
//!
//! With the turn goes what the one before has left: the cache learns of it later.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use k8s_openapi::api::core::v1::ResourceQuota;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// Writes that wait for the quotas of one namespace; more are refused.
const WAITING_MAX: usize = 1024;
/// How long one waits: as long as upstream's.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Namespaces whose quotas are remembered while nobody charges them.
const IDLE_MAX: usize = 1024;

/// Quotas by name, with their resourceVersions: newer than the cache's, or older.
pub(super) type Latest = BTreeMap<String, ResourceQuota>;
/// The right to charge. The next has it when it is dropped.
pub(super) type Turn = OwnedMutexGuard<Latest>;

/// Of all namespaces.
#[derive(Debug, Default)]
pub(in crate::resources) struct Turns(Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<Latest>>>>);

fn too_many() -> ApiError {
    ApiError::too_many_requests("too many writes wait for the resource quotas of the namespace, please try again", 1)
}

impl Turns {
    /// In the order in which they came.
    pub(super) async fn take(&self, namespace: &str) -> Result<Turn, ApiError> {
        let turn = self.of(namespace);
        // One is the map's, one ours.
        if Arc::strong_count(&turn) > WAITING_MAX + 2 {
            return Err(too_many());
        }
        tokio::time::timeout(WAIT_MAX, turn.lock_owned()).await.map_err(|_| too_many())
    }

    fn of(&self, namespace: &str) -> Arc<tokio::sync::Mutex<Latest>> {
        let mut turns = self.0.lock();
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

    #[tokio::test]
    async fn turns_go_by_namespace_in_order_and_carry_what_was_left() {
        let turns = Turns::default();
        let mut first = turns.take("a").await.unwrap();
        let other = turns.take("b").await.unwrap();
        assert!(other.is_empty(), "another namespace does not wait");
        first.insert("q".into(), ResourceQuota::default());
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
        let turns = Turns::default();
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
    async fn namespaces_that_nobody_charges_are_forgotten() {
        let turns = Turns::default();
        let held = turns.take("held").await.unwrap();
        for n in 0..IDLE_MAX * 2 {
            drop(turns.take(&n.to_string()).await.unwrap());
        }
        assert!(turns.0.lock().len() <= IDLE_MAX && turns.0.lock().contains_key("held"));
        drop(held);
    }
}
