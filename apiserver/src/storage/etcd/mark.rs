//! What a commit that deletes leaves behind, so that it is known again. A key that is gone does not tell who has deleted it: a commit
//! whose answer was lost would take another's deletion for its own.
//!
//! Each such commit writes a number of its own under a key that no other commit has at that time. Keys are used again, so that there
//! are as many as there were deletions at once; etcd forgets them when their lease ends.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Outside of all that caches watch.
const PREFIX: &str = "/corten/marks";
/// Longer than a commit is sent again.
pub(super) const TTL_SECS: u32 = 60;

/// Those of one process.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    process: Arc<str>,
    free: Arc<Mutex<Free>>,
}

#[derive(Debug, Default)]
struct Free {
    /// Used before, by commits that are settled.
    slots: Vec<u32>,
    /// The first that was never used.
    next: u32,
}

/// One commit's.
#[derive(Debug)]
pub(super) struct Mark {
    of: Marks,
    slot: u32,
    pub(super) key: String,
    pub(super) value: Bytes,
}

impl Default for Marks {
    fn default() -> Self {
        Self { process: uuid::Uuid::new_v4().to_string().into(), free: Arc::default() }
    }
}

impl Marks {
    pub(super) fn make(&self) -> Mark {
        let slot = {
            let mut free = self.free.lock();
            free.slots.pop().unwrap_or_else(|| {
                free.next = free.next.wrapping_add(1);
                free.next
            })
        };
        let key = format!("{PREFIX}/{}/{slot}", self.process);
        Mark { of: self.clone(), slot, key, value: uuid::Uuid::new_v4().into_bytes().to_vec().into() }
    }
}

impl Mark {
    /// No sending of its commit is on its way any more: another may have the key. Whoever is dropped before that keeps it, as what was
    /// sent may yet be done, and would wipe out the other's number.
    pub(super) fn settled(self) {
        self.of.free.lock().slots.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_commits_share_a_mark_and_settled_ones_leave_their_keys() {
        let marks = Marks::default();
        let (one, two) = (marks.make(), marks.make());
        assert!(one.key != two.key && one.value != two.value);
        let (key, value) = (one.key.clone(), one.value.clone());
        one.settled();
        let three = marks.make();
        assert!(three.key == key && three.value != value, "the key again, with another number");
        let lost = two.key.clone();
        drop(two);
        assert_ne!(marks.make().key, lost, "what was sent may yet be done");
        assert_ne!(Marks::default().make().key, key, "another process has keys of its own");
    }
}
