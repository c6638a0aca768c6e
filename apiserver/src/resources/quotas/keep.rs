//! Looks every few minutes whether the quotas say what is there, and counts those anew that do not.
//!
//! What moves sums besides writes: pods whose nodes are lost are not counted when their grace is over, kinds come and go, users
//! may write a status, and a store may have been written by others or restored.

use std::collections::BTreeSet;
use std::time::Duration;

use corten_api::ApiError;

use super::PLURAL;
use super::count::is_right;
use super::guard::Guard;
use crate::cache::QUOTAS;
use crate::resources::{Resources, Weak, now_secs};

/// As often as upstream's controller.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// Kinds that come together are looked at together.
const SETTLING: Duration = Duration::from_secs(2);

/// Runs until the server ends.
pub(in crate::resources) async fn run(resources: Weak) {
    let Some(mut kinds) = resources.upgrade().map(|resources| resources.registry().changes()) else { return };
    loop {
        let Some(now) = resources.upgrade() else { return };
        if let Err(err) = now.recount_quotas().await {
            tracing::warn!(%err, "the quotas could not be compared with what is there; again later");
        }
        drop(now);
        // Spread out: servers that began together need not look together.
        let until = LOOK_EVERY.mul_f64(0.9 + 0.1 * rand::random::<f64>());
        if let Ok(Ok(())) = tokio::time::timeout(until, kinds.changed()).await {
            tokio::time::sleep(SETTLING).await;
        }
    }
}

impl Resources {
    /// Of all namespaces.
    pub(in crate::resources) async fn recount_quotas(&self) -> Result<(), ApiError> {
        for namespace in self.namespaces_with_quotas() {
            if self.is_off(&namespace).await? {
                // What is written meanwhile is seen in part: who looks again sees it whole.
                self.inner.cache.catch_up().await?;
                if self.is_off(&namespace).await? {
                    tracing::info!(namespace, "the quotas of a namespace are counted anew");
                    self.settle(&namespace, None, Vec::new()).await?;
                }
            }
        }
        Ok(())
    }

    fn namespaces_with_quotas(&self) -> BTreeSet<String> {
        let cache = &self.inner.cache;
        let names = |prefix: &str| {
            let items = cache.kind(prefix).map(|kind| kind.snapshot(cache.revision()).items);
            items.into_iter().flatten().map(|row| row.0.key().to_owned())
        };
        let of_quotas = names(PLURAL).filter_map(|key| Some(key.split_once('/')?.0.to_owned()));
        of_quotas.chain(names(QUOTAS)).collect()
    }

    /// Whether counting anew would change something.
    async fn is_off(&self, namespace: &str) -> Result<bool, ApiError> {
        let guard = Guard::of(&self.inner.cache, namespace)?;
        // Somebody is at it; or was, and those who wait will see to it.
        if guard.as_ref().is_some_and(|guard| guard.counting.is_some()) {
            return Ok(true);
        }
        let quotas = self.quotas_of(namespace)?;
        if guard.is_some() == quotas.is_empty() {
            return Ok(true);
        }
        let counted = self.counted(namespace, &quotas, now_secs()).await?;
        Ok(quotas.iter().any(|quota| !is_right(quota, counted.get(super::name(quota)))))
    }
}
