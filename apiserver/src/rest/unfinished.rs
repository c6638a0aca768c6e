//! What requests that are not whole yet hold of the server's memory, in bytes, by whose they are: bodies that come slowly, and the
//! beginnings of gRPC's messages, which are read before it is the request's turn.

use std::collections::HashMap;
use std::sync::Arc;

use corten_api::ApiError;
use parking_lot::Mutex;

use crate::decode::MAX_BODY_BYTES;

/// Of all users: as much as so many of the largest bodies hold.
pub const UNFINISHED_BYTES_MAX: usize = 128 * MAX_BODY_BYTES;
/// And of one: nobody takes the others' room.
pub const UNFINISHED_BYTES_PER_USER_MAX: usize = 32 * MAX_BODY_BYTES;
const RETRY_AFTER_SECS: i32 = 1;

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub all: usize,
    pub of_user: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { all: UNFINISHED_BYTES_MAX, of_user: UNFINISHED_BYTES_PER_USER_MAX }
    }
}

/// Counts what unfinished requests hold. Who holds nothing is forgotten.
#[derive(Debug, Default)]
pub struct Unfinished {
    bounds: Bounds,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_user: HashMap<String, usize>,
}

/// What one request holds, until this is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Unfinished>,
    user: String,
    bytes: usize,
}

impl Unfinished {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, held: Mutex::default() }
    }

    /// Nothing yet, of a request of `user`.
    pub fn share(self: &Arc<Self>, user: &str) -> Share {
        Share { of: self.clone(), user: user.to_owned(), bytes: 0 }
    }
}

impl Share {
    /// Counts `bytes` in all, of which some may be counted before. 429 if there is no room for more; then nothing changes.
    pub fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let Unfinished { bounds, held } = &*self.of;
        let mut held = held.lock();
        let own = held.by_user.get(&self.user).copied().unwrap_or(0);
        if held.all + more > bounds.all || own + more > bounds.of_user {
            let why = "Too many requests are still sending their bodies, please try again later.";
            return Err(ApiError::too_many_requests(why, RETRY_AFTER_SECS));
        }
        held.all += more;
        match held.by_user.get_mut(&self.user) {
            Some(own) => *own += more,
            None => drop(held.by_user.insert(self.user.clone(), more)),
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = self.of.held.lock();
        held.all -= self.bytes;
        match held.by_user.get_mut(&self.user) {
            Some(own) if *own > self.bytes => *own -= self.bytes,
            _ => drop(held.by_user.remove(&self.user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_room_for_unfinished_bodies() {
        let unfinished = Arc::new(Unfinished::default());
        let slow = |user: &str| {
            let mut share = unfinished.share(user);
            share.grow(MAX_BODY_BYTES).map(|()| share)
        };
        let mut own: Vec<_> = (0..32).map(|_| slow("jane").unwrap()).collect();
        assert_eq!(slow("jane").err().unwrap().code(), 429);
        let names: Vec<String> = (0..128).map(|n| format!("u{n}")).collect();
        let others: Vec<_> = names.iter().filter_map(|name| slow(name).ok()).collect();
        assert_eq!(others.len(), 128 - 32);
        own.pop();
        assert!(slow("jane").is_ok(), "one of hers is done");
        drop((own, others));
        let held = unfinished.held.lock();
        assert!(held.all == 0 && held.by_user.is_empty(), "{held:?}");
    }

    #[test]
    fn a_share_grows_as_far_as_there_is_room() {
        let unfinished = Arc::new(Unfinished::new(Bounds { all: 100, of_user: 60 }));
        let mut first = unfinished.share("jane");
        let mut second = unfinished.share("jane");
        let steps = [
            ("from nothing", 0, 20, Ok(())),
            ("a part of which was counted", 0, 40, Ok(())),
            ("no less than before", 0, 10, Ok(())),
            ("another of hers", 1, 20, Ok(())),
            ("more than she may", 1, 21, Err(429)),
            ("what was refused is not counted", 1, 20, Ok(())),
        ];
        for (why, which, bytes, expected) in steps {
            let share = if which == 0 { &mut first } else { &mut second };
            assert_eq!(share.grow(bytes).map_err(|err| err.code()), expected, "{why}");
        }
        assert_eq!(unfinished.held.lock().all, 60);
        let mut other = unfinished.share("joe");
        assert_eq!(other.grow(41).err().map(|err| err.code()), Some(429), "more than there is for all");
        assert!(other.grow(40).is_ok());
        drop((first, second, other));
        assert_eq!(unfinished.held.lock().all, 0);
    }
}
