//! How much is let in at once: beyond it a request is told to come back, never queued.
//!
//! As upstream's `--max-mutating-requests-inflight` and `--max-requests-inflight`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corten_api::ApiError;

/// Writes at work at once.
pub const MAX_MUTATING: usize = 200;
/// Reads at work at once.
pub const MAX_READ_ONLY: usize = 400;
/// Watches, logs, execs and the like at once: each holds a few kilobytes. A kubelet has one for each Secret and
/// ConfigMap that its pods use.
pub const MAX_LONG_RUNNING: usize = 32 * 1024;
const RETRY_AFTER_SECS: i32 = 1;

/// Counts requests at work. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct InFlight {
    mutating: Arc<AtomicUsize>,
    read_only: Arc<AtomicUsize>,
    long_running: Arc<AtomicUsize>,
}

/// A place among the requests at work, given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    pub fn enter(&self, mutating: bool) -> Result<Place, ApiError> {
        if mutating { take(&self.mutating, MAX_MUTATING) } else { take(&self.read_only, MAX_READ_ONLY) }
    }
    pub fn enter_long(&self) -> Result<Place, ApiError> {
        take(&self.long_running, MAX_LONG_RUNNING)
    }
    /// (mutating, read only), for metrics.
    pub fn counts(&self) -> (usize, usize) {
        (self.mutating.load(Ordering::Relaxed), self.read_only.load(Ordering::Relaxed))
    }
    pub fn long_running(&self) -> usize {
        self.long_running.load(Ordering::Relaxed)
    }
}

fn take(count: &Arc<AtomicUsize>, limit: usize) -> Result<Place, ApiError> {
    if count.fetch_add(1, Ordering::Relaxed) >= limit {
        count.fetch_sub(1, Ordering::Relaxed);
        let why =
            "The server is currently unable to handle the request due to too many requests, please try again later.";
        return Err(ApiError::too_many_requests(why, RETRY_AFTER_SECS));
    }
    Ok(Place(count.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_turns_away_and_takes_in_again() {
        let in_flight = InFlight::default();
        let mut places: Vec<Place> = (0..MAX_MUTATING).map(|_| in_flight.enter(true).unwrap()).collect();
        let err = in_flight.enter(true).unwrap_err();
        assert_eq!((err.code(), err.status().details.as_ref().unwrap().retry_after_seconds), (429, Some(1)));
        assert!(in_flight.enter(false).is_ok(), "reads have their own places");
        places.pop();
        assert!(in_flight.enter(true).is_ok());
        drop(places);
        assert_eq!(in_flight.counts(), (0, 0));
        let watches: Vec<Place> = (0..MAX_LONG_RUNNING).map(|_| in_flight.enter_long().unwrap()).collect();
        assert_eq!(in_flight.enter_long().unwrap_err().code(), 429);
        drop(watches);
        assert_eq!(in_flight.long_running(), 0);
    }
}
