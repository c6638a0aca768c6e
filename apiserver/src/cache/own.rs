//! What this server is writing: it comes back with the feed, and is known to be in its normal form then.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;

/// Of the values of one kind that are on their way, and how many: what a store that is slow may hold. What is forgotten is looked
/// through when it comes, as others' values are.
const BYTES_MAX: usize = 4 << 20;
const WRITES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct OwnWrites(Mutex<Pending>);

#[derive(Debug, Default)]
struct Pending {
    /// By key, with the number of the write.
    values: HashMap<Box<str>, (u64, Bytes)>,
    /// Keys and numbers of all writes, those among them that are no longer there; the oldest first.
    order: VecDeque<(u64, Box<str>)>,
    next: u64,
    bytes: usize,
}

impl OwnWrites {
    /// This value is about to be written under `key`.
    pub(super) fn begin(&self, key: &str, value: &Bytes) {
        self.0.lock().put(key, value.clone());
    }
    /// Whether it is what was last begun to be written here; it is forgotten then.
    pub(super) fn is_one(&self, key: &str, value: &[u8]) -> bool {
        let mut pending = self.0.lock();
        let is_one = pending.values.get(key).is_some_and(|(_, own)| own == value);
        if is_one {
            pending.remove(key);
        }
        is_one
    }
}

impl Pending {
    fn put(&mut self, key: &str, value: Bytes) {
        self.remove(key);
        self.bytes += value.len();
        self.values.insert(key.into(), (self.next, value));
        self.order.push_back((self.next, key.into()));
        self.next += 1;
        while self.bytes > BYTES_MAX || self.order.len() > WRITES_MAX {
            let Some((number, key)) = self.order.pop_front() else { break };
            if self.values.get(&key).is_some_and(|(is, _)| *is == number) {
                self.remove(&key);
            }
        }
    }
    fn remove(&mut self, key: &str) {
        if let Some((_, value)) = self.values.remove(key) {
            self.bytes -= value.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_last_is_known_once() {
        let own = OwnWrites::default();
        own.begin("n/a", &"1".into());
        own.begin("n/a", &"2".into());
        own.begin("n/b", &"1".into());
        for (why, key, value, expected) in [
            ("another write came after it", "n/a", "1", false),
            ("another key", "n/c", "1", false),
            ("as it was begun", "n/a", "2", true),
            ("somebody wrote the same again", "n/a", "2", false),
            ("as it was begun", "n/b", "1", true),
        ] {
            assert_eq!(own.is_one(key, value.as_bytes()), expected, "{why}");
        }
        assert_eq!(own.0.lock().bytes, 0);
    }

    #[test]
    fn writes_that_never_come_are_forgotten() {
        let own = OwnWrites::default();
        let value = Bytes::from(vec![b'x'; BYTES_MAX / 8]);
        (0..20).for_each(|n| own.begin(&format!("n/{n}"), &value));
        assert!(!own.is_one("n/0", &value) && own.is_one("n/19", &value));
        assert!(own.0.lock().bytes <= BYTES_MAX);
        for n in 0..WRITES_MAX * 2 {
            own.begin("n/a", &n.to_string().into());
        }
        let pending = own.0.lock();
        assert_eq!((pending.order.len(), pending.values.len(), pending.bytes), (WRITES_MAX, 1, 4));
    }
}
