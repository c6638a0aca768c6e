//! Watches, logs, execs and the like: they hold no seats, and there is a bound on how many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corten_api::ApiError;

/// At once: each holds a few kilobytes. A kubelet has one for each Secret and ConfigMap that its pods use.
pub const LONG_RUNNING_MAX: usize = 32 * 1024;
const RETRY_AFTER_SECS: i32 = 1;

/// Counts one long-running request until it is dropped.
#[derive(Debug)]
pub struct LongRunning(Arc<AtomicUsize>);

impl LongRunning {
    pub(super) fn enter(count: &Arc<AtomicUsize>) -> Result<Self, ApiError> {
        if count.fetch_add(1, Ordering::Relaxed) >= LONG_RUNNING_MAX {
            count.fetch_sub(1, Ordering::Relaxed);
            let why = "Too many watches and other long requests, please try again later.";
            return Err(ApiError::too_many_requests(why, RETRY_AFTER_SECS));
        }
        Ok(Self(count.clone()))
    }
}

impl Drop for LongRunning {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_requests_have_a_bound_of_their_own() {
        let count = Arc::default();
        let watches: Vec<_> = (0..LONG_RUNNING_MAX).map(|_| LongRunning::enter(&count).unwrap()).collect();
        let err = LongRunning::enter(&count).unwrap_err();
        assert_eq!((err.code(), err.status().details.as_ref().unwrap().retry_after_seconds), (429, Some(1)));
        drop(watches);
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
