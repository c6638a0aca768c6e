//! Watches, logs, execs and the like: they hold no seats, and there is a bound on how many there are, in all and of one user.

use std::collections::HashMap;
use std::sync::Arc;

use corten_api::ApiError;
use parking_lot::Mutex;

/// At once: each holds a few kilobytes. 5,000 nodes have seven watches each, and one for each Secret and ConfigMap that their
/// pods use.
pub const LONG_RUNNING_MAX: usize = 128 * 1024;
/// Of one user: nobody takes the places of nodes and controllers.
pub const LONG_RUNNING_OF_USER_MAX: usize = 4 * 1024;
const RETRY_AFTER_SECS: i32 = 1;

/// Those there are. Its size is bounded by theirs: a user who has none is forgotten.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_user: HashMap<String, usize>,
}

/// Counts one long-running request until it is dropped.
#[derive(Debug)]
pub struct LongRunning {
    places: Arc<Places>,
    user: String,
}

impl Places {
    pub(super) fn count(&self) -> usize {
        self.0.lock().all
    }
}

impl LongRunning {
    pub(super) fn enter(places: &Arc<Places>, user: &str) -> Result<Self, ApiError> {
        let mut counts = places.0.lock();
        let of_user = counts.by_user.get(user).copied().unwrap_or(0);
        if counts.all >= LONG_RUNNING_MAX || of_user >= LONG_RUNNING_OF_USER_MAX {
            let why = "Too many watches and other long requests, please try again later.";
            return Err(ApiError::too_many_requests(why, RETRY_AFTER_SECS));
        }
        counts.all += 1;
        counts.by_user.insert(user.to_owned(), of_user + 1);
        Ok(Self { places: Arc::clone(places), user: user.to_owned() })
    }
}

impl Drop for LongRunning {
    fn drop(&mut self) {
        let mut counts = self.places.0.lock();
        counts.all -= 1;
        match counts.by_user.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.by_user.remove(&self.user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_takes_no_more_than_a_share_of_the_long_requests() {
        let places = Arc::default();
        let greedy: Vec<_> =
            (0..LONG_RUNNING_OF_USER_MAX).map(|_| LongRunning::enter(&places, "greedy").unwrap()).collect();
        let err = LongRunning::enter(&places, "greedy").unwrap_err();
        assert_eq!((err.code(), err.status().details.as_ref().unwrap().retry_after_seconds), (429, Some(1)));
        let node = LongRunning::enter(&places, "system:node:n1").unwrap();
        drop(greedy);
        assert!(LongRunning::enter(&places, "greedy").is_ok());
        drop(node);
        assert_eq!((places.count(), places.0.lock().by_user.len()), (0, 0));
    }

    #[test]
    fn long_requests_have_a_bound_of_their_own() {
        let places = Arc::default();
        let enter = |n: usize| LongRunning::enter(&places, &format!("u{}", n % 64));
        let watches: Vec<_> = (0..LONG_RUNNING_MAX).map(|n| enter(n).unwrap()).collect();
        assert_eq!(LongRunning::enter(&places, "another").unwrap_err().code(), 429);
        drop(watches);
        assert_eq!(places.count(), 0);
    }
}
