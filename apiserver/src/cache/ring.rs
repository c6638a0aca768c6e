//! The recent changes of one kind, for watchers that are behind or come back: kept by age and bytes together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Item;

/// A watcher that comes back within this time finds all it missed. Longer than the 60 s between two bookmarks, so that
/// one who was idle does, too.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(75);
/// More than this is never kept, however new it is: a watcher behind it lists again.
const BYTES_MAX: usize = 64 << 20;
/// So much is kept however old it is: a kind that seldom changes can be resumed for hours at little cost.
const BYTES_KEPT_OF_OLD: usize = 1 << 20;

/// One change, with the state before it: a watcher's selector may have held then and not now.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) old: Option<Arc<Item>>,
    /// For a deletion: the last state at the revision of the deletion.
    pub(super) item: Arc<Item>,
    pub(super) deleted: bool,
}

#[derive(Debug)]
struct Kept {
    step: Step,
    since: Instant,
    bytes: usize,
}

/// Steps have numbers that rise by one.
#[derive(Debug, Default)]
pub(super) struct Ring {
    kept: VecDeque<Kept>,
    bytes: usize,
    /// The number of the first step that is kept.
    first: u64,
    /// All changes after this revision are kept.
    floor: i64,
}

impl Ring {
    /// Empty, after a state at revision `floor`.
    pub(super) fn new(first: u64, floor: i64) -> Self {
        Self { first, floor, ..Self::default() }
    }
    /// The number that the next step will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }
    pub(super) fn floor(&self) -> i64 {
        self.floor
    }
    pub(super) fn get(&self, number: u64) -> Option<&Step> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.kept.get(index).map(|kept| &kept.step)
    }
    /// The number of the first step after `revision`; `None` if not all of them are kept.
    pub(super) fn seek(&self, revision: i64) -> Option<u64> {
        let skipped = self.kept.partition_point(|kept| kept.step.item.revision <= revision);
        (revision >= self.floor).then_some(self.first + skipped as u64)
    }
    /// Steps from number `from` on, with their numbers.
    pub(super) fn since(&self, from: u64) -> impl Iterator<Item = (u64, &Step)> {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.kept.len());
        (self.first + skip as u64..).zip(self.kept.range(skip..).map(|kept| &kept.step))
    }
    pub(super) fn push(&mut self, step: Step, now: Instant) {
        // An old state that came with a step of the ring is counted there.
        let old = step.old.as_ref().filter(|old| old.revision <= self.floor).map_or(0, |old| old.weight());
        let bytes = step.item.weight() + old + size_of::<Kept>();
        self.bytes += bytes;
        self.kept.push_back(Kept { step, since: now, bytes });
    }
    /// Takes out a step that need not be kept any more, the oldest first.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(u64, Step)> {
        let oldest = self.kept.front()?;
        if self.kept.len() == 1 || !is_dispensable(self.bytes, now.saturating_duration_since(oldest.since)) {
            return None;
        }
        let oldest = self.kept.pop_front()?;
        let number = self.first;
        self.bytes -= oldest.bytes;
        self.first += 1;
        self.floor = oldest.step.item.revision;
        if self.kept.capacity() > 4 * self.kept.len().max(64) {
            self.kept.shrink_to(2 * self.kept.len());
        }
        Some((number, oldest.step))
    }
}

/// Whether the oldest of steps that hold so many bytes together may go.
fn is_dispensable(bytes: usize, age: Duration) -> bool {
    bytes > BYTES_MAX || (age > KEPT_FOR && bytes > BYTES_KEPT_OF_OLD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::EventKind;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_kept() {
        let secs = Duration::from_secs;
        let cases = [
            ("a busy kind, within the time", 40 * MIB, secs(74), false),
            ("a busy kind, after the time", 40 * MIB, secs(76), true),
            ("more bytes than any kind may have", 65 * MIB, secs(0), true),
            ("a quiet kind keeps a little for long", MIB, secs(86_400), false),
        ];
        for (why, bytes, age, goes) in cases {
            assert_eq!(is_dispensable(bytes, age), goes, "{why}");
        }
    }

    #[test]
    fn a_burst_is_kept_for_its_time_and_given_back_then() {
        let (mut ring, began) = (Ring::new(0, 1), Instant::now());
        let json = format!(r#"{{"metadata":{{"name":"a"}},"data":"{}"}}"#, "x".repeat(900));
        for revision in 2..20_002 {
            let item = Item::new("a", json.as_bytes(), revision, EventKind::Added, &[]).unwrap();
            ring.push(Step { old: None, item: Arc::new(item), deleted: false }, began);
            assert!(ring.expire(began + Duration::from_secs(75)).is_none());
        }
        assert_eq!(ring.seek(1), Some(0), "20 MiB and 20,000 changes are not too many");
        while ring.expire(began + Duration::from_secs(76)).is_some() {}
        assert!(ring.bytes <= BYTES_KEPT_OF_OLD && ring.kept.capacity() <= 8 * ring.kept.len().max(64));
        assert_eq!((ring.seek(1), ring.seek(20_001)), (None, Some(20_000)));
    }
}
