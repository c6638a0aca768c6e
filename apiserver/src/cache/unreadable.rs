//! What stands in the store and is nothing of ours: left out, counted, and told of once.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::counter::Counter;

/// Counts keys that are no text and values that are no objects. Clones of the counter share its number.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    count: Counter,
    told_of_key: AtomicBool,
    told_of_value: AtomicBool,
}

impl Unreadable {
    pub(crate) fn counter(&self) -> Counter {
        self.count.clone()
    }
    pub(super) fn keys(&self, count: u64) {
        if count > 0 {
            self.count.inc_by(count);
            if !self.told_of_key.swap(true, Ordering::Relaxed) {
                tracing::error!(count, "the store has keys that are no text: they are left out; this is told once");
            }
        }
    }
    pub(super) fn value(&self, key: &str, revision: i64, err: &serde_json::Error) {
        self.count.inc();
        if self.told_of_value.swap(true, Ordering::Relaxed) {
            tracing::debug!(key, revision, %err, "what is stored here is no object: it is left out");
        } else {
            tracing::error!(key, revision, %err, "what is stored here is no object: it is left out; this is told once");
        }
    }
}
